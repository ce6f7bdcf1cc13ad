from tests.cli.conftest import bench, graphs, two_devices

__all__ = ["bench", "graphs", "two_devices"]  # fixtures

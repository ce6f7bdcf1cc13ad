import platform
from pathlib import Path

import onnx
import pytest

from benchbox.sampling import sampler
from tests.conftest import HEADER
from tests.helpers.command import CalmCommand


def write(name: str, text: str) -> None:
    onnx.save(onnx.parser.parse_model(HEADER + text), f"{name}.onnx")


def product(size: int) -> str:
    """A graph with size**3 multiply-accumulates."""
    tensor = f"float[{size},{size}]"
    return f"g ({tensor} x) => ({tensor} y) {{ y = MatMul(x, x) }}"


@pytest.fixture
def graphs(in_tmp: Path) -> Path:
    """Graphs in the current folder: their work differs far more than any machine is noisy."""
    write("small", product(16))
    write("large", product(256))
    write("twin", product(16))
    write("bad", "g (float[4] x) => (float[4] y) { y = nowhere.Blorp(x) }")
    write("open", "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }")
    return in_tmp


@pytest.fixture
def bench(graphs: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> CalmCommand:
    """The command in this process, with agents that nothing disturbs."""
    assert graphs and shared_cache
    bench = CalmCommand()
    bench.install(monkeypatch)
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)
    return bench


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for two devices, both of them this machine."""
    monkeypatch.setattr("benchbox.devices.claims.ARM_MACHINES", (platform.machine().lower(),))
    return ["--device", "cpu", "--device", "arm"]


@pytest.fixture
def spec(graphs: Path) -> Path:
    """Two cases of one group that need torch for a second, and milliseconds to time."""
    (graphs / "mine.py").write_text(
        "from torch import nn\n\n"
        "def conv(width, groups=1):\n"
        "    return nn.Conv2d(width, width, 1, groups=groups, bias=False)\n"
    )
    path = graphs / "mine.toml"
    path.write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n[[cases]]\nargs = { width = 16, groups = 2 }\n"
    )
    return path

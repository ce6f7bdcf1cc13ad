"""The stand-ins as a fixture: compiled once for all tests and all processes that run them."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

from tests.fakegpu import building


@pytest.fixture(scope="session")
def built_gpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    cc = building.compiler()
    if cc is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    new, old = shared / "gpu", shared / "gpu-old"
    with (shared / "gpu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "gpu.built").exists():
            building.build_all(cc, new, old)
            (shared / "gpu.built").touch()
    return new, old


@pytest.fixture
def fake_gpu(
    built_gpu: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> building.Libraries:
    for name in ("cuda", "nvml", "ort", "torch"):
        monkeypatch.setenv(f"FAKE_{name.upper()}", str(tmp_path / name))
    return building.Libraries(*built_gpu, tmp_path)

"""The stand-ins as a fixture: compiled once for all tests."""

import sys
from pathlib import Path

import pytest

from tests.fakegpu import building


@pytest.fixture(scope="session")
def built_gpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    cc = building.compiler()
    if cc is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    new, old = tmp_path_factory.mktemp("gpu"), tmp_path_factory.mktemp("gpu-old")
    building.build(cc, building.SOURCES / "cudart.c", new / "libcudart.so.13")
    building.build(cc, building.SOURCES / "nvml.c", new / "libnvidia-ml.so.1")
    building.build(cc, building.SOURCES / "nvml.c", old / "libnvidia-ml.so.1", "-DOLD")
    empty = new / "empty.c"
    empty.write_text("int nothing;\n")
    building.build(cc, empty, old / "libcudart.so.13")
    for name in building.EMPTY:
        building.build(cc, empty, new / name)
    engines = new / "engines.c"
    engines.write_text("int getInferLibVersion(void) { return 101601; }\n")
    tensorrt = [new / name for name in building.TENSORRT]
    for library in tensorrt:
        building.build(cc, engines, library)
    part = new / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so"
    part.parent.mkdir(parents=True)
    building.build(cc, empty, part, "-Wl,--no-as-needed", *map(str, tensorrt))
    return new, old


@pytest.fixture
def fake_gpu(built_gpu: tuple[Path, Path], tmp_path: Path) -> building.Libraries:
    return building.Libraries(*built_gpu, tmp_path)

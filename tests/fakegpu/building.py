"""Stand-ins for a GPU's libraries: compiled once for all tests, told what to say, and found."""

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.cli.app import app

SOURCES = Path(__file__).parent
ROOT = SOURCES.parents[1]
TENSORRT = "libnvinfer.so.10", "libnvonnxparser.so.10"
EMPTY = "libcuda.so.1", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudnn.so.9"


def compiler() -> list[str] | None:
    """The system's C compiler, the one that comes with Python's ziglang, or None."""
    if found := shutil.which("cc"):
        return [found]
    return [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else None


def build(cc: Sequence[str], source: Path, library: Path, *flags: str) -> None:
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    named = [f"-Wl,-soname,{library.name}", "-o", str(library), str(source)]
    done = subprocess.run([*cc, *options, *named], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def build_all(cc: Sequence[str], new: Path, old: Path) -> None:
    """Compile all libraries into a folder, and into another those of an old driver."""
    new.mkdir()
    old.mkdir()
    library = partial(build, cc)
    library(SOURCES / "cudart.c", new / "libcudart.so.13")
    library(SOURCES / "nvml.c", new / "libnvidia-ml.so.1")
    library(SOURCES / "nvml.c", old / "libnvidia-ml.so.1", "-DOLD")
    empty, engines = new / "empty.c", new / "engines.c"
    empty.write_text("int nothing;\n")
    engines.write_text("int getInferLibVersion(void) { return 101601; }\n")
    library(empty, old / "libcudart.so.13")
    for name in EMPTY:
        library(empty, new / name)
    for name in TENSORRT:
        library(engines, new / name)
    part = new / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so"
    part.parent.mkdir(parents=True)
    library(empty, part, "-Wl,--no-as-needed", *(str(new / name) for name in TENSORRT))


@dataclass(frozen=True)
class Libraries:
    """Folders with the stand-ins, and a folder for what they are told and what they log.

    The environment names the files there already.
    """

    folder: Path
    old: Path
    work: Path

    def copy(self) -> Self:
        """The same in a folder of the test's own, to be changed."""
        return replace(self, folder=shutil.copytree(self.folder, self.work / "libraries"))

    def tell(self, **told: str) -> None:
        """Tell stand-ins what to say from now on: by `cuda`, `nvml`, `ort` or `torch`."""
        for name, text in told.items():
            (self.work / name).write_text(text)

    def log(self, name: str) -> list[str]:
        """What a stand-in has logged, line by line."""
        path = self.work / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self) -> dict[str, str]:
        """Of programs that find the stand-ins, those for Python's packages as well."""
        paths = [str(SOURCES / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "FAKE_ORT_HOME": str(self.folder / "onnxruntime"),
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a new Python that finds the stand-ins."""
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=ROOT,
            timeout=200,
        )

    def benchbox(
        self, *arguments: str, cuda: str = "", nvml: str = "", ort: str = "", torch: str = ""
    ) -> Result:
        """Run the command on a stand-in for a GPU; calls are held, and take no time to be."""
        self.tell(cuda=f"no_sleep 1\n{cuda}", nvml=nvml, ort=ort, torch=torch)
        with contextlib.chdir(self.work):
            return CliRunner().invoke(app, arguments, prog_name="benchbox", env=self.environment())

    def newest(self, device: str) -> records.Run:
        """The latest run on a device."""
        path = records.latest(self.work / "results", device)
        assert path is not None
        return records.read(path)


@pytest.fixture(scope="session")
def built_gpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    cc = compiler()
    if cc is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    new, old = shared / "gpu", shared / "gpu-old"
    with (shared / "gpu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "gpu.built").exists():
            build_all(cc, new, old)
            (shared / "gpu.built").touch()
    return new, old


@pytest.fixture
def fake_gpu(
    built_gpu: tuple[Path, Path], warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Libraries:
    assert warm is None
    for name in ("cuda", "nvml", "ort", "torch"):
        monkeypatch.setenv(f"FAKE_{name.upper()}", str(tmp_path / name))
    return Libraries(*built_gpu, tmp_path)

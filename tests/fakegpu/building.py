"""Compiles the stand-ins, and runs Python code with them in the place of the real libraries."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.cli.app import app

SOURCES = Path(__file__).parent
ROOT = SOURCES.parents[1]
TENSORRT = "libnvinfer.so.10", "libnvonnxparser.so.10"
EMPTY = "libcuda.so.1", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudnn.so.9"


def compiler() -> list[str] | None:
    """The C compiler that comes with Python's ziglang, the system's, or None."""
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    found = shutil.which("cc")
    return [found] if found else None


def build(cc: Sequence[str], source: Path, library: Path, *flags: str) -> None:
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    named = [f"-Wl,-soname,{library.name}", "-o", str(library), str(source)]
    done = subprocess.run([*cc, *options, *named], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Libraries:
    """Folders with the stand-ins, and a folder for what they are told and what they log."""

    folder: Path
    old: Path
    work: Path

    def linked(self, name: str, without: Container[str]) -> Path:
        """Make a folder with links to these libraries, all but some."""
        folder = self.work / name
        folder.mkdir()
        for library in self.folder.iterdir():
            if library.name not in without:
                (folder / library.name).symlink_to(library)
        return folder

    def run(
        self, code: str, *, cuda: str = "", nvml: str = "", folders: Sequence[Path] | None = None
    ) -> object:
        """Run code in a new Python that finds these libraries; return what it calls `result`."""
        files = {"cuda": cuda, "nvml": nvml}
        for name, text in files.items():
            (self.work / name).write_text(text)
            (self.work / f"{name}.log").unlink(missing_ok=True)
        paths = map(str, [self.folder] if folders is None else folders)
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(paths),
            "FAKE_CUDA": str(self.work / "cuda"),
            "FAKE_CUDA_LOG": str(self.work / "cuda.log"),
            "FAKE_NVML": str(self.work / "nvml"),
            "FAKE_NVML_LOG": str(self.work / "nvml.log"),
            "FAKE_ORT": str(self.work / "ort"),
        }
        program = f"import json\n{code}\nprint('RESULT', json.dumps(result))"
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("RESULT ")[2])

    def benchbox(
        self, *arguments: str, cuda: str = "", nvml: str = "", ort: str = "", torch: str = ""
    ) -> Result:
        """Run the command on a stand-in for a GPU; calls are held, and take no time to be."""
        files = {"cuda": f"no_sleep 1\n{cuda}", "nvml": nvml, "ort": ort, "torch": torch}
        for name, text in files.items():
            (self.work / name).write_text(text)
        paths = [str(SOURCES / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "FAKE_ORT_HOME": str(self.folder / "onnxruntime"),
            **{f"FAKE_{name.upper()}": str(self.work / name) for name in files},
        }
        with contextlib.chdir(self.work):
            return CliRunner().invoke(app, arguments, prog_name="benchbox", env=environment)

    def newest(self, device: str) -> records.Run:
        """The latest run on a device."""
        path = records.latest(self.work / "results", device)
        assert path is not None
        return records.read(path)

    def log(self, name: str) -> list[str]:
        """The calls of the last run, in order."""
        path = self.work / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

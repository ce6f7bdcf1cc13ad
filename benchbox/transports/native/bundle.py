"""All files of the runner on a device: itself, ONNX Runtime, and the C library of both.

A phone has another C library than ONNX Runtime's wheels are built for, so that the right one goes
with it, and its loader starts the runner: nothing of the device is used but its kernel.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbox import host
from benchbox.transports.native import download
from benchbox.transports.native.build import build, cache_folder

RUNNER = "runner"
ONNXRUNTIME = "libonnxruntime.so"
LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
# What ONNX Runtime and the runner name as needed, and what these need.
LIBRARIES = (
    *("libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1"),
    "libstdc++.so.6",
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files to push into one folder of a device, by their names there."""

    machine: str
    files: Mapping[str, Path]

    @property
    def size_bytes(self) -> int:
        """What they have together."""
        return sum(path.stat().st_size for path in self.files.values())

    def command(self, folder: str) -> list[str]:
        """Return the argv that starts the runner, given the folder on the device.

        The loader must be executable there; the others need to be readable only.
        """
        loader, runner, library = (
            f"{folder}/{name}" for name in (LOADERS[self.machine], RUNNER, ONNXRUNTIME)
        )
        return [loader, "--library-path", folder, runner, library]


def bundle(machine: str, making: Callable[[], None] = lambda: None) -> Bundle:
    """Return the runner for a machine, as uname calls it, with the ONNX Runtime that is used here.

    `making` hears of what the cache lacks before that is compiled or fetched, which takes a while.
    Raises UsageError where it cannot be built, DeviceError where its parts cannot be fetched.
    """
    runner, version = build(machine, making), host.onnxruntime_version()
    folder = cache_folder() / f"libraries-{machine}-{version or 'newest'}"
    if not folder.exists():
        making()
        with tempfile.TemporaryDirectory(dir=runner.parent) as made:
            unfinished = Path(made, "made")
            unfinished.mkdir()
            download.c_libraries(machine, (LOADERS[machine], *LIBRARIES), unfinished)
            download.onnxruntime(machine, version, unfinished / ONNXRUNTIME)
            _keep(unfinished, folder)
    files = {path.name: path for path in sorted(folder.iterdir())}
    return Bundle(machine, {RUNNER: runner, **files})


def _keep(made: Path, folder: Path) -> None:
    for path in made.iterdir():
        path.chmod(0o755)  # adb gives a file the mode that it has here
    try:
        made.rename(folder)
    except OSError:  # another process has made it meanwhile
        if not folder.exists():
            raise
        shutil.rmtree(made)

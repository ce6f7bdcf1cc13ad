"""The files of a bundle: a C library with its loader, Python, and a zip with all that it imports.

The few files that start Python are sent as they are; Python then unpacks the zip beside them.
"""

import hashlib
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbox import host
from benchbox.errors import DeviceError
from benchbox.transports.board.commands import FLOOR
from benchbox.transports.board.zipapp import EPOCH
from benchbox.transports.bundle import download
from benchbox.transports.files import digest

LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
MACHINES = tuple(LOADERS)  # as uname calls them
PYTHON = "python3"
# The libraries of Python itself, then those of its modules and the wheels.
STARTING = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1")
LIBRARIES = (
    *("libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    *("libffi.so.8", "libgcc_s.so.1", "libstdc++.so.6"),
)
PACKAGES = ("libc6", "libexpat1", "libffi8", "libgcc-s1", "libstdc++6", "zlib1g")
PYTHON_PACKAGES = ("python3.{}-minimal", "libpython3.{}-minimal", "libpython3.{}-stdlib")
# What of Python and the wheels no agent imports. Half of ONNX Runtime's wheel is a library for
# programs in C.
UNUSED = re.compile(
    r"(.*/)?(tests?|idlelib|lib2to3|ensurepip|pydoc_data|tkinter|turtledemo|config-[^/]*"
    r"|f2py|quantization|tools|transformers|datasets|backend|include|lib/pkgconfig|\.\.)/.*"
    r"|.*\.(a|h|pyi|pyc|pyx|pxd)|.*/libonnxruntime\.so.*|.*\.dist-info/(?!METADATA$).*"
    r"|.*/ThirdPartyNotices\.txt|/.*"
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files to send to one folder of a device, by their names there."""

    machine: str
    files: Mapping[str, Path]

    @property
    def archive(self) -> str:
        """The name of the zip, as Python looks for its library before that is unpacked."""
        return next(name for name in self.files if name.endswith(".zip"))

    @property
    def library(self) -> str:
        """The folder that the zip is unpacked to."""
        return f"lib/python3.{self.archive.removeprefix('python3').removesuffix('.zip')}"

    @property
    def size_bytes(self) -> int:
        """The bytes that are sent."""
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def unpacked_bytes(self) -> int:
        """The bytes of the files that the zip holds."""
        with zipfile.ZipFile(self.files[self.archive]) as archive:
            return sum(member.file_size for member in archive.infolist())

    @property
    def digest(self) -> str:
        """A hash of all files and their names."""
        hashes = sorted((name, digest(path)) for name, path in self.files.items())
        return hashlib.sha256(repr(hashes).encode()).hexdigest()


def bundle(machine: str, making: Callable[[], None] = lambda: None) -> Bundle:
    """The bundle for a machine, as uname calls it, with the ONNX Runtime that is used here.

    `making` is called before parts that the cache lacks are fetched, which takes a while.
    Raises DeviceError where there is none for the machine, or its parts cannot be fetched.
    """
    if machine not in MACHINES:
        raise DeviceError(
            f"none can be sent to a processor of type {machine}, only to {' and '.join(MACHINES)}"
        )
    version = host.onnxruntime_version()
    folder = host.cache_folder() / "bundle" / f"{machine}-{version or 'newest'}-{_recipe()}"
    if not folder.exists():
        making()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            _make(machine, version, Path(made))
            _keep(Path(made, "files"), folder)
    return Bundle(machine, {path.name: path for path in sorted(folder.iterdir())})


def _recipe() -> str:
    """A hash of the code that chooses what is in a bundle."""
    sources = (Path(__file__), Path(download.__file__))
    return hashlib.sha256(b"\0".join(each.read_bytes() for each in sources)).hexdigest()[:8]


def _make(machine: str, version: str, folder: Path) -> None:
    """Fetch what belongs to a bundle and write its files to a folder `files` in this one."""
    apt = download.Apt(machine, folder / "apt")
    minor = min(
        (each for each in apt.pythons() if (3, each) >= FLOOR),
        key=lambda each: abs(each - sys.version_info.minor),
        default=FLOOR[1],
    )
    packages = apt.download([*PACKAGES, *(name.format(minor) for name in PYTHON_PACKAGES)])
    wheels = download.wheels(machine, minor, version, folder)
    found = _sorted(machine, minor, packages, wheels)
    (folder / "files").mkdir()
    for name in (LOADERS[machine], *STARTING, PYTHON):
        if name not in found:
            raise DeviceError(f"this machine's apt has packages without {name}")
        (folder / "files" / name).write_bytes(found.pop(name))
    with zipfile.ZipFile(folder / f"files/python3{minor}.zip", "w") as archive:
        for name in sorted(found):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), found[name], zipfile.ZIP_DEFLATED)


def _sorted(
    machine: str, minor: int, packages: Iterable[Path], wheels: Iterable[Path]
) -> dict[str, bytes]:
    """What of packages and wheels is used, by its path in the folder of Python's library."""
    libraries = {LOADERS[machine], *STARTING, *LIBRARIES}
    program, library = f"usr/bin/python3.{minor}", f"usr/lib/python3.{minor}/"
    found = {}
    for package in packages:
        for path, content in download.package_files(package):
            name = path.rpartition("/")[2]
            if name in libraries:
                found[name] = content
            elif path == program:
                found[PYTHON] = content
            elif path.startswith(library) and not UNUSED.fullmatch(path.removeprefix(library)):
                found[path.removeprefix(library)] = content
    for wheel in wheels:
        files = download.wheel_files(wheel)
        found |= {path: content for path, content in files if not UNUSED.fullmatch(path)}
    return found


def _keep(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:  # another process has made it meanwhile
        if not folder.exists():
            raise
        shutil.rmtree(made)

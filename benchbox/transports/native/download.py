"""Fetches libraries for another processor, from the package indexes that this machine uses."""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchbox.errors import DeviceError

# Debian's and Ubuntu's libraries for cross compiling: they are the machine's own, and any machine
# may fetch them.
DEBIAN = {"aarch64": "arm64", "x86_64": "amd64"}
CROSS = ("libc6-{}-cross", "libgcc-s1-{}-cross", "libstdc++6-{}-cross")
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")
OTHERWISE = (
    "run benchbox once on Debian or Ubuntu with a network, or use a device with Python: a phone "
    "runs Termux's python-onnxruntime and sshd, as ssh://"
)

Done = subprocess.CompletedProcess[bytes]


def c_libraries(machine: str, names: Sequence[str], folder: Path) -> None:
    """Write the C libraries of these names into a folder.

    They are unpacked, not installed, by an apt state of its own: that of this machine is only read.
    Raises DeviceError where there is no apt, or no network.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise DeviceError(
            f"the C library for a device without Python comes by {missing[0]}, "
            f"which this machine has not; {OTHERWISE}"
        )
    left = set(names)
    with tempfile.TemporaryDirectory() as state:
        for package in _download([name.format(DEBIAN[machine]) for name in CROSS], Path(state)):
            left -= _unpack(package, left, folder)
    if left:
        raise DeviceError(f"this machine's apt has packages without {min(left)}; {OTHERWISE}")


def onnxruntime(machine: str, version: str, path: Path) -> None:
    """Write ONNX Runtime's library of this version to `path`; the newest where that has no wheel.

    Raises DeviceError where none can be fetched.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = _wheel(machine, f"onnxruntime=={version}", Path(folder))
        except DeviceError:
            wheel = _wheel(machine, "onnxruntime", Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            named = "onnxruntime/capi/libonnxruntime.so"
            member = next(name for name in archive.namelist() if name.startswith(named))
            path.write_bytes(archive.read(member))


def _wheel(machine: str, requirement: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    for tag in (*MANYLINUX, "manylinux2014"):
        pip += ["--platform", f"{tag}_{machine}"]
    _run([*pip, requirement])
    return next(folder.glob("*.whl"))


def _download(names: Sequence[str], state: Path) -> list[Path]:
    for name in ("lists/partial", "archives/partial", "debs"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    apt = ["apt-get", "-qq", f"-oDir::State={state}", f"-oDir::State::status={state / 'status'}"]
    apt += [f"-oDir::Cache={state}", "-oAPT::Sandbox::User=", "-oAcquire::Languages=none"]
    # One source of several may fail and not be needed; by default apt then says that all is well.
    updated = _done([*apt, "-oAPT::Update::Error-Mode=any", "update"])
    fetched = _done([*apt, "download", *names], state / "debs")
    _checked(updated if fetched.returncode and updated.returncode else fetched)
    return sorted((state / "debs").glob("*.deb"))


def _unpack(package: Path, names: set[str], folder: Path) -> set[str]:
    """Write the files of these names into a folder; return those that the package has."""
    found = set()
    with tarfile.open(fileobj=io.BytesIO(_run(["dpkg-deb", "--fsys-tarfile", package]))) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            content = archive.extractfile(member) if name in names else None  # follows a link
            if content:
                (folder / name).write_bytes(content.read())
                found.add(name)
    return found


def _run(argv: Sequence[str | Path]) -> bytes:
    return _checked(_done(argv))


def _done(argv: Sequence[str | Path], folder: Path | None = None) -> Done:
    return subprocess.run(argv, cwd=folder, capture_output=True)


def _checked(done: Done) -> bytes:
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
        reason = next((line for line in lines if line.startswith(("E:", "ERROR"))), lines[-1])
        raise DeviceError(
            f"what a device without Python needs cannot be fetched: {reason.strip()}; {OTHERWISE}"
        )
    return done.stdout

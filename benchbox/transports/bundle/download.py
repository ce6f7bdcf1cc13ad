"""Debian packages and wheels for another processor, fetched and verified by apt and pip."""

import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchbox.errors import DeviceError

DEBIAN = {"aarch64": "arm64", "x86_64": "amd64"}
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")
# Ubuntu's packages for other processors than x86 are on another server.
PORTS = (
    "deb [arch={} signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] "
    "http://ports.ubuntu.com/ubuntu-ports {} main universe\n"
)
OTHERWISE = (
    "run benchbox once on Debian or Ubuntu with a network, or use a device with Python: a phone "
    "runs Termux's python-onnxruntime and sshd, as ssh://"
)

Done = subprocess.CompletedProcess[bytes]


class Apt:
    """An apt for another processor with a state of its own: that of this machine is only read."""

    def __init__(self, machine: str, state: Path) -> None:
        """Fetch the lists of packages; raises DeviceError where there is no apt."""
        missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
        if missing:
            raise DeviceError(
                f"the Python for a device without one comes by {missing[0]}, "
                f"which this machine has not; {OTHERWISE}"
            )
        for name in ("lists/partial", "archives/partial", "debs"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        self._debs = state / "debs"
        options = {
            "APT::Architecture": DEBIAN[machine],
            "APT::Architectures": DEBIAN[machine],
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Dir::Cache": state,
            "Dir::State": state,
            "Dir::State::status": state / "status",
            **_sources(machine, state),
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        # One source of several may fail and not be needed; by default apt then says all is well.
        self._updated = _done(["apt-get", "-oAPT::Update::Error-Mode=any", *self._get(), "update"])

    def _get(self) -> list[str]:
        return ["-qq", *self._options]

    def pythons(self) -> list[int]:
        """The minor versions of Python 3 that there are; raises DeviceError where there is none."""
        known = _done(["apt-cache", *self._options, "pkgnames", "python3."]).stdout.decode()
        found = [int(minor) for minor in re.findall(r"^python3\.(\d+)-minimal$", known, re.M)]
        if not found:
            _checked(self._updated)
            raise DeviceError(f"this machine's apt has no Python for the device; {OTHERWISE}")
        return found

    def download(self, names: Sequence[str]) -> list[Path]:
        """Fetch packages; raises DeviceError where that fails."""
        fetched = _done(["apt-get", *self._get(), "download", *names], self._debs)
        failed = fetched.returncode and self._updated.returncode
        _checked(self._updated if failed else fetched)
        return sorted(self._debs.glob("*.deb"))


def _sources(machine: str, folder: Path) -> dict[str, object]:
    """The options for the package sources, none where this machine's own have what is needed."""
    release = platform.freedesktop_os_release()
    if machine == "x86_64" or release.get("ID") != "ubuntu":
        return {}
    listed = folder / "sources.list"
    name = release["VERSION_CODENAME"]
    suites = (name, f"{name}-updates", f"{name}-security")
    listed.write_text("".join(PORTS.format(DEBIAN[machine], suite) for suite in suites))
    return {"Dir::Etc::SourceList": listed, "Dir::Etc::SourceParts": folder / "none"}


def wheels(machine: str, minor: int, version: str, folder: Path) -> list[Path]:
    """Fetch numpy, and this version of ONNX Runtime or the newest where that has no wheel.

    Raises DeviceError where they cannot be fetched.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    pip += ["--implementation", "cp", "--python-version", f"3.{minor}"]
    for tag in (*MANYLINUX, "manylinux2014"):
        pip += ["--platform", f"{tag}_{machine}"]
    if not version or _done([*pip, "numpy", f"onnxruntime=={version}"]).returncode:
        _checked(_done([*pip, "numpy", "onnxruntime"]))
    return sorted(folder.glob("*.whl"))


def package_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a Debian package by their paths; links that lead out of it are left out.

    Raises DeviceError where it cannot be read.
    """
    packed = _checked(_done(["dpkg-deb", "--fsys-tarfile", package]))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            try:
                content = archive.extractfile(member)  # of what a link leads to
            except KeyError:
                continue
            if content:
                yield member.name.removeprefix("./"), content.read()


def wheel_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a wheel by their paths."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, archive.read(member)


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

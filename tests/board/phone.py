"""A stand-in for a phone: a real adbd in a network of its own, and an adb server that reaches it.

Behind the adbd is this machine's own root, which is never written, or the emulated aarch64 one. Its
shell is Android's: mksh, toybox, a home that cannot be written, /data/local/tmp that can. adbd asks
for no key here, so it never listens in this machine's network.
"""

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.board import inside, setup
from tests.board.running import QEMU_CPU, NetworkBoard, free_port
from tests.board.setup import LIBRARIES, Parts, Taken

ADBD_RELEASE = "trixie"  # its adbd is 34, and runs without Android around it
START_S = 10.0
APEX = "/apex"
ADBD_NEEDS = (
    *("android-libbase", "android-libboringssl", "android-libcutils", "android-liblog"),
    *("libbrotli1", "libc6", "libcap2", "libgcc-s1", "liblz4-1", "libprotobuf32t64"),
    *("libstdc++6", "libsystemd0", "libxxhash0", "libzstd1", "zlib1g"),
)
ADBD: Taken = {
    "adbd": ("./usr/lib/android-sdk/platform-tools/adbd",),
    **dict.fromkeys(ADBD_NEEDS, (f"./{LIBRARIES}",)),
}
SHELL: Taken = {"mksh": ("./bin/mksh",), "toybox": ("./bin/toybox",)}


class Phone(NetworkBoard):
    """A phone that runs, at `serial`; `root` is its / as this process sees it."""

    kind, networks, server_port = "benchbox-phone", "198.19.7", 5555

    def __init__(self, parts: Parts, adbd: Path) -> None:
        self.is_emulated = parts.emulator is not None
        super().__init__(parts)
        self.user, self._adbd = "root", adbd

    @property
    def serial(self) -> str:
        """What adb calls it."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"adb://{self.serial}"

    @property
    def storage(self) -> Path:
        """Its /data/local/tmp as this process sees it."""
        return self.root / "data/local/tmp"

    def end_adbd(self) -> None:
        """Kill its adbd, as a phone does that is switched off."""
        for pid in self._adbds():
            self.kill(pid)

    def start_adbd(self) -> None:
        """Start it again, where it does not run."""
        if not self._adbds():
            self._ask({"serve": True})

    def _adbds(self) -> list[int]:
        # The first process was told of all others, so that it has their names as well.
        return [pid for pid in self.pids("platform-tools/adbd") if pid != 1]

    def _passwd(self) -> str:
        return "root:*:0:0::/storage:/bin/sh\nshell:*:2000:2000::/storage:/bin/sh\n"

    def _told(self) -> dict[str, Any]:
        told = super()._told()
        binds = [(str(self._adbd), APEX), (f"{inside.RUN}/files/passwd", "/etc/passwd")]
        if not self.is_emulated:
            binds += [(path, path) for path in ("/sys", sys.base_prefix, sys.prefix)]
            binds += [(f"{self._adbd}/bin/mksh", "/usr/bin/sh")]
        lib = f"{APEX}/{LIBRARIES}"
        adbd = f"{APEX}/usr/lib/android-sdk/platform-tools/adbd"
        loader = [f"{lib}/ld-linux-x86-64.so.2", "--library-path", f"{lib}/android:{lib}", adbd]
        path = "/usr/local/bin:/usr/bin:/bin" if self.is_emulated else f"{APEX}/bin"
        return told | {
            "real_proc": True,
            "folders": ["data/local/tmp"],
            "binds": binds,
            "server": [setup.which("chroot"), str(inside.ROOT), *loader],
            "server_env": {"PATH": path, "QEMU_CPU": QEMU_CPU},
            "greeting": "",
        }


@contextmanager
def adb_server() -> Iterator[int]:
    """Run an adb server of the tests' own; yield its port. It leaves the user's alone."""
    import adbutils

    with tempfile.TemporaryDirectory(prefix="benchbox-adb-") as folder:
        port = free_port()
        argv = [adbutils.adb_path(), "-P", str(port), "server", "nodaemon"]
        env = os.environ | {"HOME": folder, "ANDROID_USER_HOME": folder}
        log = Path(folder, "log")
        with log.open("wb") as out:
            nothing = subprocess.DEVNULL
            server = subprocess.Popen(argv, env=env, stdin=nothing, stdout=out, stderr=out)
        try:
            until = time.monotonic() + START_S
            while not _listens(port):
                assert server.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.02)
            yield port
        finally:
            server.kill()
            server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def phone(*, emulated: bool = False) -> Phone:
    """A phone with this machine behind it, or the emulated aarch64 root."""
    adbd = setup.kept("adbd", {**ADBD, **SHELL}, _make_adbd)
    found = setup.parts(emulated=emulated)
    if not emulated:
        found = Parts(found.tools, Path("/"))
    return Phone(found, adbd)


def _make_adbd(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as sources:
        setup.take(
            folder,
            ADBD,
            {"Dir::Etc::SourceList": _sources(Path(sources)), "Dir::Etc::SourceParts": sources},
        )
    setup.take(folder, SHELL)
    programs = folder / "bin"
    listed = subprocess.run([programs / "toybox"], capture_output=True, text=True, check=True)
    for name in {*listed.stdout.split()} - {"toybox"}:
        (programs / name).symlink_to("toybox")
    (programs / "sh").unlink(missing_ok=True)
    (programs / "sh").symlink_to("mksh")


def _sources(folder: Path) -> Path:
    """Write this machine's own sources of packages for another release; return the list file."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    listed = folder / "sources.list"
    listed.touch()
    etc = Path("/etc/apt")
    for path in (etc / "sources.list", *(etc / "sources.list.d").glob("*.sources")):
        text = path.read_text() if path.exists() else ""
        if release in text:
            (folder / path.name).write_text(text.replace(release, ADBD_RELEASE))
    return listed

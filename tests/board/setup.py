"""What the board is made of, fetched once and kept: an aarch64 root, an emulator, an sshd.

Nothing is installed on this machine. Packages are unpacked into the cache by an apt state of its
own, with the sources that this machine's apt has; the wheels come by pip.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tests.board import files

PYTHON = "python3.11"  # what this release of Debian has
RELEASE = "bookworm"
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
Taken = dict[str, tuple[str, ...]]  # package of this machine -> what is taken of it
EMULATOR: Taken = {"qemu-user-static": ("./usr/bin/qemu-aarch64-static",)}
SERVER: Taken = {"openssh-server": ("./usr/sbin/sshd",), "libwrap0": (f"./{LIBRARIES}",)}
# Where this machine has no ip and tc, for the board with an address of its own.
ROUTES: Taken = {
    "iproute2": ("./bin/ip", "./sbin/tc"),
    "libbpf1": (f"./{LIBRARIES}",),
    "libbsd0": (f"./{LIBRARIES}",),
    "libcap2": ("./lib/x86_64-linux-gnu",),
    "libelf1": (f"./{LIBRARIES}",),
    "libmd0": (f"./{LIBRARIES}",),
    "libmnl0": (f"./{LIBRARIES}",),
    "libxtables12": (f"./{LIBRARIES}",),
}
AARCH64 = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8"),
    *("libbz2-1.0", "liblzma5", "libcrypt1", "libuuid1"),
    *(f"{PYTHON}-minimal", f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib"),
    *("dash", "coreutils", "libselinux1", "libpcre2-8-0", "libacl1", "libattr1", "libgmp10"),
)
WHEELS = ("onnxruntime", "numpy")  # of the versions that this Python has
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")
PACKAGES = Path(f"usr/local/lib/{PYTHON}/dist-packages")
UNUSED_S = 7 * 24 * 3600.0
UNUSED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info")
COMPILED = (f"usr/lib/{PYTHON}", f"{PACKAGES}/numpy", f"{PACKAGES}/onnxruntime/capi")


class NotFetched(unittest.SkipTest):
    """The parts cannot be had now, as without a network: pytest skips what asked for them."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts lie. `root` and `emulator` are None where they were not asked for."""

    tools: Path
    root: Path | None = None
    emulator: Path | None = None

    @property
    def sshd(self) -> Path:
        return self.tools / "usr/sbin/sshd"

    @property
    def libraries(self) -> str:
        """The folders of those that the tools need and this machine may lack."""
        return f"{self.tools / LIBRARIES}:{self.tools / 'lib/x86_64-linux-gnu'}"

    def tool(self, name: str) -> str:
        """Return the path of `ip` or `tc`: this machine's, or else the unpacked one."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        ours = {"ip": self.tools / "bin/ip", "tc": self.tools / "sbin/tc"}
        return shutil.which(name, path=path) or str(ours[name])


@cache
def why_not() -> str:
    """Return why no board can be had on this machine; empty where one can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the stand-in for a board needs Linux on x86-64"
    if os.geteuid() != 0:
        return "the stand-in for a board needs root"
    release = platform.freedesktop_os_release().get("VERSION_CODENAME")
    if release != RELEASE:
        return f"the stand-in for a board is made of Debian {RELEASE}'s packages, this is {release}"
    needed = ("apt-get", "dpkg-deb", "tar", "ssh", "ssh-keygen")
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        return f"the stand-in for a board needs {' and '.join(missing)}"
    return _why_no_namespaces()


def _why_no_namespaces() -> str:
    # In a user namespace of its own binfmt_misc leaves no trace on this machine (Linux 6.7).
    script = "mount -t tmpfs none /run && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    argv = [which("unshare"), "-Urm", "--pid", "--fork", "sh", "-c", script]
    tried = subprocess.run(argv, capture_output=True, text=True)
    if tried.returncode == 0:
        return ""
    last = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"the stand-in for a board needs namespaces and binfmt_misc in them (Linux 6.7): {last}"


def cache_folder() -> Path:
    """Return where the parts are kept: BENCHBOX_TEST_CACHE, or a folder in the user's cache."""
    told = os.environ.get("BENCHBOX_TEST_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(told) if told else Path(users) / "benchbox-tests"


def parts(*, emulated: bool) -> Parts:
    """Return the parts of a board, made first where they are not there yet."""
    tools = kept("sshd", _tools(), _make_tools)
    if not emulated:
        return Parts(tools)
    root = kept("aarch64", _recipe(), _make_root)
    return Parts(tools, root / "root", root / "usr/bin/qemu-aarch64-static")


def _tools() -> Taken:
    has_routes = all(Path("/usr/sbin", name).exists() for name in ("ip", "tc"))
    return {**SERVER} if has_routes else {**SERVER, **ROUTES}


def _recipe() -> dict[str, object]:
    """Return all that the aarch64 root follows from: another recipe is kept under another name."""
    sources = [Path(__file__).read_text(), Path(files.__file__).read_text()]
    return {"wheels": {name: version(name) for name in WHEELS}, "sources": sources}


def kept(kind: str, recipe: object, make: Callable[[Path], None]) -> Path:
    """Return the folder of what `make` makes of a recipe; two that ask at once make it once."""
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{kind}-{digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f"{kind}.lock"):
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{kind}-") as made:
                    unfinished = Path(made, "made")
                    unfinished.mkdir()
                    make(unfinished)
                    unfinished.rename(folder)
                _forget(folder.parent.glob(f"{kind}-*"))
    os.utime(folder)
    return folder


def _forget(folders: Iterable[Path]) -> None:
    """Remove what no test has used for a week, so that a changed recipe does not fill the disk."""
    for folder in folders:
        if time.time() - folder.stat().st_mtime > UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_tools(folder: Path) -> None:
    take(folder, _tools())


def take(folder: Path, wanted: Taken, options: Mapping[str, object] | None = None) -> None:
    """Unpack packages for this machine's architecture into a folder; `options` are apt's."""
    debs = _fetch(folder / "apt", [f"{name}:amd64" for name in wanted], options or {})
    for name, members in wanted.items():
        _unpack(debs[name], folder, members)
    shutil.rmtree(folder / "apt")


def _make_root(folder: Path) -> None:
    names = [f"{name}:amd64" for name in EMULATOR] + [f"{name}:arm64" for name in AARCH64]
    debs = _fetch(folder / "apt", names)
    for name, members in EMULATOR.items():
        _unpack(debs[name], folder, members)
    root = folder / "root"
    for name in ("bin", "sbin", "lib"):  # a merged /usr, as Debian has it
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in AARCH64:
        _unpack(debs[name], root)
    shutil.rmtree(folder / "apt")
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "usr/bin/python3").symlink_to(PYTHON)
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("dash")
    _install_wheels(root / PACKAGES)
    _compile([root / name for name in COMPILED])
    files.plant(root, files.juno())


def _fetch(
    state: Path, names: Sequence[str], more: Mapping[str, object] | None = None
) -> dict[str, Path]:
    """Download packages of two architectures; apt's own state and sources are only read."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "amd64",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        **(more or {}),
    }
    given = [f"-o{key}={value}" for key, value in options.items()]
    given += ["-oAPT::Architectures::=amd64", "-oAPT::Architectures::=arm64", "-qq"]
    apt = [which("apt-get"), *given]
    _run([*apt, "update"])
    _run([*apt, "download", *names], cwd=state / "debs")
    return {path.name.partition("_")[0]: path for path in (state / "debs").glob("*.deb")}


def _unpack(deb: Path, folder: Path, members: Sequence[str] = ()) -> None:
    # dpkg-deb -x would put folders where the merged /usr has links.
    unpacked = folder / f".{deb.name}.tar"
    with unpacked.open("wb") as out:
        subprocess.run([which("dpkg-deb"), "--fsys-tarfile", str(deb)], stdout=out, check=True)
    tar = [which("tar"), "-xf", str(unpacked), "--keep-directory-symlink", "--no-same-owner"]
    _run([*tar, "-C", str(folder), *members])
    unpacked.unlink()


def _install_wheels(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-compile", "--only-binary=:all:", "--implementation", "cp"]
    pip += ["--python-version", PYTHON.removeprefix("python"), "--target", str(folder)]
    for tag in (*MANYLINUX, "manylinux2014"):
        pip += ["--platform", f"{tag}_aarch64"]
    _run([*pip, *(f"{name}=={version(name)}" for name in WHEELS)])


def _compile(folders: Sequence[Path]) -> None:
    """Write the .pyc files on this machine: its emulation would take minutes over them."""
    python = shutil.which(PYTHON) if _this_python() != PYTHON else sys.executable
    if python is None:
        return  # it starts a few seconds later, and all else is the same
    # Of unchecked hashes: overlays and copies may change a file's time.
    how = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    skipped = r"/(test|tests|idlelib|lib2to3|tkinter|f2py|distutils)/"
    subprocess.run([python, *how, "-x", skipped, *map(str, folders)], check=False)


def _this_python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _run(argv: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        reason = lines[-1] if lines else f"{argv[0]} fails"
        raise NotFetched(f"the stand-in for a board cannot be made: {reason}")


def which(name: str) -> str:
    """Return the path of a program of this machine."""
    path = shutil.which(name)
    assert path, f"{name} is not on this machine"
    return path

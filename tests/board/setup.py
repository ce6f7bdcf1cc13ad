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
import unittest
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
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
    "libcap2": ("./lib/x86_64-linux-gnu",),
    **dict.fromkeys(("libbpf1", "libbsd0", "libelf1", "libmd0"), (f"./{LIBRARIES}",)),
    **dict.fromkeys(("libmnl0", "libxtables12"), (f"./{LIBRARIES}",)),
}
AARCH64 = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8"),
    *("libbz2-1.0", "liblzma5", "libcrypt1", "libuuid1"),
    *(f"{PYTHON}-minimal", f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib"),
    *("dash", "coreutils", "libselinux1", "libpcre2-8-0", "libacl1", "libattr1", "libgmp10"),
)
WHEELS = ("onnxruntime", "numpy")  # of the versions that this Python has
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")
NONE: Mapping[str, object] = {}
PACKAGES = Path(f"usr/local/lib/{PYTHON}/dist-packages")
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
        """The path of `ip` or `tc`: this machine's, or else the unpacked one."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        ours = {"ip": self.tools / "bin/ip", "tc": self.tools / "sbin/tc"}
        return shutil.which(name, path=path) or str(ours[name])


@cache
def why_not() -> str:
    """Why no board can be had on this machine; empty where one can."""
    needs = "the stand-in for a board needs"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"{needs} Linux on x86-64"
    if os.geteuid() != 0:
        return f"{needs} root"
    if (release := platform.freedesktop_os_release().get("VERSION_CODENAME")) != RELEASE:
        return f"{needs} the packages of Debian {RELEASE}, this is {release}"
    programs = ("apt-get", "dpkg-deb", "tar", "ssh", "ssh-keygen", "unshare")
    if missing := [name for name in programs if not shutil.which(name)]:
        return f"{needs} {' and '.join(missing)}"
    # In a user namespace of its own binfmt_misc leaves no trace on this machine (Linux 6.7).
    script = "mount -t tmpfs none /run && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    argv = ["unshare", "-Urm", "--pid", "--fork", "sh", "-c", script]
    tried = subprocess.run(argv, capture_output=True, text=True)
    why = f"{needs} namespaces and binfmt_misc in them (Linux 6.7): {tried.stderr.strip()}"
    return why if tried.returncode else ""


def cache_folder() -> Path:
    """Where the parts are kept: BENCHBOX_TEST_CACHE, or a folder in the user's cache."""
    told = os.environ.get("BENCHBOX_TEST_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(told) if told else Path(users) / "benchbox-tests"


def parts(*, emulated: bool) -> Parts:
    """The parts of a board, made first where they are not there yet."""
    has_routes = all(Path("/usr/sbin", name).exists() for name in ("ip", "tc"))
    wanted = SERVER if has_routes else SERVER | ROUTES
    tools = kept("sshd", wanted, partial(take, wanted=wanted))
    if not emulated:
        return Parts(tools)
    # All that the root follows from: another recipe is kept under another name.
    sources = [Path(each).read_text() for each in (__file__, files.__file__)]
    recipe = {"wheels": {name: version(name) for name in WHEELS}, "sources": sources}
    root = kept("aarch64", recipe, _make_root)
    return Parts(tools, root / "root", root / "usr/bin/qemu-aarch64-static")


def kept(kind: str, recipe: object, make: Callable[[Path], None]) -> Path:
    """The folder of what `make` makes of a recipe; two that ask at once make it once."""
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{kind}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{kind}-") as made:
                unfinished = Path(made, "made")
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
    return folder


def take(folder: Path, wanted: Taken, options: Mapping[str, object] = NONE) -> None:
    """Unpack packages for this machine's architecture into a folder; `options` are apt's."""
    debs = _fetch(folder / "apt", [f"{name}:amd64" for name in wanted], options)
    for name, members in wanted.items():
        _unpack(debs[name], folder, members)
    shutil.rmtree(folder / "apt")


def _make_root(folder: Path) -> None:
    take(folder, EMULATOR)
    debs = _fetch(folder / "apt", [f"{name}:arm64" for name in AARCH64])
    root = folder / "root"
    for name in ("bin", "sbin", "lib"):  # a merged /usr, as Debian has it
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in AARCH64:
        _unpack(debs[name], root)
    shutil.rmtree(folder / "apt")
    (root / "usr/bin/python3").symlink_to(PYTHON)
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("dash")
    _install_wheels(root / PACKAGES)
    _compile([root / name for name in COMPILED])
    files.plant(root, files.juno())


def _fetch(state: Path, names: Sequence[str], more: Mapping[str, object] = NONE) -> dict[str, Path]:
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
        **more,
    }
    given = [f"-o{key}={value}" for key, value in options.items()]
    given += ["-oAPT::Architectures::=amd64", "-oAPT::Architectures::=arm64", "-qq"]
    apt = ["apt-get", *given]
    _run([*apt, "update"])
    _run([*apt, "download", *names], cwd=state / "debs")
    return {path.name.partition("_")[0]: path for path in (state / "debs").glob("*.deb")}


def _unpack(deb: Path, folder: Path, members: Sequence[str] = ()) -> None:
    # dpkg-deb -x would put folders where the merged /usr has links.
    packed = [which("dpkg-deb"), "--fsys-tarfile", str(deb)]
    content = subprocess.run(packed, stdout=subprocess.PIPE, check=True).stdout
    tar = [which("tar"), "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(folder)]
    subprocess.run([*tar, *members], input=content, check=True)


def _install_wheels(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-compile", "--only-binary=:all:", "--implementation", "cp"]
    pip += ["--python-version", PYTHON.removeprefix("python"), "--target", str(folder)]
    for tag in (*MANYLINUX, "manylinux2014"):
        pip += ["--platform", f"{tag}_aarch64"]
    _run([*pip, *(f"{name}=={version(name)}" for name in WHEELS)])


def _compile(folders: Sequence[Path]) -> None:
    """Write the .pyc files on this machine: its emulation would take minutes over them."""
    is_this = f"python{sys.version_info.major}.{sys.version_info.minor}" == PYTHON
    python = sys.executable if is_this else shutil.which(PYTHON)
    if python is None:
        return  # it starts a few seconds later, and all else is the same
    # Of unchecked hashes: overlays and copies may change a file's time.
    how = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    skipped = r"/(test|tests|idlelib|lib2to3|tkinter|f2py|distutils)/"
    subprocess.run([python, *how, "-x", skipped, *map(str, folders)], check=False)


def _run(argv: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        reason = lines[-1] if lines else f"{argv[0]} fails"
        raise NotFetched(f"the stand-in for a board cannot be made: {reason}")


def which(name: str) -> str:
    """The path of a program of this machine."""
    path = shutil.which(name)
    assert path, f"{name} is not on this machine"
    return path

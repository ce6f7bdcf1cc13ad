"""The Python for phones that have none: what it is made of, how it is sent, and that it runs."""

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, channel
from benchbox.transports.adb import connect
from benchbox.transports.board.target import Target, TargetChannel
from benchbox.transports.bundle import build, download, install
from benchbox.transports.bundle.build import Bundle, bundle
from benchbox.transports.channel import ChannelClosed
from tests.board.fixtures import do_without
from tests.helpers.command import rows
from tests.helpers.on_boards import SHORT, benchbox, newest
from tests.transports.conftest import ShellLink

if TYPE_CHECKING:
    from tests import board

PHONE = Device("phone", CPU_PROVIDER, 1, "arm", (), "adb://R58")
NOBODY = "Maintainer: n <n@example.org>\nDescription: d\n"
# Starts this machine's Python in place of the one that would be loaded.
LOADER = f"""#!/bin/sh
while [ "${{1#--}}" != "$1" ]; do shift 2; done
shift; unset PYTHONHOME; exec {sys.executable} "$@"
"""


@dataclass
class Index:
    """What apt and pip have, in place of the real ones; some of it tries to reach elsewhere."""

    folder: Path
    machine: str = ""
    minors: tuple[int, ...] = (11,)

    def pythons(self) -> tuple[int, ...]:
        return self.minors

    def download(self, names: list[str]) -> list[Path]:
        (minor,) = {found[1] for name in names if (found := re.match(r"python3\.(\d+)-", name))}
        root = self.folder / f"root-{minor}"
        shutil.rmtree(root, ignore_errors=True)
        library = root / f"usr/lib/python3.{minor}"
        for name in (*build.STARTING[:-1], *build.LIBRARIES, f"../bin/python3.{minor}", "x.so.1.2"):
            write(root / "usr/lib" / name, "\x7fELF")
        write(root / "usr/lib" / build.LOADERS[self.machine], LOADER)
        write(root / "DEBIAN/control", "Package: a\nVersion: 1\nArchitecture: all\n" + NOBODY)
        for name in ("json/decoder.py", "test/a.py", "config-3/libpython.a"):
            write(library / name, "used")
        (root / "usr/lib" / build.STARTING[-1]).symlink_to("x.so.1.2")
        (library / "a.py").symlink_to("/etc/passwd")
        (library / "b.py").symlink_to("../../../../etc/passwd")
        argv = [str(shutil.which("dpkg-deb")), "--build", str(root), str(root / "a.deb")]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        return [root / "a.deb"]

    def wheels(self, *_: object) -> list[Path]:
        with zipfile.ZipFile(self.folder / "a.whl", "w") as archive:
            archive.writestr("onnxruntime/capi/state.so", "x" * 1_000_000)
            archive.writestr("onnxruntime-1.dist-info/METADATA", "Version: 1")
            unused = ("capi/libonnxruntime.so.1", "tools/a.py", "../../a.py", "../../../etc/a.py")
            for name in (*(f"onnxruntime/{name}" for name in unused), "../a.py", "/a.py"):
                archive.writestr(name, "")
        return [self.folder / "a.whl"]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    made = Index(tmp_path)

    def apt(machine: str, _: Path) -> Index:
        made.machine = machine
        return made

    monkeypatch.setattr(download, "Apt", apt)
    monkeypatch.setattr(download, "wheels", made.wheels)
    return made


@pytest.fixture
def link(tmp_path: Path) -> Iterator[ShellLink]:
    """A link to this machine's own shell."""
    (tmp_path / "there").mkdir()
    with contextlib.closing(ShellLink(tmp_path / "there")) as opened:
        yield opened


KEPT = ".cache/benchbox"  # the folder there


def refusal(link: ShellLink) -> str:
    """Why nothing can be installed; it leaves nothing there."""
    with pytest.raises((DeviceError, ChannelClosed)) as caught:
        install.install(PHONE, link, lambda *_: None)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    kept = link.home / KEPT
    assert not kept.is_dir() or [path.name for path in kept.rglob("*")] == ["run"]
    return str(caught.value)


# what it is made of


@pytest.mark.usefixtures("index")
def test_what_an_agent_imports_is_packed_once_and_nothing_else(cache_dir: Path) -> None:
    making: list[bool] = []
    made = bundle("aarch64", lambda: making.append(True))
    starting = {"ld-linux-aarch64.so.1", *build.STARTING, "python3"}
    assert (set(made.files), made.library) == ({*starting, "python311.zip"}, "lib/python3.11")
    with zipfile.ZipFile(made.files["python311.zip"]) as archive:
        wheel = {"onnxruntime/capi/state.so", "onnxruntime-1.dist-info/METADATA"}
        assert set(archive.namelist()) == {*build.LIBRARIES, "json/decoder.py", *wheel}
    assert made.size_bytes < 20_000 and made.unpacked_bytes > 1_000_000
    assert bundle("aarch64", lambda: making.append(True)) == made and making == [True]
    digest = made.digest
    shutil.rmtree(cache_dir)
    assert bundle("aarch64").digest == digest


@pytest.mark.parametrize("minors", [(9, 10, 11, 12), (12, 2), (99,)])
def test_the_nearest_python_that_an_agent_runs_on_is_taken(
    index: Index, minors: tuple[int, ...]
) -> None:
    index.minors = minors
    here = sys.version_info.minor
    nearest = min((each for each in minors if each >= 11), key=lambda each: abs(each - here))
    assert bundle("x86_64").archive == f"python3{nearest}.zip"


def test_without_a_network_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The indexes are looked for where none is; what apt and pip say of it is passed on."""
    if not shutil.which("apt-get"):
        pytest.skip("needs apt-get")
    nowhere = 'Dir::Etc::sourcelist "/nowhere";\nDir::Etc::sourceparts "/nowhere";\n'
    (tmp_path / "apt.conf").write_text(nowhere)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    apt = download.Apt("aarch64", tmp_path / "state")
    with pytest.raises(DeviceError, match="no Python for the device; run benchbox once on Debian"):
        apt.pythons()
    with pytest.raises(DeviceError, match=r"cannot be fetched: E: .*; run benchbox once on Debian"):
        apt.download(["libc6"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(DeviceError, match=r"cannot be fetched: ERROR: .*(onnxruntime|numpy)"):
        download.wheels("aarch64", 11, "1.0", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"comes by apt-get, which .* not; .*Termux"):
        download.Apt("aarch64", tmp_path / "other")


def test_ubuntu_has_arms_packages_on_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = {"ID": "ubuntu", "VERSION_CODENAME": "noble"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert download._sources("x86_64", tmp_path) == {}
    listed = Path(str(download._sources("aarch64", tmp_path)["Dir::Etc::SourceList"])).read_text()
    assert listed.count("http://ports.ubuntu.com/ubuntu-ports noble") == 3


# how it is sent


@pytest.mark.usefixtures("index")
def test_it_is_sent_once_and_what_is_old_is_removed(link: ShellLink) -> None:
    kept = link.home / KEPT
    for name in ("old", "recent"):
        (kept / f"python-{name}").mkdir(parents=True)
    os.utime(kept / "python-old", (0, 0))
    heard: list[tuple[int, int | None]] = []
    python = Path(install.install(PHONE, link, lambda _, *sent: heard.append(sent)))
    total = bundle(platform.machine()).size_bytes
    assert (heard[0], heard[-1]) == ((0, None), (total, total))
    names = {path.name for path in kept.iterdir()}
    assert names == {"run", "python-recent", python.parent.name}
    assert (python.parent / "lib/python3.11/json/decoder.py").read_text() == "used"
    heard.clear()
    assert install.install(PHONE, link, lambda _, *sent: heard.append(sent)) == str(python)
    assert not heard and not list((kept / "run").iterdir())
    assert subprocess.run([python, "-c", "print(6 * 7)"], capture_output=True).stdout == b"42\n"


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("digest", lambda _: "0" * 64, "on the device: a file arrived broken; run it again"),
        ("SPARE_BYTES", 1 << 60, r"on the device: no space left there: \d+ MB needed"),
    ],
)
def test_what_cannot_be_kept_leaves_nothing_there(
    link: ShellLink, monkeypatch: pytest.MonkeyPatch, name: str, value: object, why: str
) -> None:
    monkeypatch.setattr(install, name, value)
    assert re.search(why, refusal(link))


@pytest.mark.usefixtures("index")
def test_an_interrupted_sending_leaves_nothing_there(link: ShellLink) -> None:
    run = link.home / KEPT / "run"

    def sending(_name: str, sent: int, _size: int | None) -> None:
        if sent:
            assert list(run.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install.install(PHONE, link, sending)
    assert list(run.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_of(link: ShellLink) -> None:
    (link.home / ".cache").mkdir()
    (link.home / KEPT).write_text("a file where the folder should be")
    said = refusal(link)
    assert "no Python there, and no folder there for what is sent: on the device: mkdir: " in said
    assert said.endswith("free some space, and see that its shell may write to /data/local/tmp")


def reply(**parts: object) -> str:
    whole = {"folder": "/x", "machine": "x86_64", "free": "9 9", "there": False} | parts
    return f"echo '{json.dumps(whole)}'"


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (
            reply(machine=chr(27) + "[2J" * 999),
            r"to a processor of type \\x1b\[2J.* only to aarch64",
        ),
        (reply(folder="home"), "'folder'"),
        (reply(free="² 4096"), "MB needed, 0 MB free"),
        (reply(free="9" * 5000), "MB needed, 0 MB free"),
        ("yes | tr -d '\\n'", "it wrote (more than )?1 MB"),
        ("printf '\\033[2Jno' >&2; exit 3", r"on the device: \\x1b\[2Jno"),
        ("exit 137", "SIGKILL"),
    ],
)
def test_a_phone_that_answers_anything_is_refused_in_one_line(
    link: ShellLink, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    monkeypatch.setattr(channel, "MOST_BYTES", 1 << 20)
    start = link.start
    monkeypatch.setattr(link, "start", lambda _: start(says))
    assert re.search(why, refusal(link))


# that it runs


@pytest.fixture(scope="module")
def kept_parts(boards: object) -> Path:
    """The cache that outlives the tests, found before one of them has a home of its own."""
    from tests.board.setup import cache_folder

    assert boards
    return cache_folder() / "cache"


@pytest.fixture
def fetched(kept_parts: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bundle]:
    """What makes a real bundle for a machine; kept like the parts of boards, as it is fetched."""
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(kept_parts))

    def made(machine: str) -> Bundle:
        try:
            made = bundle(machine)
        except DeviceError as error:
            do_without(str(error))
        assert made.size_bytes < 45_000_000
        return made

    return made


MAPPED = """\
import ctypes, json, re, subprocess, sys, numpy, onnxruntime
mapped = re.findall("/.*[.]so.*", open("/proc/self/maps").read())
again = subprocess.run([sys.executable, "-c", "import numpy"])
print(json.dumps([sorted({*mapped}), again.returncode, onnxruntime.get_available_providers()]))
"""


@pytest.mark.slow
def test_a_phone_without_python_does_all_that_a_board_does(
    there: "board.Phone", fetched: Callable[[str], Bundle], write_onnx: Callable[..., Path]
) -> None:
    size = "float[256,256]"  # what takes longer than the profiler does
    assert write_onnx("a", f"a ({size} x) => ({size} y) {{ y = MatMul(x, x) }}")
    assert fetched(platform.machine())
    added = benchbox("device", "add", "phone", there.url, "--install")
    assert re.search(
        r"^software       no Python; sent: Python 3\.\d+.*onnxruntime", added.stdout, re.M
    )
    assert added.stdout.endswith("phone is ready\n")
    sent, nothing = added.stderr.splitlines()
    assert re.fullmatch(r"sending Python and ONNX Runtime, \d+ MB", sent)
    assert nothing == "nothing to install: no Python there, so that one is sent"
    assert not (there.root / "storage").exists()  # where ONNX Runtime would keep an id

    (python,) = there.storage.glob("benchbox/python-*/python")
    folder = Path("/", python.relative_to(there.root)).parent
    said = there.run("chroot", "/run/root", f"{folder}/python", "-c", MAPPED)
    mapped, code, providers = json.loads(said)
    assert len(mapped) > 10
    assert [path for path in mapped if not Path(path).is_relative_to(folder)] == []
    assert (code, CPU_PROVIDER in providers) == (0, True)

    (row,) = rows(benchbox("run", "a.onnx", "-d", "phone", *SHORT, "--export-csv", "-").stdout)
    assert row["status"] in {"ok", "imprecise"} and newest().records[0].bursts
    assert "MatMul" in benchbox("profile", "a.onnx", "-d", "phone").stdout
    benchbox("doctor", "-d", "phone", "--seconds", "0.3")
    cleaned = benchbox("device", "check", "phone", "--clean").stderr
    assert re.match(r"removed 1\d\d MB", cleaned)


@pytest.mark.slow
def test_it_runs_on_another_processor(
    emulated_phone: "board.Phone",
    adb_server: int,
    fetched: Callable[[str], Bundle],
    write_onnx: Callable[..., Path],
) -> None:
    assert fetched("aarch64") and adb_server
    device = Device("phone", CPU_PROVIDER, 1, "arm", "little", emulated_phone.url)
    link = connect.connect(device)
    python = install.install(device, link, lambda *_: None)
    there = Target(device, link, "", sent_python=python)
    with Agent(TargetChannel(there), device, path_of=there.path_of) as agent:
        said = agent.hello["host"]
        assert (said["machine"], said["emulated"]) == ("aarch64", "qemu-user")
        assert agent.hello["cpus"] == [0]
        agent.load("g", str(write_onnx()), (TensorSpec("x", (32, 32)),), 0)
        (timed,) = agent.time([("g", 3)], [1])
    assert len(timed.latencies_ns) == 3

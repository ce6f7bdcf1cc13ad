"""The Python for phones that have none: what it is made of, how it is sent, and that it runs."""

import contextlib
import csv
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchbox import records
from benchbox.cli.app import app
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, channel
from benchbox.transports.adb import connect
from benchbox.transports.board.board import Board, BoardChannel
from benchbox.transports.bundle import build, download, install
from benchbox.transports.bundle.build import Bundle, bundle
from benchbox.transports.channel import ProcessChannel
from tests.board.fixtures import _do_without

if TYPE_CHECKING:
    from tests import board

WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)
PHONE = Device("phone", CPU_PROVIDER, 1, "arm", (), "adb://R58")
MOST_SENT_BYTES = 45_000_000
# Starts this machine's Python in place of the one that would be loaded.
LOADER = f"""#!/bin/sh
while [ "${{1#--}}" != "$1" ]; do shift 2; done
shift; unset PYTHONHOME; exec {sys.executable} "$@"
"""


def write_deb(path: Path, files: dict[str, bytes], links: dict[str, str]) -> Path:
    """A Debian package of these files and symbolic links, by their names in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        parts = {"debian-binary": b"2.0\n", "control.tar": b"", "data.tar": packed.getvalue()}
        for name, content in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path


@dataclass
class Index:
    """What apt and pip have, in place of the real ones."""

    folder: Path
    pythons: tuple[int, ...] = (11,)
    is_hostile: bool = False

    def packages(self, machine: str, minor: int) -> list[Path]:
        lib = f"usr/lib/python3.{minor}"
        files = {f"lib/{build.LOADERS[machine]}": LOADER.encode()}
        files |= {f"lib/{name}": b"\x7fELF" for name in (*build.STARTING, *build.LIBRARIES)}
        files |= {f"usr/bin/python3.{minor}": b"\x7fELF", f"{lib}/json/decoder.py": b"used"}
        files |= {f"{lib}/test/big.py": b"unused", f"{lib}/config-3/libpython.a": b"unused"}
        links = {"lib/libz.so.1": "libz.so.1.2"}
        files["lib/libz.so.1.2"] = files.pop("lib/libz.so.1")
        if self.is_hostile:
            files |= {f"{lib}/../../../root/evil.py": b"", f"/{lib}/evil.py": b""}
            links |= {f"{lib}/evil.py": "/etc/passwd", f"{lib}/evil2.py": "../../../../etc/passwd"}
        return [write_deb(self.folder / "all.deb", files, links)]

    def wheels(self, minor: int) -> list[Path]:
        path = self.folder / "onnxruntime.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("onnxruntime/capi/state.so", "x" * 1_000_000)
            archive.writestr("onnxruntime/capi/libonnxruntime.so.1.31", "not needed")
            archive.writestr("onnxruntime-1.dist-info/METADATA", "Version: 1")
            archive.writestr("onnxruntime-1.dist-info/RECORD", "")
            archive.writestr("onnxruntime/tools/tool.py", f"for 3.{minor}")
            if self.is_hostile:
                archive.writestr("../evil.py", "")
                archive.writestr("/evil.py", "")
                archive.writestr("numpy/../../evil.py", "")
        return [path]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    made = Index(tmp_path)

    class Apt:
        def __init__(self, machine: str, _: Path) -> None:
            self.machine = machine

        def pythons(self) -> list[int]:
            return list(made.pythons)

        def download(self, names: list[str]) -> list[Path]:
            (minor,) = {n[1] for name in names if (n := re.match(r"python3\.(\d+)-", name))}
            return made.packages(self.machine, int(minor))

    monkeypatch.setattr(download, "Apt", Apt)
    monkeypatch.setattr(download, "wheels", lambda _m, minor, _v, _f: made.wheels(minor))
    return made


class Local(ProcessChannel):
    """A process of this machine in place of one at the other end of a link."""

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self._process.stdin.write(left) :]

    def wait(self, timeout_s: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None


class Shell:
    """A link to this machine's own shell, with a home of its own; or to one that `says` things."""

    def __init__(self, home: Path, says: str = "") -> None:
        self.home, self.says = home, says

    def start(self, command: str) -> Local:
        return Local(["sh", "-c", self.says or command], {"HOME": str(self.home)})

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "home").mkdir()
    return Shell(tmp_path / "home")


@pytest.fixture
def kept(shell: Shell) -> Path:
    """The folder there."""
    return shell.home / ".cache/benchbox"


Heard = list[tuple[int, int | None]]


def installed(shell: Shell, heard: Heard | None = None) -> Path:
    def sending(_name: str, sent: int, size: int | None) -> None:
        if heard is not None:
            heard.append((sent, size))

    return Path(install.install(PHONE, shell, sending))


def refusal(shell: Shell) -> str:
    with pytest.raises(DeviceError) as caught:
        installed(shell)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    return str(caught.value)


# what it is made of


def test_what_an_agent_imports_is_packed_and_nothing_else(index: Index) -> None:
    made = bundle("aarch64")
    assert index.folder.exists()
    assert set(made.files) == {
        *("ld-linux-aarch64.so.1", *build.STARTING, "python3", "python311.zip")
    }
    assert made.library == "lib/python3.11"
    with zipfile.ZipFile(made.files["python311.zip"]) as archive:
        assert set(archive.namelist()) == {
            *build.LIBRARIES,
            *("json/decoder.py", "onnxruntime/capi/state.so", "onnxruntime-1.dist-info/METADATA"),
        }
    assert made.size_bytes < 20_000 and made.unpacked_bytes > 1_000_000


def test_an_archive_cannot_name_files_outside(index: Index) -> None:
    index.is_hostile = True
    made = bundle("aarch64")
    with zipfile.ZipFile(made.files[made.archive]) as archive:
        assert not [name for name in archive.namelist() if "evil" in name]


@pytest.mark.parametrize("pythons", [(9, 10, 11, 12), (11, 14), (12, 2), (99,)])
def test_the_nearest_python_that_an_agent_runs_on_is_taken(
    index: Index, pythons: tuple[int, ...]
) -> None:
    index.pythons = pythons
    here = sys.version_info.minor
    nearest = min((each for each in pythons if each >= 11), key=lambda each: abs(each - here))
    assert bundle("x86_64").archive == f"python3{nearest}.zip"


@pytest.mark.usefixtures("index")
def test_it_is_made_once_and_said(cache_dir: Path) -> None:
    made: list[bool] = []
    first = bundle("aarch64", lambda: made.append(True))
    assert bundle("aarch64", lambda: made.append(True)) == first
    assert made == [True]
    shutil.rmtree(cache_dir)
    assert bundle("aarch64").digest == first.digest


def test_without_a_network_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The indexes are looked for where none is; what apt and pip say of it is passed on."""
    for name in ("apt-get", "dpkg-deb"):
        if not shutil.which(name):
            pytest.skip(f"needs {name}")
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


def test_without_apt_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"comes by apt-get, which .* not; .*Termux"):
        download.Apt("aarch64", tmp_path / "state")


@pytest.mark.parametrize(
    ("system", "machine", "is_elsewhere"),
    [("ubuntu", "aarch64", True), ("ubuntu", "x86_64", False), ("debian", "aarch64", False)],
)
def test_ubuntu_has_arms_packages_on_another_server(
    system: str,
    machine: str,
    is_elsewhere: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = {"ID": system, "VERSION_CODENAME": "noble"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    options = download._sources(machine, tmp_path)
    assert bool(options) is is_elsewhere
    if options:
        listed = Path(str(options["Dir::Etc::SourceList"])).read_text().splitlines()
        assert [line.split()[-4:] for line in listed] == [
            ["http://ports.ubuntu.com/ubuntu-ports", f"noble{more}", "main", "universe"]
            for more in ("", "-updates", "-security")
        ]


# how it is sent


@pytest.mark.usefixtures("index")
def test_it_is_sent_once_and_what_is_old_is_removed(shell: Shell, kept: Path) -> None:
    old, recent = (kept / f"python-{name}" for name in ("old", "recent"))
    for folder, mtime in ((old, 0), (recent, None)):
        folder.mkdir(parents=True)
        os.utime(folder, None if mtime is None else (mtime, mtime))
    heard: Heard = []
    python = installed(shell, heard)
    total = bundle(platform.machine()).size_bytes
    assert heard[0] == (0, None) and heard[-1] == (total, total)
    assert [sent for sent, _ in heard] == sorted(sent for sent, _ in heard)
    assert not old.exists() and recent.exists()
    assert list((kept / "run").iterdir()) == []
    assert (python.parent / "lib/python3.11/json/decoder.py").read_text() == "used"
    assert (python.parent / "libz.so.1").read_bytes() == b"\x7fELF"
    again: Heard = []
    assert installed(shell, again) == python and again == []
    said = subprocess.run([python, "-c", "print(6 * 7)"], capture_output=True, text=True)
    assert said.stdout == "42\n", said.stderr


@pytest.mark.usefixtures("index")
def test_what_arrives_broken_is_not_kept(
    shell: Shell, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "digest", lambda _: "0" * 64)
    assert "on the device: a file arrived broken; run it again" in refusal(shell)
    assert [path.name for path in kept.iterdir()] == ["run"]
    assert list((kept / "run").iterdir()) == []


@pytest.mark.usefixtures("index")
def test_an_interrupted_sending_leaves_nothing_there(shell: Shell, kept: Path) -> None:
    def sending(_name: str, sent: int, _size: int | None) -> None:
        if sent:
            assert list((kept / "run").iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install.install(PHONE, shell, sending)
    assert list((kept / "run").iterdir()) == []


@pytest.mark.usefixtures("index")
def test_without_room_nothing_is_sent(
    shell: Shell, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SPARE_BYTES", 1 << 60)
    assert re.search(r"on the device: no space left there: \d+ MB needed", refusal(shell))
    assert list((kept / "run").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_of(shell: Shell, kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("a file where the folder should be")
    said = refusal(shell)
    assert "no Python there, and no folder there for what is sent: on the device: mkdir: " in said
    assert said.endswith("free some space, and see that its shell may write to /data/local/tmp")


def reply(**parts: object) -> str:
    return json.dumps({"folder": "/x", "machine": "x86_64", "free": "9 9", "there": False} | parts)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (f"echo '{reply(machine='armv7l')}'", "to a processor of type armv7l, only to aarch64 and"),
        (f"echo '{reply(machine=chr(27) + '[2J' * 999)}'", r"of type \\x1b\[2J"),
        (f"echo '{reply(folder='home')}'", "'folder'"),
        (f"echo '{reply(folder=7)}'", "'folder'"),
        (f"echo '{reply(free='² 4096')}'", "MB needed, 0 MB free"),
        (f"echo '{reply(free='9' * 5000)}'", "MB needed, 0 MB free"),
        ("echo Welcome", "something else than JSON lines: b'Welcome"),
        ("yes | tr -d '\\n'", "it wrote (more than )?1 MB"),
        ("printf '\\033[2Jno' >&2; exit 3", r"on the device: \\x1b\[2Jno"),
        ("kill -9 $$", "SIGKILL"),
    ],
)
def test_a_phone_that_answers_anything_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    monkeypatch.setattr(channel, "MOST_BYTES", 1 << 20)
    assert re.search(why, refusal(Shell(tmp_path, says)))


# that it runs


@pytest.fixture
def fetched(boards: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bundle]:
    """What makes a real bundle for a machine; kept like the parts of boards, as it is fetched."""
    from tests.board.setup import cache_folder

    assert boards
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(cache_folder() / "cache"))

    def made(machine: str) -> Bundle:
        try:
            return bundle(machine)
        except DeviceError as error:
            _do_without(str(error))

    return made


@pytest.mark.slow
@pytest.mark.parametrize("machine", build.MACHINES)
def test_what_is_sent_is_small(fetched: Callable[[str], Bundle], machine: str) -> None:
    made = fetched(machine)
    assert made.size_bytes < MOST_SENT_BYTES
    programs = [path for name, path in made.files.items() if name != made.archive]
    assert all(path.read_bytes()[:4] == b"\x7fELF" for path in programs)


MAPPED = """\
import ctypes, json, re, subprocess, sys, numpy, onnxruntime
mapped = re.findall("/.*[.]so.*", open("/proc/self/maps").read())
again = subprocess.run([sys.executable, "-c", "import numpy"])
print(json.dumps([sorted({*mapped}), again.returncode, onnxruntime.get_available_providers()]))
"""


@pytest.mark.slow
def test_it_uses_no_library_but_its_own_and_starts_itself_again(
    fetched: Callable[[str], Bundle], shell: Shell
) -> None:
    fetched(platform.machine())
    python = installed(shell)
    said = subprocess.run([python, "-c", MAPPED], capture_output=True, check=True)
    mapped, code, providers = json.loads(said.stdout)
    assert len(mapped) > 10
    assert [path for path in mapped if not Path(path).is_relative_to(python.parent)] == []
    assert (code, CPU_PROVIDER in providers) == (0, True)


@pytest.mark.slow
def test_a_phone_without_python_does_all_that_a_board_does(
    host_phone: "board.Phone",
    adb_server: "board.AdbServer",
    fetched: Callable[[str], Bundle],
    write_onnx: WriteOnnx,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def benchbox(*arguments: str) -> tuple[str, str]:
        done = CliRunner().invoke(app, arguments, prog_name="benchbox")
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    assert fetched(platform.machine()) and adb_server.port
    monkeypatch.setenv("BENCHBOX_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    write_onnx("a")
    host_phone.start_adbd()
    host_phone.run("rm", "-rf", "/run/root/data/local/tmp/benchbox")
    stdout, stderr = benchbox("device", "add", "phone", host_phone.url, "--install")
    assert re.search(r"^software       no Python; sent: Python 3\.\d+.*onnxruntime", stdout, re.M)
    assert stdout.endswith("phone is ready\n")
    sent, nothing = stderr.splitlines()
    assert re.fullmatch(r"sending Python and ONNX Runtime, \d+ MB", sent)
    assert nothing == "nothing to install: no Python there, so that one is sent"
    short = ("--quick", "--precision", "90%", "--max-time", "1s")
    assert not (host_phone.root / "storage").exists()  # where ONNX Runtime would keep an id
    stdout, stderr = benchbox("run", "a.onnx", "-d", "phone", *short, "--export-csv", "-")
    (row,) = csv.DictReader(io.StringIO(stdout))
    assert row["status"] in {"ok", "imprecise"}
    assert records.read(next(Path("results").glob("*/*.jsonl"))).records[0].bursts
    assert "sending Python" not in stderr
    assert "MatMul" in benchbox("profile", "a.onnx", "-d", "phone")[0]
    benchbox("doctor", "-d", "phone", "--seconds", "1")
    assert re.match(r"removed 1\d\d MB", benchbox("device", "check", "phone", "--clean")[1])


@pytest.mark.slow
def test_it_runs_on_another_processor(
    emulated_phone: "board.Phone",
    adb_server: "board.AdbServer",
    fetched: Callable[[str], Bundle],
    write_onnx: WriteOnnx,
) -> None:
    assert fetched("aarch64") and adb_server.port
    device = Device("phone", CPU_PROVIDER, 1, "arm", "little", emulated_phone.url)
    link = connect.connect(device)
    python = install.install(device, link, lambda *_: None)
    there = BoardChannel(Board(device, link, "", sent_python=python))
    with Agent(there, device, place=there.place) as agent:
        assert agent.hello["host"]["machine"] == "aarch64"
        assert agent.hello["host"]["emulated"] == "qemu-user"
        assert agent.hello["cpus"] == [0]
        assert agent.load("g", str(write_onnx()), X, 0).first_call_s > 0
        (timed,) = agent.time([("g", 3)], [1])
    assert len(timed.latencies_ns) == 3

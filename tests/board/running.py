"""Starts boards and ends them."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from tests.board import inside
from tests.board.files import UID, USER
from tests.board.setup import Parts, parts, which

LOOPBACK = "127.0.0.1"
MOST = 8  # boards of a kind at once, each in a network of its own
QEMU_CPU = "cortex-a72"  # `max` is ten times slower, and files.FEATURES names what this one can
END_S = 10.0
SSHD = """\
Port {port}
ListenAddress {address}
HostKey /run/files/host_key
AuthorizedKeysFile /run/files/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
SetEnv {env}
"""
CLIENT = """\
Host board
  HostName {board.host}
  Port {board.port}
  User {board.user}
  IdentityFile {board.key}
  IdentitiesOnly yes
  UserKnownHostsFile {board.known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
"""


# ssh reads the files of the user that the system knows, whatever HOME is.
USER_CONFIG = """\
Include {folder}/config
Match all
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  IdentityFile {folder}/id_ed25519
"""


def ssh_user(home: Path) -> dict[str, str]:
    """Make a home folder; return the environment in which ssh reads its .ssh and no other."""
    folder = home / ".ssh"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (home / "ssh_config").write_text(USER_CONFIG.format(folder=folder))
    ssh = home / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {which("ssh")} -F {home}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    return {"HOME": str(home), "PATH": f"{ssh.parent}:{os.environ['PATH']}", "SSH_AUTH_SOCK": ""}


class Board:
    """A running board, and what a client needs to reach it.

    `config` is an ssh configuration that names it `board`. `root` is the board's / as this process
    sees it, and `home` its user's folder: plant files there; both are gone once it has stopped.
    """

    def __init__(self, parts: Parts) -> None:
        self.user = USER if parts.root else "root"
        self.host, self.port = LOOPBACK, 0
        self._parts = parts
        self._held = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        folder = self._held.enter_context(tempfile.TemporaryDirectory(prefix="benchbox-board-"))
        self.folder = Path(folder)
        self.key = self.folder / "key"
        self.known_hosts = self.folder / "known_hosts"
        self.config = self.folder / "config"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that holds the board's namespaces."""
        assert self._process is not None, "stopped"
        return self._process.pid

    @property
    def root(self) -> Path:
        """The board's / as this process sees it."""
        return self.outside(inside.ROOT if self._parts.root else Path("/"))

    @property
    def home(self) -> Path:
        """The home folder of the board's user as this process sees it."""
        return self.root / "home" / self.user if self._parts.root else self.outside("/run/home")

    def outside(self, path: Path | str) -> Path:
        """Where this process sees a path of the board's namespace of mounts."""
        return Path(f"/proc/{self.pid}/root", str(path).lstrip("/"))

    def ssh(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a shell command there by this machine's ssh."""
        argv = [which("ssh"), "-F", str(self.config), "board", command]
        return subprocess.run(argv, input="", capture_output=True, text=True, timeout=60.0)

    def pids(self, text: str) -> list[int]:
        """The board's processes that have `text` in their command line."""
        found = []
        for path in self.outside("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if text in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    found.append(int(path.parent.name))
        return sorted(found)

    def agents(self) -> list[int]:
        """The programs that were sent to the board and run there."""

        def is_shell(pid: int) -> bool:  # that waits for one, behind the emulator's own words
            with contextlib.suppress(OSError):
                words = self.outside(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                return b"sh" in words[:3]
            return True

        sent = (pid for folder in ("files", "sets") for pid in self.pids(f"benchbox/{folder}/"))
        return sorted(pid for pid in {*sent} if not is_shell(pid))

    def hang_up(self) -> None:
        """End every connection without a word."""
        for pid in self.connections():
            self.kill(pid)

    def connections(self) -> list[int]:
        """The processes of sshd that serve a connection each."""
        return self.pids(f"sshd: {self.user}@")

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to one of the board's processes, by its number there."""
        self._ask({"kill": [pid, int(number)]})

    def run(self, *argv: str) -> str:
        """Run a program of this machine in the board's namespaces, as their root."""
        done = self._ask({"argv": argv, "libraries": self._parts.libraries})
        if done["code"]:
            raise RuntimeError(f"{' '.join(argv)}: {done['error']}")
        return str(done["out"])

    def reboot(self) -> None:
        """Kill all of its processes and start its sshd again."""
        for pid in self.pids(""):
            with contextlib.suppress(RuntimeError):  # it went with its parent
                if pid != 1:
                    self.kill(pid)
        self._ask({"serve": True})

    def fill(self, folder: Path, size: str = "64k") -> None:
        """Put a small disk on a folder under `root` or `home`, which it hides."""
        folder.mkdir(parents=True, exist_ok=True)
        there = "/" + str(folder.relative_to(self.outside("/")))
        self.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "none", there)

    def stop(self) -> None:
        """End everything of the board; nothing happens where it has ended already."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()  # its child, the first process in there, goes with it
                process.wait()
            process.stdout.close()
        self._held.close()

    def _start(self) -> None:
        generate_key(self.key)
        generate_key(self.folder / "host_key")
        self.port = free_port() if self.host == LOOPBACK else self.port
        self._open()
        host_key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        name = self.host if self.port == 22 else f"[{self.host}]:{self.port}"
        self.known_hosts.write_text(f"{name} {host_key}\n")
        self.config.write_text(CLIENT.format(board=self))

    def _open(self) -> None:
        """Start what holds the namespaces, and wait until sshd answers in there."""
        argv = [sys.executable, "-I", "-S", inside.__file__, json.dumps(self._told())]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._hear("unshared")
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{self.pid}/{kind}").write_text("0 0 65536\n")
        self._connect()
        self._tell({})
        self._hear("ready")

    def _connect(self) -> None:
        """Give the namespaces their way to this machine: there is one, it is loopback."""

    def _told(self) -> dict[str, Any]:
        found = self._parts
        return {
            "network": False,
            "first": [],
            "address": (self.host, self.port),
            "root": str(found.root) if found.root else None,
            "emulator": str(found.emulator) if found.emulator else None,
            "real_proc": False,
            "binds": [],
            "folders": [],
            "server": [str(found.sshd), "-D", "-e", "-f", f"{inside.RUN}/files/sshd_config"],
            "server_env": {},
            "greeting": "SSH-",
            "libraries": found.libraries,
            "user": self.user,
            "uid": UID,
            "files": {
                "passwd": self._passwd(),
                "group": f"root:*:0:\nnogroup:*:65534:\n{USER}:*:{UID}:\n",
                "authorized_keys": self.key.with_suffix(".pub").read_text(),
                "host_key": (self.folder / "host_key").read_text(),
                "sshd_config": self._sshd_config(),
            },
        }

    def _passwd(self) -> str:
        users = "sshd:*:100:65534::/run/sshd:/usr/sbin/nologin\n"
        if self._parts.root:
            return f"root:*:0:0::/root:/bin/sh\n{users}{USER}:*:{UID}:{UID}::/home/{USER}:/bin/sh\n"
        return f"root:*:0:0::/run/home:/bin/sh\n{users}"

    def _sshd_config(self) -> str:
        if self._parts.root:
            env = f"QEMU_CPU={QEMU_CPU} PATH=/usr/local/bin:/usr/bin:/bin"
            chroot = f"ChrootDirectory {inside.ROOT}\n"
        else:
            bin_folder = Path(sys.executable).parent
            # To compile what pip installs there takes longer than all else of a test.
            env = f"PATH={bin_folder}:/usr/local/bin:/usr/bin:/bin PIP_NO_COMPILE=1"
            chroot = ""
        return SSHD.format(port=self.port, address=self.host, env=env) + chroot

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self._tell(message)
        answer = self._hear()
        if "code" not in answer and "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None, "stopped"
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _hear(self, key: str = "") -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None, "stopped"
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the board is gone"}
        if key and key not in answer:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the board does not start: {answer.get('error')}")
        return answer


class NetworkBoard(Board):
    """A board in a network of its own, on a port of an address: its link can fail or be slow.

    `absent` is an address beside it that nobody has.
    """

    kind = "benchbox-board"  # whose links have a digit more, and no more than 15 characters
    networks = "198.18.7"  # for tests of networks, so of no real machine (RFC 2544)
    server_port = 22

    def link_down(self) -> None:
        """Pull the board's cable: connections hang, new ones find no host after three seconds."""
        self.run(self._parts.tool("ip"), "link", "set", "eth0", "down")

    def link_up(self) -> None:
        """Plug the cable in again."""
        self.run(self._parts.tool("ip"), "link", "set", "eth0", "up")

    def slow(self, kbit: int | None) -> None:
        """Limit the link to a rate in both directions; None lifts the limit."""
        tc = self._parts.tool("tc")
        limit = ["tbf", "rate", f"{kbit}kbit", "burst", "16kb", "latency", "400ms"]
        for name, run in (("eth0", self.run), (self.link, partial(_run_here, self._parts))):
            if kbit is None:
                run(tc, "qdisc", "del", "dev", name, "root")
            else:
                run(tc, "qdisc", "replace", "dev", name, "root", *limit)

    def stop(self) -> None:
        """End everything of the board, and take down this machine's end of the link."""
        try:
            if self._process is not None:
                self._remove_link()
        finally:
            super().stop()

    def _start(self) -> None:
        number = self._held.enter_context(_free_number(self.kind))
        self.link, network = f"{self.kind}{number}", f"{self.networks}{number}"
        self.host, self.port = f"{network}.2", self.server_port
        self.absent = f"{network}.9"
        self._here = f"{network}.1/24"
        super()._start()

    def _remove_link(self) -> None:
        with contextlib.suppress(RuntimeError):  # there is none, or it has just gone
            self._ip("link", "del", self.link)

    def _ip(self, *argv: str) -> None:
        _run_here(self._parts, self._parts.tool("ip"), *argv)

    def _connect(self) -> None:
        self._remove_link()  # that of one before it goes a bit later
        there = ["peer", "name", "eth0", "netns", str(self.pid)]
        self._ip("link", "add", self.link, "type", "veth", *there)
        self._ip("addr", "add", self._here, "dev", self.link)
        self._ip("link", "set", self.link, "up")

    def _told(self) -> dict[str, Any]:
        ip = self._parts.tool("ip")
        first = [
            [ip, "link", "set", "lo", "up"],
            [ip, "addr", "add", f"{self.host}/24", "dev", "eth0"],
            [ip, "link", "set", "eth0", "up"],
        ]
        return {**super()._told(), "network": True, "first": first}


def board() -> Board:
    """An emulated aarch64 board; its /proc is a few plain files, which a test can change."""
    return Board(parts(emulated=True))


def host_board() -> Board:
    """This machine behind an sshd, with the Python that runs this and an empty home."""
    return Board(parts(emulated=False))


def network_board() -> NetworkBoard:
    """A board at an address of its own."""
    return NetworkBoard(parts(emulated=False))


def _run_here(found: Parts, *argv: str) -> None:
    """Run a tool in this machine's own namespaces."""
    is_ours = argv[0].startswith(str(found.tools))
    env = os.environ | ({"LD_LIBRARY_PATH": found.libraries} if is_ours else {})
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")


@contextmanager
def _free_number(kind: str) -> Iterator[int]:
    """A number that no other board of the kind has on this machine, among all processes.

    It is held by an abstract socket, which no two processes can bind and none leaves behind.
    """
    for number in itertools.cycle(range(MOST)):
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0{kind}{number}")
            except OSError:
                time.sleep(0.1)
                continue
            yield number
            return


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        port: int = taken.getsockname()[1]
        return port


def generate_key(path: Path, kind: str = "ed25519") -> str:
    """Make a pair of keys, in place of one that is there; return the public one."""
    path.unlink(missing_ok=True)
    argv = [which("ssh-keygen"), "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])

"""Runs inside the board's namespaces, as their first process: when it ends, all of them end.

Started by tests.board, which tells what to set up as JSON in its argument and asks on stdin. The
end of stdin ends it, so nothing outlives the tests however they end.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
RUN = Path("/run")  # a tmpfs here; the machine's own is out of sight
ROOT = RUN / "root"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
OWN = ("data", "dev", "home", "proc", "run", "storage", "sys", "tmp")  # empty in a mirror
DEVICES = ("null", "zero", "full", "random", "urandom")
# The ELF header of an aarch64 program, and which bits of it count; as qemu itself registers it.
MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
START_S = 10.0
libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    told = json.loads(sys.argv[1])
    flags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | (CLONE_NEWNET if told["network"] else 0)
    _check(libc.unshare(flags), "unshare")
    _say({"unshared": os.getpid()})
    sys.stdin.readline()  # the ids are mapped now, and the network is there
    child = os.fork()
    if child:
        os.close(0)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    try:
        _mounts(told)
        for argv in told["first"]:
            subprocess.run(argv, env=_env(told), check=True, capture_output=True)
        _serve(told)
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        _say({"error": f"{error} {getattr(error, 'stderr', '') or ''}"})
        os._exit(1)
    _say({"ready": True})
    _answer(told)


def _mounts(told: dict[str, Any]) -> None:
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc")
    _mount("none", str(RUN), "tmpfs", data="mode=755")
    for name in ("sshd", "files", "home", "root", "upper", "work"):
        (RUN / name).mkdir(mode=0o755)
    for name, text in told["files"].items():
        path = RUN / "files" / name
        path.write_text(text)
        path.chmod(0o600 if name == "host_key" else 0o644)
    # As on a machine of its own: whoever reaches it sees no other system than itself.
    (RUN / "files/boot_id").write_text(f"{uuid.uuid4()}\n")
    _mount(str(RUN / "files/boot_id"), "/proc/sys/kernel/random/boot_id", "", MS_BIND)
    for name in ("passwd", "group"):
        _mount(str(RUN / "files" / name), f"/etc/{name}", "", MS_BIND)
    if told["root"]:
        _root(told)


def _root(told: dict[str, Any]) -> None:
    """Lay a root that can be written over the kept one, or make one of this machine's folders."""
    if told["root"] == "/":
        _mirror()
    else:
        layers = f"lowerdir={told['root']},upperdir={RUN}/upper,workdir={RUN}/work,userxattr"
        _mount("overlay", str(ROOT), "overlay", data=layers)
    home = ROOT / "home" / told["user"]
    for path in (home, ROOT / "tmp", ROOT / "root", ROOT / "dev/shm", ROOT / "run"):
        path.mkdir(parents=True, exist_ok=True)
    os.chown(home, told["uid"], told["uid"])
    (ROOT / "tmp").chmod(0o1777)
    for name in DEVICES:
        (ROOT / "dev" / name).touch()
        _mount(f"/dev/{name}", f"{ROOT}/dev/{name}", "", MS_BIND)
    _mount("none", str(ROOT / "dev/shm"), "tmpfs", data="mode=1777")
    _beside(told)
    if told["real_proc"]:
        _mount("proc", f"{ROOT}/proc", "proc")
    if told["emulator"]:
        _emulate(told)


def _mirror() -> None:
    """Show this machine's folders of programs; what a program writes elsewhere stays here."""
    for path in Path("/").iterdir():
        there = ROOT / path.name
        if path.is_symlink():
            there.symlink_to(path.readlink())
        elif path.is_dir():
            there.mkdir()
            if path.name not in OWN:
                _mount(str(path), str(there), "", MS_BIND | MS_REC)


def _beside(told: dict[str, Any]) -> None:
    """Make the folders that a root lacks, and lay what is asked for over its own."""
    for name in told["folders"]:
        (ROOT / name).mkdir(parents=True, exist_ok=True)
        (ROOT / name).chmod(0o777)
    for source, target in told["binds"]:
        there = ROOT / target.lstrip("/")
        if not there.exists():
            there.mkdir(parents=True)
        _mount(source, str(there), "", MS_BIND | MS_REC)


def _emulate(told: dict[str, Any]) -> None:
    if told["real_proc"]:
        _mount(f"{told['root']}/proc/cpuinfo", f"{ROOT}/proc/cpuinfo", "", MS_BIND)
    _mount("none", str(BINFMT), "binfmt_misc")
    # F: opened now, so that it is found inside the root as well. P: argv[0] stays as it is.
    (BINFMT / "register").write_text(f":aarch64:M::{MAGIC}:{MASK}:{told['emulator']}:PF")


def _serve(told: dict[str, Any]) -> None:
    """Start the server and wait until it greets; it keeps no more than its log."""
    log, greeting = RUN / "files/log", told["greeting"].encode()
    with log.open("wb") as errors:
        nothing = subprocess.DEVNULL
        env = told["server_env"] or _env(told)
        server = subprocess.Popen(told["server"], env=env, stdin=nothing, stderr=errors)
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(told["address"], 1) as there:
            if there.recv(len(greeting)) == greeting:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the server does not answer: {log.read_text()}")


def _answer(told: dict[str, Any]) -> None:
    """Do what is asked on stdin, and take leave of orphans, until the end of stdin."""
    while True:
        ready, _, _ = select.select([0], [], [], 0.2)
        line = os.read(0, 1 << 16) if ready else b"-"
        if not line:
            os._exit(0)
        if ready:
            _say(_do(told, json.loads(line)))
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _do(told: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    try:
        if "serve" in asked:
            _serve(told)
            return {}
        if "kill" in asked:
            os.kill(*asked["kill"])
            return {}
        done = subprocess.run(asked["argv"], env=_env(asked), capture_output=True, text=True)
    except (OSError, RuntimeError) as error:
        return {"error": str(error)}
    return {"code": done.returncode, "out": done.stdout, "error": done.stderr}


def _env(told: dict[str, Any]) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": told["libraries"]}


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    given = [text.encode() for text in (source, target, kind)]
    _check(libc.mount(*given, flags, data.encode()), f"mount {kind or source} on {target}")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()

"""The adb program: its path, its server, and the phones that are attached."""

import os
import re
import shutil
import subprocess
import time

PORT, PORT_NAME = 5037, "ANDROID_ADB_SERVER_PORT"  # as the adb program has them
REPLY_S = 20.0  # the first command starts a server
SETTLE_S = 4.0  # a phone that was just found is offline, then asks its user, for a moment
UNSETTLED = ("connecting", "authorizing", "offline")
NETWORKED = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
ADVICE = {
    "unauthorized": "it has not accepted this computer; unlock it, accept `Allow USB debugging?`, "
    "and run this again",
    "authorizing": "it waits for you; unlock it and accept `Allow USB debugging?`",
    "offline": "it is offline; unlock it, plug it in again, or switch USB debugging off and on",
    "no permissions": "this user may not open its USB device; add a udev rule or the group "
    "plugdev, and plug it in again",
}
INSTALL = (
    "phones over adb need the adb program: put your own into PATH, or pip install 'benchbox[adb]'"
)


class AdbRefused(Exception):  # noqa: N818 - adb.connect makes an error of it, with the device's name
    """A phone cannot be used; the text says why and what to do, `kind` the same in two words."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def path() -> str:
    """The path of the user's own adb, or else of the one in adbutils; raises AdbRefused."""
    if found := shutil.which("adb"):
        return found
    try:
        import adbutils

        return str(adbutils.adb_path())
    except ImportError:
        raise AdbRefused("no adb program", INSTALL) from None


def start_server() -> None:
    """Have a server run, which every other command asks; raises AdbRefused."""
    port = _port()  # first: adb stumbles over a wrong one
    done = _run("start-server")
    if done.returncode:
        last = ((done.stderr + done.stdout).strip().splitlines() or ["no reason given"])[-1]
        raise AdbRefused(
            "no adb server",
            f"no adb server can be started at port {port} ({' '.join(last.split())}); stop what "
            f"listens there, set {PORT_NAME} to another port, or put your own adb into PATH, and "
            "try: adb start-server",
        )


def _port() -> int:
    given = os.environ.get(PORT_NAME) or str(PORT)
    if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
        raise AdbRefused("no adb server", f"{PORT_NAME}={given!r}: write the number of a port")
    return int(given)


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = [path(), *arguments]
    nothing = subprocess.DEVNULL
    try:
        return subprocess.run(
            argv, stdin=nothing, capture_output=True, text=True, errors="replace", timeout=REPLY_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"no answer for {REPLY_S:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 1, "", f"{type(error).__name__}: {error}")


def attached() -> list[tuple[str, str]]:
    """The serial number and the state of every phone, in the server's order."""
    lines = [line.partition("\t") for line in _run("devices").stdout.splitlines()]
    return [(serial, state.partition(" (")[0]) for serial, tab, state in lines if tab]


def is_networked(serial: str) -> bool:
    """Whether a serial number is the address of a phone on a network: host:port."""
    return NETWORKED.fullmatch(serial) is not None


def disconnect(serial: str) -> None:
    """Have the server forget a phone on a network, which it would else take for there."""
    _run("disconnect", serial)


def require(serial: str) -> None:
    """Raise AdbRefused unless a phone is attached and can be used; host:port is connected to."""
    states = _settled(serial)
    if is_networked(serial) and states in ([], ["offline"]):
        if states:
            disconnect(serial)
        said = " ".join(_run("connect", serial).stdout.split())
        states = _settled(serial)
        if not states:
            raise AdbRefused("not reachable", f"{said}; is adb over the network switched on there?")
    if not states:
        raise AdbRefused("not attached", _absent(serial))
    if len(states) > 1:
        raise AdbRefused(
            "several", f"{len(states)} phones say that they are {serial}; unplug all but one"
        )
    if states[0] != "device":
        general = f"it is in the state {states[0]!r}; start it into Android"
        raise AdbRefused(states[0], ADVICE.get(states[0], general))
    if "shell_v2" not in _run("-s", serial, "features").stdout.split():
        raise AdbRefused(
            "no shell_v2",
            "its adb has no shell_v2, which came with Android 7; with Termux and its sshd it is "
            "reached by ssh://user@phone:8022",
        )


def _settled(serial: str) -> list[str]:
    """The states of all phones of a serial number, once they have settled."""
    until = time.monotonic() + SETTLE_S
    while True:
        states = [state for each, state in attached() if each == serial]
        if not set(states) & set(UNSETTLED) or time.monotonic() > until:
            return states
        time.sleep(0.1)


def _absent(serial: str) -> str:
    found = [f"{each} ({state})" for each, state in attached()]
    there = f"attached: {', '.join(found)}" if found else "none is"
    return f"no phone {serial} is attached, {there}; plug it in and switch on USB debugging"

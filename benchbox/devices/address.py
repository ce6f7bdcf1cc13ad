"""Addresses of devices: ssh://[user@]host[:port] and adb://serial, parsed and checked."""

import re
from dataclasses import dataclass

from benchbox.errors import UsageError

USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"  # of a name: RFC 1035, section 2.3.4, as are its 253
NAMED = rf"(?!_)(?![A-Za-z0-9._-]{{254}}){LABEL}(?:\.{LABEL})*\.?"
HOST = NAMED + r"|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]"
SSH = re.compile(rf"ssh://(?:(?P<user>{USER})@)?(?P<host>{HOST})(?::(?P<port>[0-9]{{1,5}}))?/?")
PASSWORD = re.compile(r"(//[^:@/]*:).*@", re.DOTALL)
ADB = re.compile(r"adb://([A-Za-z0-9][A-Za-z0-9._:-]{0,127})")
FORMS = "ssh://[user@]host[:port], adb://serial or local"


@dataclass(frozen=True, slots=True)
class Address:
    """Parts of an ssh:// address; None leaves one to the user's own ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None


def ssh_address(url: str) -> Address:
    """Parse an ssh:// address; raises UsageError, which shows no password."""
    match = SSH.fullmatch(url)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        hint = "; it holds no password" if "@" in url and ":" in url[6:].partition("@")[0] else ""
        raise UsageError(f"device {masked(url)!r}: write it as ssh://[user@]host[:port]{hint}")
    return Address(match["host"].strip("[]"), match["user"], port)


def masked(url: str) -> str:
    """The text of a wrong address with its password hidden."""
    return PASSWORD.sub(r"\1***@", url)


def adb_serial(url: str) -> str:
    """The serial number, or host:port, of an adb:// address; raises UsageError for another."""
    match = ADB.fullmatch(url)
    if match is None:
        raise UsageError(f"device {url!r}: write it as adb://serial or adb://host:port")
    return match[1]

"""What the user's SSH configuration makes of an address, as far as asyncssh does not do it so."""

import getpass
import socket
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from asyncssh.config import SSHClientConfig

from benchbox.devices.address import Address

PORT = 22
KNOWN_HOSTS = "~/.ssh/known_hosts"
NOWHERE = "/dev/null"
IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")  # that are tried where none is named


FAMILIES: dict[object, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


class _Config(SSHClientConfig):
    """Reads what asyncssh has no use for, too."""

    _handlers = {  # noqa: RUF012 - as in its base
        **SSHClientConfig._handlers,
        "stricthostkeychecking": ("StrictHostKeyChecking", SSHClientConfig._set_string),
    }


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where an address leads to, and what vouches for both ends.

    `known_as` is the name that the host's key is kept under, in the files `known_hosts`; of these
    and of the `identities` those are left out that do not exist, as OpenSSH does. `identities` is
    None where none is named. A `strict` one has OpenSSH refuse a host without asking for its key;
    `family` is the kind of address that is asked for, None for any. `via` is the ProxyJump or
    ProxyCommand, and empty without.
    """

    host: str
    port: int
    known_as: str
    known_hosts: tuple[str, ...]
    identities: tuple[str, ...] | None
    via: str
    strict: bool
    family: str | None

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that is accepted once is known from then on."""
        return not self.known_hosts or not set(self.known_hosts) <= {NOWHERE}

    def known(self) -> tuple[str, str] | None:
        """Return a file with a key of the host, and how that spells it; None where none has."""
        spelled = [self.known_as]
        if self.port != PORT:
            spelled.insert(0, f"[{self.known_as}]:{self.port}")
        for file in self.known_hosts:
            try:
                hosts = asyncssh.read_known_hosts(file)
            except (OSError, ValueError):
                continue
            for name in spelled:
                if any(hosts.match(name, "", None)):
                    return file, name
        return None


def resolve(where: Address) -> Resolved:
    """Read the user's configuration; raises OSError, ValueError for one that cannot be read."""
    path = Path("~/.ssh/config").expanduser()
    found = _Config.load(
        None,
        [path] if path.exists() else [],
        *(False, False, False),  # reload, canonical, final
        _user(),
        () if where.user is None else where.user,
        where.host,
        () if where.port is None else where.port,
    )
    host, jump, command = (found.get(name) for name in ("Hostname", "ProxyJump", "ProxyCommand"))
    hosts = found.get("UserKnownHostsFile", [KNOWN_HOSTS]) or [NOWHERE]  # `none` is no file
    named = found.get("IdentityFile")
    via = f"ProxyJump {jump}" if jump else f"ProxyCommand {command}" if command else ""
    return Resolved(
        str(host or where.host),
        int(str(found.get("Port", PORT))),
        str(found.get("HostKeyAlias") or host or where.host),
        _existing([*_words(hosts), *_words(found.get("GlobalKnownHostsFile", []))]),
        None if named is None else _existing(_words(named)),
        via,
        str(found.get("StrictHostKeyChecking", "")).lower() in ("yes", "true"),
        FAMILIES.get(found.get("AddressFamily")),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except KeyError:  # before Python 3.13
        raise ValueError("this user has no name; set USER") from None


def _words(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _existing(paths: list[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if Path(path).expanduser().exists())


def locked(resolved: Resolved) -> str:
    """Return a key file of the user's that has a passphrase; empty where none has."""
    named = resolved.identities or _existing([f"~/.ssh/{name}" for name in IDENTITIES])
    for path in named:
        try:
            asyncssh.read_private_key(path)
        except asyncssh.KeyImportError as error:
            if "passphrase" in str(error).lower():
                return path
        except (OSError, ValueError):
            continue
    return ""

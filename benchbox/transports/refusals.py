"""Why there is no connection, and what to do about it, in one line."""

import errno
import os
import socket
from pathlib import Path

import asyncssh

from benchbox.errors import DeviceError
from benchbox.registry import Address

ABSENT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN)
KNOWN_HOSTS = Path(".ssh/known_hosts")


def explain(error: BaseException, where: Address, name: str, *, again: bool) -> DeviceError:
    """Return the DeviceError for what connecting raised; `again`, without the host's name."""
    if again:
        return DeviceError(
            f"device {name!r}: lost, and it cannot be reached again ({_kind(error)})"
        )
    return DeviceError(f"device {name!r}: {_reason(error, where)}")


def _kind(error: BaseException) -> str:
    """Return what records may keep of an error: no host, no address."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return "its host key is another one"
    code = error.errno if isinstance(error, OSError) else None
    return os.strerror(code) if code and code > 0 else type(error).__name__


def _reason(error: BaseException, where: Address) -> str:
    target = f"{where.user}@{where.host}" if where.user else where.host
    ssh = f"ssh {f'-p {where.port} ' if where.port else ''}{target}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(where, ssh)
    if isinstance(error, asyncssh.PermissionDenied):
        return f"{where.host} accepts none of your keys; ssh-copy-id {ssh[4:]}, then try: {ssh}"
    if isinstance(error, OSError):
        return _unreachable(error, where)
    if isinstance(error, asyncssh.Error):
        return f"no SSH connection to {where.host}: {_line(error)}; try: {ssh}"
    return f"your SSH configuration cannot be used: {_line(error)}; try: {ssh}"


def _host_key(where: Address, ssh: str) -> str:
    spelled = f"[{where.host}]:{where.port}" if where.port not in (None, 22) else where.host
    if _is_known(where):
        return (
            f"{where.host} shows another host key than ~/.ssh/known_hosts has; if you set it up "
            f"anew: ssh-keygen -R '{spelled}', then connect once by hand: {ssh}"
        )
    return f"the host key of {where.host} is not known; connect once by hand and compare it: {ssh}"


def _is_known(where: Address) -> bool:
    try:
        known = asyncssh.read_known_hosts(str(Path.home() / KNOWN_HOSTS))
        port = None if where.port in (None, 22) else where.port
        return bool(known.match(where.host, "", port)[0])
    except (OSError, ValueError):
        return False


def _unreachable(error: OSError, where: Address) -> str:
    port = f" at port {where.port or 22}"
    if isinstance(error, socket.gaierror):
        return f"no host is called {where.host}; check the name, or give its address"
    if isinstance(error, TimeoutError):
        return f"{where.host} does not answer{port}; is it switched on and on this network?"
    if isinstance(error, ConnectionRefusedError) or error.errno == errno.ECONNREFUSED:
        return f"{where.host} refuses connections{port}; is its sshd running there?"
    if error.errno in ABSENT:
        return f"{where.host} cannot be reached; is it switched on and on this network?"
    return f"no connection to {where.host}{port}: {_line(error)}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

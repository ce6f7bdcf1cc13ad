"""Why there is no connection, and what to do about it, in one line."""

import errno
import os
import re
import socket

import asyncssh

from benchbox.devices.address import Address
from benchbox.errors import DeviceError
from benchbox.transports.ssh import config
from benchbox.transports.ssh.config import KNOWN_HOSTS, NOWHERE, Resolved

ABSENT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN)
CONFIG = "~/.ssh/config"


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
    try:
        resolved = config.resolve(where)
    except (OSError, ValueError) as wrong:
        return f"your SSH configuration cannot be used: {_line(wrong)}; try: {ssh}"
    if resolved.via and not _is_of_its_end(error, resolved):
        return f"{where.host} is not reached by {resolved.via}: {_line(error)}; try: {ssh}"
    if _is_about_its_key(error):
        return _host_key(where, resolved, ssh)
    if isinstance(error, asyncssh.PermissionDenied):
        return _denied(where, resolved, ssh)
    if isinstance(error, OSError):
        return _unreachable(error, where, resolved)
    if isinstance(error, asyncssh.Error):
        return f"no SSH connection to {where.host}: {_line(error)}; try: {ssh}"
    return f"your SSH configuration cannot be used: {_line(error)}; try: {ssh}"


def _is_of_its_end(error: BaseException, resolved: Resolved) -> bool:
    """Return whether a host behind others was reached, and has itself refused."""
    if not isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.PermissionDenied):
        return False
    last = rf" (?:on|for) host {re.escape(resolved.host)}(?: with alias .*)?$"
    return re.search(last, str(error)) is not None


def _is_about_its_key(error: BaseException) -> bool:
    """Return whether a host has none of the keys that are known of it."""
    is_without = isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error)
    return is_without or isinstance(error, asyncssh.HostKeyNotVerifiable)


def _host_key(where: Address, resolved: Resolved, ssh: str) -> str:
    if known := resolved.known():
        file, spelled = known
        named = "" if file == KNOWN_HOSTS else f" -f {file}"
        return (
            f"{where.host} shows another host key than {file} has; if you set it up anew: "
            f"ssh-keygen -R '{spelled}'{named}, then {_by_hand(resolved, ssh)}"
        )
    if not resolved.keeps_keys:
        return (
            f"the host key of {where.host} is not known, and benchbox asks for a known one "
            f"whatever your SSH configuration says; write UserKnownHostsFile {KNOWN_HOSTS} for it "
            f"in {CONFIG}, then connect once by hand and compare it: {ssh}"
        )
    by_hand = _by_hand(resolved, ssh)
    return f"the host key of {where.host} is not known; {by_hand}"


def _by_hand(resolved: Resolved, ssh: str) -> str:
    """Return how a key gets known: OpenSSH asks whether it is right, or is told not to ask."""
    if not resolved.strict:
        return f"connect once by hand and compare it: {ssh}"
    port = f"-p {resolved.port} " if resolved.port != config.PORT else ""
    file = next((file for file in resolved.known_hosts if file != NOWHERE), KNOWN_HOSTS)
    renamed = f" as that of {resolved.known_as}" if resolved.known_as != resolved.host else ""
    return (
        f"with StrictHostKeyChecking yes, ssh does not ask: ssh-keyscan {port}{resolved.host} "
        f"prints it; compare it with /etc/ssh/ssh_host_*_key.pub there and put it into "
        f"{file}{renamed}"
    )


def _denied(where: Address, resolved: Resolved, ssh: str) -> str:
    copy = f"ssh-copy-id {ssh[4:]}, then try: {ssh}"
    locked = config.locked(resolved)
    if locked and not os.environ.get("SSH_AUTH_SOCK"):
        return (
            f"your key {locked} has a passphrase, which benchbox does not ask for, and no SSH "
            f'agent has it: eval "$(ssh-agent)" && ssh-add {locked}'
        )
    if locked:
        return (
            f"{where.host} accepts no key that your SSH agent has; ssh-add {locked}, which has a "
            f"passphrase, or {copy}"
        )
    return f"{where.host} accepts none of your keys; {copy}"


def _unreachable(error: OSError, where: Address, resolved: Resolved) -> str:
    port = f" at port {resolved.port}"
    if isinstance(error, socket.gaierror):
        if resolved.family and _has_address(resolved.host):
            return (
                f"{where.host} has no {resolved.family} address, and AddressFamily in {CONFIG} "
                "asks for one; take that out for it"
            )
        return f"no host is called {where.host}; check the name, or give its address"
    if isinstance(error, TimeoutError):
        return f"{where.host} does not answer{port}; is it switched on and on this network?"
    if isinstance(error, ConnectionRefusedError) or error.errno == errno.ECONNREFUSED:
        return f"{where.host} refuses connections{port}; is its sshd running there?"
    if error.errno in ABSENT:
        return f"{where.host} cannot be reached; is it switched on and on this network?"
    return f"no connection to {where.host}{port}: {_line(error)}"


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

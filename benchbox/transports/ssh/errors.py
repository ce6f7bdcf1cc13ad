"""Advice, in one line, on a connection that ssh could not make: read from what ssh wrote."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbox.devices.address import Address
from benchbox.errors import DeviceError
from benchbox.transports import replies

PORT = "22"
KNOWN_HOSTS = "~/.ssh/known_hosts"
NOWHERE = ("none", os.devnull)
CONFIG = "~/.ssh/config"
MOST_BYTES = 1 << 14  # of what ssh says, which a host may have written
CHECK_S = 10.0
NO_PROGRAM = "it needs the ssh program; install OpenSSH's client, as by: apt install openssh-client"
FAMILIES = {"inet": "IPv4", "inet6": "IPv6"}

HUNG_UP = re.compile(r"^kex_exchange_identification: |^Connection (closed|reset) by ", re.M)
BY_PROXY = re.compile(r"UNKNOWN port|^kex_exchange_identification: |banner exchange", re.M)
# In the order in which they are looked for: what is stderr, and what a record may keep of it.
KEY = "its host key is another one"
KINDS = {
    KEY: r"Host key verification failed|host key for .* has changed|^No .* host key is known for ",
    "PermissionDenied": r"Permission denied \(|Too many authentication failures",
    "no such host": r"Could not resolve hostname",
    "Connection refused": r"Connection refused",
    "Connection timed out": r"timed out",
    "No route to host": r"No route to host|Network is unreachable|Host is down",
}


class SshRefused(Exception):  # noqa: N818 - the link makes an error of it, with the device's name
    """There is no connection; `stderr` is what ssh wrote."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Resolved:
    """An address as the user's configuration has it, by `ssh -G`.

    `known_as` is the name that the host's key is kept under in `known_hosts`, the files of keys
    that exist; so do `identities`. `via` is the ProxyJump or ProxyCommand, and empty without.
    """

    host: str
    port: str
    known_as: str
    known_hosts: tuple[str, ...]
    keeps_keys: bool
    identities: tuple[str, ...]
    via: str
    is_strict: bool
    family: str


def target(where: Address) -> list[str]:
    """The arguments of ssh for an address, no part of which can be taken for an option."""
    user = [] if where.user is None else ["-l", where.user]
    port = [] if where.port is None else ["-p", str(where.port)]
    return [*user, *port, "--", where.host]


def is_hung_up(stderr: str) -> bool:
    """Whether the host, or a proxy, ended the connection before there was one."""
    return HUNG_UP.search(stderr) is not None


def is_by_proxy(stderr: str) -> bool:
    """Whether a connection through a proxy ended before the host was reached."""
    return "UNKNOWN port" in stderr


def explain(stderr: str, where: Address, name: str, *, again: bool) -> DeviceError:
    """The DeviceError for the output of ssh; `again`, without the host's name."""
    if again:
        kind = _kind(stderr) or "no answer"
        return DeviceError(f"device {name!r}: lost, and it cannot be reached again ({kind})")
    return DeviceError(f"device {name!r}: {_reason(stderr, where)}")


def _kind(stderr: str) -> str:
    """The kind of a refusal, which names no host, for records."""
    return next((kind for kind, text in KINDS.items() if re.search(text, stderr, re.M)), "")


def _reason(stderr: str, where: Address) -> str:
    at = f"{where.user}@{where.host}" if where.user else where.host
    ssh = f"ssh {f'-p {where.port} ' if where.port else ''}{at}"
    resolved = resolve(where)
    if isinstance(resolved, str):
        return f"your SSH configuration cannot be used: {resolved}; try: {ssh}"
    kind = _kind(stderr)
    if resolved.via and BY_PROXY.search(stderr):
        return f"{where.host} is not reached by {resolved.via}: {_line(stderr)}; try: {ssh}"
    if kind == KEY:
        return _host_key(where, resolved, ssh)
    if kind == "PermissionDenied":
        return _denied(where, resolved, ssh)
    return _unreachable(kind, where, resolved) or (
        f"no SSH connection to {where.host} at port {resolved.port}: {_line(stderr)}; try: {ssh}"
    )


def resolve(where: Address) -> Resolved | str:
    """Read the user's configuration for an address by ssh itself; return why where it cannot."""
    done = _run("ssh", "-G", *target(where))
    if done.returncode:
        return _line(done.stderr)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    first = {key: values[0] for key, values in found.items()}
    user_files = first.get("userknownhostsfile", "").split()
    files = [*user_files, *first.get("globalknownhostsfile", "").split()]
    return Resolved(
        host=first.get("hostname", where.host),
        port=first.get("port", PORT),
        known_as=first.get("hostkeyalias") or first.get("hostname", where.host),
        known_hosts=_existing(files),
        keeps_keys=not set(user_files) <= {*NOWHERE},
        identities=_existing(found.get("identityfile", [])),
        via=_via(first),
        is_strict=first.get("stricthostkeychecking") in ("true", "yes"),
        family=first.get("addressfamily", ""),
    )


def _via(config: Mapping[str, str]) -> str:
    for key, name in (("proxyjump", "ProxyJump"), ("proxycommand", "ProxyCommand")):
        if config.get(key, "none") != "none":
            return f"{name} {config[key]}"
    return ""


def _existing(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths of those files that exist, as a user writes them."""
    home = str(Path.home())
    found = [path for path in paths if path not in NOWHERE and Path(path).expanduser().exists()]
    return tuple(f"~{p.removeprefix(home)}" if p.startswith(f"{home}/") else p for p in found)


def _run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = [shutil.which(name) or name, *arguments]
    nothing = subprocess.DEVNULL
    return subprocess.run(
        argv, stdin=nothing, capture_output=True, text=True, errors="replace", timeout=CHECK_S
    )


def _known(resolved: Resolved) -> tuple[str, str] | None:
    """A file with a key of a host and the name it has there, None where no file has one."""
    spelled = [resolved.known_as]
    if resolved.port != PORT:
        spelled.insert(0, f"[{resolved.known_as}]:{resolved.port}")
    for file in resolved.known_hosts:
        for name in spelled:
            if not _run("ssh-keygen", "-F", name, "-f", str(Path(file).expanduser())).returncode:
                return file, name
    return None


def _host_key(where: Address, resolved: Resolved, ssh: str) -> str:
    if known := _known(resolved):
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
    return f"the host key of {where.host} is not known; {_by_hand(resolved, ssh)}"


def _by_hand(resolved: Resolved, ssh: str) -> str:
    """The command that makes a key known: ssh asks about it, unless it is set not to."""
    if not resolved.is_strict:
        return f"connect once by hand and compare it: {ssh}"
    port = f"-p {resolved.port} " if resolved.port != PORT else ""
    file = next(iter(resolved.known_hosts), KNOWN_HOSTS)
    renamed = f" as that of {resolved.known_as}" if resolved.known_as != resolved.host else ""
    return (
        f"with StrictHostKeyChecking yes, ssh does not ask: ssh-keyscan {port}{resolved.host} "
        f"prints it; compare it with /etc/ssh/ssh_host_*_key.pub there and put it into "
        f"{file}{renamed}"
    )


def _denied(where: Address, resolved: Resolved, ssh: str) -> str:
    copy = f"ssh-copy-id {ssh[4:]}, then try: {ssh}"
    locked = next(filter(_has_passphrase, resolved.identities), "")
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


def _has_passphrase(path: str) -> bool:
    done = _run("ssh-keygen", "-y", "-P", "", "-f", str(Path(path).expanduser()))
    return "passphrase" in done.stderr


def _unreachable(kind: str, where: Address, resolved: Resolved) -> str:
    port = f" at port {resolved.port}"
    if kind == "no such host":
        family = FAMILIES.get(resolved.family)
        if family and _has_address(resolved.host):
            return (
                f"{where.host} has no {family} address, and AddressFamily in {CONFIG} "
                "asks for one; take that out for it"
            )
        return f"no host is called {where.host}; check the name, or give its address"
    if kind == "Connection timed out":
        return f"{where.host} does not answer{port}; is it switched on and on this network?"
    if kind == "Connection refused":
        return f"{where.host} refuses connections{port}; is its sshd running there?"
    if kind == "No route to host":
        return f"{where.host} cannot be reached; is it switched on and on this network?"
    return ""


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _line(stderr: str) -> str:
    """The first line of ssh that says more than that there is no connection."""
    lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
    others = [line for line in lines if not BY_PROXY.search(line)]
    return replies.line((others or lines or ["it gave no reason"])[0])

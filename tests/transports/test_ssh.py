"""Connections that ssh refuses, and the user's own configuration, which is kept to."""

import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.devices.address import Address
from benchbox.transports import open_target
from benchbox.transports.board import commands, setup, target
from benchbox.transports.ssh import connection, errors
from tests.board import Board
from tests.board.running import free_port, generate_key
from tests.transports import conftest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home")]
BOARD = Device("board", CPU_PROVIDER, 1, "arm", (), "ssh://root@alias")
HERE = "[127.0.0.1]:{port}"
Configure = Callable[..., Path]


@pytest.fixture
def configure(ssh_board: Board, home: Path) -> Configure:
    """Return a function that has `alias` lead to a board; it returns the user's .ssh folder."""
    folder = home / ".ssh"
    shutil.copy(ssh_board.key, folder / "id_ed25519")
    host_key = ssh_board.known_hosts.read_text()
    (folder / "known_hosts").write_text(host_key)

    def write(*lines: str, port: int = 0, host: str = "127.0.0.1") -> Path:
        text = ["Host alias", f"HostName {host}", f"Port {port or ssh_board.port}", *lines]
        (folder / "config").write_text("\n".join(text))
        return folder

    return write


def refused(device: Device = BOARD) -> str:
    connection.close_all()
    return conftest.refused(device, open_target)


def is_usable() -> bool:
    connection.close_all()
    with open_target(BOARD) as there:
        return bool(setup.facts(there)["machine"])


@pytest.mark.parametrize(
    ("lines", "file", "known_as", "kind"),
    [
        ((), "known_hosts", HERE, "rsa"),  # another kind than the known one
        ((), "known_hosts", "127.0.0.1", "ed25519"),
        (("HostKeyAlias pi",), "known_hosts", "pi", "ed25519"),
        (("UserKnownHostsFile {folder}/none {folder}/own",), "own", HERE, "ed25519"),
    ],
)
def test_a_host_key_that_changed_is_told_by_the_name_and_file_it_is_kept_in(
    configure: Configure,
    ssh_board: Board,
    lines: tuple[str, ...],
    file: str,
    known_as: str,
    kind: str,
) -> None:
    folder = configure()
    configure(*(line.format(folder=folder) for line in lines))
    name = known_as.format(port=ssh_board.port)
    other = generate_key(folder / "other", kind)
    (folder / "known_hosts").unlink()
    (folder / file).write_text(f"{name} {other}")
    named = "" if file == "known_hosts" else f" -f ~/.ssh/{file}"
    assert refused() == (
        f"device 'board': alias shows another host key than ~/.ssh/{file} has; if you set it up "
        f"anew: ssh-keygen -R '{name}'{named}, then connect once by hand and compare it: "
        "ssh root@alias"
    )


def test_an_unknown_host_key_says_how_to_add_it(configure: Configure, ssh_board: Board) -> None:
    folder = configure()
    (folder / "known_hosts").write_text("")
    assert refused() == (
        "device 'board': the host key of alias is not known; connect once by hand and compare "
        "it: ssh root@alias"
    )
    url = f"ssh://me@127.0.0.1:{ssh_board.port}"
    assert refused(replace(BOARD, url=url)).endswith(
        f"compare it: ssh -p {ssh_board.port} me@127.0.0.1"
    )
    configure("StrictHostKeyChecking yes")
    assert refused() == (
        "device 'board': the host key of alias is not known; with StrictHostKeyChecking yes, ssh "
        f"does not ask: ssh-keyscan -p {ssh_board.port} 127.0.0.1 prints it; compare it with "
        "/etc/ssh/ssh_host_*_key.pub there and put it into ~/.ssh/known_hosts"
    )
    configure("StrictHostKeyChecking yes", "HostKeyAlias pi")
    assert refused().endswith("put it into ~/.ssh/known_hosts as that of pi")


def test_a_known_key_is_asked_for_whatever_the_configuration_says(configure: Configure) -> None:
    configure("StrictHostKeyChecking no", "UserKnownHostsFile /dev/null")
    said = refused()
    assert "the host key of alias is not known, and benchbox asks for a known one whatever" in said
    assert "write UserKnownHostsFile ~/.ssh/known_hosts for it in ~/.ssh/config" in said
    configure("StrictHostKeyChecking no")
    assert is_usable()


def test_a_key_that_is_not_accepted_says_so(configure: Configure) -> None:
    generate_key(configure() / "id_ed25519")
    said = refused()
    assert "alias accepts none of your keys; ssh-copy-id root@alias, then try: ssh root" in said


def test_a_key_with_a_passphrase_is_told_from_one_that_is_not_accepted(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = configure() / "id_ed25519"
    argv = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(key)]
    subprocess.run(argv, check=True)
    said = refused()
    assert "your key ~/.ssh/id_ed25519 has a passphrase" in said
    assert said.endswith('eval "$(ssh-agent)" && ssh-add ~/.ssh/id_ed25519')
    monkeypatch.setenv("SSH_AUTH_SOCK", str(key.parent / "no agent"))
    said = refused()
    assert "accepts no key that your SSH agent has; ssh-add ~/.ssh/id_ed25519" in said
    assert "ssh-copy-id root@alias" in said


def test_a_host_that_is_not_there_says_so(configure: Configure) -> None:
    port = free_port()
    configure(port=port)
    assert refused() == (
        f"device 'board': alias refuses connections at port {port}; is its sshd running there?"
    )
    configure(host="nowhere.invalid")
    assert "no host is called alias; check the name, or give its address" in refused()
    configure("AddressFamily inet6")
    assert refused() == (
        "device 'board': alias has no IPv6 address, and AddressFamily in ~/.ssh/config asks for "
        "one; take that out for it"
    )


def test_a_host_that_says_nothing_is_given_up(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        configure(port=port)
        assert f"alias does not answer at port {port}; is it switched on" in refused()


def test_a_connection_that_is_hung_up_at_once_is_tried_a_second_time(configure: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude, ThreadPoolExecutor() as pool:
        rude.settimeout(9)
        met = pool.submit(lambda: [rude.accept()[0].close() for _ in range(2)])
        configure(port=rude.getsockname()[1])
        assert "no SSH connection to alias at port" in refused()
        met.result(9)


def test_hostile_names_are_no_options() -> None:
    assert errors.target(Address("-oProxyCommand=x")) == ["--", "-oProxyCommand=x"]


# the user's configuration


@pytest.mark.parametrize("command", ["false", "echo hopeless >&2; false"])
def test_a_proxy_command_that_fails_is_named(configure: Configure, command: str) -> None:
    configure(f"ProxyCommand {command}")
    said = refused()
    assert f"alias is not reached by ProxyCommand {command}: " in said
    assert said.endswith("; try: ssh root@alias") and ("echo" in said) == ("hopeless" in said)


def test_a_board_behind_a_proxy_is_reached_and_a_proxy_that_fails_is_named(
    configure: Configure, ssh_board: Board
) -> None:
    folder = configure(f"ProxyJump root@127.0.0.1:{free_port()}")
    assert "alias is not reached by ProxyJump root@" in refused()
    via = f"ProxyJump root@jump:{ssh_board.port}"
    alias = configure(via).joinpath("config").read_text()
    (folder / "config").write_text(f"Host jump\nHostName 127.0.0.1\n{alias}")
    assert is_usable()
    target._reached.clear()
    known = (folder / "known_hosts").read_text()
    (folder / "known_hosts").write_text("")
    said = refused()
    assert f"alias is not reached by {via}: " in said and "ost key" in said
    (folder / "known_hosts").write_text(known)
    (folder / "config").write_text(f"Host jump\nHostName 127.0.0.1\n{alias}\nHostKeyAlias pi\n")
    assert "the host key of alias is not known" in refused()  # its own, behind the jump


def test_a_configuration_that_cannot_be_read_is_told(configure: Configure) -> None:
    configure("NoSuchOption yes")
    assert "your SSH configuration cannot be used: " in refused()


def test_no_terminal_command_or_forwarding_is_taken_from_the_configuration(
    configure: Configure, ssh_board: Board
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        configure(
            *("RequestTTY force", "ForwardX11 yes", "ForwardAgent yes", "LogLevel QUIET"),
            *("RemoteCommand echo no", "PermitLocalCommand yes", "LocalCommand echo no"),
            *("ExitOnForwardFailure yes", f"LocalForward {taken.getsockname()[1]} localhost:1"),
            *("ControlMaster auto", "ControlPath none"),
        )
        with open_target(BOARD) as there:
            channel = there.link.start(commands.shell("tty; env | grep -c '^DISPLAY\\|^SSH_AUTH'"))
            assert channel.wait(10) == 1
            assert channel.output() == b"not a tty\n0\n"
    assert ssh_board.port


def test_one_connection_serves_a_run_and_is_made_anew_when_it_is_lost(
    configure: Configure, ssh_board: Board
) -> None:
    configure()
    for _ in range(2):
        with open_target(BOARD):
            assert len(ssh_board.connections()) == 1
    ssh_board.hang_up()
    assert is_usable()


def test_an_error_in_the_middle_of_a_run_names_no_host(configure: Configure) -> None:
    folder = configure()
    assert is_usable()
    (folder / "known_hosts").write_text("")
    assert refused() == (
        "device 'board': lost, and it cannot be reached again (its host key is another one)"
    )
    configure(port=free_port())
    assert refused().endswith("(Connection refused)")


def test_without_the_ssh_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "device 'board': it needs the ssh program; install OpenSSH's client" in refused()

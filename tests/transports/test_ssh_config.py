"""What the user's own SSH configuration says is kept to, and told where it is in the way."""

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import asyncssh
import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.transports import open_agent
from benchbox.transports.board import board
from tests.transports.test_ssh import PYTHON, Server, refused, server

__all__ = ["server"]  # fixture

pytestmark = pytest.mark.slow
BOARD = Device("board", CPU_PROVIDER, 1, "arm", (), "ssh://me@alias", PYTHON)
RELAY = """\
import socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while chunk := there.recv(65536):
        sys.stdout.buffer.write(chunk); sys.stdout.buffer.flush()
threading.Thread(target=back, daemon=True).start()
while chunk := sys.stdin.buffer.raw.read(65536):
    there.sendall(chunk)
"""


def configure(server: Server, *lines: str, port: int = 0) -> Path:
    """Have `alias` lead to the server, or to a port; return the folder of the user's SSH files."""
    folder = Path.home() / ".ssh"
    text = ["Host alias", "HostName 127.0.0.1", f"Port {port or server.port}", *lines]
    (folder / "config").write_text("\n".join(text))
    return folder


def other_key(name: str) -> str:
    public = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    return f"{name} {public}"


def is_usable() -> bool:
    with open_agent(BOARD) as agent:
        return bool(agent.hello["versions"])


def test_a_key_with_a_passphrase_is_told_from_one_that_is_not_accepted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = configure(server)
    (folder / "id_ed25519").chmod(0o600)
    subprocess.run(
        [
            shutil.which("ssh-keygen") or "ssh-keygen",
            "-q",
            "-p",
            "-N",
            "secret",
            "-f",
            folder / "id_ed25519",
        ],
        check=True,
    )
    said = refused(BOARD)
    assert "your key ~/.ssh/id_ed25519 has a passphrase" in said
    assert said.endswith('eval "$(ssh-agent)" && ssh-add ~/.ssh/id_ed25519')
    monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "no agent"))
    said = refused(BOARD)
    assert "accepts no key that your SSH agent has; ssh-add ~/.ssh/id_ed25519" in said
    assert "ssh-copy-id me@alias" in said


@pytest.mark.parametrize(
    ("lines", "file", "known_as"),
    [
        ((), "~/.ssh/known_hosts", "[127.0.0.1]:{port}"),
        ((), "~/.ssh/known_hosts", "127.0.0.1"),
        (("HostKeyAlias pi",), "~/.ssh/known_hosts", "pi"),
        (("UserKnownHostsFile ~/.ssh/own",), "~/.ssh/own", "[127.0.0.1]:{port}"),
        (("UserKnownHostsFile ~/.ssh/none ~/.ssh/own",), "~/.ssh/own", "[127.0.0.1]:{port}"),
    ],
)
def test_a_key_that_changed_behind_an_alias_is_told_by_the_name_it_is_kept_under(
    server: Server, lines: tuple[str, ...], file: str, known_as: str
) -> None:
    configure(server, *lines)
    name = known_as.format(port=server.port)
    Path(file).expanduser().write_text(other_key(name))
    named = "" if file.endswith("known_hosts") else f" -f {file}"
    assert refused(BOARD) == (
        f"device 'board': alias shows another host key than {file} has; if you set it up anew: "
        f"ssh-keygen -R '{name}'{named}, then connect once by hand and compare it: "
        "ssh me@alias"
    )


def test_another_kind_of_key_than_the_known_one_is_a_changed_one(server: Server) -> None:
    folder = configure(server)
    public = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}")
    assert "alias shows another host key than ~/.ssh/known_hosts has" in refused(BOARD)


@pytest.mark.parametrize("nowhere", ["/dev/null", "none"])
def test_a_known_key_is_asked_for_whatever_the_configuration_says(
    server: Server, nowhere: str
) -> None:
    configure(server, "StrictHostKeyChecking no", f"UserKnownHostsFile {nowhere}")
    said = refused(BOARD)
    assert "the host key of alias is not known, and benchbox asks for a known one whatever" in said
    assert "write UserKnownHostsFile ~/.ssh/known_hosts for it in ~/.ssh/config" in said
    configure(server, "StrictHostKeyChecking no")
    assert is_usable()


def test_an_identity_that_does_not_exist_is_skipped(server: Server) -> None:
    folder = configure(server, "IdentityFile ~/.ssh/absent", "IdentityFile ~/.ssh/mine")
    (folder / "id_ed25519").rename(folder / "mine")
    assert is_usable()
    (folder / "mine").unlink()
    board._reached.clear()
    assert "alias accepts none of your keys" in refused(BOARD)


def test_a_board_behind_a_proxy_command_is_reached(server: Server, tmp_path: Path) -> None:
    (tmp_path / "relay.py").write_text(RELAY)
    configure(server, f"ProxyCommand {sys.executable} {tmp_path}/relay.py %h %p")
    assert is_usable()


def test_a_connection_that_is_hung_up_at_once_is_tried_a_second_time(server: Server) -> None:
    met: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as rude:
        rude.settimeout(9)

        def hang_up() -> None:
            for _ in range(2):
                connection, caller = rude.accept()
                connection.close()
                met.append(caller)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        configure(server, port=rude.getsockname()[1])
        assert "connection to alias" in refused(BOARD)
        thread.join(9)
    assert len(met) == 2


@pytest.mark.parametrize("command", ["/no/such/program", "false"])
def test_a_proxy_command_that_fails_is_named(server: Server, command: str) -> None:
    configure(server, f"ProxyCommand {command}")
    said = refused(BOARD)
    assert f"alias is not reached by ProxyCommand {command}: " in said
    assert said.endswith("; try: ssh me@alias")


def test_a_jump_host_that_fails_is_named_and_the_board_behind_one_is_not(server: Server) -> None:
    folder = configure(server)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"me@127.0.0.1:{taken.getsockname()[1]}"
        configure(server, f"ProxyJump {closed}")
        assert f"alias is not reached by ProxyJump {closed}: " in refused(BOARD)
    jump, via = "Host jump\nHostName 127.0.0.1\n", f"ProxyJump me@jump:{server.port}"
    (folder / "config").write_text(f"{jump}Host alias\n{via}\n")
    assert f"alias is not reached by {via}: " in refused(BOARD)  # it forwards nothing
    (folder / "known_hosts").write_text("")
    assert f"alias is not reached by {via}: Host key is not trusted" in refused(BOARD)


def test_a_configuration_that_cannot_be_read_is_told(server: Server) -> None:
    configure(server, "Port many")
    assert "your SSH configuration cannot be used: " in refused(BOARD)


def test_no_terminal_is_asked_for_whatever_the_configuration_says(server: Server) -> None:
    configure(server, "RequestTTY force", "ForwardX11 yes", "ForwardAgent yes")
    assert is_usable()
    assert server.terminals == {None}


def test_a_key_that_ssh_does_not_ask_for_is_fetched_by_hand(server: Server) -> None:
    folder = configure(server, "StrictHostKeyChecking yes")
    (folder / "known_hosts").write_text("")
    assert refused(BOARD) == (
        "device 'board': the host key of alias is not known; with StrictHostKeyChecking yes, ssh "
        f"does not ask: ssh-keyscan -p {server.port} 127.0.0.1 prints it; compare it with "
        "/etc/ssh/ssh_host_*_key.pub there and put it into ~/.ssh/known_hosts"
    )
    configure(server, "StrictHostKeyChecking yes", "HostKeyAlias pi")
    assert refused(BOARD).endswith("put it into ~/.ssh/known_hosts as that of pi")
    configure(server, "StrictHostKeyChecking ask")
    assert "connect once by hand and compare it: ssh me@alias" in refused(BOARD)


def test_a_kind_of_address_that_a_host_has_not_is_told_from_no_host(server: Server) -> None:
    configure(server, "AddressFamily inet6")
    assert refused(BOARD) == (
        "device 'board': alias has no IPv6 address, and AddressFamily in ~/.ssh/config asks for "
        "one; take that out for it"
    )

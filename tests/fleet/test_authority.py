"""Certificates and addresses of a fleet: who is let in, and what is said to others."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from ssl import SSLError
from unittest.mock import patch

import pytest

from benchbox.errors import StorageError
from benchbox.fleet import authority, engine, scheduler
from benchbox.fleet.authority import FleetAddress
from tests.helpers.command import invoke


def test_keys_are_for_their_owner_alone_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHBOX_CERTIFICATES", "of-this-machine-alone")
    made = invoke("fleet", "init", str(tmp_path / "f"))
    assert made.exit_code == 0
    assert "of-this-machine-alone" not in made.output
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "f").iterdir()}
    assert modes == {
        "authority.pem": 0o644,
        "authority-key.pem": 0o600,
        "member.pem": 0o644,
        "member-key.pem": 0o600,
    }
    assert invoke("fleet", "init", str(tmp_path / "f")).exit_code == 2


def test_a_folder_has_all_certificates_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, _: str) -> None:
        os.close(descriptor)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as while_full:
        while_full.setattr(os, "fdopen", full)
        with pytest.raises(StorageError, match="No space left"):
            authority.init(tmp_path)
    assert authority.init(tmp_path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tcp://10.0.0.7:8786", "tcp:// is for 127.0.0.1 alone"),
        ("tcp://localhost.example:1", "tcp:// is for 127.0.0.1 alone"),
        ("tls://lab", "benchbox fleet init"),
        ("http://lab", "write it as tls://host:8786"),
        ("tls://lab:99999", "write it as tls://host:8786"),
        ("tls://lab/x", "write it as tls://host:8786"),
    ],
)
def test_an_address_beyond_loopback_needs_certificates(url: str, says: str) -> None:
    done = invoke("fleet", "list", "--scheduler", url)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def exchange(folder: Path, name: str, **changes: object) -> None:
    """Put in the certificate of another fleet, for other times."""
    with patch.multiple(authority, **changes):
        authority.init(folder / "other")
    (folder / "other" / name).rename(folder / name)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda it: exchange(it, "authority.pem", YEARS=0), "authority.pem: it expired on"),
        (
            lambda it: exchange(it, "authority.pem", EARLIER=timedelta(days=-2)),
            "this machine's clock says",
        ),
        (
            lambda it: exchange(it, "member.pem", YEARS=1),
            "member.pem is of another fleet than authority.pem",
        ),
        (
            lambda it: (it / "member.pem").write_text("-----BEGIN CERTIFICATE-----"),
            "authority.pem or member.pem is no certificate",
        ),
        (lambda it: (it / "member-key.pem").chmod(0o640), "member-key.pem: others can read it"),
        (
            lambda it: (it / "authority-key.pem").chmod(0o662),
            "authority-key.pem: others can change",
        ),
        (
            lambda it: (it / "authority-key.pem").rename(it / "member-key.pem"),
            "member-key.pem is not the key of member.pem",
        ),
        (
            lambda it: (it / "member-key.pem").write_text("garbage"),
            "member-key.pem is not the key of member.pem",
        ),
    ],
)
def test_certificates_that_are_no_good_are_named(
    spoil: Callable[[Path], object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.init(tmp_path)
    spoil(tmp_path)
    monkeypatch.setenv("BENCHBOX_CERTIFICATES", str(tmp_path))
    done = invoke("worker", "--scheduler", "tls://127.0.0.1")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


@pytest.mark.parametrize("url", ["tcp://127.0.0.1", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_loopback_needs_none(url: str) -> None:
    assert authority.parse(url).url.endswith(":8786")


async def nothing() -> None:
    pass


def test_a_scheduler_listens_at_its_address_or_says_why_not() -> None:
    engine.require()
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        address = authority.parse(f"tcp://[::1]:{taken.getsockname()[1]}")
        start = [sys.executable, "-m", "benchbox", "fleet", "start", "--listen", address.url]
        done = subprocess.run(start, capture_output=True, text=True, check=False)
    says = f"Error: {address.url}: cannot be listened at: Address already in use\n"
    assert (done.returncode, done.stderr) == (2, says)
    said = list[str]()
    asyncio.run(scheduler.run(address, said.append, nothing))
    assert said[0].endswith(address.url)


def test_what_speaks_no_tls_is_no_scheduler(tmp_path: Path) -> None:
    error = OSError("cannot connect")
    error.__cause__ = SSLError(1, "wrong version number")
    said = str(FleetAddress("tls://lab:8786", tmp_path).unreachable(error))
    assert said.startswith("tls://lab:8786: no scheduler answers")
    assert said.endswith("wrong version number")

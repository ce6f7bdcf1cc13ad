"""Boards for all tests, which conftest.py imports: one of each kind for a file of tests.

A test is skipped where this machine cannot have one, and fails instead where they are required.
"""

import os
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from tests.board import Board

REQUIRED = "BENCHBOX_TEST_BOARD"  # `required` where nobody would see that a test was skipped


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's home, and a current folder, with nothing in them; no device was reached before."""
    from benchbox.transports.board import target
    from benchbox.transports.ssh import connection
    from tests.board.running import ssh_user

    for name, value in ssh_user(tmp_path / "user").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(target, "_reached", set())
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "user"
    connection.close_all()


@pytest.fixture
def reach(home: Path) -> "Callable[[Board], None]":
    """Return a function by which a board is `ssh://board` for this user."""

    def config(there: "Board") -> None:
        (home / ".ssh/config").write_text(there.config.read_text())

    return config


@pytest.fixture(scope="session")
def boards() -> Any:
    """The module that makes boards; it needs a system that has them."""
    try:
        import tests.board as made
    except ImportError as error:
        do_without(f"the stand-in for a board needs Linux: {error}")
    if reason := made.why_not():
        do_without(reason)
    return made


def _started(name: str, **how: Any) -> Any:
    """A fixture: a board or a phone that runs while the tests of one file do."""

    @pytest.fixture(scope="module")
    def running(boards: Any) -> "Iterator[Board]":
        try:
            made = getattr(boards, name)(**how)
        except unittest.SkipTest as error:  # its parts cannot be fetched now
            do_without(str(error))
        with made:
            yield made

    return running


# Aarch64 that is emulated: what a test plants or keeps there stays until the last one of its file.
emulated_board, emulated_phone = _started("board"), _started("phone", emulated=True)
# This machine behind an sshd or an adbd, with a home of its own, or Android's shell: quick.
ssh_board, host_phone = _started("host_board"), _started("phone")


@pytest.fixture(scope="module")
def _adb_server(boards: Any) -> Iterator[int]:
    pytest.importorskip("adbutils")
    with boards.adb_server() as port:  # it looks for cables for three seconds first
        yield port


@pytest.fixture
def adb_server(_adb_server: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """An adb server of the tests' own, which benchbox finds in place of the user's."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(_adb_server))
    return _adb_server


def do_without(reason: str) -> NoReturn:
    """Skip a test, or fail it where nobody would see that."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {reason}")
    pytest.skip(reason)

"""Boards for all tests, which conftest.py imports: one of each kind for a file of tests.

A test is skipped where this machine cannot have one, and fails instead where they are required.
"""

import os
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

if TYPE_CHECKING:
    from tests.board import Board, Phone

REQUIRED = "BENCHBOX_TEST_BOARD"  # `required` where nobody would see that a test was skipped

T = TypeVar("T", bound="Board")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's home, and a current folder, with nothing in them; no device was reached before."""
    from benchbox.transports.board import target
    from benchbox.transports.ssh import connection
    from tests.board.running import ssh_user

    for name, value in ssh_user(tmp_path / "user").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BENCHBOX_CONFIG_DIR", str(tmp_path / "config"))
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
        _do_without(f"the stand-in for a board needs Linux: {error}")
    if reason := made.why_not():
        _do_without(reason)
    return made


@pytest.fixture(scope="module")
def emulated_board(boards: Any) -> "Iterator[Board]":
    """An aarch64 board; what a test plants there stays until the last one of its file."""
    with _started(boards.board) as b:
        yield b


@pytest.fixture(scope="module")
def ssh_board(boards: Any) -> "Iterator[Board]":
    """This machine behind an sshd, with a home of its own: quick."""
    with _started(boards.host_board) as b:
        yield b


@pytest.fixture(scope="module")
def host_phone(boards: Any) -> "Iterator[Phone]":
    """This machine behind an adbd, with Android's shell and storage: quick."""
    with _started(boards.phone) as p:
        yield p


@pytest.fixture(scope="module")
def emulated_phone(boards: Any) -> "Iterator[Phone]":
    """An aarch64 phone that has a Python; what a test keeps on it stays until the last one."""
    with _started(partial(boards.phone, emulated=True)) as p:
        yield p


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


@contextmanager
def _started(make: Callable[[], T]) -> Iterator[T]:
    try:
        running = make()
    except unittest.SkipTest as error:  # its parts cannot be fetched now
        _do_without(str(error))
    with running as b:
        yield b


def _do_without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {reason}")
    pytest.skip(reason)

"""Boards for all tests, which conftest.py imports: one of each kind in a session.

A test is skipped where this machine cannot have one, and fails instead where they are required.
"""

import os
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

if TYPE_CHECKING:
    from tests.board import Board, NetworkBoard

REQUIRED = "BENCHBOX_TEST_BOARD"  # `required` where nobody would see that a test was skipped

T = TypeVar("T", bound="Board")


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


@pytest.fixture(scope="session")
def emulated_board(boards: Any) -> "Iterator[Board]":
    """An aarch64 board; what a test plants there stays until the last test."""
    with _started(boards.board) as b:
        yield b


@pytest.fixture(scope="session")
def ssh_board(boards: Any) -> "Iterator[Board]":
    """This machine behind an sshd, with a home of its own: quick."""
    with _started(boards.host_board) as b:
        yield b


@pytest.fixture
def linked_board(boards: Any) -> "Iterator[NetworkBoard]":
    """This machine behind an sshd at an address of its own, on a link that can fail."""
    with _started(boards.network_board) as b:
        yield b


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

"""Boards for tests; a test is skipped where this machine cannot have one.

A conftest.py imports them for all its tests; a module takes them by an assignment of its own.
"""

from collections.abc import Iterator

import pytest

from tests.board import Board, NetworkBoard, board, host_board, network_board, why_not


def _skip_without_boards() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def emulated_board() -> Iterator[Board]:
    """An aarch64 board; what a test plants there stays until the last test."""
    _skip_without_boards()
    with board() as b:
        yield b


@pytest.fixture(scope="session")
def ssh_board() -> Iterator[Board]:
    """This machine behind an sshd, with an empty home: quick."""
    _skip_without_boards()
    with host_board() as b:
        yield b


@pytest.fixture
def linked_board() -> Iterator[NetworkBoard]:
    """This machine behind an sshd at an address of its own, on a link that can fail."""
    _skip_without_boards()
    with network_board() as b:
        yield b

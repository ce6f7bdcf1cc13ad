"""A stand-in for a board: a real sshd, with an emulated aarch64 root or this machine behind it.

    with board() as b:
        b.ssh("uname -m").stdout  # aarch64

It runs in namespaces of its own: this machine has no mount, process or address of it afterwards,
and none outlives the tests however they end. Latencies there mean nothing.
"""

from tests.board.running import (
    Board,
    NetworkBoard,
    board,
    host_board,
    network_board,
)
from tests.board.setup import why_not

__all__ = [
    "Board",
    "NetworkBoard",
    "board",
    "host_board",
    "network_board",
    "why_not",
]

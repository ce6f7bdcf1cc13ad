"""A stand-in for a board: a real sshd, with an emulated aarch64 root or this machine behind it.

    with board() as b:
        b.ssh("uname -m").stdout  # aarch64

And for a phone: the same two behind a real adbd.

It runs in namespaces of its own: this machine has no mount, process or address of it afterwards,
and none outlives the tests however they end. Latencies there mean nothing.
"""

from tests.board.phone import Phone, adb_server, phone
from tests.board.running import Board, NetworkBoard, board, host_board, network_board
from tests.board.setup import why_not

__all__ = [
    "Board",
    "NetworkBoard",
    "Phone",
    "adb_server",
    "board",
    "host_board",
    "network_board",
    "phone",
    "why_not",
]

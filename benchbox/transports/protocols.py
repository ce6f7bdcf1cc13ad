"""What a transport gives: a link to a device, and the processes that are started over it."""

from collections.abc import Callable, Sequence

BUSY = "another benchbox is timing on it"
NARROW = (
    "its Python is 32-bit, and ONNX Runtime has 64-bit wheels only; use a 64-bit system there, as "
    "the 64-bit Raspberry Pi OS"
)

# A file's name, the bytes of it that are sent, its size: None while it is yet being made here.
Sending = Callable[[str, int, int | None], None]
Telling = Callable[[float, str], None]  # the seconds that something took so far, what it said last


def silent(_name: str, _sent: int, _size: int | None) -> None:
    """Tell nobody that a file is sent."""


def untold(_taken_s: float, _said: str) -> None:
    """Tell nobody that something takes a while."""


def lacking(lacks: Sequence[str], bits: int | None, name: str) -> str:
    """Return what a device's Python of 32 or 64 `bits` lacks, and what commands help it."""
    if bits == 32:
        return NARROW
    return f"its Python has no {' and no '.join(lacks)}; benchbox device check {name} --install"

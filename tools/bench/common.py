"""What the sections share: the row that they yield, the command line, a sign of life."""

import sys
from collections.abc import Iterator

BENCHBOX = [sys.executable, "-m", "benchbox"]

Row = tuple[str, str, str, bool]  # what, measured, limit, held
UNLIMITED = "-"  # the limit of a row that is there to be compared with


def counted(section: str, times: int) -> Iterator[int]:
    """Yield 0 .. times - 1; a terminal sees how far it is, for a section can take minutes."""
    for index in range(times):
        if sys.stderr.isatty():
            print(f"\r{section} {index + 1}/{times} ", end="", file=sys.stderr, flush=True)
        yield index
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)

"""What the sections share: the row that they yield, a run of the command, a sign of life."""

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchbox import records
from benchbox.records import Run

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


def recorded(*argv: str, results: Path, env: Mapping[str, str] | None = None) -> Run:
    """Run benchbox, and read what it recorded of this processor.

    Raises RuntimeError with what it printed where it fails.
    """
    whole = [*BENCHBOX, *argv, "--results", str(results)]
    done = subprocess.run(whole, check=False, capture_output=True, text=True, env=env)
    path = records.latest(results, "cpu")
    if done.returncode or path is None:
        raise RuntimeError(f"{shlex.join(whole)} ended with {done.returncode}: {done.stderr}")
    return records.read(path)

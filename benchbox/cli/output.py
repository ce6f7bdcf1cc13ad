"""Output of tables: to the console, and to the files that were asked for."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchbox.errors import StorageError, UsageError

STDOUT = Path("-")
REPORT = "the records are kept, `benchbox report` makes the table again"
UNBOUNDED = 1000  # columns of a pipe or a file; no line is that long


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is, folded between words on a terminal and nowhere else.

    Names come from devices, files and users: brackets in them are no markup, nothing is an emoji.
    """
    result = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not result.is_terminal:
        result.soft_wrap = True
        result.width = UNBOUNDED
    return result


class Exports:
    """The files to export to, by format; at most one of them is stdout."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        if list(self._paths.values()).count(STDOUT) > 1:
            raise UsageError("only one export can go to stdout (-)")
        for format_, path in self._paths.items():
            if path != STDOUT and (path.is_dir() or not path.absolute().parent.is_dir()):
                what = "is a folder" if path.is_dir() else "its folder does not exist"
                raise UsageError(f"--export-{format_} {path}: {what}")

    def console(self) -> Console:
        """The console for tables: stderr where an export goes to stdout."""
        return console(stderr=STDOUT in self._paths.values())

    def write(self, render: Callable[[str], str], advice: str = REPORT) -> None:
        """Write the exports, each as `render` gives its format."""
        for format_, path in self._paths.items():
            write(path, render(format_), advice)


def write(path: Path, text: str, advice: str = REPORT) -> None:
    """Write text to a file or stdout; raises StorageError when the file cannot be written."""
    if path == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; {advice}") from None

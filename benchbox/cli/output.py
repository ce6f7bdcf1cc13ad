"""Where tables go: the console, and the files that were asked for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchbox.errors import StorageError, UsageError
from benchbox.records import Run

STDOUT = Path("-")
UNBOUNDED = 1000  # columns of a pipe or a file; no line is that long


def console(*, stderr: bool = False) -> Console:
    """Return a console on which text is what it is, and only a terminal's width counts.

    Names come from devices, files and users: brackets in them are no markup, nothing is an emoji.
    """
    result = Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not result.is_terminal:
        result.width = UNBOUNDED
    return result


class Targets:
    """The exports of a command, by format; at most one of them is stdout."""

    def __init__(self, paths: Mapping[str, Path | None]) -> None:
        self._paths = {format_: path for format_, path in paths.items() if path is not None}
        if list(self._paths.values()).count(STDOUT) > 1:
            raise UsageError("only one export can go to stdout (-)")
        for format_, path in self._paths.items():
            if path != STDOUT and (path.is_dir() or not path.absolute().parent.is_dir()):
                what = "is a folder" if path.is_dir() else "its folder does not exist"
                raise UsageError(f"--export-{format_} {path}: {what}")

    def write(self, runs: Sequence[Run], *, verbose: bool) -> None:
        """Print the tables and write the exports; with one on stdout the tables go to stderr."""
        from benchbox.report.console import show_runs

        where = console(stderr=STDOUT in self._paths.values())
        show_runs(runs, where, verbose=verbose)
        for format_, path in self._paths.items():
            write(path, render(runs, format_))


def render(runs: Sequence[Run], format_: str) -> str:
    """Return runs as csv, markdown or json."""
    from benchbox.report import files
    from benchbox.report.frame import to_frame

    if format_ == "markdown":
        return files.to_markdown(runs)
    table = to_frame(runs)
    return files.to_csv(table) if format_ == "csv" else files.to_json(table)


def write(path: Path, text: str) -> None:
    """Write text to a file or stdout; raises StorageError when the file cannot be written."""
    if path == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror}; the records are kept, "
            "`benchbox report` makes the table again"
        ) from None

"""Output of tables: to the console, and to the files that were asked for."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from benchbox import host
from benchbox.errors import StorageError, UsageError
from benchbox.lines import one_line, visible
from benchbox.report.table import Table
from benchbox.report.text import folded

STDOUT = Path("-")
REPORT = "; the records are kept, `benchbox report` makes the table again"
LABEL = 14  # characters
LONGEST = 1000  # characters of a line on stderr, where a name may be of any length
UNBOUNDED = 1000  # columns of a pipe or a file; no line is that long
SIZES = range(10, UNBOUNDED)  # that COLUMNS and LINES can sensibly have
READ = (".jsonl", ".gz", ".onnx", ".toml", ".py", ".pth")  # a table must not replace such files


class _Lines(Console):
    """A console on which text from outside neither moves the cursor nor adds a line.

    A string that is printed is one line, on stderr without the middle of one that would fill a
    page; what has several is a Text or a table.
    """

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as Rich has it
        """Print each object; no word of a string is broken, however narrow the terminal is."""
        lines = [self._line(each) if isinstance(each, str) else each for each in objects]
        if len(lines) == 1 and isinstance(lines[0], str) and not self.soft_wrap:
            lines, options = [folded(lines[0], self.width)], options | {"soft_wrap": True}
        super().print(*lines, **options)

    def _line(self, text: str) -> str:
        line = one_line(text)
        if self.stderr and len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        return line

    def render(
        self,
        renderable: Any,  # noqa: ANN401 - as Rich has it
        options: ConsoleOptions | None = None,
    ) -> Iterable[Segment]:
        """Spell control characters in whatever is printed."""
        for segment in super().render(renderable, options):
            is_text = segment.control is None
            yield Segment(visible(segment.text), segment.style) if is_text else segment


def console(*, stderr: bool = False, is_folded: bool = False) -> Console:
    """A console that prints text as it is, folded between words on a terminal or if asked to.

    Names come from devices, files and users: brackets in them are no markup, nothing is an emoji.
    """
    sizes = {name: os.environ.get(name, "") for name in ("COLUMNS", "LINES")}
    absurd = {name for name, size in sizes.items() if not (size.isdecimal() and _is_size(size))}
    environment = {name: value for name, value in os.environ.items() if name not in absurd}
    result = _Lines(stderr=stderr, highlight=False, markup=False, emoji=False, _environ=environment)
    if not (result.is_terminal or is_folded):
        result.soft_wrap = True
        result.width = UNBOUNDED
    return result


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print labels and values; a value that does not fit goes on below itself."""
    stdout = console()
    for label, value in rows:
        own = folded(one_line(value), stdout.width - LABEL - 1).replace("\n", f"\n{'':{LABEL}} ")
        stdout.print(Text(f"{label:<{LABEL}} {own}"), soft_wrap=True)


def _is_size(text: str) -> bool:
    return len(text) <= len(str(UNBOUNDED)) and int(text) in SIZES


class Exports:
    """The files to export to, by format; no two of them are one file, however it is named.

    `options` name those formats that are not asked for by `--export-`.
    """

    def __init__(
        self, paths: Mapping[str, Path], options: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._paths = paths
        self._places: dict[object, str] = {}
        for format_, path in paths.items():
            option = options.get(format_, f"--export-{format_}")
            require_writable(option, path)
            other = self._places.setdefault(_place(path), option)
            if other != option:
                raise UsageError(f"{option} {path}: {other} writes there; only one export can")

    def console(self) -> Console:
        """The console for tables: stderr where an export goes to stdout."""
        return console(stderr=_place(STDOUT) in self._places)

    def publish(
        self, tables: Sequence[Table], advice: str, **formats: Callable[[], str | bytes]
    ) -> None:
        """Print tables, and write the exports: Markdown has the tables, `formats` the others."""
        from benchbox.report import console, files  # here, as most commands only print a line

        console.show_tables(tables, self.console())
        formats["markdown"] = lambda: files.tables_to_markdown(tables)
        self.write(lambda format_: formats[format_](), advice)

    def write(self, render: Callable[[str], str | bytes], advice: str = REPORT) -> None:
        """Write the exports, each as `render` gives its format; a failed one stops no other."""
        failures = []
        for format_, path in self._paths.items():
            try:
                write(path, render(format_), advice)
            except StorageError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def require_writable(option: str, path: Path) -> None:
    """Raise UsageError where a table cannot be written to a path, or must not be."""
    try:
        is_folder, has_folder = path.is_dir(), path.absolute().parent.is_dir()
        _place(path)
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have
        raise UsageError(f"{option} {path}: {getattr(error, 'strerror', '') or error}") from None
    if path != STDOUT and (is_folder or not has_folder):
        what = "is a folder" if is_folder else "its folder does not exist"
        raise UsageError(f"{option} {path}: {what}")
    if path.suffix in READ:
        raise UsageError(f"{option} {path}: files of that kind are read; name the table otherwise")


def _place(path: Path) -> object:
    """The identity of a file: the same for two paths to it, and for stdout that goes to it."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = os.fstat(1) if path == STDOUT else path.stat()
        return status.st_dev, status.st_ino
    return path.resolve()


def write(path: Path, content: str | bytes, advice: str = REPORT) -> None:
    """Write text as UTF-8, or bytes, to a file or stdout.

    Raises StorageError if a file cannot be written, UsageError for bytes on a terminal.
    """
    if path == STDOUT:
        is_shown = sys.stdout.isatty()
        if is_shown and isinstance(content, bytes):
            raise UsageError("this format is nothing for a terminal; name a file with --output")
        text = visible(content) if is_shown and isinstance(content, str) else content
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode() if isinstance(text, str) else text)
        sys.stdout.flush()
        return
    try:
        if path.exists() and not path.is_file():  # such as /dev/fd/3
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            host.write(path, content, 0o666)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}{advice}") from None

"""Table of clean texts, by columns, with the text above and below it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

from benchbox.lines import one_line
from benchbox.report import formatting


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `text` is left-aligned and may wrap; figures never do.

    `drop` says in which order a narrow terminal loses columns, 0 that it always keeps this one. A
    `drawing` of figures is on terminals only. `note` begins the notes that explain this column.
    """

    header: str
    cells: tuple[str, ...]
    text: bool = False
    drop: int = 0
    drawing: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        """Make every cell one line."""
        object.__setattr__(self, "header", one_line(self.header))
        object.__setattr__(self, "cells", tuple(map(one_line, self.cells)))

    @property
    def known(self) -> bool:
        """Whether there is anything in it."""
        return any(cell != formatting.UNKNOWN for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Table:
    """A spec's table, with the text above and below it.

    `about` stands under the title, and `groups` has the heading of each row, if there are any.
    `failures` are the cases without figures, `elsewhere` says how to get a column left out.
    """

    title: str
    about: tuple[str, ...]
    columns: tuple[Column, ...]
    groups: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    elsewhere: str = "the CSV has all"

    def __post_init__(self) -> None:
        """Make every text one line: titles, names and reasons come from outside."""
        object.__setattr__(self, "title", one_line(self.title))
        for name in ("about", "groups", "failures", "sentences", "notes"):
            object.__setattr__(self, name, tuple(map(one_line, getattr(self, name))))

    @property
    def written(self) -> tuple[Column, ...]:
        """The columns that a file has as well."""
        return tuple(column for column in self.columns if not column.drawing)

    def notes_of(self, shown: Sequence[Column]) -> list[str]:
        """The notes, but for those on columns that are not shown."""
        unseen = {column.note for column in self.columns} - {"", *(each.note for each in shown)}
        return [note for note in self.notes if not note.startswith(tuple(unseen))]


def sections(groups: Sequence[str], columns: Sequence[Column]) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's cells, with its heading where a new group begins and else with none."""
    before = ""
    rows = zip(*(column.cells for column in columns), strict=True)
    for group, cells in zip_longest(groups, rows, fillvalue=""):
        yield group if group != before else "", [*cells]
        before = group


def plain(table: Table) -> list[str]:
    """Format a table as lines without a box; no column is left out and nothing wraps."""
    columns = table.written
    head, *rows = ("  ".join(cells).rstrip() for cells in zip(*map(_padded, columns), strict=True))
    lines = [head]
    for (heading, _), row in zip(sections(table.groups, columns), rows, strict=True):
        lines += [heading, row] if heading else [row]
    return lines


def _padded(column: Column) -> list[str]:
    """The header and the cells of a column, all of one width."""
    cells = [column.header, *column.cells]
    widths = [*map(shown_width, cells)]
    widest = max(widths)
    gaps = [" " * (widest - width) for width in widths]
    return [c + gap if column.text else gap + c for c, gap in zip(cells, gaps, strict=True)]


def shown_width(text: str) -> int:
    """The cells of a text on a terminal."""
    return len(text) if text.isascii() else cell_len(text)

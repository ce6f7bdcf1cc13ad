"""Tables on a terminal, and as plain aligned text where there is none.

Nothing here is parsed as markup: titles, names and reasons come from files.
"""

from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchbox.records import Run
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Column, Table, sections
from benchbox.report.text import folded

NARROWEST = 12  # a text column wraps down to this many cells before a whole column is left out
WORD = 24  # the longest word that is not broken before a whole column is left out
GAP = 3  # cells between two columns
STATUS_STYLES = {"failed": "red", "imprecise": "yellow", "skipped": "yellow"}


def show_runs(runs: Sequence[Run], console: Console, *, verbose: bool = False) -> None:
    """Print the tables of runs with their sentences and footnotes."""
    show_tables(tables_of(runs, verbose=verbose), console)


def show_tables(tables: Sequence[Table], console: Console) -> None:
    """Print tables, each with its sentences and footnotes."""
    for table in tables:
        _say(console, table.title, "bold")
        for line in table.about:
            _say(console, line, "dim")
        _say(console, "")
        if console.is_terminal:
            _show_boxed(table, console)
        else:
            for line in plain(table):
                _say(console, line)
        _show_text(table, console)
        _say(console, "")  # an empty line ends every table, as more may follow


def _show_text(table: Table, console: Console) -> None:
    if table.failures or table.sentences or table.notes:
        _say(console, "")
    for line in table.failures:
        _say(console, line, "red")
    for line in table.sentences:
        _say(console, line, "bold")
    for note in table.notes:
        _say(console, note, "dim")


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is: wrapped by words on a terminal, as long as it is elsewhere."""
    text = folded(line, console.width) if console.is_terminal else line
    console.print(Text(text, style), soft_wrap=True)


def plain(table: Table) -> list[str]:
    """Format a table as lines without a box; no column is left out and nothing wraps."""
    columns = table.written
    widths = [max(map(cell_len, (column.header, *column.cells))) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell + gap if column.text else gap + cell
            for column, cell, gap in zip(columns, cells, _gaps(cells, widths), strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [line([column.header for column in columns])]
    for heading, cells in sections(table.groups, columns):
        lines += [heading, line(cells)] if heading else [line(cells)]
    return lines


def _gaps(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]


def _show_boxed(table: Table, console: Console) -> None:
    """Print the table without those columns that this terminal is too narrow for."""
    columns = list(table.columns)
    if _least(columns) > console.width:
        columns = [_stacked(column) for column in columns]
    columns, left_out = _fitting(columns, console.width)
    if _least(columns) > console.width:
        columns = [_broken(column) for column in columns]
    word = WORD if _least(columns) <= console.width else NARROWEST
    boxed = _boxed(table.groups, columns, word)
    if (least := _least(columns, word)) > console.width:
        boxed.width = least
    console.print(boxed, crop=False)
    if left_out:
        names = "; ".join(left_out)
        _say(console, f"left out at this width: {names} ({table.elsewhere})", "dim")


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit a width, and the headers of the others, the first dropped first."""
    kept, left_out = list(columns), list[Column]()
    while _least(kept) > width and any(column.drop for column in kept):
        dropped = min((column for column in kept if column.drop), key=lambda each: each.drop)
        kept.remove(dropped)
        left_out.append(dropped)
    for column in reversed(left_out):  # a narrow one may fit after a wide one has gone
        again = [each for each in columns if each in kept or each is column]
        kept = again if _least(again) <= width else kept
    lost = [each for each in left_out if each not in kept and not each.drawing]
    return kept, [each.header.replace("\n", " ") for each in lost]


def _least(columns: Sequence[Column], word: int = WORD) -> int:
    """The width of a table below which something would be cut, with longer words broken."""
    return sum(_narrowest(column, word) for column in columns) + GAP * (len(columns) - 1)


def _narrowest(column: Column, word: int) -> int:
    lines = [line for text in (column.header, *column.cells) for line in text.split("\n")]
    widest = max(map(cell_len, lines))
    longest_word = max((cell_len(word) for line in lines for word in line.split()), default=0)
    return min(widest, max(NARROWEST, min(longest_word, word))) if column.text else widest


class _Broken(Column):
    """A column whose texts are clean already and have line breaks."""

    def __post_init__(self) -> None:
        """Keep the lines."""


def _stacked(column: Column) -> Column:
    """Put the words of a header below each other where that makes its column narrower."""
    widest = max(map(cell_len, (*column.cells, *column.header.split())), default=1)
    header = "\n".join(wrap(column.header, widest, break_on_hyphens=False))
    return _Broken(header, column.cells, column.text, column.drop, column.drawing)


def _broken(column: Column) -> Column:
    """Put brackets in a column of figures on a line of their own."""
    if column.text:
        return column
    header, *cells = (text.replace(" (", "\n(") for text in (column.header, *column.cells))
    return _Broken(header, tuple(cells), drop=column.drop)


def _boxed(groups: Sequence[str], columns: Sequence[Column], word: int) -> RichTable:
    boxed = RichTable(box=box.HORIZONTALS, show_edge=False, pad_edge=False)
    for column in columns:
        boxed.add_column(
            Text(column.header),
            justify="left" if column.text else "right",
            min_width=_narrowest(column, word),
            no_wrap=not column.text,
            overflow="fold",
        )
    for heading, cells in sections(groups, columns):
        if heading:
            boxed.add_section()
            boxed.add_row(Text(heading, "bold"))
        boxed.add_row(*(Text(cell, STATUS_STYLES.get(cell, "")) for cell in cells))
    return boxed

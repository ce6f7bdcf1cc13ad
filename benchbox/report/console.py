"""Tables on a terminal, and as plain aligned text where there is none.

Nothing here is parsed as markup: titles, names and reasons come from files.
"""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchbox.records import Run
from benchbox.report.costs import CostRow, cost_table
from benchbox.report.multi_device import tables_of
from benchbox.report.tables import Column, Table, sections

NARROWEST = 12  # a text column wraps down to this many cells before a whole column is left out
WORD = 24  # the longest word that is not broken before a whole column is left out
GAP = 3  # cells between two columns
STATUS_STYLES = {"failed": "red", "imprecise": "yellow", "skipped": "yellow"}


def show_runs(runs: Sequence[Run], console: Console, *, verbose: bool = False) -> None:
    """Print the tables of runs with their sentences and footnotes."""
    show_tables(tables_of(runs, verbose=verbose), console)


def show_costs(spec_title: str, rows: Sequence[CostRow], console: Console) -> None:
    """Print the cost of a spec's cases on paper."""
    show_tables([cost_table(spec_title, rows)], console)


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
            for line in _plain(table):
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
    console.print(Text(line, style), soft_wrap=not console.is_terminal)


def _plain(table: Table) -> list[str]:
    """Format a table as lines without a box; no column is left out and nothing wraps."""
    widths = [max(map(cell_len, (column.header, *column.cells))) for column in table.columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell + gap if column.text else gap + cell
            for column, cell, gap in zip(table.columns, cells, _gaps(cells, widths), strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [line([column.header for column in table.columns])]
    for heading, cells in sections(table.groups, table.columns):
        lines += [heading, line(cells)] if heading else [line(cells)]
    return lines


def _gaps(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]


def _show_boxed(table: Table, console: Console) -> None:
    """Print the table without those columns that this terminal is too narrow for."""
    columns, left_out = list(table.columns), []
    while _least(columns) > console.width and any(column.drop for column in columns):
        dropped = min((column for column in columns if column.drop), key=lambda each: each.drop)
        columns.remove(dropped)
        left_out.append(dropped.header)
    if _least(columns) > console.width:
        columns = [_broken(column) for column in columns]
    boxed = _boxed(table.groups, columns)
    if _least(columns) > console.width:
        boxed.width = _least(columns)
    console.print(boxed, crop=False)
    if left_out:
        _say(console, f"left out at this width: {'; '.join(left_out)} ({table.elsewhere})", "dim")


def _least(columns: Sequence[Column]) -> int:
    """The width of a table below which something would be cut."""
    return sum(map(_narrowest, columns)) + GAP * (len(columns) - 1)


def _narrowest(column: Column) -> int:
    lines = [line for text in (column.header, *column.cells) for line in text.split("\n")]
    widest = max(map(cell_len, lines))
    longest_word = max((cell_len(word) for line in lines for word in line.split()), default=0)
    return min(widest, max(NARROWEST, min(longest_word, WORD))) if column.text else widest


class _Broken(Column):
    """A column of figures that are clean already, with brackets on a line of their own."""

    def __post_init__(self) -> None:
        """Keep the lines."""


def _broken(column: Column) -> Column:
    """Put brackets in a column of figures on a line of their own."""
    if column.text:
        return column
    header, *cells = (text.replace(" (", "\n(") for text in (column.header, *column.cells))
    return _Broken(header, tuple(cells), drop=column.drop)


def _boxed(groups: Sequence[str], columns: Sequence[Column]) -> RichTable:
    boxed = RichTable(box=box.HORIZONTALS, show_edge=False, pad_edge=False)
    for column in columns:
        boxed.add_column(
            Text(column.header),
            justify="left" if column.text else "right",
            min_width=_narrowest(column),
            no_wrap=not column.text,
            overflow="fold",
        )
    for heading, cells in sections(groups, columns):
        if heading:
            boxed.add_section()
            boxed.add_row(Text(heading, "bold"))
        boxed.add_row(*(Text(cell, STATUS_STYLES.get(cell, "")) for cell in cells))
    return boxed

"""Tables on a terminal, and as plain aligned text where there is none.

Nothing here is parsed as markup: titles, names and reasons come from files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from benchbox.report.table import Column, Table, plain, sections
from benchbox.report.text import folded

NARROWEST = 12  # a text column wraps down to this many cells before a whole column is left out
NAME = 0.5  # of a terminal; a longer name has its own line before a column is left out
GAP = 3  # cells between two columns
CLOSE = 2  # before the last column that can goes; fewer where those that always stay are too wide
STATUS_STYLES = {"failed": "red", "imprecise": "yellow", "skipped": "yellow"}


def show_tables(tables: Sequence[Table], console: Console) -> None:
    """Print tables, each with its sentences and footnotes."""
    for table in tables:
        _say(console, table.title, "bold")
        for line in table.about:
            _say(console, line, "dim")
        if table.columns:
            _say(console, "")
        _show_text(table, _show_columns(table, console), console)
        _say(console, "")  # an empty line ends every table, as more may follow


def _show_columns(table: Table, console: Console) -> Sequence[Column]:
    """Print the columns that there is room for; those are returned."""
    if console.is_terminal and table.columns:
        return _show_ruled(table, console)
    for line in plain(table) if table.columns else ():
        _say(console, line)
    return table.columns


def _show_text(table: Table, shown: Sequence[Column], console: Console) -> None:
    notes = table.notes_of(shown)
    if table.failures or table.sentences or notes:
        _say(console, "")
    for line in table.failures:
        _say(console, line, "red")
    for line in table.sentences:
        _say(console, line, "bold")
    for note in notes:
        _say(console, note, "dim")


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is: wrapped by words on a terminal, as long as it is elsewhere."""
    text = folded(line, console.width) if console.is_terminal else line
    console.print(Text(text, style), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns that a terminal has room for, with lines broken to fit.

    With `name` the first column is none of them: each name stands on a line of its own.
    """

    columns: list[Column]
    widths: list[int]
    name: Column | None
    left_out: list[str]
    gap: int

    def header(self) -> Iterator[Text]:
        """The lines of the header."""
        if self.name:
            yield Text(self.name.header)
        cells = [_lines(column.header, w) for column, w in self._sized()]
        height = max(map(len, cells))
        yield from self._joined([[""] * (height - len(each)) + each for each in cells])

    def row(self, index: int) -> Iterator[Text]:
        """The lines of a row."""
        if self.name:
            yield Text(self.name.cells[index])
        texts = [column.cells[index] for column in self.columns]
        cells = [_lines(t, w) for t, w in zip(texts, self.widths, strict=True)]
        yield from self._joined(cells, [STATUS_STYLES.get(text, "") for text in texts])

    def _sized(self) -> Iterator[tuple[Column, int]]:
        return zip(self.columns, self.widths, strict=True)

    def _joined(self, cells: Sequence[list[str]], styles: Sequence[str] = ()) -> Iterator[Text]:
        """The lines of cells that stand beside each other."""
        for line in zip_longest(*cells, fillvalue=""):
            text = Text()
            for (column, width), part, style in zip_longest(self._sized(), line, styles):
                rest = " " * (width - cell_len(part))
                text.append(" " * self.gap if text else "")
                text.append(part + rest if column.text else rest + part, style)
            text.rstrip()
            yield text


def _show_ruled(table: Table, console: Console) -> Sequence[Column]:
    """Print the table without those columns that this terminal is too narrow for."""
    layout = _layout(table.columns, console.width)
    dash = "-" if console.options.ascii_only else "\u2500"
    rule = Text(dash * (sum(layout.widths) + layout.gap * (len(layout.widths) - 1)))
    lines = [*layout.header(), rule]
    for index, (heading, _) in enumerate(sections(table.groups, layout.columns)):
        if heading:
            lines += [*([rule] if index else []), Text(heading, "bold")]
        lines += layout.row(index)
    for line in lines:
        console.print(line, soft_wrap=True)
    if layout.left_out:
        names = "; ".join(layout.left_out)
        _say(console, f"left out at this width: {names} ({table.elsewhere})", "dim")
    return layout.columns


def _layout(columns: Sequence[Column], width: int) -> _Layout:
    """The layout that leaves out the fewest columns without breaking a word."""
    if _least(columns) > width:
        columns = [_stacked(column) for column in columns]
    name, *others = columns
    kept, left_out = _fitting(columns, width)
    is_long = _narrowest(name) > NAME * width
    is_too_narrow = _least([_broken(column) for column in kept], _closest(kept)) > width
    is_apart = bool(others) and (is_too_narrow or (bool(left_out) and is_long))
    if is_apart:
        kept, left_out = _fitting(others, width)
    for longest in range(width, -1, -1):  # of the cells that stay in one line
        broken = [_broken(column, longest) for column in kept]
        fits = _least(kept, _closest(kept)) <= width
        if fits or _least(broken) <= width or not longest:
            kept = kept if fits else broken
            break
    if _least(kept, 1) > width:
        kept = [_broken(column, sign="±") for column in kept]
    gap = next((gap for gap in range(GAP, 1, -1) if _least(kept, gap) <= width), 1)
    return _Layout(kept, _widths(kept, width, gap), name if is_apart else None, left_out, gap)


def _widths(columns: Sequence[Column], width: int, gap: int) -> list[int]:
    """The widths of columns: the widest texts wrap first, and none below its longest word."""
    widths = [_widest(column) for column in columns]
    least = [_narrowest(column) for column in columns]
    excess = sum(widths) + gap * (len(widths) - 1) - width
    for _ in range(excess):
        able = [index for index, each in enumerate(widths) if each > least[index]]
        if able:
            widths[max(able, key=widths.__getitem__)] -= 1
    return widths


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit a width, and the headers of the others, the first dropped first."""
    kept, left_out = list(columns), list[Column]()
    while loose := [column for column in kept if column.drop]:
        if _least(kept, _closest(loose)) <= width:
            break
        dropped = min(loose, key=lambda each: each.drop)
        kept.remove(dropped)
        left_out.append(dropped)
    for column in reversed(left_out):  # a narrow one may fit after a wide one has gone
        again = [each for each in columns if each in kept or each is column]
        outranks = column.drop > left_out[0].drop  # others, so that brackets make room for it
        fits = _least([*map(_broken, again)] if outranks else again) <= width
        kept = again if fits else kept
    lost = [each for each in left_out if each not in kept and not each.drawing]
    return kept, [each.header.replace("\n", " ") for each in lost]


def _closest(columns: Sequence[Column]) -> int:
    """The gap that is wide enough, where one of these columns alone may be left out."""
    return CLOSE if sum(bool(column.drop) for column in columns) == 1 else GAP


def _least(columns: Sequence[Column], gap: int = GAP) -> int:
    """The width of a table below which a word or a figure would be cut."""
    return sum(map(_narrowest, columns)) + gap * (len(columns) - 1)


def _widest(column: Column) -> int:
    texts = (column.header, *column.cells)
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _narrowest(column: Column) -> int:
    """The width of the longest word of a text, and of the longest figure."""
    widest = _widest(column)
    words = (word for text in (column.header, *column.cells) for word in text.split())
    return min(widest, max(NARROWEST, *map(cell_len, words))) if column.text else widest


def _lines(text: str, width: int) -> list[str]:
    """The lines of a cell."""
    return [line for part in text.split("\n") for line in folded(part, width).split("\n")]


class _Broken(Column):
    """A column whose texts are clean already and have line breaks."""

    def __post_init__(self) -> None:
        """Keep the lines."""


def _stacked(column: Column) -> Column:
    """Put the words of a header below each other where that makes its column narrower."""
    widest = max(map(cell_len, (*column.cells, *column.header.split())), default=1)
    header = "\n".join(wrap(column.header, widest, break_on_hyphens=False))
    return _Broken(header, column.cells, column.text, column.drop, column.drawing, column.note)


def _broken(column: Column, longest: int = 0, sign: str = "(") -> Column:
    """Put brackets, or another sign's part, in longer cells of figures on a line of their own."""
    if column.text:
        return column
    header, *cells = (
        text.replace(f" {sign}", f"\n{sign}") if cell_len(text) > longest else text
        for text in (column.header, *column.cells)
    )
    return _Broken(header, tuple(cells), drop=column.drop, note=column.note)

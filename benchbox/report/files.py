"""Files of a run: CSV and JSON of the data frame, Markdown of the printed tables and of it."""

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from benchbox.lines import one_line, visible
from benchbox.records import Run
from benchbox.report import latex, notebook
from benchbox.report.frame import DIGITS, to_frame
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Table, sections

if TYPE_CHECKING:
    import pandas as pd

QUOTED = re.compile('[,"]')
HEADING = "### Runs and graphs"
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # begins one, wide characters too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# An underscore within a word is no emphasis, and a colon matters in a bare link alone.
MARKDOWN = re.compile(r"([\\`*<\[|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|:(?=//)|(?<=\bwww)\.)")
# What the printed tables leave out, of a run and of a case: columns of the data frame.
OF_RUN = ("device", "run", "utc", "benchbox", "onnxruntime", "processor", "device_kind")
OF_CASE = (
    "device",
    "case",
    "group",
    "graph_sha256",
    "relative_ci_low",
    "relative_ci_high",
    "raw_p50_ms",
    "peak_memory_bytes",
    "load_ms",
    "first_call_ms",
)
BEGINNING = re.compile(r"^(\d*)([#>+=.)-])")  # of a heading, a quotation, a list or a rule


def to_csv(frame: "pd.DataFrame") -> str:
    r"""Write a table as CSV by RFC 4180, but for its line ends, which are \n.

    A text that a spreadsheet could take for a formula begins with an apostrophe, and each is one
    line that a terminal may show; it is for this that pandas does not write it.
    """
    return rows_to_csv(list(frame.columns), _known(frame).itertuples(index=False, name=None))


def rows_to_csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Write rows as CSV in the same way."""
    return "".join(",".join(map(_csv_cell, row)) + "\n" for row in chain([header], rows))


def to_parquet(frame: "pd.DataFrame") -> bytes:
    """The table as Parquet, for data frames of any program."""
    data: bytes = frame.to_parquet(index=False)
    return data


def to_json(frame: "pd.DataFrame") -> str:
    """Write a table as a list of row objects; what is not known is null."""
    return json_text(frame_rows(frame))


def of_rows(format_: str, tables: Sequence[Table], rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as csv or json, or their tables as markdown, html or latex."""
    if format_ == "markdown":
        return tables_to_markdown(tables)
    if format_ == "html":
        return notebook.to_page(tables)
    if format_ == "latex":
        return latex.to_latex([((), table) for table in tables])
    short = [{name: _short(value) for name, value in row.items()} for row in rows]
    if format_ == "json":
        return json_text(short)
    return rows_to_csv([*short[0]] if short else [], [[*row.values()] for row in short])


def _short(value: object) -> object:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def json_text(document: object) -> str:
    """A document as JSON, with every character that a terminal would not show escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return visible(text, json.dumps) + "\n"


def to_markdown(runs: Sequence[Run]) -> str:
    """Write the printed tables of runs as Markdown, and below them what these leave out."""
    frame = to_frame(runs)
    parts = [frame[list(OF_RUN)].drop_duplicates(), frame[list(OF_CASE)]]
    texts = ["\n".join(_plain(part)) for part in parts]
    return "\n\n".join([tables_to_markdown(tables_of(runs)).rstrip(), HEADING, *texts]) + "\n"


def tables_to_markdown(tables: Sequence[Table]) -> str:
    """Write tables as Markdown, each with the text above and below it."""
    texts = ["\n".join(_markdown(table)).strip() for table in tables]
    return "\n\n".join(texts) + "\n"


def _plain(frame: "pd.DataFrame") -> Iterator[str]:
    """Yield the lines of a data frame as a Markdown table."""
    yield _line(list(frame.columns))
    is_text = [dtype == "string" for dtype in frame.dtypes]
    yield "|" + "|".join(":--" if text else "--:" for text in is_text) + "|"
    for row in frame_rows(frame):
        yield _line([one_line("" if value is None else str(value)) for value in row.values()])


def frame_rows(frame: "pd.DataFrame") -> list[dict[Hashable, Any]]:
    """The rows of a table as Python's own values; what is not known is None."""
    return _known(frame).to_dict("records")


def _known(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame.astype(object).where(frame.notna(), None)


def _csv_cell(value: object) -> str:
    text = "" if value is None else one_line(str(value))
    if isinstance(value, str) and FORMULA.match(text) and not NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def _markdown(table: Table) -> Iterator[str]:
    yield f"## {_escaped(table.title)}\n"
    yield paragraph("; ".join(table.about)) + "\n"
    yield from _columns(table) if table.columns else ()
    yield from (f"{paragraph(line)}\n" for line in table.sentences)
    yield from (f"- {paragraph(line)}" for line in (*table.failures, *table.notes))


def _columns(table: Table) -> Iterator[str]:
    columns = table.written
    yield _line([column.header for column in columns])
    yield "|" + "|".join(":--" if column.text else "--:" for column in columns) + "|"
    for heading, cells in sections(table.groups, columns):
        if heading:
            yield f"| **{_escaped(heading)}** |" + " |" * (len(columns) - 1)
        yield _line(cells)
    yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def paragraph(text: str) -> str:
    """A text as a paragraph of Markdown, in which nothing of it has a meaning."""
    return BEGINNING.sub(r"\1\\\2", _escaped(text))


def _escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text)

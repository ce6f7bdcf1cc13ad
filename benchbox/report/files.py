"""Files of a run: CSV and JSON of the data frame, Markdown of the printed tables."""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchbox.records import Run
from benchbox.report.multi_device import tables_of
from benchbox.report.tables import Table, sections

if TYPE_CHECKING:
    import pandas as pd

QUOTED = re.compile(r'[,"\r\n]|^[=+\-@]')
MARKDOWN = re.compile(r"([\\`*<\[|])")


def to_csv(frame: "pd.DataFrame") -> str:
    r"""Write a table as CSV by RFC 4180, but for its line ends, which are \n.

    A cell that a spreadsheet could take for a formula is quoted, and otherwise left as it is; it is
    for this, and for a lone \r, which the csv module leaves bare, that pandas does not write it.
    """
    rows = [["" if value is None else str(value) for value in row.values()] for row in _rows(frame)]
    lines = [",".join(map(_csv_cell, row)) + "\n" for row in [list(frame.columns), *rows]]
    return encodable("".join(lines))


def to_json(frame: "pd.DataFrame") -> str:
    """Write a table as a list of row objects; what is not known is null."""
    text = json.dumps(_rows(frame), indent=2, ensure_ascii=False, allow_nan=False)
    return encodable(text + "\n")


def to_markdown(runs: Sequence[Run]) -> str:
    """Write the printed tables of runs as Markdown."""
    return tables_to_markdown(tables_of(runs))


def tables_to_markdown(tables: Sequence[Table]) -> str:
    """Write tables as Markdown, each with the text above and below it."""
    texts = ["\n".join(_markdown(table)).strip() for table in tables]
    return "\n\n".join(texts) + "\n"


def _rows(frame: "pd.DataFrame") -> list[dict[Hashable, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def encodable(text: str) -> str:
    """Spell lone surrogates: file names can hold bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def _markdown(table: Table) -> Iterator[str]:
    yield f"## {_escaped(table.title)}\n"
    yield _escaped("; ".join(table.about)) + "\n"
    yield _line([column.header for column in table.columns])
    yield "|" + "|".join(":--" if column.text else "--:" for column in table.columns) + "|"
    for heading, cells in sections(table.groups, table.columns):
        if heading:
            yield f"| **{_escaped(heading)}** |" + " |" * (len(table.columns) - 1)
        yield _line(cells)
    yield ""
    yield from (f"{_escaped(line)}\n" for line in table.sentences)
    yield from (f"- {_escaped(line)}" for line in (*table.failures, *table.notes))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text)

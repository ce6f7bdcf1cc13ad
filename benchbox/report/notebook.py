"""Tables as plain HTML: styled by a notebook itself, and as a file with the style of pages."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from benchbox.report.formatting import UNKNOWN
from benchbox.report.table import Table, sections

STYLE = Path(__file__).with_name("page") / "page.css"
BADGES = ("verdict", "status")  # columns whose words have a sign
OTHER = "●", "#767676"
# Their colours stand in each cell, as a notebook has no style of ours.
SIGNS = {
    **dict.fromkeys(("FASTER", "ok"), ("●", "#009E73")),
    **dict.fromkeys(("SLOWER", "failed"), ("■", "#D55E00")),
    **dict.fromkeys(("UNCLEAR", "imprecise"), ("○", "#E69F00")),
}


def to_html(tables: Sequence[Table]) -> str:
    """The tables with the text above and below them."""
    return "\n".join(line for table in tables for line in _lines(table))


def to_page(tables: Sequence[Table]) -> str:
    """The tables as a file that a browser opens."""
    title = f"<title>{escape(tables[0].title)}</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}'
    style = f"<style>{STYLE.read_text()}</style>"
    return f'<!doctype html>\n<html lang="en">{head}{style}\n<main>\n{to_html(tables)}\n</main>\n'


def _lines(table: Table) -> Iterator[str]:
    columns = table.written
    aligned = ["left" if column.text else "right" for column in columns]

    def row(tag: str, cells: Sequence[str]) -> str:
        styled = (
            f'<{tag} style="text-align: {side}">{_badge(column.header, cell)}{escape(cell)}</{tag}>'
            for column, side, cell in zip(columns, aligned, cells, strict=True)
        )
        return f"<tr>{''.join(styled)}</tr>"

    yield f"<p><b>{escape(table.title)}</b><br>{'<br>'.join(map(escape, table.about))}</p>"
    yield f"<table><thead>{row('th', [column.header for column in columns])}</thead><tbody>"
    for heading, cells in sections(table.groups, columns):
        if heading:
            yield f'<tr><th colspan="{len(columns)}">{escape(heading)}</th></tr>'
        yield row("td", cells)
    yield "</tbody></table>"
    yield from (f"<p>{escape(line)}</p>" for line in (*table.failures, *table.sentences))
    if table.notes:
        yield f"<p><small>{'<br>'.join(map(escape, table.notes))}</small></p>"


def _badge(header: str, cell: str) -> str:
    if header not in BADGES or cell in (header, UNKNOWN):
        return ""
    sign, colour = SIGNS.get(cell, OTHER)
    return f'<span style="color: {colour}" aria-hidden="true">{sign}</span>&nbsp;'

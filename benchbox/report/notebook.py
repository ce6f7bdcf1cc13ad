"""Tables as a notebook shows them: plain HTML, styled by the notebook itself."""

from collections.abc import Iterator, Sequence
from html import escape

from benchbox.report.table import Table, sections


def to_html(tables: Sequence[Table]) -> str:
    """The tables with the text above and below them."""
    return "\n".join(line for table in tables for line in _lines(table))


def to_page(tables: Sequence[Table]) -> str:
    """The tables as a file that a browser opens."""
    head = f'<meta charset="utf-8"><title>{escape(tables[0].title)}</title>'
    return f"<!doctype html>\n{head}\n{to_html(tables)}\n"


def _lines(table: Table) -> Iterator[str]:
    columns = table.written
    aligned = ["left" if column.text else "right" for column in columns]

    def row(tag: str, cells: Sequence[str]) -> str:
        styled = (
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
            for side, cell in zip(aligned, cells, strict=True)
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

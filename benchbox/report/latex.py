"""Tables of runs as LaTeX for booktabs, with the setup as caption."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from benchbox.records import Run
from benchbox.report import citation
from benchbox.report.footnotes import FLOPS_NOTE
from benchbox.report.multi_device import tables_with_runs
from benchbox.report.table import Column, Table, sections
from benchbox.report.tables import PARAMS

# What LaTeX reads as its own, and characters of tables that its fonts have in formulas only.
SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "°": r"\textdegree{}",
}
RATIO = re.compile(r"(?<=\d)x\b")
# Columns that a paper has no room for, or its fonts no letters.
ASIDE = ("quiet share", "over time")
SOME = ("FLOPs (M)", PARAMS, "status")  # of a run's columns, beside those that each table keeps
ADVICE = " --"  # an option of whoever measures, in a note
PACKAGES = "% in the preamble: \\usepackage{booktabs}\n"
OTHER_LETTERS = "% needs XeLaTeX or LuaLaTeX and a font that has its letters\n"


def of_runs(runs: Sequence[Run], *, verbose: bool = False) -> str:
    """Write the tables of runs."""
    return to_latex(tables_with_runs(runs, verbose=verbose, is_detailed=True), verbose=verbose)


def to_latex(tables: Sequence[tuple[Sequence[Run], Table]], *, verbose: bool = False) -> str:
    """Write tables, each with the setup of its runs in the caption, and its notes below.

    Those of runs have the columns that a paper needs or, with `verbose`, all. A table of no runs
    has the lines under its title in its caption.
    """
    setups = [citation.setup(runs) if runs else ". ".join(table.about) for runs, table in tables]
    written = "\n".join(
        "\n".join(_table(table, setup, _columns(table, every=verbose or not runs))) + "\n"
        for (runs, table), setup in zip(tables, setups, strict=True)
    )
    is_latin = all(
        unicodedata.name(each, "LATIN").startswith("LATIN") for each in written if each.isalpha()
    )
    return PACKAGES + ("" if is_latin else OTHER_LETTERS) + written


def _columns(table: Table, *, every: bool) -> list[Column]:
    known = [each for each in table.written if each.header not in ASIDE and each.known]
    return [each for each in known if every or not each.drop or each.header in SOME]


def _table(table: Table, setup: str, columns: Sequence[Column]) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{_escaped(f'{table.title}. {setup}'.strip())}}}"
    yield f"\\begin{{tabular}}{{{''.join('l' if each.text else 'r' for each in columns)}}}"
    yield r"\toprule"
    yield _line([each.header for each in columns])
    yield r"\midrule"
    for index, (heading, cells) in enumerate(sections(table.groups, columns)):
        if heading:
            if index:
                yield r"\addlinespace"
            yield f"\\multicolumn{{{len(columns)}}}{{l}}{{\\textit{{{_escaped(heading)}}}}} \\\\"
        yield _line([_cell(c, text) for c, text in zip(columns, cells, strict=True)], is_tex=True)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    known = (note for note in table.notes_of(columns) if note != FLOPS_NOTE and ADVICE not in note)
    if notes := [*table.failures, *known]:
        yield r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize"
        yield from (f"{_escaped(note)}\\par" for note in notes)
        yield r"\end{minipage}"
    yield r"\end{table}"


def _line(cells: Sequence[str], *, is_tex: bool = False) -> str:
    return " & ".join(cells if is_tex else map(_escaped, cells)) + r" \\"


def _cell(column: Column, text: str) -> str:
    """A cell; of figures the x of a ratio is a sign, and a dash stands for what is not known."""
    if text == "-":
        return "--"
    written = _escaped(text)
    return written if column.text else RATIO.sub(r"$\\times$", written)


def _escaped(text: str) -> str:
    written = "".join(SPECIAL.get(character, character) for character in text)
    return re.sub("-(?=-)", "-{}", written)  # two hyphens, which would be a dash

"""Forms of a report: its format, by an option or a file's ending, and what is written then."""

import importlib.util
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from benchbox.cli.options.output import PictureOptions
from benchbox.cli.output import STDOUT, console
from benchbox.errors import UsageError
from benchbox.records import Run

FORMATS = {
    ".csv": "csv",
    ".md": "markdown",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".tex": "latex",
    ".svg": "svg",
    ".pdf": "pdf",
    ".png": "png",
    ".bib": "bib",
    ".parquet": "parquet",
}
PICTURES = ("svg", "pdf", "png")
NO_PICTURES = PictureOptions()


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a report: its format and file; `typed` names the options that were typed."""

    format: str
    output: Path | None
    pictures: PictureOptions
    typed: Set[str] = frozenset()

    def chosen(self, known: Sequence[str] = ()) -> str:
        """The format, by the file's ending where none is typed, of those that are known.

        Raises UsageError for two, and for an ending of none.
        """
        named = FORMATS.get(self.output.suffix.lower(), "") if self.output else ""
        cited = "bib" if named == "bib" else "cite"
        typed = cited if self.pictures.cite else self.format
        is_typed = self.pictures.cite or "format_" in self.typed or not named
        if is_typed and named not in ("", typed):
            what = "--cite" if typed == "cite" else f"--format {typed}"
            raise UsageError(f"{what} --output {self.output}: its ending is that of {named}")
        if self.pictures.cite and "format_" in self.typed:
            raise UsageError(f"--cite: it has no --format {self.format}")
        found = typed if is_typed else named
        self._check(found, known or [*dict.fromkeys(FORMATS.values())])
        return found

    def _check(self, found: str, known: Sequence[str]) -> None:
        only_of = {"figure": PICTURES, "wide": PICTURES, "with_profile": (*PICTURES, "html")}
        for option, formats in only_of.items():
            if option in self.typed and found not in formats:
                name = f"--{option.replace('_', '-')}"
                raise UsageError(f"{name}: it needs --format {_either(formats)}, or such a file")
        if found == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise UsageError("Parquet is written by pyarrow: pip install pyarrow")
        if found == "table" and self.output not in (None, STDOUT):
            raise UsageError(f"--output {self.output}: it needs --format {_either(known)}")


def _either(formats: Sequence[str]) -> str:
    return f"{', '.join(formats[:-1])} or {formats[-1]}"


def render(
    runs: Sequence[Run],
    format_: str,
    pictures: PictureOptions = NO_PICTURES,
    *,
    verbose: bool = False,
) -> str | bytes:
    """Runs in a format of FORMATS; with `verbose` LaTeX has all columns."""
    from benchbox.report import citation, files, latex
    from benchbox.report.frame import to_frame

    match format_:
        case "csv":
            return files.to_csv(to_frame(runs))
        case "parquet":
            return files.to_parquet(to_frame(runs))
        case "json":
            return files.to_json(to_frame(runs))
        case "markdown":
            return files.to_markdown(runs)
        case "latex":
            return latex.of_runs(runs, verbose=verbose)
        case "bib":
            return citation.bibtex(runs)
        case "cite":
            return citation.cite(runs)
        case _:
            return _drawn(runs, format_, pictures)


def _drawn(runs: Sequence[Run], format_: str, pictures: PictureOptions) -> str | bytes:
    """Runs as a page or as a figure."""
    from benchbox.report.charts import drawing, panel, profile_file, style
    from benchbox.report.text import few

    profile = profile_file.read(pictures.with_profile) if pictures.with_profile else None
    if format_ == "html":
        from benchbox.report.page import page

        return page(runs, profile)
    size = style.WIDE if pictures.wide else style.COLUMN
    figure = pictures.figure.value if pictures.figure else "flops"
    found = panel.panels(runs, profile)
    chart = drawing.together(found, figure, size)
    drawn = drawing.converted(chart, size, format_)
    if without := chart["usermeta"]["unlabelled"]:
        line = f"Warning: no room in the picture for the label of {few(without)}"
        console(stderr=True).print(line, style="yellow")
    warn_of_boxes("".join(row["name"] for each in found for row in each.rows), format_)
    return drawn


def warn_of_boxes(text: str, format_: str) -> None:
    """Print which letters of a picture no font here has; SVG leaves them to its reader."""
    from benchbox.report.charts import drawing

    if format_ != "svg" and (found := drawing.boxes(text)):
        line = f"Warning: no font on this machine has {' '.join(found)}: boxes in the picture"
        console(stderr=True).print(line, style="yellow")

"""Drawings of charts as SVG, PDF or PNG, by vl-convert."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbox.errors import UsageError
from benchbox.report.charts import CHARTS, NEEDS, style
from benchbox.report.charts.panel import Panel
from benchbox.report.charts.style import Size, Spec

FONT = Path(__file__).parent / "font"
PPI = 300
POINTS = 72 / 25.4  # of a millimetre
SIZE = re.compile(r'(?:width|height)="(\d+)"')
MARGIN = 2
NO_LETTER = "\U0010fffd"  # that no font has
MOST_LETTERS = 60  # that are looked for
LETTER = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">'
    '<text y="16" font-family="{font}" font-size="16">{letter}</text></svg>'
)
OWN_LEGENDS = {"resolve": {"legend": {"color": "independent", "shape": "independent"}}}
INSTALL = "pip install 'benchbox[report]'"


def converter(what: str) -> Any:  # noqa: ANN401 - a module without types
    """vl-convert's module; raises UsageError where it is not installed."""
    try:
        import vl_convert
    except ImportError:
        raise UsageError(f"{what} needs vl-convert-python: {INSTALL}") from None
    vl_convert.register_font_directory(str(FONT))
    return vl_convert


def draw(panels: Sequence[Panel], figure: str, size: Size, format_: str) -> str | bytes:
    """Draw a chart of all panels that have its figures, one below the other."""
    return converted(together(panels, figure, size), size, format_)


def converted(chart: Spec, size: Size, format_: str) -> str | bytes:
    """Draw a chart."""
    converts = converter(f"--format {format_}")
    whole = {
        "$schema": style.SCHEMA,
        **chart,
        "config": style.config(size),
        "background": "white",
        "padding": MARGIN,
    }
    svg = converts.vegalite_to_svg(json.dumps(whole), allowed_base_urls=[])
    if format_ == "svg":
        return _on_paper(svg, size, "mm", 1 / POINTS, _font())
    points = _on_paper(svg, size, "", 1.0)
    image: bytes = (
        converts.svg_to_pdf(points) if format_ == "pdf" else converts.svg_to_png(points, ppi=PPI)
    )
    return image


def _font() -> str:
    """The font, for an SVG to have in itself."""
    file = b64encode((FONT / "BenchboxSans.woff2").read_bytes()).decode()
    face = f'font-family: "{style.FAMILY}"; src: url(data:font/woff2;base64,{file})'
    return f"<style>@font-face {{ {face} }}</style>"


def _on_paper(svg: str, size: Size, unit: str, scale: float, font: str = "") -> str:
    """A drawing in points in the middle of one as wide as its paper, whose size has a unit."""
    width, height = (int(found) for found in SIZE.findall(svg)[:2])
    whole = max(width, size.paper_mm * POINTS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole * scale:g}{unit}" '
        f'height="{height * scale:g}{unit}" viewBox="0 0 {whole:g} {height}">{font}'
        f'<rect width="{whole:g}" height="{height}" fill="white"/>'
        f'<svg x="{(whole - width) / 2:g}"{svg.removeprefix("<svg")}</svg>'
    )


def boxes(text: str) -> list[str]:
    """The letters of a text that no font of this machine has; a picture has boxes for them."""
    converts = converter("a picture")

    def picture(letter: str) -> bytes:
        image: bytes = converts.svg_to_png(LETTER.format(font=style.FONT, letter=letter))
        return image

    letters = [each for each in dict.fromkeys(text) if each.isalpha() and not each.isascii()]
    box = picture(NO_LETTER) if letters else b""
    return [each for each in letters[:MOST_LETTERS] if picture(each) == box]


def together(panels: Sequence[Panel], figure: str, size: Size) -> Spec:
    """The chart of all panels that have its figures, one below the other."""
    built = [(panel, spec) for panel in panels if (spec := CHARTS[figure](panel, size))]
    if not built:
        raise UsageError(f"--figure {figure}: there is no {NEEDS[figure]}")
    parts = [spec | ({"title": panel.title} if len(panels) > 1 else {}) for panel, spec in built]
    alike = all(panel.every is built[0][0].every for panel, _ in built)
    several = {"vconcat": parts, "description": figure, **({} if alike else OWN_LEGENDS)}
    body = parts[0] if len(parts) == 1 else several
    sets: Mapping[str, Any] = {k: v for panel, _ in built for k, v in panel.datasets.items()}
    without = [name for part in parts for name in part.pop("usermeta", {}).get("unlabelled", ())]
    return {
        **body,
        "usermeta": {"unlabelled": without},
        "datasets": {n: rows for n, rows in sets.items() if n in str(body)},
    }

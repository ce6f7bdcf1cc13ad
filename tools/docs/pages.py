"""Generated files of the documentation, and what records give of README and pages.

Those are tables, pictures and figures. What no record is there for stays as it is.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from benchbox import records
from benchbox.devices import provider_needs, providers
from benchbox.records import Record, Run
from benchbox.report import formatting
from benchbox.report.charts import drawing, panel, style
from benchbox.report.charts.parts import parts as parts_chart
from tools.docs import commands

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "cpu"
# From the line with the file, and what the title of its table begins with, to `<!-- end -->`.
TABLE = re.compile(
    r"(<!-- table of (?P<file>\S+)(?: (?P<title>[^>]+?))? -->\n).*?(<!-- end -->)", re.DOTALL
)

# `latency of detectors: CASE` or `latency of detectors: CASE / CASE`, a figure or a ratio.
FIGURE = re.compile(
    r"(<!-- (?P<what>\w+) of (?P<file>[\w-]+): (?P<case>[^>]+?)(?: / (?P<over>[^>]+?))? -->)"
    r".*?(<!-- end -->)"
)
# The file in docs of each picture, the record that it is drawn from, and which figure it is.
PICTURES: Mapping[str, tuple[str, str]] = {
    "networks.svg": ("models", "flops"),
    "pareto.svg": ("models", "pareto"),
    "over-flops.svg": ("models", "over-flops"),
    "samples.svg": ("models", "samples"),
    "detectors.svg": ("detectors", "flops"),
}

# The picture of latencies in parts, and what `benchbox explain --export-json` wrote for it.
EXPLAINED = "parts.svg", "*Z-explain-*.json"

# The table of providers, and which of them records of hardware are there for.
PROVIDERS = re.compile(r"(<!-- table of providers -->\n).*?(<!-- end -->)", re.DOTALL)

# What was run on a GPU, in a cell of a table or a sentence.
GPU = re.compile(r"(<!-- status of GPUs -->).*?(<!-- end -->)")

# A profile by modules: each one's share of the time, and of the FLOPs.
PARTS = re.compile(r"(<!-- parts of (?P<file>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

COMMANDS = "<!-- written by `make docs` from here on -->\n"


def generated() -> dict[Path, str]:
    """The contents of each generated file, and of each page with tables of records."""
    return {
        **{
            ROOT / "docs" / file: drawn(run, figure)
            for file, (name, figure) in PICTURES.items()
            if (run := newest(name))
        },
        **({ROOT / "docs" / EXPLAINED[0]: parts_drawn(path)} if (path := explained()) else {}),
        ROOT / "docs" / "cli.md": _with_reference((ROOT / "docs" / "cli.md").read_text()),
        **{path: filled(path) for path in pages() if "<!-- end -->" in path.read_text()},
    }


@cache
def newest(file: str, folder: Path = REFERENCE) -> Run | None:
    """The newest record of that name, which begins with its time."""
    path = max(folder.glob(f"*Z-{file}.jsonl"), default=None)
    return records.read(path) if path else None


def drawn(run: Run, figure: str) -> str:
    """A figure as `benchbox report FILE --figure NAME --wide --format svg` draws it."""
    svg = drawing.draw(panel.panels([run]), figure, style.WIDE, "svg")
    assert isinstance(svg, str), "it is no image"
    return svg


def explained(folder: Path = REFERENCE) -> Path | None:
    """The newest explanation."""
    return max(folder.glob(EXPLAINED[1]), default=None)


def parts_drawn(path: Path) -> str:
    """The parts of an explanation as `benchbox explain --plot FILE.svg` draws them."""
    cases = json.loads(path.read_text())["explained"]
    svg = drawing.converted(parts_chart(cases, style.WIDE), style.WIDE, "svg")
    assert isinstance(svg, str), "it is no image"
    return svg


def pages() -> list[Path]:
    """README and all other pages for readers of the project."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "blocks" / "README.md",
        ROOT / "results" / "README.md",
    ]


def _with_reference(page: str) -> str:
    """The page of commands; what stands above the marker is written by hand."""
    written, marker, _ = page.partition(COMMANDS)
    return f"{written}{marker}\n{commands.reference()}"


def filled(page: Path) -> str:
    """A page with the tables, pictures and figures of the newest records."""

    def table(found: re.Match[str]) -> str:
        if (run := newest(found["file"])) is None:
            return found[0]
        path = run.path.with_suffix(".md")
        link = Path(os.path.relpath(path, page.parent)).as_posix()
        links = f"([notes]({link}), [samples]({link.removesuffix('.md')}.jsonl))"
        return f"{found[1]}{_table(path, found['title'] or '', links)}\n{found[4]}"

    def figure(found: re.Match[str]) -> str:
        run = newest(found["file"])
        cases = [name for name in (found["case"], found["over"]) if name]
        records = [run and _record(run, case) for case in cases]
        known = [record for record in records if record]
        if len(known) < len(cases):
            return found[0]
        return f"{found[1]}{_figure(found['what'], *known)}{found[6]}"

    def parts(found: re.Match[str]) -> str:
        rows = profiled(found["file"])
        return f"{found[1]}{_parts(rows)}\n{found[3]}" if rows else found[0]

    text = PROVIDERS.sub(
        lambda found: f"{found[1]}{provider_table()}\n{found[2]}", page.read_text()
    )
    text = GPU.sub(lambda found: f"{found[1]}{gpu_status()}{found[2]}", text)
    text = PARTS.sub(parts, TABLE.sub(table, text))
    return FIGURE.sub(figure, text)


def gpu_status(folder: Path = REFERENCE.parent) -> str:
    """What was run on a GPU, by the newest record of each, else that nothing was."""
    ran: dict[str, str] = {}
    for path in sorted(folder.glob("cuda*/*.jsonl"), key=lambda each: each.name):
        context = records.read(path).context
        ran[context.host["gpu"]["name"]] = context.created[:10]
    if not ran:
        return "tested against stand-ins for CUDA, NVML and TensorRT; not run on a GPU yet"
    return f"measured on {' and '.join(f'{name} ({date})' for name, date in ran.items())}"


def provider_table(folder: Path = REFERENCE.parent) -> str:
    """The table of providers: what each needs, and its newest record on hardware."""
    ran: dict[str, str] = {}
    for path in sorted(folder.rglob("*.jsonl"), key=lambda each: each.name):
        with path.open() as file:
            context = json.loads(file.readline())
        if not context.get("host", {}).get("emulated"):
            where = Path(os.path.relpath(path, ROOT / "docs")).as_posix()
            ran[providers.short(context["provider"])] = f"[{context['created'][:10]}]({where})"
    lines = ["| provider | for | comes with | record of hardware |", "|:--|:--|:--|:--|"]
    for name, need in provider_needs.NEEDS.items():
        lines.append(f"| `{name}` | {need.hardware} | {need.how} | {ran.get(name, 'none')} |")
    return "\n".join(lines)


def profiled(file: str) -> list[dict[str, str]]:
    """The rows of the newest profile by modules of that name; none where there is none."""
    path = max(REFERENCE.glob(f"*Z-profile-{file}.csv"), default=None)
    return list(csv.DictReader(path.read_text().splitlines())) if path else []


def _parts(rows: Sequence[Mapping[str, str]]) -> str:
    """The table of a profile: time and FLOPs of each module, in percent of the whole."""
    modules = list(dict.fromkeys(row["module"] for row in rows))
    lines = [f"| | {' | '.join(modules)} |", "|:--|" + "--:|" * len(modules)]
    for case, own in groupby(rows, key=itemgetter("case")):
        found = {row["module"]: row for row in own}
        cells = [_of_both(found[module]) if module in found else "-" for module in modules]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_both(row: Mapping[str, str]) -> str:
    time, macs = (float(row[name] or 0) for name in ("time_share", "macs_share"))
    return f"{time:.0%} ({macs:.0%})"


def _figure(what: str, one: Record, other: Record | None = None) -> str:
    """A figure of a case, or its ratio to that of another."""
    if other is None:
        return f"{QUANTITIES[what](one):.0f} {UNITS[what]}"
    if what == "latency" and one.reference == other.case and one.relative:
        return formatting.ratio(one.relative.value, formatting.width(one.relative))
    return formatting.ratio(QUANTITIES[what](one) / QUANTITIES[what](other))


def _record(run: Run, case: str) -> Record | None:
    return next((record for record in run.records if record.case == case), None)


def _ms(record: Record) -> float:
    assert record.latency, f"{record.case} was measured"
    return record.latency.p50_s * 1e3


def _millions(name: str) -> Callable[[Record], float]:
    return lambda record: float((record.cost or {})[name]) / 1e6


UNITS = {"latency": "ms", "flops": "M", "params": "M", "memory": "MB"}
QUANTITIES: Mapping[str, Callable[[Record], float]] = {
    "latency": _ms,
    "flops": _millions("macs"),
    "params": _millions("params"),
    "memory": _millions("memory_access_bytes"),
}


def _table(path: Path, title: str, links: str) -> str:
    """A table of a run's Markdown with its title and sentences, without the notes below."""
    _, *sections = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(title)]
    heading, text = section.split("\n", 1)
    without_notes = re.split(r"^- ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return f"**{heading}** {links}\n{without_notes.rstrip()}"

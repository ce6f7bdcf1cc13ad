"""Page of runs, filled in from their records: the template, and the data for its script."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from pathlib import Path
from typing import Any

from benchbox import __version__
from benchbox.errors import UsageError
from benchbox.lines import one_line
from benchbox.records import Context, Run
from benchbox.records.differences import followed
from benchbox.records.history import History, of_runs
from benchbox.report import citation, conditions, files, formatting, latex
from benchbox.report.charts import CHARTS, history, style
from benchbox.report.charts.drawing import INSTALL, converter
from benchbox.report.charts.panel import Panel, Row, panels
from benchbox.report.charts.profile_file import SavedProfile
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_with_runs
from benchbox.report.text import ranged

FOLDER = Path(__file__).parent
FORMAT = "--format html"
MOST_ALIKE = 3  # runs with charts of their own
MOST_TITLES = 2
TITLES = {
    "flops": "FLOPs and latency",
    "pareto": "Accuracy and latency",
    "over-flops": "Latency over what FLOPs alone say",
    "profile": "Where the time goes",
    "samples": "Calls in the order taken",
    "processes": "p50 by process",
}
ABOUT = {
    "flops": "Dotted: equal throughput. Bars: 95% intervals.",
    "pareto": "Line: nothing faster is as accurate. Dashed: the budget.",
    "over-flops": "1: the latency that FLOPs alone give, beside the group's reference. "
    "Lines: 95% intervals.",
    "profile": "Shares of time beside those of FLOPs and of memory accessed.",
    "samples": "By what disturbed it. Dashed: a new process.",
    "processes": "Bars: the 95% interval of the case.",
}
AXES = {"flops": "macs", "pareto": "accuracy"}  # of charts of families, beside latency
DRAWN = ("id", "name", "panel", "axis", "wide", "narrow")  # of a chart, for the script
MEMORY = "memory_access_bytes"
Fact = tuple[str, str]
Cell = Callable[[Row], str]
# Header, the field by which the table is sorted, the text of a cell, or how a number is written.
COLUMNS: Sequence[tuple[str, str, Cell]] = (
    ("case", "name", lambda row: str(row["name"])),
    ("device", "device", lambda row: str(row["device"])),
    ("begun (UTC)", "utc", lambda row: row["utc"][:16].replace("T", " ")),
    ("FLOPs (M)", "macs", lambda row: formatting.millions(row["macs"])),
    ("p50 (ms)", "latency_p50_ms", lambda row: row["p50"]),
    ("relative", "relative_latency", lambda row: row["relative"]),
    ("over FLOPs", "latency_over_flops", lambda row: row["over"]),
    ("images/s", "images_per_s", lambda row: row["rate"]),
    ("accuracy, paper (%)", "accuracy", lambda row: formatting.accuracy(row["accuracy"])),
    ("verdict", "verdict", lambda row: row["verdict"] or formatting.UNKNOWN),
    ("status", "status", lambda row: str(row["status"])),
    ("params (M)", "params", lambda row: formatting.millions(row["params"])),
    ("memory (MB)", MEMORY, lambda row: formatting.millions(row[MEMORY])),
    ("p90 (ms)", "latency_p90_ms", lambda row: _figure(row["latency_p90_ms"])),
    ("p99 (ms)", "latency_p99_ms", lambda row: _figure(row["latency_p99_ms"])),
    ("quiet share", "quiet_share", lambda row: formatting.percent(row["quiet_share"])),
)  # fmt: skip


def page(runs: Sequence[Run], profile: SavedProfile | None = None) -> str:
    """The page of runs; raises UsageError where what it is made of is not installed."""
    converts = converter(FORMAT)
    try:
        import jinja2
    except ImportError:
        raise UsageError(f"{FORMAT} needs jinja2: {INSTALL}") from None
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).from_string((FOLDER / "page.html").read_text())
    older = set(map(id, _older(runs)))
    drawn = [id(run) not in older for run in runs]
    found = panels(runs, profile, drawn)
    pairs = tables_with_runs(runs)
    tables = [table for _, table in pairs]
    past = of_runs(runs)
    shown = [*compress(found, drawn)]
    of_panels = [_chart(panel, name, several=len(shown) > 1) for name in CHARTS for panel in shown]
    charts = [*_history(past), *filter(None, of_panels)]
    facts, own = _machines(shown, [*compress(runs, drawn)])
    return template.render(
        title=_title([table.title for table in tables]),
        version=__version__,
        css=(FOLDER / "page.css").read_text(),
        bundle=_in_script(converts.javascript_bundle()),
        script=(FOLDER / "page.js").read_text(),
        data=_packed(
            _data(runs, latex.of_runs(runs), found, shown, charts, history.datasets(past))
        ),
        facts=facts,
        runs=own,
        setup=citation.setup(runs),
        charts=charts,
        several=len(shown) > 1,
        has_budget=any(row["latency_p50_ms"] for panel in found for row in panel.rows),
        columns=_columns(found),
        rows=[row for panel in found for row in panel.rows],
        sentences=_once(table.sentences for table in tables),
        failures=_once(table.failures for table in tables),
        notes=[*dict.fromkeys(ranged(_once(table.notes for table in tables)))],
        bibtex=citation.bibtex(runs),
    )


def _older(runs: Sequence[Run]) -> list[Run]:
    """The runs without charts of their own: of more than MOST_ALIKE on one machine all but one."""
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.context.name, followed(run.context)), []).append(run)
    many = [sorted(own, key=lambda run: run.context.created) for own in alike.values()]
    return [run for own in many if len(own) > MOST_ALIKE for run in own[:-1]]


def _once(lines: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(lines)))


def _history(past: Sequence[History]) -> Iterator[dict[str, Any]]:
    """The chart of histories, where there are any."""
    if not past:
        return
    wide = history.on_page(past, style.PAGE)
    yield {
        "id": "history",
        "name": "history",
        "title": "p50 from run to run",
        "about": "Bars: 95% intervals. Lines: levels. Dashed: a step.",
        "text": wide["description"],
        "wide": wide,
        "narrow": history.on_page(past, style.PHONE),
        "choices": history.cases(past),
    }


def _in_script(text: str) -> str:
    """JavaScript that does not end the element it is in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _chart(panel: Panel, name: str, *, several: bool) -> dict[str, Any] | None:
    """A chart for wide and for narrow screens, with its words."""
    chart = CHARTS[name]
    wide = chart(panel, style.PAGE)
    if wide is None:
        return None
    return {
        "id": f"{name}-{panel.index}",
        "name": name,
        "panel": panel.index,
        "axis": AXES.get(name, ""),
        "title": TITLES[name] + (f": {panel.title}" if several else ""),
        "about": ABOUT[name],
        "text": wide["description"],
        "wide": wide,
        "narrow": chart(panel, style.PHONE),
        "choices": list(dict.fromkeys(row["case"] for row in panel.samples))
        if name == "samples"
        else _families(panel, name),
    }


def _families(panel: Panel, chart: str) -> list[str]:
    """The families to choose from in a chart that has such a choice."""
    if chart not in AXES:
        return []
    rows = (row for row in panel.rows if row["latency_p50_ms"] and row[AXES[chart]])
    return list(dict.fromkeys(row["family"] for row in rows))


def _data(
    runs: Sequence[Run],
    tex: str,
    found: Sequence[Panel],
    shown: Sequence[Panel],
    charts: Sequence[Mapping[str, Any]],
    past: Mapping[str, Sequence[Row]],
) -> dict[str, Any]:
    """What the script reads: charts, rows, samples by columns, and the files that it offers."""
    of_panels = {name: rows for panel in found for name, rows in panel.datasets.items()}
    sets = {**of_panels, **past}
    frame = to_frame(runs)
    return {
        "charts": [
            {key: value for key, value in chart.items() if key in DRAWN} for chart in charts
        ],
        "sets": {name: rows for name, rows in sets.items() if not name.startswith("samples")},
        "samples": {f"samples{panel.index}": _columns_of(panel) for panel in found},
        "columns": list(frame.columns),
        "titles": [panel.title for panel in found],
        "shown": [panel.index for panel in shown],
        "config": [style.config(style.PAGE), style.config(style.PHONE)],
        "files": {
            "csv": files.to_csv(frame),
            "tex": tex,
            "bib": citation.bibtex(runs),
        },
    }


def _packed(data: object) -> str:
    """JSON by gzip, as base64."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    return b64encode(gzip.compress(text, mtime=0)).decode()


def _columns_of(panel: Panel) -> dict[str, Any]:
    """The samples by columns, with numbers for names."""
    shown = panel.samples
    cases = list(dict.fromkeys(row["case"] for row in shown))
    p50 = {row["name"]: row["latency_p50_ms"] for row in panel.rows}
    places = {case: index for index, case in enumerate(cases)}
    causes = {cause: index for index, cause in enumerate(panel.causes)}
    return {
        "cases": cases,
        "p50_ms": [p50[case] for case in cases],
        "causes": list(causes),
        "case": [places[row["case"]] for row in shown],
        "cause": [causes[row["cause"]] for row in shown],
        **{name: [row[name] for row in shown] for name in ("n", "ms", "process")},
    }


def _columns(found: Sequence[Panel]) -> list[tuple[str, str, Cell]]:
    """The columns in which some row has something; device and date where they tell runs apart."""
    rows = [row for panel in found for row in panel.rows]
    devices, runs = ({row[name] for row in rows} for name in ("device", "run"))
    shown = {"device": len(devices) > 1, "utc": len(runs) > len(devices)}
    return [
        column
        for column in COLUMNS
        if any(row[column[1]] is not None for row in rows) and shown.get(column[1], True)
    ]


def _title(titles: Sequence[str]) -> str:
    """The titles of tables, of many the first."""
    found = list(dict.fromkeys(titles)) or ["Runs"]
    more = len(found) - MOST_TITLES
    return "; ".join([*found[:MOST_TITLES], *([f"and {more} more"] if more > 0 else [])])


def _machines(
    shown: Sequence[Panel], runs: Sequence[Run]
) -> tuple[list[Fact], list[tuple[str, list[Fact]]]]:
    """The devices with the facts that all runs share, and those of each run with its title."""
    own = [_facts(run.context) for run in runs]
    devices = ", ".join(dict.fromkeys(one_line(run.context.device) for run in runs))
    shared = [("device", devices), *(f for f in own[0] if all(f in each for each in own))]
    rest = [[fact for fact in each if fact not in shared] for each in own]
    return shared, [(p.title, facts) for p, facts in zip(shown, rest, strict=True) if facts]


def _facts(context: Context) -> list[Fact]:
    """The facts of the machine that are known."""
    host, plan = context.host, context.plan
    gpu = host.get("gpu")
    facts = {
        "processor": context.processor,
        "kind": conditions.kind(context) + (", virtual machine" if host.get("virtual") else ""),
        "system": f"{host.get('system', '')} {host.get('kernel', '')}".strip(),
        "memory": f"{host['memory_bytes'] / 2**30:.3g} GiB" if host.get("memory_bytes") else "",
        "driver": str((gpu or {}).get("driver", "")),
        "provider": context.provider,
        "threads": "" if gpu else str(context.threads),
        "processors used": "" if gpu else formatting.cpu_list(context.cpus[: context.threads]),
        **{words: context.versions.get(name, "") for name, words in LIBRARIES.items()},
        "benchbox": context.benchbox,
        "measured": context.created.replace("T", " ").replace("Z", " UTC"),
        "processes": str(plan.get("sessions") or ""),
        "precision": f"{100 * plan['precision']:.3g}%" if plan.get("precision") else "",
        "seed": str(context.seed),
    }
    return [(name, one_line(text)) for name, text in facts.items() if text]


LIBRARIES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "torch": "PyTorch"}


def _figure(value: float | None) -> str:
    return formatting.UNKNOWN if value is None else formatting.significant(value)

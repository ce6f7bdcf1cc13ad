"""Advice as a table: graphs with wider channels beside the original, and what they are not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchbox.costs import Cost
from benchbox.insight.advice import Advice, Widths
from benchbox.report import formatting
from benchbox.report.explain import ExplainReport
from benchbox.report.formatting import UNKNOWN
from benchbox.report.profile import about, label
from benchbox.report.table import Column, Table
from benchbox.report.text import listed
from benchbox.specs import Case

TEXTS = ("channels", "verdict", "file")
DROPPED = {"FLOPs (M)": 2, "params (M)": 1}  # on a narrow terminal, in this order
NAMED = 3  # widths in a row
NOTE = (
    "other widths, of which accuracy is not claimed: weights are the original's, repeated and not "
    "trained; each was timed beside the original in mirrored rounds (A B B A), FASTER where the "
    "whole 95% interval is more than 1% below it"
)


@dataclass(frozen=True)
class AdviceReport:
    """What was tried of one case, its own cost, and the names under which graphs were kept."""

    explained: ExplainReport
    case: Case
    cost: Cost
    advice: list[Advice] = field(default_factory=list)
    files: Mapping[Path, str] = field(default_factory=dict)

    def file(self, advice: Advice) -> str | None:
        """The name of a graph's file."""
        return self.files.get(advice.path) if advice.path else None

    @property
    def measured(self) -> list[Advice]:
        """Those that were timed, the fastest first."""
        timed = [each for each in self.advice if each.measured]
        return sorted(timed, key=lambda each: each.measured.value if each.measured else 0.0)

    @property
    def faster(self) -> list[Advice]:
        """Those that are faster than the original, the fastest first."""
        return [each for each in self.measured if each.verdict == "FASTER"]


def table(report: AdviceReport) -> Table:
    """The original and a row for each graph that was timed."""
    timed = report.measured
    ratios = [each.measured for each in timed if each.measured]
    own = report.cost
    cells = {
        "channels": ["as they are", *(changed(each.widths) for each in timed)],
        "FLOPs (M)": map(formatting.millions, (own.macs, *(each.macs for each in timed))),
        "relative FLOPs": map(formatting.ratio, (1.0, *(each.flops for each in timed))),
        "params (M)": map(formatting.millions, (own.params, *(each.params for each in timed))),
        "relative": map(formatting.ratio, (1.0, *(each.value for each in ratios))),
        "95% interval": [UNKNOWN, *map(formatting.bounds, ratios)],
        "verdict": [UNKNOWN, *(each.verdict for each in timed)],
        "file": [UNKNOWN, *(report.file(each) or UNKNOWN for each in timed)],
    }
    columns = [
        Column(header, tuple(each), text=header in TEXTS, drop=DROPPED.get(header, 0))
        for header, each in cells.items()
        if header != "file" or report.files
    ]
    return Table(
        title=f"Wider channels that make it faster: {label(report.case)}",
        about=about(report.explained, report.case),
        columns=tuple(columns),
        groups=("",) * (len(timed) + 1),
        failures=tuple(
            f"{changed(each.widths)}: not timed: {each.reason or 'too few rounds'}"
            for each in report.advice
            if each.measured is None
        ),
        sentences=(_sentence(report),),
        notes=(NOTE,),
    )


def _sentence(report: AdviceReport) -> str:
    if not report.faster:
        tried = len(report.measured)
        return f"Nothing faster was found among {tried} {'graph' if tried == 1 else 'graphs'}."
    first = report.faster[0]
    assert first.measured, "timed"
    by = f"With {changed(first.widths)} channels it has {formatting.ratio(first.flops)} the FLOPs"
    ratio = f"{formatting.ratio(first.measured.value)} the time"
    return f"{by} and takes {ratio} ({formatting.bounds(first.measured)})."


def changed(widths: Widths) -> str:
    """`60 for 58, 120 for 116 and 4 others`."""
    named = [f"{new} for {old}" for old, new in sorted(widths.items())]
    rest = len(named) - NAMED
    return listed(named if rest <= 1 else [*named[:NAMED], f"{rest} others"])


def rows(report: AdviceReport) -> list[Mapping[str, object]]:
    """A row for each graph, those first that were timed."""
    failed = [each for each in report.advice if each.measured is None]
    return [
        {
            "spec": report.case.spec,
            "case": report.case.name,
            "device": report.explained.device.name,
            "widths": " ".join(f"{old}:{new}" for old, new in sorted(each.widths.items())),
            "macs": each.macs or None,
            "relative_flops": each.flops,
            "params": each.params or None,
            "relative_latency": each.measured and each.measured.value,
            "relative_ci_low": each.measured and each.measured.low,
            "relative_ci_high": each.measured and each.measured.high,
            "verdict": each.verdict if each.measured else None,
            "file": report.file(each),
            "reason": each.reason or None,
        }
        for each in [*report.measured, *failed]
    ]

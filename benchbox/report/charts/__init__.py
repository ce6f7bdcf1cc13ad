"""Charts of runs as Vega-Lite: one function each, drawn alike on a page and in a paper."""

from collections.abc import Callable, Mapping

from benchbox.report.charts.bars import over_flops, processes, profile
from benchbox.report.charts.panel import Panel
from benchbox.report.charts.scatter import flops, pareto
from benchbox.report.charts.series import samples
from benchbox.report.charts.style import Size, Spec

__all__ = ["CHARTS", "NEEDS"]

# From a panel and a size to Vega-Lite, or to nothing where the panel has no such figures.
CHARTS: Mapping[str, Callable[[Panel, Size], Spec | None]] = {
    "flops": flops,
    "pareto": pareto,
    "over-flops": over_flops,
    "profile": profile,
    "samples": samples,
    "processes": processes,
}
NEEDS = {
    "flops": "case with FLOPs and a latency",
    "pareto": "published accuracy beside a latency",
    "over-flops": "ratio of latencies beside one of FLOPs",
    "profile": "profile; time cases with --profile, or give what `benchbox profile --export-json` "
    "wrote as --with-profile",
    "samples": "samples",
    "processes": "p50 of several processes",
}

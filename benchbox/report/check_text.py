"""Words for checks: what was altered of a graph, what that should save, and whether it did."""

from collections.abc import Iterable

from benchbox.insight.alteration import Alteration
from benchbox.insight.check import Check
from benchbox.report import formatting
from benchbox.report.text import listed

NAMED = 3  # widths, groups or operators in a sentence
NOTE = (
    "checked: the graph altered so, of which accuracy is not claimed, timed beside the original in "
    "mirrored rounds; HOLDS where time fell by as much as said within a third, over FLOPs where no "
    "time was said to be saved; what suggests something was not altered and timed"
)


def alteration(altered: Alteration) -> str:
    """`with 60 for 58 channels`, `without 16 shuffles and 9 Mul`, `with 6 for 8 groups`."""
    if altered.widths:
        return f"with {_pairs(altered.widths.items())} channels"
    if altered.groups:
        pairs = sorted({(old, new) for old, new in altered.groups.values()})
        return f"with {_pairs(pairs)} groups"
    if count := len(altered.narrowed):
        return f"with half the results of {count} {'layer' if count == 1 else 'layers'}"
    named = [f"{count} {_many(kind, count)}" for kind, count in altered.counts.items()]
    return f"without {_few(named)}"


def outcome(check: Check) -> str:
    """`with 60 for 58 channels, 1.04x the FLOPs: said 0.90x the time, measured 0.89x (...)`."""
    assert check.measured, "timed"
    before, after = check.conversions
    is_layout = check.part == "layout conversion"
    left = f", {after} of {before} conversions left" if is_layout else ""
    return (
        f"{alteration(check.alteration)}, {formatting.ratio(check.flops)} the FLOPs{left}: "
        f"said {formatting.ratio(check.said)} the time, measured "
        f"{formatting.ratio(check.measured.value)} ({formatting.bounds(check.measured)})"
    )


def failure(check: Check) -> str:
    """`not checked: with 6 for 8 groups: that should save 0.2%, too little to be seen`."""
    why = check.reason or "too few rounds"
    is_altered = check.alteration != Alteration()
    return f"not checked: {f'{alteration(check.alteration)}, ' if is_altered else ''}{why}"


def _pairs(pairs: Iterable[tuple[int, int]]) -> str:
    return _few([f"{new} for {old}" for old, new in pairs])


def _few(named: list[str]) -> str:
    rest = len(named) - NAMED
    return listed(named if rest <= 1 else [*named[:NAMED], f"{rest} others"])


def _many(kind: str, count: int) -> str:
    return "shuffles" if kind == "shuffle" and count > 1 else kind

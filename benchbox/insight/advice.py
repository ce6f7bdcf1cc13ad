"""Advice: wider channels that may make a graph faster, each of which is still to be timed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbox.analysis.stats import Interval, Verdict, verdict
from benchbox.insight.alteration import MOST_WIDER, aligned, widths
from benchbox.insight.blame import blames
from benchbox.insight.parts import Explained

Widths = Mapping[int, int]

LEAST = 0.01  # of the latency, from which on what a part is blamed for is tried
MULTIPLES = (4, 8, 16, 32)  # that all channels are rounded up to


@dataclass(frozen=True, slots=True)
class Advice:
    """A graph with other widths, timed beside the original; `reason` is why it was not.

    `path` has the altered graph, `flops` and `params` are its own, and `macs` over the original's.
    """

    widths: Widths
    path: Path | None = None
    macs: int = 0
    flops: float = 1.0
    params: int = 0
    measured: Interval | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether it is FASTER than the original."""
        return verdict(self.measured)


def candidates(found: Explained) -> list[Widths]:
    """The widths to try, by old ones: for each part that channels are blamed for, then for all."""
    blamed = [widths(each, found.block) for each in blames(found, LEAST)]
    together: dict[int, int] = {}
    for each in blamed:
        for old, new in each.items():
            together[old] = max(new, together.get(old, 0))
    wanted: list[Widths] = []
    for to in [*blamed, together, *(aligned(found, multiple) for multiple in MULTIPLES)]:
        kept = {old: new for old, new in to.items() if new <= MOST_WIDER * old}
        if kept and kept not in wanted:
            wanted.append(kept)
    return wanted

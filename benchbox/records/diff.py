"""Difference of two runs: each case beside itself, and what else changed between them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchbox.analysis import between_runs
from benchbox.analysis.between_runs import UNKNOWN_SPREAD, Figure, RunRatio
from benchbox.analysis.stats import Verdict
from benchbox.records import differences
from benchbox.records.model import Record, Run, known_macs


@dataclass(frozen=True, slots=True)
class CasePair:
    """A case in both runs, with the ratio of B to A, None where a figure is missing."""

    a: Record
    b: Record
    ratio: RunRatio | None

    @property
    def is_same_graph(self) -> bool:
        """Whether both timed one graph."""
        return bool(self.a.sha256) and self.a.sha256 == self.b.sha256

    @property
    def relative_macs(self) -> float | None:
        """The multiply-accumulates of B over those of A, None where either is a lower bound."""
        before, after = known_macs(self.a.cost), known_macs(self.b.cost)
        return after / before if before and after is not None else None


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs beside each other: A came first on the command line."""

    a: Run
    b: Run
    pairs: Sequence[CasePair]
    margin: float
    spread: float
    changed: Sequence[differences.Difference]

    @property
    def is_one_machine(self) -> bool:
        """Whether the two ran on one machine, as far as records tell."""
        return differences.machine(self.a.context) == differences.machine(self.b.context)

    def verdict(self, pair: CasePair) -> Verdict | None:
        """The verdict on B, None without a ratio."""
        return pair.ratio.verdict(self.margin) if pair.ratio else None


def diff(a: Run, b: Run, margin: float) -> RunDiff:
    """Set run B beside run A.

    Where nothing else changed, the graphs that did not either tell what two runs differ by.
    """
    changed = differences.between(a.context, b.context)
    is_one = differences.machine(a.context) == differences.machine(b.context)

    def pairs(spread: float) -> list[CasePair]:
        return [CasePair(x, y, _ratio(x, y, spread, is_one)) for x, y in both(a.records, b.records)]

    controls = [
        pair.ratio.interval.value
        for pair in pairs(UNKNOWN_SPREAD)
        if pair.ratio and pair.ratio.is_usual and pair.is_same_graph
    ]
    is_control = is_one and not changed
    spread = between_runs.spread(controls if is_control else ())
    return RunDiff(a, b, pairs(spread), margin, spread, changed)


def both(a: Sequence[Record], b: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The cases of both: by spec and name or else, where one alone has it, by name or by graph."""
    ways: tuple[Callable[[Record], str], ...] = (
        lambda record: record.key,
        lambda record: record.case,
        lambda record: record.sha256,
    )
    pairs = dict[str, Record]()
    for way in ways:
        taken = {record.key for record in pairs.values()}
        left = [record for record in a if record.key not in taken]
        others = [record for record in b if record.key not in pairs]
        ours, theirs = (Counter(map(way, each)) for each in (left, others))
        own = {way(record): record for record in left if ours[way(record)] == 1}
        for record in others:
            name = way(record)
            if name in own and theirs[name] == 1 and name:
                pairs[record.key] = own[name]
    return [(pairs[record.key], record) for record in b if record.key in pairs]


def _ratio(a: Record, b: Record, spread: float, same_machine: bool) -> RunRatio | None:
    if a.latency is None or b.latency is None or {a.status, b.status} & {"failed", "skipped"}:
        return None
    before, after = Figure(a.latency, a.adjustment), Figure(b.latency, b.adjustment)
    return between_runs.ratio(before, after, spread, same_machine=same_machine)

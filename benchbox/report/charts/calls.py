"""Calls of a run in the order taken, each with what disturbed it; of many some, evenly spaced."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchbox.analysis.samples import Burst, figures
from benchbox.analysis.states import Gate, State
from benchbox.records import Record, Run
from benchbox.report.frame import DIGITS

UNDISTURBED, OTHER = "undisturbed", "other"
MOST_SAMPLES = 10_000  # of a run
MOST_CAUSES = 6  # of disturbances, told apart
STATES = ("slow", "fast", "gpu_slow", "gpu_fast")


class Samples(NamedTuple):
    """The samples of a panel."""

    rows: list[dict[str, Any]]
    calls: int
    starts: Sequence[int]


def samples(run: Run, names: Mapping[str, str]) -> Samples:
    """A row for each of some calls in the order taken, with its latency over its case's p50.

    `names` has the names of cases by their keys.
    """
    bursts = [
        (burst, record, record.latency.p50_s)
        for record in run.records
        if record.latency and record.latency.p50_s
        for burst in figures(record.bursts)
    ]
    bursts.sort(key=lambda each: (each[0].session, each[0].round, each[1].index))
    over = [ns * 1e-9 / p50 for burst, _, p50 in bursts for ns in burst.latencies_ns]
    taken = iter([*spaced(len(over), MOST_SAMPLES), len(over)])
    rows, starts, process, first, place = list[dict[str, Any]](), list[int](), None, 0, next(taken)
    for burst, record, _ in bursts:
        if process not in (None, burst.session):
            starts.append(first + 1)
        process = burst.session
        end = first + len(burst.latencies_ns)
        causes = _disturbed(burst, record) if place < end else []
        while place < end:
            rows.append(
                {
                    "n": place + 1,
                    "case": names[record.key],
                    "ms": rounded(burst.latencies_ns[place - first] / 1e6),
                    "over": rounded(over[place]),
                    "cause": causes[place - first],
                    "process": burst.session + 1,
                }
            )
            place = next(taken)
        first = end
    return Samples(rows, len(over), starts)


def spaced(count: int, most: int) -> list[int]:
    """At most so many places among `count`, evenly spaced.

    No fixed number apart, which could take the same call of each burst again and again.
    """
    kept = min(count, most)
    return [place * count // kept for place in range(kept)]


def _disturbed(burst: Burst, record: Record) -> list[str]:
    """What disturbed each call, by its tag."""
    state = next((tag for tag in STATES if tag in burst.tags), STATES[0])
    others = [tag for tag in burst.tags if tag not in ("preempted", *STATES)]
    rest = "queued" if burst.waited() else (*others, UNDISTURBED)[0]
    pairs = zip(burst.undisturbed(), burst.steady(_gate(record)), strict=True)
    return ["preempted" if not calm else rest if still else state for calm, still in pairs]


def _gate(record: Record) -> Gate:
    """The states of the machine in which the calls of a record count."""
    if (adjustment := record.adjustment) is None:
        return record.gate
    usual, factor = adjustment.usual_compute_ns, math.exp(adjustment.window)
    return Gate(State(usual, usual / factor, usual * factor))


def common_causes(found: Sequence[str]) -> list[str]:
    """Undisturbed, and then the commonest causes, the rest as one."""
    counts = Counter(found)
    del counts[UNDISTURBED]
    common = [cause for cause, _ in counts.most_common()]
    if len(common) > MOST_CAUSES:
        common = [*common[: MOST_CAUSES - 1], OTHER]
    return [UNDISTURBED, *common]


def rounded(value: float) -> float:
    """The value with the digits of the data frame."""
    return float(f"{value:.{DIGITS}g}")

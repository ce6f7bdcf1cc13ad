"""Sentences on limits: the case, its figure with the interval, and the limit."""

from collections.abc import Sequence
from typing import Any

import pytest

from benchbox.analysis.samples import Burst
from benchbox.analysis.stats import Interval
from benchbox.api import parsing
from benchbox.records import Record
from benchbox.report.limits import judgements, sentence, within
from tests.helpers.tables import cost, latency, record, run_of

RATIO = Interval(1.052, 1.046, 1.058)


def told(text: str, *records: Record) -> list[str]:
    found = list(judgements([run_of(records)], parsing.limits(text)))
    kept = {each.kept for each in found}
    return [within(found)] if kept == {"within"} else [sentence(each) for each in found]


def net(**changes: Any) -> Record:
    usual = {"case": "new", "reference": "old", "cost": cost(300_000_000, 1)}
    return record({}, **{**usual, **changes})


def bursts(latencies_ms: Sequence[float], rounds: int = 10) -> list[Burst]:
    ns = tuple(int(ms * 1e6) for ms in latencies_ms)
    return [Burst(0, index, ns) for index in range(rounds)]


@pytest.mark.parametrize(
    ("text", "changes", "line"),
    [
        (
            "slower>3%",
            {"relative": RATIO},
            "Failed: new takes 1.05x (1.046x to 1.058x) the latency of old on cpu, over the limit "
            "of 1.03x (slower>3%)",
        ),
        (
            "slower > 5%",
            {"relative": RATIO},
            "Unclear: new takes 1.052x (1.046x to 1.058x) the latency of old on cpu; the limit of "
            "1.050x (slower>5%) lies within",
        ),
        (
            "slower>4.55%",
            {"relative": RATIO},
            "Failed: new takes 1.0520x (1.0460x to 1.0580x) the latency of old on cpu, over the "
            "limit of 1.0455x (slower>4.55%)",
        ),
        ("slower>8%", {"relative": RATIO}, "Within limits: slower>8% (1 case)"),
        (
            "slower>3%",
            {"relative": None},
            "Unclear: new shares too few rounds with old to know its ratio on cpu; the limit of "
            "1.03x (slower>3%) is undecided",
        ),
        (
            "p50>33ms",
            {"latency": latency(40.0, 0.01)},
            "Failed: new has a p50 of 40.0 ms (39.6 ms to 40.4 ms) on cpu, over the limit of "
            "33.0 ms (p50>33ms)",
        ),
        (
            "p50>40.01ms",
            {"latency": latency(40.01, 0.01)},
            "Unclear: new has a p50 of 40.01 ms (39.61 ms to 40.41 ms) on cpu; the limit of "
            "40.01 ms (p50>40.01ms) lies within",
        ),
        (
            "p99>0.5s",
            {"bursts": bursts([600.0] * 90)},
            "Failed: new has a p99 of 0.600 s on cpu, over the limit of 0.500 s (p99>0.5s)",
        ),
        (
            "p99>0.5s",
            {"bursts": bursts([600.0] * 9)},
            "Unclear: new has no known p99 on cpu; the limit of 0.500 s (p99>0.5s) is undecided",
        ),
        (
            "peak_memory>50MB",
            {"peak_bytes": 61_200_000},
            "Failed: new has a peak memory of 61.2 MB on cpu, over the limit of 50.0 MB "
            "(peak_memory>50MB)",
        ),
        (
            "peak_memory>64MiB",
            {"peak_bytes": 2**27},
            "Failed: new has a peak memory of 128 MiB on cpu, over the limit of 64.0 MiB "
            "(peak_memory>64MiB)",
        ),
        ("peak_memory>64MiB", {"peak_bytes": 1}, "Within limits: peak_memory>64MiB (1 case)"),
        (
            "params>10k",
            {},
            "Failed: new has 41.0 K params on cpu, over the limit of 10.0 K (params>10k)",
        ),
        (
            "flops>400M",
            {"cost": cost(300_000_000, None, "Loop")},
            "Unclear: new has at least 300 M FLOPs on cpu; the limit of 400 M (flops>400M) lies "
            "within",
        ),
        ("params>5M,flops>1G", {}, "Within limits: params>5M, flops>1G (1 case)"),
    ],
)
def test_a_line_says_what_is_over_which_limit(
    text: str, changes: dict[str, Any], line: str
) -> None:
    assert told(text, net(**changes)) == [line]


def test_cases_without_figures_and_references_are_not_judged() -> None:
    failed = net(status="failed", latency=None)
    reference = net(case="old", relative=None)
    assert len(told("slower>3%", failed, reference, net(relative=RATIO))) == 1


def test_a_limit_to_a_baseline_is_about_nothing_where_that_cannot_be_used() -> None:
    runs, limits = [run_of([net(relative=RATIO)])], parsing.limits("slower>3%")
    assert len(list(judgements(runs, limits))) == 1
    assert list(judgements(runs, limits, [])) == []

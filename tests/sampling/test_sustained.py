"""One case under continuous load: windows, what ends a series, what a short one lacks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchbox.analysis import sustained as analysis_sustained
from benchbox.analysis.samples import Burst
from benchbox.analysis.sustained import Window
from benchbox.errors import AgentError
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Progress, Subject
from benchbox.sampling.session import Ask
from benchbox.sampling.sustained import Sustainer, lacking
from tests.helpers.sessions import FakeSession, FragileSession, noisy

PLAN = Plan(sustained_s=60.0, burst_s=0.1)
Slowdown = Callable[[float], float]  # seconds of load -> how much slower than at first


class Oven(FakeSession):
    """Runs a case on a processor that gets hot, and says what its clock is."""

    def __init__(self, latency_s: float = 0.005, slowdown: Slowdown = lambda _: 1.0) -> None:
        usual = noisy(latency_s)
        super().__init__({"a": lambda now: usual(now) * slowdown(now)})
        self.slowdown = slowdown

    def burst(self, ask: Ask) -> dict[str, Any]:
        times = self.slowdown(self.now)
        seen = {"clock_khz": 2_400_000 / times, "faults_minor": 2}
        marks = [[0, round(10_000 * times)], [ask[1], round(10_000 * times)]]
        return {**super().burst(ask), "marks": marks, "seen": seen}


def sustain(session: FakeSession, plan: Plan = PLAN) -> tuple[Sustainer, list[Progress]]:
    sampler = Sustainer(Subject("a", "a"), plan, session.clock)
    return sampler, list(sampler.measure(session, 0))


# windows


def test_windows_of_a_second_cover_the_time_asked_for() -> None:
    oven = Oven()
    sampler, (case,) = sustain(oven)
    assert case.finished
    assert not case.failure
    found = sampler.windows
    assert 58 <= len(found) <= 62
    ends = [window.at_s + window.lasts_s for window in found]
    assert [window.at_s for window in found[1:]] == pytest.approx(ends[:-1], abs=0.002)
    assert ends[-1] == pytest.approx(60, abs=1.5)
    assert all(w.p50_s == pytest.approx(0.005, rel=0.01) for w in found)
    assert all(w.min_s <= w.p50_s <= w.p90_s for w in found)
    assert sum(window.calls for window in found) == pytest.approx(60 / 0.005, rel=0.03)
    assert {window.probe_ns for window in found} == {10_000}
    assert not lacking(found, 60.0)
    calls = [sum(ask[1] for ask in request) for request in oven.asked if len(request) > 1]
    assert all(0.8 <= n * 0.005 <= 1.2 for n in calls[1:-2])  # else the processor is idle


def test_the_series_begins_when_the_case_is_warm() -> None:
    oven = Oven(slowdown=lambda now: 3.0 if now < 0.05 else 1.0)
    sampler, (case,) = sustain(oven)
    assert case.warmup_calls > 0
    assert max(window.p50_s for window in sampler.windows) < 0.0055
    assert oven.now > 60


@pytest.mark.parametrize(("asked_s", "length_s"), [(2, 0.05), (12, 0.2), (600, 1), (3600, 6)])
def test_there_are_at_most_600_windows_and_of_short_series_some(
    asked_s: float, length_s: float
) -> None:
    assert analysis_sustained.length_s(asked_s) == pytest.approx(length_s)
    sampler, _ = sustain(Oven(latency_s=length_s / 2), replace(PLAN, sustained_s=asked_s))
    assert 16 <= len(sampler.windows) <= 610


def test_a_window_adds_counters_up_and_takes_the_middle_of_gauges() -> None:
    bursts = [
        Burst(0, 0, (10, 20, 90), (0, 0, 1), ((0, 5), (3, 7)), seen={"steal_s": 1, "clock_khz": k})
        for k in (1, 2, 9)
    ]
    found = analysis_sustained.window(bursts, 1.0, 0.5)
    assert found == Window(
        1.0, 0.5, pytest.approx(15e-9), pytest.approx(90e-9), pytest.approx(10e-9), 9, 6, 6,
        {"clock_khz": 2, "steal_s": 3},
    )  # fmt: skip


def test_a_window_keeps_what_firmware_did_in_any_of_its_bursts() -> None:
    """So one without a quiet call has a figure all the same."""
    bits = 0, 0x10001, 0x40004
    bursts = [Burst(0, 0, (10,), (1,), seen={"throttled_bits": each}) for each in bits]
    found = analysis_sustained.window(bursts, 0, 1)
    assert found.seen == {"throttled_bits": 0x50005}
    assert (found.quiet, found.calls, found.p50_s) == (0, 3, pytest.approx(1e-8))


# what goes wrong


def test_an_error_ends_the_case_and_keeps_its_windows() -> None:
    def overheating(now: float) -> float:
        if now >= 20:
            raise ValueError("no memory")
        return 1.0

    oven = Oven(slowdown=overheating)
    sampler, (case,) = sustain(oven)
    assert case.failure == "no memory"
    assert 15 <= len(sampler.windows) <= 21
    assert oven.now < 22


def test_an_agent_lost_between_requests_begins_the_series_anew() -> None:
    session = FragileSession({"a": noisy(0.005)})
    session.lost_after = 20.0
    sampler = Sustainer(Subject("a", "a"), PLAN, session.clock)
    with pytest.raises(AgentError):
        list(sampler.measure(session, 0))
    session.lost_after = math.inf
    assert len(list(sampler.measure(session, 1))) == 1
    assert sampler.windows[0].at_s == 0.0
    assert sampler.windows[-1].at_s == pytest.approx(59, abs=1.5)


def test_what_a_short_series_lacks_is_said() -> None:
    found = [Window(float(n), 1.0, 0.001, 0.001, 0.001, 9, 9) for n in range(34)]
    assert lacking(found, 600.0) == "only 34 of 600 s"
    assert lacking((), 600.0) == "only 0 of 600 s"
    assert "too few to see a trend" in lacking(found[:10], 10.0)
    latency = analysis_sustained.latency(analysis_sustained.estimate(found[:3], 600.0))
    assert latency is not None
    assert latency.interval is None
    assert analysis_sustained.latency(analysis_sustained.estimate((), 600.0)) is None


@pytest.mark.parametrize(
    ("swing", "quiet", "lacks"),
    [
        (1.02, 9, ""),
        (1.4, 9, "its steady state is known to ±"),
        (1.02, 0, "every call of its steady state was disturbed"),
    ],
)
def test_a_steady_state_that_is_wide_or_never_quiet_is_not_good(
    swing: float, quiet: int, lacks: str
) -> None:
    found = [
        Window(float(n), 1.0, 0.001 * swing ** (n // 7 % 2), 0.001, 0.001, 9, quiet)
        for n in range(60)
    ]
    assert lacking(found, 60.0).startswith(lacks)
    assert bool(lacking(found, 60.0)) == bool(lacks)

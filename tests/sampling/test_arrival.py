from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis import arrival as analysis_arrival
from benchbox.analysis.latency import estimate
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State
from benchbox.api import load_options, parsing
from benchbox.api.options import UnderLoad
from benchbox.devices import Device
from benchbox.errors import UsageError
from benchbox.report import formatting
from benchbox.report.claims import sentences
from benchbox.report.files import to_csv, to_markdown
from benchbox.report.footnotes import notes
from benchbox.report.frame import COLUMNS, to_frame
from benchbox.sampling.arrival import PacedSampler
from benchbox.sampling.plan import Plan, lacking
from benchbox.sampling.session import Ask, asleep_s
from benchbox.transports.client import Agent, Deadlines
from tests.helpers.command import invoke, only_run, rows
from tests.helpers.machine import HELLO, SimulatedMachine
from tests.helpers.scripted import Scripted
from tests.helpers.sessions import NS, FakeSession, Sampling, bursts, noisy
from tests.helpers.tables import G2, ratio, record, run_of
from tests.helpers.tables import latency as latency_of

PLAN = Plan(precision=0.05, arrival_per_s=5.0, max_time_s=300, burst_s=0.1)


class Waiting(SimulatedMachine):
    """A machine that waits too little now and then, and notes when calls begin and it sleeps."""

    def __init__(self, latency_s: Callable[[float], float], overshoot_s: float = 0.0) -> None:
        super().__init__({"a": lambda: latency_s(self.now)}, noise=0.0)
        self.overshoot_s = overshoot_s
        self.begun: list[float] = []
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.switches += 7
        super().sleep(seconds + self.overshoot_s)

    def call(self, graph: str) -> None:
        self.begun.append(self.now)
        super().call(graph)

    def paced(self, calls: int, period_s: float) -> Burst:
        (timed,) = self.time([("a", calls, False, period_s)], [1.0])
        return timed.burst(session=0, round=0)


# the loop in the agent


def test_calls_begin_a_period_apart_after_untimed_ones() -> None:
    """Switches count in the call and not in the sleep."""
    machine = Waiting(lambda _: 0.002)
    burst = machine.paced(5, 0.2)
    assert burst.latencies_ns == (2_000_000,) * 5
    assert (burst.switches, burst.marks) == ((0,) * 5, ())
    assert [b - a for a, b in pairwise(machine.begun[-6:])] == pytest.approx([0.202] + [0.2] * 4)
    assert burst.slept_ns == pytest.approx(5 * 0.2 * NS - 4 * 2_000_000)


def test_waking_up_late_adds_nothing_to_the_schedule() -> None:
    machine = Waiting(lambda _: 0.001, overshoot_s=0.003)
    machine.paced(50, 0.01)
    assert machine.begun[-1] == pytest.approx(machine.begun[-51] + 0.001 + 50 * 0.01 + 0.003)


@pytest.mark.parametrize(
    ("latency_s", "gaps"),
    [
        (lambda now: 0.035 if 0.02 < now < 0.03 else 0.001, [0.011, 0.01, 0.04, 0.01, 0.01, 0.01]),
        (lambda _: 0.012, [0.022, *[0.02] * 5]),  # longer than the period
    ],
)
def test_a_late_call_waits_for_the_next_moment_and_no_burst_follows(
    latency_s: Callable[[float], float], gaps: list[float]
) -> None:
    machine = Waiting(latency_s)
    machine.paced(6, 0.01)
    assert [b - a for a, b in pairwise(machine.begun[-7:])] == pytest.approx(gaps)
    assert min(machine.slept) > 0.004


# rounds


class Naps(FakeSession):
    """A session in which a call after a sleep takes `waking` times as long."""

    def __init__(
        self, latencies_s: Mapping[str, float], waking: float = 1.5, noise: float = 0.01
    ) -> None:
        super().__init__({key: noisy(each, noise) for key, each in latencies_s.items()})
        self.waking = waking

    def burst(self, ask: Ask) -> dict[str, Any]:
        began, data = self.now, super().burst(ask)
        if len(ask) == 3:
            return data
        self.now = began + asleep_s(ask)
        return data | {"latencies_ns": [round(ns * self.waking) for ns in data["latencies_ns"]]}


class Arrival(Sampling):
    """Cases that have been timed at a rate."""

    def __init__(self, session: Naps, plan: Plan = PLAN, **more: Any) -> None:
        super().__init__(session.models, plan, session, kind=PacedSampler, **more)
        self.finished = self.measure()

    def kind(self, key: str, kind: str) -> list[Burst]:
        return [burst for burst in self.bursts(key) if burst.kind == kind]


def test_each_round_has_both_kinds_of_every_case() -> None:
    found = Arrival(Naps({"a": 0.002, "b": 0.004}))
    assert set(found.finished) == {"a", "b"}
    for key in "ab":
        paced, beside = found.kind(key, "paced"), found.kind(key, "beside")
        assert len(paced) == len(beside) >= PLAN.min_rounds
        assert {b.round for b in paced} == {b.round for b in beside}
        assert {len(b.latencies_ns) for b in paced} == {5}
        assert not lacking(found.cases[key].rounds, PLAN)
    rounds = [request for request in found.session.asked if any(len(ask) > 3 for ask in request)]
    assert {len(request) for request in rounds} == {4}
    assert len({tuple(ask[0] for ask in request) for request in rounds}) == 2
    assert all(one[0] == two[0] for r in rounds for one, two in (r[:2], r[2:]))


def test_the_figures_are_those_at_the_rate_and_the_others_stand_beside_them() -> None:
    found = Arrival(Naps({"a": 0.002}))
    latency, arrival = estimate(found.bursts()), estimated(found.bursts())
    assert latency is not None
    assert arrival.back_to_back is not None
    assert arrival.ratio is not None
    assert latency.p50_s == pytest.approx(0.003, rel=0.01)
    assert latency.samples == 5 * len(found.kind("a", "paced"))
    assert arrival.back_to_back.p50_s == pytest.approx(0.002, rel=0.01)
    assert arrival.ratio.low < 1.5 < arrival.ratio.high
    assert arrival.ratio.half_width < 0.01
    assert arrival.late_share == 0.0
    paced = bursts(*[5_000_000] * 9, 11_000_000, kind="paced")
    assert estimated(paced, 100.0).late_share == pytest.approx(0.1)


def estimated(bursts: Sequence[Burst], per_s: float = 5.0) -> analysis_arrival.Arrival:
    arrival = analysis_arrival.estimate(bursts, per_s)
    assert arrival is not None
    return arrival


def test_both_kinds_are_judged_by_switches_alone() -> None:
    marks = ((0, 99_000), (1, 99_000))
    bursts = [Burst(0, n, (1000,), (0,), marks=marks, kind="beside") for n in range(8)]
    gate = Gate(State(10_000, 9_000, 11_000))
    assert not any(burst.quiet_ns(gate) for burst in bursts)
    assert estimated(bursts).back_to_back is not None
    assert estimate(bursts, gate) is None


def test_a_case_that_calls_come_too_fast_for_fails_as_soon_as_that_shows() -> None:
    session = Naps({"quick": 0.002, "slow": 0.026, "woken": 0.008}, waking=1.5, noise=0.001)
    found = Arrival(session, replace(PLAN, arrival_per_s=100.0))
    failed = {key: case.failure for key, case in found.cases.items() if case.failure}
    assert failed.keys() == {"slow", "woken"}
    assert failed["slow"] == "takes 26 ms, calls come every 10 ms"
    assert failed["woken"].startswith("takes 12 ms, calls come every 10 ms")
    assert found.kind("slow", "paced") == []
    assert len(found.kind("woken", "paced")) < PLAN.min_rounds <= len(found.kind("quick", "paced"))


def test_short_time_is_spent_on_rounds_rather_than_on_calls() -> None:
    session = Naps({"a": 0.002, "b": 0.002}, noise=0.3)
    found = Arrival(session, replace(PLAN, max_time_s=20.0, precision=1e-6))
    assert found.finished == []
    paced = found.kind("a", "paced")
    assert len(paced) >= 10
    assert min(len(burst.latencies_ns) for burst in paced) == 1
    assert session.now < 22.0


def test_every_long_burst_is_notified_of() -> None:
    session, times = Naps({"a": 0.002, "b": 0.002}), []
    Arrival(session, replace(PLAN, arrival_per_s=0.5), notify=lambda _: times.append(session.now))
    assert max(b - a for a, b in pairwise(times)) < 2.5


def test_time_asleep_is_given_to_the_agent_before_it_counts_as_hung() -> None:
    burst = {"burst": {"graph": "a", "latencies_ns": [1]}}
    channel = Scripted(HELLO, burst, burst, {"reply": "time"})
    agent = Agent(channel, Device("cpu", "p", 1, "arm"), Deadlines(burst_s=30, patience=20))
    list(agent.time([("a", 2, False), ("a", 2, False, 60.0)], [0.01, 0.01]))
    assert channel.waits[1] == pytest.approx(30.2)
    assert channel.waits[2] > 30.2 + 120


# what is asked for


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("5/s", 5.0), ("0.5/s", 0.5), ("30/m", 0.5), (" 10 / h ", 1 / 360), ("1000/s", 1000.0)],
)
def test_a_rate_is_calls_per_second_minute_or_hour(text: str, per_s: float) -> None:
    assert parsing.rate(text) == pytest.approx(per_s)
    assert parsing.rate(formatting.per(per_s)) == pytest.approx(per_s, rel=1e-3)
    assert [formatting.per(each) for each in (5, 1 / 60, 2.5)] == ["5/s", "1/m", "2.5/s"]


@pytest.mark.parametrize("text", ["5", "/s", "0/s", "-1/s", "1/10s", "5/d"])
def test_what_is_no_rate_or_beside_another_load_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--arrival"):
        parsing.rate(text)
    with pytest.raises(UsageError, match="exclude each other"):
        load_options.adapt(Plan(), UnderLoad(text, "10m"), 1, precise=False, timed=False)


def test_a_duration_has_the_unit_that_suits_it() -> None:
    durations_s = 2e-4, 0.2, 1.5, 90, 276, 3600, 9000, 1e6
    texts = "200 us", "200 ms", "1.5 s", "90 s", "4.6 min", "60 min", "2.5 h", "278 h"
    assert tuple(map(formatting.duration, durations_s)) == texts


def adapted(text: str, plan: Plan | None = None, **asked: bool) -> Plan:
    load, asked = UnderLoad(arrival=text), {"precise": False, "timed": False} | asked
    return load_options.adapt(plan or Plan(sessions=3, burst_s=0.1), load, 4, **asked)


def test_the_longest_time_fits_the_rate_and_the_precision_is_wider_unless_given() -> None:
    plan = adapted("5/s")
    assert (plan.arrival_per_s, plan.precision) == (5.0, 0.05)
    assert plan.max_time_s == pytest.approx(1.5 * 4 * 21 * 1.1)
    assert adapted("1000/s").max_time_s >= Plan().max_time_s
    assert adapted("1/m").max_time_s == pytest.approx(1.5 * 4 * 21 * 60.1)
    assert adapted("5/s", Plan(max_time_s=10), timed=True).max_time_s == 10
    assert adapted("5/s", Plan(precision=0.02), precise=True).precision == 0.02


def test_a_run_that_takes_minutes_says_so_and_a_short_one_does_not() -> None:
    assert load_options.announcement(adapted("5/s"), 4) == "4 cases at 5/s: 92 s to 2.3 min"
    short = adapted("5/s", Plan(max_time_s=10, sessions=3, burst_s=0.1), timed=True)
    assert load_options.announcement(short, 4) == "4 cases at 5/s need 92 s, and get 10 s only"
    assert load_options.announcement(adapted("100/s", Plan(max_time_s=9, min_rounds=6)), 1) == ""
    assert load_options.announcement(Plan(max_time_s=500), 4) == ""


# what is kept and shown


def paced_records() -> list[records.Record]:
    arrival = analysis_arrival.Arrival(5.0, latency_of(1.0), ratio(1.42, 0.03))
    paper = {"arrival": arrival, "published": 40.0, "channels": "arm"}
    beside = {"reference": "groups=1,scale=1", "relative": ratio(2.0)}
    late = replace(arrival, late_share=0.034)
    return [
        record({"groups": 1, "scale": 1}, 1.42, **paper),
        record({"groups": 8, "scale": 1}, 2.84, arrival=late, **beside),
    ]


def test_the_csv_has_the_figures_at_the_rate_and_further_columns_at_its_end() -> None:
    ordinary = record({"groups": 1, "scale": 2}, 3.0)
    frame = to_frame([run_of([*paced_records(), ordinary])])
    names = list(frame.columns)
    assert names[: len(COLUMNS)] == list(COLUMNS)
    shown = "arrival_per_s", "latency_p50_ms", "back_to_back_p50_ms", "back_to_back_ratio_low"
    found = [[row[name] for name in shown] for row in rows(to_csv(frame))]
    assert found[0] == ["5.0", "1.42", "1.0", "1.3774"]
    assert found[2] == ["", "3.0", "", ""]
    assert [bool(row["images_per_s"]) for row in rows(to_csv(frame))] == [False, False, True]


def test_the_table_shows_both_latencies_and_their_ratio() -> None:
    run = run_of(paced_records())
    text = to_markdown([run])
    header = next(line for line in text.splitlines() if line.startswith("| case"))
    assert "| p50 at 5/s (ms) | back to back (ms) | over back to back |" in header
    assert "images/s" not in header
    assert "a call every 200 ms" in text
    assert "| 1.420 ± 0.006 | 1.000 ± 0.004 | 1.42x (1.38x to 1.46x) |" in text
    (said,) = sentences(run, G2)
    assert said is not None
    assert said.startswith("G2 at 5/s holds here: 8 groups cost 2.00x")
    assert "groups=8,scale=1: 3% of the calls were not over when the next was due" in notes(run, G2)


# all of it


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp", "warm")
def test_a_run_at_a_rate_from_end_to_end(write_onnx: Callable[..., Path]) -> None:
    tiny = str(write_onnx())
    done = invoke(
        *("run", tiny, "--arrival", "50/s", "--quick", "--precision", "90%", "--export-csv", "-")
    )
    assert done.exit_code == 0, done.stderr
    (row,) = rows(done.stdout)
    assert (row["status"], row["arrival_per_s"]) == ("ok", "50.0")
    assert float(row["back_to_back_p50_ms"]) > 0
    (kept,) = only_run().records
    paced = [burst for burst in kept.bursts if burst.kind == "paced"]
    assert all(burst.marks == () for burst in paced)
    assert all(burst.slept_ns > 0.9 * len(burst.latencies_ns) * NS / 50 for burst in paced)
    assert any(burst.marks for burst in kept.bursts if burst.kind == "beside")
    refused = invoke("run", tiny, "--quick", "--resume")
    assert refused.exit_code == 2
    assert "arrival_per_s was 50.0 and is none now" in refused.output

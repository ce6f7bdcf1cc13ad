import csv
import io
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbox import records, runner
from benchbox.analysis import changepoint
from benchbox.analysis import sustained as analysis_sustained
from benchbox.analysis.samples import Burst
from benchbox.analysis.sustained import Window
from benchbox.cli import load_options
from benchbox.cli.app import app
from benchbox.cli.options import LoadOptions
from benchbox.costs import Cost
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, RecordError, UsageError
from benchbox.export import Graph
from benchbox.records import Record, resume
from benchbox.records.journal import Journal
from benchbox.report.claims import sentence
from benchbox.report.files import to_csv, to_markdown
from benchbox.report.footnotes import notes
from benchbox.report.frame import COLUMNS, to_frame
from benchbox.report.load_cells import BARS, over_time
from benchbox.runner.sustained import LastingMeasurement
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Progress, Sampler, Subject
from benchbox.sampling.session import Ask, Timed
from benchbox.sampling.sustained import Sustainer, lacking
from benchbox.specs import Case, OnnxFile
from benchbox.transports import Agent
from benchbox.transports.local import open_local
from tests.e2e.test_cli import start, wait_for_agent
from tests.records.test_records import context
from tests.report.test_tables import G2, record, run_of

NS = 1_000_000_000
PLAN = Plan(sustained_s=60.0, burst_s=0.1)
Slowdown = Callable[[float], float]  # seconds of load -> how much slower than at first


class Oven:
    """Runs a case on a clock of its own: a processor that gets hot, and says what its clock is."""

    def __init__(self, latency_s: float = 0.005, slowdown: Slowdown = lambda _: 1.0) -> None:
        self.latency_s, self.slowdown = latency_s, slowdown
        self.now = 0.0
        self.asked: list[list[Ask]] = []
        self.fails_at: float | None = None
        self.error_at: float | None = None
        self._random = random.Random(0)

    def clock(self) -> float:
        return self.now

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        self.asked.append(list(bursts))
        for ask, _ in zip(bursts, expected_s, strict=True):
            if self.fails_at is not None and self.now >= self.fails_at:
                raise AgentError("gone")
            if self.error_at is not None and self.now >= self.error_at:
                yield Timed(ask[0], error="no memory")
                continue
            times = self.slowdown(self.now)
            taken = [
                self.latency_s * times * (1 + self._random.gauss(0, 0.01)) for _ in "x" * ask[1]
            ]
            self.now += sum(taken)
            data: dict[str, object] = {"latencies_ns": [round(t * NS) for t in taken]}
            seen = {"clock_khz": 2_400_000 / times, "faults_minor": 2}
            marks = [[0, round(10_000 * times)], [ask[1], round(10_000 * times)]]
            yield Timed(ask[0], {**data, "switches": [0] * ask[1], "marks": marks, "seen": seen})


def sustain(oven: Oven, plan: Plan = PLAN) -> tuple[Sustainer, list[Progress]]:
    sampler = Sustainer(Subject("a", "a"), plan, oven.clock)
    return sampler, list(sampler.measure(oven, 0))


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


def test_the_series_begins_when_the_case_is_warm() -> None:
    oven = Oven(slowdown=lambda now: 3.0 if now < 0.05 else 1.0)
    sampler, (case,) = sustain(oven)
    assert case.warmup_calls > 0
    assert max(window.p50_s for window in sampler.windows) < 0.0055
    assert oven.now > 60


@pytest.mark.parametrize(
    ("asked_s", "length_s"), [(2, 0.05), (12, 0.2), (60, 1), (600, 1), (3600, 6)]
)
def test_there_are_at_most_600_windows_and_of_short_series_some(
    asked_s: float, length_s: float
) -> None:
    assert analysis_sustained.length_s(asked_s) == pytest.approx(length_s)
    sampler, _ = sustain(Oven(latency_s=0.02), replace(PLAN, sustained_s=asked_s))
    assert 16 <= len(sampler.windows) <= 610


def test_requests_are_a_second_long_so_that_the_processor_is_never_idle_for_long() -> None:
    oven = Oven()
    sustain(oven)
    series = [request for request in oven.asked if len(request) > 1]
    calls = [sum(ask[1] for ask in request) for request in series]
    assert all(0.8 <= n * 0.005 <= 1.2 for n in calls[1:-2])


def test_calls_that_take_long_are_a_window_each() -> None:
    sampler, _ = sustain(Oven(latency_s=2.0))
    assert {window.calls for window in sampler.windows} == {1}
    assert len(sampler.windows) == pytest.approx(30, abs=1)


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
    bursts = [Burst(0, 0, (10,), seen={"throttled_bits": bits}) for bits in (0, 0x10001, 0x40004)]
    assert analysis_sustained.window(bursts, 0, 1).seen == {"throttled_bits": 0x50005}


def test_a_window_without_a_quiet_call_has_a_figure_all_the_same() -> None:
    found = analysis_sustained.window([Burst(0, 0, (10, 20), (1, 1))], 0, 1)
    assert (found.quiet, found.calls) == (0, 2)
    assert found.p50_s == pytest.approx(15e-9)


# what a series says


def hot(at_s: float = 25.0, times: float = 1.31) -> Slowdown:
    return lambda now: times if now >= at_s else 1.0


def series_of(oven: Oven, plan: Plan = PLAN) -> Record:
    sampler, _ = sustain(oven, plan)
    assert plan.sustained_s is not None
    sustained = analysis_sustained.estimate(sampler.windows, plan.sustained_s)
    name = {"groups": 1, "scale": 1}
    return record(name, None, sustained=sustained, latency=analysis_sustained.latency(sustained))


def test_heat_shows_as_a_knee_and_the_figure_is_the_steady_state() -> None:
    kept = series_of(Oven(slowdown=hot()))
    sustained, latency = kept.sustained, kept.latency
    assert sustained is not None
    assert latency is not None
    assert sustained.first_s == pytest.approx(0.005, rel=0.01)
    assert sustained.knee_s == pytest.approx(25, abs=2)
    assert sustained.ratio == pytest.approx(1.31, rel=0.01)
    assert latency.p50_s == pytest.approx(0.00655, rel=0.01)
    assert latency.interval is not None
    assert latency.interval.half_width < 0.01
    assert latency.p90_s is None
    assert latency.samples < sum(window.calls for window in sustained.windows)


def test_the_sentence_names_the_clock_where_the_record_has_it() -> None:
    run = run_of([series_of(Oven(slowdown=hot()))])
    assert sentence(run, G2) == "from 25 s on 1.31x slower: the clock fell from 2.40 to 1.83 GHz."


def test_without_a_clock_the_sentence_goes_by_the_sentinel_and_else_gives_no_reason() -> None:
    kept = series_of(Oven(slowdown=hot()))
    assert kept.sustained is not None
    blind = [replace(window, seen={}) for window in kept.sustained.windows]
    told = replace(kept, sustained=analysis_sustained.estimate(blind, 60.0))
    assert sentence(run_of([told]), G2) == (
        "from 25 s on 1.31x slower: the processor itself, as the sentinel took 1.31x as long; "
        "its clock cannot be read."
    )
    deaf = [replace(window, probe_ns=10_000.0) for window in blind]
    silent = replace(kept, sustained=analysis_sustained.estimate(deaf, 60.0))
    assert sentence(run_of([silent]), G2) == "from 25 s on 1.31x slower."


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"thermal_throttles": 3}, "the processor was too hot for its clock"),
        ({"throttled_bits": 0x40004}, "its firmware held its clock down"),
        ({"throttled_us": 3}, "its container had used up its processor time"),
        ({"steal_s": 0.2}, "the hypervisor gave its processor to others"),
    ],
)
def test_counters_that_moved_are_the_reason(seen: dict[str, float], says: str) -> None:
    kept = series_of(Oven(slowdown=hot()))
    assert kept.sustained is not None
    found = [replace(w, seen=seen if w.at_s > 25 else {}) for w in kept.sustained.windows]
    told = replace(kept, sustained=analysis_sustained.estimate(found, 60.0))
    assert sentence(run_of([told]), G2) == f"from 25 s on 1.31x slower: {says}."


def test_the_temperature_is_told_where_it_rose() -> None:
    kept = series_of(Oven(slowdown=hot()))
    assert kept.sustained is not None
    found = [
        replace(w, seen={"temperature_c": min(82, 45 + w.at_s)}) for w in kept.sustained.windows
    ]
    told = replace(kept, sustained=analysis_sustained.estimate(found, 60.0))
    said = sentence(run_of([told]), G2)
    assert said == "from 25 s on 1.31x slower: the temperature rose from 45 to 82 °C."


@pytest.mark.parametrize(
    ("slowdown", "says"),
    [
        (lambda _: 1.0, "no lasting slowdown in 60 s."),
        (lambda now: 1.3 if now < 20 else 1.0, "0.77x the first seconds: the processor was slow"),
        (lambda now: 1.3 if now > 52 else 1.0, "1.30x the first seconds, but it came"),
        (lambda now: 1 + 0.3 * now / 60, ", and still getting slower."),
    ],
)
def test_other_courses_are_told_as_they_are(slowdown: Slowdown, says: str) -> None:
    said = sentence(run_of([series_of(Oven(slowdown=slowdown))]), G2)
    assert said is not None
    assert says in said


def test_several_cases_are_told_of_in_notes_and_not_compared() -> None:
    kept = series_of(Oven(slowdown=hot()))
    other = replace(kept, case="groups=8,scale=1", labels={"groups": 8, "scale": 1})
    run = run_of([kept, replace(other, reference=kept.case)])
    assert sentence(run, G2) is None
    said = notes(run, G2)
    assert sum(": from 25 s on 1.31x slower" in line for line in said) == 2
    assert any("begins on a processor that the one before has heated" in line for line in said)
    assert not any("paper:" in line for line in said)
    header = next(line for line in to_markdown([run]).splitlines() if line.startswith("| case"))
    assert "relative" not in header
    assert "| steady p50 (ms) | first p50 (ms) | over first | slower from | over time |" in header


def test_a_series_is_drawn_as_bars_and_noise_is_drawn_flat() -> None:
    drawn = over_time(series_of(Oven(slowdown=hot(30, 1.5))))
    assert len(drawn) == 24
    assert drawn[0] == BARS[0]
    assert drawn[-1] == BARS[-1]
    assert set(over_time(series_of(Oven()))) <= set(BARS[:3])
    assert over_time(record({"groups": 1}, 1.0)) == "-"


def test_the_csv_has_the_steady_state_and_further_columns_at_its_end() -> None:
    frame = to_frame([run_of([series_of(Oven(slowdown=hot()))])])
    assert list(frame.columns)[: len(COLUMNS)] == list(COLUMNS)
    (row,) = csv.DictReader(io.StringIO(to_csv(frame)))
    assert float(row["latency_p50_ms"]) == pytest.approx(6.55, rel=0.01)
    assert float(row["first_p50_ms"]) == pytest.approx(5.0, rel=0.01)
    assert float(row["slower_from_s"]) == pytest.approx(25, abs=2)
    assert float(row["steady_ratio"]) == pytest.approx(1.31, rel=0.01)
    assert row["sustained_s"] == "60.0"
    assert row["latency_p90_ms"] == row["relative_latency"] == ""
    flat = to_frame([run_of([series_of(Oven())])])
    assert to_csv(flat).splitlines()[1].split(",")[-3] == ""


def test_a_record_keeps_its_windows(tmp_path: Path) -> None:
    kept = series_of(Oven(slowdown=hot()))
    assert kept.sustained is not None
    kept = replace(kept, sustained=replace(kept.sustained, windows=list(kept.sustained.windows)))
    with records.create(tmp_path, context()) as writer:
        writer.append(kept)
    (read,) = records.read(writer.path).records
    assert read.sustained == kept.sustained
    assert read.latency == kept.latency


# what goes wrong


def test_an_error_ends_the_case_and_keeps_its_windows() -> None:
    oven = Oven()
    oven.error_at = 20.0
    sampler, (case,) = sustain(oven)
    assert case.failure == "no memory"
    assert 15 <= len(sampler.windows) <= 21
    assert oven.now < 22


def test_a_lost_agent_fails_the_case() -> None:
    oven = Oven()
    oven.fails_at = 20.0
    sampler = Sustainer(Subject("a", "a"), PLAN, oven.clock)
    finished: list[Progress] = []
    with pytest.raises(AgentError):
        for case in sampler.measure(oven, 0):
            finished.append(case)
    assert [case.failure for case in finished] == ["gone"]
    assert len(sampler.windows) >= 15


def test_an_agent_lost_between_requests_begins_the_series_anew() -> None:
    class Fragile(Oven):
        lost = False

        def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
            yield from super().time(bursts, expected_s)
            if self.now > 20 and not self.lost:
                self.lost = True
                raise AgentError("gone after the last burst")

    oven = Fragile()
    sampler = Sustainer(Subject("a", "a"), PLAN, oven.clock)
    with pytest.raises(AgentError):
        list(sampler.measure(oven, 0))
    assert len(list(sampler.measure(oven, 1))) == 1
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


# with real agents

MakeCases = Callable[..., list[Case]]
REAL = Plan(sustained_s=1.5, max_time_s=3.0, burst_s=0.02)


class Watcher:
    """Does something whenever there is news."""

    def __init__(self, act: Callable[[Sustainer], None] = lambda _: None) -> None:
        self.act = act

    def loading(self, done: int, total: int) -> None: ...

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None: ...

    def measuring(self, sampler: Sampler) -> None:
        assert isinstance(sampler, Sustainer)
        self.act(sampler)

    def finished(self, record: Record) -> None: ...


class Bench:
    """Runs cases under continuous load with real agents, into a folder."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.device, self.pids = device, list[int]()
        self.journal = Journal(folder, context())

    def open(self, device: Device) -> Agent:
        channel = open_local()
        self.pids.append(channel.pid)
        return Agent(channel, device)

    def measure(
        self, cases: list[Case], act: Callable[[Sustainer], None] = lambda _: None
    ) -> dict[str, Record]:
        cost = Cost(1000, 0, 1, 1 << 20, 1 << 20, {"MatMul": 1}, ())
        graphs: dict[str, Graph | CaseError] = {}
        for case in cases:
            assert isinstance(case.source, OnnxFile)
            graphs[case.key] = Graph(case.source.path, "0" * 64, cost, 1, 18, "none", None, {})
        self.measurement = LastingMeasurement(
            cases,
            graphs,
            self.device,
            REAL,
            self.journal,
            Watcher(act),
            self.open(self.device),
            self.open,
        )
        self.interrupted = self.measurement.run()
        return self.journal.records

    def statuses(self) -> dict[str, str]:
        """Return what a reader of the file sees."""
        return {record.case: record.status for record in records.read(self.journal.path).records}


@pytest.fixture
def bench(tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("benchbox.sampling.sustained.REQUEST_S", 0.2)
    monkeypatch.setattr(changepoint, "FEWEST", 6)  # this machine may be busy
    return Bench(tmp_path / "results", cpu)


def test_each_case_has_its_time_in_an_agent_of_its_own(bench: Bench, onnx_cases: MakeCases) -> None:
    found = bench.measure(onnx_cases("a", "b"))
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert len(bench.pids) == 2
    for each in found.values():
        assert each.sustained is not None
        assert each.latency is not None
        assert each.relative is None
        assert each.bursts == []
        assert each.load_s is not None
        assert sum(window.lasts_s for window in each.sustained.windows) >= 1.4
    assert bench.measurement.readings.now.compute.bins == {}


def test_an_agent_that_is_killed_costs_one_case(bench: Bench, onnx_cases: MakeCases) -> None:
    def kill(sampler: Sustainer) -> None:
        if sampler.done_s > 0.5 and "tiny:a" in sampler.cases:
            os.kill(bench.pids[0], signal.SIGKILL)

    found = bench.measure(onnx_cases("a", "b"), kill)
    assert bench.statuses() == {"a": "failed", "b": "ok"}
    assert "SIGKILL" in found["tiny:a"].reason
    assert found["tiny:a"].latency is None
    assert found["tiny:a"].sustained is not None


def test_ctrl_c_keeps_the_windows_and_a_resumed_run_begins_the_case_anew(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b", "c")

    def stop(sampler: Sustainer) -> None:
        if "tiny:b" in sampler.cases and sampler.windows:
            raise KeyboardInterrupt

    found = bench.measure(cases, stop)
    assert bench.interrupted
    assert bench.statuses() == {"a": "ok", "b": "imprecise", "c": "skipped"}
    assert found["tiny:b"].reason.startswith("interrupted: only ")
    assert found["tiny:b"].latency is not None
    first = found["tiny:a"]
    found = bench.measure(cases)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert found["tiny:a"] is first


def test_a_long_series_is_written_down_now_and_then(
    bench: Bench, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbox.runner.measurement.CHECKPOINT_S", 0.5)
    kept: list[str] = []
    append = bench.journal.append

    def noted(each: Record) -> None:
        kept.append(each.reason)
        append(each)

    monkeypatch.setattr(bench.journal, "append", noted)
    bench.measure(onnx_cases("a"))
    assert "still being timed" in kept
    assert kept[-1] == ""
    assert bench.statuses() == {"a": "ok"}


# what is asked for


def adapted(text: str, *typed: str) -> Plan:
    return load_options.adapt(
        Plan(sessions=3),
        LoadOptions(sustained=text),
        2,
        precise=False,
        timed=False,
        typed=frozenset(typed),
    )


def test_the_plan_of_a_sustained_load_is_one_process_for_each_case() -> None:
    plan = adapted("10m")
    assert plan.sustained_s == 600
    assert plan.sessions == 1
    assert plan.max_time_s == 1200
    assert (
        load_options.announcement(plan, 2)
        == "2 cases, 10 min of continuous load each, 20 min together"
    )
    assert load_options.announcement(plan, 1).startswith("1 case, 10 min of continuous load")


@pytest.mark.parametrize("name", ["quick", "precision", "max_time", "sessions"])
def test_options_that_make_no_sense_are_refused_where_they_are_typed(name: str) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        adapted("10m", name)
    assert adapted("10m").sustained_s == 600  # from the environment they may be for other runs


@pytest.mark.parametrize("text", ["soon", "0s", "1s"])
def test_a_time_that_is_none_or_too_short_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--sustained {text}"):
        adapted(text)


def test_the_command_line_knows_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHBOX_PRECISION", "2%")
    monkeypatch.setattr(runner, "run", lambda *_: pytest.fail("nothing is to run"))
    result = CliRunner().invoke(app, ["run", "g1", "--sustained", "1m", "--max-time", "9s"])
    assert result.exit_code == 2
    assert "leave --max-time out" in result.output


def test_a_run_of_another_length_is_not_resumed(tmp_path: Path) -> None:
    records.create(tmp_path, context(plan={"sustained_s": 60.0})).close()
    with pytest.raises(RecordError, match=r"sustained_s was 60\.0"):
        resume.previous(tmp_path, context(plan={"sustained_s": 600.0}))


# all of it


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp")
def test_a_sustained_run_from_end_to_end(write_onnx: Callable[..., Path]) -> None:
    command = [sys.executable, "-m", "benchbox", "run", str(write_onnx()), "--sustained", "3s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "1 case, 3 s of continuous load" in done.stderr
    assert "over time" in done.stdout
    (path,) = Path("results").glob("*/*.jsonl")
    (kept,) = records.read(path).records
    assert kept.status == "ok"
    assert kept.sustained is not None
    report = CliRunner().invoke(app, ["report", "--format", "csv"])
    (row,) = csv.DictReader(io.StringIO(report.stdout))
    assert row["sustained_s"] == "3.0"


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp")
def test_an_interrupted_sustained_run_ends_with_130(write_onnx: Callable[..., Path]) -> None:
    process = start("run", str(write_onnx()), "--sustained", "5m")
    wait_for_agent(process, 4)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "of 300 s" in stdout
    (path,) = Path("results").glob("*/*.jsonl")
    (kept,) = records.read(path).records
    assert kept.status == "imprecise"
    assert kept.sustained is not None

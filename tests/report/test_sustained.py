"""Words, tables and files of runs under continuous load."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import records
from benchbox.analysis import sustained as analysis_sustained
from benchbox.records import Record
from benchbox.report.claims import sentence
from benchbox.report.files import to_csv, to_markdown
from benchbox.report.footnotes import notes
from benchbox.report.frame import COLUMNS, to_frame
from benchbox.report.load_cells import BARS, over_time
from benchbox.sampling.plan import Plan
from tests.helpers.record_files import context
from tests.helpers.tables import G2, record, run_of
from tests.sampling.test_sustained import PLAN, Oven, Slowdown, sustain

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

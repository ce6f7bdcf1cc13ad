"""Words, tables and files of runs under continuous load."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchbox.analysis import sustained as analysis_sustained
from benchbox.analysis.sustained import Window
from benchbox.records import Record
from benchbox.report.claims import sentences
from benchbox.report.files import to_csv, to_markdown
from benchbox.report.footnotes import notes
from benchbox.report.frame import to_frame
from benchbox.report.load_cells import BARS, over_time
from benchbox.sampling.plan import Plan
from tests.helpers.tables import G2, record, run_of
from tests.sampling.test_sustained import PLAN, Oven, Slowdown, sustain


def hot(at_s: float = 25.0, times: float = 1.31) -> Slowdown:
    return lambda now: times if now >= at_s else 1.0


def series_of(slowdown: Slowdown | None = None, plan: Plan = PLAN) -> Record:
    sampler, _ = sustain(Oven(slowdown=slowdown) if slowdown else Oven(), plan)
    assert plan.sustained_s is not None
    return of_windows(sampler.windows, plan.sustained_s)


def of_windows(windows: Sequence[Window], sustained_s: float = 60.0) -> Record:
    sustained = analysis_sustained.estimate(windows, sustained_s)
    name = {"groups": 1, "scale": 1}
    return record(name, None, sustained=sustained, latency=analysis_sustained.latency(sustained))


def hot_windows(change: Callable[[Window], dict[str, Any]]) -> Record:
    """A series that gets hot after 25 s, its windows changed."""
    sustained = HOT.sustained
    assert sustained is not None
    return of_windows([replace(window, **change(window)) for window in sustained.windows])


HOT, FLAT = series_of(hot()), series_of()


def sentence_of(kept: Record) -> str | None:
    return "".join(sentences(run_of([kept]), G2)) or None


SENTINEL = "the processor itself, as the sentinel took 1.31x as long; its clock cannot be read."


def once_hot(**seen: float) -> Callable[[Window], dict[str, Any]]:
    return lambda window: {"seen": seen if window.at_s > 25 else {}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (lambda _: {}, ": the clock fell from 2.40 to 1.83 GHz."),
        (lambda _: {"seen": {}}, f": {SENTINEL}"),
        (lambda _: {"seen": {}, "probe_ns": 10_000.0}, "."),
        (once_hot(thermal_throttles=3), ": the processor was too hot for its clock."),
        (once_hot(throttled_bits=0x40004), ": its firmware held its clock down."),
        (once_hot(throttled_us=3), ": its container had used up its processor time."),
        (once_hot(steal_s=0.2), ": the hypervisor gave its processor to others."),
        (
            lambda w: {"seen": {"temperature_c": min(82, 45 + w.at_s)}},
            ": the temperature rose from 45 to 82 °C.",
        ),
    ],
)
def test_the_sentence_gives_the_reason_that_the_record_has(
    changes: Callable[[Window], dict[str, Any]], reason: str
) -> None:
    assert sentence_of(hot_windows(changes)) == f"from 25 s on 1.31x slower{reason}"


@pytest.mark.parametrize(
    ("slowdown", "says"),
    [
        (lambda _: 1.0, "no lasting slowdown in 60 s."),
        (lambda now: 1.3 if now < 20 else 1.0, "0.77x the first seconds: the processor was slow"),
        (lambda now: 1.3 if now > 52 else 1.0, "1.30x the first seconds, but it came"),
        (lambda now: 1 + 0.3 * now / 60, ", and still getting slower."),
    ],
)
def test_other_courses_have_their_own_sentences(slowdown: Slowdown, says: str) -> None:
    assert says in str(sentence_of(series_of(slowdown)))


def test_several_cases_have_notes_and_are_not_compared() -> None:
    other = replace(HOT, case="groups=8,scale=1", labels={"groups": 8, "scale": 1})
    run = run_of([HOT, replace(other, reference=HOT.case)])
    assert sentences(run, G2) == []
    text = "\n".join(notes(run, G2))
    assert text.count("all cases: from 25 s on 1.31x slower") == 1
    assert text.count("begins on a processor that the one before has heated") == 1
    assert "paper:" not in text
    header = next(line for line in to_markdown([run]).splitlines() if line.startswith("| case"))
    assert "relative" not in header
    assert "| steady p50 (ms) | first p50 (ms) | over first | slower from | over time |" in header


def test_a_series_is_drawn_as_bars_and_noise_is_drawn_flat() -> None:
    drawn = over_time(series_of(hot(30, 1.5)))
    assert (len(drawn), drawn[0], drawn[-1]) == (24, BARS[0], BARS[-1])
    assert set(over_time(FLAT)) <= set(BARS[:3])
    assert over_time(record({"groups": 1}, 1.0)) == "-"


def test_the_csv_has_the_steady_state_and_further_columns_at_its_end() -> None:
    frame = to_frame([run_of([HOT])])
    (row,) = csv.DictReader(io.StringIO(to_csv(frame)))
    figures = {"latency_p50_ms": 6.55, "first_p50_ms": 5.0, "steady_ratio": 1.31}
    assert {name: float(row[name]) for name in figures} == pytest.approx(figures, rel=0.01)
    assert float(row["slower_from_s"]) == pytest.approx(25, abs=2)
    assert row["sustained_s"] == "60.0"
    assert row["latency_p90_ms"] == row["relative_latency"] == ""
    flat = to_frame([run_of([FLAT])])
    (row,) = csv.DictReader(io.StringIO(to_csv(flat)))
    assert row["slower_from_s"] == ""

"""The choose command: what fits, of recorded runs and of what it times itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis.samples import Burst
from benchbox.records import SpecFacts
from tests.helpers.command import CalmCommand, by_case, invoke
from tests.helpers.record_files import LATENCY, context, record, write

SPECS = [SpecFacts("models", "M", "ab" * 32), SpecFacts("detectors", "D", "ab" * 32)]
SHORT = ["--quick", "--precision", "90%", "--max-time", "4s"]


@pytest.fixture
def recorded(in_tmp: Path) -> None:
    """A run with classifiers, one without an accuracy, and detectors."""
    assert in_tmp
    cases = [
        case("small", 5, top1_percent=60.0),
        case("best", 15, top1_percent=79.1),
        case("slow", 20, top1_percent=70.0),
        case("near", 33, top1_percent=80.0),
        case("huge", 50, top1_percent=81.0),
        case("unknown", 1),
        case("yolo", 30, spec="detectors", map_percent=39.0),
        case("yolo_ghost", 25, spec="detectors"),
        record(9, "bad", spec="models", status="failed", reason="no memory"),
    ]
    numbered = [replace(each, index=index) for index, each in enumerate(cases)]
    write(Path("results"), *numbered, of=context("networks", specs=SPECS))


def case(name: str, ms: float, spec: str = "models", **changes: Any) -> Any:
    ends = ms * 0.99 / 1e3, ms * 1.01 / 1e3
    latency = replace(
        LATENCY,
        **dict.fromkeys(("p50_s", "raw_p50_s", "p90_s", "min_s"), ms / 1000.0),
        ci_low_s=ends[0],
        ci_high_s=ends[1],
    )
    calls = tuple(int(ms * 1e6 * (1 + step / 200)) for step in range(-10, 11))
    bursts = [Burst(0, number, calls) for number in range(10)]
    return record(case=name, spec=spec, latency=latency, bursts=bursts, group="", paper=changes)


def choose(*arguments: str) -> Any:
    return invoke("choose", "--from", "networks", *arguments)


@pytest.mark.usefixtures("recorded")
def test_the_most_accurate_that_fits_comes_first_and_last() -> None:
    result = choose("--budget", "33ms")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    names = ("small", "best", "slow", "near", "huge", "unknown", "yolo", "yolo_ghost")
    shown = [w for line in lines if (w := line.split("  ")[0].strip()) in names or "fit" in w[:13]]
    assert shown[:9] == [
        *("fits 33 ms", "best", "slow", "small", "unknown"),
        *("may fit 33 ms", "near", "does not fit 33 ms", "huge"),
    ]
    assert "The most accurate that fits is best (79.1%), 15.00 of 33 ms." in lines
    assert "More accurate, and may fit: near; more time or a quieter machine decides." in lines
    assert "The most accurate that fits is yolo (39.0%), 30.0 of 33 ms." in lines
    assert "bad: no memory" in lines
    fronts = [line.split()[0] for line in lines if line.endswith("front")]
    assert fronts == ["best", "small", "near", "huge", "yolo"]


def test_a_figure_that_is_not_known_has_bounds_and_no_mark(in_tmp: Path) -> None:
    names = ("odd ", "fine")
    fine, odd = case("fine", 9, top1_percent=60.0), case("odd", 8, top1_percent=70.0)
    latency = replace(odd.latency, basis="all", ci_low_s=None, ci_high_s=None)
    odd = replace(odd, index=1, latency=latency, bursts=[], axes={"batch": 2}, batch=2)
    few = [replace(odd, index=2 + n, case=f"few{n}", reason="±9% after 5 rounds") for n in range(4)]
    cases = [odd, fine, *few]
    write(in_tmp / "results", *cases, of=context("networks", specs=SPECS))
    text = choose("--fps", "111").stdout
    lines = {line.split()[0]: line.split()[3:] for line in text.splitlines() if line[:4] in names}
    assert lines == {
        "odd": ["~8.00", "2.00", "or", "more", "44%", "-"],
        "fine": ["9.00", "8.91", "to", "9.09", "100%", "front"],
    }
    assert "so a call has 9.01 ms at batch 1 and 18 ms at batch 2" in text
    late = choose("--budget", "9ms", "--percentile", "99.9").stdout.splitlines()
    (reason,) = [line for line in late if "p99.9" in line]
    assert "needs 6636 calls of each; --max-time " in reason


@pytest.mark.usefixtures("recorded")
def test_a_rate_is_a_budget_and_the_order_can_be_another() -> None:
    found = json.loads(choose("--fps", "100", "--sort", "latency", "--export-json", "-").stdout)
    assert {row["budget_ms"] for row in found} == {10.0}
    fits = [row["case"] for row in found if row["fit"] == "fits"]
    others = [row["case"] for row in found if row["accuracy_kind"] == "top-1"][len(fits) :]
    assert (fits, others) == (["small", "unknown"], ["best", "slow", "near", "huge"])
    assert {row["case"]: row["accuracy_kind"] for row in found}["yolo_ghost"] == "mAP"


@pytest.mark.usefixtures("recorded")
def test_cases_of_a_recorded_run_can_be_named() -> None:
    found = by_case(choose("yolo*", "models:best", "--fps", "1", "--export-csv", "-").stdout)
    assert [*found] == ["best", "yolo", "yolo_ghost"]


@pytest.mark.usefixtures("recorded")
def test_nothing_that_fits_is_exit_code_1() -> None:
    result = choose("--budget", "0.5ms")
    assert result.exit_code == 1
    assert "Nothing fits 0.5 ms; the fastest is unknown, 1.000 of 0.5 ms." in result.stdout
    unsure = choose("--budget", "1ms").stdout
    assert "the fastest is unknown, 1.000 of 1 ms; it is not known of unknown." in unsure


@pytest.mark.usefixtures("recorded")
def test_a_percentile_is_of_the_calls() -> None:
    found = by_case(choose("--budget", "15.5ms", "--percentile", "90", "--export-csv", "-").stdout)
    assert float(found["best"]["latency_ms"]) == pytest.approx(15 * 1.04, rel=0.01)
    assert (found["best"]["fit"], found["small"]["fit"]) == ("does not fit", "fits")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --budget 33ms or --fps 30, one of them"),
        (["--budget", "33ms", "--fps", "30"], "one of them"),
        (["--budget", "33"], "--budget 33: write it as 33ms or 1.5s"),
        (["--budget", "0ms"], "--budget 0ms: write it as 33ms or 1.5s, above 0"),
        (["--fps", "nan"], "--fps nan"),
        (["--fps", "30", "--percentile", "100"], "--percentile 100: write 50 to 99.9"),
        (["--fps", "0"], "--fps 0"),
        (["--budget", "1ms", "--percentile", "95.25"], "--percentile 95.25"),
        (["--budget", "1ms", "small", "nosuch"], "nosuch: --from has no such case"),
        (["--budget", "1ms", "-d", "a", "-d", "b"], "choose on one device"),
    ],
)
def test_wrong_options_are_refused_in_a_line(options: list[str], message: str) -> None:
    result = choose(*options)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert message in result.stderr


@pytest.mark.slow
def test_what_is_recorded_is_taken_and_the_rest_timed(bench: CalmCommand) -> None:
    bench.run("small.onnx", *SHORT)
    asked = ["small.onnx", "large.onnx", "--budget", "20s", *SHORT]
    result = bench("choose", *asked)
    assert "1 of 2 cases are recorded; 1 to time" in result.stderr
    (path,) = Path("results/cpu").glob("*-small.onnx.jsonl")
    assert f" ago in cpu/{records.read(path).stem}" in result.stdout
    assert "The fastest that fits is small, " in result.stdout
    (timed,) = Path("results/cpu").glob("*choose-*.jsonl")
    assert timed.read_text().count('"kind":"record"') == 1
    again = bench("choose", *asked)
    assert "to time" not in again.stderr
    assert f" ago in cpu/{records.read(timed).stem}" in again.stdout
    assert len(list(Path("results/cpu").glob("*.jsonl"))) == 2
    bench("choose", *asked, "--threads", "2")  # another way to run is timed
    assert len(list(Path("results/cpu").glob("*.jsonl"))) == 3
    bench("choose", *asked, "--since", "0h")
    assert len(list(Path("results/cpu").glob("*.jsonl"))) == 4
    failed = bench("choose", "small.onnx", "bad.onnx", "--budget", "20s", *SHORT, code=1)
    assert "bad: " in failed.stdout

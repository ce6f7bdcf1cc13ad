"""Histories of cases from records that nobody measured: steps, what changed there, and the gate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.analysis.adjusted import Adjustment, Slopes, Widths
from benchbox.records.history import histories
from benchbox.records.index import Index
from benchbox.records.names import Wanted
from benchbox.report.history import sparkline
from tests.helpers.command import invoke, rows
from tests.helpers.record_files import LATENCY, context, edit, record, write

pytestmark = pytest.mark.usefixtures("in_tmp")
RESULTS = Path("results")
NOISE = (0.0, 0.006, -0.005, 0.002, -0.004, 0.005)
COUNT = 24


def sha256(digits: str) -> dict[str, Any]:
    return {"sha256": digits * 32, "size_bytes": 1, "opset": 18}


def keep(number: int, graph: str, *cases: tuple[str, float], **changes: Any) -> Path:
    """Write the run of a day, of cases with latencies in ms."""
    found = [
        record(
            index,
            case,
            **{"graph": sha256(graph), "latency": latency, **changes.pop(case, {})},
        )
        for index, (case, ms) in enumerate(cases)
        for s in [ms * (1 + NOISE[(number + index) % len(NOISE)]) / 1e3]
        for ends in [{"ci_low_s": 0.985 * s, "ci_high_s": 1.015 * s}]
        for latency in [replace(LATENCY, p50_s=s, raw_p50_s=s, **ends)]
    ]
    created = f"2026-10-{number + 1:02}T00:00:00Z"
    return write(RESULTS, *found, of=context(created=created, **changes))


@pytest.fixture
def kept(in_tmp: Path) -> None:  # noqa: ARG001 - its folder
    """Case `a` takes 6% more from the 21st run on, of another graph by another ONNX Runtime."""
    for number in range(COUNT):
        is_new = number >= 20
        versions = {"onnxruntime": "1.23" if is_new else "1.22"}
        cases = (("a", 2.12 if is_new else 2.0), ("b", 30.0))
        keep(number, "cd" if is_new else "ab", *cases, versions=versions)


@pytest.mark.usefixtures("kept")
def test_a_step_is_shown_with_what_changed_there() -> None:
    lines = invoke("history").stdout.splitlines()
    assert lines[0] == "History on cpu: C, CPUExecutionProvider, 1 thread"
    assert [line.split()[:2] for line in lines[3:5]] == [["g2:a", "24"], ["g2:b", "24"]]
    assert lines[3].endswith("1.06x     2026-10-21 00:00")
    (step,) = [line for line in lines if "->" in line]
    assert step.startswith("2026-10-21 00:00 g2:a 1.06x (")
    assert "): onnxruntime 1.22 -> 1.23; graph abababababab -> cdcdcdcdcdcd; too few" in step
    assert "none" in lines[4]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--fail-on", "slower>3%"), 3, "Failed: g2:a takes 1.06x ("),
        (("--fail-on", "slower>6%"), 0, "Unclear: g2:a takes 1.059x ("),
        (("--fail-on", "slower>6%", "--strict"), 4, "Unclear: g2:a takes "),
        (("--fail-on", "slower>20%", "--strict"), 0, "No last step is over slower>20%"),
        (("b", "--fail-on", "slower>3%"), 0, "No last step is over slower>3%"),
        (
            ("--since", "2026-10-21", "--fail-on", "slower>3%"),
            0,
            "No last step is over slower>3%; 2 of 2",
        ),
    ],
)
def test_the_gate_is_on_the_last_step(options: tuple[str, ...], code: int, says: str) -> None:
    result = invoke("history", *options)
    assert (result.exit_code, result.stderr.startswith(says)) == (code, True), result.stderr


def test_small_steps_add_up_and_what_changed_nearby_is_named() -> None:
    for number in range(COUNT):
        level = 2.0 * 1.05 ** sum(number >= at for at in (8, 16))
        changes = {"versions": {"onnxruntime": "1.23"}} if number >= 17 else {}
        keep(number, "ab", ("a", level), **changes)
    result = invoke("history", "--fail-on", "slower>8%")
    assert result.exit_code == 3
    assert "the latency of its first runs on cpu, from 2026-10-01 00:00 UTC on" in result.stderr
    (step,) = [line for line in result.stdout.splitlines() if "1.22 -> 1.23" in line]
    assert "between the runs of 2026-10-17 00:00 and 2026-10-18 00:00" in step


@pytest.mark.usefixtures("kept")
def test_files_have_every_run_and_figures_are_drawn() -> None:
    found = rows(invoke("history", "a", "--format", "csv").stdout)
    assert len(found) == COUNT
    assert [row["utc"][:10] for row in found if row["step"]] == ["2026-10-21"]
    assert {row["graph_sha256"][:2] for row in found} == {"ab", "cd"}
    before, after = found[0], found[-1]
    assert 1.05 < float(after["level_ms"]) / float(before["level_ms"]) < 1.07
    assert float(before["p50_ci_low_ms"]) < float(before["p50_ms"]) == 2.0
    assert invoke("history", "*", "-o", "h.svg").exit_code == 0
    assert "History" not in (text := Path("h.svg").read_text())
    assert text.count("g2:a") >= COUNT


@pytest.mark.usefixtures("kept")
def test_a_line_of_blocks_shows_a_step_and_no_noise() -> None:
    with Index(RESULTS) as index:
        a, b = map(sparkline, histories(index, [], Wanted(RESULTS)))
    assert len(a) == len(b) == COUNT
    assert max(a[:20]) < min(a[20:])
    assert max(b) <= "▂"


def test_machines_and_settings_have_histories_of_their_own() -> None:
    for number, changes in enumerate(
        [{}, {"threads": 2}, {"host": {"cpu": "D"}}, {"device": "pi"}, {"plan": {"size": [160]}}]
    ):
        for run in range(3):
            keep(3 * number + run, "ab", ("a", 1.0 + number), **changes)
    titles = [line for line in invoke("history").stdout.splitlines() if "History on" in line]
    assert titles == [
        "History on cpu: C, CPUExecutionProvider, 1 thread",
        "History on cpu: C, CPUExecutionProvider, 1 thread, size 160",
        "History on cpu: C, CPUExecutionProvider, 2 threads",
        "History on cpu: D, CPUExecutionProvider, 1 thread",
        "History on pi: C, CPUExecutionProvider, 1 thread",
    ]
    assert invoke("history", "--device", "p*").stdout.count("History on") == 1


def test_figures_are_set_back_to_one_state_of_the_machine() -> None:
    slopes, widths = Slopes(1.0, 0.01, 0.0, 0.01), Widths(0.01, 0.01, 0.01)
    for number in range(COUNT):
        slow = 1.2 if number >= 12 else 1.0
        own = Adjustment(slopes, 1000.0 * slow, 1000.0, 0.1, 0.0, 0.005, widths)
        keep(number, "ab", ("a", 2.0 * slow), a={"adjustment": own})
    found = rows(invoke("history", "--format", "csv").stdout)
    assert {row["step"] for row in found} == {""}
    assert all(2.38 < float(row["p50_set_back_ms"]) < 2.42 for row in found)
    assert float(found[0]["p50_ms"]) == 2.0 and found[-1]["p50_ms"] == found[-1]["p50_set_back_ms"]


def test_a_step_is_told_from_the_machine_by_other_cases() -> None:
    for number in range(COUNT):
        slow, own, graph = (1.1, 1.23, "cd") if number >= 18 else (1.0, 1.0, "ab")
        latencies = {"a": 2.0 * own, "b": 1.0, "c": 2.0, "d": 5.0, "e": 9.0}
        cases = [(name, ms * slow) for name, ms in latencies.items()]
        keep(number, "ab", *cases, a={"graph": sha256(graph)})
    result = invoke("history", "--fail-on", "slower>3%")
    assert result.exit_code == 3
    failed, unclear = result.stderr.splitlines()
    assert failed.startswith("Failed: g2:a takes 1.23x (") and failed.endswith(
        "abababababab -> cdcdcdcdcdcd"
    )
    assert unclear.startswith("Unclear: all cases take 1.10x (")
    assert len([line for line in result.stdout.splitlines() if "->" in line]) == 1
    assert "of 2026-10-19" not in invoke("history", "e", "--fail-on", "slower>20%").stderr


def test_what_all_cases_take_more_under_another_version_is_not_the_machines() -> None:
    for number in range(COUNT):
        slow, version = 1.2 if number >= 10 else 1.0, "1.23" if number >= 18 else "1.22"
        ms = 2.0 * slow * (1.06 if number >= 18 else 1.0)
        keep(number, "ab", *dict.fromkeys("abcd", ms).items(), versions={"onnxruntime": version})
    *steps, machine = [line for line in invoke("history").stdout.splitlines() if "x (" in line]
    assert len(steps) == 4 and all("1.06x" in line and "1.22 -> 1.23" in line for line in steps)
    assert machine.startswith("2026-10-11 00:00 all cases 1.20x (")


def test_other_cases_go_before_sentinels_that_mislead() -> None:
    slopes, widths = Slopes(1.0, 0.1, 0.0, 0.1), Widths(0.01, 0.01, 0.01)
    for number in range(COUNT):
        own = Adjustment(slopes, 1200.0 if number >= 12 else 1000.0, 1.0, 0.1, 0.0, 0.005, widths)
        cases = dict.fromkeys("abcd", 2.0)
        keep(number, "ab", *cases.items(), **{case: {"adjustment": own} for case in cases})
    result = invoke("history", "--format", "csv", "--fail-on", "slower>3%")
    assert "No last step is over" in result.stderr
    for row in rows(result.stdout):
        assert float(row["p50_set_back_ms"]) == pytest.approx(float(row["p50_ms"]), rel=0.01)


def test_a_graph_of_too_few_runs_is_named_and_its_figure_is_the_one_of_now() -> None:
    for number in range(10):
        keep(number, "cd" if number >= 8 else "ab", ("a", 3.0 if number >= 8 else 2.0))
    result = invoke("history", "--fail-on", "slower>3%,slower>9%")
    line = "graph abababababab -> cdcdcdcdcdcd in the newest 2 runs: too few to judge"
    assert (result.exit_code, result.stderr) == (0, f"Unclear: g2:a on cpu: {line}\n")
    assert f"g2:a: {line}" in result.stdout
    assert "  3.0" in result.stdout and "none" in result.stdout


def test_a_figure_that_nobody_knows_has_no_interval() -> None:
    wide = replace(LATENCY, p50_s=0.006, ci_low_s=0.001, ci_high_s=0.025)
    keep(0, "ab", ("a", 6.0), a={"latency": wide})
    assert " ~6 " in invoke("history").stdout


def test_a_case_has_one_history_timed_alone_and_beside_others() -> None:
    for number in range(4):
        beside = {"spec": "compare" if number % 2 else "m", "reference": "m@HEAD"}
        keep(number, "ab", ("m", 1.0), ("m@HEAD", 1.0), m=beside, **{"m@HEAD": beside})
    lines = [line for line in invoke("history").stdout.splitlines() if "@" in line or "m:m" in line]
    assert [line.split()[:2] for line in lines] == [["m:m", "4"], ["m:m@HEAD", "2"]]


def test_broken_files_are_named_and_the_others_followed() -> None:
    for number in range(4):
        keep(number, "ab", ("a", 1.0))
    edit(next(RESULTS.glob("*/20261002*")), 1, status="splendid")
    result = invoke("history")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "g2:a     3" in result.stdout
    assert "20261002T000000Z-g2.jsonl: line 2: 'status'" in result.stderr
    for number in range(5, 12):
        edit(keep(number, "ab", ("a", 1.0)), 1, status="splendid")
    *first, more = invoke("history").stderr.splitlines()
    assert (len(first), more) == (3, "Error: 5 more cannot be used")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("nope",), "results: no run has a case nope; there are g2:a, g2:b"),
        (("--fail-on", ""), "--fail-on '': write slower>3%"),
        (("-o", "h.xyz"), "--output h.xyz: it needs --format csv, markdown, json, svg, pdf or png"),
        (("--fail-on", "p99>33ms"), "--fail-on p99>33ms: a history has slower>3% alone"),
        (("--fail-on", "faster"), "--fail-on faster: write slower>3%"),
        (("-o", "page.html"), "svg, pdf, png; `benchbox report 'g2*' -o page.html` has"),
        (("--since", "soon"), "--since soon: write it as"),
        (("--since", "99999w"), "--since 99999w: that is before 1970"),
        (
            ("--since", "2026-11-01"),
            "no run since 2026-11-01 00:00 UTC; the newest is of 2026-10-2",
        ),
        (("--strict",), "--strict: it is about limits; give one"),
        (("--results", "nowhere"), "nowhere: no figures here"),
        (("-d", "pi"), "results: no figures of pi, but of cpu here"),
    ],
)
def test_wrong_usage_is_one_line(options: tuple[str, ...], says: str) -> None:
    result = invoke("history", *options)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert says in result.stderr

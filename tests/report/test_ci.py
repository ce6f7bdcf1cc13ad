"""Files and lines for continuous integration, in their documented forms."""

import json
from xml.etree import ElementTree

import pytest

from benchbox.api import parsing
from benchbox.records import Run
from benchbox.report import ci
from benchbox.report.limits import Judgement, judgements
from tests.helpers.tables import latency, ratio, record, run_of

ODD = "50% <of> \x1b[1m&\n\udc80|x|"


@pytest.fixture
def run() -> Run:
    usual = {"reference": "old", "spec": "compare"}
    return run_of(
        [
            record({}, case="old", **usual),
            record({}, 2.0, case="new", relative=ratio(2.0), **usual),
            record({}, case="g2:near", relative=ratio(1.03), **usual),
            record({}, None, case="bad", status="failed", reason=ODD, **usual),
            record({}, None, case="none", status="skipped", reason="emulated", **usual),
        ]
    )


@pytest.fixture
def judged(run: Run) -> list[Judgement]:
    return list(judgements([run], parsing.limits("slower>3%")))


def test_a_summary_has_what_is_not_kept_first_and_its_notes_folded(
    run: Run, judged: list[Judgement]
) -> None:
    lines = ci.summary([run], judged, ["Not set: x"]).splitlines()
    assert lines[:1] == ["- Not set: x"]
    assert lines[1].startswith("- Failed: new takes 2.00x")
    assert lines[2].startswith("- Unclear: g2:near takes 1.03x")
    table = next(n for n, line in enumerate(lines) if line.startswith("| case |"))
    folded = lines.index("<details><summary>Notes</summary>")
    notes = [n for n, line in enumerate(lines) if line.startswith("- FLOPs are")]
    assert 2 < table < folded < notes[0] < lines.index("</details>")


def test_annotations_are_one_line_each_with_percent_signs_escaped(
    run: Run, judged: list[Judgement]
) -> None:
    lacking, over, unclear, failed = ci.annotations([run], judged, [ODD])
    assert lacking.startswith("::error title=benchbox::50%25 <of> \\x1b")
    assert over.startswith("::error title=benchbox::Failed: new takes 2.00x")
    assert over.endswith("(slower>3%25)")
    assert unclear.startswith("::warning title=benchbox::Unclear: g2:near")
    assert failed.startswith("::error title=benchbox::compare:bad failed on cpu: 50%25 <of> \\x1b")
    assert "\n" not in over + unclear + failed


def test_junit_has_a_test_for_each_case_and_the_counts_of_its_ends(
    run: Run, judged: list[Judgement]
) -> None:
    text = ci.junit([run], judged)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text.encode())  # noqa: S314 - its own
    (suite,) = root
    counts = {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert suite.attrib.items() >= counts.items()
    # Jenkins's schema has no other attributes.
    assert root.attrib.keys() == {"tests", "failures", "errors", "time"}
    assert suite.attrib.keys() == {*counts, "name", "time", "timestamp"}
    assert {tuple(each.attrib) for each in suite.iter("testcase")} == {
        ("classname", "name", "time")
    }
    assert (suite.attrib["name"], suite.attrib["timestamp"]) == ("g2 on cpu", "2026-05-09T10:00:00")
    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    assert [cases[name].attrib["classname"] for name in ("new", "near")] == ["cpu.new", "cpu.g2"]
    assert float(cases["new"].attrib["time"]) == pytest.approx(0.002)
    tags = {name: [child.tag for child in case] for name, case in cases.items()}
    assert tags == {
        "old": [],
        "new": ["failure"],
        "near": ["system-out"],
        "bad": ["error"],
        "none": ["skipped"],
    }
    assert (cases["bad"][0].text or "").startswith("50% <of> \\x1b[1m& ")


def test_latencies_are_benchmarks_of_both_services(run: Run) -> None:
    plain = json.loads(ci.benchmarks([run], "latency.json"))
    assert [entry["name"] for entry in plain] == [
        "cpu/old",
        "cpu/new",
        "cpu/g2/near",
    ]
    assert {type(entry["value"]) for entry in plain} == {float}
    assert (plain[1]["unit"], plain[1]["value"], plain[1]["range"]) == ("ms", 2.0, "± 0.0080")
    metrics = json.loads(ci.benchmarks([run], "out/latency.bmf.json"))
    assert list(metrics) == [entry["name"] for entry in plain]
    assert metrics["cpu/new"] == {
        "latency": {
            "value": pytest.approx(2e6),
            "lower_value": pytest.approx(1.992e6),
            "upper_value": pytest.approx(2.008e6),
        }
    }


def test_a_latency_without_an_interval_has_none() -> None:
    run = run_of([record({}, latency=latency(1.0, None))])
    (entry,) = json.loads(ci.benchmarks([run], "a.json"))
    assert set(entry) == {"name", "unit", "value", "extra"}
    assert json.loads(ci.benchmarks([run], "a.bmf.json")) == {
        "cpu/g2/net": {"latency": {"value": 1e6}}
    }

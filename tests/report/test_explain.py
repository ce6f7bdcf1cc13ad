"""Sentences and tables of explanations, of profiles that are made up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchbox.analysis.stats import Interval
from benchbox.devices import Device
from benchbox.insight import guidelines
from benchbox.insight.alteration import Alteration
from benchbox.insight.blame import blames
from benchbox.insight.check import Check
from benchbox.insight.parts import Explained
from benchbox.report import check_text, explain_tables, explain_text
from benchbox.report.explain import ExplainReport
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case
from tests.insight.test_parts import blocked, conv, explained, grown, node

CEILINGS = {"fp32_macs_per_s": 1e9, "copy_1000_bytes_per_s": 1e9, "node_s": 1e-6}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            explained(conv("a", 60, (58, 58), 4, 3, 58), conv("b", 20, (60, 60), 4, 3, 60)),
            "1 depthwise convolution outside the blocked layout; 58 channels are no multiple of 4, "
            "which suggests 60 for 58.",
        ),
        (
            blocked(60, (24, 16), (32, 16)),
            "21% (0.0128 ms): 1 convolution multiplies padding; 24 channels are no multiple of 16, "
            "which suggests 32 for 24.",
        ),
        (
            explained(conv("a", 600, (60, 60), 4, 3, 2)),
            "1 grouped convolution outside the blocked layout; 30 channels a group are no multiple "
            "of 16, which suggests 32 for 30.",
        ),
        (blocked(99, (3, 16), (3, 16)), "this suggests 3 input channels, fewer than a block of 16"),
        (explained(conv("a", 99, (64, 64), 3)), "this suggests maps of fewer than 64 pixels"),
        (
            explained(
                node("a", "Concat", 9, (1, 4), (1, 8)), node("b", "Split", 9, (1, 4), (1, 2))
            ),
            "100% (0.0180 ms): 2 nodes that only move data; this suggests Concat and Split, "
            "which cost next to no FLOPs.",
        ),
    ],
)
def test_a_sentence_has_the_weight_the_nodes_and_what_they_suggest(
    found: Explained, said: str
) -> None:
    assert said in " ".join(explain_text.sentence(each, found.block) for each in blames(found))


def test_a_difference_is_said_by_the_parts_that_make_it() -> None:
    said = explain_text.against(grown(2, 200), grown(2, 100), "a", "b")
    assert said == (
        "a takes 1.83x the time of b at 1.00x the FLOPs; of the 0.100 ms more, plain grouped 0.100."
    )
    less = explain_text.against(grown(2, 100), grown(2, 200), "b", "a")
    assert "of the 0.100 ms less, plain grouped 0.100" in less


def test_a_guideline_s_reason_is_the_paper_s_or_another() -> None:
    for slow, holds in ((grown(2, 200), "another reason"), (grown(9, 110), "the paper's reason")):
        found = guidelines.judge("G4", [grown(2, 100), slow])
        assert found is not None
        said = explain_text.verdict(found, "G4", ["fast", "slow"])
        assert said.startswith("slow takes ") and "element-wise operators, the paper's" in said
        assert f"suggests that {holds}" in said


@pytest.fixture
def report(onnx_cases: Callable[..., list[Case]]) -> ExplainReport:
    """Three cases, of which one cannot be explained for its type and one failed."""
    good, typed, failed = onnx_cases("a", "b", "c")
    found = grown(3, 100).profile
    outcomes = [
        ProfileOutcome(good, found, ceilings=CEILINGS),
        ProfileOutcome(replace(typed, dtype="int8"), found, ceilings=CEILINGS),
        ProfileOutcome(failed, None, "no kernel"),
    ]
    return ExplainReport(outcomes, Device("cpu", "CPUExecutionProvider", 1, "arm"), "2026-01-02")


def test_each_case_is_a_row_or_says_why_it_is_none(report: ExplainReport) -> None:
    (table,) = explain_tables.tables(report)
    assert table.columns[0].cells == ("a",)
    assert [line.partition(" failed: ")[2] for line in table.failures] == [
        "no product of int8 was measured on this device",
        "no kernel",
    ]
    (only,) = explain_tables.tables(replace(report, outcomes=report.outcomes[2:]))
    assert only.failures
    drowned = replace(grown(3, 100).profile, slowdown=9.0)
    outcome = replace(report.outcomes[0], profile=drowned)
    assert report.failure(outcome).startswith("the profiler makes a call 9")


@pytest.mark.parametrize("by", ["part", *explain_tables.KEYS])
def test_the_rows_of_one_case_add_up_to_its_latency(report: ExplainReport, by: str) -> None:
    one = replace(report, outcomes=report.outcomes[:1], by=by)
    first, nodes = explain_tables.tables(one)
    times = next(column for column in first.columns if column.header == "time (ms)")
    assert sum(map(float, times.cells)) == pytest.approx(0.13, abs=0.002)
    assert len(nodes.columns[0].cells) == 4
    assert len(explain_tables.tables(replace(one, top=0))) == 1


def test_enough_cases_say_what_latency_follows_from(report: ExplainReport) -> None:
    base = report.outcomes[0]
    many = [
        ProfileOutcome(
            replace(base.case, name=f"n{i}", spec=f"n{i}"),
            grown(i, 100 * i, 10 * i).profile,
            ceilings=CEILINGS,
        )
        for i in range(1, 9)
    ]
    assert [t.title for t in explain_tables.tables(replace(report, outcomes=many[:6]))][1:] == []
    fits = explain_tables.tables(replace(report, outcomes=many))[-1]
    assert fits.title == "What latency follows from"
    assert [len(column.cells) for column in fits.columns] == [3, 3]


def test_times_that_do_not_add_up_are_doubted() -> None:
    found = grown(2, 100)
    latency_s = found.profile.latency_s
    doubted = replace(found, profile=replace(found.profile, latency_s=2 * latency_s))
    assert "explain again" not in explain_text.notes([found])[0]
    assert "+50.0%" in explain_text.notes([doubted])[0]
    assert "explain again when it is quieter" in explain_text.notes([doubted])[0]
    assert blames(found) and not blames(doubted)
    assert guidelines.judge("G4", [found, doubted]) is None
    assert sum(doubted.whole.values()) == pytest.approx(2 * latency_s)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            {"measured": Interval(0.89, 0.88, 0.9)},
            "with 60 for 58 channels, 1.04x the FLOPs: said 0.90x the time, measured 0.89x (0.88x "
            "to 0.90x): HOLDS.",
        ),
        (
            {"measured": Interval(1.09, 1.08, 1.1)},
            "Withdrawn: 86% (0.0516 ms): 1 depthwise convolution outside the blocked layout; with "
            "60 for 58 channels, 1.04x the FLOPs: said 0.90x the time, measured 1.09x",
        ),
        (
            {"measured": Interval(0.95, 0.8, 1.1)},
            "which suggests 60 for 58; with 60 for 58 channels, 1.04x the FLOPs: said 0.90x the "
            "time, measured 0.95x (0.80x to 1.10x): unclear.",
        ),
        (
            {"reason": "no widths"},
            "which suggests 60 for 58, not checked: with 60 for 58 channels, no widths.",
        ),
    ],
)
def test_a_sentence_that_was_checked_holds_or_is_withdrawn(
    check: dict[str, object], said: str
) -> None:
    found = explained(conv("a", 60, (58, 58), 4, 3, 58))
    (blame,) = blames(found)
    checked = Check(blame.part, Alteration({58: 60}), 1.04, 0.9, **check)  # type: ignore[arg-type]
    assert said in explain_text.sentence(blame, found.block, checked)


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        (Alteration(groups={"a": (8, 2), "b": (8, 2)}), "with 2 for 8 groups"),
        (Alteration(narrowed={"a": 5}), "with half the results of 1 layer"),
        (
            Alteration(kinds={"a": "shuffle", "b": "shuffle", "c": "Mul"}),
            "without 2 shuffles and 1 Mul",
        ),
        (
            Alteration({n: 2 * n for n in range(1, 7)}),
            "with 2 for 1, 4 for 2, 6 for 3 and 3 others",
        ),
    ],
)
def test_an_alteration_is_said_in_few_words(altered: Alteration, said: str) -> None:
    assert check_text.alteration(altered).startswith(said)
    left = Check("layout conversion", altered, 1, 0.9, Interval(0.9, 0.89, 0.91), "", (9, 2))
    assert "2 of 9 conversions left" in check_text.outcome(left)


def test_few_cases_stand_beside_each_other_and_many_below(report: ExplainReport) -> None:
    def cases(*names: str) -> list[ProfileOutcome]:
        (base, *_) = report.outcomes
        own = (replace(base.case, name=name, spec=name) for name in names)
        return [replace(base, case=case) for case in own]

    (few,) = explain_tables.tables(replace(report, outcomes=cases("a", "b")))
    assert [column.header for column in few.columns] == ["part", "a", "b"]
    assert few.columns[0].cells[-1] == "latency (ms)"
    (many,) = explain_tables.tables(replace(report, outcomes=cases("a" * 40, "b" * 40)))
    assert many.columns[0].cells == ("a" * 40, "b" * 40)
    kept = max(many.columns, key=lambda column: column.drop)
    assert kept.header == "plain grouped"  # the weightiest is left out last

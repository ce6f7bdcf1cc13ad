"""Comparisons: verdicts, sentences, tables, files."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, SpecFacts
from benchbox.report import claims, comparison_text, footnotes
from benchbox.report import comparison as report_comparison
from benchbox.report.files import HEADING, to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from tests.helpers.tables import (
    COST_NOTES,
    MACHINE,
    cells_of,
    cost,
    printed,
    ratio,
    record,
    run_of,
)

FACTS = SpecFacts("compare", "a against b", "0" * 64)
HALF, TWICE = ratio(0.5), ratio(2.0)
MACS = 128_450_560
VERDICT_NOTE = (
    "relative is the latency over that of a, below 1 it is faster; verdict, by its whole 95% "
    "interval: FASTER below 0.990x, SLOWER above 1.010x, SAME between; UNCLEAR where it lies "
    "across a bound"
)


def row(name: str, p50_ms: float | None = 1.0, **changes: Any) -> Record:
    """A case of a comparison whose reference is `a`."""
    bare = record({}, p50_ms, spec="compare", case=name, reference="a")
    return replace(bare, **changes)


def run(*records: Record, margin: float | None = 0.01, **changes: Any) -> Run:
    bare = run_of([replace(r, index=i) for i, r in enumerate(records)], [FACTS])
    plan = {} if margin is None else {"margin": margin}
    context = replace(bare.context, name="compare-a+b", plan=plan)
    return replace(bare, context=replace(context, **changes))


def two(over: Interval, macs: int = MACS, **changes: Any) -> Run:
    """A run of `a` and `b`, which takes so much of its time and has so many FLOPs."""
    other = row("b", over.value, relative=over, cost=cost(macs, 16_220_160))
    return run(row("a"), other, **changes)


def sentence_of(of: Run) -> str | None:
    return "\n".join(claims.sentences(of, FACTS)) or None


ONE_GRAPH = {"sha256": "1" * 64}


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_known_ratio_has_a_verdict_without_the_p50_of_a_case(lacking: str) -> None:
    bare = {name: row(name, None, status="imprecise") for name in lacking}
    judged = run(bare.get("a", row("a")), replace(bare.get("b", row("b", 2.0)), relative=TWICE))
    assert str(sentence_of(judged)).endswith(" takes 2.00x (SLOWER).")
    assert "2.00x  1.98x to 2.02x  SLOWER" in printed(judged)


def test_a_status_stays_beside_verdicts_where_columns_stand_closer() -> None:
    name = "shufflenetv2_x1_0"
    other = row(name, 3.97, relative=ratio(0.39), status="imprecise")
    words = [line.split() for line in printed(run(row("a"), other), width=80).splitlines()]
    assert ["FASTER", "imprecise"] in [each[-2:] for each in words if each[:1] == [name]]


def test_a_comparison_has_room_in_40_columns() -> None:
    lines = printed(run(row("a"), row("b", 9.98, relative=ratio(0.39))), width=40).splitlines()
    assert max(map(len, lines)) <= 40


def test_there_is_no_verdict_without_figures_of_the_reference() -> None:
    """A ratio may be there all the same, of rounds before the reference failed."""
    gone = row("a", None, status="failed", graph=ONE_GRAPH)
    failed = row("c", None, status="failed", graph=ONE_GRAPH, relative=TWICE)
    measured = run(gone, row("b", relative=TWICE), failed)
    assert [comparison_text.verdict(measured, each) for each in measured.records] == ["-"] * 3
    assert sentence_of(measured) is None
    assert not claims.is_unclear(measured)
    assert to_frame([measured])["verdict"].isna().all()
    notes = "\n".join(footnotes.notes(measured, FACTS))
    assert "verdict" not in notes
    assert "same graph" not in notes


def test_there_is_no_verdict_by_disturbed_calls() -> None:
    judged = run(row("a"), row("b", 2.0, relative=TWICE, relative_basis="all"))
    assert str(sentence_of(judged)).endswith(" takes ~2.00x (UNCLEAR: 1.98x to 2.02x).")


def test_no_other_run_has_verdicts() -> None:
    other = two(ratio(1.0, 0.5), margin=None)
    assert report_comparison.verdict(other, other.records[1]) is None
    assert comparison_text.sentences(other, other.records) == []
    assert comparison_text.notes(other, other.records) == []
    assert not claims.is_unclear(other)


@pytest.mark.parametrize(
    ("over", "macs", "flops", "latency", "alone", "took"),
    [
        (Interval(0.4167, 0.41, 0.42), int(MACS / 1.15), "1.15x", "2.40x", "0.87x", "0.42x"),
        (TWICE, 2 * MACS, "0.50x", "0.50x", "2.00x", "2.00x"),
        (ratio(1.0, 0.002), MACS // 2, "2.00x", "1.00x", "0.50x", "1.00x"),
    ],
)
def test_flops_and_latency_are_in_one_sentence(
    over: Interval, macs: int, flops: str, latency: str, alone: str, took: str
) -> None:
    verdict = {"0.42x": "FASTER", "2.00x": "SLOWER", "1.00x": "SAME"}[took]
    assert sentence_of(two(over, macs)) == (
        f"a has {flops} the FLOPs of b and {latency} its latency on cpu. "
        f"By FLOPs alone b would take {alone} the time; it takes {took} ({verdict})."
    )


def test_flops_that_differ_by_half_a_percent_are_equal() -> None:
    shares = 1.0, 1.004, 0.996, 1.006, 0.994
    texts = [sentence_of(two(Interval(1.02, 0.95, 1.09), int(MACS * share))) for share in shares]
    assert (
        texts[:3]
        == [
            "a has the FLOPs of b and 0.98x its latency on cpu. By FLOPs alone they would take "
            "the same time; b takes 1.02x (UNCLEAR: 0.95x to 1.09x)."
        ]
        * 3
    )
    assert not any("has the FLOPs of b" in str(text) for text in texts[3:])


@pytest.mark.parametrize("which", ["a", "b", "ab"])
def test_flops_that_are_not_known_are_left_out(which: str) -> None:
    for unknown in (cost(12_300_000, None, "Loop"), None):
        records = two(TWICE).records
        lacking = [replace(r, cost=unknown) if r.case in which else r for r in records]
        assert sentence_of(run(*lacking)) == (
            "a has 0.50x the latency of b on cpu: b takes 2.00x (SLOWER)."
        )


@pytest.mark.parametrize(
    ("margin", "bounds", "verdict"),
    [
        (0.05, "FASTER below 0.952x, SLOWER above 1.050x", "SAME"),
        (0.00001, "FASTER below 0.999990x, SLOWER above 1.000010x", "SLOWER"),
        (0.5, "FASTER below 0.67x, SLOWER above 1.50x", "SAME"),
        (0.03, "FASTER below 0.971x, SLOWER above 1.030x", "UNCLEAR"),
    ],
)
def test_verdict_and_bounds_are_by_the_margin_of_the_run(
    margin: float, bounds: str, verdict: str
) -> None:
    judged = two(ratio(1.03, 0.005), margin=margin)
    assert report_comparison.verdict(judged, judged.records[1]) == verdict
    assert claims.is_unclear(judged) == (verdict == "UNCLEAR")
    assert any(bounds in note for note in footnotes.notes(judged, FACTS))


def test_cases_of_one_graph_are_named() -> None:
    records = [
        row("a", graph=ONE_GRAPH),
        row("b", graph={"sha256": "2" * 64}),
        row("c", graph=ONE_GRAPH, relative=TWICE),
        *(row(name, None, status="failed", graph=None) for name in "de"),
    ]
    notes = [note for note in footnotes.notes(run(*records), FACTS) if "same graph" in note]
    assert notes == ["a and c are the same graph: what differs is chance"]


def test_a_graph_at_two_batches_is_compared_with_others_and_not_with_itself() -> None:
    at_8 = {"reference": "a,batch=8", "batch": 8, "inputs": ["x=8x64x56x56"]}
    first = [row("a", graph=ONE_GRAPH), row("b", relative=TWICE)]
    records = [*first, *(replace(each, case=f"{each.case},batch=8", **at_8) for each in first)]
    notes = "\n".join(footnotes.notes(run(*records), FACTS))
    assert "same graph" not in notes
    assert "over that of a or a,batch=8, " in notes


PAPER_A = {"params_m": 6.1, "macs_m": 167.0, "top1_percent": 75.3, "source": "GhostNetV2, Fig. 1"}
PAPER_B = {"macs_m": 146.0, "top1_percent": 69.4, "source": "ShuffleNet V2, Table 5"}


def three_cases() -> Run:
    return run(
        row("a", 2.0, paper=PAPER_A),
        row("b", 1.0, relative=ratio(0.5, 0.02), cost=cost(MACS // 2, 8_000_000), paper=PAPER_B),
        row("c", None, status="failed", reason="no kernel for Conv", cost=None),
    )


def test_a_pipe_gets_the_table_the_failures_and_then_the_sentence() -> None:
    assert (
        printed(three_cases())
        == f"""\
a against b
cpu, CPUExecutionProvider, 1 thread, batch 1, input 1x64x56x56
Cortex-A76, {MACHINE}

case  FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative FLOPs  relative    95% interval  \
verdict  top-1, paper (%)  quiet share  status
a           128         16.2  2.000 ± 0.008       500           1.00x     1.00x               -  \
-                    75.3          97%  ok
b          64.2         8.00  1.000 ± 0.004      1000           0.50x     0.50x  0.49x to 0.51x  \
FASTER               69.4          97%  ok
c             -            -              -         -               -         -               -  \
-                       -            -  failed

c failed: no kernel for Conv
a has 2.00x the FLOPs of b and 2.00x its latency on cpu. By FLOPs alone b would take 0.50x the \
time; it takes 0.50x (FASTER).
{COST_NOTES}
{VERDICT_NOTE}
published figures: GhostNetV2, Fig. 1; ShuffleNet V2, Table 5

"""
    )


def test_markdown_has_a_paragraph_for_each_line_of_the_sentence() -> None:
    measured = run(row("a"), row("b_1", relative=TWICE), row("c", relative=ratio(1, 0.5)))
    text, _, further = to_markdown([measured]).partition(f"\n\n{HEADING}")
    _, _, table, *paragraphs, notes = text.split("\n\n")
    same = "| 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x |"
    assert table.splitlines()[2:] == [
        f"| a {same} 1.00x | - | - | 97% |",
        f"| b_1 {same} 2.00x | 1.98x to 2.02x | SLOWER | 97% |",
        f"| c {same} 1.0x | 0.50x to 1.50x | UNCLEAR | 97% |",
    ]
    assert paragraphs == str(sentence_of(measured)).split("\n")
    assert further.count("cpu 2026") == 1
    help_line = "UNCLEAR: more time (--max-time) narrows the interval, a wider --margin decides"
    assert notes.splitlines()[2:] == [f"- {VERDICT_NOTE}", f"- {help_line}"]


FIGURES = ["relative_ci_low", "relative_ci_high", "relative_macs", "verdict", "margin"]
PUBLISHED = ["published_params_m", "published_macs_m", "published_top1_percent"]


def test_each_row_has_its_ratio_its_flops_and_its_verdict() -> None:
    frame = to_frame([three_cases()]).astype(object).replace(pd.NA, None)
    assert frame[[*PUBLISHED, *FIGURES]].to_numpy().tolist() == [
        [6.1, 167.0, 75.3, None, None, 1.0, None, 0.01],
        [None, 146.0, 69.4, 0.49, 0.51, 0.5, "FASTER", 0.01],
        [None, None, None, None, None, None, None, 0.01],
    ]
    assert list(frame["relative_latency"]) == [1.0, 0.5, None]


def on(device: str, *records: Record, **changes: Any) -> Run:
    return run(*records, device=device, host={"cpu": f"{device} chip"}, **changes)


def pair(over: Interval, first: float = 1.0) -> list[Record]:
    second = row("b", first * over.value, relative=over, cost=cost(MACS // 2, 8_000_000))
    return [row("a", first), second]


def test_one_comparison_on_several_devices_is_one_table() -> None:
    runs = [on("cpu", *pair(TWICE)), on("arm", *pair(ratio(1.0, 0.004), 3.0))]
    (table,) = tables_of(runs)
    assert [column.header for column in table.columns] == [
        *("case", "FLOPs (M)", "memory (MB)", "relative FLOPs", "params (M)"),
        *("cpu (ms)", "arm (ms)", "cpu, images/s", "arm, images/s"),
    ]
    assert [cells[:4] + cells[5:7] for cells in cells_of(table)] == [
        ["a", "128", "16.2", "1.00x", "1.000 ± 0.004", "3.000 ± 0.012"],
        [
            *("b", "64.2", "8.00", "0.50x"),
            *("2.000 ± 0.008 (2.00x SLOWER)", "3.000 ± 0.012 (1.00x SAME)"),
        ],
    ]
    assert list(table.sentences) == [sentence_of(each) for each in runs]
    assert "latency on arm." in str(table.sentences)
    assert table.notes == (*COST_NOTES.splitlines(), VERDICT_NOTE)


def test_a_case_that_one_device_lacks_has_a_dash_there_and_its_status_where_it_failed() -> None:
    failed = row("b", None, status="failed", reason="no kernel", cost=None)
    second = on("arm", *pair(TWICE), row("c", relative=HALF))
    (table,) = tables_of([on("cpu", row("a"), failed), second])
    cells = cells_of(table)
    assert [cell[5:7] for cell in cells] == [
        ["1.000 ± 0.004", "1.000 ± 0.004"],
        ["failed", "2.000 ± 0.008 (2.00x SLOWER)"],
        ["-", "1.000 ± 0.004 (0.50x FASTER)"],
    ]
    assert cells[1][1:4] == ["64.2", "8.00", "0.50x"]  # of the device that knows them
    assert table.failures == ("cpu: b failed: no kernel",)
    assert str(table.sentences).count("on arm") == 2
    assert "on cpu" not in str(table.sentences)

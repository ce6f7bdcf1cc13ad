"""Comparisons: verdicts, sentences, tables, files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from rich.cells import cell_len

from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, SpecFacts
from benchbox.report import claims, comparison_text, footnotes
from benchbox.report import comparison as report_comparison
from benchbox.report.files import to_csv, to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from tests.helpers.tables import (
    COST_NOTES,
    MACHINE,
    cells_of,
    cost,
    g2_records,
    printed,
    ratio,
    record,
    run_of,
)

# what was measured, said


FACTS = SpecFacts("compare", "a against b", "0" * 64)
HALF, TWICE = ratio(0.5), ratio(2.0)


MACS = 128_450_560


VERDICT_NOTE = (
    "verdict, by the whole 95% interval of the ratio to a: FASTER below 0.990x, "
    "SLOWER above 1.010x, SAME between; UNCLEAR where it lies across a bound"
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


def said(of: Run) -> str | None:
    return claims.sentence(of, FACTS)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (1.02, 1.03, 0.01, "SLOWER"),
        (0.5, 0.6, 0.01, "FASTER"),
        (1.02, 1.03, 0.05, "SAME"),
        (1.4, 1.6, 0.5, "UNCLEAR"),
    ],
)
def test_the_verdict_is_by_the_margin_of_the_run(
    low: float, high: float, margin: float, verdict: str
) -> None:
    judged = two(Interval((low + high) / 2, low, high), margin=margin)
    assert report_comparison.verdict(judged, judged.records[1]) == verdict
    is_unclear = verdict == "UNCLEAR"
    assert claims.is_unclear(judged) == is_unclear
    notes = comparison_text.notes(judged, judged.records)
    assert (comparison_text.UNCLEAR_HELP in notes) == is_unclear


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_known_ratio_has_a_verdict_without_the_p50_of_a_case(lacking: str) -> None:
    bare = {name: row(name, None, status="imprecise") for name in lacking}
    judged = run(bare.get("a", row("a")), replace(bare.get("b", row("b", 2.0)), relative=TWICE))
    assert report_comparison.verdict(judged, judged.records[1]) == "SLOWER"
    assert "b takes 2.00x (SLOWER)." in str(said(judged)).replace("it takes", "b takes")
    assert "2.00x  1.98x to 2.02x  SLOWER" in printed(judged)


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_there_is_no_verdict_without_figures_of_the_reference(status: Any) -> None:
    """A ratio may be there all the same, of rounds before the reference failed."""
    gone = row("a", None, status=status, reason="the agent is gone")
    measured = run(gone, row("b", relative=TWICE), row("c", None, status="failed"))
    assert [comparison_text.verdict(measured, each) for each in measured.records] == ["-"] * 3
    assert said(measured) is None
    assert not claims.is_unclear(measured)
    assert to_frame([measured])["verdict"].isna().all()


def test_without_any_verdict_no_note_says_what_they_mean() -> None:
    same = {"sha256": "1" * 64}
    failed = row("b", None, status="failed", graph=same, relative=TWICE)
    measured = run(row("a", graph=same), failed)
    assert comparison_text.notes(measured, []) == []
    notes = "\n".join(footnotes.notes(measured, FACTS))
    assert "verdict" not in notes
    assert "same graph" not in notes


def test_no_other_run_has_verdicts() -> None:
    other = two(ratio(1.0, 0.5), margin=None)
    assert report_comparison.verdict(other, other.records[1]) is None
    assert comparison_text.sentence(other, other.records) is None
    assert comparison_text.notes(other, other.records) == []
    assert not claims.is_unclear(other)


FASTER = (
    "a has 1.15x the FLOPs of b and 2.40x its latency on cpu. "
    "By FLOPs alone b would take 0.87x the time; it takes 0.42x (FASTER)."
)
SLOWER = (
    "a has 0.50x the FLOPs of b and 0.50x its latency on cpu. "
    "By FLOPs alone b would take 2.00x the time; it takes 2.00x (SLOWER)."
)
SAME = (
    "a has 2.00x the FLOPs of b and 1.00x its latency on cpu. "
    "By FLOPs alone b would take 0.50x the time; it takes 1.00x (SAME)."
)
UNCLEAR = (
    "a has the FLOPs of b and 0.98x its latency on cpu. By FLOPs alone they would take "
    "the same time; b takes 1.02x (UNCLEAR: 0.95x to 1.09x)."
)


@pytest.mark.parametrize(
    ("over", "macs", "text"),
    [
        (Interval(0.4167, 0.41, 0.42), int(MACS / 1.15), FASTER),
        (TWICE, 2 * MACS, SLOWER),
        (ratio(1.0, 0.002), MACS // 2, SAME),
        (Interval(1.02, 0.95, 1.09), MACS, UNCLEAR),
    ],
)
def test_flops_and_latency_are_said_in_one_breath(over: Interval, macs: int, text: str) -> None:
    assert said(two(over, macs)) == text


def test_flops_that_differ_by_half_a_percent_are_equal() -> None:
    shares = 1.0, 1.004, 0.996, 1.006, 0.994
    texts = [str(said(two(TWICE, int(MACS * share)))) for share in shares]
    assert ["has the FLOPs of b" in text for text in texts] == [True, True, True, False, False]


@pytest.mark.parametrize("which", ["a", "b", "ab"])
@pytest.mark.parametrize("unknown", [cost(12_300_000, None, "Loop"), None])
def test_flops_that_are_not_known_are_left_out(which: str, unknown: dict[str, Any] | None) -> None:
    records = two(TWICE).records
    lacking = [replace(r, cost=unknown) if r.case in which else r for r in records]
    assert said(run(*lacking)) == "a has 0.50x the latency of b on cpu: b takes 2.00x (SLOWER)."


# notes


@pytest.mark.parametrize(
    ("margin", "bounds"),
    [
        (0.05, "FASTER below 0.952x, SLOWER above 1.050x"),
        (0.5, "FASTER below 0.67x, SLOWER above 1.50x"),
        (0.001, "FASTER below 0.9990x, SLOWER above 1.0010x"),
        (0.00001, "FASTER below 0.999990x, SLOWER above 1.000010x"),
    ],
)
def test_the_bounds_are_those_of_the_margin(margin: float, bounds: str) -> None:
    assert any(bounds in note for note in footnotes.notes(two(TWICE, margin=margin), FACTS))


ONE_GRAPH, OTHER_GRAPH = {"sha256": "1" * 64}, {"sha256": "2" * 64}


def test_cases_of_one_graph_are_named() -> None:
    records = [
        row("a", graph=ONE_GRAPH),
        row("b", graph=OTHER_GRAPH),
        row("c", graph=ONE_GRAPH, relative=TWICE),
        row("d", None, status="failed", graph=None),
        row("e", None, status="failed", graph=None),
    ]
    notes = [note for note in footnotes.notes(run(*records), FACTS) if "same graph" in note]
    assert notes == ["a and c are the same graph: what differs is chance"]


def test_a_graph_at_two_batches_is_compared_with_others_and_not_with_itself() -> None:
    at_8 = {"reference": "a,batch=8", "batch": 8, "inputs": ["x=8x64x56x56"]}
    records = [
        row("a", graph=ONE_GRAPH),
        row("b", relative=TWICE),
        row("a,batch=8", graph=ONE_GRAPH, **at_8),
        row("b,batch=8", relative=HALF, **at_8),
    ]
    notes = "\n".join(footnotes.notes(run(*records), FACTS))
    assert "same graph" not in notes
    assert "of the ratio to a or a,batch=8: " in notes


# tables


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
cpu, CPUExecutionProvider, 1 thread, batch 1
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
    _, _, table, *paragraphs, notes = to_markdown([measured]).split("\n\n")
    assert table.splitlines()[2:] == [
        "| a | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 1.00x | - | - | 97% |",
        "| b_1 | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 2.00x | 1.98x to 2.02x "
        "| SLOWER | 97% |",
        "| c | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 1.0x | 0.50x to 1.50x | UNCLEAR | 97% |",
    ]
    assert paragraphs == [
        "a has the FLOPs of b_1 and 0.50x its latency on cpu. By FLOPs alone they would take the "
        "same time; b_1 takes 2.00x (SLOWER).",
        "a has the FLOPs of c and 1.0x its latency on cpu. By FLOPs alone they would take the "
        "same time; c takes 1.0x (UNCLEAR: 0.50x to 1.50x).",
    ]
    help_line = "UNCLEAR: more time (--max-time) narrows the interval, a wider --margin decides"
    assert notes.splitlines()[2:] == [f"- {VERDICT_NOTE}", f"- {help_line}"]


@pytest.mark.parametrize("width", [160, 100, 80, 60, 40, 20])
def test_a_narrow_terminal_keeps_ratios_and_verdicts_whole(width: int) -> None:
    text = printed(three_cases(), width=width)
    for figure in ("2.000 ± 0.008", "0.50x", "1.000 ± 0.004"):
        assert figure in text
    assert "FASTER" in text.partition("left out")[0].replace("\n", "")
    assert "…" not in text


def test_80_columns_hold_the_comparison_of_two_networks() -> None:
    names = "ghostnetv2_x1_0", "shufflenetv2_x1_0"
    records = zip(three_cases().records, names, strict=False)
    measured = run(*(replace(each, case=name, reference=names[0]) for each, name in records))
    table = printed(measured, width=80).partition("left out")[0]
    assert max(map(cell_len, table.splitlines())) <= 80
    assert "relative FLOPs" not in table
    (line,) = (each for each in table.splitlines() if each.startswith(names[1]))
    assert line.split()[-2:] == ["0.50x", "FASTER"]


# files


FIGURES = ["relative_ci_low", "relative_ci_high", "relative_macs", "verdict", "margin"]
PUBLISHED = ["published_params_m", "published_macs_m", "published_top1_percent"]


def test_a_comparison_adds_its_columns_at_the_very_end() -> None:
    assert list(to_frame([three_cases()]).columns)[-9:] == ["reason", *PUBLISHED, *FIGURES]
    plain = to_frame([run_of(g2_records()), three_cases()])
    assert plain[FIGURES].iloc[: len(g2_records())].isna().all().all()
    labelled = run(row("a"), row("b", relative=TWICE, labels={"n": 1}, args={"c": 2}))
    assert list(to_frame([labelled]).columns)[-7:] == ["arg_n", "arg_c", *FIGURES]


def test_each_row_has_its_ratio_its_flops_and_its_verdict() -> None:
    frame = to_frame([three_cases()]).astype(object).replace(pd.NA, None)
    assert frame[FIGURES].to_numpy().tolist() == [
        [None, None, 1.0, None, 0.01],
        [0.49, 0.51, 0.5, "FASTER", 0.01],
        [None, None, None, None, 0.01],
    ]
    assert frame[PUBLISHED].to_numpy().tolist() == [
        [6.1, 167.0, 75.3],
        [None, 146.0, 69.4],
        [None, None, None],
    ]
    assert list(frame["relative_latency"]) == [1.0, 0.5, None]


def test_figures_in_files_are_rounded_and_verdicts_are_not() -> None:
    measured = two(Interval(1 / 3, 0.1 + 0.2, 2 / 3), macs=MACS // 3)
    _, known = csv.DictReader(io.StringIO(to_csv(to_frame([measured]))))
    assert [known[name] for name in FIGURES] == ["0.3", "0.666667", "0.333333", "FASTER", "0.01"]


# several devices


def on(device: str, *records: Record, **changes: Any) -> Run:
    return run(*records, device=device, host={"cpu": f"{device} chip"}, **changes)


def pair(over: Interval, first: float = 1.0) -> list[Record]:
    second = row("b", first * over.value, relative=over, cost=cost(MACS // 2, 8_000_000))
    return [row("a", first), second]


def test_one_comparison_on_several_devices_is_one_table() -> None:
    (table,) = tables_of([on("cpu", *pair(TWICE)), on("arm", *pair(ratio(1.0, 0.004), 3.0))])
    assert [column.header for column in table.columns] == [
        *("case", "FLOPs (M)", "memory (MB)", "relative FLOPs", "cpu (ms)", "arm (ms)")
    ]
    assert cells_of(table) == [
        ["a", "128", "16.2", "1.00x", "1.000 ± 0.004", "3.000 ± 0.012"],
        [
            *("b", "64.2", "8.00", "0.50x"),
            *("2.000 ± 0.008 (2.00x SLOWER)", "3.000 ± 0.012 (1.00x SAME)"),
        ],
    ]
    assert (table.sentences or "").splitlines() == [
        "a has 2.00x the FLOPs of b and 0.50x its latency on cpu. By FLOPs alone b would take "
        "0.50x the time; it takes 2.00x (SLOWER).",
        "a has 2.00x the FLOPs of b and 1.00x its latency on arm. By FLOPs alone b would take "
        "0.50x the time; it takes 1.00x (SAME).",
    ]
    assert table.notes == (*COST_NOTES.splitlines(), VERDICT_NOTE)


def test_a_case_that_one_device_lacks_has_a_dash_there_and_its_status_where_it_failed() -> None:
    failed = row("b", None, status="failed", reason="no kernel", cost=None)
    second = on("arm", *pair(TWICE), row("c", relative=HALF))
    (table,) = tables_of([on("cpu", row("a"), failed), second])
    assert [cells[-2:] for cells in cells_of(table)] == [
        ["1.000 ± 0.004", "1.000 ± 0.004"],
        ["failed", "2.000 ± 0.008 (2.00x SLOWER)"],
        ["-", "1.000 ± 0.004 (0.50x FASTER)"],
    ]
    assert table.failures == ("cpu: b failed: no kernel",)
    assert str(table.sentences).count("on arm") == 2
    assert "on cpu" not in str(table.sentences)


def test_the_costs_are_of_a_device_that_knows_them() -> None:
    unknown = [replace(each, cost=None) for each in pair(TWICE)]
    (table,) = tables_of([on("cpu", *unknown), on("arm", *pair(HALF))])
    assert cells_of(table)[1][1:4] == ["64.2", "8.00", "0.50x"]


@pytest.mark.parametrize(
    ("second", "lines"),
    [
        ({"status": "failed", "latency": None, "reason": "no kernel"}, []),
        ({"status": "imprecise", "reason": "only 2 quiet rounds"}, []),
        ({"relative": TWICE}, ["b takes 2.00x (SLOWER)."]),
    ],
)
def test_there_is_a_line_for_each_case_with_a_ratio(
    second: dict[str, Any], lines: list[str]
) -> None:
    records = row("a"), row("b", **second), row("c", relative=HALF)
    of_three = str(said(run(*records))).split("\n")
    assert [line.rpartition("; ")[2] for line in of_three] == [*lines, "c takes 0.50x (FASTER)."]
    assert (said(run(*records[:2])) is None) == (not lines)


CPU, ARM, PI = (on(device, *pair(TWICE)) for device in ("cpu", "arm", "pi"))


@pytest.mark.parametrize(
    ("runs", "tables"),
    [
        ([CPU, ARM, PI], 1),
        ([CPU, CPU, ARM], 3),
        ([CPU, run_of(g2_records())], 2),
        ([CPU, on("arm", *pair(TWICE), margin=0.05)], 2),
        ([CPU, on("arm", *pair(TWICE), margin=None)], 2),
        ([on(name, *pair(TWICE), margin=None) for name in ("cpu", "arm")], 1),
    ],
)
def test_a_comparison_by_one_margin_on_several_devices_is_one_table(
    runs: Sequence[Run], tables: int
) -> None:
    assert len(tables_of(runs)) == tables

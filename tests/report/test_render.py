import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from benchbox.analysis.stats import Interval
from benchbox.records import Run, SpecFacts
from benchbox.report import formatting
from benchbox.report.console import show_costs
from benchbox.report.costs import CostRow
from benchbox.report.files import to_csv, to_json, to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.tables import short_case
from benchbox.report.text import listed
from tests.helpers.tables import (
    G2,
    cost,
    g2_records,
    latency,
    printed,
    ratio,
    record,
    run_of,
    with_changes,
)

PLAIN = SpecFacts("g2", "Nothing claimed", "0" * 64)
FIGURE = re.compile(r"\d+\.\d+ ± \d+\.\d+")


def mixed_run() -> Run:
    records = [
        record({"groups": 1, "scale": 1}, channels="arm", published=40.0),
        record(
            {"groups": 2, "scale": 1},
            status="imprecise",
            reason="its interval is 4% wide, 1% was asked for",
            reference="groups=1,scale=1",
            latency=latency(1.3, 0.04),
            relative=ratio(1.3, 0.05),
            cost=cost(12_300_000, None, "Loop"),
        ),
        record(
            {"groups": 4, "scale": 1},
            None,
            status="failed",
            reason="no kernel for Conv(11)\nin [red]this[/red] build [/]",
            reference="groups=1,scale=1",
        ),
        record(
            {"groups": 8, "scale": 1},
            None,
            status="skipped",
            reference="groups=1,scale=1",
            cost=None,
        ),
    ]
    return run_of(records)


def test_a_pipe_gets_the_whole_table_as_plain_text() -> None:
    assert (
        printed(run_of(g2_records()))
        == """\
G2: group convolution costs memory access
cpu, CPUExecutionProvider, 1 thread, batch 1
Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, 2026-05-09

case      FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative  paper, ARM  quiet share
scale 1
groups=1        128         16.2  1.000 ± 0.004      1000     1.00x       1.00x          97%
groups=2        127         22.7  1.420 ± 0.006       704     1.42x       1.14x          97%
groups=8        133         46.3  2.310 ± 0.009     432.9     2.31x       1.44x          97%
scale 2
groups=1        514         32.8  4.000 ± 0.016     250.0     1.00x       1.00x          97%
groups=2        508         45.8    5.20 ± 0.02     192.3     1.30x       1.07x          97%
groups=8        508         91.0    7.60 ± 0.03     131.6     1.90x       1.36x          97%

G2 holds here: 8 groups cost 2.31x and 1.90x the latency of 1 at 0.99x to 1.03x the FLOPs \
(scale 1, 2; paper, ARM: 1.44x and 1.36x).
FLOPs are multiply-accumulates, as the papers count them
memory is what is accessed: every tensor read and written once, with weights
paper: ratios of its images/s on Snapdragon 810, one thread (ShuffleNet V2, Table 2)

"""
    )


def test_rows_that_are_not_ok_say_so_and_why() -> None:
    assert (
        printed(mixed_run())
        == """\
G2: group convolution costs memory access
cpu, CPUExecutionProvider, 1 thread, batch 1
Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, 2026-05-09

case      FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative  quiet share  status
scale 1
groups=1        128         16.2  1.000 ± 0.004      1000     1.00x          97%  ok
groups=2     ≥ 12.3            -    1.30 ± 0.05       770     1.30x          97%  imprecise
groups=4        128         16.2              -         -         -            -  failed
groups=8          -            -              -         -         -            -  skipped

groups=4,scale=1 failed: no kernel for Conv(11) in [red]this[/red] build [/]
groups=8,scale=1 skipped
FLOPs are multiply-accumulates, as the papers count them
memory is what is accessed: every tensor read and written once, with weights
paper: ratios of its images/s on Snapdragon 810, one thread (ShuffleNet V2, Table 2)
groups=2,scale=1: FLOPs are a lower bound, not counted are Loop
groups=2,scale=1: its interval is 4% wide, 1% was asked for

"""
    )


def test_a_single_graph_without_labels_is_one_lean_row() -> None:
    net = record({}, 12.5, spec="net", cost=cost(300_000_000, None))
    assert (
        printed(run_of([net], [SpecFacts("net", "net.onnx", "")], threads=4))
        == """\
net.onnx
cpu, CPUExecutionProvider, 4 threads, batch 1
Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, 2026-05-09

case  FLOPs (M)      p50 (ms)  images/s  quiet share
net         300  12.50 ± 0.05      80.0          97%

FLOPs are multiply-accumulates, as the papers count them

"""
    )


def test_verbose_adds_percentiles_and_how_it_was_measured() -> None:
    lines = printed(run_of(g2_records()[:2]), verbose=True).splitlines()
    assert lines[4].endswith(
        "raw p50 (ms)  p90 (ms)  load (s)  first call (ms)  warmup calls  samples  rounds"
    )
    assert lines[6].split()[-7:] == ["1.01", "1.10", "0.0123", "4.56", "25", "480", "24"]


def test_verbose_says_how_processes_differed_and_what_was_found_in_loading() -> None:
    processes = replace(latency(1.0), sessions_p50_s=(0.00100, 0.00103, 0.00101))
    net = record({}, latency=processes, peak_bytes=12_300_000, denormal_ratio=40.0)
    lines = printed(run_of([net]), verbose=True).splitlines()
    header = "peak memory (MB)  denormals  between processes  samples  rounds"
    assert lines[4].endswith(header)
    assert lines[5].split()[-5:] == ["12.3", "40.0x", "3%", "480", "24"]


def test_batches_are_counted_where_the_paper_counts_them() -> None:
    facts = replace(G2, published_unit="batches_per_s")
    text = printed(run_of([record({"groups": 1}, 2.0, batch=8)], [facts]))
    assert "batches/s" in text
    assert " 500 " in text
    assert "batch 8" in text


def test_rows_of_one_group_stand_together() -> None:
    records = sorted(g2_records(), key=lambda each: each.labels["groups"])
    assert printed(run_of(records)) == printed(run_of(g2_records()))


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (120, None),
        (80, "quiet share; images/s"),
        (60, "quiet share; images/s; memory (MB)"),
        (40, "quiet share; images/s; memory (MB); paper, ARM"),
    ],
)
def test_a_narrow_terminal_loses_whole_columns_and_is_told_which(
    width: int, left_out: str | None
) -> None:
    text = printed(run_of(g2_records()), width=width)
    note = f"left out at this width: {left_out} (the CSV has all)"
    assert (note in " ".join(text.split())) == (left_out is not None)
    assert ("left out" in text) == (left_out is not None)


@pytest.mark.parametrize("width", [120, 80, 60, 40, 20])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_figure_is_ever_cut(width: int, verbose: bool) -> None:
    run = run_of(g2_records())
    text = printed(run, width=width, verbose=verbose)
    assert FIGURE.findall(text) == FIGURE.findall(printed(run))
    assert "…" not in text
    for over in ("2.31x", "1.90x"):
        assert over in text


@pytest.mark.parametrize("width", [80, 60])
def test_a_table_that_fits_stays_within_the_terminal(width: int) -> None:
    for run in (run_of(g2_records()), mixed_run()):
        assert max(map(cell_len, printed(run, width=width).splitlines())) <= width


def test_a_long_name_wraps_and_is_not_cut() -> None:
    name = "a_very_long_name_of_a_network_that_somebody_exported_from_somewhere_x1_0"
    net = record({}, spec=name, case=name, reference=name)
    table = printed(run_of([net], [SpecFacts(name, "T", "")]), width=60).partition("left out")[0]
    first = [line.split()[0] for line in table.splitlines()[6:] if line.strip()]
    assert "".join(first) == name


@pytest.mark.parametrize("width", [None, 120])
@pytest.mark.parametrize("text", ["[red]", "[/]", "[bold]x[/bold]", ":smile:", "[link=http://x]"])
def test_markup_in_names_and_reasons_is_printed_as_it_is(width: int | None, text: str) -> None:
    bad = record({}, case=text, reference=text, status="failed", reason=text, note=text)
    shown = printed(run_of([bad], [replace(PLAIN, title=text)]), width=width)
    assert shown.count(text) == 6  # title, row, the failure's name and reason, the note's as well


def test_control_characters_are_spelled_not_sent_to_the_terminal() -> None:
    bad = record({}, status="failed", reason="\x1b[2J\x07 gone\r\n\tagain \udc80")
    text = printed(run_of([bad]))
    assert "\\x1b[2J\\x07 gone again \\udc80" in text
    text.encode()


def test_a_spec_that_has_no_records_yet_is_not_shown() -> None:
    assert "Nothing" not in printed(run_of(g2_records(), [G2, replace(PLAIN, name="g9")]))


def test_specs_are_shown_one_after_the_other() -> None:
    records = [*g2_records(), replace(g2_records()[0], spec="g9")]
    text = printed(run_of(records, [G2, replace(PLAIN, name="g9")]))
    assert "\n\nNothing claimed\n" in text


def test_costs_are_shown_without_any_latency() -> None:
    def row(groups: int, c: int, macs: int, **changes: object) -> CostRow:
        bare = CostRow(
            case=f"groups={groups},scale=1",
            group="scale=1",
            reference="groups=1,scale=1",
            inputs=[f"x=1x{c}x56x56"],
            cost={**cost(macs, 16_220_160), "ops": {"Conv": 10, "Relu": 9}},
            args={"repeat": 10, "groups": groups, "c": c},
            published=40.0,
            published_unit="images_per_s",
        )
        return replace(bare, **changes)  # type: ignore[arg-type]

    rows = [
        row(1, 64, 128_450_560),
        row(2, 90, 127_008_000, published=None, note="rounded"),
        row(4, 128, 12_300_000, cost=cost(12_300_000, None, "Loop")),
        row(8, 180, 0, cost=None, reason="8 groups do not divide [180]"),
    ]
    file = io.StringIO()
    show_costs("G2: groups\nten [1x1] convolutions", rows, Console(file=file, width=80))
    assert (
        file.getvalue()
        == """\
G2: groups
ten [1x1] convolutions

case      input          arguments         FLOPs (M)  params  memory (MB)  relative FLOPs  paper (images/s)  operators
scale 1
groups=1  x=1x64x56x56   repeat=10, c=64         128  41.0 K         16.2           1.00x                40  Conv 10, Relu 9
groups=2  x=1x90x56x56   repeat=10, c=90         127  41.0 K         16.2           0.99x                 -  Conv 10, Relu 9
groups=4  x=1x128x56x56  repeat=10, c=128     ≥ 12.3  41.0 K            -               -                40  Conv 10
groups=8  x=1x180x56x56  repeat=10, c=180          -       -            -               -                40  -

groups=8,scale=1: 8 groups do not divide [180]
FLOPs are multiply-accumulates, as the papers count them
groups=4,scale=1: FLOPs are a lower bound, not counted are Loop
groups=2,scale=1: rounded

"""  # noqa: E501 - as wide as it is printed
    )


def csv_rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_empty_cells_for_what_is_not_known() -> None:
    header, *rows = csv_rows(to_csv(to_frame([mixed_run()])))
    skipped = dict(zip(header, rows[3], strict=True))
    assert skipped["status"] == "skipped"
    assert skipped["batch"] == "1"
    assert [skipped[name] for name in ("macs", "latency_p50_ms", "samples", "published")] == [
        ""
    ] * 4


def test_csv_prints_whole_numbers_whole_and_floats_without_noise() -> None:
    text = to_csv(to_frame([run_of([record({"groups": 1}, 0.1 + 0.2)])]))
    assert text.splitlines()[1] == (
        "g2,groups=1,cpu,CPUExecutionProvider,float32,1,1,128450560,40960,16220160,"
        "0.3,0.2988,0.3012,0.33,,3333.33,3333.33,1.0,,480,0.975,ok,,1"
    )


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3))
def test_csv_and_json_give_any_text_back(reasons: Sequence[str]) -> None:
    records = [record({"n": i}, reason=text) for i, text in enumerate(reasons)]
    frame = to_frame([run_of(records)])
    header, *rows = csv_rows(to_csv(frame))
    place = header.index("reason")
    assert [row[place] for row in rows] == list(reasons)
    assert [row["reason"] for row in json.loads(to_json(frame))] == list(reasons)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_csv_quotes_what_a_spreadsheet_could_take_for_a_formula(name: str) -> None:
    text = to_csv(to_frame([run_of([record({}, case=name)])]))
    assert f'g2,"{name}",cpu' in text


def test_json_has_null_for_what_is_not_known() -> None:
    rows = json.loads(to_json(to_frame([mixed_run()])))
    assert rows[0]["macs"] == 128_450_560
    assert rows[1]["macs"] is None
    assert rows[3]["latency_p50_ms"] is None


def test_files_can_be_written_whatever_bytes_a_name_had() -> None:
    frame = to_frame([run_of([record({}, case="a\udc80")])])
    to_csv(frame).encode()
    assert json.loads(to_json(frame))[0]["case"] == "a\udc80"


def test_markdown_has_the_consoles_table_and_says_where_it_was_measured() -> None:
    assert (
        to_markdown([run_of(g2_records()[:2])])
        == """\
## G2: group convolution costs memory access

cpu, CPUExecutionProvider, 1 thread, batch 1; Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, \
2026-05-09

| case | FLOPs (M) | memory (MB) | p50 (ms) | images/s | relative | paper, ARM | quiet share |
|:--|--:|--:|--:|--:|--:|--:|--:|
| **scale 1** | | | | | | | |
| groups=1 | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 1.00x | 97% |
| groups=2 | 127 | 22.7 | 1.420 ± 0.006 | 704 | 1.42x | 1.14x | 97% |

- FLOPs are multiply-accumulates, as the papers count them
- memory is what is accessed: every tensor read and written once, with weights
- paper: ratios of its images/s on Snapdragon 810, one thread (ShuffleNet V2, Table 2)
"""
    )


def test_markdown_has_the_sentence_and_the_failures() -> None:
    records = with_changes(
        "groups=2,scale=1", status="failed", reason="a|b\nc", latency=None, relative=None
    )
    text = to_markdown([run_of(records), run_of(g2_records())])
    assert "\nG2 holds here: 8 groups cost 2.31x and 1.90x" in text
    assert "\n- groups=2,scale=1 failed: a\\|b c\n" in text
    assert text.count("\n\n## G2") == 1


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1))
def test_markdown_gives_any_name_back(name: str) -> None:
    text = to_markdown([run_of([record({}, case=name, reference=name)], [PLAIN])])
    row = next(line for line in text.splitlines() if line.endswith("| 97% |"))
    cells = re.findall(r"((?:\\.|[^|\\])*)\|", row)
    assert re.sub(r"\\(.)", r"\1", cells[1].strip()) == name


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (1.2341, 0.0082, "1.234 ± 0.008"),
        (1.2341, 0.012, "1.234 ± 0.012"),
        (1.2341, 0.0996, "1.23 ± 0.10"),
        (123.4, 4.2, "123 ± 4"),
        (1234, 120, "1230 ± 120"),
        (1.2341, 0.0, "1.23"),
        (1.2341, math.inf, "1.23"),
        (0.8, 2.4, "0.8 ± 2.4"),
        (1234.5, 0.0, "1234"),
    ],
)
def test_an_estimate_ends_where_its_interval_does(value: float, width: float, text: str) -> None:
    assert formatting.estimate(value, width) == text


positive = st.floats(1e-9, 1e9)


@pytest.mark.parametrize(
    ("case", "group", "text"),
    [
        ("groups=8,scale=1", "scale=1", "groups=8"),
        ("relu=yes,shortcut=no,scale=1", "scale=1", "relu=yes, shortcut=no"),
        ("scale=1", "scale=1", "scale=1"),
        ("a=,b", "", "a=,b"),
        (",", "", ","),
    ],
)
def test_a_case_is_named_by_what_its_group_does_not_say(case: str, group: str, text: str) -> None:
    assert short_case(case, group) == text


@given(positive, positive)
def test_digits_follow_the_interval(value: float, width: float) -> None:
    figure, _, half = formatting.estimate(value, width).partition(" ± ")
    assert figure == formatting.figure(value, width)
    step = 10.0 ** -len(figure.partition(".")[2])
    assert len(figure.partition(".")[2]) == len(half.partition(".")[2])
    assert abs(float(figure) - value) <= max(step, width) / 2 * (1 + 1e-6)
    assert float(half) == pytest.approx(width, rel=0.3)
    if "." in half:
        assert len(half.replace(".", "").lstrip("0")) <= 2


@given(positive, st.one_of(st.just(0.0), positive))
def test_a_ratio_has_at_most_two_decimals_and_below_a_tenth_two_digits(
    value: float, width: float
) -> None:
    text = formatting.ratio(value, width)
    two_decimals, two_digits = r"\d+(\.\d\d?)?x", r"0\.0*([1-9]\d?|10)?x"
    assert re.fullmatch(two_decimals if value >= 0.0995 else f"{two_decimals}|{two_digits}", text)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (formatting.ratio(1.0), "1.00x"),
        (formatting.ratio(12.34), "12.3x"),
        (formatting.ratio(2.312, 0.0004), "2.31x"),
        (formatting.ratio(2.312, 0.4), "2.3x"),
        (formatting.ratio(0.123), "0.12x"),
        (formatting.ratio(0.0234), "0.023x"),
        (formatting.ratio(0.000244), "0.00024x"),
        (formatting.ratio(0.0234, 0.00004), "0.023x"),
        (formatting.ratio(0.0234, 0.004), "0.023x"),
        (formatting.bounds(Interval(2.31, 2.29, 2.33)), "2.29x to 2.33x"),
        (formatting.bounds(Interval(1.011, 1.0052, 1.017)), "1.005x to 1.017x"),
        (formatting.bounds(Interval(0.99, 0.9852, 0.9949)), "0.985x to 0.995x"),
        (formatting.bounds(Interval(1.0, 0.9, 1.15)), "0.90x to 1.15x"),
        (formatting.scaled(864), "864"),
        (formatting.scaled(1_366_792), "1.37 M"),
        (formatting.scaled(None), "-"),
        (formatting.millions(12_300), "0.0123"),
        (formatting.millions(0), "0.00"),
        (formatting.percent(0.9999), "99%"),
        (formatting.percent(1.0), "100%"),
        (formatting.percent(0.29), "29%"),
        (formatting.percent(0.004), "<1%"),
        (formatting.percent(None), "-"),
        (listed(["a"]), "a"),
        (listed(["a", "b"]), "a and b"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_figures_and_lists_as_they_are_printed(made: str, text: str) -> None:
    assert made == text


@pytest.mark.parametrize(("ratio", "told"), [(1.1, False), (1.11, True), (None, False)])
def test_denormals_are_told_of_above_a_tenth(ratio: float | None, told: bool) -> None:
    net = record({}, 12.5, spec="net", denormal_ratio=ratio)
    text = printed(run_of([net], [SpecFacts("net", "net.onnx", "")]))
    assert ("denormal numbers in it" in text) == told

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from benchbox.analysis.stats import Interval
from benchbox.lines import one_line
from benchbox.records import Run, SpecFacts
from benchbox.report import formatting
from benchbox.report.console import show_tables
from benchbox.report.costs import CostRow, cost_table
from benchbox.report.files import FORMULA, to_csv, to_json, to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Column, Table
from benchbox.report.tables import short_case
from tests.helpers.tables import (
    COST_NOTES,
    G2,
    G2_HOLDS,
    MACHINE,
    PAPER_NOTE,
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
OVER_NOTE = "over FLOPs: relative latency over relative FLOPs, 1.00x by FLOPs alone"
WIDE = "its interval is 4% wide, 1% was asked for"
NO_KERNEL = "no kernel for Conv(11)\nin [red]this[/red] build [/]"


def mixed_run() -> Run:
    """A case of each status."""
    wide = record(
        {"groups": 2, "scale": 1},
        status="imprecise",
        cost=cost(12_300_000, None, "Loop"),
        latency=latency(1.3, 0.04),
        relative=ratio(1.3, 0.05),
        reason=WIDE,
    )
    others = [
        wide,
        record({"groups": 4, "scale": 1}, None, status="failed", reason=NO_KERNEL),
        record({"groups": 8, "scale": 1}, None, status="skipped", cost=None),
    ]
    first = record({"groups": 1, "scale": 1}, channels="arm", published=40.0)
    return run_of([first, *(replace(each, reference=first.case) for each in others)])


def net_of(name: str = "net", title: str = "net.onnx", threads: int = 1, **changes: Any) -> Run:
    """A run of a single graph without labels."""
    net = record({}, 12.5, spec=name, case=name, reference=name)
    return run_of([replace(net, **changes)], [SpecFacts(name, title, "")], threads)


def test_a_pipe_gets_the_whole_table_as_plain_text() -> None:
    assert (
        printed(run_of(g2_records()))
        == f"""\
G2: group convolution costs memory access
cpu, CPUExecutionProvider, 1 thread, batch 1
Cortex-A76, {MACHINE}

case      FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative  over FLOPs  paper, ARM  \
quiet share
scale 1
groups=1        128         16.2  1.000 ± 0.004      1000     1.00x       1.00x       1.00x          97%
groups=2        127         22.7  1.420 ± 0.006       704     1.42x       1.44x       1.14x          97%
groups=8        133         46.3  2.310 ± 0.009     432.9     2.31x       2.24x       1.44x          97%
scale 2
groups=1        514         32.8  4.000 ± 0.016     250.0     1.00x       1.00x       1.00x          97%
groups=2        508         45.8    5.20 ± 0.02     192.3     1.30x       1.31x       1.07x          97%
groups=8        508         91.0    7.60 ± 0.03     131.6     1.90x       1.92x       1.36x          97%

{G2_HOLDS}
{COST_NOTES}
{OVER_NOTE}
{PAPER_NOTE}

"""  # noqa: E501 - as wide as it is printed
    )


def test_rows_that_are_not_ok_say_so_and_why() -> None:
    assert (
        printed(mixed_run()).partition("\n\n")[2]
        == f"""\
case      FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative  over FLOPs  quiet share  status
scale 1
groups=1        128         16.2  1.000 ± 0.004      1000     1.00x       1.00x          97%  ok
groups=2     ≥ 12.3            -    1.30 ± 0.05       770     1.30x           -          97%  imprecise
groups=4        128         16.2              -         -         -           -            -  failed
groups=8          -            -              -         -         -           -            -  skipped

groups=4,scale=1 failed: no kernel for Conv(11) in [red]this[/red] build [/]
groups=8,scale=1 skipped
{COST_NOTES}
{OVER_NOTE}
groups=2,scale=1: FLOPs are a lower bound, not counted are Loop
groups=2,scale=1: {WIDE}

"""  # noqa: E501 - as wide as it is printed
    )


def test_a_single_graph_without_labels_is_one_lean_row() -> None:
    text = printed(net_of(threads=4, cost=cost(300_000_000, None)))
    assert text.splitlines()[1] == "cpu, CPUExecutionProvider, 4 threads, batch 1"
    assert text.splitlines()[4:] == [
        "case  FLOPs (M)      p50 (ms)  images/s  quiet share",
        "net         300  12.50 ± 0.05      80.0          97%",
        "",
        COST_NOTES.splitlines()[0],
        "",
    ]


def test_verbose_adds_percentiles_processes_and_how_it_was_measured() -> None:
    processes = replace(latency(1.0), sessions_p50_s=(0.00100, 0.00103, 0.00101))
    own = {"latency": processes, "peak_bytes": 12_300_000, "denormal_ratio": 40.0}
    (plain, *_), of_processes = g2_records(), record({}, **own)
    for measured, header, cells in (
        (
            plain,
            "raw p50 (ms)  p90 (ms)  load (s)  first call (ms)  warmup calls  samples  rounds",
            ["1.01", "1.10", "0.0123", "4.56", "25", "480", "24"],
        ),
        (
            of_processes,
            "peak memory (MB)  denormals  between processes  samples  rounds",
            ["12.3", "40.0x", "3%", "480", "24"],
        ),
    ):
        lines = printed(run_of([measured]), verbose=True).split("\n\n")[1].splitlines()
        assert lines[0].endswith(header)
        assert lines[-1].split()[-len(cells) :] == cells


def test_rows_of_one_group_stand_together() -> None:
    by_groups = sorted(g2_records(), key=lambda each: each.labels["groups"])
    assert printed(run_of(by_groups)) == printed(run_of(g2_records()))


def test_cases_that_stand_alone_have_no_headings() -> None:
    alone = [replace(each, group=each.case) for each in g2_records()]
    assert [table.groups for table in tables_of([run_of(alone)])] == [()]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (120, ""),
        (80, "quiet share"),
        (60, "quiet share; images/s; memory (MB)"),
        (40, "quiet share; images/s; memory (MB); paper, ARM"),
    ],
)
def test_a_narrow_terminal_loses_whole_columns_and_is_told_which(width: int, left_out: str) -> None:
    text = " ".join(printed(run_of(g2_records()), width=width).split())
    _, _, told = text.partition("left out at this width: ")
    assert told.partition(" (the CSV has all)")[0] == left_out


def test_a_wide_terminal_draws_latency_over_flops_and_files_have_the_number_alone() -> None:
    run = run_of(with_changes("groups=8,scale=2", cost=cost(4_000_000, None, "Loop")))
    lines = printed(run, width=120).splitlines()
    drawn = [next((w for w in line.split() if w[0] in "━┿┽┼"), "") for line in lines]
    assert list(filter(None, drawn)) == [
        *("┼", "━━━┽────", "━━━┿━───", "━━━┿━━━━"),
        *("━━━┽────", "━━━┿╾───"),
    ]
    assert not set("━┼┿") & set(printed(run) + to_markdown([run]))
    over = to_frame([run])["latency_over_flops"]
    assert list(over.round(2).astype(object).replace(pd.NA, None)) == [
        *(1.0, 1.44, 2.24, 1.0, 1.31),
        None,
    ]


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("length", [10, 30, 60, 90])
def test_a_name_is_whole_beside_or_above_its_figures(width: int, length: int) -> None:
    name = "network_" + "x" * (length - 8)
    wide = {"status": "imprecise", "relative": ratio(1.3, 0.05)}
    _, table, *_ = printed(net_of(name, "T", **wide), width=width).split("\n\n")
    table = table.partition("left out")[0]
    assert max(map(cell_len, table.splitlines())) <= max(width, length)
    _, *rows = table.partition("\u2500")[2].splitlines()
    assert name in rows[0].split()
    assert all(each in table for each in ("12.50 ± 0.05", "imprecise"))


@pytest.mark.parametrize("width", [80, 60, 40])
def test_every_word_of_a_table_that_is_no_runs_is_whole(width: int) -> None:
    names = [f"a_network_of_some_length_{i}" for i in range(2)]
    about = ["re-parameterisation of everything by itself", "2211.12905"]
    columns = [Column("name", tuple(names), True), Column("about", tuple(about), True)]
    file = io.StringIO()
    show_tables(
        [Table("T", (), tuple(columns), ("", ""))],
        Console(file=file, force_terminal=True, width=width, color_system=None),
    )
    assert {*names, *" ".join(about).split()} <= set(file.getvalue().split())


def test_columns_stand_closer_before_a_line_is_too_wide() -> None:
    columns = tuple(Column(name, (name * 12,)) for name in "nabc")
    file = io.StringIO()
    shown = Console(file=file, force_terminal=True, width=40, color_system=None)
    show_tables([Table("T", (), columns)], shown)
    assert f"{'a' * 12}  {'b' * 12}  {'c' * 12}\n" in file.getvalue()


@pytest.mark.parametrize("width", [None, 120])
@pytest.mark.parametrize("text", ["[/]", "[bold]x[/bold]", ":smile:", "[link=http://x]"])
def test_markup_in_names_and_reasons_is_printed_as_it_is(width: int | None, text: str) -> None:
    bad = record({}, case=text, reference=text, status="failed", reason=text, note=text)
    shown = printed(run_of([bad], [replace(PLAIN, title=text)]), width=width)
    assert shown.count(text) == 6  # title, row, the failure's name and reason, the note's as well


def test_control_characters_are_spelled_not_sent_to_the_terminal() -> None:
    bad = record({}, status="failed", reason="\x1b[2J\x07 gone\r\n\tagain \udc80")
    text = printed(run_of([bad]))
    assert "\\x1b[2J\\x07 gone again \\udc80" in text
    text.encode()


def test_specs_are_shown_once_they_have_records_and_batches_where_the_paper_counts_them() -> None:
    specs = [replace(G2, published_unit="batches_per_s"), replace(PLAIN, name="g9")]
    records = [record({"groups": 1}, 2.0, batch=8)]
    text = printed(run_of(records, specs))
    assert [word in text for word in ("batches/s", " 500 ", "batch 8")] == [True] * 3
    assert "Nothing" not in text
    records = [*records, replace(records[0], spec="g9")]
    assert "\n\nNothing claimed\n" in printed(run_of(records, specs))


def test_costs_are_shown_without_any_latency() -> None:
    def row(groups: int, c: int, macs: int, **changes: object) -> CostRow:
        bare = CostRow(
            f"groups={groups},scale=1",
            "scale=1",
            "groups=1,scale=1",
            [f"x=1x{c}x56x56"],
            {**cost(macs, 16_220_160), "ops": {"Conv": 10, "Relu": 9}},
            {"repeat": 10, "groups": groups, "c": c},
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
    table = cost_table("G2: groups\nten [1x1] convolutions", rows)
    show_tables([table], Console(file=file, width=80))
    assert (
        file.getvalue()
        == f"""\
G2: groups
ten [1x1] convolutions

case      input          arguments         FLOPs (M)  params  memory (MB)  relative FLOPs  paper (images/s)  operators
scale 1
groups=1  x=1x64x56x56   repeat=10, c=64         128  41.0 K         16.2           1.00x                40  Conv 10, Relu 9
groups=2  x=1x90x56x56   repeat=10, c=90         127  41.0 K         16.2           0.99x                 -  Conv 10, Relu 9
groups=4  x=1x128x56x56  repeat=10, c=128     ≥ 12.3  41.0 K            -               -                40  Conv 10
groups=8  x=1x180x56x56  repeat=10, c=180          -       -            -               -                40  -

groups=8,scale=1: 8 groups do not divide [180]
{COST_NOTES.splitlines()[0]}
groups=4,scale=1: FLOPs are a lower bound, not counted are Loop
groups=2,scale=1: rounded

"""  # noqa: E501 - as wide as it is printed
    )


def csv_columns(text: str) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


@settings(max_examples=15)  # frames take their time
@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3))
def test_csv_gives_any_text_back_as_a_line_and_json_as_it_is(reasons: list[str]) -> None:
    frame = to_frame([run_of([record({"n": i}, reason=text) for i, text in enumerate(reasons)])])
    lines = [one_line(text) for text in reasons]
    texts = ["'" + text if FORMULA.match(text) else text for text in lines]
    found = csv_columns(to_csv(frame))["reason"]
    assert all(cell in (text, plain) for cell, text, plain in zip(found, texts, lines, strict=True))
    assert [row["reason"] for row in json.loads(to_json(frame))] == reasons


@pytest.mark.parametrize("name", ["=1+1", "+a1", "-", "-1+1", "@SUM(A1)", "\t=1", "\uff1d1"])
def test_csv_has_no_text_that_a_spreadsheet_takes_for_a_formula(name: str) -> None:
    assert f"g2,'{name.strip()},cpu" in to_csv(to_frame([net_of(spec="g2", case=name)]))


@pytest.mark.parametrize("number", ["-1", "+1.5e-3", "-.5"])
def test_csv_leaves_numbers_as_they_are(number: str) -> None:
    assert f"g2,{number},cpu" in to_csv(to_frame([net_of(spec="g2", case=number)]))


def test_files_can_be_written_whatever_bytes_a_name_had() -> None:
    frame = to_frame([net_of(case="a\udc80")])
    assert to_csv(frame).encode()
    assert json.loads(to_json(frame))[0]["case"] == "a\udc80"


def test_markdown_has_the_sentence_and_the_failures() -> None:
    failed = {"status": "failed", "reason": "a|b\nc", "latency": None, "relative": None}
    text = to_markdown([run_of(with_changes("groups=2,scale=1", **failed)), run_of(g2_records())])
    assert "\nG2 holds here: 8 groups cost 2.31x and 1.90x" in text
    assert "\n- groups=2,scale=1 failed: a\\|b c\n" in text
    assert text.count("\n\n## G2") == 1


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1))
def test_markdown_gives_any_name_back(name: str) -> None:
    text = to_markdown([run_of([record({}, case=name, reference=name)], [PLAIN])])
    row = next(line for line in text.splitlines() if line.endswith("| 97% |"))
    cells = re.findall(r"((?:\\.|[^|\\])*)\|", row)
    assert re.sub(r"\\(.)", r"\1", cells[1].strip()) == one_line(name)


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_digits_follow_the_interval(value: float, width: float) -> None:
    figure, _, half = formatting.estimate(value, width).partition(" ± ")
    assert figure == formatting.figure(value, width)
    decimals = len(figure.partition(".")[2])
    assert decimals == len(half.partition(".")[2])
    assert abs(float(figure) - value) <= max(10.0**-decimals, width) / 2 * (1 + 1e-6)
    assert float(half) == pytest.approx(width, rel=0.3)
    assert not decimals or len(half.replace(".", "").lstrip("0")) <= 2
    two_decimals, two_digits = r"\d+(\.\d\d?)?x", r"0\.0*([1-9]\d?|10)?x"
    pattern = two_decimals if value >= 0.0995 else f"{two_decimals}|{two_digits}"
    for text in (formatting.ratio(value, width), formatting.ratio(value)):
        assert re.fullmatch(pattern, text)


@pytest.mark.parametrize(
    ("function", "texts"),
    [
        (formatting.ratio, {(1.0,): "1.00x", (12.34,): "12.3x", (0.000244,): "0.00024x"}),
        (formatting.ratio, {(2.312, 0.0004): "2.31x", (2.312, 0.4): "2.3x", (0.123,): "0.12x"}),
        (formatting.ratio, {(0.0234, 0.00004): "0.023x", (0.0234, 0.004): "0.023x"}),
        (
            formatting.bounds,
            {
                (Interval(2.31, 2.29, 2.33),): "2.29x to 2.33x",
                (Interval(1.011, 1.0052, 1.017),): "1.005x to 1.017x",
                (Interval(0.99, 0.9852, 0.9949),): "0.985x to 0.995x",
                (Interval(1.0, 0.9, 1.15),): "0.90x to 1.15x",
            },
        ),
        (formatting.estimate, {(1.2341, 0.0082): "1.234 ± 0.008", (0.8, 2.4): "0.8 ± 2.4"}),
        (formatting.estimate, {(1.2341, 0.0996): "1.23 ± 0.10", (1234, 120): "1230 ± 120"}),
        (formatting.estimate, {(1234.5, 0.0): "1234", (1.2341, math.inf): "1.23"}),
        (formatting.scaled, {(864,): "864", (1_366_792,): "1.37 M", (None,): "-"}),
        (formatting.millions, {(12_300,): "0.0123", (0,): "0.00"}),
        (formatting.percent, {(0.9999,): "99%", (1.0,): "100%", (0.29,): "29%", (None,): "-"}),
        (formatting.percent, {(0.004,): "<1%"}),
        # a case is named by what its group does not say
        (short_case, {("groups=8,scale=1", "scale=1"): "groups=8", ("a=,b", ""): "a=,b"}),
        (short_case, {("relu=yes,shortcut=no,scale=1", "scale=1"): "relu=yes, shortcut=no"}),
        (short_case, {("scale=1", "scale=1"): "scale=1", (",", ""): ","}),
    ],
)
def test_figures_and_names_as_they_are_printed(
    function: Callable[..., str], texts: dict[tuple[Any, ...], str]
) -> None:
    assert {given: function(*given) for given in texts} == texts


def test_integers_that_were_made_up_or_given_are_named() -> None:
    made_up = {"ids": {"below": 50}, "len": {"number": 9}, "sr": {}}
    graph = {"sha256": "a", "made_up": made_up, "notes": ["output y is odd"]}
    given = {"x": f"sha256 {'ab' * 32}", "k": "3"}
    text = printed(run_of([record({}, graph=graph, values=given)]))
    assert (
        "latency may depend on the values of ids (0 to 49 here), len (9 here) and sr (0 or 1 here)"
        "; give them with --input ids=FILE.npy --input len=NUMBER --input sr=NUMBER\n" in text
    )
    assert "x is sha256 abababababab and k is 3\n" in text
    assert "output y is odd\n" in text


def test_without_images_there_is_no_rate_of_them() -> None:
    run = run_of([record({}, has_images=False)], [replace(G2, published_unit=None)])
    assert "images/s" not in printed(run)
    assert to_frame([run])["images_per_s"].isna().all()
    assert to_frame([run])["batches_per_s"].notna().all()


def test_denormals_are_noted_above_a_tenth() -> None:
    texts = [printed(net_of(denormal_ratio=ratio)) for ratio in (1.1, 1.11, None)]
    assert ["denormal numbers in it" in text for text in texts] == [False, True, False]


def test_notes_that_differ_in_figures_alone_are_one() -> None:
    records = [replace(r, state_shift=1.06) for r in g2_records()]
    records[1] = replace(records[1], state_shift=1.08)
    note = "taken while the processor was 6% to 8% slower than in earlier runs on this machine"
    assert f"\nall cases: {note}\n" in printed(run_of(records))
    faster = replace(records[1], state_shift=0.9)
    text = printed(run_of([*records[:1], faster, *records[2:]]))
    assert text.count("than in earlier runs on this machine") == 2


@pytest.mark.parametrize(
    ("counted", "dtype", "notes"),
    [
        ({"graph_params": 40_960}, "float32", []),
        ({"graph_params": 40_000}, "float32", ["net: params are the module's; its graph holds"]),
        ({"graph_params": 50_000}, "float32", ["net: params are the module's; its graph holds"]),
        ({"graph_params": 40_960, "table_params": 9}, "float32", []),
        ({"table_params": 9}, "float32", ["net: params count tables of constants, which"]),
        ({}, "int8", ["int8: static, per channel (onnxruntime.quantization), random calibration"]),
    ],
)  # fmt: skip
def test_costs_say_where_params_are_not_the_graphs_and_what_quantised_it(
    counted: dict[str, int], dtype: str, notes: list[str]
) -> None:
    row = CostRow("net", "", "net", [], {**cost(1, 1), **counted}, {}, dtype=dtype)
    _, *found = cost_table("t", [row]).notes
    assert [note[: len(said)] for note, said in zip(found, notes, strict=True)] == notes

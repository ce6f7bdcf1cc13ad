"""The list, the difference and the merging of runs, from records that nobody measured."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchbox.analysis.states import Gate, State
from benchbox.cli.choices import complete_recorded_devices, complete_runs
from benchbox.records import SpecFacts
from benchbox.records.index import Index
from benchbox.report import run_list
from tests.helpers.command import BENCHBOX, by_case, invoke, rows
from tests.helpers.record_files import LATENCY, context, cut, edit, record, write

pytestmark = pytest.mark.usefixtures("in_tmp")
RESULTS = Path("results")
SPECS = [SpecFacts("g2", "G2", "ab" * 32)]
LATER = "2026-11-22T10:00:00Z"


def keep(*cases: tuple[str, float], version: str = "1", **changes: Any) -> Path:
    """Write a run of cases with latencies in ms, of a version of their graphs."""
    found = [
        record(
            index,
            case,
            latency=replace(
                LATENCY, p50_s=ms / 1e3, ci_low_s=0.99 * ms / 1e3, ci_high_s=1.01 * ms / 1e3
            ),
            graph={"sha256": (case + version) * 8, "size_bytes": 1, "opset": 18},
            cost={"macs": 1000, "params": 1, "memory_access_bytes": 1},
            group="",
        )
        for index, (case, ms) in enumerate(cases)
    ]
    return write(RESULTS, *found, of=context(specs=SPECS, **changes))


def test_runs_are_listed_filtered_and_written() -> None:
    keep(("a", 1), ("b", 2))
    keep(("a", 1), name="g1", device="pi", created=LATER)
    lines = invoke("report", "--list").stdout.splitlines()
    assert lines[0].split() == ["when", "(UTC)", "device", "cases", "status", "size", "run"]
    assert [line.split()[2:5] for line in lines[1:]] == [["pi", "1", "ok"], ["cpu", "2", "ok"]]
    for narrowed in (["g2"], ["--device", "c*"], ["*T220007Z*"]):
        (line,) = invoke("report", "--list", *narrowed).stdout.splitlines()[1:]
        assert line.endswith("20261121T220007Z-g2")
    (line,) = invoke("report", "--list", "--since", "2026-11-22").stdout.splitlines()[1:]
    assert line.endswith("-g1")
    data = json.loads(invoke("report", "--list", "-f", "json").stdout)
    assert [(run["name"], run["device"], run["ok"]) for run in data] == [
        ("g1", "pi", 1),
        ("g2", "cpu", 2),
    ]
    assert [row["run"] for row in rows(invoke("report", "--list", "-f", "csv").stdout)] == [
        run["run"] for run in data
    ]
    assert "| 2026-11-22 10:00 | pi |" in invoke("report", "--list", "-f", "markdown").stdout
    assert "●</span>&nbsp;ok<" in invoke("report", "--list", "-f", "html").stdout
    assert "& pi & 1 & ok &" in invoke("report", "--list", "-f", "latex").stdout
    refused = invoke("report", "--list", "-o", "list.svg")
    assert (refused.exit_code, "--list: its formats are" in refused.stderr) == (2, True)


def test_the_same_filters_say_which_run_is_reported() -> None:
    keep(("here", 1))
    keep(("there", 1), device="pi", created=LATER)
    assert "there" in invoke("report").stdout
    assert "here" in invoke("report", "-d", "cpu").stdout
    both = invoke("report", "g*").stdout
    assert both.index("here") < both.index("there")
    failed = invoke("report", "g3*")
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert "no run of 'g3*' here; `benchbox report --list` shows all" in failed.stderr
    assert invoke("report", "--since", "soon").exit_code == 2


@pytest.mark.parametrize(
    "asked", [["--list"], ["cpu/*"], ["cpu/*", "--merge"], ["cpu/*", "--diff"]]
)
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(asked: list[str]) -> None:
    keep(("good", 1))
    newer = edit(keep(("a", 1)), 0, schema="9.0")
    broken = cut(keep(("a", 1)), 200)
    broken.write_text(broken.read_text() + "\n")
    other = edit(keep(("a", 1)), 1, run="of another")
    gone = newer.with_stem("20261121T220007Z-gone")
    gone.symlink_to("nowhere")
    result = invoke("report", *asked)
    assert result.exit_code == 1
    assert ("good" in result.stdout or "T220007Z-g2\n" in result.stdout) != ("--diff" in asked)
    named = {
        newer: ": schema 9.0",
        broken: ": line 2",
        other: ": line 2: a record of another run",
        gone: ": cannot be read",
    }
    assert all(f"Error: {path}{what}" in result.stderr for path, what in named.items())
    assert len(result.stderr.splitlines()) == 4


def test_a_broken_run_alone_and_runs_without_a_common_case_are_no_usage_error() -> None:
    keep(("b", 1), name="g1")
    good, broken = keep(("a", 1)), edit(keep(("a", 1), created=LATER), 0, schema="9.0")
    for typed, text in (([broken], "schema 9.0"), ([good, "g1", "--diff"], "no case in common")):
        result = invoke("report", *map(str, typed))
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert text in result.stderr


def test_a_run_that_stopped_has_a_part_of_its_cases() -> None:
    plan = {**context().plan, "cases": 3}
    keep(("a", 1), ("b", 1), plan=plan)
    keep(*((name, 1) for name in "abc"), plan=plan, created=LATER)
    whole, part = invoke("report", "--list").stdout.splitlines()[1:]
    assert (" 3  ok " in whole, " 2 of 3  unfinished " in part) == (True, True)
    listed = rows(invoke("report", "--list", "-f", "csv").stdout)
    assert {row["planned_cases"] for row in listed} == {"3"}


@pytest.mark.parametrize("options", [[], ["--merge"], ["--format", "csv"]])
def test_a_run_without_a_finished_case_is_nothing_to_show(options: list[str]) -> None:
    keep()
    result = invoke("report", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no case was finished" in result.stderr


def test_names_of_a_list_stay_in_their_lines_for_a_column_less() -> None:
    for name in ("a", "b", "c", "n" * 80):
        keep(("a", 1), name=name, device="d" * 17)
    runs = Index(RESULTS).runs()
    whole = run_list.lines(runs, 1000)
    head, *lines = run_list.lines(runs, len(whole[0]) + 10)
    assert ("size" in whole[0], "size" in head) == (True, False)
    assert sum(line.endswith(("Z-a", "Z-b", "Z-c")) and "ok" in line for line in lines) == 3


def test_a_list_names_what_matches_no_run() -> None:
    keep(("a", 1))
    part, none = (invoke("report", "--list", *names) for names in (["g2", "x*"], ["nosuch"]))
    assert (part.exit_code, len(part.stdout.splitlines()), "'x*'" in part.stderr) == (1, 2, True)
    assert (none.exit_code, none.stdout, "'nosuch'" in none.stderr) == (2, "", True)


def test_a_list_of_broken_files_alone_has_no_line() -> None:
    keep(("a", 1)).write_text("{}\n")
    for options, text in (([], "when (UTC)"), (["-f", "csv"], ""), (["-f", "json"], "[]")):
        result = invoke("report", "--list", *options)
        assert (result.exit_code, result.stdout.strip()[:10]) == (1, text)
        assert "not a run" in result.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize(("width", "left_out"), [(80, ""), (30, "size; cases; status")])
def test_a_terminal_shows_the_name_of_a_run_whole(width: int, left_out: str) -> None:
    name = keep(("a", 1), name="n" * 80).stem
    leader, follower = os.openpty()
    process = subprocess.run(
        [*BENCHBOX, "report", "--list"],
        stdout=follower,
        env={**os.environ, "COLUMNS": str(width)},
        check=True,
    )
    os.close(follower)
    shown = os.read(leader, 10_000).decode().splitlines()
    assert process.returncode == 0
    text, _, note = " ".join(line.strip() for line in shown).partition(" left out at this width: ")
    assert (text.endswith(f" {name}"), note.partition(" (")[0]) == (True, left_out)
    assert max(len(line) for line in shown if name not in line) <= width


def test_a_difference_has_ratios_verdicts_and_what_else_changed() -> None:
    keep(("same", 1), ("slow", 1), ("gone", 1))
    keep(
        *(("same", 1.01), ("slow", 2), ("fresh", 1)),
        created=LATER,
        versions={"onnxruntime": "1.23"},
        host={**context().host, "setting": {"governor": "powersave"}},
    )
    found = by_case(invoke("report", "g2", "--diff", "-f", "csv").stdout)
    assert {case: row["verdict"] for case, row in found.items()} == {
        "same": "UNCLEAR",
        "slow": "SLOWER",
    }
    slow = found["slow"]
    ends = [float(slow[name]) for name in ("ratio_ci_low", "ratio", "ratio_ci_high")]
    assert ends == sorted(ends)
    assert (ends[1], slow["same_machine"]) == (2.0, "True")
    text = invoke("report", "g2", "--diff").stdout
    for words in (
        "Of 2 cases in B: 1 SLOWER and 1 UNCLEAR.",
        "Changed from A to B: onnxruntime 1.22 -> 1.23; governor none -> powersave.",
        "only in A: gone",
        "only in B: fresh",
    ):
        assert words in text
    assert "DIFFERENT MACHINES" not in text
    for format_, words in (
        ("markdown", "| slow |"),
        ("html", '#D55E00" aria-hidden="true">■</span>&nbsp;SLOWER<'),
        ("latex", "slow & "),
    ):
        assert words in invoke("report", "g2", "--diff", "-f", format_).stdout


def test_graphs_that_did_not_change_say_how_far_runs_are_apart() -> None:
    keep(*((name, 1) for name in "abcd"))
    keep(*((name, 1.2) for name in "abcd"), created=LATER)
    text = invoke("report", "g2", "--diff").stdout
    assert "Of 4 cases in B: 4 UNCLEAR." in text
    assert "4 graphs are the same, nothing else changed, and B took 1.20x to 1.20x" in text
    keep(*((name, 1.2) for name in "abcd"), version="2", created=LATER)
    text = invoke("report", "20261121T220007Z-g2", "g2", "--diff").stdout
    assert "Of 4 cases in B: 4 SLOWER." in text
    assert "Changed from A to B: the graphs of 4 of 4 cases." in text


def test_disturbed_figures_decide_nothing() -> None:
    for created, p50_s in ((context().created, 0.002), (LATER, 0.2)):
        found = replace(LATENCY, p50_s=p50_s, ci_low_s=p50_s, ci_high_s=p50_s, basis="all")
        write(RESULTS, record(latency=found), of=context(created=created))
    text = invoke("report", "g2", "--diff").stdout
    (line,) = (line for line in text.splitlines() if line.startswith("groups=1"))
    assert line.split()[-6:] == ["~2.00", "~200", "~100x", "-", "UNCLEAR", "-"]
    assert "~ where a figure is of disturbed calls" in text


def test_a_processor_that_was_slower_itself_is_said() -> None:
    for created, ns in ((context().created, 10_000.0), (LATER, 11_000.0)):
        gate = Gate(State(ns, 0.9 * ns, 1.1 * ns))
        write(RESULTS, record(latency=LATENCY, gate=gate), of=context(created=created))
    text = invoke("report", "g2", "--diff").stdout
    assert "the processor took 1.10x as long in B (10 us -> 11 us), which ratios have in" in text


def test_another_machine_is_said_loudly() -> None:
    keep(("a", 1))
    host = {**context().host, "cpu": "Another", "cpus": 64}
    keep(("a", 1), created=LATER, host=host)
    text = invoke("report", "g2", "--diff").stdout
    b, a = "cpu/20261122T100000Z-g2", "cpu/20261121T220007Z-g2"
    title, about = text.splitlines()[:2]
    assert title == f"DIFFERENT MACHINES: {b} (B) over {a} (A)"
    assert about.startswith("A ran on cpu: C, x86_64, 2 processors, B on cpu: Another")


def test_a_difference_is_of_two_runs() -> None:
    path = str(keep(("a", 1)))
    keep(("a", 1), device="pi", created=LATER)  # is not set over that of another device
    for names, count in (([], "there is 1"), (["g2"], "there is 1"), ([path] * 3, "this is 3")):
        result = invoke("report", *names, "--diff")
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"--diff sets two runs beside each other, and {count};" in result.stderr
    same = invoke("report", path, "cpu/g2", "--diff")
    assert (same.exit_code, same.stdout) == (2, "")
    assert f"--diff: {path} and {path} are one run" in same.stderr
    for options in (["--diff", "--list"], ["--list", "--merge"]):
        assert "choose one" in invoke("report", *options).stderr


def test_cases_are_paired_by_spec_and_name_or_by_their_only_name_or_graph() -> None:
    a = record(case="x", spec="models", latency=LATENCY, graph={"sha256": "1" * 64})
    b = record(1, case="y", latency=LATENCY, graph={"sha256": "2" * 64})
    write(RESULTS, a, b, of=context())
    renamed = replace(b, case="z")
    write(RESULTS, replace(a, spec="compare"), renamed, of=context(created=LATER))
    found = by_case(invoke("report", "g2", "--diff", "-f", "csv").stdout)
    assert list(found) == ["x", "z"]


def test_runs_and_devices_merge_into_one_table() -> None:
    keep(("a", 1), ("b", 2))
    keep(("b", 3), ("c", 4), created=LATER)  # could go on as the first
    keep(("a", 5), device="pi", created=LATER)
    text = invoke("report", "*/g2", "--merge").stdout
    header = next(line for line in text.splitlines() if line.startswith("case"))
    assert header.index("cpu (ms)") < header.index("pi (ms)")
    cells = {line.split()[0]: line for line in text.splitlines() if line[:2] in ("a ", "b ", "c ")}
    assert "1.000" in cells["a"]
    assert "5.00" in cells["a"]
    assert "3.00" in cells["b"]
    assert "4.00" in cells["c"]
    assert "in several runs, shown as 20261122T100000Z-g2 has it: b" in text
    csv = rows(invoke("report", "*/g2", "--merge", "-f", "csv").stdout)
    assert [(row["device"], row["case"]) for row in csv] == [
        *(("cpu", "a"), ("cpu", "b"), ("cpu", "c"), ("pi", "a"))
    ]


def test_a_merged_table_has_the_devices_of_its_spec_alone() -> None:
    keep(("a", 1))
    keep(("a", 2), device="pi", created=LATER)
    other = record(case="x", spec="own", latency=LATENCY, group="")  # of no spec that is described
    write(RESULTS, other, of=context("own", device="pi"))
    first, _, second = invoke("report", "*/g2", "own", "--merge").stdout.partition("\nown\npi, ")
    assert "cpu (ms)" in first
    assert "cpu" not in second


def test_conflicts_of_merged_runs_are_named() -> None:
    keep(("a", 1))
    keep(("a", 2), created=LATER, versions={"onnxruntime": "1.23"}, version="2")
    text = invoke("report", "*g2", "--merge").stdout
    assert "cpu 1 and cpu 2 are columns of their own: onnxruntime 1.22 -> 1.23" in text
    assert "not the same graph in all columns, so latencies are not of one thing: a" in text


def test_names_of_runs_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = SimpleNamespace(params={})
    keep(("a", 1))
    assert complete_runs(ctx, "") == ["g2"]
    assert complete_runs(ctx, "2026") == ["20261121T220007Z-g2"]
    assert complete_runs(ctx, "results/") == []  # the shell's own to complete
    keep(("a", 1), device="pixel", name="models")
    assert complete_runs(ctx, "pixel/") == ["pixel/models"]
    assert complete_runs(ctx, "pixel/2") == ["pixel/20261121T220007Z-models"]
    assert complete_recorded_devices(ctx, "p") == ["pixel"]
    monkeypatch.setenv("BENCHBOX_RESULTS", "elsewhere")
    assert complete_runs(ctx, "") == []

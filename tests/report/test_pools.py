"""Runs on several boards of a pool as one table: spread in intervals, odd boards named."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.analysis.latency import Latency
from benchbox.analysis.samples import Burst
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, merge
from benchbox.records.pools import folded
from benchbox.report import merged
from benchbox.report.frame import read
from benchbox.report.multi_device import tables_of
from tests.helpers.command import invoke
from tests.helpers.record_files import context, record, write

LATENCY = Latency(0.002, 0.00199, 0.00201, None, None, 0.002, 0.001, 64, 0.9, 20)
RATIO = Interval(1.5, 1.49, 1.51)


def timed(index: int, case: str, scale: float = 1.0) -> Record:
    latency = replace(
        LATENCY,
        p50_s=0.002 * scale,
        ci_low_s=0.00199 * scale,
        ci_high_s=0.00201 * scale,
    )
    graph = {"sha256": f"{index:064x}"}
    return record(index, case, latency=latency, relative=RATIO, graph=graph)


def board(
    number: int, *records: Record, pool: str = "ab12", percentiles: Any = (), **changes: Any
) -> Run:
    plan = {"precision": 0.01, "pool": pool, "percentiles": percentiles}
    own = context(device=f"pi-{number}", plan=plan, **changes)
    return Run(Path(f"pi-{number}/x.jsonl"), own, records)


SHARED = [timed(0, "groups=1")] * 4
POOL = [
    board(1, SHARED[0], timed(1, "groups=2")),
    board(2, SHARED[1], timed(2, "groups=4")),
    board(3, SHARED[2], timed(3, "groups=8")),
    board(4, timed(0, "groups=1", 1.2), timed(4, "groups=16", 1.2)),
]


def test_boards_of_a_pool_are_one_column_with_their_spread_in_it() -> None:
    (run,) = folded(POOL)
    assert [each.case for each in run.records] == [f"groups={2**n}" for n in range(5)]
    own, several = run.records[1].latency, run.records[0].latency
    assert own is not None
    assert several is not None
    assert own.span.half_width > several.span.half_width > LATENCY.span.half_width
    assert run.records[1].relative == RATIO, "of one board"
    (table,) = tables_of(POOL)
    cells = {column.header: column.cells for column in table.columns}
    assert cells["board"] == ("3 boards", "pi-1", "pi-2", "pi-3", "pi-4")
    assert [line for line in table.sentences if "pi-4 takes 1.2" in line]
    assert not [line for line in table.sentences if "pi-1 takes" in line]
    assert "4 boards timed 1 case in common" in table.notes[-1]
    assert "where it is of pi-4" in table.notes[-1]
    assert len(tables_of(POOL, verbose=True)) == 1 + len(POOL)


def test_merged_runs_of_a_pool_are_one_table() -> None:
    first, *_ = merged.tables(merge.merge([*POOL, board(7, timed(0, "groups=1"), pool="other")]))
    headers = [column.header for column in first.columns]
    assert "pi-1 to pi-4 (4 boards) (ms)" in headers
    assert "pi-7 (ms)" in headers
    assert any("pi-4 takes" in line for line in first.sentences)


HOST = {"machine": "x86_64", "cpu": "C", "cpus": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"host": {**HOST, "cpu": "D"}},
        {"host": {**HOST, "setting": {"governor": "powersave"}}},
        {"versions": {"onnxruntime": "1.23"}},
        {"threads": 4},
        {"pool": "cd34"},
        {"pool": ""},
        {"percentiles": [95.0]},
    ],
)
def test_boards_that_differ_are_never_mixed(changes: dict[str, Any]) -> None:
    found = folded([POOL[0], board(2, SHARED[0], **changes)])
    assert [run.pool for run in found] == [None, None]


def test_what_else_its_host_has_keeps_no_board_apart() -> None:
    host = {**context().host, "kernel": "6.9", "memory_bytes": 7}
    other = board(2, SHARED[0], host=host, versions={"onnxruntime": "1.22", "torch": "3"})
    (run,) = folded([POOL[0], other])
    assert run.pool is not None


def test_of_a_case_with_two_graphs_the_one_asked_for_last_counts() -> None:
    changed = replace(timed(0, "groups=1", 9.0), graph={"sha256": "00" * 31 + "01"}, asked_s=2.0)
    bursts = [Burst(0, 0, (2_000_000,))]
    before = replace(POOL[0], records=[replace(SHARED[0], bursts=bursts, asked_s=1.0)])
    (run,) = folded([before, board(2, changed)])
    assert [each.sha256 for each in run.records] == [changed.sha256]
    assert [each.sha256 for each in run.earlier] == [SHARED[0].sha256]
    assert run.pool is not None
    assert run.pool.boards.effects == {}
    first, *_ = merged.tables(merge.merge([before, board(2, changed)]))
    assert not [line for line in first.failures if "not the same graph" in line]
    assert "no case has an interval on two" in tables_of([POOL[0], board(2, changed)])[0].notes[-1]


def test_files_have_the_graph_that_a_command_asked_for_last(tmp_path: Path) -> None:
    plan = {"pool": "ab12", "together": "ab" * 8}
    for number in (1, 2):
        figure = replace(timed(number, "groups=1"), asked_s=float(number))
        write(tmp_path, figure, timed(9, "groups=9"), of=context(device=f"pi-{number}", plan=plan))
    out = invoke("report", "g2", "--format", "csv", "--results", str(tmp_path))
    rows = [(row["device"], row["case"]) for row in csv.DictReader(out.stdout.splitlines())]
    assert sorted(rows) == [("pi-1", "groups=9"), ("pi-2", "groups=1"), ("pi-2", "groups=9")]
    assert len(read(tmp_path / "*/*")) == len(rows)


@pytest.mark.parametrize(
    ("asked", "devices"),
    [
        (["g2"], {"pi-1", "pi-2"}),
        (["g2", "--merge"], {"pi-1", "pi-2"}),
        (["pi-1/g2"], {"pi-1"}),
        (["g2", "-d", "pi-2"], {"pi-2"}),
    ],
)
def test_a_name_stands_for_all_boards_that_one_command_timed_on(
    asked: list[str], devices: set[str], tmp_path: Path
) -> None:
    for number, together in ((1, "ab" * 8), (2, "ab" * 8), (3, "cd" * 8)):
        plan = {"precision": 0.01, "pool": "ab12", "together": together}
        created = f"2026-11-21T22:00:0{5 - number}Z"
        own = context(device=f"pi-{number}", plan=plan, created=created)
        write(tmp_path / "results", timed(0, "groups=1"), timed(number, f"groups={number}"), of=own)
    (tmp_path / "results" / "pi-1" / "20261121T220009Z-g2.jsonl").write_text("broken")
    out = invoke("report", *asked, "--format", "csv", "--results", str(tmp_path / "results"))
    found = {row["device"] for row in csv.DictReader(out.stdout.splitlines())}
    assert found == devices

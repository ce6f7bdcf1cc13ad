"""The table of one run on several devices: a column for each, and what stands under it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from benchbox.analysis.gpu_time import Spans
from benchbox.devices import gpu_options, providers
from benchbox.records import Record, Run, SpecFacts
from benchbox.report.multi_device import tables_of
from tests.helpers.tables import (
    COST_NOTES,
    G2,
    G2_HOLDS,
    MACHINE,
    PAPER_NOTE,
    cells_of,
    g2_records,
    latency,
    printed,
    ratio,
    record,
    run_of,
    with_changes,
)

G1 = SpecFacts("g1", "G1: equal channel widths", "1" * 64)


def on(
    device: str,
    records: Sequence[Record] | None = None,
    specs: Sequence[SpecFacts] = (G2,),
    **changes: Any,
) -> Run:
    changes = {"host": {"cpu": f"{device} chip"}, "device": device} | changes
    bare = run_of(g2_records() if records is None else records, specs)
    return replace(bare, context=replace(bare.context, **changes))


def slower(times: float) -> list[Record]:
    """The same cases, all slower by as much."""
    ms = [r.latency.p50_s * 1e3 for r in g2_records() if r.latency is not None]
    return [replace(r, latency=latency(times * p)) for r, p in zip(g2_records(), ms, strict=True)]


def test_a_run_on_two_devices_is_one_table_with_the_groups_of_its_cases() -> None:
    assert (
        printed(on("cpu"), on("pi", slower(10)))
        == f"""\
G2: group convolution costs memory access
cpu, CPUExecutionProvider, 1 thread, batch 1; cpu chip, {MACHINE}
pi, CPUExecutionProvider, 1 thread, batch 1; pi chip, {MACHINE}

case      FLOPs (M)  memory (MB)  params (M)               cpu (ms)               pi (ms)  cpu, images/s  pi, images/s
scale 1
groups=1        128         16.2      0.0410          1.000 ± 0.004          10.00 ± 0.04           1000         100.0
groups=2        127         22.7      0.0410  1.420 ± 0.006 (1.42x)  14.20 ± 0.06 (1.42x)            704          70.4
groups=8        133         46.3      0.0410  2.310 ± 0.009 (2.31x)  23.10 ± 0.09 (2.31x)          432.9         43.29
scale 2
groups=1        514         32.8      0.0410          4.000 ± 0.016          40.00 ± 0.16          250.0         25.00
groups=2        508         45.8      0.0410    5.20 ± 0.02 (1.30x)    52.0 ± 0.2 (1.30x)          192.3         19.23
groups=8        508         91.0      0.0410    7.60 ± 0.03 (1.90x)    76.0 ± 0.3 (1.90x)          131.6         13.16

cpu: {G2_HOLDS}
pi: {G2_HOLDS}
{COST_NOTES}
{PAPER_NOTE}

"""  # noqa: E501 - as wide as it is printed
    )


def test_what_failed_or_is_imprecise_on_one_device_says_so_in_its_column() -> None:
    wide = with_changes(
        "groups=2,scale=1", status="imprecise", reason="4% wide", latency=latency(1.42, 0.04)
    )
    lacking = with_changes(
        "groups=8,scale=2", status="failed", reason="no kernel", latency=None, relative=None
    )
    (table,) = tables_of([on("cpu", wide), on("pi", lacking)])
    rows = cells_of(table)
    assert rows[1][4:6] == ["1.42 ± 0.06 (1.42x, imprecise)", "1.420 ± 0.006 (1.42x)"]
    assert rows[5][4:6] == ["7.60 ± 0.03 (1.90x)", "failed"]
    assert table.failures == ("pi: groups=8,scale=2 failed: no kernel",)
    assert "cpu: groups=2,scale=1: 4% wide" in table.notes
    assert not [note for note in table.notes if note.startswith("pi: ")]


@pytest.mark.parametrize("half", [None, 0.01])
def test_there_are_no_empty_parentheses(half: float | None) -> None:
    """Cases of one kind each: with and without interval, ratio, samples, cost."""
    of = {"reference": "groups=1"}
    bare = [
        record({"groups": 1}, latency=latency(1.0, half)),
        record({"groups": 2}, latency=latency(2.0, half), **of),
        record({"groups": 4}, 3.0, relative=ratio(3.0), status="imprecise", **of),
        record({"groups": 8}, None, status="skipped", cost=None),
        record({"groups": 9}, None, status="imprecise", reason="no quiet round", cost=None),
    ]
    text = printed(on("cpu", bare), on("pi", bare[:1]), on("phone", bare[3:]))
    assert not re.search(r"\(\s*[),]|,\s*\)|None", text)


def test_where_devices_have_different_cases_there_are_dashes_and_groups_stay_together() -> None:
    records = g2_records()
    (table,) = tables_of([on("cpu", records[::2]), on("pi", records[1::2])])
    assert table.groups == ("scale 1",) * 3 + ("scale 2",) * 3
    rows = cells_of(table)
    assert sorted(row[0] for row in rows) == sorted(["groups=1", "groups=2", "groups=8"] * 2)
    assert all(sorted(cell == "-" for cell in row[4:6]) == [False, True] for row in rows)


def test_each_spec_of_a_run_has_its_table() -> None:
    ones = [replace(r, spec="g1") for r in g2_records()[:2]]
    runs = [on(name, [*ones, *g2_records()], (G1, G2)) for name in ("cpu", "pi")]
    assert [table.title for table in tables_of(runs)] == [G1.title, G2.title]


def test_an_accuracy_outranks_brackets_beside_a_latency() -> None:
    records = [replace(each, paper={"top1_percent": 60.0}) for each in g2_records()]
    text = printed(on("cpu", records), on("pi", records), width=66)
    table, _, left_out = text.partition("left out at this width: ")
    assert ("top-1" in table, "images/s" in left_out) == (True, True)


def test_verbose_adds_the_table_of_each_device() -> None:
    runs = [on("cpu"), on("pi", slower(10))]
    both, *own = tables_of(runs, verbose=True)
    assert [both] == tables_of(runs)
    assert [table.about[0].partition(",")[0] for table in own] == ["cpu", "pi"]
    assert all("samples" in [c.header for c in table.columns] for table in own)


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_loses_columns_but_no_device(width: int) -> None:
    names = "cpu", "a-board-with-a-long-name", "phone"
    runs = [on(name, slower(times)) for name, times in zip(names, (1, 10, 3), strict=True)]

    def widest(text: str) -> int:
        return max(cell_len(line) for line in text.splitlines() if " ± " in line)

    text = printed(*runs, width=width)
    assert all(any(name in line for line in text.splitlines()) for name in names)
    assert text.count("± ") == 18
    assert widest(text) <= max(width, widest(printed(*runs, width=10)))


@pytest.mark.parametrize(
    ("other", "driven", "tables"),
    [("cuda-torch", {}, 1), ("cuda-1", {}, 2), ("cuda-torch", {"cache": "cold"}, 2)],
)
def test_gpus_are_one_table_where_their_names_tell_how_they_were_driven(
    other: str, driven: dict[str, str], tables: int
) -> None:
    plan = {"mode": "graph", "cache": "hot", "tf32": False, "conv_search": "exhaustive"}
    eager = {**plan, "mode": "eager", "conv_search": "heuristic", **driven}
    more = {"provider": "torch"} if other == "cuda-torch" else {}
    assert len(tables_of([on("cuda", plan=plan), on(other, plan=eager, **more)])) == tables


SPANS = 0.1, 0.2, 0.3, 0.1, 0.1, 0.4


def on_gpu(mode: gpu_options.Mode, host: float, spans_ms: Sequence[float] = SPANS) -> Run:
    """G2 on a GPU whose best is known, with such spans and `host` times their latencies."""
    records = [
        replace(
            r,
            latency=latency(host * ms),
            spans=Spans(ms * 1e-3, copies_s=1.0, launch_share=1 - 1 / host),
            relative=ratio(ms / spans_ms[index // 3 * 3]),
        )
        for index, (r, ms) in enumerate(zip(g2_records(), spans_ms, strict=True))
    ]
    best = {"fp32_macs_per_s": 1e12, "bytes_per_s": 1e11, "measured": "2026-11-22T08:00:00Z"}
    gpu = {"name": "A", "driver": "1", "runtime": "13.0", "ceilings": best}
    plan, facts = gpu_options.Driving(mode).plan(), {"cpu": "B", "gpu": gpu}
    return on(f"cuda-{mode}", records, plan=plan, host=facts)


GRAPH, EAGER = on_gpu("graph", 1.25), on_gpu("eager", 5.0)


def test_both_modes_of_a_gpu_show_side_by_side_what_launching_costs() -> None:
    (table,) = tables_of([GRAPH, EAGER])
    assert {column.header: column.cells[0] for column in table.columns[6:10]} == {
        f"cuda-{mode}, {figure}": cell
        for mode, share in (("graph", "20%"), ("eager", "80%"))
        for figure, cell in (("GPU (ms)", "0.100"), ("launch share", share))
    }
    assert "cuda-eager: at scale 1 launch-bound: 80% of the host's latency is launch" in table.notes
    assert not [note for note in table.notes if note.startswith("cuda-graph: at scale")]
    assert table.sentences[-1] == (
        "cuda: launched kernel by kernel a call took 4.00x as long as replayed from one CUDA "
        "graph, and 1.00x the GPU time."
    )
    assert "(scale 1, 2; GPU time alone: 3.00x and 4.00x; paper" in str(table.sentences)


def test_a_table_across_has_notes_on_its_own_columns_alone() -> None:
    (across,), (single,) = tables_of([GRAPH, EAGER]), tables_of([EAGER])
    (with_cpu,) = tables_of([on("cpu"), EAGER])
    assert "kernel by kernel" not in str(with_cpu.sentences)
    for table, ceilings in ((across, False), (single, True)):
        headers = " ".join(column.header for column in table.columns)
        notes = "\n".join(table.notes)
        assert ("of ceiling" in headers, "of ceiling" in notes) == (ceilings, ceilings)
        assert "launch share" in headers
        assert "launch share is" in notes
        assert "of ceiling" not in str(table.notes_of(table.columns[:1]))


XNNPACK = providers.named("xnnpack")
ON_CPU = f"on {providers.CPU}, not on {XNNPACK}"
MIXED = {XNNPACK: 20, providers.CPU: 4}


def about_nodes(nodes: Sequence[dict[str, int] | None], provider: str = XNNPACK) -> list[str]:
    records = [replace(r, nodes=n) for r, n in zip(g2_records(), nodes, strict=False)]
    (table,) = tables_of([on("cpu"), on("pi", records, provider=provider)])
    return [note for note in table.notes if "nodes" in note]


@pytest.mark.parametrize(
    ("nodes", "note"),
    [
        ([MIXED, {XNNPACK: 24}, None], f"groups=1,scale=1: of its 24 nodes 4 {ON_CPU}"),
        ([MIXED] * 6, f"all cases: of its 24 nodes 4 {ON_CPU}"),
        (
            [{XNNPACK: 20, providers.CPU: n} for n in (1, 2, 3, 30, 4, 5)],
            f"6 of 6 cases have nodes that {XNNPACK} did not take, most of all "
            f"groups=1,scale=2: of its 50 nodes 30 {ON_CPU}",
        ),
    ],
)
def test_nodes_that_another_provider_ran_are_in_a_note(
    nodes: list[dict[str, int] | None], note: str
) -> None:
    assert about_nodes(nodes) == [f"pi: {note}"]


def test_notes_that_differ_in_figures_alone_are_one_for_all_devices() -> None:
    shifts = {"cpu": 1.06, "pi": 1.25, "phone": 1.1}
    runs = [
        on(name, [replace(r, state_shift=shift) for r in g2_records()])
        for name, shift in shifts.items()
    ]
    note = "all cases: taken while the processor was 6%, 25% and 10% slower than"
    assert f"\ncpu, pi and phone: {note} in earlier runs" in printed(*runs)


def test_nodes_of_the_runs_own_provider_are_in_no_note() -> None:
    nodes = [None, {}, {providers.CPU: 24}, {providers.CPU: 24, XNNPACK: 0}]
    assert about_nodes(nodes, providers.CPU) == []


@pytest.mark.parametrize(
    ("other", "tables"),
    [
        (on("cpu"), 2),
        (on("pi", name="g2+g1"), 2),
        (on("pi", channels="gpu"), 2),
        (on("pi", plan={"batch": 8}), 2),
        (on("pi", plan={"margin": 0.05}), 2),
        (on("pi", plan={"weights": {"n": "ab"}}), 2),
        (on("pi", specs=(replace(G2, sha256="2" * 64),)), 2),
        (on("pi", plan={"precision": 0.05, "cooldown_s": 60.0}), 1),
        (on("pi", []), 1),
    ],
)
def test_runs_that_differ_in_more_than_device_and_precision_are_tables_of_their_own(
    other: Run, tables: int
) -> None:
    assert len(tables_of([on("cpu"), other])) == tables

"""Speed-ups along what a run sweeps, and the sentences and groups of its places."""

from dataclasses import replace
from typing import Any

from benchbox.records import Record, Run
from benchbox.report.claims import sentences
from benchbox.report.files import to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from benchbox.specs.labels import case_name
from tests.helpers.tables import G2, cells_of, printed, ratio, record, run_of

LABELS = [{"groups": groups, "scale": 1} for groups in (1, 8)]


def at(labels: dict[str, Any], p50_ms: float, **axes: Any) -> Record:
    where = case_name(axes)
    group = f"scale=1,{where}"
    reference = f"{case_name(LABELS[0])},{where}"
    bare = record(labels, p50_ms, axes=axes, group=group, reference=reference)
    bare = replace(bare, case=f"{case_name(labels)},{where}", threads=axes.get("threads"))
    return bare if labels is LABELS[0] else replace(bare, relative=ratio(2.0))


def swept() -> Run:
    """Two cases by one and two threads, each in two types."""
    speed = {"fp32": 1, "fp16": 2}
    return run_of(
        [
            at(labels, 8.0 * labels["groups"] / threads / times, dtype=dtype, threads=threads)
            for threads in (1, 2)
            for dtype, times in speed.items()
            for labels in LABELS
        ],
        threads=2,
    )


def test_each_place_is_a_group_beside_its_speed_up_over_the_first() -> None:
    (table,) = tables_of([swept()])
    headers = [column.header for column in table.columns]
    assert "1, 2 threads" in table.about[0]
    assert list(dict.fromkeys(table.groups))[1] == "scale 1, dtype fp16, threads 1"
    rows = [dict(zip(headers, cells, strict=True)) for cells in cells_of(table)]
    assert [row["case"] for row in rows] == ["groups=1", "groups=8"] * 4
    found = [(row["speed-up over 1 thread"], row["speed-up over fp32"]) for row in rows[::2]]
    assert [[float(text[:3]) for text in texts] for texts in found] == [
        [1, 1],
        [1, 2],
        [2, 1],
        [2, 2],
    ]
    assert [row["relative"] for row in rows[:2]] == ["1.00x", "2.00x"]


def test_files_have_the_threads_of_each_row_and_its_speed_ups() -> None:
    frame = to_frame([swept()])
    assert list(frame["threads"]) == [1] * 4 + [2] * 4
    assert list(frame["speedup_by_threads"]) == [1.0] * 4 + [2.0] * 4
    assert list(frame["speedup_by_dtype"]) == [1.0, 1.0, 2.0, 2.0] * 2
    sizes = run_of([at(LABELS[0], 1.0, size=size) for size in (160, 224)])
    assert list(to_frame([sizes])["arg_size"]) == [160, 224]
    assert to_frame([sizes])["speedup_by_threads"].isna().all()


def test_a_place_without_figures_has_no_speed_up() -> None:
    run = swept()
    failed = replace(run.records[0], status="failed", latency=None)
    frame = to_frame([replace(run, records=[failed, *run.records[1:]])])
    assert list(frame["speedup_by_threads"].isna()) == [True, *[False] * 3, True, *[False] * 3]


def test_a_place_of_few_calls_has_a_speed_up_that_is_marked() -> None:
    run = swept()
    (first, *others), bounds = run.records, {"ci_low_s": None, "ci_high_s": None}
    assert first.latency is not None
    few = replace(first, latency=replace(first.latency, **bounds, basis="all"))  # type: ignore[arg-type]
    assert printed(replace(run, records=[few, *others])).count("~2.00x") == 2


def test_what_a_comparison_compares_has_no_column_of_speed_ups() -> None:
    first, second = (at(LABELS[0], 4.0 / n, threads=n) for n in (1, 2))
    compared = replace(second, group=first.group, reference=first.case, relative=ratio(0.5))
    assert "speed-up" not in printed(run_of([replace(first, reference=first.case), compared]))


def test_the_claim_is_decided_at_each_place() -> None:
    lines = sentences(swept(), G2)
    assert len(lines) == 4
    assert lines[0].startswith("G2 at dtype fp32, threads 1 holds here: 8 groups cost 2.00x")
    assert all("(scale 1)" in line for line in lines)


def test_a_single_case_has_rates_and_no_ratio_to_itself() -> None:
    alone = [
        replace(r, reference=r.case) for r in (at(LABELS[0], 4.0 / n, threads=n) for n in (1, 2))
    ]
    text = printed(run_of(alone))
    assert "speed-up over 1 thread" in text
    assert "relative" not in text


def test_several_devices_have_a_column_of_speed_ups_each() -> None:
    run = swept()
    other = replace(run, context=replace(run.context, device="pi"))
    text = to_markdown([run, other])
    for device in ("cpu", "pi"):
        assert f"| {device}, speed-up over 1 thread |" in text
    (table,) = tables_of([run, other])
    assert len(table.groups) == 8

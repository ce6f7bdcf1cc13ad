import io
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchbox
from benchbox.devices import gpu_options
from benchbox.errors import RecordError
from benchbox.report.files import to_csv, to_json
from benchbox.report.frame import COLUMNS, FURTHER, ORIGIN, read, to_frame
from tests.helpers.record_files import context, cut, edit, write
from tests.helpers.tables import cost, g2_records, ratio, record, run_of


def row_of(labels: dict[str, Any], p50_ms: float | None = 1.0, **changes: Any) -> pd.Series:
    """The row of one record."""
    return to_frame([run_of([record(labels, p50_ms, **changes)])]).iloc[0]


def test_every_frame_has_the_same_columns_with_arguments_between_them() -> None:
    first, further = list(COLUMNS), [*FURTHER, *ORIGIN]
    assert list(to_frame([]).columns) == [*first, *further]
    frame = to_frame([run_of(g2_records())])
    names = [name for name in frame.columns if not name.startswith("arg_")]
    assert (list(frame.columns)[: len(first)], names) == (first, [*first, *further])


def test_exports_of_two_runs_are_put_together_and_told_apart() -> None:
    graph = {"graph": {"sha256": "ab"}, "peak_bytes": 4096, "load_s": 0.5, "relative": ratio(2)}
    runs = [run_of([record({"groups": 1, "scale": 1}, **more)]) for more in ({}, graph)]
    old = replace(runs[0].context, benchbox="0.0.9", host={"cpu": "old", "machine": "armv7l"})
    runs[0] = replace(runs[0], context=old)
    files = [pd.read_csv(io.StringIO(to_csv(to_frame([run])))) for run in runs]
    assert list(files[0].columns) == list(files[1].columns)
    both = pd.concat(files, ignore_index=True)
    assert list(both["benchbox"]) == ["0.0.9", "0.1.0"]
    assert list(both["processor"]) == ["old", "Cortex-A76"]
    assert both["device_kind"][0] == "armv7l"
    assert both["run"][1] == "cpu 2026-05-09T10:00:00Z g2"
    shown = ["graph_sha256", "group", "relative_ci_low", "peak_memory_bytes", "load_ms"]
    assert list(both.loc[1, shown]) == ["ab", "scale=1", 1.98, 4096, 500]
    numbers = json.loads(to_json(to_frame(runs)))[1]
    assert (numbers["arg_groups"], numbers["first_call_ms"]) == (1, None)


def test_throughput_counts_the_images_of_a_batch_and_a_failed_row_has_no_figures() -> None:
    row = row_of({"groups": 1}, 2.0, batch=8)
    assert (row["images_per_s"], row["batches_per_s"]) == (4000.0, 500.0)
    row = row_of({"groups": 1}, None, status="failed", reason="no kernel", batch=8, cost=None)
    assert (row["batch"], row["status"], row["reason"]) == (8, "failed", "no kernel")
    assert row["macs":"quiet_share"].isna().all()  # type: ignore[misc]


def test_macs_that_are_a_lower_bound_are_unknown_and_the_reason_says_why() -> None:
    bound = {"cost": cost(12_300_000, None, "Loop", "MatMulInteger x 3")}
    missing = "multiply-accumulates not counted for: Loop, MatMulInteger x 3"
    precise = row_of({}, **bound)
    imprecise = row_of({}, status="imprecise", reason="4% wide, not 1%", **bound)
    assert precise["macs"] is imprecise["macs"] is pd.NA
    assert (precise["status"], precise["reason"]) == ("ok", missing)
    assert imprecise["reason"] == f"4% wide, not 1%; {missing}"


def test_whole_numbers_stay_whole_beside_missing_ones() -> None:
    large = 2**53 + 1  # no float is this number
    records = [record({"groups": 1}, cost=cost(large, None)), record({"groups": 2}, cost=None)]
    macs = to_frame([run_of(records)])["macs"]
    assert (str(macs.dtype), macs[0], macs[1]) == ("Int64", large, pd.NA)


def test_arguments_are_as_printed_and_missing_where_a_case_has_none() -> None:
    first = record({"relu": True, "scale": 0.5}, args={"relu": True, "middle": 12})
    frame = to_frame([run_of([first, record({}, args={"path": "a|b"})])]).filter(like="arg_")
    assert list(frame.columns) == ["arg_relu", "arg_scale", "arg_middle", "arg_path"]
    assert frame.to_numpy().tolist() == [["yes", 0.5, 12, pd.NA], [*[pd.NA] * 3, "a|b"]]
    mixed = [record({"c": 8}), record({"c": "same"}), record({"c": 1.0})]
    assert list(to_frame([run_of(mixed)])["arg_c"]) == ["8", "same", "1"]


def test_benchbox_reads_files_into_one_table(tmp_path: Path) -> None:
    context = run_of([]).context
    written = g2_records()[:2]
    paths = [write(tmp_path, *written, of=replace(context, device=name)) for name in ("cpu", "pi")]
    frame = benchbox.read(paths)
    assert list(frame["device"]) == ["cpu", "cpu", "pi", "pi"]
    assert frame.iloc[:2].equals(benchbox.read(str(paths[0])))
    with pytest.warns(UserWarning, match="the last line is truncated"):
        assert len(benchbox.read([cut(paths[0], 2), paths[1]])) == 3


def test_every_column_is_explained() -> None:
    words = re.findall(r"[\w*]+", read.__doc__ or "")
    every = [*COLUMNS, *FURTHER, *ORIGIN]
    options = set(gpu_options.OPTIONS)
    missing = [name for name in every if not any(fnmatchcase(name, word) for word in words)]
    assert set(missing) <= options


def test_runs_are_read_by_name_folder_and_glob(in_tmp: Path) -> None:
    for name in ("g1", "g2"):
        write(in_tmp / "results", record({"groups": 1}), of=context(name))
    newer = edit(
        write(in_tmp / "results", record({"groups": 1}), of=context("g3")), 0, schema="9.0"
    )
    for paths, count in (("g1", 1), ("cpu/g2", 1), (["g?"], 2), ("results", 2), ("results/cpu", 2)):
        several = count > 1
        with pytest.warns(UserWarning, match=r"schema 9\.0") if several else nullcontext():
            assert len(benchbox.read(paths, errors="warn")) == count
    assert len(benchbox.read("g1", results=in_tmp / "results")) == 1
    for wrong in (newer, "results", "g4", "none.jsonl"):
        with pytest.raises(RecordError):
            benchbox.read(wrong)

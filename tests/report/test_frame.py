import re
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchbox
from benchbox import records
from benchbox.devices import gpu_options
from benchbox.report import comparison, gpu, load_columns, published
from benchbox.report.frame import COLUMNS, read, to_frame
from tests.helpers.tables import cost, g2_records, record, run_of


def row_of(labels: dict[str, Any], p50_ms: float | None = 1.0, **changes: Any) -> pd.Series:
    """The row of one record."""
    return to_frame([run_of([record(labels, p50_ms, **changes)])]).iloc[0]


def test_the_columns_are_the_documented_ones_and_then_labels_before_arguments() -> None:
    frame = to_frame([run_of(g2_records())])
    assert ",".join(frame.columns) == (
        "spec,case,device,provider,dtype,batch,threads,macs,params,memory_access_bytes,"
        "latency_p50_ms,latency_ci_low_ms,latency_ci_high_ms,latency_p90_ms,latency_p99_ms,"
        "images_per_s,batches_per_s,relative_latency,published,samples,quiet_share,status,reason,"
        "arg_groups,arg_scale,arg_repeat,arg_c"
    )
    assert list(to_frame([]).columns) == list(frame.columns[:-4])
    assert len(to_frame([])) == 0


def test_a_measured_row_has_every_figure() -> None:
    row = to_frame([run_of(g2_records())]).iloc[1].dropna()
    assert row["spec":"memory_access_bytes"].to_list() == [  # type: ignore[misc]
        *("g2", "groups=2,scale=1", "cpu", "CPUExecutionProvider", "float32"),
        *(1, 1, 127_008_000, 40_960, 22_734_000),
    ]
    assert row["latency_p50_ms":].to_dict() == {  # type: ignore[misc]
        "latency_p50_ms": 1.42,
        "latency_ci_low_ms": 1.41432,
        "latency_ci_high_ms": 1.42568,
        "latency_p90_ms": 1.562,
        "images_per_s": 704.225,
        "batches_per_s": 704.225,
        "relative_latency": 1.42,
        "published": 35.0,
        "samples": 480,
        "quiet_share": 0.975,
        "status": "ok",
        "reason": "",
        "arg_groups": "2",
        "arg_scale": "1",
        "arg_repeat": "10",
        "arg_c": "90",
    }


def test_rows_keep_the_order_of_runs_and_records() -> None:
    first, second = run_of(g2_records()[:2]), run_of(g2_records()[3:4], threads=4)
    frame = to_frame([second, first])
    assert list(frame["case"]) == ["groups=1,scale=2", "groups=1,scale=1", "groups=2,scale=1"]
    assert list(frame["threads"]) == [4, 1, 1]


def test_a_failed_row_keeps_its_batch_and_has_no_figures() -> None:
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
    assert str(macs.dtype) == "Int64"
    assert macs[0] == large
    assert macs[1] is pd.NA


def test_throughput_counts_the_images_of_a_batch() -> None:
    row = row_of({"groups": 1}, 2.0, batch=8)
    assert (row["images_per_s"], row["batches_per_s"]) == (4000.0, 500.0)


def test_arguments_are_as_printed_and_missing_where_a_case_has_none() -> None:
    records = [
        record({"relu": True, "scale": 0.5}, args={"relu": True, "middle": 12}),
        record({}, args={"path": "a|b"}),
    ]
    first, second = to_frame([run_of(records)]).filter(like="arg_").itertuples(index=False)
    assert first._asdict() == {
        "arg_relu": "yes",
        "arg_scale": "0.5",
        "arg_middle": "12",
        "arg_path": pd.NA,
    }
    assert second == (*[pd.NA] * 3, "a|b")


def test_importing_it_imports_neither_pandas_nor_rich() -> None:
    code = (
        "import sys, benchbox.report.frame, benchbox.report.claims, benchbox.report.files\n"
        "sys.exit(bool({'pandas', 'rich', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_benchbox_reads_files_into_one_table(tmp_path: Path) -> None:
    paths = []
    for device in ("cpu", "pi"):
        run = run_of(g2_records()[:2])
        with records.create(tmp_path, replace(run.context, device=device)) as writer:
            for each in run.records:
                writer.append(each)
        paths.append(writer.path)
    frame = benchbox.read(paths)
    assert list(frame["device"]) == ["cpu", "cpu", "pi", "pi"]
    assert frame.iloc[:2].equals(benchbox.read(str(paths[0])))
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    with pytest.warns(UserWarning, match="the last line is truncated"):
        assert len(benchbox.read(paths)) == 3


def test_every_column_is_explained() -> None:
    words = re.findall(r"[\w*]+", read.__doc__ or "")
    every = [*COLUMNS, *comparison.COLUMNS, *published.COLUMNS, *load_columns.ARRIVAL]
    every += [*load_columns.SUSTAINED, *gpu.COLUMNS]
    options = set(gpu_options.OPTIONS)
    missing = [name for name in every if not any(fnmatchcase(name, word) for word in words)]
    assert set(missing) <= options

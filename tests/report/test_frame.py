import re
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import pytest

import benchbox
from benchbox import records
from benchbox.devices import gpu_options
from benchbox.report import comparison, gpu, load_columns, published
from benchbox.report.frame import COLUMNS, read, to_frame
from tests.helpers.tables import cost, g2_records, record, run_of


def test_the_columns_are_the_documented_ones_and_then_labels_before_arguments() -> None:
    frame = to_frame([run_of(g2_records())])
    assert ",".join(frame.columns) == (
        "spec,case,device,provider,dtype,batch,threads,macs,params,memory_access_bytes,"
        "latency_p50_ms,latency_ci_low_ms,latency_ci_high_ms,latency_p90_ms,latency_p99_ms,"
        "images_per_s,batches_per_s,relative_latency,published,samples,quiet_share,status,reason,"
        "arg_groups,arg_scale,arg_repeat,arg_c"
    )


def test_a_measured_row_has_every_figure() -> None:
    row = to_frame([run_of(g2_records())]).iloc[1]
    assert row.dropna().to_dict() == {
        "spec": "g2",
        "case": "groups=2,scale=1",
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "dtype": "float32",
        "batch": 1,
        "threads": 1,
        "macs": 127_008_000,
        "params": 40_960,
        "memory_access_bytes": 22_734_000,
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
    failed = record({"groups": 1}, None, status="failed", reason="no kernel", batch=8, cost=None)
    row = to_frame([run_of([failed])]).iloc[0]
    assert (row["batch"], row["status"], row["reason"]) == (8, "failed", "no kernel")
    unknown = row["macs":"quiet_share"]  # type: ignore[misc]
    assert unknown.isna().all()


def test_macs_that_are_a_lower_bound_are_unknown_and_the_reason_says_why() -> None:
    bound = cost(12_300_000, None, "Loop", "MatMulInteger x 3")
    records = [
        record({"groups": 1}, cost=bound),
        record({"groups": 2}, cost=bound, status="imprecise", reason="4% wide, not 1%"),
    ]
    frame = to_frame([run_of(records)])
    missing = "multiply-accumulates not counted for: Loop, MatMulInteger x 3"
    assert frame["macs"].isna().all()
    assert list(frame["reason"]) == [missing, f"4% wide, not 1%; {missing}"]
    assert list(frame["status"]) == ["ok", "imprecise"]


def test_whole_numbers_stay_whole_beside_missing_ones() -> None:
    large = 2**53 + 1  # no float is this number
    records = [record({"groups": 1}, cost=cost(large, None)), record({"groups": 2}, cost=None)]
    macs = to_frame([run_of(records)])["macs"]
    assert str(macs.dtype) == "Int64"
    assert macs[0] == large
    assert macs[1] is pd.NA


def test_throughput_counts_the_images_of_a_batch() -> None:
    row = to_frame([run_of([record({"groups": 1}, 2.0, batch=8)])]).iloc[0]
    assert (row["images_per_s"], row["batches_per_s"]) == (4000.0, 500.0)


def test_binary_noise_is_rounded_away() -> None:
    row = to_frame([run_of([record({"groups": 1}, 0.1 + 0.2)])]).iloc[0]
    assert row["latency_p50_ms"] == 0.3


def test_the_reference_is_one_only_once_it_is_measured() -> None:
    records = [record({"groups": 1}), record({"groups": 2}, None, status="failed")]
    relative = to_frame([run_of(records)])["relative_latency"]
    assert relative[0] == 1.0
    assert relative[1] is pd.NA


def test_arguments_are_as_printed_and_missing_where_a_case_has_none() -> None:
    records = [
        record({"relu": True, "scale": 0.5}, args={"relu": True, "middle": 12}),
        record({}, args={"path": "a|b"}),
    ]
    frame = to_frame([run_of(records)])
    arguments = frame.filter(like="arg_")
    assert list(arguments.columns) == ["arg_relu", "arg_scale", "arg_middle", "arg_path"]
    assert arguments.iloc[0].dropna().to_dict() == {
        "arg_relu": "yes",
        "arg_scale": "0.5",
        "arg_middle": "12",
    }
    assert arguments.iloc[1].dropna().to_dict() == {"arg_path": "a|b"}


def test_no_runs_make_an_empty_table_with_its_columns() -> None:
    frame = to_frame([])
    assert len(frame) == 0
    assert frame.columns[0] == "spec"
    assert frame.columns[-1] == "reason"


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

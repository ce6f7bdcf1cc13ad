"""The run, report and export commands in this process, on tiny graphs."""

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import write
from tests.helpers.command import CalmCommand, by_case, invoke, only_run, rows

WEIGHT = "{" + ", ".join(f"{n / 64}" for n in range(64)) + "}> { y = MatMul(x, w) }"
SHORT = ["--quick", "--precision", "90%", "--max-time", "4s"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


def test_a_run_prints_and_writes_its_table_and_report_does_so_again(bench: CalmCommand) -> None:
    files = ["--export-csv", "t.csv", "--export-markdown", "t.md"]
    result = bench.run("small.onnx", *SHORT, *files)
    assert "p50 (ms)" in result.stdout
    assert "Records: " in result.stderr
    assert "Records: " not in result.stdout
    (row,) = rows(Path("t.csv").read_text())
    assert row["status"] == "ok"
    assert float(row["latency_p50_ms"]) > 0
    assert "| small |" in Path("t.md").read_text()
    run = only_run()
    assert (run.context.plan["sessions"], {b.session for b in run.records[0].bursts}) == (1, {0})
    assert invoke("report").stdout == invoke("report", "small.onnx").stdout == result.stdout
    again = invoke("report", str(run.path), "--format", "csv")
    assert again.stdout == Path("t.csv").read_text()
    data = json.loads(invoke("report", "--format", "json", "--output", "-").stdout)
    assert data[0]["spec"] == "small"
    newest = run.path.with_name(f"2999{run.path.name[4:]}")
    newest.write_text("{}\n")
    for names in ([], ["small.onnx"]):
        passed = invoke("report", *names)
        assert (passed.exit_code, passed.stdout) == (0, result.stdout)
        (line,) = passed.stderr.splitlines()
        assert line.startswith(f"Warning: {newest}: not a run")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinities")
def test_a_run_has_the_processes_and_stays_on_the_processor_it_was_given(
    bench: CalmCommand,
) -> None:
    cpu = max(os.sched_getaffinity(0))
    bench.run("small.onnx", *SHORT, "--cpus", str(cpu), "--sessions", "2")
    run = only_run()
    assert run.context.cpus == [cpu]
    assert set(run.records[0].affinity or ()) == {str(cpu)}
    assert {burst.session for burst in run.records[0].bursts} == {0, 1}


def test_cases_of_any_kind_are_compared_and_exported_as_timed(
    bench: CalmCommand, spec: Path
) -> None:
    names = ["large.onnx", f"{spec.name}:width=8"]
    found = by_case(bench.compare(*names, *SHORT, "--export-csv", "-").stdout)
    assert list(found) == ["large", "mine:width=8"]
    assert found["mine:width=8"]["verdict"] == "FASTER"
    assert {row["published"] for row in found.values()} == {""}
    bench("export", *names, "--output", "out")
    manifest = json.loads(Path("out/manifest.json").read_text())
    timed = {record.graph["sha256"] for record in only_run().records if record.graph}
    assert {entry["sha256"] for entry in manifest["graphs"]} == timed
    files = [Path("out") / entry["file"] for entry in manifest["graphs"]]
    labels = [{e.key: e.value for e in onnx.load(str(file)).metadata_props} for file in files]
    assert [each["benchbox.spec"] for each in labels] == ["large", "mine"]
    assert labels[1]["benchbox.arguments"] == '{"width": 8}'
    assert {each["benchbox.graph_sha256"] for each in labels} == timed
    for file, entry in zip(files, manifest["graphs"], strict=True):
        data = file.read_bytes()
        assert sha256(data).hexdigest() == entry["file_sha256"]
        assert sha256(data[: entry["size_bytes"]]).hexdigest() == entry["sha256"]  # as timed
        bench("export", str(file), "--output", "again")
        assert (Path("again") / f"{file.stem}-{file.stem}.onnx").read_bytes() == data


def test_a_failed_case_is_a_row_and_with_a_dash_only_the_export_goes_to_stdout(
    bench: CalmCommand,
) -> None:
    result = bench.run("small.onnx", "bad.onnx", *SHORT, "--export-csv", "-", code=1)
    assert len(result.stdout.splitlines()) == 3
    assert "p50 (ms)" in result.stderr
    found = by_case(result.stdout)
    assert found["small"]["status"] == "ok"
    assert found["bad"]["status"] == "failed"
    assert "Blorp" in found["bad"]["reason"]
    assert found["bad"]["macs"] == found["bad"]["latency_p50_ms"] == ""


def test_an_imprecise_figure_ends_a_strict_run_with_5(bench: CalmCommand) -> None:
    arguments = ["small.onnx", "--precision", "0.0001%", "--max-time", "1s", "--sessions", "1"]
    result = bench.run(*arguments, "--strict", code=5)
    assert "imprecise" in result.stdout
    assert "give it more with --max-time" in " ".join(result.stdout.split())
    bench.run(*arguments)


def test_percentiles_have_columns_and_what_they_lack_is_said(bench: CalmCommand) -> None:
    Path("benchbox.toml").write_text("[run]\npercentiles = [95, 99]\n")
    result = bench.run("small.onnx", *SHORT, "--export-csv", "t.csv")
    assert all(f"{name} (ms)" in result.stdout for name in ("p95", "p99"))
    (row,) = rows(Path("t.csv").read_text())
    assert row["status"] == "ok"
    assert int(row["samples"]) >= 662
    percentiles = [float(row[f"latency_{name}_ms"]) for name in ("p50", "p95", "p99")]
    assert percentiles == sorted(percentiles)
    short = ["--max-time", "0.5s", "--percentiles", "99.9"]
    result = bench.run("large.onnx", *SHORT, *short, "--export-csv", "t.csv")
    assert "p99.9 needs 6636 samples, has " in " ".join(result.stdout.split())
    (row,) = rows(Path("t.csv").read_text())
    assert (row["status"], row["latency_p99.9_ms"]) == ("imprecise", "")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_numbers_of_threads_are_timed_in_one_run(bench: CalmCommand) -> None:
    swept = ["--threads", "1", "--threads", "2", "--batch", "1,4"]
    result = bench.run("open.onnx", *SHORT, *swept, "--export-csv", "t.csv")
    assert "speed-up over 1 thread" in result.stdout
    assert "\nbatch 4, threads 2\n" in result.stdout
    found = rows(Path("t.csv").read_text())
    assert [(row["threads"], row["batch"]) for row in found] == [(t, b) for t in "12" for b in "14"]
    assert all(float(row["speedup_by_threads"]) == 1 for row in found[:2])
    run = only_run()
    assert run.context.plan["threads"] == [1, 2]
    assert len({burst.session for record in run.records for burst in record.bursts}) == 1
    again = bench.run("open.onnx", *SHORT, "--threads", "1", "--batch", "1,4", "--resume", code=2)
    assert "cannot be resumed: " in again.stderr


def test_every_case_is_timed_at_every_batch(bench: CalmCommand) -> None:
    result = bench.run("open.onnx", *SHORT, "--batch", "1,4", "--export-csv", "t.csv")
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("batch ")] == ["batch 1", "batch 4"]
    found = rows(Path("t.csv").read_text())
    cases = [(row["case"], row["batch"]) for row in found]
    assert cases == [("open,batch=1", "1"), ("open,batch=4", "4")]
    one, four = (int(row["memory_access_bytes"]) for row in found)
    assert four == 4 * one
    assert invoke("report").stdout == result.stdout
    other = bench.run("open.onnx", *SHORT, "--batch", "1,2", "--resume", code=2)
    assert "cannot be resumed: batch was [1, 4] and is [1, 2] now" in other.stderr


def test_other_peoples_files_run_with_a_footnote(bench: CalmCommand) -> None:
    write("log", "g (float[64] x) => (float[64] y) { y = Log(x) }")
    write("rank", "g (float[a,b] x) => (float[1,n] y) { y = Relu(x) }")
    write("parts", "g (float[4] x) => (seq(float) y) { y = SequenceConstruct(x, x) }")
    table = "t = Constant<value = float[5] {1, 2, 3, 4, 5}>() y = Gather(t, ids)"
    write("ids", f"g (int64[1,seq] ids) => (float[1,seq] y) {{ {table} }}")
    names = ["log.onnx", "rank.onnx", "parts.onnx", "ids.onnx:seq=8"]
    options = ["--dim", "a=3", "--dim", "b=2", "--export-csv", "t.csv"]
    result = bench.run(*names, *options, *SHORT)
    assert {row["status"] for row in rows(Path("t.csv").read_text())} == {"ok"}
    text = " ".join(result.stdout.split())
    for note in (
        "values of output y are NaN or infinite",
        "output y is declared as 1xn and is 3x2, so each call allocates its outputs",
        "output y is of the kind seq(tensor(float)), so each call allocates its outputs",
        "latency may depend on the values of ids (0 to 4 here); give them with --input ids=FILE",
    ):
        assert note in text
    assert invoke("report").stdout == result.stdout
    np.save("ids.npy", np.arange(5).reshape(1, 5))
    given = bench.run("ids.onnx", "--input", "ids=ids.npy", *SHORT)
    assert "ids is sha256 " in given.stdout
    assert "latency may depend" not in given.stdout
    np.save("ids.npy", np.zeros((1, 5), np.int64))
    other = bench.run("ids.onnx", "--input", "ids=ids.npy", *SHORT, "--resume", code=2)
    assert "cannot be resumed: values was " in other.stderr


def test_a_run_in_float16_says_so_and_what_computed_it(bench: CalmCommand) -> None:
    arguments = ["small.onnx", *SHORT, "--export-csv", "t.csv"]
    result = bench.run(*arguments, "--dtype", "fp16")
    assert result.stdout.splitlines()[1].endswith("batch 1, fp16")
    (row,) = rows(Path("t.csv").read_text())
    assert row["dtype"] == "float16"
    run = only_run()
    (record,) = run.records
    assert run.context.plan["dtype"] == "fp16"
    assert (record.dtype, list(record.inputs)) == ("float16", ["x=16x16:float16"])
    assert record.types
    if record.types.get("float"):  # by the machine
        assert "computed in float32, between casts" in result.stdout
        assert "computed in float32" in row["reason"]
    resumed = bench.run(*arguments, "--resume", code=2)
    assert "cannot be resumed: dtype was 'fp16' and is none now" in resumed.stderr


@pytest.mark.parametrize("dtype", ["int8", "int8-dynamic"])
def test_a_quantised_run_says_so_and_what_computed_it(bench: CalmCommand, dtype: str) -> None:
    write("net", "g (float[1,8] x) => (float[1,8] y) <float[8,8] w = " + WEIGHT)
    result = bench.run("net.onnx", *SHORT, "--export-csv", "t.csv", "--dtype", dtype)
    assert result.stdout.splitlines()[1].endswith(f"batch 1, {dtype}")
    assert "a latency without an accuracy" in result.stdout
    (row,) = rows(Path("t.csv").read_text())
    assert (row["dtype"], row["macs"], row["params"]) == (dtype, "64", "64")
    (record,) = only_run().records
    assert any(
        name.startswith(("QLinearMatMul", "DynamicQ", "QGemm")) for name in record.types or ()
    )
    exported = invoke("export", "net.onnx", "--dtype", dtype, "-o", "out")
    assert exported.exit_code == 0
    assert Path(f"out/net-net-{dtype}.onnx").exists()


def test_costs_are_exported_as_numbers(bench: CalmCommand) -> None:
    assert bench
    files = ["--export-csv", "-", "--export-json", "t.json", "--export-markdown", "t.md"]
    result = invoke("show", "small.onnx", "bad.onnx", *files)
    assert result.exit_code == 0
    good, bad = rows(result.stdout)
    assert (good["case"], good["macs"], good["status"]) == ("small", "4096", "ok")
    assert (good["memory_access_bytes"], good["operators"]) == ("2048", "MatMul 1")
    assert (bad["status"], bad["macs"]) == ("ok", "")
    assert "FLOPs are a lower bound" in bad["reason"]
    first, _ = json.loads(Path("t.json").read_text())
    assert (first["macs"], first["graph_params"]) == (4096, None)
    assert "| small |" in Path("t.md").read_text()

"""The run, report and export commands in this process, on tiny graphs."""

import json
import os
from pathlib import Path

import pytest

from benchbox import records
from benchbox.report.frame import COLUMNS
from tests.helpers.command import CalmCommand, by_case, invoke, only_run, rows

SHORT = ["--quick", "--precision", "90%", "--max-time", "4s"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


def test_every_guideline_and_device_is_listed() -> None:
    result = invoke("list")
    assert {"g1", "g4", "cpu"} <= {line.split()[0] for line in result.stdout.splitlines() if line}
    assert result.stderr == ""


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
    assert len(run.records[0].bursts) >= 6
    assert invoke("report").stdout == invoke("report", "small.onnx").stdout == result.stdout
    again = invoke("report", str(run.path), "--format", "csv")
    assert again.stdout == Path("t.csv").read_text()
    data = json.loads(invoke("report", "--format", "json", "--output", "-").stdout)
    assert data[0]["spec"] == "small"


def test_with_a_dash_nothing_but_the_export_goes_to_stdout(bench: CalmCommand) -> None:
    result = bench.run("small.onnx", *SHORT, "--export-csv", "-")
    (row,) = rows(result.stdout)
    assert list(row)[: len(COLUMNS)] == list(COLUMNS)
    assert len(result.stdout.splitlines()) == 2
    assert "p50 (ms)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sessions"),
    [(["--max-time", "6s"], 3), (["--quick"], 1), (["--quick", "--sessions", "2"], 2)],
)
def test_a_run_has_three_processes_and_a_quick_one_has_one(
    bench: CalmCommand, arguments: list[str], sessions: int
) -> None:
    bench.run("small.onnx", "--precision", "90%", *arguments)
    run = only_run()
    assert run.context.plan["sessions"] == sessions
    (record,) = run.records
    assert {burst.session for burst in record.bursts} == set(range(sessions))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinities")
def test_a_run_stays_on_the_processor_it_was_given(bench: CalmCommand) -> None:
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        bench.run("small.onnx", *SHORT, "--cpus", str(cpu), "--results", f"r{cpu}")
        (path,) = Path(f"r{cpu}").glob("*/*.jsonl")
        run = records.read(path)
        assert run.context.cpus == [cpu]
        assert set(run.records[0].affinity or ()) == {str(cpu)}


def test_export_writes_what_is_timed_and_a_manifest(bench: CalmCommand, spec: Path) -> None:
    bench.run(str(spec), *SHORT)
    bench("export", str(spec), "--output", "out")
    manifest = json.loads(Path("out/manifest.json").read_text())
    timed = {record.graph["sha256"] for record in only_run().records if record.graph}
    assert {entry["sha256"] for entry in manifest["graphs"]} == timed
    assert all((Path("out") / entry["file"]).is_file() for entry in manifest["graphs"])


NETWORKS = ["run", "ghostnetv2", "shufflenetv2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "g9"], 2, "did you mean 'g"),
        (["run", "./missing.toml"], 2, "there is no such file"),
        (["run", "g2", "--device", "toaster"], 6, "unknown device 'toaster'"),
        (["run", "g2", "--device", "cuda"], 6, "cuda"),
        (["run", "g2", "--device", "cup"], 6, "did you mean 'cpu'?"),
        (["run", "g2", "-d", "cpu", "-d", "cpu"], 2, "--device cpu: given twice"),
        (["run", "g2", "-d", "cpu", "-d", "toaster"], 6, "unknown device 'toaster'"),
        (["run", "g2", "--threads", "0"], 2, "--threads 0"),
        (["run", "g2", "--threads", "4096"], 2, "--threads 4096"),
        (["run", "g2", "--cpus", "first"], 2, "--cpus first: write processors as 0,1 or 0-3"),
        (["run", "g2", "--cpus", "4095"], 2, "--cpus 4095: no processor 4095 usable here"),
        (["run", "g2", "--cpus", "0", "--threads", "2"], 2, "one processor for each of the 2"),
        (["--fast"], 2, "no such option: --fast (see benchbox -h)"),
        (["runn", "g2"], 2, "no such command 'runn'. Did you mean 'run'?"),
        (["run"], 2, "missing argument 'NAME...' (see benchbox run -h)"),
        (["run", "g2", "--dtype", "int8"], 2, "'--dtype': 'int8' is not one of 'fp32', 'fp16'"),
        (["device", "add"], 2, "missing argument 'NAME' (see benchbox device add -h)"),
        (["run", "g2", "--precision", "0"], 2, "--precision"),
        (["run", "g2", "--max-time", "soon"], 2, "--max-time soon"),
        (["run", "g2", "--export-csv", "-", "--export-json", "-"], 2, "only one export"),
        (["run", "g2", "--export-csv", "no/such/folder/t.csv"], 2, "its folder does not exist"),
        (["run", "g2", "--scale", "3"], 2, "no case has scale 3"),
        (["run", "g2", "g2"], 2, "named twice"),
        (["run", "g2", "--results", "/proc/none"], 1, "results cannot be written"),
        (["run", "g2", "--allow-emulated", "--sustained", "1m"], 2, "not with --sustained"),
        (["show", "os:getcwd"], 2, "--shape"),
        (["report", "nothing"], 2, "no run of 'nothing'"),
        (["run", "small.onnx", "--batch", "2"], 2, "--batch 2"),
        (["run", "small.onnx", "--shape", "z=16x16"], 2, "--shape z: the inputs are x"),
        (["run", "small.onnx", "--weights", "a.pth"], 2, "is a network"),
        ([*NETWORKS, "--shape", "x=1x3x100x100"], 2, "must be multiples of 32"),
        ([*NETWORKS, "--weights", "a.pth"], 2, "there are several networks"),
        ([*NETWORKS, "--weights", "ghostnetv2=no.pth"], 2, "--weights no.pth is not"),
    ],
)
def test_bad_input_gets_one_line_and_its_exit_code(
    arguments: list[str], code: int, message: str
) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_a_failed_case_is_a_row_and_the_others_are_kept(bench: CalmCommand) -> None:
    result = bench.run("small.onnx", "bad.onnx", *SHORT, "--export-csv", "-", code=1)
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


def test_every_case_is_timed_at_every_batch(bench: CalmCommand) -> None:
    result = bench.run("open.onnx", *SHORT, "--batch", "1,4", "--export-csv", "t.csv")
    table = result.stdout.splitlines()
    assert table[1].startswith("cpu, CPUExecutionProvider, 1 thread, batch 1, 4")
    assert [line for line in table if line.startswith("batch ")] == ["batch 1", "batch 4"]
    found = rows(Path("t.csv").read_text())
    assert [(row["case"], row["batch"]) for row in found] == [
        ("open,batch=1", "1"),
        ("open,batch=4", "4"),
    ]
    one, four = (int(row["memory_access_bytes"]) for row in found)
    assert four == 4 * one
    for row in found:
        images, batches = (float(row[f"{unit}_per_s"]) for unit in ("images", "batches"))
        assert images == pytest.approx(int(row["batch"]) * batches, rel=1e-4)
    assert invoke("report").stdout == result.stdout
    bench.run("open.onnx", *SHORT, "--batch", "1,4", "--resume")
    other = bench.run("open.onnx", *SHORT, "--batch", "1,2", "--resume", code=2)
    assert "cannot be resumed: batch was [1, 4] and is [1, 2] now" in other.stderr


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
    assert record.types is not None
    assert sum(record.types.values()) >= 1
    if record.types.get("float"):  # by the machine
        assert "computed in float32, between casts" in result.stdout
        assert "computed in float32" in row["reason"]
    resumed = bench.run(*arguments, "--resume", code=2)
    assert "cannot be resumed: dtype was 'fp16' and is none now" in resumed.stderr

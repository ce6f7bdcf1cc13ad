"""The command as a user has it: a process, its two streams, its exit code, its files."""

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from benchbox import records
from benchbox.report.frame import COLUMNS

BENCHBOX = [sys.executable, "-m", "benchbox"]
SHORT = ["--precision", "90%", "--max-time", "4s", "--quick"]
FOREVER = ["--precision", "0.0001%", "--max-time", "10m"]
MEASURED = {"ok", "imprecise"}  # which of the two is for the machine to say: it may be busy

WriteOnnx = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_tmp")]


def benchbox(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCHBOX, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def only_run(folder: Path = Path("results")) -> Path:
    (path,) = folder.glob("*/*.jsonl")
    return path


@pytest.fixture
def spec(in_tmp: Path) -> Path:
    """Two cases of one group that need torch for a second, and milliseconds to time."""
    (in_tmp / "mine.py").write_text(
        "from torch import nn\n\n"
        "def conv(width, groups=1):\n"
        "    return nn.Conv2d(width, width, 1, groups=groups, bias=False)\n"
    )
    path = in_tmp / "mine.toml"
    path.write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n[[cases]]\nargs = { width = 16, groups = 2 }\n"
    )
    return path


def test_help_lists_every_command() -> None:
    result = benchbox("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in ("list", "show", "run", "report", "export"))


def test_list_names_every_guideline_and_device() -> None:
    result = benchbox("list")
    assert [line.split()[0] for line in result.stdout.splitlines() if line[:2] in {"g1", "g4"}] == [
        "g1",
        "g4",
    ]
    assert "cpu" in result.stdout
    assert result.stderr == ""


def test_a_run_prints_its_table_and_keeps_its_samples(write_onnx: WriteOnnx) -> None:
    path = write_onnx("tiny")
    result = benchbox(
        "run", str(path), *SHORT, "--export-csv", "t.csv", "--export-markdown", "t.md"
    )
    assert result.returncode == 0, result.stderr
    assert "p50 (ms)" in result.stdout
    assert "Records: " in result.stderr
    assert "Records: " not in result.stdout
    (row,) = rows(Path("t.csv").read_text())
    assert row["status"] in MEASURED
    if row["status"] == "ok" or row["latency_p50_ms"]:  # a machine never quiet gives no figure
        assert float(row["latency_p50_ms"]) > 0
    assert "| tiny |" in Path("t.md").read_text()
    run = records.read(only_run())
    assert len(run.records[0].bursts) >= 6


@pytest.mark.parametrize(
    ("arguments", "sessions"),
    [(["--max-time", "6s"], 3), (["--quick"], 1), (["--quick", "--sessions", "2"], 2)],
)
def test_a_run_has_three_agents_one_after_the_other_and_a_quick_one_one(
    write_onnx: WriteOnnx, arguments: list[str], sessions: int
) -> None:
    result = benchbox("run", str(write_onnx()), "--precision", "90%", *arguments)
    assert result.returncode == 0, result.stderr
    run = records.read(only_run())
    assert run.context.plan["sessions"] == sessions
    (record,) = run.records
    assert {burst.session for burst in record.bursts} == set(range(sessions))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinities")
def test_a_run_stays_on_the_processor_it_was_given(write_onnx: WriteOnnx) -> None:
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        result = benchbox("run", str(write_onnx()), *SHORT, "--cpus", str(cpu), "--results", "r")
        assert result.returncode == 0, result.stderr
        run = records.read(max(Path("r").glob("*/*.jsonl"), key=lambda path: path.stat().st_mtime))
        assert run.context.cpus == [cpu]
        assert set(run.records[0].affinity or ()) == {str(cpu)}


def test_a_report_is_what_the_run_printed(write_onnx: WriteOnnx) -> None:
    path = write_onnx("tiny")
    run = benchbox("run", str(path), *SHORT, "--export-csv", "t.csv")
    assert benchbox("report").stdout == run.stdout
    assert benchbox("report", "tiny.onnx").stdout == run.stdout
    again = benchbox("report", str(only_run()), "--format", "csv")
    assert again.stdout == Path("t.csv").read_text()


def test_with_a_dash_nothing_else_goes_to_stdout(write_onnx: WriteOnnx) -> None:
    result = benchbox("run", str(write_onnx()), *SHORT, "--export-csv", "-")
    assert list(rows(result.stdout)[0])[: len(COLUMNS)] == list(COLUMNS)
    assert len(result.stdout.splitlines()) == 2
    data = json.loads(benchbox("report", "--format", "json", "--output", "-").stdout)
    assert data[0]["spec"] == "tiny"


@pytest.mark.usefixtures("shared_cache")
def test_a_warm_run_never_imports_torch(spec: Path) -> None:
    cold = benchbox("run", str(spec), *SHORT)
    assert cold.returncode == 0, cold.stderr
    poison = spec.parent / "poison"
    (poison / "torch").mkdir(parents=True)
    (poison / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
    (poison / "onnxscript.py").write_text("raise SystemExit('onnxscript was imported')\n")
    warm = benchbox("run", str(spec), *SHORT, PYTHONPATH=str(poison))
    assert warm.returncode == 0, warm.stderr
    assert benchbox("show", str(spec), PYTHONPATH=str(poison)).returncode == 0
    poisoned = benchbox(
        "show", str(spec), PYTHONPATH=str(poison), BENCHBOX_CACHE_DIR=str(poison / "cache")
    )
    assert "was imported" in poisoned.stdout  # so the poison works


@pytest.mark.usefixtures("shared_cache")
def test_export_writes_what_is_timed_and_a_manifest(spec: Path) -> None:
    assert benchbox("run", str(spec), *SHORT).returncode == 0
    result = benchbox("export", str(spec), "--output", "out")
    assert result.returncode == 0, result.stderr
    manifest = json.loads(Path("out/manifest.json").read_text())
    timed = {record.graph["sha256"] for record in records.read(only_run()).records if record.graph}
    assert {entry["sha256"] for entry in manifest["graphs"]} == timed
    assert all((Path("out") / entry["file"]).is_file() for entry in manifest["graphs"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "g9"], 2, "did you mean 'g"),
        (["run", "./missing.toml"], 2, "there is no such file"),
        (["run", "g2", "--device", "toaster"], 6, "unknown device 'toaster'"),
        (["run", "g2", "--device", "cuda"], 6, "cuda"),
        (["run", "g2", "--device", "cup"], 6, "did you mean 'cpu'?"),
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
        (["show", "os:getcwd"], 2, "--shape"),
        (["report", "nothing"], 2, "no run of 'nothing'"),
    ],
)
def test_bad_input_gets_one_line_and_its_exit_code(
    arguments: list[str], code: int, says: str
) -> None:
    result = benchbox(*arguments)
    assert result.returncode == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert says in line


def test_a_failed_case_is_a_row_and_the_others_are_kept(write_onnx: WriteOnnx) -> None:
    good = write_onnx("good")
    lacking = write_onnx("lacking", "g (float[4] x) => (float[4] y) { y = nowhere.Blorp(x) }")
    result = benchbox("run", str(good), str(lacking), *SHORT, "--export-csv", "-")
    assert result.returncode == 1
    by_name = {row["spec"]: row for row in rows(result.stdout)}
    assert by_name["good"]["status"] in MEASURED
    assert by_name["lacking"]["status"] == "failed"
    assert "Blorp" in by_name["lacking"]["reason"]
    assert by_name["lacking"]["macs"] == by_name["lacking"]["latency_p50_ms"] == ""


def test_an_imprecise_figure_is_said_and_ends_a_strict_run_with_5(write_onnx: WriteOnnx) -> None:
    arguments = ["run", str(write_onnx()), "--precision", "0.0001%", "--max-time", "1s"]
    arguments += ["--sessions", "1"]
    result = benchbox(*arguments, "--strict")
    assert result.returncode == 5
    assert "imprecise" in result.stdout
    assert "give it more with --max-time" in " ".join(result.stdout.split())
    assert benchbox(*arguments).returncode == 0


def start(*arguments: str, program: Sequence[str] = BENCHBOX) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_agent(process: subprocess.Popen[str], busy_s: float = 1.5) -> psutil.Process:
    """Return the agent once it has been timing for a moment; to load alone takes it 0.5 s."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):  # a child that ended between two looks
            for child in psutil.Process(process.pid).children():
                if "benchbox.agent" in child.cmdline() and child.cpu_times().user > busy_s:
                    return child
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no agent is timing: {process.communicate()}")


def has_ended(process: psutil.Process) -> bool:
    """Wait for it; whoever adopted it may take a while to reap it, so a zombie has ended too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured_and_can_be_resumed(
    write_onnx: WriteOnnx, number: int
) -> None:
    names = [str(write_onnx("a")), str(write_onnx("b"))]
    process = start("run", *names, *FOREVER)
    agent = wait_for_agent(process)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert has_ended(agent)
    assert "interrupted" in stdout
    assert "--resume" in stderr
    run = records.read(only_run())
    assert all(record.status != "ok" and record.bursts for record in run.records)
    before = [len(record.bursts) for record in run.records]
    resumed = benchbox("run", *names, *SHORT, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    run = records.read(only_run())
    assert {record.status for record in run.records} <= MEASURED
    assert all(len(r.bursts) > n for r, n in zip(run.records, before, strict=True))


def test_every_case_is_timed_at_every_batch(write_onnx: WriteOnnx) -> None:
    text = "open (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"
    path = str(write_onnx("open", text))
    result = benchbox("run", path, *SHORT, "--batch", "1,4", "--export-csv", "t.csv")
    assert result.returncode == 0, result.stderr
    table = result.stdout.splitlines()
    assert table[1].startswith("cpu, CPUExecutionProvider, 1 thread, batch 1, 4")
    assert [line for line in table if line.startswith("batch ")] == ["batch 1", "batch 4"]
    written = rows(Path("t.csv").read_text())
    assert [(row["case"], row["batch"]) for row in written] == [
        ("open,batch=1", "1"),
        ("open,batch=4", "4"),
    ]
    memory = [int(row["memory_access_bytes"]) for row in written]
    assert memory[1] == 4 * memory[0]
    for row in written:
        if row["latency_p50_ms"]:  # a machine never quiet gives no figure
            per_s = [float(row[f"{unit}_per_s"]) for unit in ("images", "batches")]
            assert per_s[0] == pytest.approx(int(row["batch"]) * per_s[1], rel=1e-4)
    assert benchbox("report").stdout == result.stdout
    again = benchbox("run", path, *SHORT, "--batch", "1,4", "--resume")
    assert again.returncode == 0, again.stderr
    other = benchbox("run", path, *SHORT, "--batch", "1,2", "--resume")
    assert other.returncode == 2
    assert "cannot be resumed: batch was [1, 4] and is [1, 2] now" in other.stderr


def test_a_run_in_float16_says_so_and_what_computed_it(write_onnx: WriteOnnx) -> None:
    name = str(write_onnx("tiny"))
    arguments = [name, *SHORT, "--export-csv", "t.csv"]
    result = benchbox("run", *arguments, "--dtype", "fp16")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].endswith("batch 1, fp16")
    (row,) = rows(Path("t.csv").read_text())
    assert row["dtype"] == "float16"
    run = records.read(only_run())
    (record,) = run.records
    assert run.context.plan["dtype"] == "fp16"
    assert (record.dtype, list(record.inputs)) == ("float16", ["x=32x32:float16"])
    assert record.types is not None
    assert sum(record.types.values()) >= 1
    if record.types.get("float") and record.latency:  # by the machine and how quiet it was
        assert "computed in float32, between casts" in result.stdout
        assert "computed in float32" in row["reason"]
    resumed = benchbox("run", *arguments, "--resume")
    assert resumed.returncode == 2
    assert "cannot be resumed: dtype was 'fp16' and is none now" in resumed.stderr


def test_a_killed_run_leaves_no_agent_and_a_file_that_can_be_read(write_onnx: WriteOnnx) -> None:
    process = start("run", str(write_onnx()), *FOREVER)
    agent = wait_for_agent(process)
    process.kill()
    process.communicate()
    assert has_ended(agent)
    assert records.read(only_run()).context.name == "tiny.onnx"


def test_a_killed_agent_costs_one_row(write_onnx: WriteOnnx) -> None:
    names = [str(write_onnx(name)) for name in "abc"]
    process = start("run", *names, "--precision", "0.0001%", "--max-time", "6s", "--sessions", "1")
    wait_for_agent(process).kill()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    statuses = sorted(record.status for record in records.read(only_run()).records)
    assert statuses == ["failed", "imprecise", "imprecise"]
    assert "SIGKILL" in stdout


def test_two_runs_at_once_keep_to_their_own_files(write_onnx: WriteOnnx) -> None:
    path = str(write_onnx())
    processes = [start("run", path, *SHORT) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    runs = [records.read(found) for found in Path("results").glob("*/*.jsonl")]
    assert len(runs) == 2
    for run in runs:
        (record,) = run.records
        assert record.status in MEASURED
        assert {burst.session for burst in record.bursts} == {0}


def test_a_run_that_another_process_writes_cannot_be_resumed(write_onnx: WriteOnnx) -> None:
    path = str(write_onnx())
    process = start("run", path, *FOREVER)
    wait_for_agent(process)
    result = benchbox("run", path, *SHORT, "--resume")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert result.returncode == 2
    assert "another run is writing to it" in result.stderr


def test_results_that_fill_up_go_to_a_rescue_file(write_onnx: WriteOnnx) -> None:
    limited = f"ulimit -f 2; trap '' XFSZ; exec {sys.executable} -m benchbox run {write_onnx()}"
    result = subprocess.run(
        ["/bin/bash", "-c", f"{limited} --precision 0.0001% --max-time 4s"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(Path.cwd())},
    )
    assert result.returncode == 1, result.stderr
    assert "cannot be written" in result.stderr
    assert "p50 (ms)" in result.stdout  # the table is printed all the same


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    process = start("list")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=30)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_defaults_come_from_benchbox_toml_and_the_environment() -> None:
    Path("benchbox.toml").write_text('[run]\ndevice = "toaster"\n')
    assert "unknown device 'toaster'" in benchbox("run", "g1").stderr
    assert "unknown device 'kettle'" in benchbox("run", "g1", BENCHBOX_DEVICE="kettle").stderr
    Path("benchbox.toml").write_text("[run]\nspeed = 3\n")
    assert "run.speed: there is no such option" in benchbox("run", "g1").stderr


@pytest.mark.parametrize("command", [["doctor"], ["profile", "g1"]])
def test_several_devices_in_the_environment_are_too_many_for_what_takes_one(
    command: list[str],
) -> None:
    result = benchbox(*command, BENCHBOX_DEVICE="cpu box")
    said = "Error: --device cpu box: this command takes one; name it with --device\n"
    assert (result.returncode, result.stderr) == (2, said)

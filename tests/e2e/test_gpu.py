"""Runs on a stand-in for a GPU, from the command line to the table and back from the record."""

import re

import pytest
from typer.testing import Result

from benchbox.records import Run
from tests.conftest import WriteOnnx
from tests.fakegpu import building
from tests.fakegpu.building import Libraries
from tests.helpers import explained

RUN = ("--device", "cuda", "--quick", "--precision", "90%", "--max-time", "10s")
ONE = "one (float[32,32] x) => (float[32,32] y) { y = Relu(x) }"
TWO = "two (float[32,32] x) => (float[32,32] y) { a = MatMul(x, x) y = Relu(a) }"
WORDS = {
    "the GPU's hardware slowed its clock down": "look at its power supply and its cooling",
    "the GPU was too hot for its clock": "let it cool down",
    "the GPU's power limit held its clock down": "give it a higher power limit",
    "other processes computed on the GPU": "end those (nvidia-smi lists them)",
}
pytestmark = pytest.mark.slow


def one_line(ended: Result) -> str:
    (line,) = ended.stderr.strip().splitlines()
    return line


def timed(gpu: Libraries, *arguments: str, device: str = "cuda", **how: str) -> tuple[str, Run]:
    """What a run that succeeds prints, and its record."""
    ended = gpu.benchbox("run", *RUN, *arguments, **how)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout, gpu.newest(device)


def test_a_run_shows_what_a_caller_waits_and_what_the_gpu_takes(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    shown, run = timed(fake_gpu, str(write_onnx()), "--export-csv", "t.csv")
    about = shown.splitlines()[1:3]
    assert about[0] == "cuda, CUDAExecutionProvider, CUDA graph, cache hot, no TF32, batch 1"
    assert about[1].startswith("NVIDIA Stand-in, driver 580.95.05, CUDA 13.0, ONNX Runtime ")
    for text in ("p50 (ms)", "GPU (ms)", "with copies (ms)", "launch share is the rest of p50"):
        assert text in shown
    (record,) = run.records
    assert record.spans is not None
    assert record.latency is not None
    assert record.spans.span_s == pytest.approx(50e-6)  # 50 MB at 1 us each
    assert record.spans.launch_share == pytest.approx(1 - 50e-6 / record.latency.p50_s)
    assert record.nodes == {"CUDAExecutionProvider": 1}
    assert record.gpu_bytes == 400 << 20  # what the stand-in takes for a session
    assert (fake_gpu.work / "t.csv").read_text().count("tf32,conv_search,") == 1
    assert "of the bursts that count" not in shown  # nothing slows this GPU down
    kept = record.bursts[0]
    assert len(kept.spans_ns) == len(kept.enqueues_ns) == len(kept.latencies_ns)
    assert len(kept.copies_ns) == 3
    assert explained.unexplained(run.path) == set()


def test_the_record_says_which_gpu_it_was_and_nothing_that_tells_it_from_its_like(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    how = ("--conv-search", "heuristic", "--tf32", "--cache", "cold")
    shown, run = timed(fake_gpu, str(write_onnx()), *how)
    assert "cache cold" in shown
    assert all(burst.cold for burst in run.records[0].bursts)  # flushed before its calls
    gpu = run.context.host["gpu"]
    known = [gpu[name] for name in ("name", "driver", "power_limit_w")]
    assert known == ["NVIDIA Stand-in", "580.95.05", 700]
    assert not {"uuid", "serial", "bus_id"} & gpu.keys()
    driven = {"mode": "graph", "cache": "cold", "tf32": True, "conv_search": "heuristic"}
    assert run.context.plan | driven == run.context.plan
    assert run.context.channels == "gpu"


def test_both_modes_are_two_columns_and_a_run_is_not_resumed_in_another(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    path = str(write_onnx())
    shown, run = timed(fake_gpu, path, "--mode", "graph,eager", device="cuda-eager")
    own = [f"cuda-{mode}{part}" for mode in ("graph", "eager") for part in ("", ", GPU")]
    for header in (*(f"{name} (ms)" for name in own), "cuda-eager, launch share"):
        assert header in shown
    assert "cuda: launched kernel by kernel a call took " in shown
    assert run.context.plan["mode"] == "eager"
    timed(fake_gpu, path, "--mode", "eager")
    refused = fake_gpu.benchbox("run", path, *RUN, "--cache", "cold", "--resume")
    text = "mode was 'eager' and is 'graph' now; cache was 'hot' and is 'cold' now"
    assert text in refused.stderr


def test_a_provider_that_falls_back_to_the_processor_is_no_gpu(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    ended = fake_gpu.benchbox("run", str(write_onnx()), *RUN, ort="falls back")
    assert ended.exit_code == 6
    assert "runs on CPUExecutionProvider, not on CUDAExecutionProvider" in one_line(ended)
    assert not list(fake_gpu.work.rglob("*.jsonl"))


def test_why_a_provider_s_library_does_not_load_is_told(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    cc = building.compiler()
    assert cc is not None, "the fixture has one"
    gpu = fake_gpu.copy()
    part = gpu.folder / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so"
    source = gpu.work / "part.c"
    source.write_text("int cudaMallocHost(void); int part(void) { return cudaMallocHost(); }\n")
    building.build(cc, source, part)
    ended = gpu.benchbox("run", str(write_onnx()), *RUN, ort="falls back")
    assert ended.exit_code == 6
    why = f"({part.name}: undefined symbol: cudaMallocHost)"
    assert f"ONNX Runtime's part for CUDA cannot be loaded {why}: pip install" in one_line(ended)


CONSTANT = "c (float[32,32] x) => (float[2] y) <float[2] a = {1, 2}> { y = Relu(a) }"


@pytest.mark.parametrize(
    ("graph", "ort", "options", "reason"),
    [
        (ONE, "idle Relu", (), "its CUDA graph does not compute output 'y' as the first call did"),
        (ONE, "wrong Relu", ("--mode", "eager", "--tf32"), "output 'y' on the GPU is .*not timed"),
        (ONE, "left Relu", ("--mode", "eager"), "none of its nodes runs on CUDAExec"),
        (CONSTANT, "", ("--mode", "eager"), "no node left to run"),
        (TWO, "left Relu", (), "^RuntimeError: it cannot be captured as .* with --mode eager$"),
    ],
)
def test_a_graph_that_the_gpu_does_not_compute_has_no_figure(
    fake_gpu: Libraries,
    write_onnx: WriteOnnx,
    graph: str,
    ort: str,
    options: tuple[str, ...],
    reason: str,
) -> None:
    path = str(write_onnx("graph", graph))
    ended = fake_gpu.benchbox("run", path, *RUN, *options, ort=ort)
    assert ended.exit_code == 1
    (record,) = fake_gpu.newest("cuda").records
    assert (record.status, record.latency) == ("failed", None)
    assert re.search(reason, record.reason), record.reason


def test_a_constant_beside_what_a_replay_computes_is_no_wrong_output(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    text = (
        "two (float[32,32] x) => (float[32,32] y, float[32,32] z) <int64[2] s = {32, 32}> "
        "{ y = Relu(x) a = ConstantOfShape(s) z = Exp(a) }"
    )
    _, run = timed(fake_gpu, str(write_onnx("two", text)), ort="fixed 1")
    assert run.records[0].latency is not None


def test_a_case_that_loses_the_gpu_takes_no_other_with_it(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    bad, good = str(write_onnx("two", TWO)), str(write_onnx())
    assert fake_gpu.benchbox("run", bad, good, *RUN, ort="lose Relu").exit_code == 1
    lost, kept = fake_gpu.newest("cuda").records
    assert (lost.status, kept.latency is not None) == ("failed", True)
    assert "an illegal memory access was encountered" in lost.reason


@pytest.mark.parametrize(("memory", "sessions"), [(1.2e9, [0, 3, 2]), (0.9e9, [])])
def test_cases_that_do_not_fit_a_gpu_together_are_timed_one_after_the_other(
    fake_gpu: Libraries, write_onnx: WriteOnnx, memory: float, sessions: list[int]
) -> None:
    paths = [str(write_onnx(name, ONE.replace("one", name))) for name in ("a", "b", "c")]
    how = ("-d", "cuda", "--quick", "--precision", "90%", "--max-time", "8s")
    ended = fake_gpu.benchbox("compare", *paths, *how, cuda=f"memory {memory:.0f}")
    found = fake_gpu.newest("cuda").records
    first = [min(b.session for b in r.bursts) for r in found if r.bursts]
    assert first == sessions, ended.stderr
    full = ["the GPU's memory is full" in record.reason for record in found]
    assert all(full) == (not sessions)


def test_what_disturbs_the_gpu_is_kept_with_the_samples(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    under = "process 999999 1000\nprocess 999998 1000\nreasons 44"
    ended = fake_gpu.benchbox("run", str(write_onnx()), *RUN, nvml=under)
    bursts = fake_gpu.newest("cuda").records[0].bursts
    all_of_it = {"gpu_hardware", "gpu_power", "gpu_hot", "gpu_shared"}
    assert all(all_of_it <= set(burst.tags) for burst in bursts)
    assert bursts[0].seen["gpu_other_memory_bytes"] == 2000
    for cause, help_ in WORDS.items():
        assert f"in 100% of the bursts that count {cause}; {help_}" in ended.stdout
        now = cause.replace("other processes", "2 other processes")
        assert f"Warning: when the run began {now}; {help_}" in ended.stderr


def test_a_host_that_is_slow_by_turns_is_seen_and_is_no_latency(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    how = ("--precision", "0.01%", "--max-time", "2s")
    _, run = timed(fake_gpu, str(write_onnx()), *how, ort="slow_every 150")
    (record,) = run.records
    host = record.gate.host
    assert host is not None
    readings = [ns for burst in record.bursts for _, ns in burst.host_marks]
    assert max(readings) > 1.5 * min(readings)
    assert sum(not host.holds(ns) for ns in readings) > len(readings) / 10
    tagged = [burst for burst in record.bursts if {"slow", "fast"} & set(burst.tags)]
    assert len(tagged) > len(record.bursts) / 10
    assert record.latency is None or record.latency.quiet_share < 0.9
    assert record.spans is not None  # it is none of the GPU's business
    assert record.spans.span_s == pytest.approx(50e-6)
    assert not any("gpu_slow" in burst.tags for burst in record.bursts)


def test_ceilings_are_measured_kept_and_set_beside_the_cases(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    checked = fake_gpu.benchbox("device", "check", "cuda", nvml="process 999999 1000")
    assert checked.exit_code == 0, checked.stderr
    for text in ("NVIDIA Stand-in", "580.95.05", "700 W", "1 process; end it first", "2000 GB/s"):
        assert text in checked.stdout
    assert checked.stdout.endswith("is ready; tables now show each case's share of these\n")
    path = str(write_onnx())
    shown, _ = timed(fake_gpu, path)
    assert "the least time that what binds a case, memory (all cases)" in shown
    of_part, run = timed(fake_gpu, path, cuda="memory 20000000000")
    assert "of ceiling" not in of_part  # those of the whole are no measure for it
    assert run.context.host["gpu"]["memory_bytes"] == 20_000_000_000


def test_ceilings_that_cannot_be_kept_are_not_promised(
    fake_gpu: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", "/proc/nope")
    under = "reasons 128\nprocess 999999 1\nprocess 999998 1"
    checked = fake_gpu.benchbox("device", "check", "cuda", nvml=under)
    assert checked.exit_code == 0, checked.stderr
    assert "held down by   the power brake of its hardware\n" in checked.stdout
    assert "2 processes; end them first" in checked.stdout
    said = "tables cannot show each case's share of these, as /proc/nope cannot be written\n"
    assert checked.stdout.endswith(said)


@pytest.mark.parametrize(
    ("cuda", "message"),
    [
        ("devices 0", "no CUDA-capable device is detected"),
        ("driver 12000\nfail cudaGetDeviceCount 35", "update the driver to 580 or newer"),
        ("devices 1", "there is no GPU 1: CUDA sees 1, counted from 0"),
    ],
)
def test_a_gpu_that_is_not_to_be_had_is_one_line_before_any_graph(
    fake_gpu: Libraries, cuda: str, message: str
) -> None:
    ended = fake_gpu.benchbox("run", "g2", "--device", "cuda:1", cuda=cuda)
    assert ended.exit_code == 6
    assert one_line(ended).startswith("Error: device 'cuda-1': ")
    assert message in one_line(ended)


def test_a_gpu_without_nvml_is_timed_and_says_what_is_not_known(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    shown, _ = timed(fake_gpu, str(write_onnx()), nvml="fail nvmlInitWithFlags 9")
    assert "the GPU's clock, power and temperature cannot be read" in shown
    assert "what slowed it down is not known" in shown

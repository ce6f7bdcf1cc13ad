"""PyTorch beside ONNX Runtime: real modules in real processes; a GPU's calls by a scripted one."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from benchbox import devices, export, providers
from benchbox.agent import stdio
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError, UsageError
from benchbox.export import Graph
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec, with_dtype
from benchbox.torch_agent import compiling, cuda
from benchbox.transports import Agent, open_agent
from benchbox.transports.local import ROOT
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries

MINE = '''
import os
from pathlib import Path

import torch
from torch import nn


def norm(c=4):
    """Batch norms that change what they are given."""
    layers = nn.Sequential(nn.Conv2d(3, c, 3), nn.BatchNorm2d(c), nn.ReLU())
    layers[1].running_mean.normal_()
    layers[1].running_var.uniform_(0.5, 2)
    return layers


def linear(c):
    return nn.Sequential(nn.Linear(8, c))


def chance(c):
    torch.manual_seed(int.from_bytes(os.urandom(4), "big"))
    return nn.Linear(8, c)


def once(c):
    built = Path(__file__).with_name("built")
    if built.exists():
        raise RuntimeError("it was built before")
    built.touch()
    return nn.Linear(8, c)
'''
SHAPES = {"norm": (1, 3, 16, 16), "linear": (1, 8), "chance": (1, 8), "once": (1, 8)}
QUICK = ("--quick", "--max-time", "1s", "--sessions", "1")

Ready = tuple[Case, Graph]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("builders") / "mine.py"
    path.write_text(MINE)
    return path


@pytest.fixture
def ready(mine: Path, shared_cache: Path) -> Callable[..., Ready]:
    """Return a function that exports one of the builders."""
    assert shared_cache

    def make(name: str, c: int = 4) -> Ready:
        source = Builder(f"mine.py:{name}", mine)
        case = Case("m", f"{name}{c}", {}, {"c": c}, (TensorSpec("x", SHAPES[name]),), 1, source)
        graph = export.prepare([case])[case.key]
        assert isinstance(graph, Graph), graph
        return case, graph

    return make


def place(provider: str = "torch", threads: int = 1, cpus: tuple[int, ...] = ()) -> Device:
    return Device(f"cpu-{provider}", provider, threads, "arm", cpus)


def load(agent: Agent, ready: Ready, seed: int = 7) -> Any:
    case, graph = ready
    module = export.recipe(case)
    return agent.load(case.key, str(graph.path), case.inputs, seed, denormals=True, module=module)


def benchbox(*args: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*args), cwd=folder, env=beside(env), capture_output=True, text=True
    )


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "benchbox", *args]


def beside(env: Mapping[str, str] = {}) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **env}


# what is built, and how it is checked


def test_a_module_equals_its_graph_and_is_timed(ready: Callable[..., Ready]) -> None:
    with open_agent(place()) as agent:
        loaded = load(agent, ready("norm"))
        (timed,) = agent.time([("m:norm4", 5)], [0.1])
    assert agent.hello["providers"] == ["torch"]
    assert "onnxruntime" not in agent.hello["versions"]
    assert len(timed.latencies_ns) == 5
    assert min(timed.latencies_ns) > 0
    assert loaded.load_s > 0
    assert loaded.first_call_s > 0
    assert loaded.denormal_ratio is None or loaded.denormal_ratio > 0
    assert loaded.span_s is None


def test_a_module_in_half_equals_its_float16_graph(ready: Callable[..., Ready]) -> None:
    (case,) = with_dtype([ready("norm")[0]], "fp16")
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, Graph), graph
    with open_agent(place()) as agent:
        assert load(agent, (case, graph)).types is None
        (timed,) = agent.time([("m:norm4", 3)], [0.1])
    assert len(timed.latencies_ns) == 3


def test_a_module_whose_weights_are_others_is_refused(ready: Callable[..., Ready]) -> None:
    with open_agent(place()) as agent:
        with pytest.raises(CaseError) as refused:
            load(agent, ready("chance"))
        assert load(agent, ready("norm")).first_call_s > 0, "the agent goes on"
    said = str(refused.value)
    assert said.startswith("output 1: ONNX Runtime differs from torch by ")
    assert said.endswith("more than 0.0001; such a graph is not timed")


def test_a_builder_that_fails_is_the_cases_error(ready: Callable[..., Ready]) -> None:
    with open_agent(place()) as agent, pytest.raises(CaseError, match="it was built before"):
        load(agent, ready("once"))


def test_an_onnx_file_has_no_module(write_onnx: WriteOnnx) -> None:
    case = Case("t", "t", {}, {}, (TensorSpec("x", (32, 32)),), 1, OnnxFile(write_onnx()))
    with pytest.raises(CaseError) as refused:
        export.recipe(case)
    assert str(refused.value) == ("tiny.onnx has no module; only ONNX Runtime runs an .onnx file")


def test_an_onnx_file_is_a_failed_row(write_onnx: WriteOnnx, tmp_path: Path) -> None:
    done = benchbox("run", str(write_onnx()), "--provider", "torch", *QUICK, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "tiny.onnx has no module; only ONNX Runtime runs an .onnx file" in done.stdout


@pytest.mark.usefixtures("two_cpus")
def test_every_thread_of_torch_has_a_processor_of_its_own(ready: Callable[..., Ready]) -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    with open_agent(place("torch", 2, (second, first))) as agent:
        masks = load(agent, ready("norm")).affinity
    assert masks is not None
    assert masks[0] == str(second), "the calling thread"
    assert masks.count(str(first)) == 2, "the other one of the pool, and the sentinel's"


# torch.compile


@pytest.mark.slow
def test_modules_of_one_class_are_each_compiled(ready: Callable[..., Ready]) -> None:
    """All three are an nn.Sequential, whose one forward method is compiled for each."""
    device = place("torch-compile")
    try:
        compiling.require()
    except ValueError as error:
        with pytest.raises(DeviceError, match=str(error)):
            open_agent(device)
        return
    with open_agent(device) as agent:
        loads = [load(agent, ready(*each)) for each in (("norm", 4), ("linear", 4), ("linear", 6))]
        timed = list(agent.time([("m:norm4", 3), ("m:linear6", 3)], [0.1, 0.1]))
    assert agent.hello["versions"]["compiler"]
    assert all(each.load_s > each.first_call_s for each in loads), "the compiling is in load_s"
    assert [len(each.latencies_ns) for each in timed] == [3, 3]


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError) as refused:
        open_agent(place("torch-compile"))
    assert str(refused.value) == (
        "device 'cpu-torch-compile': torch.compile needs a C++ compiler, and there is no "
        "no-such-compiler; install one, or name one in CXX"
    )
    assert compiling.compiler_version() == ""


# a GPU


class Gpu:
    """Writes down what is asked of it; every call between two marks takes a millisecond."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now_ms = 0.0

    def call(self) -> str:
        self.asked.append("call")
        self.now_ms += 1.0
        return "result"

    def synchronize(self) -> None:
        self.asked.append("synchronize")

    def hold(self, ns: int) -> None:
        self.asked.append(f"hold {ns}")

    def event(self) -> cuda.Event:
        return Mark(self)

    def side_stream(self) -> cuda.Stream:
        return Queue(self, "side")

    def current_stream(self) -> cuda.Stream:
        return Queue(self, "current")

    def on(self, stream: cuda.Stream) -> Any:
        return self._meanwhile(f"on {stream}")

    def new_graph(self) -> cuda.Graph:
        return Replayed(self)

    def capturing(self, graph: cuda.Graph) -> Any:
        assert isinstance(graph, Replayed)
        return self._meanwhile("capture")

    @contextmanager
    def _meanwhile(self, what: str) -> Iterator[None]:
        self.asked.append(what)
        yield
        self.asked.append("end")


class Mark:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at_ms = gpu, 0.0

    def record(self) -> None:
        self.gpu.asked.append("record")
        self.at_ms = self.gpu.now_ms

    def elapsed_time(self, end: cuda.Event) -> float:
        assert isinstance(end, Mark)
        assert self.gpu.asked[-1] == "synchronize", "both marks must be reached"
        return end.at_ms - self.at_ms


class Queue:
    def __init__(self, gpu: Gpu, name: str) -> None:
        self.gpu, self.name = gpu, name

    def __str__(self) -> str:
        return self.name

    def wait_stream(self, stream: cuda.Stream) -> None:
        self.gpu.asked.append(f"{self} waits for {stream}")


class Replayed:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def replay(self) -> None:
        self.gpu.asked.append("replay")


def test_a_call_on_a_gpu_ends_when_the_gpu_is_done() -> None:
    gpu = Gpu()
    assert cuda.awaited(gpu, gpu.call)() == "result"
    assert gpu.asked == ["call", "synchronize"]


def test_a_capture_follows_calls_in_another_queue_and_is_replayed() -> None:
    gpu = Gpu()
    replay = cuda.captured(gpu, gpu.call)
    warm = ["call"] * cuda.WARMUPS
    assert gpu.asked == [
        *("side waits for current", "on side", *warm, "end", "current waits for side"),
        *("capture", "call", "end"),
    ]
    gpu.asked.clear()
    assert [replay(), replay()] == ["result", "result"]
    assert gpu.asked == ["replay", "replay"]


def test_the_span_is_what_the_gpu_takes_between_two_marks() -> None:
    gpu = Gpu()
    assert cuda.span_s(gpu, gpu.call, lambda: len(gpu.asked) * 1000) == pytest.approx(0.001)
    assert gpu.asked[:2] == ["call", "synchronize"]
    # As long as it took to queue the call, twice, and some more: all of it is there then.
    held = ["hold 52000", "record", "call", "record", "synchronize"]
    assert gpu.asked[2:] == held * cuda.SPANS


def test_a_gpu_that_torch_cannot_use_is_told_of_in_one_line() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceError, match=r"device 'cuda-torch': this torch .*--device cpu$"):
        open_agent(devices.resolve("cuda", provider="torch"))


# names


def test_several_providers_are_named_one_after_the_other() -> None:
    assert providers.several("cpu, torch,torch-compile") == [
        providers.CPU,
        "torch",
        "torch-compile",
    ]
    with pytest.raises(UsageError, match="torch is named twice"):
        providers.several("torch,torch")
    with pytest.raises(UsageError, match="did you mean 'torch-compile'"):
        providers.several("cpu,torch-compiled")


def test_a_device_has_the_provider_in_its_name() -> None:
    assert devices.resolve("cpu").name == "cpu"
    assert devices.resolve("cpu", provider="torch").name == "cpu-torch"
    assert devices.resolve("cpu", None, "big", "torch-compile").name == "cpu-big-torch-compile"


@pytest.mark.parametrize("provider", [providers.CPU, "torch", providers.named("xnnpack")])
def test_the_name_without_its_provider_is_that_of_the_device(provider: str) -> None:
    assert providers.without(providers.beside("cpu-big", provider), provider) == "cpu-big"


@pytest.mark.parametrize(("name", "own", "gpu"), [("cuda", "cuda", 0), ("cuda:1", "cuda-1", 1)])
def test_a_gpu_is_torchs_own_device(name: str, own: str, gpu: int) -> None:
    device = devices.resolve(name, provider="torch-cudagraph")
    assert (device.name, device.gpu) == (f"{own}-torch-cudagraph", f"cuda:{gpu}")
    assert device.channels == "gpu"


def test_cuda_graphs_are_refused_on_a_processor() -> None:
    with pytest.raises(DeviceError, match="CUDA graphs are captured on GPUs only"):
        devices.resolve("cpu", provider="torch-cudagraph")


def test_torch_is_refused_on_a_board() -> None:
    with pytest.raises(DeviceError, match="torch is timed on the machine that benchbox runs on"):
        devices.resolve("ssh://pi@board", provider="torch")


def test_a_device_that_claims_to_be_arm_does_so_by_torch_too() -> None:
    assert Device("arm-torch", "torch", 1, "arm").claims_arm
    assert Device("arm-big-torch", "torch", 1, "arm", "big").claims_arm
    assert not Device("armchair-torch", "torch", 1, "arm").claims_arm


def test_a_refusal_stands_without_the_name_of_an_exception() -> None:
    assert stdio.sentence(stdio.Refusal("it is\nnot equal")) == "it is not equal"
    assert stdio.sentence(ValueError("no")) == "ValueError: no"


# the command line


@pytest.mark.usefixtures("shared_cache")
def test_one_table_has_a_column_for_each_provider(mine: Path, tmp_path: Path) -> None:
    args = ("run", f"{mine}:norm", "--shape", "x=1x3x16x16", *QUICK, "--export-csv", "t.csv")
    done = benchbox(*args, "--provider", "cpu,torch", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (header,) = [line for line in done.stdout.splitlines() if line.startswith("case")]
    assert re.split(" {2,}", header)[-2:] == ["cpu (ms)", "cpu-torch (ms)"]
    assert "cpu-torch: PyTorch's own module in eager mode" in done.stdout
    assert "cpu-torch: its batch norms are as in the module; the ONNX graph has" in done.stdout
    assert any(line.startswith("cpu-torch, torch, 1 thread") for line in done.stdout.splitlines())
    rows = pd.read_csv(tmp_path / "t.csv")
    assert list(rows["provider"]) == [providers.CPU, "torch"]
    assert list(rows["device"]) == ["cpu", "cpu-torch"]
    again = benchbox(*args, "--provider", "torch", "--resume", folder=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.usefixtures("shared_cache")
def test_ctrl_c_keeps_what_there_is_and_leaves_no_process(mine: Path, tmp_path: Path) -> None:
    args = ("run", f"{mine}:norm", "--provider", "torch", "--max-time", "60s")
    process = subprocess.Popen(
        command(*args, "--shape", "x=1x3x16x16", "--precision", "0.01%"),
        cwd=tmp_path,
        env=beside(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        until(
            lambda: any("latencies_ns" in f.read_text() for f in tmp_path.glob("results/*/*.jsonl"))
        )
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "--resume" in said
    assert children
    until(lambda: not any(map(psutil.Process.is_running, children)))


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


WATCH = """
from benchbox.torch_agent.runtime import watcher
found = watcher(0, {version!r})
result = found and found.look()["gpu_other_processes"]
"""


def test_nvml_watches_the_gpu_that_torch_runs_on(fake_gpu: Libraries) -> None:
    told = "process self 1\nprocess 999999 1000"
    assert fake_gpu.run(WATCH.format(version="13.0"), nvml=told) == 1


@pytest.mark.parametrize(("version", "nvml"), [("None", ""), ("13.0", "fail nvmlInitWithFlags 9")])
def test_torch_runs_on_a_gpu_that_nobody_watches(
    fake_gpu: Libraries, version: str, nvml: str
) -> None:
    assert fake_gpu.run(WATCH.format(version=version), nvml=nvml) is None

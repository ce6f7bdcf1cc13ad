"""PyTorch beside ONNX Runtime: real modules in real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from benchbox import devices, export
from benchbox.agent import stdio
from benchbox.cli.gpu_options import in_modes
from benchbox.cli.options import GpuOptions
from benchbox.devices import Device, providers
from benchbox.errors import CaseError, DeviceError, UsageError
from benchbox.export import Graph
from benchbox.export.torch_agent import torch_compile
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec, with_dtype
from benchbox.transports import Agent, open_agent
from benchbox.transports.local import ROOT
from tests.conftest import WriteOnnx

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
    assert loaded.gpu_bytes is None


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
        torch_compile.require()
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
    assert torch_compile.compiler_version() == ""


# a GPU; what it is timed by there is in test_torch_gpu.py


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
    assert (
        providers.without_provider(providers.with_provider("cpu-big", provider), provider)
        == "cpu-big"
    )


@pytest.mark.parametrize(("name", "own", "gpu"), [("cuda", "cuda", 0), ("cuda:1", "cuda-1", 1)])
def test_a_gpu_is_torchs_own_device(name: str, own: str, gpu: int) -> None:
    device = devices.resolve(name, provider="torch-cudagraph")
    assert (device.name, device.gpu) == (f"{own}-torch-cudagraph", f"cuda:{gpu}")
    assert device.channels == "gpu"


@pytest.mark.parametrize(
    ("provider", "mode", "search", "tried"),
    [
        ("torch", "eager", None, "exhaustive"),
        ("torch-compile", "compiled", "heuristic", "heuristic"),
        ("torch-cudagraph", "graph", "default", "heuristic"),
    ],
)
def test_on_a_gpu_the_provider_says_how_calls_are_made_and_algorithms_are_chosen_alike(
    provider: str, mode: str, search: str | None, tried: str
) -> None:
    places = [devices.resolve("cuda"), devices.resolve("cuda", provider=provider)]
    asked = GpuOptions(mode="graph,eager", cache="cold", conv_search=search)
    *graphs, module = in_modes(places, asked)
    assert [each.name for each in graphs] == ["cuda-graph", "cuda-eager"]
    assert module.name == f"cuda-{provider}"
    assert module.driving is not None
    expected = {"mode": mode, "cache": "cold", "tf32": False, "conv_search": tried}
    assert module.driving.plan() == expected


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

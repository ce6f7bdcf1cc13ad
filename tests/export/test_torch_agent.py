"""PyTorch beside ONNX Runtime: real modules in real processes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchbox import devices, export
from benchbox.api.gpu_options import in_modes
from benchbox.api.options import OnGpu
from benchbox.devices import Device, providers
from benchbox.devices.gpu_options import Driving
from benchbox.devices.registry import Processors
from benchbox.errors import CaseError, DeviceError
from benchbox.export import Graph
from benchbox.export.torch_agent import torch_compile
from benchbox.specs import Builder, Case, TensorSpec, with_dtype
from benchbox.transports import Agent, connect, local, open_agent
from tests.conftest import WriteOnnx
from tests.export.conftest import builders
from tests.helpers.command import invoke
from tests.helpers.machine import open_calm

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
    """No kernel of it is made in C++, which would take most of a test's time."""
    return nn.Sequential(nn.Linear(8, c, bias=False))


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

Ready = tuple[Case, Graph]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders(tmp_path_factory, MINE)


@pytest.fixture
def ready(mine: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ready]:
    """Return a function that exports one of the builders; agents are told all before torch is."""
    assert shared_cache
    monkeypatch.setattr(connect, "open_local", local.open_local)

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


# what is built, and how it is checked


def test_modules_are_timed_if_they_equal_their_graphs(ready: Callable[..., Ready]) -> None:
    """In one agent, which goes on after those that it refuses, and leaves no process."""
    (half,) = with_dtype([ready("norm")[0]], "fp16")
    half_graph = export.prepare([half])[half.key]
    assert isinstance(half_graph, Graph), half_graph
    before = set(psutil.Process().children(recursive=True))
    with open_agent(place()) as agent:
        with pytest.raises(CaseError) as refused:
            load(agent, ready("chance"))
        with pytest.raises(CaseError, match="it was built before"):
            load(agent, ready("once"))
        loaded = load(agent, ready("norm"))
        (timed,) = agent.time([("m:norm4", 5)], [0.1])
        assert load(agent, (half, half_graph)).types is None
        (timed_half,) = agent.time([("m:norm4", 3)], [0.1])
        processes = set(psutil.Process().children(recursive=True))
    said = str(refused.value)
    assert said.startswith("output 1: ONNX Runtime differs from torch by ")
    assert said.endswith("more than 0.0001 of its size; such a graph is not timed")
    assert agent.hello["providers"] == ["torch"]
    assert "onnxruntime" not in agent.hello["versions"]
    assert (len(timed.latencies_ns), len(timed_half.latencies_ns)) == (5, 3)
    assert min(loaded.load_s, loaded.first_call_s, *timed.latencies_ns) > 0
    assert loaded.denormal_ratio is None or loaded.denormal_ratio > 0
    assert loaded.gpu_bytes is None
    processes -= before
    assert processes
    assert not psutil.wait_procs(processes, timeout=30)[1]


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
def test_modules_of_one_class_are_each_compiled(
    ready: Callable[..., Ready], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are an nn.Sequential, whose one forward method is compiled for each."""
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")  # it need not compile probes of each
    device = place("torch-compile")
    try:
        torch_compile.require()
    except ValueError as error:
        with pytest.raises(DeviceError, match=str(error)):
            open_agent(device)
        return
    with open_agent(device) as agent:
        loads = [load(agent, ready("linear", c)) for c in (4, 6)]
        timed = list(agent.time([("m:linear4", 3), ("m:linear6", 3)], [0.1, 0.1]))
    assert agent.hello["versions"]["compiler"]
    assert all(each.load_s > each.first_call_s for each in loads), "the compiling is in load_s"
    assert [len(each.latencies_ns) for each in timed] == [3, 3]


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError, match=r"needs a C\+\+ compiler, and there is no no-such-comp"):
        open_agent(place("torch-compile"))
    assert torch_compile.compiler_version() == ""


# a GPU; what it is timed by there is in test_torch_gpu.py


def test_a_gpu_that_torch_cannot_use_is_told_of_in_one_line() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceError, match=r"device 'cuda-torch': this torch .*--device cpu$"):
        open_agent(devices.resolve("cuda", provider="torch"))


# names


@pytest.mark.parametrize(
    ("name", "cpus", "provider", "own"),
    [
        ("cpu", (), "", "cpu"),
        ("cpu", "big", "torch-compile", "cpu-big-torch-compile"),
        ("cuda:1", (), "torch-cudagraph", "cuda-1-torch-cudagraph"),
    ],
)
def test_a_device_has_the_provider_in_its_name(
    name: str, cpus: Processors, provider: str, own: str
) -> None:
    device = devices.resolve(name, None, cpus, provider)
    assert (device.name, device.channels) == (own, "gpu" if "cuda" in own else "arm")
    bare = providers.without_provider(own, provider or providers.CPU)
    assert providers.with_provider(bare, provider or providers.CPU) == own
    for refused, elsewhere in (("torch-cudagraph", "cpu"), ("torch", "ssh://pi@board")):
        with pytest.raises(DeviceError, match=r"on GPUs only|on the machine that benchb"):
            devices.resolve(elsewhere, provider=refused)


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
    asked = OnGpu(mode="graph,eager", cache="cold", conv_search=search)
    *graphs, module = in_modes(places, asked)
    assert [each.name for each in graphs] == ["cuda-graph", "cuda-eager"]
    assert (module.name, module.driving) == (
        f"cuda-{provider}",
        Driving(mode, "cold", False, tried),  # type: ignore[arg-type]
    )


# the command line


QUICK = ("--quick", "--max-time", "1s", "--sessions", "1")


@pytest.mark.usefixtures("shared_cache", "in_tmp")
def test_an_onnx_file_is_a_failed_row_of_torch(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent, here one without torch, is never asked for it."""
    monkeypatch.setattr("benchbox.api.job.open_agent", lambda device, **_: open_calm(device))
    done = invoke("run", write_onnx().name, "--provider", "torch", *QUICK)
    assert done.exit_code == 1, done.output
    assert "tiny.onnx has no module; only ONNX Runtime runs an .onnx file" in done.stdout

"""Profiles over the wire, with ONNX Runtime, and of cases that fail."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchbox import costs
from benchbox.analysis.operators import LAYOUT
from benchbox.analysis.origins import FileNode
from benchbox.analysis.parts import split
from benchbox.analysis.profile import estimate
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.export import Graph
from benchbox.runner import profile as runner_profile
from benchbox.specs import Case, OnnxFile, TensorSpec
from benchbox.transports import Agent, open_agent
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.client import Deadlines
from tests.helpers import onnx_models
from tests.helpers.machine import HELLO
from tests.helpers.profiled import node, reply
from tests.helpers.runs import graph_of
from tests.helpers.scripted import Scripted

X = (TensorSpec("x", (1, 32, 16, 16)),)
TINY = (TensorSpec("x", (32, 32)),)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution of each kind, one with a ReLU to fuse, a shuffle, a concatenation, a Gemm."""
    weights = onnx_models.weights(w=(32, 32, 1, 1), wd=(32, 1, 3, 3), wg=(32, 8, 1, 1), wf=(64, 10))
    shapes = {"split": (1, 2, 16, 16, 16), "merge": (1, 32, 16, 16)}
    model = onnx_models.text(
        "network (float[1,32,16,16] x) => (float[1,10] y) { a = Conv(x, w) b = Relu(a) "
        "c = Conv<group = 32, pads = [1, 1, 1, 1]>(b, wd) d = Conv<group = 4>(c, wg) "
        "e = Reshape(d, split) f = Transpose<perm = [0, 2, 1, 3, 4]>(e) g = Reshape(f, merge) "
        "h = Concat<axis = 1>(b, g) i = Softplus(h) j = GlobalAveragePool(i) k = Flatten(j) "
        "y = Gemm(k, wf) }",
        *weights,
        *(numpy_helper.from_array(np.array(shape), name) for name, shape in shapes.items()),
    )
    for each in model.graph.node:
        each.name = f"node {each.output[0]}"
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(model, path)
    return path


def case_of(path: Path, inputs: tuple[TensorSpec, ...] = X) -> Case:
    name = path.stem
    return Case(name, name, {}, {}, inputs, 1, OnnxFile(path), reference=name)


# over the wire


def step(done: float, next_s: float | None) -> dict[str, Any]:
    return {"step": {"share": done, "next_s": next_s}}


def test_each_step_has_its_own_deadline(cpu: Device) -> None:
    answer = reply(node("a", "Conv", [30] * 8))
    channel = Scripted(HELLO, step(0.0, None), step(0.5, 4.0), answer)
    heard: list[float] = []
    agent = Agent(channel, cpu, Deadlines(load_s=100, burst_s=10, patience=5))
    assert agent.profile("g.onnx", X, 0, 40, heard.append) == answer
    assert channel.waits[1:] == [100, 100, 30]
    assert heard == [0.0, 0.5]
    assert channel.sent[1] == {
        "op": "profile",
        "path": "g.onnx",
        "provider": cpu.provider,
        "inputs": [{"name": "x", "shape": (1, 32, 16, 16), "dtype": "float32"}],
        "seed": 0,
        "most_calls": 40,
    }


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ({"reply": "profile", "error": "Fail: no kernel"}, CaseError, "no kernel"),
        ({"reply": "look"}, AgentError, "answered"),
        (Timeout(), AgentError, "no answer"),
        (ChannelClosed("it was ended by SIGSEGV"), AgentError, "SIGSEGV"),
    ],
)
def test_an_agent_that_fails_in_a_profile_fails_the_case(
    cpu: Device, answer: dict[str, Any] | Exception, error: type[CaseError], text: str
) -> None:
    agent = Agent(Scripted(HELLO, step(0.0, None), answer), cpu)
    with pytest.raises(error, match=text):
        agent.profile("g.onnx", X, 0, 40)


# with ONNX Runtime


def counted(case: Case) -> Graph:
    """The graph of a case with its costs."""
    graph = graph_of(case)
    shapes = {tensor.name: tensor.shape for tensor in case.inputs}
    return replace(graph, cost=costs.count(onnx.load(graph.path), shapes))


@pytest.fixture(scope="module")
def private_tmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder that the agents of this module have for themselves."""
    folder = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def agent(private_tmp: Path, cpu: Device) -> Iterator[Agent]:
    assert private_tmp
    with open_agent(cpu) as agent:
        yield agent


@pytest.mark.slow
def test_a_network_is_profiled_node_by_node(private_tmp: Path, agent: Agent, network: Path) -> None:
    case = case_of(network)
    with pytest.raises(CaseError, match="nowhere"):
        agent.profile("nowhere.onnx", X, 0, 40)
    found = estimate(agent.profile(str(network), X, 0, 40), 12, in_file(case, counted(case)))
    parts = split(found)
    assert sum(part.share or 0.0 for part in parts) == pytest.approx(1.0)
    assert sum(each.time_s for each in found.nodes) == pytest.approx(found.latency_s)
    assert sum(cost.macs_share or 0.0 for cost in parts) == pytest.approx(1.0)
    assert {each.operation.type for each in found.nodes if not each.origin} <= LAYOUT
    nodes = {part.name: part.nodes for part in parts}
    del nodes["data movement"]
    # The element-wise one is the Softplus: the Relu is fused.
    expected = {"convolution": 2, "depthwise": 1, "shuffle": 3, "element-wise": 1, "other": 1}
    assert nodes == {**expected, "matmul": 1}
    movement = {each.operation.type for each in found.nodes if each.category == "data movement"}
    assert "Concat" in movement
    assert {each.provider for each in found.nodes} == {"CPUExecutionProvider"}
    assert found.calls >= 20
    assert found.unoptimised_s is not None
    assert 0 < found.covered <= 1
    assert list(private_tmp.iterdir()) == []


def in_file(case: Case, graph: Graph) -> list[FileNode]:
    return runner_profile.file_nodes(onnx.load(graph.path), case, graph)


def test_costs_on_paper_are_split_as_the_file_has_them(network: Path) -> None:
    case = case_of(network)
    graph = counted(case)
    found: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    for each in in_file(case, graph):
        found[each.category] += each.macs or 0
        memory[each.category] += each.memory_access_bytes or 0
    pixels = 16 * 16
    assert found == {
        "convolution": pixels * 32 * (32 + 8),
        "depthwise": pixels * 32 * 9,
        "matmul": 64 * 10,
        **dict.fromkeys(("element-wise", "shuffle", "data movement", "other"), 0),
    }
    assert memory["element-wise"] == 2 * 4 * pixels * (32 + 64)
    assert memory.total() == graph.cost.memory_access_bytes


def test_shapes_that_only_running_could_tell_are_those_observed(
    write_onnx: Callable[..., Path],
) -> None:
    text = (
        "open (float[4,4] x) => (float[n,4] y) { m = NonZero(x) t = Transpose(m) "
        "f = Cast<to = 1>(t) g = Transpose(f) y = MatMul(g, f) }"
    )
    case = case_of(write_onnx("open", text), (TensorSpec("x", (4, 4)),))
    observed = {"m": [2, 16], "t": [16, 2], "f": [16, 2], "g": [2, 16], "y": [2, 2]}
    graph = graph_of(case)
    *_, last = in_file(case, graph)
    assert (last.macs, last.memory_access_bytes) == (None, None)
    *_, last = in_file(case, replace(graph, observed=observed))
    assert (last.macs, last.operation.inputs) == (64, [(2, 16), (16, 2)])


@pytest.mark.slow
@pytest.mark.parametrize("named", ["", "conv"])
def test_an_integer_convolution_has_its_kernel_and_groups_from_the_file(
    cpu: Device, named: str, tmp_path: Path
) -> None:
    quantised = (
        "(float[1,8,9,9] x) => (float[1,8,9,9] y) { q = QuantizeLinear(x, s, z) "
        "a = QLinearConv<group = 8, pads = [1, 1, 1, 1]>(q, s, z, w, s, z, s, z) "
        "y = DequantizeLinear(a, s, z) }"
    )
    scale, zero = np.array(0.1, np.float32), np.array(0, np.int8)
    weights = {"s": scale, "z": zero, "w": np.ones((8, 1, 3, 3), np.int8)}
    initializers = [numpy_helper.from_array(each, name) for name, each in weights.items()]
    model = onnx_models.text(f"quantised {quantised}", *initializers)
    model.graph.node[1].name = named
    path = tmp_path / "quantised.onnx"
    onnx.save(model, path)
    case = case_of(path, (TensorSpec("x", (1, 8, 9, 9)),))
    (outcome,) = runner_profile.outcomes([case], {case.key: counted(case)}, cpu, open_agent)
    assert outcome.profile is not None, outcome.reason
    convolutions = [each for each in outcome.profile.nodes if each.operation.type == "QLinearConv"]
    assert [(each.category, each.kernel) for each in convolutions] == [("depthwise", (3, 3))]


@pytest.mark.slow
def test_a_branch_is_profiled_with_what_holds_it(
    agent: Agent, write_onnx: Callable[..., Path]
) -> None:
    text = (
        "branch (float[32,32] x, bool c) => (float[32,32] y) { y = If(c) "
        "<then_branch = t () => (float[32,32] r) { r = MatMul(x, x) }, "
        "else_branch = e () => (float[32,32] q) { q = Neg(x) }> }"
    )
    inputs = (TensorSpec("x", (32, 32)), TensorSpec("c", (), "bool"))
    found = agent.profile(str(write_onnx("branch", text)), inputs, 0, 400)
    assert {each["op"] for each in found["nodes"]} == {"If", "MatMul"}


# cases


def test_a_case_that_fails_leaves_the_others(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    cases = onnx_cases("a", "b", "c", "d", "e")
    graphs: dict[str, Any] = dict.fromkeys((c.key for c in cases), graph_of(cases[0]))
    graphs[cases[1].key] = CaseError("no graph")
    good = reply(node("a", "MatMul", [30] * 8))
    channels: list[Scripted] = []
    answers: list[dict[str, Any] | Exception] = [
        good,
        ChannelClosed("it was ended by SIGSEGV"),
        DeviceError("no agent starts"),
        {**good, "nodes": []},
    ]

    def open_next(device: Device) -> Agent:
        answer = answers.pop(0)
        if isinstance(answer, DeviceError):
            raise answer
        channels.append(Scripted(HELLO, answer))
        return Agent(channels[-1], device)

    found = list(runner_profile.outcomes(cases, graphs, cpu, open_next))
    assert [outcome.case.name for outcome in found] == ["a", "b", "c", "d", "e"]
    assert [outcome.profile is not None for outcome in found] == [True, *[False] * 4]
    assert all(channel.closed for channel in channels)
    reasons = [outcome.reason for outcome in found[1:]]
    expected = ("no graph", "it was ended by SIGSEGV", "no agent starts", "no node")
    assert all(text in reason for text, reason in zip(expected, reasons, strict=True))


def test_a_disturbed_profile_is_taken_again_and_the_closest_kept(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    (case,) = onnx_cases("a")
    sums_us = 1400, 1200, 1300
    # No more is taken off than the profiler adds to a call.
    answers = [reply(node("a", "Conv", [us] * 8), profiled=1.1) for us in sums_us]
    channel = Scripted(HELLO, *answers)
    opened = lambda device: Agent(channel, device)  # noqa: E731
    (found,) = runner_profile.outcomes([case], {case.key: graph_of(case)}, cpu, opened)
    assert found.profile is not None, found.reason
    assert found.profile.outside_share == pytest.approx(-0.1)


def test_a_device_without_an_agent_or_without_a_processor_is_not_usable(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    def lost(_: Device) -> Any:
        raise DeviceError("no agent starts")

    cases = onnx_cases("a")
    gpu = Device("cuda", "CUDAExecutionProvider", 1, "gpu")
    for device, text in ((cpu, "no agent starts"), (gpu, "only processors can be profiled")):
        with pytest.raises(DeviceError, match=text):
            list(runner_profile.outcomes(cases, {cases[0].key: graph_of(cases[0])}, device, lost))


def test_a_case_whose_nodes_name_no_modules_fails_where_these_are_asked_for(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    cases = onnx_cases("a")
    graphs = {cases[0].key: graph_of(cases[0])}

    def opened(device: Device) -> Agent:
        return Agent(Scripted(HELLO), device)

    (found,) = runner_profile.outcomes(cases, graphs, cpu, opened, by="module")
    assert "its nodes carry no names of modules" in found.reason

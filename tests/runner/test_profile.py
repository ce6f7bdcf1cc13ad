"""Profiles over the wire, with ONNX Runtime, and of cases that fail."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchbox import export
from benchbox.analysis.profile import estimate
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.runner import profile as runner_profile
from benchbox.specs import Case, OnnxFile, TensorSpec
from benchbox.transports import Agent, open_agent
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.client import Deadlines
from benchbox.transports.local import open_local
from tests.helpers import onnx_models
from tests.helpers.machine import HELLO
from tests.helpers.profiled import node, reply
from tests.helpers.scripted import Scripted

X = (TensorSpec("x", (1, 32, 16, 16)),)
TINY = (TensorSpec("x", (32, 32)),)
SHORT = Deadlines(hello_s=10, load_s=0.3, burst_s=0.2, patience=2)


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


@pytest.fixture
def private_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder that agents started by this test have for themselves."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def agent(cpu: Device) -> Iterator[Agent]:
    with open_agent(cpu) as agent:
        yield agent


def exported(case: Case) -> export.Graph:
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, export.Graph)
    return graph


@pytest.mark.slow
def test_a_network_is_profiled_node_by_node(private_tmp: Path, agent: Agent, network: Path) -> None:
    case = case_of(network)
    costs = runner_profile.paper_costs(case, exported(case))
    found = estimate(agent.profile(str(network), X, 0, 400), 12, costs)
    assert sum(part.share for part in found.parts) == pytest.approx(1.0)
    assert sum(each.time_s for each in found.nodes) == pytest.approx(found.latency_s)
    assert sum(cost.macs_share or 0.0 for cost in found.parts) == pytest.approx(1.0)
    nodes = {part.category: part.nodes for part in found.parts}
    del nodes["data movement"]
    # The element-wise one is the Softplus: the Relu is fused.
    expected = {"convolution": 2, "depthwise": 1, "shuffle": 3, "element-wise": 1, "other": 2}
    assert nodes == expected
    movement = {each.operation.type for each in found.nodes if each.category == "data movement"}
    assert "Concat" in movement
    assert {each.provider for each in found.nodes} == {"CPUExecutionProvider"}
    assert found.calls >= 20
    assert found.unoptimised_s is not None
    assert 0 < found.covered <= 1
    assert list(private_tmp.iterdir()) == []


@pytest.mark.slow
def test_costs_on_paper_are_split_as_the_file_has_them(network: Path) -> None:
    case = case_of(network)
    graph = exported(case)
    costs = runner_profile.paper_costs(case, graph)
    pixels = 16 * 16
    assert {category: macs for category, (macs, _) in costs.items()} == {
        "convolution": pixels * 32 * (32 + 8),
        "depthwise": pixels * 32 * 9,
        "element-wise": 0,
        "shuffle": 0,
        "data movement": 0,
        "other": 64 * 10,
    }
    memory = {category: memory for category, (_, memory) in costs.items()}
    assert memory["element-wise"] == 2 * 4 * pixels * (32 + 64)
    assert sum(each or 0 for each in memory.values()) == graph.cost.memory_access_bytes
    other = replace(graph, cost=replace(graph.cost, macs=1))  # does not add up
    assert runner_profile.paper_costs(case, other) == {}


@pytest.mark.slow
def test_costs_that_only_running_could_tell_are_left_out(write_onnx: Callable[..., Path]) -> None:
    text = (
        "open (float[4,4] x) => (float[n,4] y) { m = NonZero(x) t = Transpose(m) "
        "f = Cast<to = 1>(t) g = Transpose(f) y = MatMul(g, f) }"
    )
    case = case_of(write_onnx("open", text), (TensorSpec("x", (4, 4)),))
    assert runner_profile.paper_costs(case, exported(case)) == {}


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs files that can be unlinked while open")
def test_an_agent_that_is_killed_leaves_nothing_behind(
    private_tmp: Path, cpu: Device, network: Path
) -> None:
    channel = open_local()
    left: list[list[Path]] = []

    def kill(done: float) -> None:
        if done:
            left.append(list(private_tmp.iterdir()))
            os.kill(channel.pid, signal.SIGKILL)

    with Agent(channel, cpu) as agent, pytest.raises(AgentError, match="SIGKILL"):
        agent.profile(str(network), X, 0, 400, kill)
    assert left[0] == []
    assert list(private_tmp.iterdir()) == []


@pytest.mark.slow
def test_a_graph_that_cannot_be_opened_fails_and_the_agent_stays(
    private_tmp: Path, agent: Agent, write_onnx: Callable[..., Path]
) -> None:
    with pytest.raises(CaseError, match="nowhere"):
        agent.profile("nowhere.onnx", TINY, 0, 40)
    assert agent.profile(str(write_onnx()), TINY, 0, 40)["nodes"]
    assert list(private_tmp.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of file sizes")
def test_a_full_disk_fails_the_case_in_one_line(
    private_tmp: Path, cpu: Device, write_onnx: Callable[..., Path]
) -> None:
    import resource

    channel = open_local()
    with Agent(channel, cpu) as agent:
        resource.prlimit(channel.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(CaseError, match=r"cut off after \d+ characters: is .* full\?"):
            agent.profile(str(write_onnx()), TINY, 0, 400)
    assert list(private_tmp.iterdir()) == []


# cases


def test_a_case_that_fails_leaves_the_others(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    cases = onnx_cases("a", "b", "c", "d", "e")
    graphs: dict[str, Any] = dict.fromkeys((c.key for c in cases), exported(cases[0]))
    graphs[cases[1].key] = CaseError("no graph")
    good = reply(node("a", "MatMul", [30] * 8))
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
        return Agent(Scripted(HELLO, answer), device)

    found = list(runner_profile.outcomes(cases, graphs, cpu, open_next))
    assert [outcome.case.name for outcome in found] == ["a", "b", "c", "d", "e"]
    assert [outcome.profile is not None for outcome in found] == [True, *[False] * 4]
    reasons = [outcome.reason for outcome in found[1:]]
    expected = ("no graph", "it was ended by SIGSEGV", "no agent starts", "no node")
    assert all(text in reason for text, reason in zip(expected, reasons, strict=True))


def test_a_device_without_an_agent_or_without_a_processor_is_not_usable(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    def lost(_: Device) -> Any:
        raise DeviceError("no agent starts")

    cases = onnx_cases("a")
    gpu = Device("cuda", "CUDAExecutionProvider", 1, "gpu")
    for device, text in ((cpu, "no agent starts"), (gpu, "only processors can be profiled")):
        with pytest.raises(DeviceError, match=text):
            list(runner_profile.outcomes(cases, export.prepare(cases), device, lost))


HANGS = (
    "import json, sys, time\n"
    f"for reply in ({HELLO!r}, {step(0.0, None)!r}):\n"
    "    sys.stdin.readline() if 'reply' in reply else None\n"
    "    print(json.dumps(reply), flush=True)\n"
    "time.sleep(600)\n"
)


def test_an_agent_that_hangs_is_a_failed_case(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    channels: list[ProcessChannel] = []

    def hanging(device: Device) -> Agent:
        channels.append(ProcessChannel([sys.executable, "-c", HANGS]))
        return Agent(channels[-1], device, SHORT)

    cases = onnx_cases("a")
    (found,) = runner_profile.outcomes(cases, export.prepare(cases), cpu, hanging)
    assert found.profile is None
    assert "no answer" in found.reason
    with pytest.raises(ProcessLookupError):
        os.kill(channels[0].pid, 0)


def test_the_agent_needs_no_onnx_to_profile() -> None:
    ask = (
        "import sys; import benchbox.agent.ort.profile; print({'onnx', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

"""Where the time goes: categories, the estimate, the agent's part, and cases that fail."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchbox import export
from benchbox.agent.ort import profile as on_device
from benchbox.agent.ort import trace
from benchbox.analysis.operators import CATEGORIES, OPERATORS, Operation, classify, kernel
from benchbox.analysis.profile import PaperCosts, estimate, midmean
from benchbox.costs.macs import COUNTED, FREE
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.report import profile_text
from benchbox.report.profile import shape, share
from benchbox.runner import profile as runner_profile
from benchbox.specs import Case, OnnxFile, TensorSpec
from benchbox.transports import Agent, open_agent
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.client import Deadlines
from benchbox.transports.local import open_local
from tests.helpers.machine import HELLO
from tests.helpers.profiled import estimated, node, reply

X = (TensorSpec("x", (1, 32, 16, 16)),)
TINY = (TensorSpec("x", (32, 32)),)
SHORT = Deadlines(hello_s=10, load_s=0.3, burst_s=0.2, patience=2)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return numpy_helper.from_array(values, name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution of each kind, one with a ReLU to fuse, a shuffle, a concatenation, a Gemm."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "full"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "wd"], ["c"], "depthwise", group=32, pads=[1] * 4),
        helper.make_node("Conv", ["c", "wg"], ["d"], "grouped", group=4),
        helper.make_node("Reshape", ["d", "split"], ["e"], "split"),
        helper.make_node("Transpose", ["e"], ["f"], "deal", perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["f", "merge"], ["g"], "merge"),
        helper.make_node("Concat", ["b", "g"], ["h"], "concat", axis=1),
        helper.make_node("Softplus", ["h"], ["i"], "softplus"),
        helper.make_node("GlobalAveragePool", ["i"], ["j"], "pool"),
        helper.make_node("Flatten", ["j"], ["k"], "flatten"),
        helper.make_node("Gemm", ["k", "wf"], ["y"], "classifier"),
    ]
    constants = [
        weights("w", 32, 32, 1, 1),
        weights("wd", 32, 1, 3, 3),
        weights("wg", 32, 8, 1, 1),
        weights("wf", 64, 10),
        integers("split", 1, 2, 16, 16, 16),
        integers("merge", 1, 32, 16, 16),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, X[0].shape)
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "network", [image], [logits], constants)
    opsets = [helper.make_opsetid("", 18)]
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def case_of(path: Path, inputs: tuple[TensorSpec, ...] = X) -> Case:
    name = path.stem
    return Case(name, name, {}, {}, inputs, 1, OnnxFile(path), reference=name)


# categories


IMAGE = (1, 8, 6, 6)


@pytest.mark.parametrize(
    ("operation", "category"),
    [
        (Operation("Conv", [IMAGE, (16, 8, 3, 3)], [(1, 16, 6, 6)]), "convolution"),
        (Operation("Conv", [IMAGE, (16, 2, 3, 3)], [(1, 16, 6, 6)]), "convolution"),
        (Operation("Conv", [IMAGE, (8, 1, 3, 3)], [IMAGE]), "depthwise"),
        (Operation("Conv", [IMAGE, (16, 1, 3, 3)], [(1, 16, 6, 6)]), "depthwise"),
        (Operation("Conv", [(1, 1, 6, 6), (16, 1, 3, 3)]), "convolution"),
        (Operation("Conv", [(1, 8, 6), (8, 1, 3)]), "depthwise"),
        (Operation("Conv", [None, (8, 1, 3, 3)]), "convolution"),
        (Operation("Conv"), "convolution"),
        (Operation("FusedConv", [IMAGE, (8, 1, 3, 3), (8,)], [IMAGE]), "depthwise"),
        (Operation("NhwcFusedConv", [(1, 6, 6, 8), (8, 1, 3, 3)]), "depthwise"),
        (Operation("NhwcFusedConv", [(1, 6, 6, 1), (8, 1, 3, 3)]), "convolution"),
        (Operation("QLinearConv", [IMAGE, (), (), (8, 1, 3, 3)]), "depthwise"),
        (Operation("ConvTranspose", [IMAGE, (8, 1, 3, 3)], [(1, 8, 8, 8)]), "depthwise"),
        (Operation("ConvTranspose", [IMAGE, (8, 1, 3, 3)], [(1, 1, 8, 8)]), "convolution"),
        (Operation("Add", [IMAGE, IMAGE], [IMAGE]), "element-wise"),
        (Operation("QuickGelu"), "element-wise"),
        (Operation("Concat"), "data movement"),
        (Operation("ReorderOutput"), "data movement"),
        (Operation("Transpose", [(1, 2, 3)], [(1, 3, 2)]), "data movement"),
        (Operation("Gemm"), "other"),
        (Operation("MaxPool"), "other"),
        (Operation("NobodyKnows"), "other"),
    ],
)
def test_an_operator_belongs_to_one_category(operation: Operation, category: str) -> None:
    assert classify([operation]) == [category]


def test_every_operator_of_the_table_is_one_that_onnx_or_its_runtime_has() -> None:
    known = {name.rpartition(":")[2] for name in FREE | COUNTED.keys()}
    runtime = {"MemcpyFromHost", "MemcpyToHost", "QLinearMul", "ReorderInput", "ReorderOutput"}
    assert OPERATORS.keys() - known <= runtime
    assert set(OPERATORS.values()) <= set(CATEGORIES)


def reshape(before: Sequence[int], after: Sequence[int]) -> Operation:
    return Operation("Reshape", [before, (len(after),)], [after])


def transpose(before: Sequence[int], *order: int) -> Operation:
    return Operation("Transpose", [before], [[before[axis] for axis in order]])


RELU = Operation("Relu", [IMAGE], [IMAGE])
SHUFFLE = [
    reshape(IMAGE, (1, 2, 4, 6, 6)),
    transpose((1, 2, 4, 6, 6), 0, 2, 1, 3, 4),
    reshape((1, 4, 2, 6, 6), IMAGE),
]


@pytest.mark.parametrize(
    "operations",
    [
        SHUFFLE,
        [
            reshape((1, 8, 1, 1), (1, 2, 4, 1, 1)),
            transpose((1, 2, 4, 1, 1), 0, 2, 1, 3, 4),
            reshape((1, 4, 2, 1, 1), (1, 8, 1, 1)),
        ],
        [  # as its authors write it: the batch with the channels, the halves first
            reshape((3, 8, 6, 6), (12, 2, 36)),
            transpose((12, 2, 36), 1, 0, 2),
            reshape((2, 12, 36), (2, 3, 4, 6, 6)),
        ],
    ],
)
def test_a_shuffle_is_found_by_its_shapes(operations: list[Operation]) -> None:
    assert classify(operations) == ["shuffle"] * 3
    first, second, third = operations
    assert classify([first, RELU, second, RELU, third]) == [
        *("shuffle", "element-wise") * 2,
        "shuffle",
    ]
    assert classify(operations * 2) == ["shuffle"] * 6
    assert classify(operations[:2]) == ["data movement"] * 2
    assert classify(operations[::-1]) == ["data movement"] * 3


def test_shuffles_side_by_side_have_their_own_reshapes() -> None:
    first, second, third = SHUFFLE
    assert classify([first, first, second, second, third, third]) == ["shuffle"] * 6
    assert classify([*SHUFFLE, second]) == [*["shuffle"] * 3, "data movement"]


@pytest.mark.parametrize(
    "operations",
    [
        [  # depth to space, which moves within planes
            reshape(IMAGE, (1, 2, 2, 2, 6, 6)),
            transpose((1, 2, 2, 2, 6, 6), 0, 1, 4, 2, 5, 3),
            reshape((1, 2, 6, 2, 6, 2), (1, 2, 12, 12)),
        ],
        [  # the heads of an attention
            reshape((2, 10, 64), (2, 10, 4, 16)),
            transpose((2, 10, 4, 16), 0, 2, 1, 3),
            reshape((2, 4, 10, 16), (8, 10, 16)),
        ],
        [  # a single head
            reshape((2, 10, 64), (2, 10, 1, 64)),
            transpose((2, 10, 1, 64), 0, 2, 1, 3),
            reshape((2, 1, 10, 64), (2, 10, 64)),
        ],
        [  # rows and columns
            reshape(IMAGE, (1, 2, 4, 6, 6)),
            transpose((1, 2, 4, 6, 6), 0, 1, 2, 4, 3),
            reshape((1, 2, 4, 6, 6), IMAGE),
        ],
        [  # another shape was made
            reshape(IMAGE, (1, 2, 4, 36)),
            *SHUFFLE[1:],
        ],
    ],
)
def test_what_only_looks_like_a_shuffle_is_data_movement(operations: list[Operation]) -> None:
    assert classify(operations) == ["data movement"] * len(operations)


def test_a_kernel_is_that_of_a_convolution() -> None:
    assert kernel(Operation("Conv", [IMAGE, (8, 1, 3, 5)])) == (3, 5)
    assert kernel(Operation("Relu", [IMAGE])) == ()


# the estimate


def test_shares_are_those_without_what_the_profiler_added() -> None:
    found = estimated(node("a", "Conv", [32] * 8), node("b", "Add", [12] * 8))
    assert [each.share for each in found.nodes] == pytest.approx([0.75, 0.25])
    assert [each.time_s for each in found.nodes] == pytest.approx([0.75e-3, 0.25e-3])
    assert [(part.category, part.nodes) for part in found.parts] == [
        ("convolution", 1),
        ("element-wise", 1),
    ]
    assert found.part("shuffle").share == 0
    assert found.overhead_s == pytest.approx(2e-6)
    assert (found.slowdown, found.covered, found.disturbance) == pytest.approx((1.5, 0.5, 1.0))
    assert (found.latency_s, found.unoptimised_s) == pytest.approx((1e-3, 2e-3))
    assert (found.calls, found.file_nodes) == (8, 9)


def test_no_more_is_taken_off_than_most_of_the_shortest_node() -> None:
    found = estimated(node("a", "Conv", [100] * 8), node("b", "Reshape", [4] * 8), gap_us=50)
    assert found.overhead_s == pytest.approx(0.85 * 4e-6)
    assert found.nodes[1].share == pytest.approx(0.6 / 97.2)


def test_a_node_that_runs_several_times_in_a_call_was_written_down_each_time() -> None:
    found = estimated(node("a", "Conv", [40] * 8), node("b", "Add", [40] * 8, count=10))
    assert [each.share for each in found.nodes] == pytest.approx([38 / 58, 20 / 58])


@pytest.mark.parametrize("count", [0, 1])
def test_a_branch_that_is_rarely_taken_tells_nothing_about_the_profiler(count: int) -> None:
    rare = node("b", "Add", [0] * 7 + [50 * count], count=count / 8)
    found = estimated(node("a", "Conv", [40] * 8), rare)
    assert found.overhead_s == pytest.approx(2e-6)
    assert [each.share for each in found.nodes] == pytest.approx([1.0, 0.0])


def test_a_disturbed_call_changes_no_share() -> None:
    calm = estimated(node("a", "Conv", [30] * 8), node("b", "Add", [12] * 8))
    hit = estimated(node("a", "Conv", [30] * 7 + [9000]), node("b", "Add", [800] + [12] * 7))
    assert [each.share for each in hit.nodes] == [each.share for each in calm.nodes]


def test_a_graph_too_short_for_the_profilers_clock_still_has_shares() -> None:
    found = estimated(node("a", "Add", [0] * 8), node("b", "Add", [0] * 8))
    assert [each.share for each in found.nodes] == [0.5, 0.5]


def test_the_latency_is_that_of_calls_that_nothing_disturbed() -> None:
    answer = reply(node("a", "Conv", [30] * 8))
    answer["latencies_ns"]["default"] = [1_000_000] * 4 + [3_000_000] * 16
    found = estimate(answer, 1, {})
    assert (found.latency_s, found.disturbance) == pytest.approx((1e-3, 3.0))


def test_costs_on_paper_are_set_beside_what_ran() -> None:
    costs: PaperCosts = {"convolution": (300, 20), "depthwise": (100, 40), "element-wise": (0, 20)}
    found = estimated(node("a", "Conv", [30] * 8), costs=costs)
    assert [(p.category, p.nodes, p.macs_share, p.memory_share) for p in found.parts] == [
        ("convolution", 1, 0.75, 0.25),
        ("depthwise", 0, 0.25, 0.5),
        ("element-wise", 0, 0.0, 0.25),
    ]
    unknown = estimated(node("a", "Conv", [30] * 8), costs={"convolution": (300, None)})
    assert unknown.parts[0].memory_share is None
    assert unknown.parts[0].macs_share == 1.0


@pytest.mark.parametrize(
    ("values", "expected"), [([5], 5), ([1, 2, 3], 2), ([0, 4, 6, 99], 5), ([1, 1, 1, 9, 9], 3)]
)
def test_a_midmean_leaves_the_extremes_out(values: list[float], expected: float) -> None:
    assert midmean(values) == (expected if len(values) != 5 else pytest.approx(11 / 3))


# in words


def test_the_sentence_sets_time_beside_flops() -> None:
    costs: PaperCosts = {"convolution": (900, 1), "depthwise": (100, 1), "element-wise": (0, 1)}
    found = estimated(
        node("a", "Conv", [62] * 8),
        {**node("b", "Conv", [22] * 8), "inputs": [IMAGE, (8, 1, 3, 3)]},
        node("c", "Add", [22] * 8),
        costs=costs,
    )
    first, second = profile_text.sentences(found)
    assert first == (
        "Convolutions have 90% of the FLOPs and take 60% of the time, depthwise ones 10% and 20%; "
        "what has no FLOPs takes 20% (element-wise 20%)."
    )
    assert second == (
        "ONNX Runtime runs 3 nodes for the file's 9; fusion and layout optimisation remove 50% of "
        "the time: 1.00 ms with them, 2.00 ms without, the profiler off."
    )


def test_without_flops_the_sentence_says_where_the_time_goes() -> None:
    found = estimated(node("a", "Conv", [32] * 8), node("b", "Gemm", [12] * 8))
    assert profile_text.sentences(found)[0] == ("The time goes to convolution 75% and other 25%.")
    assert "other is Gemm 25%" in profile_text.notes(found)


def test_optimisation_that_costs_time_is_said_to() -> None:
    found = estimated(node("a", "Conv", [32] * 8), unoptimised=0.5)
    assert "add 50% of the time: 1.00 ms with them, 0.500 ms" in profile_text.sentences(found)[1]
    assert any("makes it slower" in note for note in profile_text.notes(found))


def test_a_graph_that_does_not_run_unoptimised_says_why() -> None:
    answer = reply(node("a", "Conv", [32] * 8))
    del answer["latencies_ns"]["unoptimised"]
    answer["unoptimised_error"] = "Fail: no kernel"
    found = estimate(answer, 1, {})
    assert found.unoptimised_s is None
    assert profile_text.sentences(found)[1].endswith(
        "without optimisation it does not: Fail: no kernel."
    )


def test_notes_tell_of_layout_and_of_a_disturbed_machine() -> None:
    answer = reply(node("a", "Conv", [32] * 8), node("b", "ReorderOutput", [12] * 8))
    answer["latencies_ns"]["default"] = [1_000_000] * 4 + [3_000_000] * 16
    found = estimate(answer, 1, {})
    alone = " ".join(profile_text.notes(found))
    assert "layout takes 25% of the time" in alone
    assert "disturbed" in alone
    calm = estimated(node("a", "Conv", [32] * 8))
    both = profile_text.notes_of_many([("p", found), ("q", calm)])
    assert any(note.startswith("layout is ReorderInput") for note in both)
    assert any(note.startswith("p: the machine is disturbed") for note in both)
    assert profile_text.notes_of_many([]) == []


def test_shapes_and_shares_are_short() -> None:
    conv = Operation("Conv", [IMAGE, (16, 8, 3, 3)], [(1, 16, 6, 6)])
    found = estimated(
        {**node("a", "Conv", [9] * 8), "inputs": conv.inputs, "outputs": conv.outputs}
    )
    assert shape(found.nodes[0]) == "1x8x6x6 -> 1x16x6x6, 3x3"
    assert shape(estimated(node("a", "Add", [9] * 8)).nodes[0]) == "-"
    assert [share(each) for each in (None, 0.0, 0.004, 0.005, 0.126, 1.0)] == [
        *("-", "0%", "<1%", "0%", "13%", "100%"),
    ]


# what the profiler writes


def event(name: str, ts: int, dur: int, cat: str = "Node", **args: Any) -> dict[str, Any]:
    return {"cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


def recorded(text: str) -> trace.Recording:
    """A recording whose session has written `text`."""
    recording = trace.Recording()
    (Path(recording._folder.name) / "profile.json").write_text(text)
    recording.hide()
    return recording


def test_calls_are_told_apart_and_bodies_count_once() -> None:
    call = [
        event("a_kernel_time", 10, 5, node_index="0", op_name="MatMul"),
        event("x_kernel_time", 21, 3, node_index="0", op_name="Tanh"),
        event("SequentialExecutor::Execute", 20, 8, "Session"),
        event("x_kernel_time", 31, 4, node_index="0", op_name="Tanh"),
        event("SequentialExecutor::Execute", 30, 9, "Session"),
        event("loop_kernel_time", 18, 25, node_index="1", op_name="Loop"),
        event("a_kernel_time", 46, 7, node_index="2", op_name="Relu"),
        event("SequentialExecutor::Execute", 8, 50, "Session"),
        event("model_run", 5, 60, "Session"),
    ]
    with recorded(
        json.dumps([event("session_initialization", 0, 4, "Session"), *call, *call])
    ) as r:
        runs = r.runs()
        nodes = r.nodes(runs)
    assert [run.us for run in runs] == [60, 60]
    assert [(n["name"], n["op"], n["us"], n["count"]) for n in nodes] == [
        ("a", "MatMul", [5, 5], 1.0),
        ("x", "Tanh", [7, 7], 2.0),
        ("loop", "Loop", [25 - 17] * 2, 1.0),
        ("a", "Relu", [7, 7], 1.0),
    ]
    assert runs[0].gap_us == 6  # of 6, 7 and 3


def test_a_node_that_a_branch_left_out_took_nothing() -> None:
    first = [event("a_kernel_time", 1, 5), event("model_run", 0, 9, "Session")]
    second = [event("b_kernel_time", 1, 7), event("model_run", 0, 9, "Session")]
    with recorded(json.dumps([*first, *second])) as recording:
        nodes = recording.nodes(recording.runs())
    assert [(n["name"], n["us"], n["count"]) for n in nodes] == [
        ("a", [5, 0], 0.5),
        ("b", [0, 7], 0.5),
    ]


@pytest.mark.parametrize("text", ["", "[", '[\n{"cat": "Node", "na', '[\n{"shape": [1,2]'])
def test_a_profile_that_is_cut_off_says_that_the_disk_may_be_full(text: str) -> None:
    with recorded(text) as recording, pytest.raises(RuntimeError, match=r"cut off .* TMPDIR"):
        recording.runs()


def test_nothing_lies_in_the_temporary_folder_once_a_session_has_its_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    recording = trace.Recording()
    assert len(list(tmp_path.iterdir())) == 1
    (Path(recording._folder.name) / "profile.json").write_text("[]")
    recording.hide()
    assert list(tmp_path.iterdir()) == []
    with recording:
        assert recording.runs() == []


def test_a_recording_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="no such graph"), trace.Recording():
        raise OSError("no such graph")
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_agents_are_removed_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young, others = (tmp_path / name for name in (f"{trace.PREFIX}1", f"{trace.PREFIX}2", "x"))
    for folder in (old, young, others):
        folder.mkdir()
        (folder / "profile.json").touch()
    for folder in (old, others):
        os.utime(folder, (0, 0))
    with trace.Recording():
        assert [each.exists() for each in (old, young, others)] == [False, True, True]


def test_a_graph_that_only_runs_optimised_is_profiled_all_the_same() -> None:
    import onnxruntime as ort

    def load(options: ort.SessionOptions) -> Any:
        assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        raise ValueError("no kernel")

    calls: dict[str, Callable[[], object]] = {}
    reason = on_device._add_unoptimised(calls, load, ort.SessionOptions())
    assert (reason, calls) == ("ValueError: no kernel", {})


def test_variants_take_turns_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "BURST_S", 0.001)
    order: list[str] = []

    def called(name: str) -> None:
        order.append(name)
        time.sleep(0.001)

    names = ("default", "profiled", "unoptimised")
    calls: dict[str, Callable[[], object]] = {name: partial(called, name) for name in names}
    bursts = on_device.Bursts(calls, 1, most_profiled=20)
    order.clear()
    steps = list(bursts.take())
    turns = [name for at, name in enumerate(order) if not at or order[at - 1] != name]
    assert turns[:5] == ["default", "profiled", "unoptimised", "profiled", "default"]
    shares = [step["step"]["share"] for step in steps]  # type: ignore[index]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert sum(bursts.belongs) == 2 * on_device.ROUNDS
    made = order.count("profiled") + on_device.LOADING_CALLS + on_device.CALIBRATING_CALLS
    assert len(bursts.belongs) == made


# over the wire


class Scripted:
    """A channel that answers what it is told to, and remembers for how long it was waited."""

    def __init__(self, *script: dict[str, Any] | Exception) -> None:
        self.script = [HELLO, *script]
        self.sent: list[Mapping[str, object]] = []
        self.waits: list[float] = []

    def send(self, message: Mapping[str, object]) -> None:
        self.sent.append(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        self.waits.append(timeout_s)
        answer = self.script.pop(0) if self.script else ChannelClosed("nothing more")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Nothing to close."""


def step(done: float, next_s: float | None) -> dict[str, Any]:
    return {"step": {"share": done, "next_s": next_s}}


def test_each_step_has_its_own_deadline(cpu: Device) -> None:
    answer = reply(node("a", "Conv", [30] * 8))
    channel = Scripted(step(0.0, None), step(0.5, 4.0), answer)
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
    agent = Agent(Scripted(step(0.0, None), answer), cpu)
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


@pytest.mark.slow
def test_a_network_is_profiled_node_by_node(private_tmp: Path, agent: Agent, network: Path) -> None:
    graph = export.prepare([case_of(network)])[case_of(network).key]
    assert isinstance(graph, export.Graph)
    costs = runner_profile.paper_costs(case_of(network), graph)
    found = estimate(agent.profile(str(network), X, 0, 400), 12, costs)
    assert sum(part.share for part in found.parts) == pytest.approx(1.0)
    assert sum(each.time_s for each in found.nodes) == pytest.approx(found.latency_s)
    assert sum(cost.macs_share or 0.0 for cost in found.parts) == pytest.approx(1.0)
    by_category = {part.category: part.nodes for part in found.parts}
    assert by_category["convolution"] == 2
    assert by_category["depthwise"] == 1
    assert by_category["shuffle"] == 3
    assert by_category["element-wise"] == 1  # the Softplus: the Relu is fused
    assert by_category["other"] == 2
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
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, export.Graph)
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


@pytest.mark.slow
def test_costs_that_do_not_add_up_to_what_was_counted_are_left_out(network: Path) -> None:
    case = case_of(network)
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, export.Graph)
    other = replace(graph, cost=replace(graph.cost, macs=1))
    assert runner_profile.paper_costs(case, graph)
    assert runner_profile.paper_costs(case, other) == {}


@pytest.mark.slow
def test_costs_that_only_running_could_tell_are_left_out(
    write_onnx: Callable[..., Path],
) -> None:
    text = (
        "open (float[4,4] x) => (float[n,4] y) "
        "{ m = NonZero(x) t = Transpose(m) f = Cast<to = 1>(t) g = Transpose(f) "
        "y = MatMul(g, f) }"
    )
    path = write_onnx("open", text)
    case = case_of(path, (TensorSpec("x", (4, 4)),))
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, export.Graph)
    assert runner_profile.paper_costs(case, graph) == {}


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


class Standing:
    """An agent that answers with a profile, or fails as it is told to."""

    hello = HELLO

    def __init__(self, outcome: dict[str, Any] | Exception) -> None:
        self.outcome = outcome

    def profile(self, *_: object) -> dict[str, Any]:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def __enter__(self) -> "Standing":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


def test_a_case_that_fails_leaves_the_others(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    cases = onnx_cases("a", "b", "c", "d", "e")
    graphs: dict[str, Any] = dict(export.prepare(cases[:1]))
    graphs |= {case.key: graphs[cases[0].key] for case in cases[1:]}
    graphs[cases[1].key] = CaseError("no graph")
    good = reply(node("a", "MatMul", [30] * 8))
    script: list[Any] = [
        Standing(good),
        Standing(AgentError("it was ended by SIGSEGV")),
        DeviceError("no agent starts"),
        Standing({**good, "nodes": []}),
    ]

    def open_next(_: Device) -> Any:
        answer = script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = list(runner_profile.outcomes(cases, graphs, cpu, open_next))
    assert [outcome.case.name for outcome in found] == ["a", "b", "c", "d", "e"]
    assert [outcome.profile is not None for outcome in found] == [True, *[False] * 4]
    reasons = [outcome.reason for outcome in found]
    assert reasons[1:4] == ["no graph", "it was ended by SIGSEGV", "no agent starts"]
    assert "no node" in reasons[4]


def test_a_device_without_an_agent_or_without_a_processor_is_not_usable(
    cpu: Device, onnx_cases: Callable[..., list[Case]]
) -> None:
    def lost(_: Device) -> Any:
        raise DeviceError("no agent starts")

    cases = onnx_cases("a")
    graphs = export.prepare(cases)
    with pytest.raises(DeviceError, match="no agent starts"):
        list(runner_profile.outcomes(cases, graphs, cpu, lost))
    gpu = Device("cuda", "CUDAExecutionProvider", 1, "gpu")
    with pytest.raises(DeviceError, match="only processors can be profiled"):
        list(runner_profile.outcomes(cases, graphs, gpu, lost))


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

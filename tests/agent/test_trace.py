"""ONNX Runtime's profile file as the agent reads it, and the turns of what is profiled."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchbox.agent.ort import profile as on_device
from benchbox.agent.ort import trace


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
    start = event("session_initialization", 0, 4, "Session")
    branch = [event("b_kernel_time", 1, 7, op_name="Add"), event("model_run", 0, 9, "Session")]
    with recorded(json.dumps([start, *call, *call])) as recording:
        runs = recording.runs()
        nodes = recording.nodes(runs)
    with recorded(json.dumps([*call, *branch])) as recording:  # one took another way
        half = {
            node["name"]: (node["us"], node["count"]) for node in recording.nodes(recording.runs())
        }
    assert (half["x"], half["b"]) == (([7, 0], 1.0), ([0, 7], 0.5))
    assert [run.us for run in runs] == [60, 60]
    assert [(n["name"], n["op"], n["us"], n["count"]) for n in nodes] == [
        ("a", "MatMul", [5, 5], 1.0),
        ("x", "Tanh", [7, 7], 2.0),
        ("loop", "Loop", [25 - 17] * 2, 1.0),
        ("a", "Relu", [7, 7], 1.0),
    ]


@pytest.mark.parametrize("text", ["", '[\n{"cat": "Node", "na'])
def test_a_profile_that_is_cut_off_says_that_the_disk_may_be_full(text: str) -> None:
    with recorded(text) as recording, pytest.raises(RuntimeError, match=r"cut off .* TMPDIR"):
        recording.runs()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_recording_leaves_nothing_once_it_is_hidden_or_fails(temporary: Path) -> None:
    recording = trace.Recording()
    assert len(list(temporary.iterdir())) == 1
    (Path(recording._folder.name) / "profile.json").write_text("[]")
    recording.hide()
    assert list(temporary.iterdir()) == []
    with recording:
        assert recording.runs() == []
    with pytest.raises(OSError, match="no such graph"), trace.Recording():
        raise OSError("no such graph")
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_agents_are_removed_when_they_are_old(temporary: Path) -> None:
    names = f"{trace.PREFIX}1", f"{trace.PREFIX}2", "x"
    old, young, others = (temporary / name for name in names)
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
    before = order.count("profiled")
    order.clear()
    steps = list(bursts.take())
    turns = [name for at, name in enumerate(order) if not at or order[at - 1] != name]
    assert turns[:5] == ["default", "profiled", "unoptimised", "profiled", "default"]
    shares = [step["step"]["share"] for step in steps]  # type: ignore[index]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert sum(bursts.belongs) == 2 * on_device.ROUNDS
    assert len(bursts.belongs) == before + order.count("profiled")
    assert bursts.belongs[-1]

"""Real devices as members of a fleet: a board behind an sshd, and a GPU's stand-in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchbox import devices, host, records
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.fleet import offered, store, task, worker
from benchbox.fleet.offered import Offered
from benchbox.records import Run
from benchbox.specs import Case, OnnxFile, TensorSpec
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries
from tests.fleet.lab import Inside
from tests.helpers.runs import QUICK, graph_of

if TYPE_CHECKING:
    from tests.board import Board

pytestmark = pytest.mark.slow


def timed(member: Offered, path: Path, folder: Path) -> Run:
    """The run that a task makes of a graph, which this host's store has."""
    inputs = (TensorSpec("x", (32, 32)),)
    case = Case("tiny", "a", {}, {}, inputs, 1, OnnxFile(path), "a", reference="a")
    graph = graph_of(case)
    store.keep(graph.path, graph.sha256, ())
    asked = task.Task(
        device=member.device.name,
        run="tiny",
        cases=[task.bare(case)],
        graphs={case.key: task.sent(graph)},
        plan=replace(QUICK, sessions=1, max_time_s=0.1),
        channels=member.device.channels,
    )
    reply = worker.timed(task.parse_task(task.dump(asked)), member, Inside())
    assert (reply.failure, reply.rests) == ("", "")
    written = folder / "reply.jsonl"
    written.write_text(reply.lines)
    return records.read(written)


def test_a_board_behind_ssh_is_a_member(
    ssh_board: "Board",
    reach: Callable[["Board"], None],
    write_onnx: WriteOnnx,
    tmp_path: Path,
) -> None:
    reach(ssh_board)
    device = Device("pi-1", CPU_PROVIDER, 1, "arm", (), "ssh://board")
    (member,) = offered.offer([device])
    run = timed(member, write_onnx(), tmp_path)
    assert run.context.device == "pi-1"
    assert [record.sha256 for record in run.records] == [host.sha256(write_onnx())]
    assert member.now()["done"] == 1
    assert member.condition.idle.reading_ns is not None


def test_a_gpu_is_a_member(
    fake_gpu: Libraries, write_onnx: WriteOnnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu.tell(cuda="no_sleep 1\ndevices 2\n")
    for name, value in fake_gpu.environment().items():
        monkeypatch.setenv(name, value)
    for other in ("cpu", "cuda:0"):
        with pytest.raises(DeviceError, match="the same hardware"):
            offered.offer([devices.resolve("cuda"), devices.resolve(other)])
    member, _ = offered.offer([devices.resolve("cuda"), devices.resolve("cuda:1")])
    assert member.facts["cpu"] == "NVIDIA Stand-in"
    assert member.condition.idle.reading_ns is not None
    (record,) = timed(member, write_onnx(), tmp_path).records
    assert record.nodes == {"CUDAExecutionProvider": 1}

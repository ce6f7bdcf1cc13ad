"""A GPU behind ssh: a stand-in for it on this machine, reached through a real sshd."""

import contextlib
import shlex
import sys
from collections.abc import Callable

import pytest
from typer.testing import Result

from tests.board.running import Board
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries
from tests.helpers.command import invoke

pytestmark = pytest.mark.slow
RUN = ("--quick", "--precision", "90%", "--max-time", "10s")


@pytest.fixture
def box(
    ssh_board: Board, reach: Callable[[Board], None], fake_gpu: Libraries
) -> Callable[..., Result]:
    """Return the command, for which `box` is registered: its Python finds the stand-ins."""
    reach(ssh_board)
    python = fake_gpu.work / "python"
    told = {
        k: v
        for k, v in fake_gpu.environment().items()
        if k.startswith(("FAKE", "LD_", "PYTHONPATH"))
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
    python.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    fake_gpu.tell(cuda="no_sleep 1\n", nvml="", ort="", torch="")

    def command(*arguments: str, code: int = 0) -> Result:
        with contextlib.chdir(fake_gpu.work):
            ended = invoke(*arguments)
        assert ended.exit_code == code, ended.stderr
        return ended

    command("device", "add", "box", "ssh://board", "--python", str(python), "--provider", "cuda")
    return command


def test_a_gpu_over_ssh_is_timed_as_one_here(
    box: Callable[..., Result], fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    shown = box("run", str(write_onnx()), "-d", "box", *RUN, "--mode", "graph,eager").stdout
    how = "CUDAExecutionProvider, CUDA graph, cache hot, no TF32, batch 1"
    assert f"box-cuda-0-graph, {how}" in shown and "box-cuda-0-eager, CUDAExec" in shown
    assert "NVIDIA Stand-in, driver 580.95.05, CUDA 13.0, ONNX Runtime " in shown
    (record,) = fake_gpu.newest("box-cuda-0-graph").records
    assert record.spans is not None and record.spans.span_s == pytest.approx(50e-6)
    assert record.nodes == {"CUDAExecutionProvider": 1}
    checked = box("device", "check", "box").stdout
    assert "GPU           NVIDIA Stand-in, compute capability" in checked
    assert "box-cuda-0 is ready" in checked


def test_what_its_machine_cannot_do_is_one_line(
    box: Callable[..., Result], write_onnx: WriteOnnx
) -> None:
    path = str(write_onnx())
    absent = box("run", path, "-d", "box:cuda:7", *RUN, code=6).stderr
    assert "device 'box-cuda-7': " in absent and absent.count("\n") == 1
    torch = box("run", path, "-d", "box", "--provider", "torch", *RUN, code=6).stderr
    assert "torch is timed on the machine that benchbox runs on" in torch
    assert "not on GPUs" in box("run", path, "-d", "box", "--provider", "xnnpack", code=2).stderr
    assert "--install: for processors" in box("device", "check", "box", "--install", code=2).stderr

"""A GPU behind ssh: a stand-in for it on this machine, reached through a real sshd."""

import contextlib
import shlex
import sys
from collections.abc import Callable

import pytest
from typer.testing import Result

from benchbox import host
from benchbox.transports.board import setup
from tests.agent.test_tegra import ORIN, THERMAL
from tests.board.files import plant
from tests.board.running import Board
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries
from tests.helpers.command import invoke

pytestmark = pytest.mark.slow
RUN = ("--quick", "--precision", "90%", "--max-time", "10s")


# A Python that has no stand-in for ONNX Runtime, until its pip, a stand-in too, has run.
INSTALLING = """\
PATH={work}/bin:$PATH
case "$0 $2" in
*venv*/python\\ pip) echo "$@" >> {work}/asked; sh {work}/pip; exit $? ;;
*venv*/python\\ *) ;;
*\\ venv) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
*) export PYTHONPATH= ;;
esac
"""


@pytest.fixture
def box(
    ssh_board: Board, reach: Callable[[Board], None], fake_gpu: Libraries
) -> Callable[..., Result]:
    """Return the command, for which `box` is registered: its Python finds the stand-ins.

    That of `bare` does once something was installed.
    """
    reach(ssh_board)
    told = {
        k: v
        for k, v in fake_gpu.environment().items()
        if k.startswith(("FAKE", "LD_", "PYTHONPATH"))
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
    for name, more in ("python", ""), ("bare", INSTALLING.format(work=fake_gpu.work)):
        python = fake_gpu.work / name
        python.write_text(f'#!/bin/sh\n{exports}{more}exec {sys.executable} "$@"\n')
        python.chmod(0o755)
    (fake_gpu.work / "pip").touch()
    fake_gpu.tell(cuda="no_sleep 1\n", nvml="", ort="", torch="")

    def command(*arguments: str, code: int = 0) -> Result:
        with contextlib.chdir(fake_gpu.work):
            ended = invoke(*arguments)
        assert ended.exit_code == code, ended.stderr
        return ended

    add = ("ssh://board", "--provider", "cuda", "--python")
    command("device", "add", "box", *add, str(fake_gpu.work / "python"))
    command("device", "add", "bare", *add, str(fake_gpu.work / "bare"))
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
    assert "GPU            NVIDIA Stand-in, compute capability" in checked
    assert "box-cuda-0 is ready" in checked


def test_a_jetson_without_nvml_is_read_from_sysfs(
    box: Callable[..., Result], fake_gpu: Libraries, ssh_board: Board, write_onnx: WriteOnnx
) -> None:
    ssh_board.run("mount", "-t", "tmpfs", "none", "/sys/class")
    try:
        classes = {name: f"{value}\n" for name, value in ORIN.items() if "sys/class" in name}
        hot = {f"{THERMAL}/cooling_device1/cur_state": "1\n"}
        plant(ssh_board.outside("/"), classes | hot)
        fake_gpu.tell(nvml="fail nvmlInitWithFlags 12")
        checked = box("device", "check", "box").stdout
        box("run", str(write_onnx()), "-d", "box", *RUN)
    finally:
        ssh_board.run("umount", "/sys/class")
    lines = ("clocks         up to 624 MHz", "clock now      612 MHz", "heat           50 °C")
    assert all(line in checked for line in (*lines, "held down by   heat"))
    assert "not seen" not in checked
    (record,) = fake_gpu.newest("box-cuda-0").records
    for burst in record.bursts:
        assert (burst.seen["gpu_busy_percent"], burst.seen["gpu_temperature_c"]) == (98.3, 49.531)
        assert "gpu_hot" in burst.tags


def test_what_its_machine_cannot_do_is_one_line(
    box: Callable[..., Result], write_onnx: WriteOnnx
) -> None:
    path = str(write_onnx())
    absent = box("run", path, "-d", "box:cuda:7", *RUN, code=6).stderr
    assert "device 'box-cuda-7': " in absent and absent.count("\n") == 1
    torch = box("run", path, "-d", "box", "--provider", "torch", *RUN, code=6).stderr
    assert "torch is timed on the machine that benchbox runs on" in torch
    assert "not on GPUs" in box("run", path, "-d", "box", "--provider", "xnnpack", code=2).stderr
    plugin = box("run", path, "-d", "bare:cpu", "--provider", "plugin:/x.so", *RUN, code=6).stderr
    assert "plugin:/x.so: no such file" in plugin and plugin.count("\n") == 1
    bare = box("run", path, "-d", "bare", *RUN, code=6).stderr
    assert "was built without CUDA" in bare and bare.count("\n") == 1
    assert bare.endswith("; or: benchbox device check bare --install\n")


def test_no_download_is_announced_where_no_driver_is(
    box: Callable[..., Result], fake_gpu: Libraries
) -> None:
    python = fake_gpu.work / "bare"
    python.write_text(python.read_text().replace("LD_LIBRARY_PATH", "NOWHERE"))
    refused = box("device", "check", "bare", "--install", "cuda", code=6).stderr
    assert "there is no NVIDIA driver there (libcuda.so.1: " in refused
    assert "downloading" not in refused


@pytest.mark.parametrize("has_runtime", [True, False])
def test_on_a_jetson_the_cure_is_jetpacks_own_build(
    box: Callable[..., Result], fake_gpu: Libraries, has_runtime: bool
) -> None:
    (fake_gpu.work / "bin").mkdir()
    (fake_gpu.work / "bin/nvpmodel").write_text("#!/bin/sh\necho 'NV Power Mode: 25W\n1'\n")
    (fake_gpu.work / "bin/nvpmodel").chmod(0o755)
    python = fake_gpu.work / "bare"
    if not has_runtime:
        python.write_text(
            python.read_text().replace(f'{sys.executable} "', f'{sys.executable} -S "')
        )
    for more in (), ("--install",):
        refused = box("device", "check", "bare", *more, code=6).stderr
        assert "install JetPack's own onnxruntime-gpu, which" in refused
        assert "--install" not in refused and ("its Python has no " in refused) != has_runtime


def test_cudas_libraries_are_installed_there(
    box: Callable[..., Result], fake_gpu: Libraries
) -> None:
    checked = box("device", "check", "bare", "--install", "cuda")
    assert "downloading 1.6 GB there, which become 2.5 GB; " in checked.stderr
    assert "\nbare-cuda-0 is ready; " in checked.stdout
    (asked,) = (fake_gpu.work / "asked").read_text().splitlines()
    runtime = f"onnxruntime-gpu[cuda,cudnn]=={host.onnxruntime_version()}"
    assert asked.split()[-3:] == ["numpy", "nvidia-ml-py", runtime]
    assert "nothing to install" in box("device", "check", "bare", "--install").stderr
    cleaned = box("device", "check", "bare", "--clean", code=6).stderr
    assert "removed " in cleaned and "was built without CUDA" in cleaned


@pytest.mark.parametrize(
    ("pip", "space_mb", "said"),
    [
        ("", 10**9, "no space left there: 1000001600 MB needed, "),
        ("connection broken by 'NewConnectionError(...)'", 0, "its pip reaches no package index"),
        ("No matching distribution found for numpy", 0, "No matching distribution found for n"),
    ],
)
def test_what_cannot_be_installed_is_one_line(
    box: Callable[..., Result],
    fake_gpu: Libraries,
    monkeypatch: pytest.MonkeyPatch,
    pip: str,
    space_mb: int,
    said: str,
) -> None:
    monkeypatch.setattr(setup, "CUDA_SIZE_MB", space_mb)
    (fake_gpu.work / "pip").write_text(f"echo ERROR: {shlex.quote(pip)} >&2; exit 1")
    refused = box("device", "check", "bare", "--install", code=6).stderr.splitlines()
    assert refused[-1].startswith("Error: device 'bare-cuda-0': nothing installed: ")
    assert said in refused[-1]

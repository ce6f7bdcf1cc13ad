"""Real agents: of this machine, and on another device, be it behind ssh or behind adb."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox.devices import CPU_PROVIDER, Device, last_seen, providers
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, channel, open_agent, open_target
from benchbox.transports.board import commands, setup, target
from benchbox.transports.local import ROOT, open_local, python_child
from tests.helpers import sent
from tests.transports.conftest import KEEPER, Remote, connect, wait_for

pytestmark = pytest.mark.slow
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)
HUGE = """\
huge (float[1,1] x) => (float y) {
  s = Constant<value = int64[2] {40000, 40000}>() e = Expand(x, s) y = ReduceSum<keepdims = 0>(e)
}"""


def test_an_agent_killed_in_mid_burst_is_lost_with_the_bursts_before_it_kept(
    cpu: Device, in_tmp: Path, write_onnx: WriteOnnx
) -> None:
    """No module in the current folder is taken for a library, and a graph may want all memory."""
    for name in ("random", "numpy", "json", "onnxruntime", "benchbox"):
        (in_tmp / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    child = open_local()
    with Agent(child, cpu) as agent:
        resource.prlimit(child.pid, resource.RLIMIT_AS, (4 << 30, -1))
        with pytest.raises(CaseError, match="lloc"):
            agent.load("huge", str(write_onnx("huge", HUGE)), (TensorSpec("x", (1, 1)),), 0)
        loaded = agent.load("g", str(write_onnx()), X, 0)
        assert loaded.load_s > 0 < loaded.first_call_s and loaded.nodes == {CPU_PROVIDER: 1}
        times = agent.time([("g", 5), ("g", 1), ("g", 10**8)], [0.001, 0.001, 60])
        assert [len(next(times).latencies_ns) for _ in range(2)] == [5, 1]
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(AgentError, match="gone: it was ended by SIGKILL"):
            next(times)


@pytest.mark.parametrize(
    ("provider", "cpus", "said"),
    [
        (CPU_PROVIDER, (4095,), "it has no processor 4095 to run on; choose from 0"),
        (providers.named("xnnpack"), (), "its ONNX Runtime has no XnnpackExecutionProvider, only "),
    ],
)
def test_what_a_device_has_not_is_an_error_before_anything_is_loaded(
    provider: str, cpus: tuple[int, ...], said: str
) -> None:
    with pytest.raises(DeviceError, match=f"device 'cpu': {said}"):
        open_agent(Device("cpu", provider, 1, "arm", cpus))


def test_a_child_has_the_parents_pythonpath_after_benchbox_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import json, os, benchbox\n"
        "print(json.dumps(dict(os.environ, BENCHBOX_FILE=benchbox.__file__)))"
    )
    (tmp_path / "benchbox.py").write_text("raise SystemExit('the wrong benchbox')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = python_child("mine", EXTRA="1")
    environ = child.receive(10)
    child.close()
    assert environ["BENCHBOX_FILE"].startswith(str(ROOT))
    assert (environ["EXTRA"], environ["ORT_DISABLE_TELEMETRY"]) == ("1", "1")
    assert environ["OMP_NUM_THREADS"] == "1"


BUSY = """
import time
from benchbox.devices import Device
from benchbox.specs import TensorSpec
from benchbox.transports import Agent
from benchbox.transports.local import open_local
channel = open_local()
agent = Agent(channel, Device("cpu", "CPUExecutionProvider", 1, "arm"))
agent.load("g", {path!r}, [TensorSpec("x", (32, 32))], 0)
next(agent.time([("g", 2000)] * 3000, [60.0] * 3000))
print(channel.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_no_agent_outlives_a_parent_that_is_killed(write_onnx: WriteOnnx) -> None:
    argv = [sys.executable, "-c", BUSY.format(path=str(write_onnx()))]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    stat = Path(f"/proc/{int(parent.stdout.readline())}/stat")
    assert is_alive(stat)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for(lambda: not is_alive(stat))


def is_alive(stat: Path) -> bool:
    """Whether a process runs; one that ended and was not reaped yet does not."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# on another device


def test_a_graph_is_timed_and_nothing_is_sent_twice(remote: Remote, write_onnx: WriteOnnx) -> None:
    """An agent that is killed there is told from a lost link."""
    kept = []
    for is_killed in (False, True):
        with open_agent(remote.device) as agent:
            agent.load("g", str(write_onnx()), X, 0)
            (timed,) = agent.time([("g", 5)], [0.1])
            assert len(timed.latencies_ns) == 5
            if is_killed:
                remote.board.kill(*remote.board.agents())
                with pytest.raises(AgentError, match="by SIGKILL, as a system out of memory does"):
                    agent.look(0, 0.1)
        kept.append({path.name: path.stat().st_ino for path in (remote.cache / "files").iterdir()})
    assert kept[0] == kept[1]
    assert {Path(name).suffix for name in kept[0]} == {".onnx", ".pyz"}
    assert wait_for(lambda: not remote.board.agents() and not remote.board.pids(KEEPER))
    assert list((remote.cache / "run").iterdir()) == []
    assert remote.machine in last_seen.last(remote.device.url).what


def test_a_link_that_is_lost_ends_the_agent_here_and_there(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "PING_S", 0.2)
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 3.0")
    agent = open_agent(remote.device)
    assert len(remote.board.agents()) == 1
    remote.lose()
    with pytest.raises(AgentError, match="the link to the device is lost"):
        agent.look(0, 0.1)
    agent.close()
    assert wait_for(lambda: not remote.board.agents())


def test_an_agent_that_is_stuck_does_not_outlive_its_link(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GRACE_S", 0.2)
    sent.change(monkeypatch, "remote_keeper.py", "GRACE_S = 2.0", "GRACE_S = 0.2")
    agent = open_agent(remote.device)
    (pid,) = remote.board.agents()
    remote.board.kill(pid, signal.SIGSTOP)  # it sees no end of its input
    agent.close()
    assert wait_for(lambda: not remote.board.agents())


def test_a_device_says_what_it_is_and_nothing_of_its_link_is_left_here(remote: Remote) -> None:
    def children() -> list[str]:
        argv = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
        return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()

    before = set(threading.enumerate())
    with open_target(remote.device) as opened:
        facts = setup.facts(opened)
    assert facts["versions"].keys() == {"Python", "onnxruntime", "numpy"}
    assert [cpu for group in facts["clusters"] for cpu in group["cpus"]]
    assert set(threading.enumerate()) == before
    assert not [line for line in children() if " -T " in line]


def test_the_shell_and_the_keeper_agree_on_the_folder(remote: Remote) -> None:
    """At home where that can be written, else in /data/local/tmp."""
    link = connect(remote.device)
    keeper = link.start(commands.program(remote.device.python))
    keeper.write(commands.script("remote_keeper.py"))
    keeper.send({"op": "hello"})
    found = link.start(commands.shell(f'{commands.FOLDER}; echo "$folder"'))
    found.wait(20)
    assert keeper.receive(20)["folder"] == found.output().decode().strip()
    link.close()

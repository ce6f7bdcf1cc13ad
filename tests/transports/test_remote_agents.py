"""What every agent on another device does, be it behind ssh or behind adb."""

import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox.devices import CPU_PROVIDER, Device, last_seen
from benchbox.errors import AgentError, DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent, open_target
from benchbox.transports.board import commands, setup, target
from benchbox.transports.channel import Timeout
from tests.helpers import sent
from tests.transports.conftest import KEEPER, Remote, connect, wait_for

pytestmark = pytest.mark.slow
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)


def test_a_graph_is_timed_and_nothing_is_sent_twice(remote: Remote, write_onnx: WriteOnnx) -> None:
    kept = []
    for _ in range(2):
        with open_agent(remote.device) as agent:
            assert agent.hello["versions"]["onnxruntime"]
            agent.load("g", str(write_onnx()), X, 0)
            (timed,) = agent.time([("g", 5)], [0.1])
            assert len(timed.latencies_ns) == 5
        kept.append({path.name: path.stat().st_ino for path in (remote.cache / "files").iterdir()})
    assert kept[0] == kept[1]
    assert {Path(name).suffix for name in kept[0]} == {".onnx", ".pyz"}
    assert wait_for(lambda: not remote.board.agents() and not remote.board.pids(KEEPER))
    assert list((remote.cache / "run").iterdir()) == []
    assert platform.machine() in last_seen.last(remote.device.url).what


def test_a_link_that_is_lost_ends_the_agent_here_and_there(remote: Remote) -> None:
    agent = open_agent(remote.device)
    assert len(remote.board.agents()) == 1
    remote.lose()
    with pytest.raises(AgentError, match="the link to the device is lost"):
        agent.look(0, 0.1)
    agent.close()
    assert wait_for(lambda: not remote.board.agents())


def test_a_killed_agent_is_told_from_a_lost_link(remote: Remote) -> None:
    with open_agent(remote.device) as agent:
        (pid,) = remote.board.agents()
        remote.board.kill(pid)
        with pytest.raises(AgentError, match="ended by SIGKILL, as a system out of memory does"):
            agent.look(0, 0.1)


def test_an_agent_that_is_stuck_does_not_outlive_its_link(remote: Remote) -> None:
    agent = open_agent(remote.device)
    (pid,) = remote.board.agents()
    remote.board.kill(pid, signal.SIGSTOP)  # it sees no end of its input
    agent.close()
    assert wait_for(lambda: not remote.board.agents())


def test_an_agent_that_hangs_meets_its_deadline_and_may_be_closed_twice(remote: Remote) -> None:
    agent = open_agent(remote.device)
    with pytest.raises(Timeout):
        agent._channel.receive(0.2)
    agent.close()
    agent.close()
    with pytest.raises(AgentError, match="the agent is gone"):
        agent.look(0, 0.1)


def test_pings_keep_the_keeper(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "PING_S", 0.1)
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 1.0")
    with open_target(remote.device) as opened:
        time.sleep(2.0)
        assert opened.push({}) == {}


def test_nothing_of_a_link_is_left_here(remote: Remote) -> None:
    def children() -> str:
        argv = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
        return subprocess.run(argv, capture_output=True, text=True).stdout

    before = set(threading.enumerate())
    for _ in range(2):
        open_target(remote.device).close()
    assert set(threading.enumerate()) == before
    assert not [line for line in children().splitlines() if " shell -T " in line or " -T " in line]


def test_a_device_says_what_it_is(remote: Remote) -> None:
    with open_target(remote.device) as opened:
        facts = setup.facts(opened)
    assert facts["versions"].keys() == {"Python", "onnxruntime", "numpy"}
    assert [cpu for group in facts["clusters"] for cpu in group["cpus"]]


@pytest.mark.parametrize("python", ["$(touch hit)", "a'; touch hit; '", "~/x; touch hit", "`hit`"])
def test_the_path_of_python_is_never_run_as_a_command(remote: Remote, python: str) -> None:
    url = remote.device.url
    again = rf"no .* there; .*name one with: benchbox device add NAME {url} --python PATH"
    with pytest.raises(DeviceError, match=again):
        open_agent(Device("odd", CPU_PROVIDER, 1, "arm", (), url, python))
    assert not [p for p in (remote.board.root, remote.board.home) if (p / "hit").exists()]


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

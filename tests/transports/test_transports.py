import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchbox.devices import CPU_PROVIDER, Device, providers
from benchbox.devices.registry import Processors
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, open_agent
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.client import Deadlines
from benchbox.transports.local import ROOT, open_local, python_child
from tests.helpers.machine import HELLO, HOST
from tests.helpers.scripted import Scripted
from tests.transports.conftest import wait_for

WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)
LOADED = {"reply": "load", "load_s": 0.1, "first_call_s": 0.2, "finite": True}
SHORT = Deadlines(hello_s=10, load_s=0.3, burst_s=0.3, patience=2)


def burst(graph: str, *latencies: int, **more: object) -> dict[str, Any]:
    return {"burst": {"graph": graph, "latencies_ns": [*latencies], "switches": None, **more}}


def agent_of(cpu: Device, *answers: dict[str, Any] | Exception) -> Agent:
    """An agent that greets, and then answers so."""
    return Agent(Scripted(HELLO, *answers), cpu)


@pytest.fixture
def local(cpu: Device) -> Iterator[tuple[Agent, ProcessChannel]]:
    """A real agent with short deadlines, and its channel."""
    channel = open_local()
    yield Agent(channel, cpu, SHORT), channel
    channel.kill()


# what a broken agent means


@pytest.mark.parametrize(
    "answer",
    [
        {"reply": "hello", "error": "ImportError: no onnxruntime"},
        ChannelClosed("it ended with code 1 (no onnxruntime)"),
        Timeout(),
        {"reply": "dance"},
        {"hello": "world"},
    ],
)
def test_an_agent_that_does_not_greet_makes_the_device_unusable(
    cpu: Device, answer: dict[str, Any] | Exception
) -> None:
    channel = Scripted(answer)
    with pytest.raises(DeviceError, match="device 'cpu': no agent starts there"):
        Agent(channel, cpu)
    assert channel.closed


def test_the_greeting_says_how_many_threads_and_on_which_processors() -> None:
    asked: list[tuple[Processors, object]] = [((), None), ((2, 3), (2, 3)), ("little", "little")]
    for cpus, sent in asked:
        channel = Scripted(HELLO)
        agent = Agent(channel, Device("cpu", "CPUExecutionProvider", 2, "arm", cpus))
        assert channel.sent == [{"op": "hello", "protocol": 1, "threads": 2, "cpus": sent}]
        assert agent.hello == HELLO


def test_a_graph_that_does_not_load_is_the_cases_error_and_the_agent_stays(cpu: Device) -> None:
    fails = {"reply": "load", "error": "Fail: no kernel"}
    agent = agent_of(cpu, fails, {**LOADED, "finite": False}, LOADED)
    for reason in ("no kernel", "not finite"):
        with pytest.raises(CaseError, match=reason) as raised:
            agent.load("g", "g.onnx", X, 0)
        assert not isinstance(raised.value, AgentError)
    assert agent.load("g", "g.onnx", X, 0).first_call_s == 0.2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ChannelClosed("it was ended by SIGSEGV"), "the agent is gone: it was ended by SIGSEGV"),
        (Timeout(), "no answer for 300 s"),
        ({"reply": "hello"}, "answered"),
        ({"reply": "unload"}, "answered"),
    ],
)
def test_an_agent_lost_in_loading_is_an_agent_error(
    cpu: Device, answer: dict[str, Any] | Exception, reason: str
) -> None:
    with pytest.raises(AgentError, match=reason):
        agent_of(cpu, answer).load("g", "g.onnx", X, 0)


def test_sending_to_a_dead_agent_is_an_agent_error(cpu: Device) -> None:
    class Dead(Scripted):
        def send(self, message: Mapping[str, object]) -> None:
            if message["op"] != "hello":
                raise ChannelClosed("it ended with code 9")

    agent = Agent(Dead(HELLO), cpu)
    with pytest.raises(AgentError, match="gone: it ended with code 9"):
        agent.load("g", "g.onnx", X, 0)


@pytest.mark.parametrize("end", [Timeout(), ChannelClosed("no answer")])
@pytest.mark.parametrize("more", [[], [("c", 1)]])
def test_bursts_are_yielded_as_they_come_before_the_agent_is_lost(
    cpu: Device, end: Exception, more: list[tuple[str, int]]
) -> None:
    agent = agent_of(cpu, burst("a", 1, 2), burst("b", 3, error="", switches=[4]), end)
    asked = [("a", 2), ("b", 1), *more]  # behind the last one, too, it costs no sample
    times = agent.time(asked, [0.1] * len(asked))
    first, second = next(times), next(times)
    assert (first.graph, first.latencies_ns, first.data["switches"]) == ("a", (1, 2), None)
    assert (second.latencies_ns, second.data["switches"]) == ((3,), [4])
    with pytest.raises(AgentError, match="no answer"):
        next(times)


def test_a_burst_may_take_as_long_as_it_is_expected_to_and_far_longer(cpu: Device) -> None:
    channel = Scripted(HELLO, burst("a", 1), burst("b", 1), {"reply": "time"})
    deadlines = Deadlines(burst_s=10, patience=3)
    assert len(list(Agent(channel, cpu, deadlines).time([("a", 1), ("b", 1)], [0.0, 100.0]))) == 2
    assert channel.waits[1:] == [10, 310, 10]


def test_the_last_burst_says_what_is_set_otherwise_than_at_first(cpu: Device) -> None:
    hello = {**HELLO, "host": {**HOST, "setting": {"governor": "performance", "limit": "2400 MHz"}}}
    now = {"governor": "powersave", "limit": "2400 MHz", "nvpmodel": "MAXN (0)"}
    ends = {"reply": "time", "setting": now}
    asked = [("a", 1), ("b", 1)]
    channel = Scripted(hello, burst("a", 1), burst("b", 1), ends, burst("c", 1), ends)
    agent = Agent(channel, cpu)
    first, last = agent.time(asked, [0.1, 0.1])
    assert ("setting" in first.data, last.data["setting"]) == (False, {"governor": "powersave"})
    agent.setting = now
    (alone,) = agent.time([("c", 1)], [0.1])
    assert "setting" not in alone.data


def test_a_device_says_how_it_feels(cpu: Device) -> None:
    told = {"reply": "health", "temperature_c": 51.5, "setting": {"governor": "ondemand"}}
    bare = {"reply": "health", "temperature_c": None}
    agent = agent_of(cpu, told, bare, {"reply": "health", "error": "unknown"})
    now = agent.health()
    assert (now.temperature_c, now.setting) == (51.5, {"governor": "ondemand"})
    assert agent.health().temperature_c is None
    with pytest.raises(CaseError, match="unknown"):
        agent.health()


def test_what_a_burst_carries_is_kept_whole_and_a_failed_one_has_its_reason(cpu: Device) -> None:
    parts = {"marks": [[0, 12000], [2, 12001]], "probe": "stream", "heat": 3}
    fails = {"burst": {"graph": "b", "error": "boom"}}
    channel = Scripted(HELLO, burst("a", 1, 2, **parts), fails, {"reply": "time"})
    asked = [("a", 2, True), ("b", 1)]
    timed, failed = Agent(channel, cpu).time(asked, [0.1, 0.1])
    assert channel.sent[1] == {"op": "time", "bursts": asked}
    assert {name: timed.data[name] for name in parts} == parts
    assert timed.error is None
    assert (failed.graph, failed.latencies_ns, failed.error) == ("b", (), "boom")


@pytest.mark.parametrize(
    ("asked", "part", "found"),
    [("types", "types", {"float": 3}), ("denormals", "denormal_ratio", 40.0)],
)
def test_types_and_denormals_are_looked_for_only_where_asked(
    cpu: Device, asked: str, part: str, found: object
) -> None:
    channel = Scripted(HELLO, LOADED, {**LOADED, part: found})
    agent = Agent(channel, cpu)
    assert getattr(agent.load("g", "g.onnx", X, 0), part) is None
    wanted: dict[str, Any] = {asked: True}
    assert getattr(agent.load("g", "g.onnx", X, 0, **wanted), part) == found
    assert [request[asked] for request in channel.sent[1:]] == [False, True]


@pytest.mark.parametrize("answer", [{"reply": "time", "error": "KeyError: x"}, {"reply": "load"}])
def test_an_answer_that_is_no_burst_is_an_agent_error(cpu: Device, answer: dict[str, Any]) -> None:
    with pytest.raises(AgentError, match="answered"):
        list(agent_of(cpu, answer).time([("a", 1)], [0.1]))


def test_leaving_an_agent_closes_its_channel_whatever_happened(cpu: Device) -> None:
    channel = Scripted(HELLO)
    with pytest.raises(KeyboardInterrupt), Agent(channel, cpu):
        raise KeyboardInterrupt
    assert channel.closed


# real agents


def test_a_local_agent_loads_and_times(cpu: Device, write_onnx: WriteOnnx) -> None:
    with open_agent(cpu) as agent:
        loaded = agent.load("g", str(write_onnx()), X, 0)
        (timed,) = agent.time([("g", 5)], [0.001])
    assert loaded.load_s > 0 < loaded.first_call_s
    assert loaded.nodes == {CPU_PROVIDER: 1}
    assert (timed.graph, len(timed.latencies_ns), timed.error) == ("g", 5, None)


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


def test_a_provider_that_takes_no_node_of_a_graph_is_an_error(write_onnx: WriteOnnx) -> None:
    idle = Device("cpu", "AzureExecutionProvider", 1, "arm")  # in the wheel, and runs no node
    with open_agent(idle) as agent, pytest.raises(CaseError) as caught:
        agent.load("g", str(write_onnx()), X, 0)
    assert "nodes runs on AzureExecutionProvider, all on CPUExecutionProvider" in str(caught.value)


def test_an_agent_killed_in_mid_burst_is_lost_with_the_bursts_before_it_kept(
    local: tuple[Agent, ProcessChannel], write_onnx: WriteOnnx
) -> None:
    agent, channel = local
    agent.load("g", str(write_onnx()), X, 0)
    times = agent.time([("g", 1), ("g", 1), ("g", 10**8)], [0.001, 0.001, 60])
    assert len(next(times).latencies_ns) == len(next(times).latencies_ns) == 1
    os.kill(channel.pid, signal.SIGKILL)
    with pytest.raises(AgentError, match="gone: it was ended by SIGKILL"):
        next(times)


def test_an_agent_that_hangs_is_given_up_after_its_deadline(
    local: tuple[Agent, ProcessChannel], write_onnx: WriteOnnx
) -> None:
    agent, channel = local
    path = str(write_onnx())
    os.kill(channel.pid, signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(AgentError, match="no answer"):
        agent.load("g", path, X, 0)
    agent.close()
    assert time.monotonic() - begin < 10


def test_a_module_in_the_current_folder_is_not_taken_for_a_library(
    cpu: Device, in_tmp: Path
) -> None:
    for name in ("random", "numpy", "json", "onnxruntime", "benchbox"):
        (in_tmp / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    with open_agent(cpu) as agent:
        assert agent.hello["versions"]["numpy"]


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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_no_agent_outlives_a_parent_that_is_killed(write_onnx: WriteOnnx, busy: bool) -> None:
    code = f"""
import time
from benchbox.devices import Device
from benchbox.specs import TensorSpec
from benchbox.transports import Agent
from benchbox.transports.local import open_local
channel = open_local()
agent = Agent(channel, Device("cpu", "CPUExecutionProvider", 1, "arm"))
agent.load("g", {str(write_onnx())!r}, [TensorSpec("x", (32, 32))], 0)
bursts = agent.time([("g", 2000)] * 3000, [60.0] * 3000)
{"next(bursts)" if busy else ""}
print(channel.pid, flush=True)
time.sleep(60)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

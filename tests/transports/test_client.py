"""Agents that are scripts: what they answer, and what no agent does, told by its wrong part."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from benchbox.analysis.samples import Burst
from benchbox.devices import Device
from benchbox.devices.host_schema import wrong
from benchbox.devices.registry import Processors
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.sampling.session import unread
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, reply_schema
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.client import Deadlines
from tests.helpers.machine import HELLO, HOST
from tests.helpers.scripted import Scripted

X = (TensorSpec("x", (32, 32)),)
LOADED = {"reply": "load", "load_s": 0.1, "first_call_s": 0.2, "finite": True}
NAN, HUGE = float("nan"), 10**27
WATCHED = {"cpu": 0, "seconds": 1.0, "readings_ns": [[12000, 5]], "gaps": 0, "lost_s": 0.0}
WATCHED |= {"longest_gap_s": 0.0, "seen": {}, "others": []}
NODE = {"name": "n", "op": "Relu", "provider": "p", "count": 1.0, "us": [5, 6]}
PROFILE = {"reply": "profile", "latencies_ns": {"default": [10], "profiled": [20, 21]}}
PROFILE |= {"unoptimised_error": "", "run_us": [10, 11]}
PROFILE |= {"nodes": [{**NODE, "inputs": [[1, 3]], "outputs": [None]}]}
FACTS = {"machine": "aarch64", "system": "Linux", "clusters": [], "versions": {}, "free_bytes": 1}


def burst(graph: str, *latencies: int, **more: object) -> dict[str, Any]:
    return {"burst": {"graph": graph, "latencies_ns": [*latencies], "switches": None, **more}}


def agent_of(cpu: Device, *answers: dict[str, Any] | Exception) -> Agent:
    """An agent that greets, and then answers so."""
    return Agent(Scripted(HELLO, *answers), cpu)


def load(agent: Agent) -> object:
    return agent.load("g", "g.onnx", X, 0)


def time(agent: Agent) -> object:
    return list(agent.time([("a", 2)], [0.1]))


def profile(agent: Agent) -> object:
    return agent.profile("g.onnx", X, 0, 5)


def look(agent: Agent) -> object:
    return agent.look(0, 1.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"reply": "hello", "error": "ImportError: no onnxruntime"},
        ChannelClosed("it ended with code 1 (no onnxruntime)"),
        Timeout(),
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
            load(agent)
        assert not isinstance(raised.value, AgentError)
    assert agent.load("g", "g.onnx", X, 0).first_call_s == 0.2


@pytest.mark.parametrize(
    ("ask", "answer", "reason"),
    [
        (load, ChannelClosed("it was ended by SIGSEGV"), "gone: it was ended by SIGSEGV"),
        (load, Timeout(), "no answer for 300 s"),
        (load, {"reply": "hello"}, "answered"),
        (time, {"reply": "time", "error": "KeyError: x"}, "answered KeyError"),
        (time, {"reply": "load"}, "answered"),
    ],
)
def test_an_agent_that_is_lost_or_answers_something_else_is_an_agent_error(
    cpu: Device, ask: Callable[[Agent], object], answer: dict[str, Any] | Exception, reason: str
) -> None:
    with pytest.raises(AgentError, match=reason):
        ask(agent_of(cpu, answer))


def test_sending_to_a_dead_agent_is_an_agent_error(cpu: Device) -> None:
    class Dead(Scripted):
        def send(self, message: Mapping[str, object]) -> None:
            if message["op"] != "hello":
                raise ChannelClosed("it ended with code 9")

    with pytest.raises(AgentError, match="gone: it ended with code 9"):
        load(Agent(Dead(HELLO), cpu))


@pytest.mark.parametrize("end", [Timeout(), ChannelClosed("no answer")])
@pytest.mark.parametrize("more", [[], [("c", 1)]])
def test_bursts_are_yielded_as_they_come_before_the_agent_is_lost(
    cpu: Device, end: Exception, more: list[tuple[str, int]]
) -> None:
    agent = agent_of(cpu, burst("a", 1, 2), burst("b", 3, error="", switches=[4]), end)
    asked = [("a", 2), ("b", 1), *more]  # behind the last one, too, it costs no sample
    times = agent.time(asked, [0.1] * len(asked))
    first, second = next(times), next(times)
    assert (first.graph, first.latencies_ns, first.burst().switches) == ("a", (1, 2), None)
    assert (second.latencies_ns, second.burst().switches) == ((3,), (4,))
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
    channel = Scripted(hello, burst("a", 1), burst("b", 1), ends, burst("c", 1), ends)
    agent = Agent(channel, cpu)
    first, last = agent.time([("a", 1), ("b", 1)], [0.1, 0.1])
    assert (first.burst().setting, last.burst().setting) == ({}, {"governor": "powersave"})
    agent.setting = now
    (alone,) = agent.time([("c", 1)], [0.1])
    assert alone.burst().setting == {}


def test_what_a_burst_carries_is_kept_and_a_failed_one_has_its_reason(cpu: Device) -> None:
    parts = {"marks": [[0, 12000], [2, 12001]], "probe": "stream"}
    ours = {"tags": ["hot"], "kind": "beside", "session": 9, "heat": 3}
    fails = {"burst": {"graph": "b", "error": "boom"}}
    channel = Scripted(HELLO, burst("a", 1, 2, **parts, **ours), fails, {"reply": "time"})
    asked = [("a", 2, True), ("b", 1)]
    timed, failed = Agent(channel, cpu).time(asked, [0.1, 0.1])
    assert channel.sent[1] == {"op": "time", "bursts": asked}
    assert timed.burst() == Burst(0, 0, (1, 2), marks=((0, 12000), (2, 12001)), probe="stream")
    assert timed.error is None
    assert (failed.graph, failed.latencies_ns, failed.error) == ("b", (), "boom")


def test_types_and_denormals_are_looked_for_only_where_asked(cpu: Device) -> None:
    found = {"types": {"float": 3}, "denormal_ratio": 40.0}
    channel = Scripted(HELLO, LOADED, LOADED | found)
    agent = Agent(channel, cpu)
    load(agent)
    loaded = agent.load("g", "g.onnx", X, 0, denormals=True, types=True)
    assert {name: getattr(loaded, name) for name in found} == found
    asked = [(request["denormals"], request["types"]) for request in channel.sent[1:]]
    assert asked == [(False, False), (True, True)]


def test_leaving_an_agent_closes_its_channel_whatever_happened(cpu: Device) -> None:
    channel = Scripted(HELLO)
    with pytest.raises(KeyboardInterrupt), Agent(channel, cpu):
        raise KeyboardInterrupt
    assert channel.closed


# what no agent answers


@pytest.mark.parametrize(
    ("lie", "part"),
    [
        ({"host": []}, "host"),
        ({"host": {}}, "host.machine"),
        ({"host": HOST | {"cpus_usable": True}}, "host.cpus_usable"),
        ({"host": HOST | {"clusters": [{"cpus": [0], "core": 5}]}}, "host.clusters.0.core"),
        ({"host": HOST | {"setting": {"governor": 5}}}, "host.setting.governor"),
        ({"host": HOST | {"memory_available_bytes": HUGE}}, "host.memory_available_bytes"),
        ({"host": HOST | {"cpu": "x" * 5000}}, "host.cpu"),
        ({"host": HOST | {"unknown": [NAN]}}, "host.unknown.0"),
        ({"versions": None}, "versions"),
        ({"providers": "all"}, "providers"),
        ({"affinity": [5]}, "affinity.0"),
    ],
)
def test_a_wrong_greeting_makes_the_device_unusable(
    cpu: Device, lie: Mapping[str, Any], part: str
) -> None:
    channel = Scripted({**HELLO, **lie})
    with pytest.raises(DeviceError) as caught:
        Agent(channel, cpu)
    assert f"it answered no {part!r} as" in str(caught.value)
    assert "\n" not in str(caught.value) and channel.closed


@pytest.mark.parametrize(
    ("ask", "answer", "part"),
    [
        (load, {"reply": "load", "load_s": 0.1, "first_call_s": 0.2}, "finite"),
        (load, LOADED | {"first_call_s": NAN}, "first_call_s"),
        (load, LOADED | {"first_call_s": 0}, "first_call_s"),
        (load, LOADED | {"nodes": {"p": "x"}}, "nodes.p"),
        (time, {"burst": 5}, "burst"),
        (time, {"burst": {"graph": "other", "latencies_ns": [1]}}, "burst"),
        (time, burst("a"), "latencies_ns"),
        (time, burst("a", 1, 2, 3), "latencies_ns"),
        (time, burst("a", 1, -5), "latencies_ns.1"),
        (time, burst("a", 1, switches=[0, 0]), "switches"),
        (time, burst("a", 1, seen={"clock_khz": NAN}), "seen.clock_khz"),
        (time, burst("a", 1, marks=[[0]]), "marks.0.1"),
        (time, burst("a", 1, probe="none"), "probe"),
        (time, {"burst": {"graph": "a", "error": ["boom"]}}, "error"),
        (Agent.health, {"reply": "health", "temperature_c": "warm"}, "temperature_c"),
        (Agent.ceilings, {"reply": "ceilings", "seen": {}}, "ceilings"),
        (look, {"reply": "look", "look": WATCHED, "facts": {"cpus": 5}}, "facts.cpus"),
        (look, {"reply": "look", "look": {**WATCHED, "others": [0]}, "facts": {}}, "look.others.0"),
        (profile, {"step": {"share": 0.5, "next_s": HUGE}}, "next_s"),
        (profile, {"step": []}, "answer"),
        (profile, PROFILE | {"latencies_ns": {"default": [1]}}, "latencies_ns.profiled"),
        (profile, PROFILE | {"run_us": [10]}, "nodes.us"),
        (profile, PROFILE | {"cpu_ns": {"default": [1], "profiled": [2]}}, "cpu_ns.profiled"),
        (profile, PROFILE | {"nodes": [NODE]}, "nodes.0.inputs"),
    ],
)
def test_a_wrong_answer_is_an_agent_error_that_names_its_part(
    cpu: Device, ask: Callable[[Agent], object], answer: dict[str, Any], part: str
) -> None:
    with pytest.raises(AgentError) as caught:
        ask(agent_of(cpu, answer, {"reply": "time"}))
    assert str(caught.value).startswith(f"the agent is broken: it answered no {part!r} as")


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (load, LOADED | {"denormal_ratio": None, "outputs": [5], "unheard_of": NAN}),
        (time, burst("a", 1, unheard_of=[NAN], marks=[[0, 12000]], seen={"moved": 1.5})),
        (look, {"reply": "look", "look": WATCHED, "facts": {"virtual": True, "new": "x"}}),
        (profile, PROFILE),
    ],
)
def test_what_a_newer_agent_says_more_is_left_alone(
    cpu: Device, ask: Callable[[Agent], object], answer: dict[str, Any]
) -> None:
    assert ask(agent_of(cpu, answer, {"reply": "time"}))


def test_what_is_set_at_the_end_of_a_request_is_looked_at_too(cpu: Device) -> None:
    agent = agent_of(cpu, burst("a", 1), {"reply": "time", "setting": "x"})
    times = agent.time([("a", 1)], [0.1])
    assert next(times).latencies_ns == (1,)
    with pytest.raises(AgentError, match="no 'setting'"):
        next(times)


def test_what_a_board_is_without_an_agent_is_looked_at() -> None:
    assert wrong(reply_schema.Facts, FACTS) == ""
    assert wrong(reply_schema.Facts, FACTS | {"clusters": [{"cpus": []}]}) == "clusters.0.cpus"
    assert wrong(reply_schema.Facts, FACTS | {"temperature_c": NAN}) == "temperature_c"


@pytest.mark.parametrize(
    ("calls", "expected_s", "count"),
    [(60, [0.04] * 12, 12), (60, [0.04] * 40, 24), (60, [2.0], 0), (1000, [0.03] * 3, 1)],
)
def test_replies_are_left_until_all_are_there_or_a_pipe_fills(
    calls: int, expected_s: list[float], count: int
) -> None:
    assert unread([("g", calls)] * len(expected_s), expected_s) == count

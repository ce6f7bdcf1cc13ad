"""Agents that answer what no agent does: each is told of with the part that is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from benchbox.devices import Device
from benchbox.devices.host_schema import wrong
from benchbox.errors import AgentError, DeviceError
from benchbox.transports import Agent, reply_schema
from tests.helpers.machine import HELLO, HOST
from tests.helpers.scripted import Scripted
from tests.transports.test_transports import LOADED, SHORT, X, burst

NAN, HUGE = float("nan"), 10**27
WATCHED = {"cpu": 0, "seconds": 1.0, "readings_ns": [[12000, 5]], "gaps": 0, "lost_s": 0.0}
WATCHED |= {"longest_gap_s": 0.0, "seen": {}, "others": []}
NODE = {"name": "n", "op": "Relu", "provider": "p", "count": 1.0, "us": [5, 6]}
PROFILE = {
    "reply": "profile",
    "latencies_ns": {"default": [10], "profiled": [20]},
    "unoptimised_error": "",
    "run_us": [10, 11],
    "gap_us": [1, 2.5],
    "nodes": [{**NODE, "inputs": [[1, 3]], "outputs": [None]}],
}
FACTS = {"machine": "aarch64", "system": "Linux", "clusters": [], "versions": {}, "free_bytes": 1}


@pytest.mark.parametrize(
    ("lie", "part"),
    [
        ({"host": []}, "host"),
        ({"host": {}}, "host.machine"),
        ({"host": HOST | {"cpus_usable": True}}, "host.cpus_usable"),
        ({"host": HOST | {"clusters": None}}, "host.clusters"),
        ({"host": HOST | {"clusters": [{"cpus": "x"}]}}, "host.clusters.0.cpus"),
        ({"host": HOST | {"clusters": [{"cpus": [0], "core": 5}]}}, "host.clusters.0.core"),
        ({"host": HOST | {"setting": [1]}}, "host.setting"),
        ({"host": HOST | {"setting": {"governor": 5}}}, "host.setting.governor"),
        ({"host": HOST | {"memory_available_bytes": "none"}}, "host.memory_available_bytes"),
        ({"host": HOST | {"memory_available_bytes": HUGE}}, "host.memory_available_bytes"),
        ({"host": HOST | {"cpu": "x" * 5000}}, "host.cpu"),
        ({"host": HOST | {"cpu": "\ud800"}}, "host.cpu"),
        ({"host": HOST | {"gpu": 5}}, "host.gpu"),
        ({"host": HOST | {"unknown": [NAN]}}, "host"),
        ({"versions": ["a"]}, "versions"),
        ({"versions": None}, "versions"),
        ({"providers": "all"}, "providers"),
        ({"cpus": "abc"}, "cpus"),
        ({"cpus": [-1]}, "cpus.0"),
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


def load(agent: Agent) -> object:
    return agent.load("g", "g.onnx", X, 0)


def time(agent: Agent) -> object:
    return list(agent.time([("a", 2)], [0.1]))


def profile(agent: Agent) -> object:
    return agent.profile("g.onnx", X, 0, 5)


def look(agent: Agent) -> object:
    return agent.look(0, 1.0)


@pytest.mark.parametrize(
    ("ask", "answer", "part"),
    [
        (load, {"reply": "load", "load_s": 0.1, "first_call_s": 0.2}, "finite"),
        (load, LOADED | {"finite": 1}, "finite"),
        (load, LOADED | {"load_s": "x"}, "load_s"),
        (load, LOADED | {"first_call_s": NAN}, "first_call_s"),
        (load, LOADED | {"first_call_s": -1}, "first_call_s"),
        (load, LOADED | {"first_call_s": 1e999}, "first_call_s"),
        (load, LOADED | {"first_call_s": HUGE}, "first_call_s"),
        (load, LOADED | {"peak_rss_bytes": "lots"}, "peak_rss_bytes"),
        (load, LOADED | {"nodes": {"p": "x"}}, "nodes.p"),
        (load, LOADED | {"affinity": 5}, "affinity"),
        (load, LOADED | {"types": []}, "types"),
        (time, {"burst": 5}, "burst"),
        (time, {"burst": {"graph": "other", "latencies_ns": [1]}}, "burst"),
        (time, {"burst": {"graph": "a"}}, "latencies_ns"),
        (time, burst("a"), "latencies_ns"),
        (time, burst("a", 1, 2, 3), "latencies_ns"),
        (time, burst("a", 1, -5), "latencies_ns.1"),
        (time, burst("a", HUGE), "latencies_ns.0"),
        (time, burst("a", 1, switches=[0, 0]), "switches"),
        (time, burst("a", 1, switches=["x"]), "switches.0"),
        (time, burst("a", 1, seen="x"), "seen"),
        (time, burst("a", 1, seen={"clock_khz": "fast"}), "seen.clock_khz"),
        (time, burst("a", 1, seen={"clock_khz": NAN}), "seen.clock_khz"),
        (time, burst("a", 1, probed_ns="x"), "probed_ns"),
        (time, burst("a", 1, marks=[[0]]), "marks.0"),
        (time, burst("a", 1, marks=[[0, 12000.5]]), "marks.0.1"),
        (time, burst("a", 1, probe="none"), "probe"),
        (time, burst("a", 1, stream_ns=5), "stream_ns"),
        (time, burst("a", 1, pool="yes"), "pool"),
        (time, burst("a", 1, spans_ns=[-1]), "spans_ns.0"),
        (time, {"burst": {"graph": "a", "error": ["boom"]}}, "error"),
        (Agent.health, {"reply": "health", "temperature_c": "warm"}, "temperature_c"),
        (Agent.health, {"reply": "health", "temperature_c": 50, "setting": None}, "setting"),
        (Agent.ceilings, {"reply": "ceilings", "seen": {}}, "ceilings"),
        (look, {"reply": "look", "look": WATCHED, "facts": {"cpus": 5}}, "facts.cpus"),
        (look, {"reply": "look", "look": {**WATCHED, "others": [0]}, "facts": {}}, "look.others.0"),
        (profile, {"step": {"share": "x", "next_s": None}}, "share"),
        (profile, {"step": {"share": 0.5, "next_s": HUGE}}, "next_s"),
        (profile, {"step": []}, "answer"),
        (profile, PROFILE | {"latencies_ns": {"default": [1]}}, "latencies_ns.profiled"),
        (profile, PROFILE | {"gap_us": []}, "gap_us"),
        (profile, PROFILE | {"run_us": [10]}, "nodes.us"),
        (profile, PROFILE | {"nodes": [NODE]}, "nodes.0.inputs"),
    ],
)
def test_a_wrong_answer_is_an_agent_error_that_names_its_part(
    cpu: Device, ask: Callable[[Agent], object], answer: dict[str, Any], part: str
) -> None:
    agent = Agent(Scripted(HELLO, answer, {"reply": "time"}), cpu, SHORT)
    with pytest.raises(AgentError) as caught:
        ask(agent)
    assert str(caught.value).startswith(f"the agent is broken: it answered no {part!r} as")


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (load, LOADED | {"denormal_ratio": None, "outputs": [5], "unheard_of": NAN}),
        (time, burst("a", 1, unheard_of=[NAN], marks=[[0, 12000]], seen={"moved": 1.5})),
        (Agent.health, {"reply": "health", "temperature_c": None}),
        (look, {"reply": "look", "look": WATCHED, "facts": {"virtual": True, "new": "x"}}),
        (profile, PROFILE),
    ],
)
def test_what_a_newer_agent_says_more_is_left_alone(
    cpu: Device, ask: Callable[[Agent], object], answer: dict[str, Any]
) -> None:
    assert ask(Agent(Scripted(HELLO, answer, {"reply": "time"}), cpu, SHORT))


def test_what_is_set_at_the_end_of_a_request_is_looked_at_too(cpu: Device) -> None:
    agent = Agent(Scripted(HELLO, burst("a", 1), {"reply": "time", "setting": "x"}), cpu)
    times = agent.time([("a", 1)], [0.1])
    assert next(times).latencies_ns == (1,)
    with pytest.raises(AgentError, match="no 'setting'"):
        next(times)


@pytest.mark.parametrize(
    ("lie", "part"),
    [
        ({"versions": None}, "versions"),
        ({"clusters": [{"cpus": []}]}, "clusters.0.cpus"),
        ({"free_bytes": "much"}, "free_bytes"),
        ({"temperature_c": NAN}, "temperature_c"),
    ],
)
def test_what_a_board_is_without_an_agent_is_looked_at(lie: dict[str, Any], part: str) -> None:
    assert wrong(reply_schema.Facts, FACTS) == ""
    assert wrong(reply_schema.Facts, FACTS | lie) == part

"""Several numbers of threads in one run: agents of each take turns in the same rounds."""

from dataclasses import replace
from typing import cast

import pytest

from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.runner import assembly
from benchbox.runner.pool import Pool
from benchbox.specs import Case
from benchbox.transports import Agent
from tests.helpers.runs import CPU, THREE, Bench, SimulatedAgents, named, sessions

ONE = replace(THREE, sessions=1)


def by_threads(*names: str) -> list[Case]:
    """A case by one and by two threads for each name, whose reference is the first of these."""
    return [
        replace(case, threads=n, group=f"threads={n}", reference=first, axes={"threads": n})
        for n, first in ((1, names[0][0]), (2, names[0][1]))
        for case in named(*(name[n - 1] for name in names))
    ]


def test_threads_take_turns_in_one_session(bench: Bench, devices: SimulatedAgents) -> None:
    found = bench.measure(by_threads("ab", "cd"), plan=ONE)
    first, second = devices.agents
    assert (first.loaded, second.loaded) == (["tiny:a", "tiny:c"], ["tiny:b", "tiny:d"])
    rounds = [{(b.session, b.round) for b in record.bursts} for record in found.values()]
    assert rounds[0] & rounds[1] & rounds[2] & rounds[3]
    assert {record.threads for record in found.values()} == {1, 2}
    assert found["tiny:d"].relative is not None
    assert found["tiny:d"].axes == {"threads": 2}
    assert first.closed and second.closed


def test_an_agent_that_is_lost_takes_its_pool_along_and_one_case(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.lost_at = {1: 9}
    found = bench.measure(by_threads("ab"), plan=ONE)
    assert sorted(record.status for record in found.values()) == ["failed", "ok"]
    assert all(agent.closed for agent in devices.agents)


def test_where_an_agent_is_alone_on_its_device_threads_come_one_after_the_other(
    bench: Bench, devices: SimulatedAgents, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = assembly.RoundsSchedule

    def alone(*args: object, **_: object) -> object:
        return whole(*args, is_alone=True)  # type: ignore[arg-type]

    monkeypatch.setattr(assembly, "RoundsSchedule", alone)
    found = bench.measure(by_threads("ab", "cd"), plan=ONE)
    assert [sorted(sessions(record)) for record in found.values()] == [[0], [0], [1], [1]]
    assert [agent.loaded for agent in devices.agents] == [
        ["tiny:a", "tiny:c"],
        ["tiny:b", "tiny:d"],
    ]


def test_what_was_opened_is_closed_when_another_cannot_be(
    bench: Bench, devices: SimulatedAgents
) -> None:
    def refuse(count: int) -> None:
        if count:
            raise DeviceError("no more processes")

    devices.opening = refuse
    found = bench.measure(by_threads("ab"), plan=ONE)
    assert {record.reason for record in found.values()} == {"no more processes"}
    assert devices.agents[0].closed


def test_a_device_runs_on_the_first_of_its_processors() -> None:
    device = Device("cpu", CPU.provider, 3, "arm", cpus=(4, 5, 6))
    assert device.with_threads(2).cpus == (4, 5)
    assert device.with_threads(3) == device
    assert replace(device, cpus="big").with_threads(1).cpus == "big"


def test_a_setting_reaches_every_agent() -> None:
    agents = {n: cast(Agent, type("Fake", (), {"hello": {}, "setting": {}})()) for n in (1, 2)}
    pool = Pool(agents, {})
    pool.setting = {"governor": "performance"}
    assert [agent.setting for agent in agents.values()] == [pool.setting] * 2

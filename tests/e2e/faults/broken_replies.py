"""Replies of agents that are wrong in any part: a case is lost, not the run."""

import copy
import io
import json
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from benchbox import records
from benchbox.cli import doctor, gpu_check, output
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError, DeviceError
from benchbox.report import profile_files
from benchbox.report.console import show_tables
from benchbox.report.profile import ProfileReport, tables
from benchbox.runner.profile import outcomes
from benchbox.runner.request import Clock
from benchbox.transports import Agent
from benchbox.transports.channel import ChannelClosed, Timeout
from tests.e2e.faults import broken_records
from tests.e2e.faults.bench import Bench, fault
from tests.e2e.faults.mutations import mutated, odd
from tests.helpers import profiled, runs
from tests.helpers.machine import HELLO, HOST

TRIES = 2
SETTING = {"governor": "performance"}
GPU = {
    "name": "H200",
    "capability": "9.0",
    "runtime": "12.8",
    "driver": "570",
    "driver_cuda": "13.0",
    "memory_bytes": 1 << 37,
    "top_sm_clock_mhz": 1980,
    "power_limit_w": 700.0,
    "persistence": True,
    "unseen": "no counters",
}
CLUSTERS = [{"cpus": [0, 1], "core": "Cortex-A76", "top_khz": 2_400_000}]
LOADED = {
    "reply": "load",
    "load_s": 0.1,
    "first_call_s": 0.001,
    "finite": True,
    "nodes": {CPU_PROVIDER: 1},
    "types": {"float": 1},
    "denormal_ratio": 1.0,
    "affinity": ["0"],
    "rss_bytes": 1 << 25,
    "peak_rss_bytes": 1 << 25,
    "peak_bytes": 1 << 20,
    "gpu_bytes": None,
}
LOOK = {
    "cpu": 0,
    "seconds": 1.0,
    "readings_ns": [[12_000.0 + 50 * n, 20 + n % 7] for n in range(20)],
    "gaps": 1,
    "lost_s": 0.001,
    "longest_gap_s": 0.001,
    "seen": {"switches": 1, "clock_khz": 2e6},
    "others": [[0, 0.5], [1, 0.2]],
    "gpu": {"readings_ns": [1000.0] * 9, "seen": {"gpu_sm_clock_mhz": 1700.0}},
}
MACHINE = {
    "virtual": False,
    "cpus": [{"cpu": 0, "siblings": [0, 1], "governor": "powersave", "top_khz": 2_400_000}],
    "boost": {"on": True, "file": "/sys/b"},
    "quota_cpus": 1.5,
    "load_5min": 0.5,
    "memory_bytes": 1 << 33,
    "memory_available_bytes": 1 << 32,
    "swap_used_bytes": 0,
}
PROFILE = profiled.reply(*(profiled.node(f"n{i}", "Conv", [5.0, 6.0]) for i in range(3)))
ANSWERS: Mapping[object, Mapping[str, Any]] = {
    "hello": {
        **HELLO,
        "host": {**HOST, "setting": SETTING, "clusters": CLUSTERS, "gpu": GPU},
        "affinity": ["0"],
        "seen": {"gpu_sm_clock_mhz": 1700.0},
    },
    "load": LOADED,
    "health": {"reply": "health", "temperature_c": 40.5, "setting": SETTING},
    "look": {"reply": "look", "look": LOOK, "facts": MACHINE},
    "ceilings": {
        "reply": "ceilings",
        "ceilings": {
            "bytes_per_s": 1e12,
            **{f"{name}_macs_per_s": 1e13 for name in gpu_check.PRODUCTS},
        },
        "seen": {"gpu_sm_clock_mhz": 1700.0, "gpu_temperature_c": 40.0, "gpu_other_processes": 1.0},
    },
    "profile": PROFILE,
}


def usual_ns(graph: str) -> int:
    """What a call of a graph takes, which tells the graph."""
    return 5_000_000 + 1_000_000 * (ord(graph[-1]) - ord("a"))


def burst(graph: str, calls: int, *_: object) -> dict[str, Any]:
    return {
        "graph": graph,
        "latencies_ns": [usual_ns(graph) + n % 3 for n in range(calls)],
        "switches": [0] * calls,
        "probe": "compute",
        "marks": [[n, 12_000 + n % 7] for n in range(calls + 1)],
        "stream_ns": [300_000, 300_100],
        "probed_ns": 24_000,
        "pool": False,
        "seen": {"switches": 0, "steal_s": 0.0, "queued_ns": 0},
    }


class Liar:
    """A channel to an agent that answers as it should but for one reply, which `lie` makes."""

    def __init__(self, at: int, lie: Callable[[list[dict[str, Any]]], list[Any]]) -> None:
        self.left, self.lie = at, lie
        self.waiting: deque[Any] = deque()

    def send(self, message: Mapping[str, object]) -> None:
        answers = list(self._answers(message))
        for number, answer in enumerate(answers):
            answer["of"] = [message["id"], number]
        if 0 <= self.left < len(answers):
            answers[self.left :] = self.lie(copy.deepcopy(answers[self.left :]))
        self.left -= len(answers) if self.left >= len(answers) else self.left + 1
        self.waiting += answers

    def _answers(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        op = message["op"]
        if op == "time":
            bursts = [{"burst": burst(*asked)} for asked in message["bursts"]]
            return [*bursts, {"reply": "time", "setting": SETTING}]
        steps = [{"step": {"share": 0.5, "next_s": 1.0}}] if op == "profile" else []
        return [*steps, copy.deepcopy(dict(ANSWERS[op]))]

    def receive(self, timeout_s: float) -> Any:
        assert 0 <= timeout_s < 1e9
        if not self.waiting:
            raise Timeout
        answer = self.waiting.popleft()
        if not isinstance(answer, dict):
            raise ChannelClosed("it spoke something else than JSON lines")
        return answer

    def close(self) -> None:
        self.waiting.clear()


def lie_by(rng: random.Random) -> Callable[[list[dict[str, Any]]], list[Any]]:
    """A lie about the first of some answers, or about their order."""

    def lie(answers: list[dict[str, Any]]) -> list[Any]:
        first, *rest = answers
        other = copy.deepcopy(dict(rng.choice([*ANSWERS.values(), {"burst": burst("x:a", 2)}])))
        return rng.choice(
            (
                *(lambda: [mutated(first, rng), *rest],) * 12,
                lambda: (
                    [{**first, "burst": mutated(first["burst"], rng)}, *rest]
                    if "burst" in first
                    else [mutated(mutated(first, rng) or first, rng), *rest]
                ),
                lambda: [first, first, *rest],
                lambda: [*rest, first],
                lambda: rest,
                lambda: [{**other, "of": first["of"]}, *rest],
                lambda: [other, first, *rest],
                lambda: [odd(rng), *rest],
            )
        )()

    return lie


class Liars(runs.RealAgents):
    """Opens agents of which one lies once, and the others never."""

    clock = Clock()

    def __init__(self, rng: random.Random) -> None:
        self.lying = rng.randrange(2)
        self.at = rng.choice((0, 1, 2, rng.randrange(60)))
        self.lie = lie_by(rng)
        self.opened = 0
        self.hellos: list[Mapping[str, Any]] = []

    def open(self, device: Device) -> Agent:
        self.opened += 1
        at = self.at if self.opened == self.lying + 1 else -1
        agent = Agent(Liar(at, self.lie), device)
        self.hellos.append(agent.hello)
        return agent


@fault("mistakes", "an agent's reply is wrong in any part")
def wrong_reply(bench: Bench, rng: random.Random) -> None:
    path = bench.graph("g", 4)
    graphs = runs.named("a", "b", "c")
    digest = sha256(path.read_bytes()).hexdigest()
    graph = replace(runs.graph_of(graphs[0]), path=path, sha256=digest)
    for number in range(TRIES):
        agents = Liars(rng)
        plan = replace(runs.QUICK, sessions=2, cooldown_s=rng.choice((0.0, 0.1)))
        measured = runs.Bench(bench.folder / str(number), agents)
        try:
            found = measured.measure(graphs, plan=plan, graphs={c.key: graph for c in graphs})
        except DeviceError as error:  # the first agent did not greet
            assert agents.lying == 0 == agents.at, agents.at
            assert str(error).isprintable(), str(error)
            continue
        finally:
            measured.journal.close()
        failed = [record for record in found.values() if record.status == "failed"]
        assert len(failed) <= 1, [record.reason for record in failed]
        assert all(record.reason and record.reason.isprintable() for record in failed)
        (run,) = records.read_all(measured.journal.path)
        _check_figures(run)
        for hello in agents.hellos[agents.lying :][:1]:
            told = replace(run.context, host=hello["host"], versions=hello["versions"])
            with records.create(bench.folder / "again", told) as writer:
                for record in run.records:
                    writer.append(record)
            broken_records.use(records.read_all(writer.path))


def _check_figures(run: records.Run) -> None:
    """Only what is in one reply can be wrong, and not by more than a reply takes."""
    for record in run.records:
        ns = usual_ns(record.case)
        wrong = [b for b in record.bursts if any(abs(one - ns) > 9 for one in b.latencies_ns)]
        assert len(wrong) <= 1, record.case
        assert all(sum(each.latencies_ns) < 2e9 for each in wrong), wrong
        assert record.first_call_s is None or record.first_call_s < 2


TURN = threading.Lock()  # of commands that open agents and print by names of their modules


def run_doctor(agents: Liars, _: Bench) -> None:
    with patch.object(doctor, "open_agent", agents.open):
        doctor.doctor("cpu", ProcessorOptions(), 3.0, frozenset())


def run_profile(agents: Liars, bench: Bench) -> None:
    """Profile three cases: at most one of them fails, and all are shown."""
    path = bench.graph("g", 4)
    digest = sha256(path.read_bytes()).hexdigest()
    cases = runs.named("a", "b", "c")
    graph = replace(runs.graph_of(cases[0]), path=path, sha256=digest)
    found = list(outcomes(cases, {each.key: graph for each in cases}, runs.CPU, agents.open))
    assert sum(each.profile is None for each in found) <= 1, [each.reason for each in found]
    report = ProfileReport(found, runs.CPU, "2026-01-01T00:00:00Z")
    show_tables(tables(report), doctor.console())
    for to in (profile_files.to_csv, profile_files.to_json):
        to(report)


def would_save(*parts: object) -> bool:
    return bool(json.dumps(parts))


def check_gpu(agents: Liars, _: Bench) -> None:
    device = replace(runs.CPU, name="cuda", provider="torch")
    with patch.object(gpu_check, "open_agent", agents.open):
        gpu_check.check(device, [])


@fault("mistakes", "a reply to doctor, profile or a check of a GPU is wrong in any part")
def wrong_answer(bench: Bench, rng: random.Random) -> None:
    screen = output._Lines(file=io.StringIO(), width=80)
    for command in (run_doctor, run_profile, check_gpu):
        agents = Liars(rng)
        agents.lying = rng.randrange(2) if command is run_profile else 0
        agents.at = rng.randrange(4)
        with (
            TURN,
            patch.object(doctor, "console", lambda **_: screen),
            patch.object(gpu_check, "console", lambda: screen),
            patch.object(gpu_check, "ceilings", SimpleNamespace(save=would_save)),
        ):
            try:
                command(agents, bench)
            except BenchboxError as error:
                assert str(error).isprintable() and len(str(error)) < 1000, str(error)[:300]
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    assert printed.replace("\n", "").isprintable(), printed

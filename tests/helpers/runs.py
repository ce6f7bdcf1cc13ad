"""Runs of tiny cases: watchers, and benches that measure with real or with simulated agents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchbox import host, records
from benchbox.analysis.machine import Known
from benchbox.costs import Cost
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.export import Graph
from benchbox.records import Record, Run
from benchbox.records.journal import Journal
from benchbox.runner import Outcome, Request, loader, several_devices
from benchbox.runner.assembly import assemble
from benchbox.runner.request import Clock, Prepared
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Timed
from benchbox.specs import BlockSpec, Case, OnnxFile, Selection, TensorSpec
from benchbox.specs.model import Match
from benchbox.transports import Agent, Loaded
from benchbox.transports.client import Deadlines
from tests.helpers.agents import open_local
from tests.helpers.machine import Calm, SimulatedMachine
from tests.helpers.record_files import context

QUICK = Plan(precision=0.9, max_time_s=20, min_rounds=6, burst_s=0.002, min_calls=2)
ENDLESS = replace(QUICK, precision=1e-9, max_time_s=60)
THREE = Plan(precision=0.01, max_time_s=60, min_rounds=18, burst_s=0.02, sessions=3)
SHORT = Deadlines(burst_s=1.0, patience=2)
CPU = Device("cpu", CPU_PROVIDER, 1, "arm")
LARGE = 300 << 20  # of weights: two such graphs fit an agent's memory, three do not


def interrupt() -> None:
    raise KeyboardInterrupt


class Watcher:
    """Notes what happens, in order; acts once, when all active cases have that many bursts."""

    def __init__(self, act: Callable[[], object] = lambda: None, after: int = 10) -> None:
        self.act, self.after, self.acted = act, after, False
        self.events: list[str] = []
        self.records: list[Record] = []
        self.cooled: list[tuple[float, float, float]] = []

    def exporting(self, done: int, total: int, name: str) -> None:
        self.events.append(f"exporting {name}: {done} of {total}")

    def starting(self) -> None:
        self.events.append("starting")

    def greeted(self, seen: Mapping[str, float]) -> None:
        self.events.append(f"greeted by {sorted(seen)}")

    def loading(self, done: int, total: int) -> None:
        self.events.append(f"loading {done} of {total}")

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        self.cooled.append((now_c, goal_c, left_s))

    def measuring(self, sampler: Sampler) -> None:
        active = sampler.active
        if active and not self.acted and all(len(c.bursts) >= self.after for c in active):
            self.acted = True
            self.events.append("measuring")
            self.act()

    def finished(self, record: Record) -> None:
        self.events.append("finished")
        self.records.append(record)


def named(*names: str, spec: str = "tiny") -> list[Case]:
    """Cases without a file, compared with the first of them."""
    x = (TensorSpec("x", (4, 4)),)
    files = {name: OnnxFile(Path(f"{name}.onnx")) for name in names}
    return [
        Case(spec, name, {}, {}, x, 1, file, reference=names[0]) for name, file in files.items()
    ]


def graph_of(case: Case, weight_bytes: int = 1 << 20) -> Graph:
    assert isinstance(case.source, OnnxFile)
    cost = Cost(1000, 0, 1, weight_bytes, 1 << 20, {"MatMul": 1}, ())
    path = case.source.path
    sha256 = host.sha256(path) if path.is_file() else "0" * 64
    return Graph(path, sha256, cost, 1, 18, "none", None, {})


def spec_of(cases: list[Case], match: Match | None = None) -> BlockSpec:
    name = cases[0].spec
    return BlockSpec(name, name.title(), "0" * 64, lambda _: cases, match=match)


def run(request: Request, watcher: Any = None) -> Outcome:
    """The outcome of a request on the only device."""
    ends = several_devices.run([request], [watcher or Watcher()])
    return ends.outcomes[0]


def sessions(record: Record) -> set[int]:
    return {burst.session for burst in record.bursts}


class RealAgents:
    """Opens agents of this machine, whose noise does not matter, and remembers their processes."""

    clock = Clock()

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.broken = False

    def open(self, device: Device) -> Agent:
        if self.broken:
            raise DeviceError("device 'cpu' was unplugged")
        channel = open_local()
        self.pids.append(channel.pid)
        return Calm(channel, device, SHORT)


class SimulatedAgents:
    """Opens agents on a simulated machine, on which every case takes 2 ms."""

    def __init__(self) -> None:
        self.machine = SimulatedMachine({f"tiny:{name}": 0.002 for name in "abcdefgh"})
        self.clock = Clock(self.machine.perf_counter, self.machine.sleep)
        self.host: dict[str, Any] = {"memory_available_bytes": None}
        self.agents: list[SimulatedAgent] = []
        self.opening: Callable[[int], object] = lambda _: None
        self.loading_s = 0.0
        self.lost_at: dict[int, int] = {}  # agent -> the burst that it is lost in
        self.refused: dict[int, str] = {}  # agent -> the case that it cannot load

    def open(self, _: Device) -> Agent:
        self.opening(len(self.agents))
        self.agents.append(SimulatedAgent(self, len(self.agents)))
        return self.agents[-1]  # type: ignore[return-value]

    def take(self, **latencies_ms: float) -> None:
        self.machine.latencies |= {f"tiny:{k}": ms / 1e3 for k, ms in latencies_ms.items()}


class SimulatedAgent:
    def __init__(self, devices: SimulatedAgents, number: int) -> None:
        self.devices, self.number = devices, number
        self.hello = {"host": devices.host}
        self.loaded: list[str] = []
        self.denormals: list[str] = []
        self.closed = False
        self.left = devices.lost_at.get(number, 10**9)

    def load(self, graph: str, *_: object, denormals: bool, **_how: object) -> Loaded:
        self.loaded.append(graph)
        self.devices.machine.sleep(self.devices.loading_s)
        self.denormals += [graph] * denormals
        if self.devices.refused.get(self.number) == graph:
            raise CaseError("no memory for it")
        return Loaded(0.1, 0.002, 1, 1 << 20, ["0"], 1.0, 1 << 10)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in self.devices.machine.time(bursts, expected_s):
            self.left -= 1
            if self.left < 0:
                raise AgentError("the agent is gone")
            yield timed

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "SimulatedAgent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bench:
    """Measures cases into a folder, with agents of either kind."""

    def __init__(self, folder: Path, devices: Any, previous: Run | None = None) -> None:
        self.folder, self.devices = folder, devices
        self.journal = Journal(folder, context("tiny", plan={}, specs=[]), previous)

    def measure(
        self,
        given: Sequence[Case] | str,
        watcher: Any = None,
        plan: Plan = QUICK,
        graphs: Mapping[str, Graph | CaseError] | None = None,
        known: Known | None = None,
    ) -> dict[str, Record]:
        """Measure cases, or those that a string names in a letter each."""
        cases = named(*given) if isinstance(given, str) else given
        self.watcher = watcher or Watcher()
        chosen = {case.key: graph_of(case) for case in cases} | dict(graphs or {})
        request = Request(
            *("tiny", [], Selection(), CPU, plan, self.folder),
            open=self.devices.open,
            clock=self.devices.clock,
        )
        self.measurement = assemble(
            request,
            Prepared(cases, chosen),
            self.devices.open(CPU),
            self.journal,
            self.watcher,
            known,
        )
        is_real = isinstance(self.devices, RealAgents)
        with nullcontext() if is_real else patch.object(loader, "require_unchanged"):
            self.interrupted = self.measurement.run()
        return self.journal.records

    def statuses(self) -> dict[str, str]:
        """The statuses that a reader of the file finds."""
        return {record.case: record.status for record in records.read(self.journal.path).records}

    def lines(self) -> int:
        return self.journal.path.read_text().count("\n") - 1

"""All cases of a run timed: memory groups, agents that may crash, a record for each case."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from benchbox.analysis import arrival
from benchbox.analysis.samples import Burst, round_medians
from benchbox.analysis.states import Known, Readings
from benchbox.devices import Device
from benchbox.devices.providers import runs_modules
from benchbox.errors import AgentError, CaseError, DeviceError, FullError
from benchbox.export import Graph, recipe
from benchbox.records import Record, Status
from benchbox.records.journal import Journal
from benchbox.runner import memory_groups
from benchbox.runner import record as runner_record
from benchbox.runner.cooldown import Cooling
from benchbox.runner.memory_groups import Later, Room
from benchbox.sampling.arrival import PacedSampler
from benchbox.sampling.plan import Plan, shortfall, undecided
from benchbox.sampling.sampler import Progress, Sampler, Subject
from benchbox.specs import Builder, Case
from benchbox.transports import Agent, Loaded, client

CHECKPOINT_S = 10.0  # into a run that the first checkpoint is written; each later one at twice that
# A case with fewer multiply-accumulates to a byte waits for the memory more than it computes: those
# whose latency was seen to follow the stream probe have 0 to 0.25, those that followed the compute
# probe 1.6 and more.
MACS_PER_BYTE = 1.0
IDLE_CRASHES = 3  # agents lost in a row without a case to blame, before the rest is given up


class Watcher(Protocol):
    """Who wants to see cases being timed."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` graphs are loaded on the device."""

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        """The device is given time to cool down, `left_s` at most, before the next session."""

    def measuring(self, sampler: Sampler) -> None:
        """The sampler has new samples."""

    def finished(self, record: Record) -> None:
        """A case is finished."""


class Measurement:
    """The timing of a run's cases, whatever becomes of the agents that do it."""

    def __init__(
        self,
        cases: Sequence[Case],
        graphs: Mapping[str, Graph | CaseError],
        device: Device,
        plan: Plan,
        journal: Journal,
        watcher: Watcher,
        agent: Agent,
        open_agent: Callable[[Device], Agent],
        known: Known | None = None,
        *,
        allow_emulated: bool = False,
    ) -> None:
        self._cases = {case.key: case for case in cases}
        self._index = {case.key: index for index, case in enumerate(cases)}
        self._graphs = {k: g for k, g in graphs.items() if isinstance(g, Graph)}
        self._unexported = {k: g for k, g in graphs.items() if not isinstance(g, Graph)}
        self._device, self._plan = device, plan
        self._journal, self._watcher = journal, watcher
        self._agent: Agent | None = agent
        self._versions = agent.hello.get("versions", {})
        self._open = open_agent
        self._no_latency = client.reason(agent)
        self._only_called = bool(self._no_latency) and not allow_emulated
        self._loaded: dict[str, Loaded] = {}
        self._failed: set[str] = set()  # or called once, where no more can be had
        self._kept = {r.key: list(r.bursts) for r in journal.records.values()}
        self._session = 1 + max((b.session for k in self._kept.values() for b in k), default=-1)
        self.readings = Readings(known)
        for kept in self._kept.values():
            for burst in kept:
                self.readings.recall(burst.probe, burst.marks, burst.stream_ns, burst.host_marks)
        self.readings.update()
        self._setting = journal.context.host.get("setting")
        waits = [wait for record in journal.records.values() for wait in record.cooldowns]
        self._cooling = Cooling(plan.cooldown_s, self._cools, done=waits)
        self._put_off: list[Later] = []
        self._sampler: Sampler | None = None
        self._checkpoint_s = CHECKPOINT_S
        self._elapsed_s = 0.0

    def run(self) -> bool:
        """Time every case that has no good record yet; return whether Ctrl-C cut it short."""
        try:
            for key, error in self._unexported.items():
                self._failed.add(key)
                self._write(key, "failed", str(error))
            groups = self._groups()
            total = sum(map(len, groups))
            waiting = [(group, self._plan.max_time_s * len(group) / total) for group in groups]
            while waiting:
                group, most_s = waiting.pop(0)
                self._time(group, replace(self._plan, max_time_s=most_s))
                exported = {k: c for k, c in self._cases.items() if k in self._graphs}
                waiting[:0] = memory_groups.again(self._put_off, exported)
                self._put_off.clear()
            self._rejudge()
        except KeyboardInterrupt:
            self._interrupted()
            self._rejudge()
            return True
        finally:
            if self._agent is not None:
                self._agent.close()
        return False

    def _groups(self) -> list[list[Case]]:
        """Return the cases still to be timed, with the references that they are set beside."""
        pending = {
            key for key, case in self._cases.items() if key in self._graphs and not self._good(key)
        }
        wanted = pending | {f"{self._cases[k].spec}:{self._cases[k].reference}" for k in pending}
        cases = [case for key, case in self._cases.items() if key in wanted & self._graphs.keys()]
        free = self._agent.hello["host"].get("memory_available_bytes") if self._agent else None
        return memory_groups.split(cases, self._graphs, memory_groups.budget(free))

    def _good(self, key: str) -> bool:
        record = self._journal.records.get(key)
        if record is None or record.status != "ok":
            return False
        return not self._lacks(key, record.bursts) and not self._unclear(key, record.bursts)

    def _lacks(self, key: str, bursts: Sequence[Burst]) -> str:
        return shortfall(bursts, self._plan, self.readings.gate, self._beside(key))

    def _unclear(self, key: str, bursts: Sequence[Burst]) -> bool:
        """Return whether a comparison cannot tell yet how the case stands to its reference."""
        beside = self._beside(key)
        if beside is None:
            return False
        gate = self.readings.gate
        ours, theirs = (round_medians(each, gate, paired=True) for each in (bursts, beside))
        return undecided(ours, self._plan, theirs)

    def _beside(self, key: str) -> Sequence[Burst] | None:
        """Return, in a comparison, the samples that those of a case are judged against."""
        case = self._cases[key]
        reference = f"{case.spec}:{case.reference}"
        same = {k for k, c in self._cases.items() if f"{c.spec}:{c.reference}" == reference}
        others = same - self._failed - {reference}
        if self._plan.margin is None or reference in self._failed or not others:
            return None
        return self._bursts(reference)

    def _time(self, group: Sequence[Case], plan: Plan) -> None:
        """Time one memory group, each part of the plan in a fresh agent."""
        alive = [case for case in group if case.key not in self._failed]
        sampler = self._sampler = self._sampler_of([self._subject(case) for case in alive], plan)
        for key, progress in sampler.cases.items():
            progress.bursts += self._kept.get(key, ())
            progress.judge(sampler.gate, paired=plan.margin is not None)
        for stage in range(plan.sessions):
            sampler.begin(stage)
            self._stage(sampler)
        for progress in sampler.active:
            self._conclude(progress)
        self._elapsed_s += sampler.elapsed_s
        self._kept.update({key: case.bursts for key, case in sampler.cases.items()})
        self._sampler = None

    def _sampler_of(self, subjects: Sequence[Subject], plan: Plan) -> Sampler:
        kind = Sampler if plan.arrival_per_s is None else PacedSampler
        return kind(subjects, plan, readings=self.readings, notify=self._notify)

    def _subject(self, case: Case) -> Subject:
        cost = self._graphs[case.key].cost
        macs, memory = cost.known_macs, cost.memory_access_bytes
        bound = macs is not None and memory is not None and macs < MACS_PER_BYTE * memory
        return Subject(case.key, f"{case.spec}:{case.reference}", bound)

    def _stage(self, sampler: Sampler) -> None:
        """Time what belongs to one session, in a fresh agent after each crash."""
        idle = 0
        while sampler.awake and sampler.in_time:
            before = len(sampler.active)
            try:
                self._session_of(sampler)
            except AgentError as error:
                idle = 0 if len(sampler.active) < before else idle + 1
                if idle >= IDLE_CRASHES:
                    self._give_up(sampler, str(error))
            except DeviceError as error:
                self._give_up(sampler, str(error))

    def _session_of(self, sampler: Sampler) -> None:
        """Load the unfinished cases into an agent and time them until it, or the stage, ends."""
        start = time.monotonic()
        agent, self._agent = self._agent or self._opened(), None
        session, self._session = self._session, self._session + 1
        with agent:
            try:
                if self._setting:
                    agent.setting = self._setting  # of the run, not of this process
                self._cooling.before(session, agent)
                self._load_all(agent, sampler)
            finally:
                sampler.excuse(time.monotonic() - start)
            if self._only_called:
                return
            for progress in sampler.measure(agent, session):
                if progress.failure:
                    self._finish(progress, "failed", progress.failure)
                else:
                    self._conclude(progress)

    def _opened(self) -> Agent:
        """Return a fresh agent; raises DeviceError for one with other libraries than the first."""
        agent = self._open(self._device)
        now = agent.hello.get("versions", {})
        if now != self._versions:
            agent.close()
            changed = sorted(name for name, _ in now.items() ^ self._versions.items())
            raise DeviceError(
                f"device {self._device.name!r}: its {', '.join(dict.fromkeys(changed))} changed "
                "in mid-run; run it again"
            )
        return agent

    def _load_all(self, agent: Agent, sampler: Sampler) -> None:
        """Load what waits for the agent; what a GPU has no room for is put off."""
        room, waiting = Room(self._free_bytes(agent)), sampler.awake
        for done, progress in enumerate(waiting):
            case = self._cases[progress.subject.key]
            if not room.has_for(case):
                self._postpone(sampler, case)
                continue
            self._watcher.loading(done, len(waiting))
            try:
                self._load(agent, sampler, progress, room)
            except FullError:
                room.closed = True
                self._postpone(sampler, case, alone=not room.beside_others(case))

    def _postpone(self, sampler: Sampler, case: Case, *, alone: bool = False) -> None:
        self._kept[case.key] = sampler.cases[case.key].bursts
        self._put_off.append(Later(case, sampler.put_off(case.key), alone))

    def _free_bytes(self, agent: Agent) -> int | None:
        """Return how much of a GPU's memory graphs may take, None where there is none."""
        free = agent.hello["host"].get("memory_available_bytes") if self._device.driving else None
        return None if free is None else int(free * memory_groups.SHARE)

    def _load(self, agent: Agent, sampler: Sampler, progress: Progress, room: Room) -> None:
        key = progress.subject.key
        graph, case = self._graphs[key], self._cases[key]
        try:
            first = key not in self._loaded
            module = recipe(case) if runs_modules(self._device.provider) else None
            on_gpu = self._device.driving and module is None
            loaded = agent.load(
                key,
                str(graph.path),
                case.inputs,
                self._plan.seed,
                denormals=first,
                types=first and case.dtype == "float16",
                compare=_least_type(case) if first and on_gpu else None,
                module=module,
            )
        except CaseError as error:
            if isinstance(error, FullError) and room.taken_bytes:
                raise
            sampler.fail(key, str(error))
            self._finish(progress, "failed", str(error))
            if isinstance(error, AgentError):
                raise
        else:
            self._loaded.setdefault(key, loaded)
            room.taken_bytes[key] = loaded.gpu_bytes or 0
            progress.latency_s = loaded.first_call_s
            if self._only_called:
                progress.finished = True
                self._finish(progress, "skipped", self._no_latency)

    def _give_up(self, sampler: Sampler, reason: str) -> None:
        for progress in sampler.active:
            sampler.fail(progress.subject.key, reason)
            self._finish(progress, "failed", reason)

    def _conclude(self, progress: Progress) -> None:
        """Finish a case by all of its samples, those of earlier sessions too."""
        reason = self._lacks(progress.subject.key, progress.bursts)
        self._finish(progress, "imprecise" if reason else "ok", reason)

    def _finish(self, progress: Progress, status: Status, reason: str) -> None:
        key = progress.subject.key
        if status in ("failed", "skipped"):
            self._failed.add(key)
            if self._good(key):
                return  # a reference timed again for others; what it was before stands
        self._write(key, status, reason)

    def _rejudge(self) -> None:
        """Write anew what was written under a gate that has moved since."""
        gate = self.readings.gate
        for key, record in list(self._journal.records.items()):
            if key in self._cases and record.status in ("ok", "imprecise") and record.gate != gate:
                reason = self._lacks(key, self._bursts(key))
                self._write(key, "imprecise" if reason else "ok", reason)

    def _write(self, key: str, status: Status, reason: str) -> None:
        record = self._record(key, status, reason)
        self._journal.append(record)
        self._watcher.finished(record)

    def _bursts(self, key: str) -> list[Burst]:
        """Return every sample of a case: of the memory group being timed, or of earlier ones."""
        running = self._sampler.cases.get(key) if self._sampler else None
        return running.bursts if running else list(self._kept.get(key, ()))

    def _record(self, key: str, status: Status, reason: str) -> Record:
        bursts = self._bursts(key)
        bare = runner_record.record(self._index[key], self._cases[key], self._graphs.get(key))
        if self._no_latency and status in ("ok", "imprecise"):
            status, reason = "skipped", self._no_latency
        if status in ("failed", "skipped"):
            return replace(
                bare, status=status, reason=runner_record.shareable(reason), bursts=bursts
            )
        case = self._cases[key]
        reference = [] if case.is_reference else self._bursts(f"{case.spec}:{case.reference}")
        return replace(
            runner_record.measured(
                bare, bursts, reference, self.readings, paired=self._plan.margin is not None
            ),
            status=status,
            reason=runner_record.shareable(reason),
            arrival=arrival.estimate(bursts, self._plan.arrival_per_s),
            cooldowns=self._cooling.of([b.session for b in bursts] or [self._session - 1]),
            **self._beginnings(key),
        )

    def _beginnings(self, key: str) -> dict[str, Any]:
        """Return how a case was loaded and warmed up, in this run or in the one that it resumes."""
        running = self._sampler.cases.get(key) if self._sampler else None
        before = self._journal.records.get(key)
        loaded = self._loaded.get(key) or (before and runner_record.loaded(before))
        warmup_calls = running.warmup_calls if running else 0
        return {
            **(runner_record.loading(loaded) if loaded else {}),
            "warmup_calls": warmup_calls or (before.warmup_calls if before else None),
        }

    def _cools(self, now_c: float, goal_c: float, left_s: float) -> None:
        self._watcher.cooling(now_c, goal_c, left_s)

    def _notify(self, sampler: Sampler) -> None:
        self._watcher.measuring(sampler)
        if self._elapsed_s + sampler.elapsed_s >= self._checkpoint_s:
            self._checkpoint_s *= 2
            for progress in sampler.active:
                key = progress.subject.key
                if progress.bursts and not self._good(key):
                    self._journal.append(self._record(key, "imprecise", "still being timed"))

    def _interrupted(self) -> None:
        """Keep what there is: a row for every case, imprecise with samples, skipped without."""
        for key in self._cases:
            if key in self._failed or self._good(key):
                continue
            bursts = self._bursts(key)
            if not self._lacks(key, bursts) and not self._unclear(key, bursts):
                self._write(key, "ok", "")
            elif bursts:
                self._write(key, "imprecise", "interrupted before its interval was narrow enough")
            else:
                self._write(key, "skipped", "interrupted before it was timed")


def _least_type(case: Case) -> str:
    """Return the type in which a case computes at least; what an .onnx file has inside may be any.

    That is "single" or "half".
    """
    return "single" if isinstance(case.source, Builder) and case.dtype == "float32" else "half"

"""Measurement of a run's cases: groups, sessions, and agents that may crash."""

from collections.abc import Sequence
from dataclasses import replace

from benchbox.errors import AgentError, DeviceError
from benchbox.export import Graph
from benchbox.runner.agents import Agents
from benchbox.runner.loader import Loader
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.recorder import Recorder
from benchbox.runner.schedule import Schedule
from benchbox.runner.state import RunState
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from benchbox.specs import Case

# A case with fewer multiply-accumulates to a byte waits for the memory more than it computes: those
# whose latency was seen to follow the stream probe have 0 to 0.25, those that followed the compute
# probe 1.6 and more.
MACS_PER_BYTE = 1.0
IDLE_CRASHES = 3  # agents lost in a row without a case to blame, before the rest is given up


class Measurement:
    """Times the cases of a run, whatever becomes of the agents that do it."""

    def __init__(
        self,
        state: RunState,
        plan: Plan,
        schedule: Schedule,
        agents: Agents,
        loader: Loader,
        recorder: Recorder,
    ) -> None:
        self.state, self._plan, self._schedule = state, plan, schedule
        self._agents, self._loader, self._recorder = agents, loader, recorder

    def run(self) -> bool:
        """Time the cases of the memory groups; whether Ctrl-C cut it short."""
        try:
            self._recorder.write_unexported()
            self._time_all(self._schedule.groups())
            self._recorder.rejudge()
        except KeyboardInterrupt:
            self._recorder.interrupt()
            self._recorder.rejudge()
            return True
        finally:
            self._agents.close()
        return False

    def _time_all(self, groups: Sequence[Sequence[Case]]) -> None:
        total = sum(map(len, groups))
        waiting = [(group, self._plan.max_time_s * len(group) / total) for group in groups]
        while waiting:
            group, max_time_s = waiting.pop(0)
            self._time(group, replace(self._plan, max_time_s=max_time_s))
            waiting[:0] = self._loader.postponed()

    def _time(self, group: Sequence[Case], plan: Plan) -> None:
        """Time one memory group, each part of the plan in a fresh agent."""
        alive = [case for case in group if not self.state.has_failed(case.key)]
        sampler = self._schedule.sampler([self._subject(case) for case in alive], plan)
        self.state.begin_group(sampler)
        for stage in range(plan.sessions):
            sampler.begin(stage)
            self._stage(sampler)
        for progress in sampler.active:
            self._recorder.conclude(progress)
        self.state.end_group()

    def _subject(self, case: Case) -> Subject:
        graph = self.state.cases[case.key].graph
        # The compute sentinel adjusts memory-bound cases as well.
        watched = not self.state.machine.adjusts and graph is not None and _is_memory_bound(graph)
        return Subject(case.key, reference_key(case), watched, self.state.identity(case.key))

    def _stage(self, sampler: Sampler) -> None:
        """Time what belongs to one session, in a fresh agent after each crash."""
        idle = 0
        while sampler.awake and sampler.in_time:
            before = len(sampler.active)
            try:
                self._session(sampler)
            except (AgentError, DeviceError) as error:
                idle = 0 if len(sampler.active) < before else idle + 1
                if idle >= IDLE_CRASHES:
                    self._give_up(sampler, str(error))

    def _session(self, sampler: Sampler) -> None:
        """Load the unfinished cases into an agent and time them until it, or the stage, ends."""
        with sampler.untimed():
            keys = [progress.subject.key for progress in sampler.awake]
            agent = self._agents.open(self.state.cases[key].case for key in keys)
        self.state.session += 1
        session = self.state.session
        with agent:
            with sampler.untimed():
                self._agents.settle(agent, session)
                self._loader.load_all(agent, sampler)
            for progress in sampler.measure(agent, session):
                self._recorder.conclude(progress)

    def _give_up(self, sampler: Sampler, reason: str) -> None:
        for progress in sampler.active:
            sampler.fail(progress.subject.key, reason)
            self._recorder.end(progress.subject.key, "failed", reason)


def _is_memory_bound(graph: Graph) -> bool:
    macs, memory = graph.cost.known_macs, graph.cost.memory_access_bytes
    return macs is not None and memory is not None and macs < MACS_PER_BYTE * memory

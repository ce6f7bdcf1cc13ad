"""Schedule of a run: the cases that take turns, and the sampler that times them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from benchbox.runner import memory_groups
from benchbox.runner.judge import Judge
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.state import RunState
from benchbox.sampling.arrival import PacedSampler
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from benchbox.specs import Case


class Schedule(Protocol):
    """Divides the cases of a run into groups, each timed by a sampler of its own."""

    def groups(self) -> list[list[Case]]:
        """The cases still to be timed, in groups that are loaded together."""

    def sampler(self, subjects: Sequence[Subject], plan: Plan) -> Sampler:
        """The sampler of a group."""


class RoundsSchedule:
    """Groups cases by the memory that they need, and times them in rounds."""

    def __init__(
        self,
        state: RunState,
        judge: Judge,
        free_bytes: int | None,
        clock: Callable[[], float],
        notify: Callable[[Sampler], None],
        *,
        is_alone: bool = False,
    ) -> None:
        """`free_bytes` is the device's memory where that is known.

        Where an agent `is_alone` on its device, those of other threads come after it.
        """
        self._state, self._judge, self._free_bytes = state, judge, free_bytes
        self._is_alone = is_alone
        self._clock, self._notify = clock, notify

    def groups(self) -> list[list[Case]]:
        """The cases without a good record, and their references."""
        pending = pending_cases(self._state, self._judge)
        wanted = {case.key for case in pending} | {reference_key(case) for case in pending}
        graphs = {key: each.graph for key, each in self._state.cases.items() if each.graph}
        cases = [self._state.cases[key].case for key in graphs if key in wanted]
        budget = memory_groups.budget(self._free_bytes)
        if not self._is_alone:
            return memory_groups.split(cases, graphs, budget)
        parts = [
            [each for each in cases if each.threads == threads]
            for threads in dict.fromkeys(case.threads for case in cases)
        ]
        return [group for part in parts for group in memory_groups.split(part, graphs, budget)]

    def sampler(self, subjects: Sequence[Subject], plan: Plan) -> Sampler:
        """A sampler of calls in a row, or at the rate of the plan."""
        kind = Sampler if plan.arrival_per_s is None else PacedSampler
        machine = self._state.machine
        return kind(subjects, plan, machine=machine, clock=self._clock, notify=self._notify)


def pending_cases(state: RunState, judge: Judge) -> list[Case]:
    """The exported cases without a good record."""
    return [e.case for key, e in state.cases.items() if e.graph and not judge.is_good(key)]

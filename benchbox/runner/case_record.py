"""Record of a case in a run: its samples so far, how it was loaded, and the waits before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchbox.analysis import arrival
from benchbox.records import Record, Status
from benchbox.records.cooldown import Cooldown
from benchbox.runner import record
from benchbox.runner.cooldown import Cooling
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.state import RunState
from benchbox.sampling.plan import Plan

Build = Callable[[str, Status, str], Record]  # of a case's key, status and reason


class RecordBuilder:
    """Builds the records of a run from its state.

    Where `no_latency` says why no figure may come from the device, every case is skipped.
    """

    def __init__(
        self,
        state: RunState,
        plan: Plan,
        earlier: Mapping[str, Record],
        cooling: Cooling,
        no_latency: str,
    ) -> None:
        self._state, self._plan, self._earlier = state, plan, earlier
        self._cooling, self._no_latency = cooling, no_latency
        self._index = {key: index for index, key in enumerate(state.cases)}

    def build(self, key: str, status: Status, reason: str) -> Record:
        """The record of a case with this status, and with figures where the status allows them.

        One that had figures when the run was resumed keeps them if it fails now.
        """
        each, bursts = self._state.cases[key], self._state.bursts(key)
        before = self._earlier.get(key)
        if status == "failed" and before is not None and before.latency is not None:
            status, reason = "imprecise", f"failed when it was resumed: {reason}"
        if each.graph is None and before is not None and before.has_samples:
            return replace(before, reason=record.shareable(reason))
        bare = record.record(self._index[key], each.case, each.graph)
        if self._no_latency and status in ("ok", "imprecise"):
            status, reason = "skipped", self._no_latency
        bare = replace(bare, status=status, reason=record.shareable(reason))
        if status in ("failed", "skipped"):
            return replace(bare, bursts=bursts)
        reference = reference_key(each.case)
        others = [] if reference == key else self._state.bursts(reference)
        sha256 = self._sha256(reference)
        machine, is_paired = self._state.machine, self._plan.margin is not None
        case = self._state.adjusted(key)
        other = self._state.adjusted(reference) if others and not is_paired else None
        if case and other:
            machine.compare(key, case, other)
        return replace(
            record.measured(bare, bursts, others, sha256, machine, (case, other), paired=is_paired),
            arrival=arrival.estimate(bursts, self._plan.arrival_per_s),
            cooldowns=self._cooldowns([burst.session for burst in bursts]),
            **self._beginnings(key),
        )

    def _sha256(self, key: str) -> str:
        """That of a case's graph, or of the one whose record it keeps."""
        each, before = self._state.cases.get(key), self._earlier.get(key)
        if each is not None and each.graph is not None:
            return each.graph.sha256
        return before.sha256 if before else ""

    def _cooldowns(self, sessions: Sequence[int]) -> tuple[Cooldown, ...]:
        return self._cooling.of(sessions or [self._state.session])

    def _beginnings(self, key: str) -> dict[str, Any]:
        """How a case was loaded and warmed up, in this run or in the one that it resumes."""
        progress, before = self._state.progress(key), self._earlier.get(key)
        loaded = self._state.cases[key].loaded or (before and record.loaded(before))
        warmup_calls = progress.warmup_calls if progress else 0
        return {
            **(record.loading(loaded) if loaded else {}),
            "warmup_calls": warmup_calls or (before.warmup_calls if before else None),
        }

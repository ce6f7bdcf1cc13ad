"""Verdicts on the samples of a case: good, what they lack of the plan, unclear."""

from collections.abc import Sequence
from typing import Protocol

from benchbox.analysis.samples import Burst, round_medians
from benchbox.records import Record, Status
from benchbox.records.journal import Journal
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.state import RunState
from benchbox.sampling.plan import Plan, shortfall, undecided

Verdict = tuple[Status, str]
UNTIMED: Verdict = ("skipped", "interrupted before it was timed")


class Judge(Protocol):
    """Decides when a case has what the plan asks for."""

    def is_good(self, key: str) -> bool:
        """Whether the record of a case needs no more samples."""

    def verdict(self, key: str) -> Verdict:
        """The status of a case that gets no more samples, and what they lack."""

    def interrupted(self, key: str) -> Verdict:
        """The status of a case that Ctrl-C cut short, and why."""

    def has_samples(self, key: str) -> bool:
        """Whether a case that is being timed has samples worth a checkpoint."""

    def is_outdated(self, record: Record) -> bool:
        """Whether a record was judged by what is no longer so."""


class RoundsJudge:
    """Judges cases that are timed in rounds, by the gate of the run as it is now."""

    def __init__(self, state: RunState, plan: Plan, journal: Journal) -> None:
        self._state, self._plan, self._journal = state, plan, journal

    def is_good(self, key: str) -> bool:
        """Whether the record of a case is precise, and in a comparison clear."""
        record = self._journal.records.get(key)
        return record is not None and record.status == "ok" and self._is_enough(key, record.bursts)

    def verdict(self, key: str) -> Verdict:
        """The status by all samples of a case, those of earlier sessions too."""
        lacking = self._lacks(key, self._state.bursts(key))
        return ("imprecise" if lacking else "ok"), lacking

    def interrupted(self, key: str) -> Verdict:
        """Imprecise with too few samples, skipped without any."""
        bursts = self._state.bursts(key)
        if self._is_enough(key, bursts):
            return "ok", ""
        if bursts:
            return "imprecise", "interrupted before its interval was narrow enough"
        return UNTIMED

    def has_samples(self, key: str) -> bool:
        """Whether there is a burst."""
        return bool(self._state.bursts(key))

    def is_outdated(self, record: Record) -> bool:
        """Whether the gate has moved since."""
        return record.gate != self._state.readings.gate

    def _is_enough(self, key: str, bursts: Sequence[Burst]) -> bool:
        return not self._lacks(key, bursts) and not self._is_unclear(key, bursts)

    def _lacks(self, key: str, bursts: Sequence[Burst]) -> str:
        return shortfall(bursts, self._plan, self._state.readings.gate, self._reference(key))

    def _is_unclear(self, key: str, bursts: Sequence[Burst]) -> bool:
        """Whether a comparison cannot tell yet how the case stands to its reference."""
        reference = self._reference(key)
        if reference is None:
            return False
        gate = self._state.readings.gate
        ours, theirs = (round_medians(each, gate, paired=True) for each in (bursts, reference))
        return undecided(ours, self._plan, theirs)

    def _reference(self, key: str) -> Sequence[Burst] | None:
        """In a comparison, the samples of the case that a case is compared with.

        None where the reference or all others have failed, so that there is no ratio to judge.
        """
        if self._plan.margin is None:
            return None
        cases = self._state.cases
        reference = reference_key(cases[key].case)
        if self._state.has_failed(reference):
            return None
        is_compared = any(
            reference_key(each.case) == reference and not each.failed
            for name, each in cases.items()
            if name != reference
        )
        return self._state.bursts(reference) if is_compared else None

"""Verdicts on the samples of a case: good, what they lack of the plan, unclear."""

from collections.abc import Sequence
from typing import Protocol

from benchbox.analysis import adjusted, disturbance_text, samples, stats
from benchbox.analysis.adjusted import Adjusted, Rounds, Widths
from benchbox.analysis.machine import Machine
from benchbox.analysis.samples import Burst, round_medians
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Status
from benchbox.records.journal import Journal
from benchbox.records.model import CUT_SHORT
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.state import RunState
from benchbox.sampling.plan import Plan, lacking, processes_for, undecided, unknown

Verdict = tuple[Status, str]
MORE = "give it more with --max-time"
NEGLIGIBLE = 0.002  # of a figure: a record is not written anew for less
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
            return "imprecise", CUT_SHORT
        return UNTIMED

    def has_samples(self, key: str) -> bool:
        """Whether there is a burst."""
        return bool(self._state.bursts(key))

    def is_outdated(self, record: Record) -> bool:
        """Whether the gate has moved since, or the machine's usual state."""
        if record.gate != self._state.machine.gate:
            return True
        case = self._state.adjusted(record.key)
        found = adjusted.interval(case, self._state.machine.tau) if case else None
        before = record.latency.interval if record.latency else None
        return found is not None and (before is None or not _alike(found[0], before))

    def _is_enough(self, key: str, bursts: Sequence[Burst]) -> bool:
        return not self._lacks(key, bursts) and not self._is_unclear(key, bursts)

    def _lacks(self, key: str, bursts: Sequence[Burst]) -> str:
        machine = self._state.machine
        case = machine.adjust(key, self._state.identity(key), bursts)
        return shortfall(bursts, self._plan, machine, case, self._reference(key))

    def _is_unclear(self, key: str, bursts: Sequence[Burst]) -> bool:
        """Whether a comparison cannot tell yet how the case stands to its reference."""
        reference = self._reference(key)
        if reference is None:
            return False
        gate = self._state.machine.gate
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


def shortfall(
    bursts: Sequence[Burst],
    plan: Plan,
    machine: Machine,
    case: Adjusted | None = None,
    reference: Sequence[Burst] | None = None,
) -> str:
    """What the samples of a case lack of the plan, and why; empty when they fulfil it.

    `case` is it adjusted, where it is. In a comparison `reference` has the samples of the case that
    it is compared with, if any.
    """
    gate = machine.gate
    rounds = case.rounds if case else round_medians(bursts, gate)
    if reference is None:
        found = adjusted.interval(case, machine.tau) if case else None
        if found and found[1].processes > plan.precision > found[1].within:
            return _processes_differ(found[1], plan, machine.tau)
        text = lacking(rounds, plan, None, found[0] if found else None)
        text = text or _too_few_processes(rounds, plan)
    else:
        ours, theirs = (round_medians(each, gate, paired=True) for each in (bursts, reference))
        text = lacking(ours, plan, theirs) or _too_few_processes(ours, plan)
        text = text or _too_few_for_p50(len(rounds))
    if not text:
        few = unknown(samples.call_count(bursts), plan)
        return few and f"{few}; {MORE}"
    why, what_helps = disturbance_text.summary(samples.tag_shares(bursts, machine.tolerated))
    return f"{text}{f': {why}' if why else ''}; {f'{what_helps}, or ' if what_helps else ''}{MORE}"


def _alike(now: Interval, before: Interval) -> bool:
    pairs = ((now.value, before.value), (now.low, before.low), (now.high, before.high))
    return all(abs(a / b - 1) <= NEGLIGIBLE for a, b in pairs)


def _too_few_for_p50(count: int) -> str:
    if count >= stats.MIN_ROUNDS:
        return ""
    return f"p50 has only {count} quiet rounds and its interval needs {stats.MIN_ROUNDS}"


def _processes_differ(widths: Widths, plan: Plan, tau: float) -> str:
    return (
        f"±{widths.total:.1%}, ±{plan.precision:.1%} was asked: processes differ by {tau:.1%}; "
        f"take more of them with --sessions {processes_for(plan.precision, tau=tau)}"
    )


def _too_few_processes(rounds: Rounds, plan: Plan) -> str:
    processes = len({session for session, _ in rounds})
    if processes < plan.sessions:
        return f"quiet rounds in only {processes} of {plan.sessions} processes"
    return ""

"""Sustained load: one case at a time, judged and recorded by its windows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchbox.analysis import energy
from benchbox.analysis.sustained import Window, estimate, latency
from benchbox.records import Record, Status
from benchbox.records.journal import Journal
from benchbox.runner.case_record import Build
from benchbox.runner.judge import UNTIMED, Judge, Verdict
from benchbox.runner.schedule import pending_cases
from benchbox.runner.state import RunState
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.sustained import Sustainer, lacking, lasted_s
from benchbox.specs import Case


class SustainedSchedule:
    """Times one case after the other, each in an agent of its own."""

    def __init__(
        self,
        state: RunState,
        judge: Judge,
        clock: Callable[[], float],
        notify: Callable[[Sampler], None],
    ) -> None:
        self._state, self._judge, self._clock, self._notify = state, judge, clock, notify

    def groups(self) -> list[list[Case]]:
        """Each case without a good record by itself."""
        return [[case] for case in pending_cases(self._state, self._judge)]

    def sampler(self, subjects: Sequence[Subject], plan: Plan) -> Sampler:
        """The sampler of the only case of a group."""
        (subject,) = subjects
        return Sustainer(subject, plan, self._clock, self._notify)


class SustainedJudge:
    """Judges a case under continuous load by whether its windows cover the time asked for.

    The sentinel readings of a hot processor are no state to take figures in: no gate is made of
    them, and no record depends on one.
    """

    def __init__(self, state: RunState, asked_s: float, journal: Journal) -> None:
        self._state, self._asked_s, self._journal = state, asked_s, journal

    def is_good(self, key: str) -> bool:
        """Whether the record of a case has its whole series."""
        record = self._journal.records.get(key)
        return record is not None and record.status == "ok" and record.sustained is not None

    def verdict(self, key: str) -> Verdict:
        """The status by the windows of a case."""
        reason = lacking(self._windows(key), self._asked_s)
        return ("imprecise" if reason else "ok"), reason

    def interrupted(self, key: str) -> Verdict:
        """Imprecise with too few windows, skipped without any."""
        if not self._windows(key):
            return UNTIMED
        status, reason = self.verdict(key)
        return status, reason and f"interrupted: {reason}"

    def has_samples(self, key: str) -> bool:
        """Whether there is a window."""
        return bool(self._windows(key))

    def is_outdated(self, record: Record) -> bool:  # noqa: ARG002 - no record depends on a gate
        """Never: no record depends on a gate."""
        return False

    def with_windows(self, build: Build) -> Build:
        """Have the records that are built hold the windows, and their steady state as latency."""

        def with_windows(key: str, status: Status, reason: str) -> Record:
            record, windows = build(key, status, reason), self._windows(key)
            if windows and windows is self._kept(key):
                return replace(
                    self._journal.records[key], status=record.status, reason=record.reason
                )
            if not windows:
                return record
            sustained = estimate(windows, self._asked_s)
            is_measured = record.status in ("ok", "imprecise")
            return replace(
                record,
                sustained=sustained,
                latency=latency(sustained) if is_measured else None,
                energy=energy.of_windows(sustained.steady_windows) if is_measured else None,
            )

        return with_windows

    def _windows(self, key: str) -> Sequence[Window]:
        """The windows of now, or those on record as long as they lasted longer."""
        sampler, now = self._state.sampler, tuple[Window, ...]()
        if isinstance(sampler, Sustainer) and key in sampler.cases:
            now = tuple(sampler.windows)
        return max(now, self._kept(key), key=lasted_s)

    def _kept(self, key: str) -> Sequence[Window]:
        record = self._journal.records.get(key)
        return record.sustained.windows if record and record.sustained else ()

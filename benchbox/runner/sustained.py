"""All cases of a run under continuous load, one after the other, each in an agent of its own."""

import time
from collections.abc import Sequence
from dataclasses import replace

from benchbox.analysis import sustained as analysis_sustained
from benchbox.analysis.sustained import Window
from benchbox.records import Record, Status
from benchbox.runner.measurement import Measurement
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Progress, Sampler, Subject
from benchbox.sampling.sustained import Sustainer, lacking
from benchbox.specs import Case


class LastingMeasurement(Measurement):
    """The sustained load of a run's cases, whatever becomes of the agents that run them.

    What the sentinel reads meanwhile is no state to take figures in: it is kept out of what is
    known of the machine.
    """

    def _groups(self) -> list[list[Case]]:
        cases = [case for group in super()._groups() for case in group]
        return [[case] for case in cases if not self._good(case.key)]

    def _sampler_of(self, subjects: Sequence[Subject], plan: Plan) -> Sampler:
        (subject,) = subjects
        return Sustainer(subject, plan, time.monotonic, self._notify)

    def _good(self, key: str) -> bool:
        record = self._journal.records.get(key)
        return record is not None and record.status == "ok" and record.sustained is not None

    def _conclude(self, progress: Progress) -> None:
        reason = lacking(self._windows(progress.subject.key), self._asked_s)
        self._finish(progress, "imprecise" if reason else "ok", reason)

    def _rejudge(self) -> None:
        """Nothing here was judged by the sentinel."""

    def _record(self, key: str, status: Status, reason: str) -> Record:
        record, found = super()._record(key, status, reason), self._windows(key)
        if not found:
            return record
        sustained = analysis_sustained.estimate(found, self._asked_s)
        measured = status in ("ok", "imprecise")
        latency = analysis_sustained.latency(sustained) if measured else None
        return replace(record, sustained=sustained, latency=latency)

    def _notify(self, sampler: Sampler) -> None:
        due_s = self._checkpoint_s
        super()._notify(sampler)
        if self._checkpoint_s == due_s:
            return
        for progress in sampler.active:
            if self._windows(progress.subject.key):
                record = self._record(progress.subject.key, "imprecise", "still being timed")
                self._journal.append(record)

    def _interrupted(self) -> None:
        for key in self._cases:
            if key in self._failed or self._good(key):
                continue
            if found := self._windows(key):
                reason = lacking(found, self._asked_s)
                self._write(
                    key, "imprecise" if reason else "ok", reason and f"interrupted: {reason}"
                )
            else:
                self._write(key, "skipped", "interrupted before it was timed")

    def _windows(self, key: str) -> Sequence[Window]:
        running = isinstance(self._sampler, Sustainer) and key in self._sampler.cases
        return tuple(self._sampler.windows) if running else ()  # type: ignore[union-attr]

    @property
    def _asked_s(self) -> float:
        assert self._plan.sustained_s is not None, "a plan for a load that lasts"
        return self._plan.sustained_s

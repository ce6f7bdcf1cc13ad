"""Records of a run as it goes: finished cases, checkpoints, and what Ctrl-C leaves."""

from collections.abc import Callable

from benchbox.records import Record, Status
from benchbox.records.journal import Journal
from benchbox.records.model import STILL_TIMED
from benchbox.runner.case_record import Build
from benchbox.runner.judge import Judge
from benchbox.runner.state import RunState
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import Sampler

CHECKPOINT_S = 10.0  # into a run that the first checkpoint is written; each later one at twice that


class Recorder:
    """Writes a record for each case to the journal, by what the judge says of its samples."""

    def __init__(
        self,
        state: RunState,
        judge: Judge,
        build: Build,
        journal: Journal,
        finished: Callable[[Record], None],
    ) -> None:
        self._state, self._judge, self._build = state, judge, build
        self._journal, self._finished = journal, finished
        self._checkpoint_s = CHECKPOINT_S

    def write(self, key: str, status: Status, reason: str) -> None:
        """Record a case as finished."""
        record = self._build(key, status, reason)
        self._state.has_failure |= status == "failed"
        self._journal.append(record)
        self._finished(record)

    def write_unexported(self) -> None:
        """Record the cases that have no graph."""
        for key, each in self._state.cases.items():
            if each.graph is None:
                self.write(key, "failed", each.no_graph)

    def end(self, key: str, status: Status, reason: str) -> None:
        """Record a case that is timed no more.

        A reference that was timed again for others keeps the good record that it had.
        """
        self._state.cases[key].failed = True
        if not self._judge.is_good(key):
            self.write(key, status, reason)

    def conclude(self, progress: Progress) -> None:
        """Record a case by its samples, or by why they ended."""
        key = progress.subject.key
        if progress.failure:
            self.end(key, "failed", progress.failure)
        else:
            self.write(key, *self._judge.verdict(key))

    def checkpoint(self, sampler: Sampler) -> None:
        """Write the samples so far, now and then, so that a crash of this machine keeps them."""
        if self._state.elapsed_s < self._checkpoint_s:
            return
        self._checkpoint_s *= 2
        for progress in sampler.active:
            key = progress.subject.key
            if self._judge.has_samples(key) and not self._judge.is_good(key):
                sampler.judge(progress, anew=True)
                self._journal.append(self._build(key, "imprecise", STILL_TIMED))

    def interrupt(self) -> None:
        """Record what there is of every case that is not finished."""
        for key, each in self._state.cases.items():
            if not each.failed and not self._judge.is_good(key):
                self.write(key, *self._judge.interrupted(key))

    def rejudge(self) -> None:
        """Write anew what was written under a gate that has moved since."""
        for key, record in list(self._journal.records.items()):
            is_measured = key in self._state.cases and record.status in ("ok", "imprecise")
            if is_measured and self._judge.is_outdated(record):
                self.write(key, *self._judge.verdict(key))

"""Time of a run so far and yet to come, as its line on a terminal shows it."""

import time

from benchbox.report import formatting
from benchbox.sampling import forecast
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.sustained import Sustainer


class Timing:
    """The time that loading and timing all cases of a run takes; `share` of it is over."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._began = self._loading_since = self._load_s = 0.0
        self._left_s, self._is_known = 0.0, False
        self.share = 0.0

    def loading(self, done: int) -> str:
        """The time in words while an agent loads its graphs, empty before the first is timed."""
        now = self._now()
        if not done:
            self._loading_since = now
        return f"{self._words(now)}, " if self._left_s else ""

    def measuring(self, sampler: Sampler, finished: int) -> str:
        """The time in words while a sampler works and so many cases are finished."""
        now, plan = self._now(), sampler.plan
        if self._loading_since:
            self._load_s, self._loading_since = now - self._loading_since, 0.0
        left_s, self._is_known = _left_s(sampler)
        # The agents to come load the same graphs, and cases that did not fit are timed like these.
        left_s += (plan.sessions - 1 - sampler.stage) * self._load_s
        finished_here = len(sampler.cases) - len(sampler.active)
        finished_before = max(0, finished - finished_here)
        others = max(0, self._cases - finished_before - len(sampler.cases))
        each_s = (sampler.elapsed_s + left_s) / max(1, len(sampler.cases))
        most_s = max(0.0, plan.max_time_s - sampler.elapsed_s)
        self._left_s = min(left_s, most_s) + others * min(each_s, plan.max_time_s)
        self.share = (now - self._began) / max(1e-9, now - self._began + self._left_s)
        return self._words(now)

    def _now(self) -> float:
        now = time.monotonic()
        self._began = self._began or now
        return now

    def _words(self, now: float) -> str:
        spent_s = round(now - self._began)
        spent = formatting.duration(spent_s, 2) if spent_s else "0 s"
        total = formatting.duration(max(1, spent_s + round(self._left_s)), 2)
        return f"{spent} of {'about' if self._is_known else 'at most'} {total}"


def _left_s(sampler: Sampler) -> tuple[float, bool]:
    if isinstance(sampler, Sustainer):
        return sampler.asked_s - sampler.done_s, True
    return forecast.left_s(sampler)

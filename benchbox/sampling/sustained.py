"""Sustained load: calls of one case in a row for as long as asked, kept as windows of time.

Phones throttle within a minute, boards and laptops within some; a short run shows a cool processor
only. Minutes of raw samples would be millions, so windows are kept instead.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from benchbox.analysis import sustained
from benchbox.analysis.samples import NS, Burst
from benchbox.analysis.sustained import Window
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Progress, Subject
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Session

REQUEST_S = 1.0  # the processor is idle between requests, for a few milliseconds
WIDEST = 0.05  # half-width of a steady state: that of --quick, and no figure is good with more
FIRST_S = 0.2  # of the first, before it is known how long a burst takes with all that belongs to it


class Sustainer(Sampler):
    """A sampler of one case, which begins once it is warm and ends when its time is over."""

    def __init__(
        self,
        subject: Subject,
        plan: Plan,
        clock: Callable[[], float],
        notify: Callable[[Sampler], None] = lambda _: None,
    ) -> None:
        super().__init__([subject], plan, clock=clock, notify=notify)
        assert plan.sustained_s is not None, "a plan for a load that lasts"
        self.asked_s = plan.sustained_s
        self.windows: list[Window] = []
        self.done_s = 0.0
        self._began: float | None = None
        self._burst_s: float | None = None  # with its sentinels, and until it is read
        self._open_since_s = 0.0  # when the window that is being filled began
        self._open: list[Burst] = []

    @property
    def in_time(self) -> bool:
        """Always: the case ends by itself."""
        return True

    @property
    def share(self) -> float:
        """The share of its time that is over."""
        return min(0.99, self.done_s / self.asked_s)

    @property
    def status(self) -> str:
        """The time so far, and the latency as a multiple of the first window's."""
        text = f"{self.done_s:.0f} of {self.asked_s:.0f} s"
        if not self.windows:
            return text
        now, first = self.windows[-1].p50_s, self.windows[0].p50_s
        return f"{text}, {now * 1e3:.3g} ms ({now / first:.2f}x the first)"

    def measure(self, session: Session, index: int) -> Iterator[Progress]:
        """Warm the case up and keep it running; yield it when it finishes or fails.

        After a lost session it begins anew, as the processor has cooled down.
        """
        self.windows.clear()
        self._open.clear()
        self._began = None
        yield from super().measure(session, index)

    def _chunk(self, session: Session, index: int) -> Iterator[Progress]:
        (case,) = self.awake
        if self._began is None:
            self._began, self.done_s, self._open_since_s = self._clock(), 0.0, 0.0
            self._burst_s = None
        asks, before_s = self._asks(case), self.done_s
        for timed in self._time(session, asks):
            if timed.error and not case.failure:
                self.fail(timed.graph, timed.error)
                yield case
            elif not timed.error:
                self.done_s = self._clock() - self._began
                burst = timed.burst(session=index, round=0)
                case.latency_s = median(burst.latencies_ns) * NS
                self._open.append(burst)
                # As near to its length as whole bursts come.
                self._close(sustained.length_s(self.asked_s) - sum(burst.latencies_ns) * NS / 2)
        self._burst_s = (self.done_s - before_s) / len(asks)
        if self.done_s >= self.asked_s and not case.failure:
            self._close(sustained.length_s(self.asked_s) / 2)
            case.finished = True
            yield case
        self._notify(self)

    def _asks(self, case: Progress) -> list[Ask]:
        """The bursts of one request; a window has at least one."""
        burst_s = min(self.plan.burst_s, sustained.length_s(self.asked_s))
        calls = self._calls(case, burst_s, 1)
        left_s = max(0.0, self.asked_s - self.done_s)
        request_s = REQUEST_S if self._burst_s else FIRST_S
        count = round(min(request_s, left_s) / (self._burst_s or case.latency_s * calls))
        return [(case.subject.key, calls, case.subject.memory_bound)] * max(1, count)

    def _close(self, least_s: float) -> None:
        """Close the window of the bursts since the last one if they took that long."""
        lasted_s = self.done_s - self._open_since_s
        if self._open and lasted_s >= least_s:
            self.windows.append(sustained.window(self._open, self._open_since_s, lasted_s))
            self._open.clear()
            self._open_since_s = self.done_s


def lasted_s(found: Sequence[Window]) -> float:
    """The seconds until the end of the last window."""
    return found[-1].at_s + found[-1].lasts_s if found else 0.0


def lacking(found: Sequence[Window], asked_s: float) -> str:
    """What a series lacks; empty when it is whole."""
    done_s = lasted_s(found)
    if done_s < asked_s - sustained.length_s(asked_s):
        return f"only {done_s:.0f} of {asked_s:.0f} s"
    series = sustained.estimate(found, asked_s)
    if series.steady is None:
        return f"only {len(found)} windows, too few to see a trend; give it a longer --sustained"
    if not any(window.quiet for window in series.steady_windows):
        return "every call of its steady state was disturbed"
    if series.steady.half_width > WIDEST:
        reached = f"±{series.steady.half_width:.1%}"
        return f"its steady state is known to {reached}, ±{WIDEST:.0%} is needed"
    return ""

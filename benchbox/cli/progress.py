"""What a run shows on stderr: a live line on a terminal, one plain line per case when piped."""

import math
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from benchbox import host, specs, telling
from benchbox.records import Record
from benchbox.render import units
from benchbox.sampling import Progress as Case
from benchbox.sampling import Sampler
from benchbox.sustaining import Sustainer

BUSY_CPUS = 0.3  # kept busy by others before the first sample that are worth a warning


class Live:
    """The watcher of a run. Nothing runs beside the measurement: it draws when there is news."""

    def __init__(self, console: Console, total: int, *, is_here: bool = True) -> None:
        """Show `total` cases; `is_here` says that they are timed on this machine."""
        self._console = console
        self._total = total
        self._is_here = is_here
        self._finished: dict[str, str] = {}
        self._stage = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[at]}"),
            )
            self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def exporting(self, done: int, total: int) -> None:
        """Show how many graphs are exported."""
        if self._bar is None and done == 0:
            what = "graph" if total == 1 else f"{total} graphs"
            self._console.print(f"preparing {what}, kept for later runs")
        self._draw("preparing", done / total, f"{done} of {total} graphs")

    def starting(self) -> None:
        """Warn when others keep this machine busy, if it is timed on."""
        busy = host.busy_cpus() if self._is_here else 0.0
        if busy > BUSY_CPUS:
            self._console.print(
                f"Warning: others keep {busy:.1f} of {len(host.usable_cpus())} processors busy; "
                "stop them, or expect wide intervals.",
                style="yellow",
            )

    def measuring(self, sampler: Sampler) -> None:
        """Show the widest interval closing in, and the time left."""
        active = sampler.active
        if self._bar is None:
            self._say_stage(sampler)
        if self._bar is None or not active:
            return
        if isinstance(sampler, Sustainer):
            done = len(self._finished) + sampler.share
            text = f"{len(self._finished)} of {self._total} cases, {sampler.status}"
            self._draw("running", done / self._total, text)
            return
        done = len(self._finished)
        shares = [_share(case, sampler) for case in active]
        widths = [i.half_width for case in active if (i := sampler.interval(case))]
        left = max(0.0, sampler.plan.max_time_s - sampler.elapsed_s)
        text = f"{done} of {self._total} cases"
        if sampler.plan.sessions > 1:
            text += f", process {sampler.stage + 1} of {sampler.plan.sessions}"
        if len(widths) == len(active) and math.isfinite(max(widths)):
            text += f", widest ±{max(widths):.1%} (±{sampler.plan.precision:.1%} asked)"
            slowest = min(shares)
            if slowest > 0 and sampler.plan.margin is None:  # else the verdict decides when it ends
                left = min(left, sampler.elapsed_s * (1 - slowest) / slowest)
        self._draw(
            "timing", (done + sum(shares)) / self._total, f"{text}, {left:.0f} s left at most"
        )

    def _say_stage(self, sampler: Sampler) -> None:
        """Say which process it is, when there is no live line and cases finish in the last only."""
        if sampler.stage != self._stage and sampler.stage:
            self._console.print(f"process {sampler.stage + 1} of {sampler.plan.sessions}")
        self._stage = sampler.stage

    def finished(self, record: Record) -> None:
        """Say that a case is finished, when there is no live line."""
        again = self._finished.get(record.key) == record.status
        self._finished[record.key] = record.status
        if self._bar is not None or again:  # judged anew, to the same end
            return
        latency = record.latency
        figure = "" if latency is None else f" {latency.p50_s * 1e3:.4g} ms"
        if latency is not None and latency.interval is not None:
            figure += f" ±{latency.interval.half_width:.1%}"
        if record.spec == specs.COMPARE and record.relative and record.case != record.reference:
            figure += f", {units.ratio(record.relative.value)} ({units.bounds(record.relative)})"
        figure += telling.briefly(record)
        reason = f" ({record.reason})" if record.reason else ""
        status = "" if record.status == "ok" else f" {record.status}"
        count = f"[{len(self._finished)}/{self._total}]"
        self._console.print(f"{count} {record.key}{figure}{status}{reason}", markup=False)

    def _draw(self, description: str, share: float, at: str) -> None:
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task(description, total=1.0, at=at)
        self._bar.update(self._task, description=description, completed=share, at=at)
        self._bar.refresh()


def _share(case: Case, sampler: Sampler) -> float:
    """Return how far a case is: its rounds over those that its interval, now, lets expect."""
    rounds = len(case.rounds)
    interval = sampler.interval(case)
    if interval is None:
        return min(0.99, rounds / sampler.plan.min_rounds)
    # The width falls with the square root of the rounds.
    needed = rounds * (interval.half_width / sampler.plan.precision) ** 2
    return min(0.99, rounds / max(sampler.plan.min_rounds, needed))

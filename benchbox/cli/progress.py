"""What a run shows on stderr: a live line on a terminal, one plain line per case when piped."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.live import Live as RichLive
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from benchbox import host, specs
from benchbox.analysis import disturbance_text
from benchbox.devices import Device
from benchbox.errors import BenchboxError
from benchbox.records import Record
from benchbox.report import formatting, load_text
from benchbox.report.tables import printable
from benchbox.sampling.progress import Progress as Case
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.sustained import Sustainer

MB = 1_000_000
WORTH_SAYING = MB  # bytes of a file: a second of a slow link
BUSY_CPUS = 0.3  # kept busy by others before the first sample that are worth a warning


class Live:
    """The watcher of a run. Nothing runs beside the measurement: it draws when there is news."""

    def __init__(
        self,
        console: Console,
        total: int,
        *,
        is_here: bool = True,
        name: str = "",
        bar: Progress | None = None,
    ) -> None:
        """Show `total` cases; `is_here` says that they are timed on this machine.

        One of several on a shared `bar` has a `name`.
        """
        self._console = console
        self._total = total
        self._is_here = is_here
        self._name = name
        self._finished: dict[str, str] = {}
        self._sent: set[str] = set()
        self._reasons: set[str] = set()
        self._stage = 0
        self._bar = bar or _bar(console)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def waiting(self) -> None:
        """Show, where there are several, that its turn is yet to come."""
        if self._name:
            self._draw("waiting", 0.0, "")

    def failed(self, error: BenchboxError) -> None:
        """Say, where there are several, that the device cannot be used."""
        if self._name:
            self._console.print(f"Error: {error}", style="red", markup=False)
            self._draw("failed", 0.0, "")

    def exporting(self, done: int, total: int, name: str) -> None:
        """Show how many graphs are exported, and the key of a case whose graph is being made."""
        if self._bar is None and done == 0:
            what = "graph" if total == 1 else f"{total} graphs"
            self._console.print(f"preparing {what}, kept for later runs")
        at = f", {printable(name)}" if name else ""
        self._draw("preparing", done / total, f"{done} of {total} graphs{at}")

    def starting(self) -> None:
        """Warn when others keep this machine busy, if it is timed on."""
        busy = host.busy_cpus() if self._is_here else 0.0
        if busy > BUSY_CPUS:
            self._console.print(
                f"Warning: others keep {busy:.1f} of {len(host.usable_cpus())} processors busy; "
                "stop them, or expect wide intervals.",
                style="yellow",
            )

    def greeted(self, seen: Mapping[str, float]) -> None:
        """Warn of what slows a GPU down from the beginning."""
        where = f"{self._name}: " if self._name else ""
        for words in disturbance_text.of_gpu(seen):
            self._console.print(
                f"Warning: {where}when the run began {words}", style="yellow", markup=False
            )

    def loading(self, done: int, total: int) -> None:
        """Show how many graphs are loaded on the device."""
        self._draw("loading", done / total, f"{done} of {total} graphs")

    def sending(self, name: str, sent: int, size: int | None) -> None:
        """Show how much of a file is sent to the device; say it once when there is no live line.

        It has no size while it is yet being made here.
        """
        if size is None:
            self._making(name)
            return
        if self._bar is None and size > WORTH_SAYING and name not in self._sent:
            self._say(f"sending {name}, {size / MB:.0f} MB")
        self._sent.add(name)
        self._draw("sending", sent / size if size else 1.0, f"{name}, {_of(sent, size)}")

    def _making(self, name: str) -> None:
        what = f"{name}, kept for later runs"
        if self._bar is None and name not in self._sent:
            self._say(f"building {what}")
        self._sent.add(name)
        self._draw("building", 0.0, what)

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        """Show how warm the device is that cools down, and for how long that may take."""
        done = len(self._finished) / self._total
        at = f"{now_c:.0f} °C, {goal_c:.0f} °C wanted, {left_s:.0f} s left at most"
        self._draw("cooling", done, at)

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
            self._say(f"process {sampler.stage + 1} of {sampler.plan.sessions}")
        self._stage = sampler.stage

    def finished(self, record: Record) -> None:
        """Say that a case is finished, when there is no live line."""
        again = self._finished.get(record.key) == record.status
        self._finished[record.key] = record.status
        if self._name and len(self._finished) == self._total:
            self._draw("done", 1.0, f"{self._total} of {self._total} cases")
        if self._bar is not None or again:  # judged anew, to the same end
            return
        latency = record.latency
        figure = "" if latency is None else f" {latency.p50_s * 1e3:.4g} ms"
        if latency is not None and latency.interval is not None:
            figure += f" ±{latency.interval.half_width:.1%}"
        if record.spec == specs.COMPARE and record.relative and record.case != record.reference:
            ratio = formatting.ratio(record.relative.value)
            figure += f", {ratio} ({formatting.bounds(record.relative)})"
        figure += load_text.briefly(record)
        reason = f" ({self._once(record.reason)})" if record.reason else ""
        status = "" if record.status == "ok" else f" {record.status}"
        count = f"[{len(self._finished)}/{self._total}]"
        self._say(f"{count} {record.key}{figure}{status}{reason}")

    def _once(self, reason: str) -> str:
        """Return a reason, or where it was said of another case, that it is the same."""
        if reason in self._reasons:
            return "as above"
        self._reasons.add(reason)
        return reason

    def _say(self, line: str) -> None:
        prefix = f"{self._name} " if self._name else ""
        self._console.print(prefix + printable(line), markup=False)

    def _draw(self, description: str, share: float, at: str) -> None:
        if self._bar is None:
            return
        description = f"{self._name} {description}".lstrip()
        if self._task is None:
            self._task = self._bar.add_task(description, total=1.0, at=at)
        self._bar.update(self._task, description=description, completed=share, at=at)
        self._bar.refresh()


class Lives:
    """The watchers of one run on several devices, with a line for each."""

    def __init__(self, console: Console, total: int, devices: Sequence[Device]) -> None:
        self._bar = _bar(console)
        here = [device.name for device in devices if not device.url]
        self._lives = [
            Live(
                console,
                total,
                is_here=device.name in here[:1],  # one look at this machine is enough
                name=device.name if len(devices) > 1 else "",
                bar=self._bar,
            )
            for device in devices
        ]

    def __enter__(self) -> list[Live]:
        if self._bar is not None:
            self._bar.start()
            for live in self._lives:
                live.waiting()
        return self._lives

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(console: Console) -> Progress | None:
    """Return a bar that draws only when told to, None where there is no terminal."""
    if not console.is_terminal:
        return None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[at]}", markup=False),
    )
    return Progress(*columns, console=console, auto_refresh=False, transient=True)


def _of(sent: int, size: int) -> str:
    return f"{sent / MB:.1f} of {size / MB:.1f} MB"


def _share(case: Case, sampler: Sampler) -> float:
    """Return how far a case is: its rounds over those that its interval, now, lets expect."""
    rounds = len(case.rounds)
    interval = sampler.interval(case)
    if interval is None:
        return min(0.99, rounds / sampler.plan.min_rounds)
    # The width falls with the square root of the rounds.
    needed = rounds * (interval.half_width / sampler.plan.precision) ** 2
    return min(0.99, rounds / max(sampler.plan.min_rounds, needed))


@contextmanager
def bar(console: Console, what: str, total: int) -> Iterator[Callable[[float, str], None]]:
    """Progress bar that is drawn only when its `show(done, at)` is called; nothing when piped.

    Drawing between the calls would be felt by what is timed.
    """
    if not console.is_terminal:
        yield lambda _done, _at: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[at]}", markup=False),
    )
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(what, total=total, at="")

        def show(done: float, at: str) -> None:
            progress.update(task, completed=done, at=at)
            progress.refresh()

        yield show


class Clock:
    """A line with the seconds that passed and what was said last; nothing when piped."""

    def __init__(self, console: Console) -> None:
        self._line = (
            RichLive(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def show(self, taken_s: float, said: str) -> None:
        """Show the seconds that passed and what was said last."""
        if self._line is not None:
            minutes, seconds = divmod(int(taken_s), 60)
            text = f"{minutes}:{seconds:02d} {printable(said)}"
            self._line.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

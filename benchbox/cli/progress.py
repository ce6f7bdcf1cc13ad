"""Progress on stderr: one live line per device on a terminal, plain lines when piped."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Self

from rich.console import Console

from benchbox import host, specs
from benchbox.analysis import disturbance_text
from benchbox.cli import live_table
from benchbox.cli.bar import Bar
from benchbox.cli.timing import Timing
from benchbox.devices import Device
from benchbox.errors import BenchboxError
from benchbox.records import Record
from benchbox.report import formatting, load_text, tables
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.sustained import Sustainer

MB = 1_000_000
WORTH_SAYING = MB  # bytes of a file: a second of a slow link
BUSY_CPUS = 0.3  # kept busy by others before the first sample that are worth a warning
EXPORT_LINE_S = 10.0  # between two plain lines on exports
NAME = 32  # characters of a case that is exported, so that the count beside it can be seen


class Live:
    """The watcher of a run on one device.

    Of several devices each has a `name` and a line on a shared `bar`. `is_here` marks a device
    that is this machine.
    """

    def __init__(
        self,
        console: Console,
        total: int,
        *,
        is_here: bool = True,
        name: str = "",
        bar: Bar | None = None,
    ) -> None:
        self._console = console
        self._total = total
        self._is_here = is_here
        self._name = name
        self._bar = bar or Bar(console)
        self._line = self._bar.line()
        self._timing = Timing(total)
        self._finished: dict[str, str] = {}
        self._sent: set[str] = set()
        self._reasons: set[str] = set()
        self._stage = 0
        self._exporting_since = self._printed_at = 0.0

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def waiting(self) -> None:
        """Show that a device is opened, or that the turn of one of several is yet to come."""
        self._draw("waiting" if self._name else "starting", None, "")

    def failed(self, error: BenchboxError) -> None:
        """Print why one of several devices cannot be used."""
        if self._name:
            self._console.print(f"Error: {error}", style="red")
            self._draw("failed", None, "")

    def exporting(self, done: int, total: int, name: str) -> None:
        """Show a case whose graph is being made, how many graphs are left, and the time left."""
        now = time.monotonic()
        if done <= 1:  # the first graph takes longer: its worker loads torch
            self._exporting_since = now
        if not done:
            self._printed_at = now
            if not self._line.is_live:
                what = "graph" if total == 1 else f"{total} graphs"
                self._console.print(f"preparing {what}, kept for later runs")
        left, about = total - done, ""
        if done > 1 and left:
            left_s = max(1.0, (now - self._exporting_since) * left / (done - 1))
            about = f"about {formatting.duration(left_s, 2)}"
        short = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
        at = f"{short} {min(done + 1, total)}/{total}".lstrip()
        self._draw("exporting", done / total, f"{at}, {about} left" if about else at)
        if not self._line.is_live and left and now - self._printed_at >= EXPORT_LINE_S:
            self._printed_at = now
            parts = [f"{left} of {total} graphs left", about, name]
            self._console.print(", ".join(filter(None, parts)))

    def starting(self) -> None:
        """Warn when other programs keep this machine busy, if it is timed on."""
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
            self._console.print(f"Warning: {where}when the run began {words}", style="yellow")

    def loading(self, done: int, total: int) -> None:
        """Show how many graphs are loaded on the device."""
        spent = self._timing.loading(done)
        self._draw("loading", self._timing.share, f"{spent}{done + 1} of {total} graphs")

    def sending(self, name: str, sent: int, size: int | None) -> None:
        """Show how much of a file is sent to the device, or print its name once.

        It has no size while it is still being built here.
        """
        if size is None:
            self._building(name)
            return
        if not self._line.is_live and size > WORTH_SAYING and name not in self._sent:
            self._print(f"sending {name}, {size / MB:.0f} MB")
        self._sent.add(name)
        self._draw("sending", sent / size if size else 1.0, f"{name}, {_of(sent, size)}")

    def _building(self, name: str) -> None:
        what = f"{name}, kept for later runs"
        if not self._line.is_live and name not in self._sent:
            self._print(f"building {what}")
        self._sent.add(name)
        self._draw("building", 0.0, what)

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        """Show how warm a cooling device is, and how long cooling may take."""
        at = f"{now_c:.0f} °C, {goal_c:.0f} °C wanted, {left_s:.0f} s left at most"
        self._draw("cooling", self._timing.share, at)

    def measuring(self, sampler: Sampler) -> None:
        """Show the time so far and the time left, and a single device's figures so far."""
        if not self._line.is_live:
            self._print_stage(sampler)
            return
        if not sampler.active or not self._line.is_due:
            return
        finished, plan = len(self._finished), sampler.plan
        parts = [self._timing.measuring(sampler, finished)]
        if isinstance(sampler, Sustainer):
            of_all = [*parts, f"{finished} of {self._total} cases"] if self._total > 1 else []
            self._draw("running", self._timing.share, ", ".join([*of_all, sampler.status]))
            return
        if plan.sessions > 1:
            parts.append(f"process {sampler.stage + 1} of {plan.sessions}")
        asked = f"±{plan.precision * 100:.3g}% asked"
        if self._name:
            found = [sampler.interval(case) for case in sampler.active]
            widest = max(each.half_width if each else math.inf for each in found)
            parts.append(f"widest ±{widest:.1%}, {asked}" if math.isfinite(widest) else asked)
        else:
            self._bar.rows = live_table.lines(sampler, self._total, *self._bar.space)
            parts.append(asked)
        self._draw("timing", self._timing.share, ", ".join(parts))

    def _print_stage(self, sampler: Sampler) -> None:
        """Print which process runs, without a live line: cases finish in the last one only."""
        if sampler.stage != self._stage and sampler.stage:
            self._print(f"process {sampler.stage + 1} of {sampler.plan.sessions}")
        self._stage = sampler.stage

    def finished(self, record: Record) -> None:
        """Print a line for a finished case, when there is no live line."""
        again = self._finished.get(record.key) == record.status
        self._finished[record.key] = record.status
        if self._name and len(self._finished) == self._total:
            self._draw("done", 1.0, f"{self._total} of {self._total} cases")
        if self._line.is_live or again:  # judged anew, to the same end
            return
        figure = "" if record.latency is None else f" {tables.p50(record)} ms"
        if record.spec == specs.COMPARE and record.relative and record.case != record.reference:
            ratio = tables.relative_latency(record)
            figure += f", {ratio} ({formatting.bounds(record.relative)})"
        figure += load_text.briefly(record)
        # Why a figure is imprecise stands below the table, once for all.
        is_told = record.reason and record.status != "imprecise"
        reason = f" ({self._once(record.reason)})" if is_told else ""
        status = "" if record.status == "ok" else f" {record.status}"
        count = f"[{len(self._finished)}/{self._total}]"
        self._print(f"{count} {record.key}{figure}{status}{reason}")

    def _once(self, reason: str) -> str:
        """A reason, or for one that was printed before, a reference to it."""
        if reason in self._reasons:
            return "as above"
        self._reasons.add(reason)
        return reason

    def _print(self, line: str) -> None:
        prefix = f"{self._name} " if self._name else ""
        self._console.print(prefix + line)

    def _draw(self, description: str, share: float | None, at: str) -> None:
        self._line.draw(f"{self._name} {description}".lstrip(), share, at)


class Lives:
    """The watchers of one run on several devices, with a line for each."""

    def __init__(self, console: Console, total: int, devices: Sequence[Device]) -> None:
        self._bar = Bar(console)
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
        self._bar.__enter__()
        for live in self._lives:
            live.waiting()
        return self._lives

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()


def _of(sent: int, size: int) -> str:
    return f"{sent / MB:.1f} of {size / MB:.1f} MB"

"""Progress of a run on a fleet: a line for each case, device and graph."""

from collections.abc import Mapping

from rich.console import Console

from benchbox.api.job import Job
from benchbox.cli.options.jobs import FleetOptions
from benchbox.cli.progress import Live
from benchbox.errors import BenchboxError
from benchbox.fleet import authority, engine
from benchbox.records import Record
from benchbox.report import tables
from benchbox.runner.several_devices import Ends


class FleetLines:
    """Prints what becomes of a run on a fleet."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._console, self._of = console, "" if total is None else f"/{total}"
        self._done: set[tuple[str, str]] = set()
        self._exports = Live(console, total or 0, is_here=False)

    def exporting(self, done: int, total: int, name: str) -> None:
        """Show how many graphs are made, but of a stream, where each may come alone."""
        if self._of:
            self._exports.exporting(done, total, name)

    def finished(self, device: str, record: Record) -> None:
        """Print a case that is finished."""
        self._done.add((device, record.key))
        figure = "" if record.latency is None else f" {tables.p50(record)} ms"
        status = "" if record.status == "ok" else f" {record.status}"
        count = f"[{len(self._done)}{self._of}]"
        self._console.print(f"{count} {device} {record.key}{figure}{status}")

    def aside(self, device: str, reason: str) -> None:
        """Print why a device gets no more cases."""
        self._console.print(f"{device} is put aside: {reason}", style="yellow")

    def waiting(self, reason: str) -> None:
        """Print what a run waits for."""
        text = f"{reason}; waiting for it" if reason else "It is back, going on"
        self._console.print(text, style="yellow")

    def failed(self, error: BenchboxError) -> None:
        """Print why not all is timed."""
        self._console.print(f"Error: {error}", style="red")

    def resting(self, reasons: Mapping[str, str]) -> None:
        """Print why a device rests, or which do."""
        (name, why), *others = reasons.items()
        text = f"{name} is not as usual: {why}; it gets cases only while no other is as usual"
        if others:
            text = (
                f"{name} and {len(others)} more are not as usual, as `benchbox fleet list` says; "
                "they get cases only while no other is"
            )
        self._console.print(text, style="yellow")

    def usual(self, device: str) -> None:
        """Print that a device rests no more."""
        self._console.print(f"{device} is usual again", style="yellow")

    def left(self, device: str) -> None:
        """Print that a device gets no cases for now."""
        text = f"{device} has left the fleet; its cases go to others, or wait for it"
        self._console.print(text, style="yellow")

    def back(self, device: str) -> None:
        """Print that a device gets cases again."""
        self._console.print(f"{device} is back in the fleet", style="yellow")

    def stopping(self, count: int) -> None:
        """Print what Ctrl-C waits for."""
        tasks = "the task that has" if count == 1 else f"the {count} tasks that have"
        self._console.print(
            f"Interrupted, ending {tasks} begun; Ctrl-C again leaves at once.", style="yellow"
        )


def measured(asked: Job, stderr: Console, fleet: FleetOptions) -> Ends:
    """Measure on the devices of a fleet."""
    engine.require()
    address = authority.parse(fleet.scheduler or "")
    from benchbox.fleet import submit

    total = None if asked.stream else len(asked.cases) * len(asked.requests)
    lines = FleetLines(stderr, total)
    return submit.run(address, asked.requests, asked.cases, lines, fleet.priority, asked.stream)

"""The `benchbox calibrate` command: what predictions for a device are made from."""

import time

import typer

from benchbox import devices
from benchbox.api import parsing
from benchbox.cli.bar import Bar
from benchbox.cli.exits import INTERRUPTED
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.output import console
from benchbox.cli.progress import Live
from benchbox.insight.predict.calibration import LEAST_NETWORKS
from benchbox.report import formatting
from benchbox.runner.calibrate import Calibrator, networks, require_predictable
from benchbox.transports import open_agent

LINE_S = 30.0  # between two plain lines


def calibrate(device_name: str, processors: ProcessorOptions, *, again: bool) -> None:
    """Calibrate a device, or go on with what was cut short; exits 130 when interrupted."""
    cpus = parsing.one_choice(processors.cpus)
    threads = parsing.one_number_of_threads(processors.threads)
    device = devices.resolve(parsing.one_device(device_name), threads, cpus)
    require_predictable(device)
    stderr = console(stderr=True)
    with Live(stderr, 1, is_here=not device.url) as live:
        live.starting()
    begun = printed = time.monotonic()
    first: int | None = None
    wanted = networks()
    try:
        with Bar(stderr) as bar:
            line = bar.line()

            def show(name: str, done: int, total: int) -> None:
                nonlocal first, printed
                first = done if first is None else first
                now = time.monotonic()
                left_s = (now - begun) * (total - done) / max(1, done - first)
                about = f"about {formatting.duration(left_s, 2)} left" if done > first + 1 else ""
                at = ", ".join(filter(None, (f"{name} {done + 1}/{total}", about)))
                line.draw("calibrating", done / total, at)
                if not line.is_live and (done == first or now - printed > LINE_S):
                    printed = now
                    stderr.print(f"calibrating {at}")

            calibrator = Calibrator(device, open_agent, notify=show, anew=again)
            found = calibrator.calibrate(wanted)
    except KeyboardInterrupt:
        count = len({name for name, _ in calibrator.done})
        goes_on = f"benchbox calibrate -d {device.command_name} goes on"
        kept = f"{count} of {len(wanted)} networks timed and kept; {goes_on}"
        few = "" if again or count >= LEAST_NETWORKS else ", as that is too few to predict by"
        stderr.print(f"Interrupted: {kept}{few}.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    stdout = console()
    named = device.command_name
    stdout.print(
        f"calibrated {named}: {len(found.networks)} networks, "
        f"{sum(len(each.operators) for each in found.networks)} operators, "
        f"{formatting.duration(time.monotonic() - begun, 2)}"
    )
    stdout.print(f"kept in {calibrator.file}; try: benchbox predict models -d {named}")

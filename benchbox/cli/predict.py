"""The `benchbox predict` command: latency of graphs that are not timed."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer
from rich.console import Console

from benchbox import devices, records, runner, specs
from benchbox.api import parsing
from benchbox.api.selection import selection
from benchbox.cli import runs
from benchbox.cli.bar import Bar
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.progress import Live
from benchbox.devices import Device
from benchbox.errors import BenchboxError, CaseError, UsageError
from benchbox.insight.predict.calibration import Calibration
from benchbox.insight.predict.model import LatencyModel
from benchbox.records import Run
from benchbox.records.names import Wanted
from benchbox.report import predicted as report_predicted
from benchbox.report.predicted import PredictReport
from benchbox.runner import generated
from benchbox.runner.calibrate import require_predictable
from benchbox.runner.predict import (
    Asked,
    Predicted,
    calibration_of,
    model_of,
    of_cases,
    of_generated,
    predicted,
    shift_by,
)
from benchbox.specs import BlockSpec
from benchbox.transports import open_agent


def predict(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    exports: ExportOptions,
    anchor: str,
    results: Path,
) -> None:
    """Predict every graph; exits 1 where one cannot be predicted, 130 when interrupted."""
    files = Exports(exports.paths())
    cpus = parsing.one_choice(processors.cpus)
    threads = parsing.one_number_of_threads(processors.threads)
    device = devices.resolve(parsing.one_device(device_name), threads, cpus)
    require_predictable(device)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before it is imported here
    generators = [name for name in options.names if generated.is_generator(name)]
    names = [name for name in options.names if name not in generators]
    stderr = console(stderr=True)
    found = specs.find_all(names)
    run = _run(anchor, results, device) if anchor else None
    known = calibration_of(device, open_agent)
    asked = _prepared(found, options, device, stderr) if found else []
    with Bar(stderr) as bar:
        bar.line().draw("fitting", None, f"{len(known.networks)} networks")
        model = model_of(known)
    shift, anchored = _anchored(anchor, run, found, known, model) if run else (1.0, 0)
    done: list[Predicted] = []
    cut = _collect(done, [*asked, *generators], known, model, shift, stderr)
    report = PredictReport(
        *(done, known, model, device.name, records.now()), shift=shift, anchored=anchored
    )
    files.publish(
        report_predicted.tables(report) if done else (),
        "; predict again",
        csv=lambda: report_predicted.to_csv(report),
        json=lambda: report_predicted.to_json(report),
    )
    if isinstance(cut, BenchboxError):
        raise cut
    if cut:
        stderr.print(f"Interrupted; predicted: {len(done)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(each.prediction is None for each in done):
        raise typer.Exit(CASE_FAILED)


def _prepared(
    found: Sequence[BlockSpec],
    options: CaseOptions,
    device: Device,
    stderr: Console,
) -> list[Asked]:
    """The graphs of cases, exported where they are not in the cache."""
    cases = runner.unfold(found, selection(options.plain(), device.channels))
    with Live(stderr, len(cases)) as live:
        graphs = runner.prepare(found, cases, live.exporting, timed=False)
    return list(of_cases(cases, graphs))


def _run(anchor: str, results: Path, device: Device) -> Run:
    """The run to shift by; of one on several devices what ran on this one."""
    found, _ = runs.readable([anchor], Wanted(results))
    own = next((each for each in found if each.context.device == device.name), None)
    if own is None:
        others = ", ".join(dict.fromkeys(each.context.device for each in found))
        raise UsageError(f"--anchor {anchor}: it is of {others}, not of {device.name}")
    return own


def _anchored(
    anchor: str, run: Run, asked: Sequence[BlockSpec], known: Calibration, model: LatencyModel
) -> tuple[float, int]:
    """What the cases of a run took over what is predicted, and how many there are.

    They are those of bundled specs, and of the files that are `asked` for.
    """
    bundled = specs.bundled()
    names = dict.fromkeys(each.spec for each in run.records)
    found = specs.find_all([each for each in names if each in bundled])
    found += [each for each in asked if each.name not in bundled]
    if not found:
        raise UsageError(f"--anchor {anchor}: name its files among what is predicted, too")
    keys = {each.key for each in run.records if each.latency is not None}
    cases = [case for case in runner.unfold(found, specs.Selection()) if case.key in keys]
    try:
        return shift_by(run, cases, runner.prepare(found, cases), known, model)
    except CaseError as error:
        raise UsageError(f"--anchor {anchor}: {error}") from None


def _collect(
    done: list[Predicted],
    asked: Sequence[Asked | str],
    known: Calibration,
    model: LatencyModel,
    shift: float,
    stderr: Console,
) -> BaseException | None:
    """Add the prediction of every graph; return Ctrl-C, or the error, that cut it short."""
    try:
        with Bar(stderr) as bar:
            line = bar.line()
            for each in predicted(_asked(asked), known, model, shift):
                done.append(each)
                line.draw("predicting", None, f"{len(done)} graphs")
    except (KeyboardInterrupt, BenchboxError) as error:
        return error
    return None


def _asked(asked: Iterable[Asked | str]) -> Iterator[Asked]:
    for each in asked:
        if isinstance(each, Asked):
            yield each
        else:
            yield from of_generated(generated.items(each))

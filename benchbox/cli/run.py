"""The `benchbox run` command: devices, plan, measurement, tables and exit code."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from benchbox import devices, records, runner, specs
from benchbox.analysis import stats
from benchbox.cli import gpu_options, load_options, parsing
from benchbox.cli.defaults import DeviceOptions, fitting
from benchbox.cli.exits import CASE_FAILED, IMPRECISE, INTERRUPTED, UNCLEAR
from benchbox.cli.options import LoadOptions, Options
from benchbox.cli.output import REPORT, Exports, console
from benchbox.cli.progress import Lives
from benchbox.cli.report import render
from benchbox.cli.selection import run_name, selection
from benchbox.devices import Device, providers
from benchbox.errors import UsageError
from benchbox.records import Context
from benchbox.report import claims
from benchbox.report.console import show_runs
from benchbox.runner import Outcome, Request, several_devices
from benchbox.runner.context import context_of
from benchbox.runner.several_devices import Ends
from benchbox.sampling.plan import Plan, processes_for
from benchbox.specs import BlockSpec, Case, Platform, Selection
from benchbox.transports import open_agent

# Of 30 ms bursts of at least three calls two fit where one of 60 ms did, with as much scatter each.
PUBLISHED = Plan(precision=0.03, burst_s=0.03, min_calls=3, sessions=3, aim=2 / 3)
MOST_IMAGES = 10.0  # of 224x224 that one counts for, so that no default is endless
LONGER = 60.0, 5.5  # seconds in all or for each case, of comparisons and GPUs
ON_GPU = Plan(precision=0.03, sessions=3)
COMPARED = Plan(precision=0.015, sessions=3)  # of ratios, whose interval is always printed
QUICK = Plan(precision=0.05, min_rounds=stats.MIN_ROUNDS, burst_s=0.02, min_calls=2)


def run(options: Options) -> None:
    """Measure the named cases, print, export; exits with 1, 130, or if strict 5 or 4."""
    names = options.cases.names
    measure(options, specs.find_all(names), run_name(names))


def measure(options: Options, found: Sequence[BlockSpec], name: str) -> None:
    """Measure specs on every device asked for, print and export tables, and exit with a code.

    The error of a device that cannot be used is printed when it occurs, and decides the exit code.
    """
    exports = Exports(options.output.exports.paths())
    requests, cases = requested(options, found, name)
    stderr = console(stderr=True)
    ends = measured(_resumable(requests), len(cases), stderr)
    outcomes = [ends.outcomes[index] for index in sorted(ends.outcomes)]
    if outcomes:
        runs = [outcome.run for outcome in outcomes]
        show_runs(runs, exports.console(), verbose=options.output.verbose)
    for outcome in outcomes:
        epilogue(stderr, outcome)
    for index in sorted(ends.failures) if outcomes else ():
        name = requests[index].device.name
        stderr.print(f"Not measured: {name}, for the reason above", style="red")
    if outcomes:
        exports.write(partial(render, runs), "" if any(o.lost for o in outcomes) else REPORT)
    end(ends, outcomes, stderr, strict=options.output.strict)


def requested(
    options: Options, found: Sequence[BlockSpec], name: str
) -> tuple[list[Request], list[Case]]:
    """A request for each device asked for, and the cases of each."""
    if options.where.allow_emulated and options.load.sustained:
        raise UsageError("--allow-emulated: not with --sustained, which keeps figures, no samples")
    threads = parsing.threads(options.where.processors.threads)
    chosen = _devices(options, max(threads, default=None))
    gpu_options.refuse_loads(chosen, options.load, options.typed)
    swept = () if any(device.gpu for device in chosen) else threads  # of a GPU one drives it
    selected = selection(options.cases, _channels(chosen), swept)
    for dtype in selected.dtypes:
        gpu_options.refuse_quantised(chosen, dtype)
    gpu_options.require(chosen)
    cases = runner.unfold(found, selected)
    return [_request(options, found, name, selected, each, cases) for each in chosen], cases


def end(ends: Ends, outcomes: Sequence[Outcome], stderr: Console, *, strict: bool) -> None:
    """Exit with the code that the outcomes ask for; their tables are printed by now."""
    if ends.interrupted:
        again = "; `--resume` goes on from here" if outcomes else ""
        stderr.print(f"Interrupted{again}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    for bug in ends.bugs.values():
        raise bug
    if ends.failures:
        raise typer.Exit(ends.failures[min(ends.failures)].exit_code)
    if code := exit_code(outcomes, strict):
        raise typer.Exit(code)


def _devices(options: Options, threads: int | None) -> list[Device]:
    """The devices asked for, in each cluster and by each provider asked for."""
    where, processors = options.where, options.where.processors
    by = providers.several(where.provider) if where.provider else [""]
    asked = DeviceOptions(threads, parsing.processors(processors.cpus), by)
    wanted = [(name, fitting(asked, name, options.typed)) for name in where.device or ["cpu"]]
    resolved = [
        devices.resolve(name, own.threads, cpus, provider)
        for name, own in wanted
        for cpus in own.cpus
        for provider in own.providers
    ]
    chosen = gpu_options.in_modes(resolved, options.gpu, options.typed)
    names = [device.name for device in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--device {twice[0]}: given twice")
    return chosen


def _channels(chosen: Sequence[Device]) -> Platform:
    """The channel set to build: several devices all get the same graphs."""
    return chosen[0].channels if len({device.channels for device in chosen}) == 1 else "arm"


def context_now(request: Request, cases: Sequence[Case]) -> Context:
    """The context that a run of these cases would have now."""
    with open_agent(request.device) as agent:
        return context_of(request, cases, agent)


def _resumable(requests: Sequence[Request]) -> list[Request]:
    """The requests, with those to be resumed begun anew on devices that have no run of it yet.

    When no device has one, resuming fails as it does on a single device.
    """
    has_run = [_newest(request) is not None for request in requests]
    if not any(has_run):
        return list(requests)
    return [
        replace(request, resume=request.resume and has)
        for request, has in zip(requests, has_run, strict=True)
    ]


def measured(requests: Sequence[Request], count: int, stderr: Console) -> Ends:
    """Measure so many cases on every device, with a live view of all."""
    hardware = [request.device.hardware for request in requests]
    turns = max(map(hardware.count, hardware))
    if text := load_options.announcement(requests[0].plan, count, turns):
        stderr.print(text)
    plan, few = requests[0].plan, PUBLISHED.sessions
    wanted = processes_for(plan.precision, plan.max_time_s)
    if plan.margin is None and plan.sessions == wanted > few:
        asked = f"±{100 * plan.precision:g}%"
        stderr.print(f"{plan.sessions} processes in turn, as {asked} takes more than {few}")

    def stopping() -> None:
        stderr.print("Interrupted, ending; Ctrl-C again leaves at once.", style="yellow")

    known = [_newest(request) for request in requests]
    try:
        with Lives(stderr, count, [request.device for request in requests]) as lives:
            requests = [
                replace(request, open=partial(open_agent, progress=live.sending))
                for request, live in zip(requests, lives, strict=True)
            ]
            return several_devices.run(
                requests, lives, lambda index, error: lives[index].failed(error), stopping
            )
    except KeyboardInterrupt:  # before there was anything, or for the second time
        kept = [path for r, was in zip(requests, known, strict=True) if (path := _kept(r, was))]
        if not kept:
            raise
        for path in kept:
            stderr.print(f"Records so far: {path}")
        stderr.print("Interrupted; `--resume` goes on from here.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None


def _newest(request: Request) -> Path | None:
    return records.latest(request.results, request.device.name, request.name)


def _kept(request: Request, before: Path | None) -> Path | None:
    """The file of a run that did not end, None without one; `before` existed before the run."""
    path = _newest(request)
    if path is None or (path == before and not request.resume):
        return None
    return path


def _request(
    options: Options,
    found: Sequence[BlockSpec],
    name: str,
    selected: Selection,
    device: Device,
    cases: Sequence[Case],
) -> Request:
    return Request(
        name=name,
        specs=found,
        selection=selected,
        device=device,
        plan=plan(options, cases, is_gpu=bool(device.gpu)),
        results=options.output.results,
        resume=options.timing.resume,
        allow_emulated=options.where.allow_emulated,
    )


def plan(options: Options, cases: Sequence[Case], *, is_gpu: bool = False) -> Plan:
    """The plan that the options ask for; max_time grows with the cases and, off GPUs, their images.

    On a GPU a load is left out: there it can only be a default that nobody typed.
    """
    timing, margin = options.timing, options.margin
    published = COMPARED if margin is not None else ON_GPU if is_gpu else PUBLISHED
    base = QUICK if timing.quick else published
    least_s, each_s = (3.0, 0.5) if timing.quick else (45.0, 3.4) if base is PUBLISHED else LONGER
    default_s = max(least_s, each_s * (len(cases) if is_gpu else sum(map(_images, cases))))
    precision = parsing.share(timing.precision) if timing.precision else base.precision
    max_time_s = parsing.seconds(timing.max_time) if timing.max_time else default_s
    few = timing.quick or margin is not None or is_gpu
    sessions = base.sessions if few else max(base.sessions, processes_for(precision, max_time_s))
    ordinary = Plan(
        precision=precision,
        max_time_s=max_time_s,
        min_rounds=base.min_rounds,
        burst_s=base.burst_s,
        min_calls=base.min_calls,
        seed=timing.seed,
        sessions=timing.sessions or sessions,
        margin=None if margin is None else parsing.share(margin, "--margin"),
        percentiles=parsing.percentiles(timing.percentiles),
        cooldown_s=parsing.seconds(timing.cooldown, "--cooldown") if timing.cooldown else 0.0,
        aim=base.aim,
    )
    return load_options.adapt(
        ordinary,
        LoadOptions() if is_gpu else options.load,
        len(cases),
        precise=timing.precision is not None or timing.quick,
        timed=timing.max_time is not None,
        typed=options.typed,
    )


def _images(case: Case) -> float:
    """How many images of 224x224 the one of a case takes as long as; 1 for other inputs."""
    shapes = [tensor.shape for tensor in case.inputs[:1]]
    sizes = [shape[2:] for shape in shapes if len(shape) == 4 and shape[1] == 3]
    return min(MOST_IMAGES, max([1.0, *(height * width / 224**2 for height, width in sizes)]))


def epilogue(stderr: Console, outcome: Outcome) -> None:
    """Print the warnings of a run, and where its records are."""
    for warning in outcome.run.warnings:
        stderr.print(f"Warning: {warning}", style="yellow")
    if outcome.lost:
        stderr.print(f"Error: {outcome.lost}", style="red")
    else:
        stderr.print(f"Records: {outcome.run.path}")


def exit_code(outcomes: Sequence[Outcome], strict: bool) -> int:
    """The exit code of a command with these outcomes."""
    statuses = {record.status for outcome in outcomes for record in outcome.run.records}
    if "failed" in statuses or any(outcome.lost or outcome.failed for outcome in outcomes):
        return CASE_FAILED
    if strict and "imprecise" in statuses:
        return IMPRECISE
    unclear = any(claims.is_unclear(outcome.run) for outcome in outcomes)
    return UNCLEAR if strict and unclear else 0

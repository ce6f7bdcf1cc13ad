"""`benchbox run`, and what `compare` shares with it."""

import hashlib
import signal
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console

from benchbox import devices, records, runner, specs
from benchbox.analysis import stats
from benchbox.cli import gpu_options, load_options, parsing
from benchbox.cli.choices import Channels, Dtype
from benchbox.cli.defaults import Place, fitting
from benchbox.cli.exits import CASE_FAILED, IMPRECISE, INTERRUPTED, UNCLEAR
from benchbox.cli.gpu_options import Asked
from benchbox.cli.load_options import Load
from benchbox.cli.output import Targets, console
from benchbox.cli.progress import Lives
from benchbox.devices import Device, providers
from benchbox.errors import UsageError
from benchbox.report import claims
from benchbox.runner import Outcome, Request, several_devices
from benchbox.runner.several_devices import Ends
from benchbox.sampling.plan import Plan
from benchbox.specs import BlockSpec, Platform, Selection
from benchbox.transports import open_agent

ENDINGS = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)
PUBLISHED = Plan(sessions=3)
COMPARED = Plan(precision=0.015, sessions=3)  # of ratios, whose interval is always printed
QUICK = Plan(precision=0.05, min_rounds=stats.MIN_ROUNDS, burst_s=0.02, min_calls=2)
NAME_CHARACTERS = 100  # of a run in a file name; file systems end at 255
DIGEST_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `benchbox run` and `benchbox compare`; of the latter, `margin`.

    `typed` names those that stand on the command line. Others have their value from the environment
    or from benchbox.toml, where they may be meant for other runs.
    """

    names: Sequence[str]
    devices: Sequence[str]
    threads: int | None
    cpus: str | None
    provider: str | None
    cooldown: str | None
    sessions: int | None
    precision: str | None
    max_time: str | None
    quick: bool
    seed: int
    resume: bool
    results: Path
    strict: bool
    verbose: bool
    load: Load = field(default_factory=Load)
    margin: str | None = None
    allow_emulated: bool = False
    gpu: Asked = field(default_factory=Asked)
    typed: Set[str] = frozenset()


def run_command(
    options: Options,
    select: Callable[[Platform], Selection],
    exports: Mapping[str, Path | None],
) -> None:
    """Run, print, export; exits 1 for a failed case, 130, and if strict 5 or 4."""
    carry_out(options, find_all(options.names), run_name(options.names), select, exports)


def carry_out(
    options: Options,
    found: Sequence[BlockSpec],
    name: str,
    select: Callable[[Platform], Selection],
    exports: Mapping[str, Path | None],
) -> None:
    """Measure specs on every device asked for, print, export, and exit with what came of it.

    A device that cannot be used is told of when that happens, and ends the command with its code.
    """
    targets = Targets(exports)
    if options.allow_emulated and options.load.sustained:
        raise UsageError("--allow-emulated: not with --sustained, which keeps figures, no samples")
    places = _places(options)
    gpu_options.refuse_loads(places, options.load, options.typed)
    selected = select(_channels(places))
    gpu_options.require(places)
    requests = _begun([_request(options, found, name, selected, device) for device in places])
    stderr = console(stderr=True)
    ends = _measured(requests, stderr)
    outcomes = [ends.outcomes[place] for place in sorted(ends.outcomes)]
    if outcomes:
        targets.write([outcome.run for outcome in outcomes], verbose=options.verbose)
    for outcome in outcomes:
        _epilogue(stderr, outcome)
    for place in sorted(ends.failures) if outcomes else ():
        name = requests[place].device.name
        stderr.print(f"Not measured: {name}, for the reason above", style="red", markup=False)
    _end(ends, outcomes, stderr, strict=options.strict)


def _end(ends: Ends, outcomes: Sequence[Outcome], stderr: Console, *, strict: bool) -> None:
    """End the command with what came of it; all that was measured is shown by now."""
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


def _places(options: Options) -> list[Device]:
    """Return the devices asked for, in each cluster and by each provider asked for."""
    by = providers.several(options.provider) if options.provider else [""]
    asked = Place(options.threads, parsing.processors(options.cpus), by)
    wanted = [(each, fitting(asked, each, options.typed)) for each in options.devices]
    places = [
        devices.resolve(each, own.threads, cpus, provider)
        for each, own in wanted
        for cpus in own.cpus
        for provider in own.providers
    ]
    places = gpu_options.driven(places, options.gpu, options.typed)
    names = [device.name for device in places]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--device {twice[0]}: given twice")
    return places


def _channels(places: Sequence[Device]) -> Platform:
    """Return the channels to build: of several devices all get the same graphs."""
    return places[0].channels if len({device.channels for device in places}) == 1 else "arm"


def _begun(requests: Sequence[Request]) -> list[Request]:
    """Return the requests, those to be resumed begun anew on devices that have no run of it yet.

    When no device has one, resuming fails as it does on a single device.
    """
    has_run = [_newest(request) is not None for request in requests]
    if not any(has_run):
        return list(requests)
    return [
        replace(request, resume=request.resume and has)
        for request, has in zip(requests, has_run, strict=True)
    ]


def _measured(requests: Sequence[Request], stderr: Console) -> Ends:
    """Measure on every device, with a live view of all."""
    count = len(runner.unfold(requests[0].specs, requests[0].selection))
    hardware = [request.device.hardware for request in requests]
    turns = max(map(hardware.count, hardware))
    if text := load_options.announcement(requests[0].plan, count, turns):
        stderr.print(text, markup=False)

    def stopping() -> None:
        stderr.print("Interrupted, ending; Ctrl-C again leaves at once.", style="yellow")

    # A request to end is treated as Ctrl-C: what was measured is kept.
    before = {number: signal.signal(number, _interrupt) for number in ENDINGS}
    known = [_newest(request) for request in requests]
    try:
        with Lives(stderr, count, [request.device for request in requests]) as lives:
            requests = [
                replace(request, open=partial(open_agent, sending=live.sending))
                for request, live in zip(requests, lives, strict=True)
            ]
            return several_devices.run(
                requests, lives, lambda place, error: lives[place].failed(error), stopping
            )
    except KeyboardInterrupt:  # before there was anything, or for the second time
        kept = [path for r, was in zip(requests, known, strict=True) if (path := _kept(r, was))]
        if not kept:
            raise
        for path in kept:
            stderr.print(f"Records so far: {path}", markup=False)
        stderr.print("Interrupted; `--resume` goes on from here.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _newest(request: Request) -> Path | None:
    return records.latest(request.results, request.device.name, request.name)


def _kept(request: Request, before: Path | None) -> Path | None:
    """Return the file of a run that has no end, where it has one; `before` was there before it."""
    path = _newest(request)
    if path is None or (path == before and not request.resume):
        return None
    return path


def _request(
    options: Options, found: Sequence[BlockSpec], name: str, selected: Selection, device: Device
) -> Request:
    return Request(
        name=name,
        specs=found,
        selection=selected,
        device=device,
        plan=plan(options, found, selected, is_gpu=bool(device.gpu)),
        results=options.results,
        resume=options.resume,
        allow_emulated=options.allow_emulated,
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def find_all(names: Sequence[str]) -> list[BlockSpec]:
    """Return the specs of all names, in order."""
    return [spec for name in names for spec in specs.find(name)]


def run_name(names: Sequence[str]) -> str:
    """Return what a run of these names is called in its file's name: `g1+g2`, `g2_groups=8`."""
    parts = []
    for name in names:
        found = specs.find(name)
        narrowed = "".join(f"_{key}={value}" for key, value in found[0].only.items())
        base = specs.split(name)[0]
        is_file = base.endswith((".toml", ".onnx"))
        own = Path(base).name if is_file else found[0].name
        if specs.is_network(base):
            own = found[0].only["network"]
            narrowed = narrowed.replace(f"_network={own}", "")
        parts.append((base if len(found) > 1 else own) + narrowed)
    return file_name("+".join(parts))


def file_name(text: str) -> str:
    """Return a text as part of a file's name; one that is too long ends in a digest of it."""
    name = "".join(c if c.isalnum() or c in "+-_.=," else "-" for c in text)
    if len(name) <= NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{name[: NAME_CHARACTERS - DIGEST_CHARACTERS - 1]}-{digest}"


def selecting(
    channels: Channels | None,
    batch: str | None,
    scales: Sequence[str] | None,
    shapes: Sequence[str] | None,
    weights: Sequence[str] | None,
    dtype: Dtype | None = None,
) -> Callable[[Platform], Selection]:
    """Return what makes the selection for a device, whose own channel set it is given."""
    return lambda own: selection(channels, own, batch, scales, shapes, weights, dtype)


def selection(
    channels: Channels | None,
    own: Platform,
    batch: str | None,
    scales: Sequence[str] | None,
    shapes: Sequence[str] | None,
    weights: Sequence[str] | None = None,
    dtype: Dtype | None = None,
) -> Selection:
    """Return what the options select; `own` is the channel set of the device."""
    tensors = [parsing.shape(text) for text in shapes or ()]
    names = [tensor.name for tensor in tensors]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"--shape {twice[0]}: given twice")
    return Selection(
        channels=channels.value if channels else own,
        batches=parsing.batches(batch),
        scales=tuple(scales or ()),
        shapes=tuple(tensors),
        weights=parsing.weights(weights or ()),
        dtype=dtype.value if dtype else None,
    )


def plan(
    options: Options, found: Sequence[BlockSpec], selected: Selection, *, is_gpu: bool = False
) -> Plan:
    """Return the plan that the options ask for; max_time grows with the number of cases.

    A load that is no more than a default is none on a GPU.
    """
    published = PUBLISHED if options.margin is None else COMPARED
    base = QUICK if options.quick else published
    count = sum(len(spec.cases(selected)) for spec in found)
    default_s = max(3.0, 0.5 * count) if options.quick else max(60.0, 5.5 * count)
    ordinary = Plan(
        precision=parsing.share(options.precision) if options.precision else base.precision,
        max_time_s=parsing.seconds(options.max_time) if options.max_time else default_s,
        min_rounds=base.min_rounds,
        burst_s=base.burst_s,
        min_calls=base.min_calls,
        seed=options.seed,
        sessions=options.sessions or base.sessions,
        margin=None if options.margin is None else parsing.share(options.margin, "--margin"),
        cooldown_s=parsing.seconds(options.cooldown, "--cooldown") if options.cooldown else 0.0,
    )
    precise, timed = options.precision is not None, options.max_time is not None
    load, precise = Load() if is_gpu else options.load, precise or options.quick
    return load_options.adapt(
        ordinary, load, count, precise=precise, timed=timed, typed=options.typed
    )


def _epilogue(stderr: Console, outcome: Outcome) -> None:
    for warning in outcome.run.warnings:
        stderr.print(f"Warning: {warning}", style="yellow", markup=False)
    if outcome.lost:
        stderr.print(f"Error: {outcome.lost}", style="red", markup=False)
    else:
        stderr.print(f"Records: {outcome.run.path}", markup=False)


def exit_code(outcomes: Sequence[Outcome], strict: bool) -> int:
    """Return what the runs end the command with."""
    statuses = {record.status for outcome in outcomes for record in outcome.run.records}
    if "failed" in statuses or any(outcome.lost for outcome in outcomes):
        return CASE_FAILED
    if strict and "imprecise" in statuses:
        return IMPRECISE
    unclear = any(claims.is_unclear(outcome.run) for outcome in outcomes)
    return UNCLEAR if strict and unclear else 0

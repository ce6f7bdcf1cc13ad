"""Job: one run that options ask for, on all of its devices, ready to be done."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from benchbox import devices, records, runner, specs
from benchbox.api import fleet, gpu_options, parsing
from benchbox.api.defaults import DeviceOptions, fitting
from benchbox.api.options import Baseline, JobOptions
from benchbox.api.plan import plan
from benchbox.api.selection import file_name, run_name, selection
from benchbox.devices import Device, providers
from benchbox.errors import BenchboxError, UsageError
from benchbox.records import Context
from benchbox.report.text import listed
from benchbox.runner import Request, Watcher, generated, several_devices
from benchbox.runner.context import context_of
from benchbox.runner.profile import require_processor
from benchbox.runner.several_devices import Ends
from benchbox.specs import BlockSpec, Case, Platform, Selection
from benchbox.transports import open_agent


class Follower(Watcher, Protocol):
    """A watcher that hears of files that are sent to a device, too."""

    def sending(self, name: str, sent: int, size: int | None) -> None:
        """`sent` of `size` bytes of a file are sent; it has no size while it is built."""


@dataclass(frozen=True, slots=True)
class Job:
    """The requests of a run, one for each device, and its cases; whether they are profiled, too.

    Of a `stream` the cases are not known before; it goes on after them.
    """

    requests: Sequence[Request]
    cases: Sequence[Case]
    profiles: bool = False
    stream: Iterator[Case] | None = None

    def run(
        self,
        followers: Sequence[Follower],
        failed: Callable[[int, BenchboxError], None] = lambda *_: None,
        stopping: Callable[[], None] = lambda: None,
    ) -> Ends:
        """Measure on every device, with a follower for each; as `runner.run` does."""
        requests = [
            replace(request, open=partial(open_agent, progress=follower.sending))
            for request, follower in zip(self.requests, followers, strict=True)
        ]
        return several_devices.run(requests, followers, failed, stopping)


def of_run(options: JobOptions) -> Job:
    """The job of timing cases; raises a BenchboxError for options that are wrong."""
    names = options.cases.names
    if not any(map(generated.is_generator, names)):
        return of_specs(options, specs.find_all(names), run_name(names))
    (name, *others) = names
    if others:
        raise UsageError(f"{' '.join(names)}: a generator is run alone; give each a run of its own")
    return of_specs(options, [generated.spec(name)], run_name(names), partial(_stream, name))


def _stream(name: str, options: JobOptions, selected: Selection) -> Iterator[Case]:
    """The cases of a generator as they come; raises UsageError for options that need them all."""
    if len(options.device or ()) > 1:
        raise UsageError(f"{name}: what a generator yields goes to one device or pool; give one -d")
    return generated.stream(name, selected)


def of_comparison(options: JobOptions) -> Job:
    """The job of timing all cases paired with the first of them."""
    names = options.cases.names
    comparison = specs.comparison(specs.find_all(names), title(names))
    return of_specs(options, [comparison], file_name(f"{specs.COMPARE}-{run_name(names)}"))


def title(names: Sequence[str]) -> str:
    """The title of a comparison of these names."""
    labels = list(map(label, names))
    return f"{labels[0]} against {listed(labels[1:])}" if labels[1:] else labels[0]


def label(name: str) -> str:
    """A name as the table's title has it: a network in full, a file without its folder."""
    first, *others = specs.find(name)
    base = specs.split(name)[0]
    if specs.is_network(base):
        return first.only["network"]
    only = ",".join(f"{key}={value}" for key, value in first.only.items())
    return f"{base if others else first.name}{':' if only else ''}{only}"


def context_now(request: Request, cases: Sequence[Case]) -> Context:
    """The context that a run of these cases would have now."""
    with open_agent(request.device) as agent:
        return context_of(request, cases, agent)


def newest(request: Request) -> Path | None:
    """The newest run of that name on that device."""
    return records.latest(request.results, request.device.name, request.name)


def of_specs(
    options: JobOptions,
    found: Sequence[BlockSpec],
    name: str,
    streamed: Callable[[JobOptions, Selection], Iterator[Case]] | None = None,
) -> Job:
    """The job of timing the cases of specs, as a run of that name.

    On a fleet those that come in a stream are not waited for.
    """
    if options.allow_emulated and options.load.sustained:
        raise UsageError("--allow-emulated: not with --sustained, which keeps figures, no samples")
    threads = parsing.threads(options.threads)
    chosen = (
        fleet.placeholders(options, max(threads, default=0))
        if options.scheduler
        else _devices(options, max(threads, default=None))
    )
    gpu_options.refuse_loads(chosen, options.load, options.typed)
    swept = () if any(device.gpu for device in chosen) else threads  # of a GPU one drives it
    selected = selection(options.cases, _channels(chosen), swept)
    for dtype in selected.dtypes:
        gpu_options.refuse_quantised(chosen, dtype)
    gpu_options.require(chosen)
    if options.profile and "profile" in options.typed:
        _require_profiles(chosen, allow_emulated=options.allow_emulated)
    stream = streamed(options, selected) if streamed and options.scheduler else None
    cases = [*islice(stream, 1)] if stream else runner.unfold(found, selected)
    for limit in parsing.limits(options.fail_on if "fail_on" in options.typed else None):
        is_alone = options.against == Baseline()
        if limit.figure == "slower" and is_alone and all(case.is_reference for case in cases):
            raise UsageError(
                f"--fail-on {limit.text}: no case of these is set beside another; "
                "name two with `benchbox compare`"
            )
    requests = [
        Request(
            name=name,
            specs=found,
            selection=selected,
            device=device,
            plan=plan(options, cases, is_gpu=bool(device.gpu)),
            results=options.results,
            resume=options.resume,
            allow_emulated=options.allow_emulated,
        )
        for device in chosen
    ]
    if options.scheduler:
        return Job(requests, cases, stream=stream)
    return Job(_resumable(requests), cases, options.profile and not options.allow_emulated)


def _require_profiles(chosen: Sequence[Device], *, allow_emulated: bool) -> None:
    """Raise a BenchboxError where a device cannot be profiled."""
    if allow_emulated:
        raise UsageError("--profile: not with --allow-emulated; an emulator's times say nothing")
    for device in chosen:
        require_processor(device)


def _devices(options: JobOptions, threads: int | None) -> list[Device]:
    """The devices asked for, in each cluster and by each provider asked for."""
    by = providers.several(options.provider) if options.provider else [""]
    asked = DeviceOptions(threads, parsing.processors(options.cpus), by)
    wanted = [(name, fitting(asked, name, options.typed)) for name in options.device or ["cpu"]]
    resolved = [
        devices.resolve(name, own.threads, cpus, provider)
        for name, own in wanted
        for cpus in own.cpus
        for provider in own.providers
    ]
    chosen = gpu_options.in_modes(resolved, options.gpu, options.typed)
    _require_names_of_their_own(chosen)
    return chosen


def _require_names_of_their_own(chosen: Sequence[Device]) -> None:
    names = [device.name for device in chosen]
    for name in names:
        brought = {_brought_by(each) for each in chosen if each.name == name}
        if len(brought) > 1:
            raise UsageError(
                f"--provider: {' and '.join(sorted(brought))} would both be {name}; give a plug-in "
                "another name: as=NAME after it"
            )
        if names.count(name) > 1:
            raise UsageError(f"--device {name}: given twice")


def _brought_by(device: Device) -> str:
    library = device.plugin.library if device.plugin else ""
    return library or providers.short(device.provider)


def _channels(chosen: Sequence[Device]) -> Platform:
    """The channel set to build: several devices all get the same graphs."""
    return chosen[0].channels if len({device.channels for device in chosen}) == 1 else "arm"


def _resumable(requests: Sequence[Request]) -> list[Request]:
    """The requests, with those to be resumed begun anew on devices that have no run of it yet.

    When no device has one, resuming fails as it does on a single device.
    """
    has_run = [newest(request) is not None for request in requests]
    if not any(has_run):
        return list(requests)
    return [
        replace(request, resume=request.resume and has)
        for request, has in zip(requests, has_run, strict=True)
    ]

"""The straight line of a run: cases -> graphs -> samples -> records."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from benchbox import __version__, export, records
from benchbox.devices import Device, gpu_ceilings, gpu_options
from benchbox.errors import CaseError, UsageError
from benchbox.export import Graph
from benchbox.records import Context, Record, Run, SpecFacts
from benchbox.records import resume as records_resume
from benchbox.records.journal import Journal
from benchbox.runner import known_states, match
from benchbox.runner.measurement import Measurement
from benchbox.runner.sustained import LastingMeasurement
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.specs import (
    BlockSpec,
    Builder,
    Case,
    Selection,
    with_dtype,
    with_references,
    with_weights,
)
from benchbox.transports import Agent, open_agent


class Watcher(Protocol):
    """Who wants to see a run happen; every method returns at once."""

    def exporting(self, done: int, total: int, name: str) -> None:
        """`done` of `total` missing graphs are exported, now that of the case `name`."""

    def starting(self) -> None:
        """All graphs are there; the device comes next."""

    def greeted(self, seen: Mapping[str, float]) -> None:
        """The first process on a GPU has come up, and this is what NVML tells then."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` graphs are loaded on the device, which takes a while on a slow link."""

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        """The device is given time to cool down, `left_s` at most, before the next session."""

    def measuring(self, sampler: Sampler) -> None:
        """The sampler has new samples."""

    def finished(self, record: Record) -> None:
        """A case is finished."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: specs narrowed by a selection, on a device, as the plan says, into a folder."""

    name: str
    specs: Sequence[BlockSpec]
    selection: Selection
    device: Device
    plan: Plan
    results: Path
    resume: bool = False
    allow_emulated: bool = False
    open: Callable[[Device], Agent] = open_agent


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that ended: its records, whether it was interrupted, and where records were kept.

    `lost` says why records are not in the results folder, and where they are instead.
    """

    run: Run
    interrupted: bool
    lost: str


def run(request: Request, watcher: Watcher) -> Outcome:
    """Prepare, measure and record every case of a request.

    Raises a BenchboxError only before anything was measured; later, a failure is a record.
    """
    records.check_writable(request.results / request.device.name)
    cases = unfold(request.specs, request.selection)
    with request.open(request.device) as agent:  # told of before exports, which may take minutes
        return measure(request, prepared(request, cases, watcher), watcher, agent)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The cases of a request, and of each its graph or why it has none."""

    cases: Sequence[Case]
    graphs: Mapping[str, Graph | CaseError]


def prepared(request: Request, cases: Sequence[Case], watcher: Watcher) -> Prepared:
    """Return the cases of a request with their graphs, which are the same on every device.

    Raises a BenchboxError as `prepare` does.
    """
    return Prepared(cases, prepare(request.specs, cases, watcher.exporting))


def measure(
    request: Request, ready: Prepared, watcher: Watcher, agent: Agent | None = None
) -> Outcome:
    """Measure and record every case of a request; raises a BenchboxError as `run` does.

    The first process is that of `agent`, which it ends, or one that it opens.
    """
    watcher.starting()
    agent = agent or request.open(request.device)
    try:
        if seen := agent.hello.get("seen"):
            watcher.greeted(seen)
        context = _context(request, ready.cases, agent)
        previous = records_resume.previous(request.results, context) if request.resume else None
        states, beside = known_states.path(context), known_states.beside(context)
        with closing(Journal(request.results, context, previous)) as journal:
            kind = LastingMeasurement if request.plan.sustained_s else Measurement
            measurement = kind(
                ready.cases,
                ready.graphs,
                request.device,
                request.plan,
                journal,
                watcher,
                agent,
                request.open,
                known_states.load(states, beside),
                allow_emulated=request.allow_emulated,
            )
            interrupted = measurement.run()
        if request.plan.arrival_per_s is None:  # else the processor was waking up all the time
            known_states.save(states, measurement.readings.after(), beside)
    finally:
        agent.close()
    return Outcome(journal.run, interrupted, journal.lost)


def unfold(specs: Sequence[BlockSpec], selection: Selection) -> list[Case]:
    """Return the cases of all specs, each with the first of its group named as its reference.

    Raises UsageError when two of them have one name.
    """
    cases = with_weights(
        [case for spec in specs for case in spec.cases(selection)], selection.weights
    )
    cases = with_dtype(cases, selection.dtype)
    seen: set[str] = set()
    for case in cases:
        if case.key in seen:
            raise UsageError(f"{case.key} is named twice; give each spec and file once")
        seen.add(case.key)
    return with_references(cases)  # a run may name one spec twice, narrowed in two ways


def prepare(
    specs: Sequence[BlockSpec],
    cases: Sequence[Case],
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> dict[str, Graph | CaseError]:
    """Return each case's graph or why it has none, by case key; every `[match]` holds.

    Raises SpecError for a builder that cannot work, and for a `[match]` that does not hold.
    """
    outcomes = export.prepare(cases, progress)
    graphs = {key: graph for key, graph in outcomes.items() if isinstance(graph, Graph)}
    for spec in _once(specs):
        match.verify(spec, [case for case in cases if case.spec == spec.name], graphs)
    return outcomes


def _context(request: Request, cases: Sequence[Case], agent: Agent) -> Context:
    device, selection, hello = request.device, request.selection, agent.hello
    return Context(
        name=request.name,
        created=records.now(),
        benchbox=__version__,
        device=device.name,
        provider=device.provider,
        threads=device.threads,
        channels=selection.channels,
        seed=request.plan.seed,
        plan={
            **asdict(request.plan),
            "batch": [*selection.batches] if selection.batches[1:] else selection.batch,
            "shapes": [str(shape) for shape in selection.shapes],
            "weights": _weights(cases),
            "dtype": selection.dtype,
            **(device.driving.plan() if device.driving else {}),
        },
        specs=[_facts(spec, selection) for spec in _once(request.specs)],
        host=_with_ceilings(_shareable(hello["host"]), device.provider, hello["versions"]),
        versions={**export.versions(), **hello["versions"]},
        cpus=hello["cpus"],
        affinity=hello["affinity"],
    )


def _weights(cases: Sequence[Case]) -> dict[str, str]:
    """Return the sha256 of the checkpoint of every network that has one."""
    sources = {case.network: case.source for case in cases if isinstance(case.source, Builder)}
    return {name: s.weights_sha256 for name, s in sources.items() if s.weights is not None}


def _once(specs: Sequence[BlockSpec]) -> list[BlockSpec]:
    """Return each spec once: a run may name one twice, narrowed in two ways."""
    return list({spec.name: spec for spec in specs}.values())


# What changes from minute to minute is no part of what the machine is.
PASSING = ("memory_available_bytes", "boot")


def _shareable(host: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in host.items() if name not in PASSING}


def _with_ceilings(
    host: dict[str, object], provider: str, versions: Mapping[str, str]
) -> dict[str, object]:
    """Return the facts with what the GPU among them does at best, where that was measured."""
    gpu = host.get("gpu")
    if not isinstance(gpu, dict):
        return host
    known = gpu_ceilings.load(gpu_options.identity(gpu, provider, versions))
    return {**host, "gpu": {**gpu, "ceilings": known}} if known else host


def _facts(spec: BlockSpec, selection: Selection) -> SpecFacts:
    figures = spec.figures(selection.channels)
    return SpecFacts(
        name=spec.name,
        title=spec.title,
        sha256=spec.sha256,
        guideline=spec.guideline,
        source=spec.source,
        group_by=spec.group_by,
        claim=None if spec.claim is None else asdict(spec.claim),
        published_unit=figures.unit if figures else None,
        published_device=figures.device if figures else "",
    )

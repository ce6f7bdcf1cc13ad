"""Values of a run's file: a context, then one record per case and graph.

Schema history:
    1.0  context and record lines
    1.1  record lines name their run; a case has a record for each graph that it had; figures may be
         adjusted to the usual state of the machine
Readers ignore fields they do not know and refuse a newer major version.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from benchbox.analysis.adjusted import Adjustment
from benchbox.analysis.arrival import Arrival
from benchbox.analysis.between_boards import Boards
from benchbox.analysis.energy import Energy
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.latency import Basis, Latency
from benchbox.analysis.quantities import Amount, Change, Count, Ratio, Seconds, Some
from benchbox.analysis.samples import OPEN, Burst
from benchbox.analysis.states import Gate
from benchbox.analysis.stats import Interval
from benchbox.analysis.sustained import Sustained
from benchbox.records.cooldown import Cooldown
from benchbox.records.profile import CaseProfile

SCHEMA = "1.1"
RECORD, PROFILE = "record", "profile"  # kinds of lines
PACKED = ".gz"  # ends the name of an archived run's file
SUFFIXES = (".jsonl", f".jsonl{PACKED}")
Status = Literal["ok", "imprecise", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)
STILL_TIMED, CUT_SHORT = "still being timed", "interrupted before its interval was narrow enough"


@dataclass(frozen=True, slots=True)
class SpecFacts:
    """The facts of a spec that a report needs, so that it can be made without the spec's file."""

    name: str
    title: str
    sha256: str
    guideline: str = ""
    source: str = ""
    group_by: str = ""
    claim: Mapping[str, Any] | None = None
    published_unit: str | None = None
    published_device: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Facts that all cases of a run share: program, device, libraries, plan, specs."""

    name: str
    created: str
    benchbox: str
    device: str
    provider: str
    threads: Some
    channels: str
    seed: Change
    plan: Mapping[str, Any]
    specs: Sequence[SpecFacts]
    host: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cpus: Sequence[Count] = ()
    affinity: Sequence[str] | None = None
    plugin: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    @property
    def run(self) -> str:
        """The run by device, time and name, as its record lines repeat it."""
        return f"{self.device} {self.created} {self.name}"

    @property
    def processor(self) -> str:
        """What the processor or the GPU calls itself."""
        gpu = self.host.get("gpu")
        return str(gpu["name"] if gpu else self.host.get("cpu", ""))

    def spec(self, name: str) -> SpecFacts:
        """The facts of the spec of that name."""
        return next((spec for spec in self.specs if spec.name == name), SpecFacts(name, name, ""))


@dataclass(frozen=True, slots=True)
class Record:
    """One case of a run: its labels, its cost and its measurements.

    `values` has the values of inputs that were given, as text; `has_images` says whether `batch`
    counts images.
    `cost` comes from benchbox.costs, as JSON types; None for a case without a graph.
    `relative` is its latency over that of the group's reference, from the rounds that they share;
    `relative_to` is the sha256 of the reference's graph in these.
    `paper` has the published figures of the case as a network, in millions and percent.
    `nodes` counts the nodes of the graph that each provider ran, None where that is not known.
    `types` counts the nodes of a float16 graph by result type, those of a quantised one by
    `operator:type`, None where that is not known.
    `gpu_bytes` is the GPU memory that loading and the first calls took.
    `output_error` is how far its outputs by another provider are off the CPU's, as a share of their
    size; `computed_in` is the type in which it computed by these, None where they do not tell.
    `spans` are its figures on a GPU, where it ran there.
    `cooldowns` are the waits for the device to cool down before the sessions that timed it.
    With `arrival` its calls came at a rate, which `latency` and `relative` are about; with
    `sustained` it ran for minutes, and `latency` is its steady state.
    `adjustment` tells how its figures were adjusted to the usual state of the machine, None where
    they were not.
    `gate` holds the states of the processor in which its samples count, `state_shift` is that state
    over the one of earlier runs on the machine, above 1 where it is slower. On a GPU it is of the
    GPU, and `host_shift` of the processor beside it. `index` is the place of the case in its run.
    `threads` are its own in a run with several numbers of them, `axes` its place on all that the
    run sweeps: batch, size of images, dtype, threads.
    `energy` is that of one call, where the device can be asked.
    `asked_s` is when the command began that had a fleet time it, in seconds since 1970.
    """

    index: Count
    spec: str
    case: str
    labels: Mapping[str, Any]
    args: Mapping[str, Any]
    group: str
    reference: str
    batch: Some
    dtype: str
    inputs: Sequence[str]
    status: Status
    reason: str = ""
    channels: str | None = None
    published: Ratio | None = None
    printed: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    paper: Mapping[str, Any] = field(default_factory=dict)
    graph: Mapping[str, Any] | None = None
    cost: Mapping[str, Any] | None = None
    load_s: Amount | None = None
    first_call_s: Seconds | None = None
    warmup_calls: Count | None = None
    peak_rss_bytes: Count | None = None
    affinity: Sequence[str] | None = None
    denormal_ratio: Amount | None = None
    peak_bytes: Change | None = None
    nodes: Mapping[str, Count] | None = None
    types: Mapping[str, Count] | None = None
    gpu_bytes: Count | None = None
    output_error: Amount | None = None
    computed_in: str | None = None
    latency: Latency | None = None
    spans: Spans | None = None
    relative: Interval | None = None
    relative_basis: Basis = "quiet"
    relative_to: str = ""
    adjustment: Adjustment | None = None
    gate: Gate = OPEN
    state_shift: Ratio | None = None
    host_shift: Ratio | None = None
    arrival: Arrival | None = None
    sustained: Sustained | None = None
    cooldowns: tuple[Cooldown, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    has_images: bool = True
    threads: Some | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    energy: Energy | None = None
    asked_s: Amount = 0.0
    bursts: Sequence[Burst] = ()

    @property
    def key(self) -> str:
        """The name of this case in a run of several specs."""
        return f"{self.spec}:{self.case}"

    @property
    def place(self) -> Mapping[str, Any]:
        """Its place on what the run sweeps; older records say only of what batch they are."""
        return self.axes or {"batch": self.batch}

    @property
    def sha256(self) -> str:
        """The sha256 of the graph that its samples are of, empty without one."""
        return str((self.graph or {}).get("sha256", ""))

    @property
    def is_unfinished(self) -> bool:
        """Whether it has what was measured before its run was cut short."""
        return is_unfinished(self.status, self.reason)

    @property
    def has_samples(self) -> bool:
        """Whether anything was measured."""
        return bool(self.bursts or self.sustained)


@dataclass(frozen=True, slots=True)
class BoardPool:
    """The boards of each case of a run that is those of several, and their spread."""

    holders: Mapping[str, Sequence[str]]
    boards: Boards


@dataclass(frozen=True)
class Run:
    """A run as read from its file: of several records of one case and graph the last one counts.

    `records` has of each case that of its newest graph, `earlier` the samples of its other graphs,
    `profiles` those that were made of its graphs. `pool` is there of several boards' runs as one.
    """

    path: Path
    context: Context
    records: Sequence[Record]
    warnings: Sequence[str] = ()
    earlier: Sequence[Record] = ()
    profiles: Sequence[CaseProfile] = ()
    pool: BoardPool | None = None

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        return stem(self.path)

    def record(self, key: str) -> Record | None:
        """The record of the case `key`, None where there is none."""
        return self._by_key.get(key)

    @cached_property
    def _by_key(self) -> dict[str, Record]:
        return {record.key: record for record in reversed(self.records)}

    def profile(self, record: Record) -> CaseProfile | None:
        """The profile of a record's graph, None where there is none."""
        return self._profiles.get((record.spec, record.case, record.sha256))

    @cached_property
    def _profiles(self) -> dict[tuple[str, str, str], CaseProfile]:
        return {(each.spec, each.case, each.sha256): each for each in self.profiles}

    def of_spec(self, name: str) -> list[Record]:
        """The records of one spec."""
        return [record for record in self.records if record.spec == name]


def is_unfinished(status: Status, reason: str) -> bool:
    """Whether a record of that status, for that reason, is of a case that was cut short."""
    return status == "imprecise" and reason in (STILL_TIMED, CUT_SHORT)


def stem(path: Path | str) -> str:
    """The name of a run's file, without the ending."""
    name = str(path).rpartition("/")[2].removesuffix(PACKED)  # of 10,000 in a list no Path is made
    return name.rpartition(".")[0] or name


def ordered(found: Iterable[Record]) -> list[Record]:
    """Sort records in the order of their cases in the run."""
    return sorted(found, key=lambda record: record.index)


def uncounted(cost: Mapping[str, Any] | None) -> str:
    """The operators whose multiply-accumulates are not in `macs`, empty if all are."""
    return ", ".join(cost.get("uncounted", ())) if cost else ""


def known_macs(cost: Mapping[str, Any] | None) -> int | None:
    """The multiply-accumulates where they are exact, None where they are a lower bound."""
    return None if not cost or uncounted(cost) else int(cost["macs"])

"""Profiles as tables: by category, by case, and the slowest nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from benchbox import __version__
from benchbox.analysis.operators import CATEGORIES
from benchbox.analysis.parts import By, Part, split
from benchbox.analysis.profile import Node, Profile
from benchbox.devices import Device
from benchbox.networks import catalogue
from benchbox.report import footnotes, formatting, gpu, profile_text
from benchbox.report.table import Column, Table
from benchbox.report.tables import heading, short_case
from benchbox.report.text import by_text, listed, shared_input
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Builder, Case

ONE_CASE, MANY_CASES = 10, 3  # slowest nodes of a table without --top
HEADERS: dict[By, str] = {"category": "category", "module": "module", "type": "operator"}
MOST_COLUMNS = 8  # parts of several cases, above which the smallest share one
ELSEWHERE = "a wider terminal, a pipe and --export-json have all"


class Profiled(Protocol):
    """Outcomes of profiles on a device, made at an ISO 8601 time."""

    @property
    def outcomes(self) -> Sequence[ProfileOutcome]:
        """An outcome per case."""

    @property
    def device(self) -> Device:
        """The device."""

    @property
    def created(self) -> str:
        """The time."""


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """Profiles of a command: an outcome per case, on a device, at an ISO 8601 `created`.

    `top` is how many of the slowest nodes are shown, None for a number that suits; `by` and `depth`
    are those of `benchbox.analysis.parts.split`.
    """

    outcomes: Sequence[ProfileOutcome]
    device: Device
    created: str
    top: int | None = None
    by: By = "category"
    depth: int | None = None

    @property
    def profiled(self) -> list[tuple[Case, Profile]]:
        """The cases that have a profile."""
        return [(each.case, each.profile) for each in self.outcomes if each.profile is not None]

    def parts(self, profile: Profile) -> list[Part]:
        """The parts of a profile that were asked for."""
        return split(profile, self.by, self.depth)


def tables(report: ProfileReport) -> list[Table]:
    """The table of the one case, or of all of them, and then their slowest nodes."""
    profiled = report.profiled
    single = len(report.outcomes) == 1 == len(profiled)
    first = _of_one(report, *profiled[0]) if single else _of_many(report)
    top = (ONE_CASE if single else MANY_CASES) if report.top is None else report.top
    clear = [(case, profile) for case, profile in profiled if top and not profile.is_drowned]
    return [first, *(_slowest(case, profile, top) for case, profile in clear)]


def label(case: Case) -> str:
    """A case's name among others: of a file or a network without its spec."""
    return case.name if case.network or case.name == case.spec else case.key


def share(value: float | None) -> str:
    """Format a share as a whole percentage; profiles of one graph differ by a point."""
    if value is None:
        return formatting.UNKNOWN
    return "<1%" if 0 < value < 0.005 else f"{value * 100:.0f}%"


def _of_one(report: ProfileReport, case: Case, profile: Profile) -> Table:
    parts = report.parts(profile)
    columns = [
        Column(
            HEADERS[report.by],
            tuple(part.name or profile_text.TOP_LEVEL for part in parts),
            text=True,
        ),
        Column("nodes", tuple(str(part.nodes) for part in parts)),
        Column("time (ms)", tuple(milliseconds(part.time_s) for part in parts)),
        Column("time share", tuple(share(part.share) for part in parts)),
        Column("FLOPs (M)", tuple(_flops(part) for part in parts), drop=2),
        Column("FLOPs share", tuple(share(part.macs_share) for part in parts)),
        Column("memory share", tuple(share(part.memory_share) for part in parts), drop=1),
    ]
    return Table(
        title=f"Where the time goes: {label(case)}",
        about=about(report, case),
        columns=tuple(column for column in columns if column.known),
        sentences=tuple(profile_text.sentences(profile, parts, report.by)),
        notes=(*profile_text.notes(profile, report.by), *_made_up(report)),
        elsewhere=ELSEWHERE,
    )


def _of_many(report: ProfileReport) -> Table:
    """A row per case: Figure 2 of the paper as a table. Without any profile it has no columns."""
    profiled = report.profiled
    failed = [outcome for outcome in report.outcomes if outcome.profile is None]
    cases = [case for case, _ in profiled]
    layouts = [None if p.is_drowned else profile_text.layout_share(p) for _, p in profiled]
    shows_layout = any(layouts) and report.by != "module"  # whose shares have it in them
    return Table(
        title=f"Where the time goes: share by {HEADERS[report.by]}",
        about=about(report, *(each.case for each in report.outcomes)),
        columns=(
            Column("case", tuple(name_among(case, cases) for case in cases), text=True),
            Column("time (ms)", tuple(milliseconds(p.latency_s) for _, p in profiled)),
            *_share_columns([report.parts(profile) for _, profile in profiled], report.by),
            *([Column("layout", tuple(map(share, layouts)), drop=2)] if shows_layout else []),
            Column("unoptimised", tuple(_unoptimised(p) for _, p in profiled), drop=1),
        )
        if profiled
        else (),
        groups=tuple(heading(case.group) for case in cases),
        failures=tuple(f"{label(each.case)} failed: {each.reason}" for each in failed),
        sentences=tuple(
            f"{label(c)}: {profile_text.division(p, report.parts(p), report.by)}."
            for c, p in profiled
        ),
        notes=(
            *profile_text.notes_of_many([(label(c), p) for c, p in profiled], report.by),
            *_made_up(report),
        ),
        elsewhere=ELSEWHERE,
    )


def _made_up(report: ProfileReport) -> list[str]:
    """The inputs on whose made-up values the work of a case depends."""
    found = [each for each in report.outcomes if each.profile is not None]
    texts = [footnotes.made_up(each.made_up) for each in found]
    return by_text([label(each.case) for each in found], texts)


def _share_columns(cases: Sequence[Sequence[Part]], by: By) -> list[Column]:
    """Shares of the parts that ran, of many the largest; a narrow terminal loses the last first."""
    total: dict[str, float] = {}
    for part in chain.from_iterable(cases):
        if part.nodes:
            total[part.name] = total.get(part.name, 0.0) + (part.share or 0.0)
    kept = sorted(total, key=lambda name: -total[name])[:MOST_COLUMNS]
    names = [name for name in (CATEGORIES if by == "category" else total) if name in kept]
    columns = {name or profile_text.TOP_LEVEL: [name] for name in names}
    if others := [name for name in total if name not in kept]:
        columns["others"] = others
    return [
        Column(
            header, tuple(share(_sum(parts, own)) for parts in cases), drop=3 + len(total) - index
        )
        for index, (header, own) in enumerate(columns.items())
    ]


def _sum(parts: Sequence[Part], names: Sequence[str]) -> float | None:
    """The share of the parts of these names; None where shares are not known."""
    if any(part.share is None for part in parts):
        return None
    return sum(part.share or 0.0 for part in parts if part.name in names)


def name_among(case: Case, cases: Sequence[Case]) -> str:
    """A case's name without its group, and with its spec where there are several."""
    if len({each.spec for each in cases}) > 1:
        return label(case)
    return short_case(case.name, case.group)


def _unoptimised(profile: Profile) -> str:
    """The latency without optimisation over that with it."""
    if profile.unoptimised_s is None:
        return formatting.UNKNOWN
    return formatting.ratio(profile.unoptimised_s / profile.latency_s)


def _slowest(case: Case, profile: Profile, top: int) -> Table:
    nodes = sorted(profile.nodes, key=lambda node: -node.time_s)[:top]
    return Table(
        title=f"Slowest nodes: {label(case)}",
        about=(f"{len(nodes)} of {len(profile.nodes)}, by ONNX Runtime's names",),
        columns=(
            Column("node", tuple(node.name for node in nodes), text=True),
            Column("operator", tuple(node.operation.type for node in nodes), text=True),
            Column("category", tuple(node.category for node in nodes), text=True, drop=2),
            Column("shape", tuple(shape(node) for node in nodes), text=True, drop=1),
            Column("time (ms)", tuple(milliseconds(node.time_s) for node in nodes)),
            Column("share", tuple(share(node.share) for node in nodes)),
        ),
        elsewhere=ELSEWHERE,
    )


def shape(node: Node) -> str:
    """Format `1x58x28x28 -> 1x58x14x14, 3x3`: the first input, the first result, the kernel."""
    sizes = [_sizes(each) for each in (node.operation.input(0), node.operation.output())]
    texts = [" -> ".join(filter(None, sizes)), _sizes(node.kernel)]
    return ", ".join(filter(None, texts)) or formatting.UNKNOWN


def _sizes(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _flops(part: Part) -> str:
    return formatting.millions(part.macs) if part.macs else formatting.UNKNOWN


def milliseconds(seconds: float | None) -> str:
    """Format milliseconds to a microsecond: the profiler's clock has no finer steps."""
    return formatting.UNKNOWN if seconds is None else f"{seconds * formatting.MILLI:.3f}"


def _networks(cases: Sequence[Case]) -> list[str]:
    """The heads and the weights of those cases that are networks."""
    heads, weights = dict[str, None](), dict[str, None]()
    for case in cases:
        if case.network and isinstance(case.source, Builder):
            own, file = catalogue.named(case.network).heads, case.source.weights
            if own:
                heads[str(case.args.get("head", own[-1]))] = None  # the last is what is exported
            weights[f"weights of {file.name}" if file else "random weights"] = None
    return [*([f"head {listed([*heads])}"] if heads else []), *weights]


def about(report: Profiled, *cases: Case) -> tuple[str, ...]:
    """The setting of the cases: the device and how it was used, the processor and versions."""
    device = report.device
    batches = ", ".join(dict.fromkeys(str(case.batch) for case in cases))
    hello = next((each.hello for each in report.outcomes if each.hello), {})
    runtime = hello.get("versions", {}).get("onnxruntime")
    threads = {case.threads or device.threads for case in cases}
    where = [device.name, device.provider]
    where += map(formatting.threads, threads) if len(threads) == 1 else []
    what = [
        str(hello.get("host", {}).get("cpu", "")),
        f"ONNX Runtime {runtime}" if runtime else "",
        f"benchbox {__version__}",
        report.created.partition("T")[0],
    ]
    where += [f"batch {batches}"] if batches else []
    where += shared_input([str(each) for each in case.inputs] for case in cases)
    where += gpu.types(case.dtype for case in cases)
    where += _networks(cases)
    return ", ".join(where), ", ".join(filter(None, what))

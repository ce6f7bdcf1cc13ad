"""Profiles as tables: by category, by case, and the slowest nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchbox import __version__
from benchbox.analysis.operators import CATEGORIES, Category, kernel
from benchbox.analysis.profile import Node, Part, Profile
from benchbox.devices import Device
from benchbox.report import formatting, gpu, profile_text
from benchbox.report.table import Column, Table
from benchbox.report.tables import heading, short_case
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case

ONE_CASE, MANY_CASES = 10, 3  # slowest nodes of a table without --top
ELSEWHERE = "a wider terminal, a pipe and --export-json have all"


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """Profiles of a command: an outcome per case, on a device, at an ISO 8601 `created`.

    `top` is how many of the slowest nodes are shown, None for a number that suits.
    """

    outcomes: Sequence[ProfileOutcome]
    device: Device
    created: str
    top: int | None = None

    @property
    def profiled(self) -> list[tuple[Case, Profile]]:
        """The cases that have a profile."""
        return [(each.case, each.profile) for each in self.outcomes if each.profile is not None]


def tables(report: ProfileReport) -> list[Table]:
    """The table of the one case, or of all of them, and then their slowest nodes."""
    profiled = report.profiled
    single = len(report.outcomes) == 1 == len(profiled)
    first = _of_one(report, *profiled[0]) if single else _of_many(report)
    top = (ONE_CASE if single else MANY_CASES) if report.top is None else report.top
    return [first, *(_slowest(case, profile, top) for case, profile in profiled if top)]


def label(case: Case) -> str:
    """A case's name among others: of a file or a network without its spec."""
    return case.name if case.network or case.name == case.spec else case.key


def share(value: float | None) -> str:
    """Format a share as a whole percentage; profiles of one graph differ by a point."""
    if value is None:
        return formatting.UNKNOWN
    return "<1%" if 0 < value < 0.005 else f"{value * 100:.0f}%"


def _of_one(report: ProfileReport, case: Case, profile: Profile) -> Table:
    parts = profile.parts
    columns = [
        Column("category", tuple(part.category for part in parts), text=True),
        Column("nodes", tuple(str(part.nodes) for part in parts)),
        Column("time (ms)", tuple(_milliseconds(part.time_s) for part in parts)),
        Column("time share", tuple(share(part.share) for part in parts)),
        Column("FLOPs (M)", tuple(_flops(part) for part in parts), drop=2),
        Column("FLOPs share", tuple(share(part.macs_share) for part in parts)),
        Column("memory share", tuple(share(part.memory_share) for part in parts), drop=1),
    ]
    return Table(
        title=f"Where the time goes: {label(case)}",
        about=_about(report, case),
        columns=tuple(column for column in columns if column.known),
        groups=("",) * len(parts),
        sentences=tuple(profile_text.sentences(profile)),
        notes=tuple(profile_text.notes(profile)),
        elsewhere=ELSEWHERE,
    )


def _of_many(report: ProfileReport) -> Table:
    """A row per case: Figure 2 of the paper as a table."""
    profiled = report.profiled
    known = [c for c in CATEGORIES if any(profile.part(c).nodes for _, profile in profiled)]
    failed = [outcome for outcome in report.outcomes if outcome.profile is None]
    cases = [case for case, _ in profiled]
    layouts = [profile_text.layout_share(profile) for _, profile in profiled]
    return Table(
        title="Where the time goes: share by category",
        about=_about(report, *cases),
        columns=(
            Column("case", tuple(_name(case, cases) for case in cases), text=True),
            Column("time (ms)", tuple(_milliseconds(p.latency_s) for _, p in profiled)),
            *(_category_column(category, profiled, index) for index, category in enumerate(known)),
            *([Column("layout", tuple(map(share, layouts)), drop=2)] if any(layouts) else []),
            Column("unoptimised", tuple(_unoptimised(p) for _, p in profiled), drop=1),
        ),
        groups=tuple(heading(case.group) for case in cases),
        failures=tuple(f"{label(each.case)} failed: {each.reason}" for each in failed),
        sentences=tuple(profile_text.labelled(label(c), p) for c, p in profiled),
        notes=tuple(profile_text.notes_of_many([(label(c), p) for c, p in profiled])),
        elsewhere=ELSEWHERE,
    )


def _category_column(
    category: Category, profiled: Sequence[tuple[Case, Profile]], index: int
) -> Column:
    """A category's shares; a narrow terminal loses the last of them first."""
    shares = tuple(share(profile.part(category).share) for _, profile in profiled)
    return Column(category, shares, drop=3 + len(CATEGORIES) - index)


def _name(case: Case, cases: Sequence[Case]) -> str:
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
            Column("time (ms)", tuple(_milliseconds(node.time_s) for node in nodes)),
            Column("share", tuple(share(node.share) for node in nodes)),
        ),
        groups=("",) * len(nodes),
        elsewhere=ELSEWHERE,
    )


def shape(node: Node) -> str:
    """Format `1x58x28x28 -> 1x58x14x14, 3x3`: the first input, the first result, the kernel."""
    sizes = [_sizes(each) for each in (node.operation.input(0), node.operation.output())]
    texts = [" -> ".join(filter(None, sizes)), _sizes(kernel(node.operation))]
    return ", ".join(filter(None, texts)) or formatting.UNKNOWN


def _sizes(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _flops(part: Part) -> str:
    return formatting.millions(part.macs) if part.macs else formatting.UNKNOWN


def _milliseconds(seconds: float) -> str:
    """Format milliseconds to a microsecond: the profiler's clock has no finer steps."""
    return f"{seconds * formatting.MILLI:.3f}"


def _about(report: ProfileReport, *cases: Case) -> tuple[str, ...]:
    device = report.device
    batches = ", ".join(dict.fromkeys(str(case.batch) for case in cases))
    hello = next((each.hello for each in report.outcomes if each.hello), {})
    runtime = hello.get("versions", {}).get("onnxruntime")
    where = [device.name, device.provider, formatting.threads(device.threads)]
    what = [
        str(hello.get("host", {}).get("cpu", "")),
        f"ONNX Runtime {runtime}" if runtime else "",
        f"benchbox {__version__}",
        report.created.partition("T")[0],
    ]
    where += [f"batch {batches}"] if batches else []
    where += gpu.types(case.dtype for case in cases)
    return ", ".join(where), ", ".join(filter(None, what))

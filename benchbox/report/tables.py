"""Printed tables, cell by cell, for console and Markdown."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchbox.analysis.adjusted import Adjustment
from benchbox.analysis.latency import GOOD
from benchbox.devices import gpu_options
from benchbox.devices.providers import runs_modules
from benchbox.records import Context, Record, Run, SpecFacts, uncounted
from benchbox.report import (
    bars,
    claims,
    comparison,
    comparison_text,
    energy,
    footnotes,
    formatting,
    gpu,
    load_cells,
    load_text,
    percentiles,
    pools,
    published,
    scaling,
    text,
)
from benchbox.report.frame import over_flops, rate, relative
from benchbox.report.table import Column, Table

PARAMS = "params (M)"


def run_tables(run: Run, *, verbose: bool = False) -> list[Table]:
    """One table per spec that has records."""
    names = [spec.name for spec in run.context.specs] + [record.spec for record in run.records]
    facts = [run.context.spec(name) for name in dict.fromkeys(names)]
    return [
        _run_table(run, each, verbose)
        for each in facts
        if any(record.spec == each.name for record in run.records)
    ]


def short_case(case: str, group: str) -> str:
    """A case's name without the labels that are in the heading of its group.

    The name of a case without a group is left as it is: it can be that of a file.
    """
    parts, labels = case.split(","), group.split(",")
    own = [part for part in parts if part not in labels]
    if not group or not own or len(own) == len(parts):
        return case
    return ", ".join(own)


def heading(group: str) -> str:
    """`scale 1` for the group `scale=1`."""
    return text.group(group)


def headings(records: Sequence[Record]) -> tuple[str, ...]:
    """The heading of each row; none where every case is a group of its own name."""
    if all(record.group == record.case for record in records):
        return ()
    return tuple(heading(record.group) for record in records)


def by_group(groups: Sequence[str]) -> list[int]:
    """The order of rows in which groups stay together."""
    first = {group: index for index, group in reversed(list(enumerate(groups)))}
    return sorted(range(len(groups)), key=lambda index: first[groups[index]])


def flops(cost: Mapping[str, Any] | None) -> str:
    """FLOPs (M), marked where they are only a lower bound."""
    if cost is None:
        return formatting.UNKNOWN
    return ("≥ " if uncounted(cost) else "") + formatting.millions(cost["macs"])


def params(record: Record) -> str:
    """The parameters in millions."""
    return formatting.millions((record.cost or {}).get("params"))


def memory(cost: Mapping[str, Any] | None) -> str:
    """The memory access in MB."""
    return formatting.millions(cost.get("memory_access_bytes") if cost else None)


def _run_table(run: Run, facts: SpecFacts, verbose: bool) -> Table:
    unordered = run.of_spec(facts.name)
    records = [unordered[index] for index in by_group([record.group for record in unordered])]
    return Table(
        title=facts.title,
        about=(setting(run.context, records), measured_by(run.context)),
        columns=tuple(_columns(run, facts, records, verbose)),
        groups=headings(records),
        failures=tuple(footnotes.failures(run, facts)),
        sentences=(*claims.sentences(run, facts), *pools.sentences(run)),
        notes=(
            *footnotes.notes(run, facts, (footnotes.OVER_FLOPS, *_device_headers(run, verbose))),
            *pools.notes(run),
        ),
    )


def setting(context: Context, records: Sequence[Record]) -> str:
    """Device, provider, threads, batch and load of the records; the input of compared ones."""
    batches = ", ".join(dict.fromkeys(str(record.batch) for record in records))
    counts = [record.threads or context.threads for record in records] or [context.threads]
    how = gpu_options.words(context.plan) or [formatting.threads(*dict.fromkeys(counts))]
    types = gpu.types(record.dtype for record in records)
    is_comparison = comparison.margin(context) is not None
    inputs = text.shared_input(record.inputs for record in records) if is_comparison else []
    on = f" on {context.plugin['device']}" if context.plugin else ""
    provider = f"{context.provider}{on}"
    parts = (context.device, provider, *how, f"batch {batches}", *inputs, *types)
    return ", ".join([*parts, *load_text.setting(records)])


def measured_by(context: Context) -> str:
    """The processor or the GPU, the versions and the day."""
    name, key = (
        ("torch",) * 2 if runs_modules(context.provider) else ("ONNX Runtime", "onnxruntime")
    )
    runtime, engines = (context.versions.get(each) for each in (key, "tensorrt"))
    parts = [
        _hardware(context),
        f"{name} {runtime}" if runtime else "",
        f"TensorRT {engines}" if engines else "",
        f"its plug-in {plugin}" if (plugin := context.versions.get("plugin")) else "",
        f"benchbox {context.benchbox}",
        context.created.partition("T")[0],
    ]
    return ", ".join(part for part in parts if part)


def _hardware(context: Context) -> str:
    facts = context.host.get("gpu")
    if facts is None:
        own = context.plugin.get("hardware") if context.plugin.get("device") != "CPU" else ""
        return str(own or context.host.get("cpu", ""))
    driver = f", driver {facts['driver']}" if "driver" in facts else ""
    return f"{facts['name']}{driver}, CUDA {facts['runtime']}"


def _columns(run: Run, facts: SpecFacts, records: Sequence[Record], verbose: bool) -> list[Column]:
    def column(header: str, cell: Callable[[Record], str], drop: int = 0, note: str = "") -> Column:
        return Column(header, tuple(map(cell, records)), drop=drop, note=note)

    compared = load_text.compared(records)
    versus = comparison.margin(run.context) is not None
    others = [record for record in records if record.case != record.reference]
    has_paper = compared and any(_paper(run, record) != formatting.UNKNOWN for record in others)
    statuses = tuple(record.status for record in records)
    failed = {*statuses} - {"ok"}
    paced = any(record.arrival for record in records)
    images = formatting.per_second(facts.published_unit)
    asked = percentiles.columns(run.context)
    further = [detail for detail in DETAILS if detail[0] not in dict(asked)]
    details = [column(*detail, drop=KEPT - 1 - i) for i, detail in enumerate(further)]
    columns = [
        Column("case", tuple(short_case(r.case, r.group) for r in records), text=True),
        *pools.columns(run, records),
        column("FLOPs (M)", lambda r: flops(r.cost), drop=KEPT - 1 if versus else 0),
        *([column(PARAMS, params, drop=3)] if verbose else []),
        column("memory (MB)", lambda r: memory(r.cost), 3, footnotes.MEMORY_NOTE),
        column(load_cells.p50_header(records), p50),
        *(column(*percentile, drop=KEPT) for percentile in asked),
        *(column(*load) for load in load_cells.columns(records)),
        *([column(energy.HEADER, energy.cell)] if energy.has(records) else []),
        *([] if paced else [column(images, lambda r: throughput(r, facts), drop=2)]),
        *(_comparison(run, records) if versus else []),
        *(
            _relative(run, records)
            if compared and not versus and scaling.has_ratios(records)
            else []
        ),
        *(Column(header, cells, drop=1) for header, cells in scaling.columns(run, records)),
        *(
            [column(_paper_header(records), lambda r: _paper(run, r), 4, "paper:")]
            if has_paper
            else []
        ),
        *published.printed([record.paper for record in records], 4, sizes=False),
        column("quiet share", _quiet_share, drop=1),
        *_on_device(run, records, verbose),
        *(details if verbose else []),
        *(
            [Column("status", tuple(r.status for r in records), True, KEPT + 2 if versus else 0)]
            if failed
            else []
        ),
    ]
    return [column for column in columns if column.known or not column.drop]


def _on_device(run: Run, records: Sequence[Record], verbose: bool) -> list[Column]:
    """Columns of the GPU's part in each latency, and the share of what a device can do."""
    rows = [gpu.printed_cells(run.context, record) for record in records]
    headers = _device_headers(run, verbose)
    return [
        Column(header, tuple(row[header] for row in rows), drop=1, note=f"{header}:")
        for header in headers
    ]


def _device_headers(run: Run, verbose: bool) -> Sequence[str]:
    """The headers of a GPU's columns, of which a processor has the ceiling with --verbose."""
    if verbose or "gpu" in run.context.host:
        return gpu.HEADERS
    return [header for header in gpu.HEADERS if header != gpu.CEILING]


def p50(record: Record) -> str:
    """The median latency in ms with the half-width of its interval."""
    if record.latency is None:
        return formatting.UNKNOWN
    p50, interval = record.latency.p50_s, record.latency.interval
    if record.latency.basis not in GOOD:  # its interval says nothing of the usual state
        return formatting.mark(record.latency.basis) + formatting.milliseconds(p50)
    return formatting.estimate(
        p50 * formatting.MILLI, formatting.width(interval) * formatting.MILLI
    )


def throughput(record: Record, facts: SpecFacts) -> str:
    """Images per second, or batches where the paper counts these."""
    by_image = facts.published_unit != "batches_per_s"
    if record.latency is None or (by_image and not record.has_images):
        return formatting.UNKNOWN
    count = record.batch if by_image else 1
    interval = rate(record.latency, count)
    width = formatting.width(interval)
    value = interval.value if width else float(f"{interval.value:.3g}")  # no more is certain
    figure = formatting.figure(value, width)
    return formatting.mark(record.latency.basis) + figure


def relative_latency(record: Record) -> str:
    """The latency over the reference's."""
    interval = relative(record)
    if interval is None:
        return formatting.UNKNOWN
    ratio = formatting.ratio(interval.value, formatting.width(interval))
    return formatting.mark(record.relative_basis) + ratio


def _relative(run: Run, records: Sequence[Record]) -> list[Column]:
    """The latency over the reference's, and that over the relative FLOPs, drawn too."""
    over = [over_flops(run, record) for record in records]
    values = [interval.value if interval else None for interval in over]
    ratios = [
        formatting.UNKNOWN
        if interval is None
        else formatting.mark(r.relative_basis)
        + formatting.ratio(interval.value, formatting.width(interval))
        for r, interval in zip(records, over, strict=True)
    ]
    return [
        Column("relative", tuple(map(relative_latency, records))),
        Column(footnotes.OVER_FLOPS, tuple(ratios), drop=KEPT, note=f"{footnotes.OVER_FLOPS}:"),
        Column(bars.HEADER, tuple(bars.to_one(values)), text=True, drop=1, drawing=True),
    ]


def _comparison(run: Run, records: Sequence[Record]) -> list[Column]:
    """FLOPs and latency over the reference's, and the verdict; none where one failed."""
    verdict = [comparison_text.verdict(run, record) for record in records]
    is_known = [
        v != formatting.UNKNOWN or r.case == r.reference
        for v, r in zip(verdict, records, strict=True)
    ]
    ratio = [
        relative_latency(r) if k else formatting.UNKNOWN
        for r, k in zip(records, is_known, strict=True)
    ]
    within = [
        _interval(r) if k else formatting.UNKNOWN for r, k in zip(records, is_known, strict=True)
    ]
    return [
        Column(
            "relative FLOPs", tuple(_relative_flops(run, each) for each in records), drop=KEPT + 1
        ),
        Column("relative", tuple(ratio)),
        Column("95% interval", tuple(within)),
        Column("verdict", tuple(verdict), text=True),
    ]


def _interval(record: Record) -> str:
    """The ends of the ratio to the reference."""
    is_reference = record.case == record.reference
    return (
        formatting.UNKNOWN
        if is_reference or not record.relative
        else formatting.bounds(record.relative)
    )


def _relative_flops(run: Run, record: Record) -> str:
    macs = comparison.relative_macs(run, record)
    return formatting.UNKNOWN if macs is None else formatting.ratio(macs)


def _paper(run: Run, record: Record) -> str:
    reference = run.record(f"{record.spec}:{record.reference}")
    ratio = None if reference is None else claims.paper_ratio(record, reference)
    return formatting.UNKNOWN if ratio is None else formatting.ratio(ratio)


def _paper_header(records: Sequence[Record]) -> str:
    platforms = [claims.platform(record) for record in records if record.published is not None]
    return ", ".join(["paper", *filter(None, platforms[:1])])


def _quiet_share(record: Record) -> str:
    return formatting.percent(record.latency.quiet_share if record.latency else None)


def _between(record: Record) -> float | None:
    """The difference of p50 between agent processes: largest over smallest, less 1."""
    p50s = record.latency.sessions_p50_s if record.latency else ()
    return max(p50s) / min(p50s) - 1 if len(p50s) > 1 else None


def _slope(record: Record, text: Callable[[Adjustment], str]) -> str:
    """A part of how a figure was adjusted."""
    return formatting.UNKNOWN if record.adjustment is None else text(record.adjustment)


# What --verbose adds; a narrow terminal loses these after the others, from the last one on.
DETAILS: tuple[tuple[str, Callable[[Record], str]], ...] = (
    ("raw p50 (ms)", lambda r: formatting.milliseconds(r.latency.raw_p50_s if r.latency else None)),
    ("p90 (ms)", lambda r: formatting.milliseconds(r.latency.p90_s if r.latency else None)),
    ("p99 (ms)", lambda r: formatting.milliseconds(r.latency.p99_s if r.latency else None)),
    ("load (s)", lambda r: formatting.in_seconds(r.load_s)),
    ("first call (ms)", lambda r: formatting.milliseconds(r.first_call_s)),
    ("warmup calls", lambda r: formatting.whole(r.warmup_calls)),
    ("peak memory (MB)", lambda r: formatting.millions(r.peak_bytes)),
    ("GPU memory (MB)", lambda r: formatting.millions(r.gpu_bytes)),
    (
        "denormals",
        lambda r: (
            formatting.UNKNOWN if r.denormal_ratio is None else formatting.ratio(r.denormal_ratio)
        ),
    ),
    ("between processes", lambda r: formatting.percent(_between(r))),
    ("samples", lambda r: formatting.whole(r.latency.samples if r.latency else None)),
    ("rounds", lambda r: formatting.whole(r.latency.rounds if r.latency else None)),
    ("adjusted by", lambda r: _slope(r, lambda a: f"{math.expm1(-a.shift):+.1%}")),
    ("clock slope", lambda r: _slope(r, lambda a: f"{a.slopes.clock:.2f}")),
    ("memory slope", lambda r: _slope(r, lambda a: f"{a.slopes.memory:.2f}")),
    ("refill slope", lambda r: _slope(r, lambda a: f"{a.slopes.refill:.2f}")),
)
KEPT = 5 + len(DETAILS)  # `drop` of a column that goes after all others

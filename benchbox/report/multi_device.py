"""One run on several devices: a column per device, the same graphs everywhere."""

from collections import Counter
from collections.abc import Iterator, Sequence

from benchbox.devices import providers
from benchbox.records import Record, Run, SpecFacts
from benchbox.records.pools import folded
from benchbox.report import (
    claims,
    comparison,
    comparison_text,
    footnotes,
    formatting,
    gpu,
    percentiles,
    pools,
    published,
    scaling,
)
from benchbox.report.table import Column, Table
from benchbox.report.tables import (
    PARAMS,
    by_group,
    flops,
    headings,
    measured_by,
    memory,
    p50,
    params,
    relative_latency,
    run_tables,
    setting,
    short_case,
    throughput,
)
from benchbox.report.text import FIGURE, listed, merged

PLANNED = ("margin", "batch", "size", "shapes", "dims", "values", "weights", "dtype", "threads")
ON_GPU = (gpu.SPAN, gpu.SHARE)


def tables_of(
    runs: Sequence[Run], *, verbose: bool = False, is_merged: bool = False
) -> list[Table]:
    """The tables of runs, as `tables_with_runs` has them."""
    return [table for _, table in tables_with_runs(runs, verbose=verbose, is_merged=is_merged)]


def tables_with_runs(
    runs: Sequence[Run],
    *,
    verbose: bool = False,
    is_merged: bool = False,
    is_detailed: bool = False,
) -> list[tuple[Sequence[Run], Table]]:
    """Tables and their runs: one of all where they are one run on several devices, or `is_merged`.

    The runs of a pool's boards count as one. With `verbose` the table of each device follows; with
    that, or `is_detailed`, tables of one device have all their columns.
    """
    pooled = folded(runs)
    is_across = len(pooled) > 1 if is_merged else _is_across(pooled)
    first: list[tuple[Sequence[Run], Table]]
    if is_across:
        first = [(pooled, _table(pooled, facts)) for facts in _specs(pooled)]
    else:
        first = _apart(pooled, verbose=verbose or is_detailed)
    if not verbose:
        return first
    shown = [] if is_across else [id(run) for run in pooled]
    return [*first, *_apart([run for run in runs if id(run) not in shown], verbose=True)]


def _apart(runs: Sequence[Run], *, verbose: bool) -> list[tuple[Sequence[Run], Table]]:
    return [([run], table) for run in runs for table in run_tables(run, verbose=verbose)]


def _specs(runs: Sequence[Run]) -> list[SpecFacts]:
    """The specs that some run has a record of."""
    contexts = [run.context for run in runs]
    records = [record for run in runs for record in run.records]
    known = {each.name: each for context in contexts for each in context.specs}
    found = dict.fromkeys(record.spec for record in records)
    names = [name for name in dict.fromkeys([*known, *found]) if name in found]
    return [known.get(name, SpecFacts(name, name, "")) for name in names]


def _is_across(runs: Sequence[Run]) -> bool:
    """Whether these are the same calls in a row, each on a device of its own."""
    devices = {run.context.device for run in runs}
    differ = 1 < len(runs) == len(devices) and all(run.records for run in runs)
    lasting = any(r.arrival or r.sustained for run in runs for r in run.records)
    return differ and not lasting and len(set(map(_measured, runs))) == 1 and _driven_alike(runs)


def _driven_alike(runs: Sequence[Run]) -> bool:
    """Whether the GPUs among the devices are driven alike but for what their names show.

    Names show the mode, and whether PyTorch makes the calls, by its own choice of convolutions. An
    option is None where it has no meaning, which agrees with any value.
    """
    driven = [run.context for run in runs if "mode" in run.context.plan]
    by_graph = [each for each in driven if not providers.runs_modules(each.provider)]
    alike = {"cache": driven, "tf32": driven, "conv_search": by_graph}
    return all(
        len({context.plan.get(name) for context in own} - {None}) <= 1
        for name, own in alike.items()
    )


def _measured(run: Run) -> tuple[str, ...]:
    """The graphs and the margin of a run, which must be the same on every device."""
    context = run.context
    plan = [str(context.plan.get(name)) for name in PLANNED]
    return (context.name, context.channels, *(spec.sha256 for spec in context.specs), *plan)


def _table(runs: Sequence[Run], facts: SpecFacts) -> Table:
    own = [record for run in runs for record in run.of_spec(facts.name)]
    keys = list(dict.fromkeys(record.key for record in own))
    unordered = [_first(runs, key) for key in keys]
    known = [unordered[index] for index in by_group([record.group for record in unordered])]
    keys = [record.key for record in known]
    is_compared = comparison.margin(runs[0].context) is not None
    ratios = [_relative_flops(runs, record) for record in known] if is_compared else []
    return Table(
        title=facts.title,
        about=tuple(_about(run) for run in runs),
        columns=(
            Column("case", tuple(short_case(r.case, r.group) for r in known), text=True),
            Column("FLOPs (M)", tuple(flops(record.cost) for record in known)),
            Column(
                "memory (MB)",
                tuple(memory(record.cost) for record in known),
                drop=1,
                note=footnotes.MEMORY_NOTE,
            ),
            *([Column("relative FLOPs", tuple(ratios))] if is_compared else []),
            *(column for column in _of_networks(known) if column.known),
            *(Column(f"{run.context.device} (ms)", _cells(run, keys)) for run in runs),
            *(column for run in runs for column in _percentiles(run, keys)),
            *(column for run in runs for column in _on_gpu(run, keys) if column.known),
            *(c for run in runs if (c := _throughput(run, facts, keys)).known),
            *(column for run in runs for column in _scaling(run, keys)),
        ),
        groups=headings(known),
        failures=tuple(
            f"{run.context.device}: {line}"
            for run in runs
            for line in footnotes.failures(run, facts)
        ),
        sentences=tuple(_all_sentences(runs, facts)),
        notes=tuple(_notes(runs, facts)),
        elsewhere="--verbose and the CSV have all",
    )


def _all_sentences(runs: Sequence[Run], facts: SpecFacts) -> list[str]:
    """The sentences of each run, then the cost of launching for a GPU in both modes."""
    return [
        *(line for run in runs for line in (*_sentences(run, facts), *pools.sentences(run))),
        *(
            f"{name}: {sentence}"
            for name, graph, eager in _in_both_modes(runs)
            if (sentence := gpu.in_both_modes(graph, eager, facts.name))
        ),
    ]


def _in_both_modes(runs: Sequence[Run]) -> Iterator[tuple[str, Run, Run]]:
    """Yield the name of each GPU that is there in both modes, and its runs in them."""
    by_device = {run.context.device: run for run in runs if "mode" in run.context.plan}
    for device, run in by_device.items():
        name = device.removesuffix("-graph")
        eager = by_device.get(f"{name}-eager")
        if name != device and eager is not None:
            yield name, run, eager


def _sentences(run: Run, facts: SpecFacts) -> list[str]:
    """The sentences of a run with its device, which those of a comparison name already."""
    lines = claims.sentences(run, facts)
    is_named = comparison.margin(run.context) is not None
    return lines if is_named else [f"{run.context.device}: {line}" for line in lines]


def _first(runs: Sequence[Run], key: str) -> Record:
    """The record of a case from the first run that has one with a cost, else any."""
    found = [record for run in runs if (record := run.record(key)) is not None]
    return next((record for record in found if record.cost is not None), found[0])


def _relative_flops(runs: Sequence[Run], record: Record) -> str:
    known = [comparison.relative_macs(run, record) for run in runs]
    return next((formatting.ratio(macs) for macs in known if macs is not None), formatting.UNKNOWN)


def _notes(runs: Sequence[Run], facts: SpecFacts) -> list[str]:
    """The footnotes of all runs, those of some with their devices."""
    by_run = [(run, footnotes.notes(run, facts, ON_GPU)) for run in runs]
    common = [note for note in by_run[0][1] if all(note in notes for _, notes in by_run)]
    alike: dict[tuple[str, int], dict[str, str]] = {}
    for run, notes in by_run:
        kinds = Counter[str]()  # of which one device may have several
        for note in notes:
            if note not in common:
                kinds[kind := FIGURE.sub("", note)] += 1
                alike.setdefault((kind, kinds[kind]), {})[run.context.device] = note
    own = [f"{listed([*of])}: {merged([*of.values()], listed)}" for of in alike.values()]
    return [*common, *own, *(note for run in runs for note in pools.notes(run))]


def _about(run: Run) -> str:
    return f"{setting(run.context, run.records)}; {measured_by(run.context)}"


def _percentiles(run: Run, keys: Sequence[str]) -> list[Column]:
    """Columns of the percentiles that were asked for."""
    found = [run.record(key) for key in keys]
    return [
        Column(
            f"{run.context.device}, {header}",
            tuple(cell(record) if record else formatting.UNKNOWN for record in found),
            drop=2 + len(ON_GPU),
        )
        for header, cell in percentiles.columns(run.context)
    ]


def _of_networks(records: Sequence[Record]) -> list[Column]:
    """Columns of params, and of what papers print."""
    papers = published.printed([record.paper for record in records], 2, sizes=False)
    return [Column(PARAMS, tuple(map(params, records)), drop=1), *papers]


def _throughput(run: Run, facts: SpecFacts, keys: Sequence[str]) -> Column:
    """The column of a run's images per second."""
    found = [run.record(key) for key in keys]
    cells = (throughput(record, facts) if record else formatting.UNKNOWN for record in found)
    unit = formatting.per_second(facts.published_unit)
    return Column(f"{run.context.device}, {unit}", tuple(cells), drop=1)


def _scaling(run: Run, keys: Sequence[str]) -> list[Column]:
    """Columns of a run's speed-ups."""
    found = scaling.columns(run, [run.record(key) for key in keys])
    return [Column(f"{run.context.device}, {header}", cells, drop=1) for header, cells in found]


def _on_gpu(run: Run, keys: Sequence[str]) -> list[Column]:
    """Columns of the GPU's part in the latencies of a run."""
    found = [run.record(key) for key in keys]
    rows = [gpu.printed_cells(run.context, record) if record else {} for record in found]
    return [
        Column(
            f"{run.context.device}, {header}",
            tuple(row.get(header, formatting.UNKNOWN) for row in rows),
            drop=2 + index,
        )
        for index, header in enumerate(ON_GPU)
    ]


def _cells(run: Run, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(_cell(run, run.record(key)) for key in keys)


def _cell(run: Run, record: Record | None) -> str:
    """p50, the ratio to the reference, and the verdict."""
    if record is None or record.latency is None:
        return formatting.UNKNOWN if record is None else record.status
    figures = [relative_latency(record), comparison_text.verdict(run, record)]
    words = " ".join(text for text in figures if text != formatting.UNKNOWN)
    marks = [
        words if record.case != record.reference else "",
        record.status if record.status != "ok" else "",
    ]
    known = ", ".join(filter(None, marks))
    return f"{p50(record)} ({known})" if known else p50(record)

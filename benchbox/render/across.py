"""One comparison on several devices: a column per device, the same graphs everywhere."""

from collections.abc import Sequence

from benchbox import comparing, reading, verdicts
from benchbox.records import Record, Run
from benchbox.render import units
from benchbox.render.cells import (
    Column,
    Table,
    flops,
    measured_by,
    memory,
    p50,
    printable,
    relative_latency,
    run_tables,
    setting,
)


def tables_of(runs: Sequence[Run], *, verbose: bool = False, measured: bool = False) -> list[Table]:
    """Return the tables of runs: one of all where they are one comparison on several devices.

    With `measured` they say on which processor, by which versions and when.
    """
    if _is_across(runs):
        return [_table(runs)]
    return [t for run in runs for t in run_tables(run, verbose=verbose, measured=measured)]


def _is_across(runs: Sequence[Run]) -> bool:
    """Return whether these are runs of one comparison, each on a device of its own."""
    devices = {run.context.device for run in runs}
    compared = all(verdicts.margin(run.context) is not None and run.records for run in runs)
    return compared and 1 < len(runs) == len(devices) and len(set(map(_what, runs))) == 1


def _what(run: Run) -> tuple[str, ...]:
    """Return what is compared in a run, and by which margin."""
    context = run.context
    plan = [str(context.plan.get(name)) for name in ("margin", "batch", "shapes", "weights")]
    return (context.name, context.channels, *(spec.sha256 for spec in context.specs), *plan)


def _table(runs: Sequence[Run]) -> Table:
    facts = runs[0].context.specs[0]
    keys = list(dict.fromkeys(record.key for run in runs for record in run.records))
    known = [_first(runs, key) for key in keys]
    said = [line for run in runs for line in (reading.sentence(run, facts) or "").splitlines()]
    return Table(
        title=printable(facts.title),
        about=tuple(_about(run) for run in runs),
        columns=(
            Column("case", tuple(printable(record.case) for record in known), text=True),
            Column("FLOPs (M)", tuple(flops(record.cost) for record in known)),
            Column("memory (MB)", tuple(memory(record.cost) for record in known), drop=1),
            Column("relative FLOPs", tuple(_relative_flops(runs, record) for record in known)),
            *(Column(f"{run.context.device} (ms)", _cells(run, keys)) for run in runs),
        ),
        groups=("",) * len(keys),
        lines=tuple(
            printable(f"{run.context.device}: {line}")
            for run in runs
            for line in reading.failures(run, facts)
        ),
        reading="\n".join(map(printable, said)) or None,
        notes=tuple(map(printable, _notes(runs))),
    )


def _first(runs: Sequence[Run], key: str) -> Record:
    """Return the record of a case from the first run that has one with a cost, else any."""
    found = [record for run in runs if (record := run.record(key)) is not None]
    return next((record for record in found if record.cost is not None), found[0])


def _relative_flops(runs: Sequence[Run], record: Record) -> str:
    known = [verdicts.relative_macs(run, record) for run in runs]
    return next((units.ratio(macs) for macs in known if macs is not None), units.UNKNOWN)


def _notes(runs: Sequence[Run]) -> list[str]:
    """Return the footnotes of all runs, each of one device alone with its name."""
    by_run = [(run, reading.notes(run, run.context.specs[0])) for run in runs]
    common = [note for note in by_run[0][1] if all(note in notes for _, notes in by_run)]
    own = [f"{r.context.device}: {n}" for r, notes in by_run for n in notes if n not in common]
    return [*common, *own]


def _about(run: Run) -> str:
    return printable(f"{setting(run.context, run.records)}; {measured_by(run.context)}")


def _cells(run: Run, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(_cell(run, run.record(key)) for key in keys)


def _cell(run: Run, record: Record | None) -> str:
    """Return p50, the ratio to the reference, and the verdict."""
    if record is None or record.latency is None:
        return units.UNKNOWN if record is None else record.status
    beside = [relative_latency(record), comparing.verdict(run, record)]
    known = [" ".join(text for text in beside if text != units.UNKNOWN)]
    known = [] if record.case == record.reference else known
    known += [record.status] if record.status != "ok" else []
    return f"{p50(record)} ({', '.join(known)})" if known else p50(record)

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
    names = {run.context.name for run in runs}
    compared = all(verdicts.margin(run.context) is not None and run.records for run in runs)
    return compared and 1 < len(runs) == len(devices) and len(names) == 1


def _table(runs: Sequence[Run]) -> Table:
    facts = runs[0].context.specs[0]
    keys = list(dict.fromkeys(record.key for run in runs for record in run.records))
    known = [_first(runs, key) for key in keys]
    notes = [note for run in runs for note in reading.notes(run, facts)]
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
        reading="\n".join(filter(None, (reading.sentence(run, facts) for run in runs))) or None,
        notes=tuple(map(printable, dict.fromkeys(notes))),
    )


def _first(runs: Sequence[Run], key: str) -> Record:
    """Return the record of a case from the first run that has one with a cost, else any."""
    found = [record for run in runs if (record := run.record(key)) is not None]
    return next((record for record in found if record.cost is not None), found[0])


def _relative_flops(runs: Sequence[Run], record: Record) -> str:
    known = [verdicts.relative_macs(run, record) for run in runs]
    return next((units.ratio(macs) for macs in known if macs is not None), units.UNKNOWN)


def _about(run: Run) -> str:
    return printable(f"{setting(run.context, run.records)}; {measured_by(run.context)}")


def _cells(run: Run, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(_cell(run, run.record(key)) for key in keys)


def _cell(run: Run, record: Record | None) -> str:
    """Return p50, the ratio to the reference, and the verdict."""
    if record is None or record.latency is None:
        return units.UNKNOWN if record is None else record.status
    beside = [relative_latency(record), comparing.verdict(run, record)]
    known = " ".join(text for text in beside if text != units.UNKNOWN)
    return f"{p50(record)} ({known})" if record.case != record.reference else p50(record)

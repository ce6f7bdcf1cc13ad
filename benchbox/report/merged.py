"""Tables of merged runs: a column for each machine, and what conflicts between them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from benchbox.records import Run
from benchbox.records.merge import Merged
from benchbox.report.diff import changes
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Table
from benchbox.report.text import listed

FEW = 3  # cases that are named one by one


def tables(merged: Merged, *, verbose: bool = False) -> list[Table]:
    """The tables, the first with what conflicts."""
    runs = _told_apart(merged.runs)
    first, *others = tables_of(runs, verbose=verbose, is_merged=True)
    names = {id(run): own.context.device for run, own in zip(merged.runs, runs, strict=True)}
    conflicts = [*_graphs(merged.graphs), *_apart(merged, names)]
    return [
        replace(
            first,
            failures=(*first.failures, *conflicts),
            notes=(*first.notes, *_replaced(merged)),
        ),
        *others,
    ]


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with a number behind the name of a device that several have."""
    counts, numbers = Counter(run.context.device for run in runs), Counter[str]()
    found = []
    for run in runs:
        device = run.context.device
        numbers[device] += 1
        name = device if counts[device] == 1 else f"{device} {numbers[device]}"
        found.append(replace(run, context=replace(run.context, device=name)))
    return found


def _graphs(cases: Sequence[str]) -> list[str]:
    if not cases:
        return []
    return [f"not the same graph in all columns, so latencies are not of one thing: {_few(cases)}"]


def _apart(merged: Merged, names: dict[int, str]) -> list[str]:
    return [
        f"{names[id(one)]} and {names[id(other)]} are columns of their own: "
        f"{'; '.join(changes(found)) or 'another margin'}"
        for one, other, found in merged.apart
    ]


def _replaced(merged: Merged) -> list[str]:
    """A note for each run whose cases stand for those of others."""
    by_run: dict[str, list[str]] = {}
    for each in merged.replaced:
        by_run.setdefault(each.taken.path.stem, []).append(each.case)
    return [f"in several runs, shown as {run} has it: {_few(by_run[run])}" for run in by_run]


def _few(cases: Sequence[str]) -> str:
    if len(cases) <= FEW:
        return listed(cases)
    return f"{len(cases)} cases, {cases[0]} the first"

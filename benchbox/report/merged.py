"""Tables of merged runs: a column for each machine, and what conflicts between them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from benchbox.records import Run
from benchbox.records.merge import Merged, Replaced, between, of_several_graphs
from benchbox.records.pools import folded
from benchbox.report.changes import changes
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Table
from benchbox.report.text import few


def tables(merged: Merged, *, verbose: bool = False) -> list[Table]:
    """The tables of each spec, the first with what conflicts."""
    names = dict.fromkeys(record.spec for run in merged.runs for record in run.records)
    labels = _labels(merged.runs)
    return [table for name in names for table in _of_spec(name, merged, labels, verbose)]


def _of_spec(name: str, merged: Merged, labels: Sequence[str], verbose: bool) -> list[Table]:
    pairs = [
        (replace(run, records=own), label)
        for run, label in zip(merged.runs, labels, strict=True)
        if (own := run.of_spec(name))
    ]
    runs = [replace(run, context=replace(run.context, device=label)) for run, label in pairs]
    first, *others = tables_of(runs, verbose=verbose, is_merged=True)
    replaced = [each for each in merged.replaced if each.record.spec == name]
    failures = (*first.failures, *_graphs(folded(runs)), *_apart(pairs))
    return [replace(first, failures=failures, notes=(*first.notes, *_replaced(replaced))), *others]


def _labels(runs: Sequence[Run]) -> list[str]:
    """The devices of the runs, with a number behind a name that several have."""
    counts, numbers = Counter(run.context.device for run in runs), Counter[str]()
    labels = []
    for run in runs:
        device = run.context.device
        numbers[device] += 1
        labels.append(device if counts[device] == 1 else f"{device} {numbers[device]}")
    return labels


def _graphs(runs: Sequence[Run]) -> list[str]:
    if not (cases := of_several_graphs(runs)):
        return []
    return [f"not the same graph in all columns, so latencies are not of one thing: {few(cases)}"]


def _apart(pairs: Sequence[tuple[Run, str]]) -> list[str]:
    """The reasons why columns of one device are kept apart."""
    return [
        f"{label} and {theirs} are columns of their own: {'; '.join(changes(between(run, other)))}"
        for (run, label), (other, theirs) in combinations(pairs, 2)
        if run.context.device == other.context.device
    ]


def _replaced(found: Sequence[Replaced]) -> list[str]:
    """A note for each run whose cases stand for those of others."""
    by_run: dict[str, list[str]] = {}
    for each in found:
        by_run.setdefault(each.taken.stem, []).append(each.record.case)
    return [f"in several runs, shown as {run} has it: {few(by_run[run])}" for run in by_run]

"""Merging of runs: those of one machine, done alike, become one, and what conflicts is named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchbox.errors import RecordError
from benchbox.records import differences
from benchbox.records.differences import Difference
from benchbox.records.model import Record, Run


@dataclass(frozen=True, slots=True)
class Replaced:
    """A case that several runs of one column have, of which the newest with a figure counts."""

    record: Record
    taken: Run
    others: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Merged:
    """Runs as columns of one table, each of what could have been one run."""

    runs: Sequence[Run]
    replaced: Sequence[Replaced]


def between(run: Run, other: Run) -> list[Difference]:
    """The differences that keep two runs from being one."""
    margins = (each.context.plan.get("margin") for each in (run, other))
    margin = Difference("margin", *margins)
    found = differences.of_samples(run.context, other.context)
    return [*found, *([margin] if margin.was != margin.now else [])]


def of_several_graphs(runs: Sequence[Run]) -> list[str]:
    """The cases whose graph is not the same in all runs."""
    graphs: dict[str, set[str]] = {}
    for run in runs:
        for record in run.records:
            if record.sha256:
                graphs.setdefault(record.case, set()).add(record.sha256)
    return [case for case, found in graphs.items() if len(found) > 1]


def merge(runs: Sequence[Run]) -> Merged:
    """Merge runs, the oldest first; those without a case are left out.

    Raises RecordError for runs whose figures are of no calls in a row.
    """
    for run in runs:
        if any(record.arrival or record.sustained for record in run.records):
            raise RecordError(f"{run.path}: at a rate or under load, which has tables of its own")
    columns: list[list[Run]] = []
    measured = [run for run in runs if run.records]
    for run in sorted(measured, key=lambda each: each.context.created):
        own = next((each for each in columns if not between(each[-1], run)), None)
        if own is None:
            columns.append([run])
        else:
            own.append(run)
    joined = [_joined(column) for column in columns]
    return Merged([run for run, _ in joined], [each for _, found in joined for each in found])


def _joined(column: Sequence[Run]) -> tuple[Run, list[Replaced]]:
    """The runs of a column as one, as the newest says but for the specs, which are those of all."""
    newest = column[-1]
    holders: dict[str, list[tuple[Record, Run]]] = {}
    for run in column:
        for record in run.records:
            holders.setdefault(record.key, []).append((record, run))
    taken = {key: _newest_figure(found) for key, found in holders.items()}
    records = [replace(record, index=index) for index, (record, _) in enumerate(taken.values())]
    specs = {spec.name: spec for run in column for spec in run.context.specs}
    merged = replace(
        newest,
        context=replace(newest.context, specs=[*specs.values()]),
        records=records,
        warnings=[warning for run in column for warning in run.warnings],
        profiles=[profile for run in column for profile in run.profiles],
    )
    return merged, [
        Replaced(record, run, [each for _, each in holders[key] if each is not run])
        for key, (record, run) in taken.items()
        if len(holders[key]) > 1
    ]


def _newest_figure(found: Sequence[tuple[Record, Run]]) -> tuple[Record, Run]:
    return next((each for each in reversed(found) if each[0].latency is not None), found[-1])

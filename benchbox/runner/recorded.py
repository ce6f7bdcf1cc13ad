"""Recorded figures that stand for cases of now: of the same graph, machine and versions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from benchbox import records
from benchbox.errors import CaseError, RecordError
from benchbox.export import Graph
from benchbox.records import Context, Record, Run, differences
from benchbox.records.index import Index
from benchbox.runner import record
from benchbox.specs import Case

# Of a record that stands for a case: what the case is called now, and where it stands.
DESCRIBING = (
    *("index", "spec", "case", "labels", "args", "group", "reference", "channels", "axes"),
    *("published", "printed", "note", "paper"),
)


STAMP = "%Y-%m-%dT%H:%M:%SZ"  # as contexts have it


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record of an earlier run, under the name of a case of now."""

    record: Record
    run: Run


class Archive:
    """The runs of a folder that were made as one of now would be."""

    def __init__(self, index: Index, context: Context, since: datetime) -> None:
        self._index, self._context = index, context
        self._alike = {
            number: path
            for number, path, other in index.contexts(context.device, f"{since:{STAMP}}")
            if self._is_alike(other)
        }
        self._runs: dict[Path, list[Run]] = {}

    def find(self, bare: Record, is_enough: Callable[[Record], bool]) -> Recorded | None:
        """The newest record that stands for a case, of which `bare` has no samples; or None."""
        alike = [self._alike[n] for n in self._index.of_graph(bare.sha256) if n in self._alike]
        for run in (run for path in dict.fromkeys(alike) for run in self._read(path)):
            for found in run.records if self._is_alike(run.context) else ():
                if self._is_of(found, run, bare) and is_enough(found):
                    names = {name: getattr(bare, name) for name in DESCRIBING}
                    return Recorded(replace(found, **names, relative=None), run)
        return None

    def _is_of(self, found: Record, run: Run, bare: Record) -> bool:
        threads = found.threads or run.context.threads
        return (
            found.status in ("ok", "imprecise")
            and found.latency is not None
            and found.sha256 == bare.sha256
            and (found.inputs, found.values, found.batch) == (bare.inputs, bare.values, bare.batch)
            and threads == (bare.threads or self._context.threads)
        )

    def _read(self, path: Path) -> list[Run]:
        """The runs of a file, none if it is broken."""
        if path not in self._runs:
            try:
                self._runs[path] = records.read_all(path)
            except RecordError:
                self._runs[path] = []
        return self._runs[path]

    def _is_alike(self, other: Context) -> bool:
        """Whether a run differs in nothing but its cases."""
        found = differences.of_samples(other, self._context, swept=())
        return other.benchbox == self._context.benchbox and not found


@dataclass(frozen=True, slots=True)
class Found:
    """Cases by what there is of them: a record, nothing yet, or no graph, as a failed record."""

    known: Sequence[Recorded]
    missing: Sequence[Case]
    failed: Sequence[Record]


def look_up(
    archive: Archive,
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    is_enough: Callable[[Record], bool],
) -> Found:
    """Look the cases up in what was recorded; `is_enough` says whether a record will do."""
    known, missing, failed = list[Recorded](), list[Case](), list[Record]()
    for index, case in enumerate(cases):
        graph = graphs[case.key]
        if isinstance(graph, CaseError):
            bare = record.record(index, case, None)
            failed.append(replace(bare, status="failed", reason=str(graph)))
        elif found := archive.find(record.record(index, case, graph), is_enough):
            known.append(found)
        else:
            missing.append(case)
    return Found(known, missing, failed)

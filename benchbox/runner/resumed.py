"""Resumed records: those of the graphs of now go on, under the cases' descriptions of now."""

from dataclasses import replace

from benchbox.export import Graph
from benchbox.records import Record
from benchbox.records.journal import Journal
from benchbox.runner import record
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.request import Prepared

# Of a spec that was edited since; what decides the graph is in its sha256.
DESCRIBING = ("index", "labels", "args", "group", "reference", "published", "printed", "note")
PAIRLESS = "its reference has changed since"


def go_on(journal: Journal, ready: Prepared) -> None:
    """Set records of other graphs aside, and take back ratios to a reference that has changed."""
    graphs = {key: each for key, each in ready.graphs.items() if isinstance(each, Graph)}
    journal.go_on_with({key: graph.sha256 for key, graph in graphs.items()})
    for index, case in enumerate(ready.cases):
        before = journal.records.get(case.key)
        if before is None:
            continue
        bare = record.record(index, case, graphs.get(case.key))
        now = replace(before, **{name: getattr(bare, name) for name in DESCRIBING})
        if now.status == "ok":
            now = replace(now, reason="")  # why it could not be timed again, the last time
        if now.relative and not _are_pairs(before, now, journal.records.get(reference_key(case))):
            now = replace(now, relative=None, relative_to="", status="imprecise", reason=PAIRLESS)
        if now != before:
            journal.append(now)


def _are_pairs(before: Record, now: Record, reference: Record | None) -> bool:
    """Whether the ratio of a case is to its reference as that is now, from rounds of both."""
    if reference is None or before.reference != now.reference:
        return False
    if now.relative_to not in ("", reference.sha256):
        return False
    rounds, others = ({(b.session, b.round) for b in each.bursts} for each in (now, reference))
    return not rounds.isdisjoint(others)

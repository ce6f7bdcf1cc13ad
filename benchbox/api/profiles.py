"""Profiles of a job's cases, made when they are timed and kept with their records."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchbox import records, runner
from benchbox.api.job import Job
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.records import Run
from benchbox.records.profile import kept
from benchbox.runner.profile import ProfileOutcome, is_processor
from benchbox.specs import Case


def missing(asked: Job, index: int, run: Run) -> tuple[list[Case], Mapping[str, Graph | CaseError]]:
    """The cases that a run timed on the device of a request and has no profile of; their graphs."""
    request = asked.requests[index]
    if not asked.profiles or not is_processor(request.device):
        return [], {}
    found = ((case, run.record(case.key)) for case in asked.cases)
    cases = [case for case, r in found if r and r.has_samples and run.profile(r) is None]
    return cases, runner.prepare(request.specs, asked.cases) if cases else {}


def keep(run: Run, done: Sequence[ProfileOutcome], graphs: Mapping[str, Graph | CaseError]) -> Run:
    """The run with profiles, which its file has now; raises StorageError or RecordError."""
    profiles = [
        kept(each.case.spec, each.case.name, graph.sha256, each.profile)
        for each in done
        for graph in [graphs[each.case.key]]
        if each.profile and isinstance(graph, Graph)
    ]
    with records.reopen(run) as writer:
        for profile in profiles:
            writer.append_profile(profile)
    return replace(run, profiles=(*run.profiles, *profiles))

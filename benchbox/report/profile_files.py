"""Files of `benchbox profile`: categories as CSV, tables as Markdown, every node as JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchbox import __version__
from benchbox.analysis.parts import By, Part, split
from benchbox.analysis.profile import Node, Profile
from benchbox.report import files, profile_text
from benchbox.report.formatting import MILLI
from benchbox.report.profile import ProfileReport
from benchbox.runner.profile import ProfileOutcome

HOST = ("system", "machine", "cpu")
# Columns of a case -> pandas dtype, nullable as in the table of a run.
CASE = {
    "spec": "string",
    "case": "string",
    "device": "string",
    "provider": "string",
    "dtype": "string",
    "batch": "Int64",
    "threads": "Int64",
    "status": "string",
    "reason": "string",
}
COLUMNS = {
    **CASE,
    "category": "string",
    "nodes": "Int64",
    "time_ms": "Float64",
    "time_share": "Float64",
    "macs": "Int64",
    "macs_share": "Float64",
    "memory_access_bytes": "Int64",
    "memory_share": "Float64",
    "module": "string",
    "operator": "string",
}
# The column of a part's name, and where JSON has the parts.
PLACES: dict[By, tuple[str, str]] = {
    "category": ("category", "categories"),
    "module": ("module", "modules"),
    "type": ("operator", "operators"),
}


def to_csv(report: ProfileReport) -> str:
    """A row for each part of each case, and one for each case that has no profile."""
    import pandas as pd

    frame = pd.DataFrame(_rows(report), columns=list(COLUMNS), dtype=object)
    return files.to_csv(frame.astype(COLUMNS))


def to_json(report: ProfileReport) -> str:
    """Every node of every case and its categories; null where something is not known."""
    hello: Mapping[str, Any] = next((each.hello for each in report.outcomes if each.hello), {})
    document = {
        "benchbox": __version__,
        "created": report.created,
        "device": report.device.name,
        "provider": report.device.provider,
        "threads": report.device.threads,
        "cpus": hello.get("cpus"),
        "host": {name: hello.get("host", {}).get(name) for name in HOST},
        "versions": dict(hello.get("versions", {})),
        "profiles": [_case(each) | _profile(report, each.profile) for each in report.outcomes],
    }
    return files.json_text(document)


def _rows(report: ProfileReport) -> Iterator[dict[str, object]]:
    device = report.device
    where = {"device": device.name, "provider": device.provider, "threads": device.threads}
    for outcome in report.outcomes:
        common = _case(outcome) | where
        parts = report.parts(outcome.profile) if outcome.profile else ()
        yield from ([common | _part(part, report.by) for part in parts] or [common])


def _case(outcome: ProfileOutcome) -> dict[str, object]:
    case, profile = outcome.case, outcome.profile
    return {
        "spec": case.spec,
        "case": case.name,
        "dtype": case.dtype,
        "batch": case.batch,
        "status": "ok" if profile else "failed",
        "reason": outcome.reason or (profile and profile_text.warning(profile)) or None,
    }


def _profile(report: ProfileReport, profile: Profile | None) -> dict[str, object]:
    if profile is None:
        return {}
    without = profile.unoptimised_s
    return {
        "latency_ms": profile.latency_s * MILLI,
        "unoptimised_latency_ms": None if without is None else without * MILLI,
        "unoptimised_reason": profile.unoptimised_error or None,
        "profiled_calls": profile.calls,
        "profiler_slowdown": profile.slowdown,
        "profiler_overhead_us_per_node": profile.overhead_s * 1e6,
        "nodes_share_of_profiled_call": profile.covered,
        "median_over_undisturbed_latency": profile.disturbance,
        "nodes_in_file": profile.file_nodes,
        "categories": [_part(part, "category") for part in split(profile)],
        PLACES[report.by][1]: [_part(part, report.by) for part in report.parts(profile)],
        "nodes": [_node(node, is_timed=not profile.is_drowned) for node in profile.nodes],
    }


def _part(part: Part, by: By) -> dict[str, object]:
    return {
        PLACES[by][0]: part.name or profile_text.TOP_LEVEL,
        "nodes": part.nodes,
        "time_ms": None if part.time_s is None else part.time_s * MILLI,
        "time_share": part.share,
        "macs": part.macs,
        "macs_share": part.macs_share,
        "memory_access_bytes": part.memory_access_bytes,
        "memory_share": part.memory_share,
    }


def _node(node: Node, *, is_timed: bool) -> dict[str, object]:
    return {
        "name": node.name,
        "operator": node.operation.type,
        "category": node.category,
        "provider": node.provider,
        "inputs": [list(each or ()) for each in node.operation.inputs],
        "outputs": [list(each or ()) for each in node.operation.outputs],
        "runs_per_call": node.count,
        "time_ms": node.time_s * MILLI if is_timed else None,
        "time_share": node.share if is_timed else None,
        "module": node.module,
    }

"""Files of `benchbox explain`: parts as CSV, tables as Markdown, every node as JSON."""

from collections.abc import Iterator

from benchbox import __version__
from benchbox.insight.blame import blames
from benchbox.insight.check import Check
from benchbox.insight.parts import Explained
from benchbox.report import explain_text, files
from benchbox.report.explain import ExplainReport
from benchbox.report.formatting import MILLI
from benchbox.report.profile_files import CASE
from benchbox.specs import Case

COLUMNS = {
    **CASE,
    "part": "string",
    "time_ms": "Float64",
    "time_share": "Float64",
}


def to_csv(report: ExplainReport) -> str:
    """A row for each part of each case, and one for each case without an explanation."""
    import pandas as pd

    frame = pd.DataFrame(_rows(report), columns=list(COLUMNS), dtype=object)
    return files.to_csv(frame.astype(COLUMNS))


def _rows(report: ExplainReport) -> Iterator[dict[str, object]]:
    device, explained = report.device, {case.key: found for case, found in report.explained}
    for outcome in report.outcomes:
        case, why = outcome.case, report.failure(outcome)
        common = {
            "spec": case.spec,
            "case": case.name,
            "dtype": case.dtype,
            "batch": case.batch,
            "device": device.name,
            "provider": device.provider,
            "threads": device.threads,
            "status": "failed" if why else "ok",
            "reason": why or None,
        }
        if why:
            yield common
            continue
        found = explained[case.key]
        for part, seconds in found.whole.items():
            share = seconds / found.profile.latency_s
            yield {**common, "part": part, "time_ms": seconds * MILLI, "time_share": share}


def to_json(report: ExplainReport) -> str:
    """Every case with its parts, what is blamed, and every node; failed ones with their reason."""
    return files.json_text(document(report))


def document(report: ExplainReport) -> dict[str, object]:
    """What is written as JSON."""
    return {
        "benchbox": __version__,
        "created": report.created,
        "device": report.device.name,
        "provider": report.device.provider,
        "threads": report.device.threads,
        "ceilings": next((dict(each.ceilings) for each in report.outcomes if each.ceilings), None),
        "explained": [_case(report, case, found) for case, found in report.explained],
        "failed": [
            {"spec": each.case.spec, "case": each.case.name, "reason": why}
            for each in report.outcomes
            if (why := report.failure(each))
        ],
    }


def _case(report: ExplainReport, case: Case, found: Explained) -> dict[str, object]:
    profile, checked = found.profile, report.of(case)
    return {
        "spec": case.spec,
        "case": case.name,
        "dtype": case.dtype,
        "batch": case.batch,
        "latency_ms": profile.latency_s * MILLI,
        "profiler_us_per_node": profile.overhead_s * 1e6,
        "outside_of_nodes_ms": found.outside_s * MILLI,
        "macs": found.macs,
        "channels_in_a_block": found.block,
        "memory_access_at_copies_ms": found.memory_s * MILLI,
        "nodes_at_node_cost_ms": found.launch_s * MILLI,
        "parts_ms": {part: seconds * MILLI for part, seconds in found.parts.items()},
        "blamed": [
            {
                "part": each.part,
                "time_ms": each.time_s * MILLI,
                "share": each.share,
                "channels": [*each.channels],
                "nodes": [node.node.name for node in each.nodes],
                "sentence": explain_text.sentence(each, found.block, checked.get(each.part)),
                "check": _check(checked.get(each.part)),
            }
            for each in blames(found)
        ],
        "nodes": [
            {
                "name": each.node.name,
                "operator": each.node.operation.type,
                "kernel": explain_text.kernel_name(each),
                "category": each.node.category,
                "module": each.node.module,
                "time_ms": each.node.time_s * MILLI,
                "macs": each.kernel.macs,
                "memory_access_bytes": each.kernel.memory_bytes,
                "bound": each.bound,
                "reached": each.reached,
                "reason": explain_text.reason(each, found.block),
                "parts_ms": {part: seconds * MILLI for part, seconds in each.parts.items()},
            }
            for each in found.nodes
        ],
    }


def _check(check: Check | None) -> dict[str, object] | None:
    if check is None:
        return None
    measured, altered = check.measured, check.alteration
    return {
        "widths": {str(old): new for old, new in altered.widths.items()},
        "relative_flops": check.flops,
        "said": check.said,
        "measured": measured and measured.value,
        "measured_low": measured and measured.low,
        "measured_high": measured and measured.high,
        "verdict": check.verdict if measured else None,
        "reason": check.reason or None,
        "groups": {name: new for name, (_, new) in altered.groups.items()},
        "narrowed": dict(altered.narrowed),
        "left_out": dict(altered.kinds),
        "conversions": check.conversions[0],
        "conversions_left": check.conversions[1],
    }

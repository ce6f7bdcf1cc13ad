"""File columns of ratios: their interval, relative FLOPs, and a comparison's verdict."""

from benchbox.analysis import stats
from benchbox.analysis.stats import Verdict
from benchbox.records import Context, Record, Run, known_macs

MEASURED = ("ok", "imprecise")
COLUMNS = {
    "relative_ci_low": "Float64",
    "relative_ci_high": "Float64",
    "relative_macs": "Float64",
    "verdict": "string",
    "margin": "Float64",
}


def margin(context: Context) -> float | None:
    """The margin of a comparison, None for any other run."""
    value = context.plan.get("margin")
    return None if value is None else float(value)


def cells(run: Run, record: Record) -> dict[str, str | float | None]:
    """The cells of a record."""
    ratio = record.relative
    return {
        "relative_ci_low": ratio.low if ratio else None,
        "relative_ci_high": ratio.high if ratio else None,
        "relative_macs": relative_macs(run, record),
        "verdict": verdict(run, record),
        "margin": margin(run.context),
    }


def verdict(run: Run, record: Record) -> Verdict | None:
    """The verdict on a case against its reference; None for that itself, and where one failed.

    UNCLEAR by disturbed calls, whatever their interval.
    """
    within = margin(run.context)
    if within is None or record.case == record.reference:
        return None
    reference = run.record(f"{record.spec}:{record.reference}")
    if any(each is None or each.status not in MEASURED for each in (record, reference)):
        return None
    return "UNCLEAR" if record.relative_basis == "all" else stats.verdict(record.relative, within)


def is_unclear(run: Run) -> bool:
    """Whether a comparison could not tell some case from the reference."""
    return any(verdict(run, record) == "UNCLEAR" for record in run.records)


def relative_macs(run: Run, record: Record) -> float | None:
    """Multiply-accumulates over those of the reference, None where either is a lower bound."""
    reference = run.record(f"{record.spec}:{record.reference}")
    ours, theirs = known_macs(record.cost), known_macs(reference.cost if reference else None)
    return None if ours is None or not theirs else ours / theirs

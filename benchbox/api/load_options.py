"""Plans of runs under a load, which --arrival and --sustained ask for."""

from collections.abc import Set
from dataclasses import replace

from benchbox.api import parsing
from benchbox.api.options import UnderLoad
from benchbox.errors import UsageError
from benchbox.report import formatting
from benchbox.sampling.arrival import SPARE, least_s
from benchbox.sampling.plan import Plan

PRECISION = 0.05  # a round at a rate takes ten times as long as one of calls in a row, and more
SHORTEST_S = 2.0  # of a sustained load; less has too few windows
LONG_S = 60.0  # a run that takes longer says so before it begins
MEANINGLESS = ("quick", "precision", "percentiles", "max_time")


def adapt(
    plan: Plan,
    load: UnderLoad,
    cases: int,
    *,
    precise: bool,
    timed: bool,
    typed: Set[str] = frozenset(),
) -> Plan:
    """The plan of a number of cases under a load.

    `precise` and `timed` tell whether --precision and --max-time were given, `typed` which options
    stand on the command line. Raises UsageError for those that exclude each other.
    """
    if load.arrival is not None and load.sustained is not None:
        raise UsageError("--arrival and --sustained exclude each other: choose one")
    if load.sustained is not None:
        return _sustained(plan, load.sustained, typed, cases)
    if load.arrival is None:
        return plan
    paced = replace(
        plan,
        arrival_per_s=parsing.rate(load.arrival),
        precision=plan.precision if precise else PRECISION,
    )
    enough_s = max(plan.max_time_s, SPARE * least_s(paced, cases))
    return paced if timed else replace(paced, max_time_s=enough_s)


def _sustained(plan: Plan, text: str, typed: Set[str], cases: int) -> Plan:
    for name in MEANINGLESS:
        if name in typed:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--sustained {text} takes as long as it says: leave {option} out")
    if "sessions" in typed and plan.sessions > 1:
        raise UsageError(f"--sustained {text} is one process for each case: leave --sessions out")
    seconds = parsing.seconds(text, "--sustained")
    if seconds < SHORTEST_S:
        raise UsageError(f"--sustained {text}: too short to see anything change; write 10m")
    lasting = replace(plan, sustained_s=seconds, sessions=1, max_time_s=cases * seconds)
    return replace(lasting, percentiles=())  # single calls are not kept


def announcement(plan: Plan, cases: int, turns: int = 1) -> str:
    """The time that a run under a load will take, empty where that is not worth a line.

    It is done `turns` times one after the other, as on two clusters of one device.
    """
    text = _announcement(plan, cases)
    return f"{text}, {turns} times" if text and turns > 1 else text


def _announcement(plan: Plan, cases: int) -> str:
    count = "1 case" if cases == 1 else f"{cases} cases"
    if plan.sustained_s is not None:
        each, total = formatting.duration(plan.sustained_s), formatting.duration(plan.max_time_s)
        together = "" if cases == 1 else f", {total} together"
        return f"{count}, {each} of continuous load{' each' if cases > 1 else ''}{together}"
    shortest_s = least_s(plan, cases)
    if plan.arrival_per_s is None or max(shortest_s, plan.max_time_s) < LONG_S:
        return ""
    least, most = formatting.duration(shortest_s, 2), formatting.duration(plan.max_time_s, 2)
    if plan.max_time_s < shortest_s:
        return f"{count} at {formatting.per(plan.arrival_per_s)} need {least}, and get {most} only"
    return f"{count} at {formatting.per(plan.arrival_per_s)}: {least} to {most}"

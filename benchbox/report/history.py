"""Histories of cases in words: a table of each machine, the rows of a file, and the gate."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from statistics import median

from benchbox.analysis import limits
from benchbox.analysis.limits import Kept, Limit
from benchbox.analysis.stats import Interval
from benchbox.records import differences
from benchbox.records.history import Change, History, LevelStep, Point
from benchbox.report import formatting
from benchbox.report.changes import SHOWN, changes, shown
from benchbox.report.limits import named, ratio
from benchbox.report.table import Column, Table

LEVELS = "▁▂▃▄▅▆▇█"
CELLS = 24
LEAST_RANGE = 0.1  # of a line of its own; noise does not fill it
FEW = 12  # steps that are printed
NONE = "none"
USUAL = ("provider", "threads", "channels")  # said otherwise, or by the graph
HELP = (
    "a step: the next runs differ from those before by more than noise; figures are set back to "
    "the machine in the newest run, by its sentinels and by what other cases have in common"
)
ALONE = "; too few other cases tell what the machine did"


def tables(found: Sequence[History]) -> list[Table]:
    """A table for each machine and setting, with the newest steps below it."""
    every = [_table(place, own) for place, own in by_machine(found)]
    return [*every[:-1], replace(every[-1], notes=(*every[-1].notes, HELP))]


def by_machine(found: Sequence[History]) -> list[tuple[str, list[History]]]:
    """The histories of each machine and setting, by a line that says which it is."""
    alike = groupby(sorted(found, key=_where), key=_where)
    return [(place, list(own)) for place, own in alike]


def _where(history: History) -> str:
    context = history.context
    setting = differences.setting(context)
    threads = formatting.threads(context.threads)
    others = [f"{name} {shown(value)}" for name, value in setting.items() if name not in USUAL]
    place = f"{context.device}: {context.processor}"
    return ", ".join([place, context.provider, threads, *others])


def _table(place: str, found: Sequence[History]) -> Table:
    def column(header: str, cells: Iterator[str], drop: int = 0) -> Column:
        return Column(header, tuple(cells), drop=drop)

    last = [each.steps[-1] if each.steps else None for each in found]
    steps = sorted(
        ((step, each) for each in found for step in each.steps),
        key=lambda pair: pair[0].after.created,
    )
    earlier = len(steps) - FEW
    machine = [f"{_begun(step, 'all cases')}, set back here" for step in found[0].machine]
    recent = [f"{each.name}: {_recent(each)}" for each in found if each.changed]
    return Table(
        title=f"History on {place}",
        about=(),
        columns=(
            Column("case", tuple(each.name for each in found), text=True),
            column("runs", (str(len(each.rows)) for each in found), 2),
            Column("from run to run", tuple(map(sparkline, found)), True, 3, drawing=True),
            column("p50 now (ms)", map(_now, found)),
            column("last step", (_ratio(step.ratio) if step else NONE for step in last)),
            column(
                "in the run of (UTC)",
                (_date(s.after) if s else formatting.UNKNOWN for s in last),
                1,
            ),
        ),
        sentences=(
            *(sentence(step, each) for step, each in steps[-FEW:]),
            *machine[-FEW:],
            *recent,
        ),
        notes=(f"{earlier} earlier steps: --format csv",) if earlier > 0 else (),
        elsewhere="--format csv has all",
    )


def sparkline(history: History) -> str:
    """The p50 of runs from the first to the newest as a line of blocks; one is of several runs."""
    values = history.set_back_s
    count = min(CELLS, len(values))
    ends = [index * len(values) // count for index in range(count + 1)]
    cells = [median(values[a:b]) for a, b in pairwise(ends)]
    low = min(cells)
    span = max(max(cells) - low, LEAST_RANGE * low)
    return "".join(LEVELS[round((each - low) / span * (len(LEVELS) - 1))] for each in cells)


def _now(history: History) -> str:
    now = history.levels[-1].interval
    scaled = now.value * formatting.MILLI
    if now.half_width > 1:
        return f"~{formatting.figure(scaled, now.half_width * scaled)}"
    return formatting.estimate(scaled, now.half_width * scaled)


def _ratio(interval: Interval) -> str:
    return formatting.ratio(interval.value, formatting.width(interval))


def _date(point: Point) -> str:
    return point.created[:16].replace("T", " ")


def sentence(step: LevelStep, history: History) -> str:
    """When a step was, of which case, its ratio, and what changed there."""
    return f"{_begun(step, history.name)}{'' if history.has_controls else ALONE}"


def _begun(step: LevelStep, name: str) -> str:
    return f"{_date(step.after)} {name} {_interval(step.ratio)}: {changed(step)}"


def _recent(history: History) -> str:
    """Which graph is too new to be judged."""
    runs = history.levels[-1].end - history.levels[-1].start
    newest = "run" if runs == 1 else f"{runs} runs"
    changed = _changes(history.changed) if history.changed else ""
    return f"{changed} in the newest {newest}: too few to judge"


def changed(step: LevelStep) -> str:
    """The changes at a step, as far as records tell."""
    parts = [_changes(step.own)] if step.own.what or not step.own.is_same_graph else []
    parts += [
        f"{_changes(each)} between the runs of {_date(each.before)} and {_date(each.after)}"
        for each in step.nearby
    ]
    return "; ".join(parts) or "nothing that records tell has changed"


def _changes(change: Change) -> str:
    parts = changes(change.what)
    if not change.is_same_graph:
        before, after = change.before.sha256[:SHOWN], change.after.sha256[:SHOWN]
        parts.append(f"graph {before or NONE} -> {after or NONE}")
    return "; ".join(parts)


def rows(found: Sequence[History]) -> list[dict[str, object]]:
    """The rows of a file: one for each run of each case."""
    return [
        {
            "case": history.name,
            "device": history.context.device,
            "processor": history.context.processor,
            "provider": history.context.provider,
            "threads": history.context.threads,
            "utc": point.created,
            "run": str(point.path),
            "graph_sha256": point.sha256 or None,
            "p50_ms": point.p50_s * formatting.MILLI,
            "p50_ci_low_ms": point.interval.low * formatting.MILLI if point.interval else None,
            "p50_ci_high_ms": point.interval.high * formatting.MILLI if point.interval else None,
            "p50_set_back_ms": point.set_back.value * formatting.MILLI,
            "level_ms": level.interval.value * formatting.MILLI,
            "level_ci_low_ms": level.interval.low * formatting.MILLI,
            "level_ci_high_ms": level.interval.high * formatting.MILLI,
            "step": step.ratio.value if step else None,
            "step_ci_low": step.ratio.low if step else None,
            "step_ci_high": step.ratio.high if step else None,
            "changed": changed(step) if step else None,
        }
        for history in found
        for begun in [{step.after.run: step for step in history.steps}]
        for level in history.levels
        for number in range(level.start, level.end)
        for point in [history.point(number)]
        for step in [begun.get(point.run)]
    ]


def judged(found: Sequence[History], limit: Limit) -> Iterator[tuple[Kept, str]]:
    """Hold the last step of each case, and what all add up to, to a limit.

    Yields a sentence on each that is not within.
    """
    for history in found:
        step = history.steps[-1] if history.steps else None
        on = history.context.device
        kept = limits.kept(step.ratio, limit.most) if step else "within"
        has = f"{history.name} takes {_since(step, limit, on)}" if step else ""
        alone = "" if history.has_controls else ALONE
        if step and kept == "over":
            most = named(limit, step.ratio)
            yield kept, f"Failed: {has}, over {most}; {changed(step)}{alone}"
        elif (overall := history.overall()) and overall.low > limit.most:
            first = _date(history.point(0))
            yield (
                "over",
                f"Failed: {history.name} takes {ratio(limit, overall)} the latency of its "
                f"first runs on {on}, from {first} UTC on, over {named(limit, overall)}",
            )
        elif step and kept == "unclear":
            most = named(limit, step.ratio)
            yield kept, f"Unclear: {has}; {most} lies within; {changed(step)}{alone}"
        if history.changed:
            yield "unclear", f"Unclear: {history.name} on {on}: {_recent(history)}"
    for history in {id(each.machine): each for each in found if each.machine}.values():
        step = history.machine[-1]
        if limits.kept(step.ratio, limit.most) != "within":
            has = f"all cases take {_since(step, limit, history.context.device)}"
            most = named(limit, step.ratio)
            yield "unclear", f"Unclear: {has}, as the machine may; {most}; {changed(step)}"


def _since(step: LevelStep, limit: Limit, device: str) -> str:
    when = f"since the run of {_date(step.after)} UTC"
    return f"{ratio(limit, step.ratio)} the latency of before on {device} {when}"


def _interval(ratio: Interval) -> str:
    return f"{_ratio(ratio)} ({formatting.bounds(ratio)})"

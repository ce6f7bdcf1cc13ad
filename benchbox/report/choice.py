"""Tables of a choice by a latency budget: what fits first, the most accurate of it on top."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from benchbox.analysis import choice
from benchbox.analysis.choice import Fit
from benchbox.analysis.stats import Interval, samples_for
from benchbox.records import Record, ordered, reader
from benchbox.records.choice import METRICS, P50, Budget, Candidate, Choice
from benchbox.report import formatting
from benchbox.report.table import Column, Table
from benchbox.report.tables import flops, measured_by, setting
from benchbox.report.text import few, listed

FITS: tuple[Fit, ...] = ("fits", "may fit", "does not fit")
FEW = 3  # runs that are named
FRONT = "front"
FRONT_NOTE = f"{FRONT}: none of these is both faster and more accurate"
FAR = 2  # times what lies below a figure, beyond which what lies above says nothing of its digits
LONGER = 2  # a run than the calls it needs, with their preparation
TIMES = 10  # a budget; from then on no percentage
SORTS: Mapping[str, Callable[[Candidate], float]] = {
    "accuracy": lambda each: -each.accuracy if each.accuracy is not None else math.inf,
    "latency": lambda each: each.latency.value,
    "flops": lambda each: (each.record.cost or {}).get("macs", math.inf),
}


def tables(found: Choice, sort: str) -> list[Table]:
    """A table for each kind of accuracy, of which none is set beside another."""
    metrics = dict.fromkeys(each.metric for each in found.candidates)
    shown = [_table(found, metric, sort) for metric in sorted(metrics, key=_rank)]
    *others, last = shown or [Table("Nothing to choose from", (), ())]
    return [*others, replace(last, failures=_failures(found))]


def rows(found: Choice, sort: str) -> list[dict[str, object]]:
    """The rows of a file, in the order of the tables."""
    result = []
    for metric in sorted({each.metric for each in found.candidates}, key=_rank):
        own = _sorted(found, metric, sort)
        for each, is_front in zip(own, _front(own), strict=True):
            latency, origin = each.latency, found.origins.get(each.record.key)
            result.append(
                {
                    "spec": each.record.spec,
                    "case": each.record.case,
                    "device": found.run.context.device,
                    "accuracy_kind": each.metric or None,
                    "accuracy_percent": each.accuracy,
                    "macs": (each.record.cost or {}).get("macs"),
                    "percentile": found.budget.percentile,
                    "latency_ms": latency.value * formatting.MILLI,
                    "latency_ci_low_ms": latency.low * formatting.MILLI,
                    "latency_ci_high_ms": latency.high * formatting.MILLI
                    if latency.high < math.inf
                    else None,
                    "budget_ms": each.budget_s * formatting.MILLI,
                    "fit": each.fit,
                    "pareto": is_front,
                    "recorded": origin.context.run if origin else None,
                    "status": each.record.status,
                }
            )
    return result


def _table(found: Choice, metric: str, sort: str) -> Table:
    own = _sorted(found, metric, sort)
    records = [each.record for each in own]
    kind = {"top-1": "classifiers", "mAP": "detectors"}.get(metric, "without published accuracy")
    fronts = [FRONT if is_front else formatting.UNKNOWN for is_front in _front(own)]
    accuracies = tuple(formatting.accuracy(each.accuracy) for each in own)
    columns = (
        Column("case", tuple(record.case for record in records), text=True),
        *([Column(f"{metric}, paper (%)", accuracies)] if metric else []),
        Column("FLOPs (M)", tuple(flops(record.cost) for record in records), drop=1),
        Column(f"{_figure(found.budget)} (ms)", tuple(map(_latency, own))),
        Column("95% interval", tuple(map(_bounds, own))),
        Column("of budget", tuple(_share(each.latency.value / each.budget_s) for each in own)),
        *([Column("Pareto", tuple(fronts), text=True, drop=2, note=FRONT)] if metric else []),
    )
    return Table(
        title=f"Budget {_words(found.budget)}: {kind}",
        about=(
            setting(found.run.context, ordered(records)),
            measured_by(found.run.context),
        ),
        columns=columns,
        groups=tuple(f"{each.fit} {_words(found.budget)}" for each in own),
        sentences=tuple(_sentences(found.budget, own, metric)),
        notes=tuple(_notes(found, own, metric)),
    )


def _sorted(found: Choice, metric: str, sort: str) -> list[Candidate]:
    """The candidates in order: what fits first, and then those with a published accuracy."""
    own = [each for each in found.candidates if each.metric == metric]
    by = SORTS[sort]
    return sorted(
        own,
        key=lambda e: (FITS.index(e.fit), e.accuracy is None, by(e), e.latency.value),
    )


def _front(own: Sequence[Candidate]) -> list[bool]:
    """Whether each is on the Pareto front of latency and accuracy; not where one is not known."""
    known = [each for each in own if each.is_known and each.accuracy is not None]
    marks = choice.front([(each.latency.value, each.accuracy or 0.0) for each in known])
    on_front = {id(each) for each, mark in zip(known, marks, strict=True) if mark}
    return [id(each) in on_front for each in own]


def _latency(each: Candidate) -> str:
    """The latency in ms, to the digit that its interval leaves certain."""
    value, low, high = _in_ms(each.latency)
    if not each.is_known:
        return f"{'' if each.is_usual else '~'}{formatting.significant(value)}"
    return formatting.figure(value, _width(value, low, high))


def _bounds(each: Candidate) -> str:
    """The ends of the interval in ms, of which the upper one may not be known."""
    value, low, high = _in_ms(each.latency)
    if high == math.inf:
        return f"{formatting.significant(low)} or more"
    width = _width(value, low, high)
    return " to ".join(formatting.figure(end, width) for end in (low, high))


def _width(value: float, low: float, high: float) -> float:
    """The half-width that the digits are by: of a percentile far more may lie above than below."""
    return min((high - low) / 2, FAR * (value - low))


def _in_ms(latency: Interval) -> tuple[float, float, float]:
    value, low, high = (
        each * formatting.MILLI for each in (latency.value, latency.low, latency.high)
    )
    return value, low, high


def _sentences(budget: Budget, own: Sequence[Candidate], metric: str) -> list[str]:
    """The answer: the most accurate that fits, or the fastest where that is not known."""
    fitting = [each for each in own if each.fit == "fits"]
    fastest = min(own, key=lambda each: each.latency.value)
    if not fitting:
        may = [each.record.case for each in own if each.fit == "may fit"]
        unsure = f"; it is not known of {listed(may)}" if may else ""
        return [f"Nothing fits {_words(budget)}; the fastest is {_answer(fastest)}{unsure}."]
    known = [each for each in fitting if each.accuracy is not None]
    if not known:
        what = f"The fastest that fits is {_answer(fastest)}."
        return [f"{what} What fits has no published accuracy." if metric else what]
    best = max(known, key=lambda each: (each.accuracy or 0.0, -each.latency.value))
    percent = formatting.accuracy(best.accuracy)
    lines = [f"The most accurate that fits is {best.record.case} ({percent}%), {_part(best)}."]
    better = [
        each
        for each in own
        if each.fit == "may fit" and (each.accuracy or 0.0) > (best.accuracy or 0.0)
    ]
    if better:
        names = listed([each.record.case for each in better])
        lines.append(
            f"More accurate, and may fit: {names}; more time or a quieter machine decides."
        )
    return lines


def _share(value: float) -> str:
    """`45%`, or how many times the budget it is."""
    return formatting.ratio(value) if value >= TIMES else f"{value:.0%}"


def _answer(each: Candidate) -> str:
    return f"{each.record.case}, {_part(each)}"


def _part(each: Candidate) -> str:
    """`14.8 of 33 ms`, in the digits of the table."""
    return f"{_latency(each)} of {_milliseconds(each.budget_s)}"


def _notes(found: Choice, own: Sequence[Candidate], metric: str) -> list[str]:
    notes = ["fits: the whole 95% interval is within the budget; may fit: a part of it is"]
    if found.budget.percentile != P50:
        notes.append(f"{_figure(found.budget)} is of all calls, disturbed ones too")
    if not all(each.is_usual for each in own):
        notes.append(
            "~ is of disturbed calls, or of no usual state: undisturbed it takes no longer, and no "
            f"less than 1/{choice.SLOWED:g} of its fastest call"
        )
    if any(each.latency.high == math.inf for each in own):
        notes.append("or more: of too few calls, or rounds, to know how much")
    if any(each.budget_s != found.budget.seconds for each in own):
        whole = dict.fromkeys((e.record.batch, e.budget_s) for e in own)
        calls = [f"{formatting.duration(s)} at batch {n}" for n, s in sorted(whole)]
        notes.append(f"of budget: each image of a call has its own, so a call has {listed(calls)}")
    if metric:
        notes += [FRONT_NOTE] if any(_front(own)) else []
        notes.append(f"{metric}, paper: `benchbox show NAME` names the source")
    return [*notes, *_reused(found, own)]


def _reused(found: Choice, own: Sequence[Candidate]) -> list[str]:
    """The note on figures that were recorded before."""
    by_run: dict[str, list[str]] = {}
    for each in own:
        if origin := found.origins.get(each.record.key):
            age = datetime.now(UTC) - reader.dated(origin.path)
            name = f"{origin.context.device}/{origin.stem}"
            was = f"{formatting.duration(max(age.total_seconds(), 1.0), 2)} ago in {name}"
            by_run.setdefault(was, []).append(each.record.case)
    lines = [f"{len(cases)} of {len(own)} recorded {was}" for was, cases in by_run.items()]
    if len(lines) <= FEW:
        return lines
    return [*lines[:FEW], f"others by {len(lines) - FEW} more runs"]


def _failures(found: Choice) -> tuple[str, ...]:
    """The cases that have no latency to be held to the budget, each reason in one line."""
    known = {each.record.key for each in found.candidates}
    left = [record for record in found.run.records if record.key not in known]
    few_calls = [each for each in left if each.latency]
    by_text: dict[str, list[str]] = {}
    for each in left:
        if not each.latency:
            by_text.setdefault(each.reason or each.status, []).append(each.case)
    lines = [f"{few(cases)}: {text}" for text, cases in by_text.items()]
    return (*lines, *([_not_known(found, few_calls)] if few_calls else []))


def _not_known(found: Choice, left: Sequence[Record]) -> str:
    """Which cases have too few calls, and the time that enough of them take."""
    calls = samples_for(found.budget.percentile / 100)
    seconds = math.ceil(LONGER * sum(calls * each.latency.p50_s for each in left if each.latency))
    names = listed([each.case for each in left]) if found.candidates else f"all {len(left)} cases"
    return (
        f"not known of {names}: {_figure(found.budget)} needs {calls} calls of each; "
        f"--max-time {seconds}s, without --from, times them"
    )


def _rank(metric: str) -> int:
    return [*METRICS.values(), ""].index(metric)


def _figure(budget: Budget) -> str:
    """The latency that is held to a budget: `p50`."""
    return f"p{budget.percentile:g}"


def _words(budget: Budget) -> str:
    """`33 ms`, or `33.3 ms (30 images/s)`."""
    text = _milliseconds(budget.seconds)
    return f"{text} ({1 / budget.seconds:g} images/s)" if budget.per_image else text


def _milliseconds(seconds: float) -> str:
    """`33 ms`, `0.5 ms`, `1500 ms`: the unit of the tables."""
    return f"{float(formatting.significant(seconds * formatting.MILLI)):.15g} ms"

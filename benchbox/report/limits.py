"""Judgements on limits: which figure of a case a limit is about, and the sentence on it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from benchbox.analysis import limits
from benchbox.analysis.limits import Kept, Limit
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, uncounted
from benchbox.records.diff import RunDiff
from benchbox.report import comparison, formatting

FEWEST_DIGITS, MOST_DIGITS = 3, 6


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a case keeps a limit, with the figure that decides; a ratio is to that of `than`."""

    limit: Limit
    run: Run
    record: Record
    figure: Interval | None
    than: str = ""

    @property
    def kept(self) -> Kept:
        """The decision by the whole interval of the figure."""
        return limits.kept(self.figure, self.limit.most)


def judgements(
    runs: Sequence[Run], asked: Sequence[Limit], diffs: Sequence[RunDiff] | None = None
) -> Iterator[Judgement]:
    """Judge every case that was timed by every limit that is about it.

    Of a run in `diffs` the limit of a ratio is about that to the earlier run, its baseline; of one
    that has none there, it is about nothing.
    """
    baselines = {id(each.b): each for each in diffs or ()}
    for run in runs:
        for limit, record in product(asked, run.records):
            if record.status not in comparison.MEASURED:
                continue
            if limit.figure == "slower" and diffs is not None:
                if between := baselines.get(id(run)):
                    yield from _beside(limit, between, record)
            elif limit.figure != "slower" or record.case != record.reference:
                yield Judgement(limit, run, record, _figure(record, limit), record.reference)


def _beside(limit: Limit, between: RunDiff, record: Record) -> Iterator[Judgement]:
    """The judgement on the ratio of a case that is in its baseline."""
    for pair in between.pairs:
        if pair.b is record:
            ratio = pair.ratio.interval if pair.ratio and pair.ratio.is_usual else None
            than = f"baseline {between.a.path.stem}"
            yield Judgement(limit, between.b, record, ratio, than)


def sentence(judgement: Judgement) -> str:
    """The line on a case that is over a limit, or of which that is unclear."""
    limit, record = judgement.limit, judgement.record
    over = judgement.kept == "over"
    has = f"{record.case} {_words(judgement)} on {judgement.run.context.device}"
    if over:
        return f"Failed: {has}, over {named(limit, judgement.figure)}"
    why = "lies within" if judgement.figure else "is undecided"
    return f"Unclear: {has}; {named(limit, judgement.figure)} {why}"


def named(limit: Limit, figure: Interval | None) -> str:
    """A limit beside a figure: in as many digits as tell them apart."""
    return f"the limit of {_amount(limit, limit.most, _digits(limit, figure))} ({limit.text})"


def ratio(limit: Limit, figure: Interval) -> str:
    """A ratio with its interval beside a limit."""
    digits = _digits(limit, figure)
    if digits == FEWEST_DIGITS:
        value = formatting.ratio(figure.value, formatting.width(figure))
        return f"{value} ({formatting.bounds(figure)})"
    value, low, high = (_amount(limit, end, digits) for end in _ends(figure))
    return f"{value} ({low} to {high})"


def _ends(figure: Interval) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high


def _digits(limit: Limit, figure: Interval | None) -> int:
    """The digits that the limit has, or more if what is not the limit would look so."""
    ends = filter(math.isfinite, _ends(figure) if figure else ())
    others = [end for end in ends if end != limit.most]
    typed = limit.most / limit.scale
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        is_whole = math.isclose(float(f"{typed:.{digits}g}"), typed)
        text = _amount(limit, limit.most, digits)
        if is_whole and all(_amount(limit, end, digits) != text for end in others):
            return digits
    return MOST_DIGITS


def within(found: Sequence[Judgement]) -> str:
    """The line on limits that every case keeps."""
    texts = ", ".join(dict.fromkeys(each.limit.text for each in found))
    cases = len({(each.run.context.device, each.record.key) for each in found})
    return f"Within limits: {texts} ({cases} {'case' if cases == 1 else 'cases'})"


def _figure(record: Record, limit: Limit) -> Interval | None:
    if limit.figure == "slower":
        return record.relative
    if limit.figure == "latency":
        return _latency(record, limit.percentile or 50.0)
    if limit.figure == "peak_memory":
        return _exact(record.peak_bytes)
    cost = record.cost or {}
    count = cost.get("params" if limit.figure == "params" else "macs")
    if limit.figure == "flops" and count is not None and uncounted(record.cost):
        return Interval(count, count, math.inf)
    return _exact(count)


def _latency(record: Record, percentile: float) -> Interval | None:
    if percentile == 50.0:
        return record.latency.interval if record.latency else None
    return limits.percentile_of(record.bursts, percentile)


def _exact(count: float | None) -> Interval | None:
    return None if count is None else Interval(count, count, count)


def _words(judgement: Judgement) -> str:
    """The figure of a case in words, with its interval."""
    limit, figure = judgement.limit, judgement.figure
    if limit.figure == "slower":
        than = f"the latency of {judgement.than}"
        if figure is None:
            return _no_ratio(judgement)
        return f"takes {ratio(limit, figure)} {than}"
    name = {
        "latency": f"p{limit.percentile or 50:g}",
        "peak_memory": "peak memory",
        "params": "params",
        "flops": "FLOPs",
    }[limit.figure]
    if figure is None:
        return f"has no known {name}"
    digits = _digits(limit, figure)
    value, low, high = (
        _amount(limit, end, digits) if math.isfinite(end) else "" for end in _ends(figure)
    )
    if limit.figure in ("params", "flops"):
        return f"has {'at least ' * (figure.high > figure.low)}{value} {name}"
    if figure.low == figure.high:
        return f"has a {name} of {value}"
    return f"has a {name} of {value} ({low} {f'to {high}' if high else 'or more'})"


def _no_ratio(judgement: Judgement) -> str:
    record = judgement.record
    if judgement.than != record.reference:
        return f"has no sure ratio to {judgement.than}"
    base = judgement.run.record(f"{record.spec}:{record.reference}")
    if base and base.status not in comparison.MEASURED:
        return f"has no ratio to {record.reference}, which is {base.status}"
    return f"shares too few rounds with {record.reference} to know its ratio"


def _amount(limit: Limit, value: float, digits: int) -> str:
    """A value in the unit of a limit."""
    if limit.figure == "slower":
        return f"{formatting.significant(value, digits)}x"
    if limit.figure in ("latency", "peak_memory"):
        return f"{formatting.significant(value / limit.scale, digits)} {limit.unit}"
    return formatting.scaled(value, digits)

"""Sentence under a spec's table: whether its guideline holds on this device."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchbox.analysis.latency import BASES, Basis, Latency
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, SpecFacts, known_macs
from benchbox.report import (
    comparison,
    comparison_text,
    formatting,
    load_text,
    text,
)
from benchbox.report.text import listed
from benchbox.specs.labels import case_name

MARGIN = 1.01  # a case is slower when its whole interval is beyond 1% more than the other's
EQUAL_FLOPS = 0.005  # FLOPs that differ by less are called equal

Decision = Literal["holds", "fails", "unclear"]
ALONE: Mapping[Decision, str] = {
    "holds": "holds here",
    "fails": "does not hold here",
    "unclear": "is unclear here",
}
AFTER: Mapping[Decision, str] = {"fails": "not at", "unclear": "and is unclear at"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The two cases of one group that a claim is about, and the ratio of their latencies.

    `basis` are the calls that it is of.
    """

    slower: Record
    than: Record
    ratio: Interval
    basis: Basis

    @property
    def decision(self) -> Decision:
        """The decision by the whole interval of the ratio; disturbed calls decide nothing."""
        if self.basis == "all":
            return "unclear"
        if self.ratio.low > MARGIN:
            return "holds"
        return "fails" if self.ratio.high <= MARGIN else "unclear"

    @property
    def group(self) -> str:
        """The group of the two, without its place on what the run sweeps."""
        swept = case_name(self.slower.place).split(",")
        return ",".join(label for label in self.slower.group.split(",") if label not in swept)

    @property
    def place(self) -> str:
        """The group without its key: `1` of `scale=1`."""
        return self.group.partition("=")[2] or self.group


def sentences(run: Run, spec_facts: SpecFacts) -> list[str]:
    """The sentence on the spec's claim in this run, none if no pair of it was measured.

    Several places on what is swept, such as batches, get a line each. A case under continuous load
    gets a sentence on its slowdown, a comparison its verdicts.
    """
    records = run.of_spec(spec_facts.name)
    if compared := comparison_text.sentences(run, records):
        return compared
    places = dict.fromkeys(case_name(record.place) for record in records)
    lines = [
        _claim(
            spec_facts,
            [record for record in records if case_name(record.place) == place],
            f" at {text.group(place)}" if len(places) > 1 else "",
        )
        for place in places
    ]
    return [*filter(None, lines)] or load_text.sentences(records)


def _claim(spec_facts: SpecFacts, records: Sequence[Record], at: str) -> str:
    """The sentence for the records of one place, empty if no pair was measured."""
    claim = spec_facts.claim
    pairs = [] if claim is None else _pairs(records, claim)
    if claim is None or not pairs:
        return ""
    ratios = listed(
        [
            formatting.mark(pair.basis)
            + formatting.ratio(pair.ratio.value, formatting.width(pair.ratio))
            for pair in pairs
        ]
    )
    what = spec_facts.guideline or f"The claim of {spec_facts.name}"
    about = f"{what}{at}{load_text.at(pairs[0].slower)}"
    return (
        f"{about} {_verdict(pairs)}{_reservation(pairs)}: "
        f"{claim['subject']} cost {ratios} the latency of {claim['than_subject']}"
        f"{_at_flops(pairs)}{_details(pairs)}."
    )


def is_unclear(run: Run) -> bool:
    """Whether some ratio, of a claim or a comparison, is undecided."""
    if comparison.is_unclear(run):
        return True
    pairs = [
        pair
        for facts in run.context.specs
        if facts.claim is not None
        for pair in _pairs(run.of_spec(facts.name), facts.claim)
    ]
    return any(pair.decision == "unclear" for pair in pairs)


def platform(record: Record) -> str:
    """The platform whose printed figures the record carries: `ARM`, `GPU` or nothing."""
    return (record.channels or "").upper()


def paper_ratio(record: Record, over: Record) -> float | None:
    """The paper's latency of one case over another's, from the throughput that it prints."""
    if not record.published or not over.published:
        return None
    return over.published / record.published


def _pairs(records: Sequence[Record], claim: Mapping[str, Any]) -> list[Pair]:
    pairs = []
    if not load_text.compared(records):
        return []
    for group in dict.fromkeys(record.group for record in records):
        members = [record for record in records if record.group == group]
        slower, than = _find(members, claim["slower"]), _find(members, claim["than"])
        if slower and than and slower.latency and than.latency:
            found = _paired(slower, than) or _quotient(slower.latency, than.latency)
            pairs.append(Pair(slower, than, *found))
    return pairs


def _find(records: Iterable[Record], labels: Mapping[str, Any]) -> Record | None:
    """The first measured record that has these labels."""
    return next(
        (
            record
            for record in records
            if labels.items() <= record.labels.items()
            and record.latency is not None
            and record.status in ("ok", "imprecise")
        ),
        None,
    )


def _paired(slower: Record, than: Record) -> tuple[Interval, Basis] | None:
    """The ratio from the rounds that the two share, if one of them is the reference."""
    if than.case == slower.reference and slower.relative is not None:
        return slower.relative, slower.relative_basis
    if slower.case == than.reference and than.relative is not None:
        inverse = than.relative
        basis = than.relative_basis
        return Interval(1 / inverse.value, 1 / inverse.high, 1 / inverse.low), basis
    return None


def _quotient(slower: Latency, than: Latency) -> tuple[Interval, Basis]:
    """The quotient of two p50s; its ends take each interval at its worst."""
    value = slower.p50_s / than.p50_s
    basis = max(slower.basis, than.basis, key=BASES.index)
    a, b = slower.interval, than.interval
    if a is None or b is None:
        return Interval(value, 0.0, math.inf), basis
    return Interval(value, a.low / b.high, a.high / b.low), basis


def _verdict(pairs: Sequence[Pair]) -> str:
    places: dict[Decision, list[str]] = {
        decision: [pair.place for pair in pairs if pair.decision == decision] for decision in ALONE
    }
    (first, at), *rest = [(decision, at) for decision, at in places.items() if at]
    if not rest:
        return ALONE[first]
    clauses = [f"{ALONE[first]} at {_key(pairs)}{listed(at)}"]
    clauses += [f"{AFTER[decision]} {listed(at)}" for decision, at in rest]
    return ", ".join(clauses)


def _reservation(pairs: Sequence[Pair]) -> str:
    """A reservation where a decision comes from an imprecise case."""
    decided = [pair for pair in pairs if pair.decision != "unclear"]
    statuses = {each.status for pair in decided for each in (pair.slower, pair.than)}
    return ", though by imprecise figures" if "imprecise" in statuses else ""


def _key(pairs: Sequence[Pair]) -> str:
    """The key of the groups as a prefix: `scale ` of `scale=1`."""
    key, equals, _ = pairs[0].group.partition("=")
    return f"{key} " if equals else ""


def _at_flops(pairs: Sequence[Pair]) -> str:
    ratios = []
    for pair in pairs:
        slower, than = known_macs(pair.slower.cost), known_macs(pair.than.cost)
        if slower is None or not than:
            return ""
        ratios.append(slower / than)
    if all(abs(ratio - 1) <= EQUAL_FLOPS for ratio in ratios):
        return " at equal FLOPs"
    ends = dict.fromkeys([formatting.ratio(min(ratios)), formatting.ratio(max(ratios))])
    return f" at {' to '.join(ends)} the FLOPs"


def _details(pairs: Sequence[Pair]) -> str:
    """In brackets the groups of the ratios, the ratios of GPU time, and the paper's."""
    parts = []
    if pairs[0].group:
        parts.append(_key(pairs) + ", ".join(pair.place for pair in pairs))
    if spans := [text for pair in pairs if (text := _span_ratio(pair))]:
        parts.append(f"GPU time alone: {listed(spans)}")
    papers = [paper_ratio(pair.slower, pair.than) for pair in pairs]
    if any(paper is not None for paper in papers):
        texts = ["no figure" if paper is None else formatting.ratio(paper) for paper in papers]
        where = ", ".join(text for text in ("paper", platform(pairs[0].slower)) if text)
        parts.append(f"{where}: {listed(texts)}")
    return f" ({'; '.join(parts)})" if parts else ""


def _span_ratio(pair: Pair) -> str:
    """The ratio of device times, empty where they are not known."""
    slower, than = pair.slower.spans, pair.than.spans
    return formatting.ratio(slower.span_s / than.span_s) if slower and than else ""

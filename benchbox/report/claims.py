"""What a spec's table says in words: whether its guideline holds here, and what to bear in mind."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchbox.analysis.samples import Latency
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, SpecFacts, known_macs, uncounted
from benchbox.report import (
    comparison,
    comparison_text,
    conditions,
    formatting,
    gpu,
    load_text,
    published,
)
from benchbox.report.text import by_text, grouped, listed
from benchbox.specs.labels import label_text

MARGIN = 1.01  # a case is slower when its whole interval is beyond 1% more than the other's
FEW = 3  # imprecise cases that are explained one by one
EQUAL_FLOPS = 0.005  # FLOPs that differ by less are called equal
DENORMAL = 1.1  # a case that denormals would slow down by more is told of; a few calls are noisy
SHIFT = 0.02  # of the processor's state against that of earlier runs, which is worth a word
APART = 0.005  # a standard deviation between processes that is worth a word
FLOPS_NOTE = "FLOPs are multiply-accumulates, as the papers count them"

Decision = Literal["holds", "fails", "unclear"]
ALONE: Mapping[Decision, str] = {
    "holds": "holds here",
    "fails": "does not hold here",
    "unclear": "is unclear here",
}
AFTER: Mapping[Decision, str] = {"fails": "not at", "unclear": "and is unclear at"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The two cases of one group that a claim is about, and the ratio of their latencies."""

    slower: Record
    than: Record
    ratio: Interval

    @property
    def decision(self) -> Decision:
        """What the whole interval of the ratio says."""
        if self.ratio.low > MARGIN:
            return "holds"
        return "fails" if self.ratio.high <= MARGIN else "unclear"

    @property
    def group(self) -> str:
        """The group of the two, without the batch where that is in it."""
        labels = self.slower.group.split(",")
        return ",".join(label for label in labels if label != f"batch={self.slower.batch}")

    @property
    def place(self) -> str:
        """The group without its key: `1` of `scale=1`."""
        return self.group.partition("=")[2] or self.group


def sentence(run: Run, spec_facts: SpecFacts) -> str | None:
    """Return whether the spec's claim holds in this run, None if no pair of it was measured.

    Of several batches a line for each. Of a case under continuous load, what became of it; of a
    comparison, what came out.
    """
    records = _records(run, spec_facts)
    if compared := comparison_text.sentence(run, records):
        return compared
    batches = [
        [r for r in records if r.batch == b] for b in dict.fromkeys(r.batch for r in records)
    ]
    lines = [_claimed(spec_facts, own, several=len(batches) > 1) for own in batches]
    return "\n".join(filter(None, lines)) or load_text.sentence(records)


def _claimed(spec_facts: SpecFacts, records: Sequence[Record], *, several: bool) -> str:
    """Return whether the claim holds for records of one of `several` batches, empty if unknown."""
    claim = spec_facts.claim
    pairs = [] if claim is None else _pairs(records, claim)
    if claim is None or not pairs:
        return ""
    ratios = listed([formatting.ratio(p.ratio.value, formatting.width(p.ratio)) for p in pairs])
    what = spec_facts.guideline or f"The claim of {spec_facts.name}"
    at = f" at batch {records[0].batch}" if several else ""
    about = f"{what}{at}{load_text.at(pairs[0].slower)}"
    return (
        f"{about} {_verdict(pairs)}{_though(pairs)}: "
        f"{claim['subject']} cost {ratios} the latency of {claim['than_subject']}"
        f"{_at_flops(pairs)}{_aside(pairs)}."
    )


def is_unclear(run: Run) -> bool:
    """Return whether some ratio, of a claim or a comparison, says neither yes nor no."""
    if comparison.is_unclear(run):
        return True
    pairs = [
        pair
        for facts in run.context.specs
        if facts.claim is not None
        for pair in _pairs(_records(run, facts), facts.claim)
    ]
    return any(pair.decision == "unclear" for pair in pairs)


def failures(run: Run, spec_facts: SpecFacts) -> list[str]:
    """Return the cases that were not measured, in a line for each reason."""
    records = _records(run, spec_facts)
    ends = [
        record.status + (f": {record.reason}" if record.reason else "")
        if record.status in ("failed", "skipped")
        else ""
        for record in records
    ]
    names = [record.case for record in records]
    return [f"{which} {end}" for which, end in grouped(names, ends)]


def notes(run: Run, spec_facts: SpecFacts, on_gpu: Collection[str] = gpu.HEADERS) -> list[str]:
    """Return the footnotes of the spec's table, each once.

    `on_gpu` are the headers of the columns that the table has of a GPU's part.
    """
    records = _records(run, spec_facts)
    names = [record.case for record in records]
    costs = [record.cost for record in records if record.cost is not None]
    lines = [FLOPS_NOTE] if costs else []
    if any(cost.get("memory_access_bytes") is not None for cost in costs):
        lines.append("memory is what is accessed: every tensor read and written once, with weights")
    return [
        *lines,
        *comparison_text.notes(run, records),
        *_paper(records, spec_facts),
        *published.notes([record.paper for record in records]),
        *by_text(names, [lower_bound(uncounted(record.cost)) for record in records]),
        *by_text(names, [_not_built(record) for record in records]),
        *by_text(names, [record.note for record in records]),
        *_elsewhere(records, run.context.provider),
        *by_text(names, [_denormal(record) for record in records]),
        *by_text(names, [_shifted(record) for record in records]),
        *_apart(records),
        *load_text.notes(records),
        *gpu.notes(run.context, records, on_gpu),
        *conditions.notes(run.context, records),
        *_imprecise(records),
    ]


def platform(record: Record) -> str:
    """Return the platform whose printed figures the record carries: `ARM`, `GPU` or nothing."""
    return (record.channels or "").upper()


def paper_ratio(record: Record, over: Record) -> float | None:
    """Return the paper's latency of one case over another's; what it prints is throughput."""
    if not record.published or not over.published:
        return None
    return over.published / record.published


def lower_bound(operators: str) -> str:
    """Return the note for a graph with such uncounted operators, empty if it has none."""
    return f"FLOPs are a lower bound, not counted are {operators}" if operators else ""


def _records(run: Run, spec_facts: SpecFacts) -> list[Record]:
    return [record for record in run.records if record.spec == spec_facts.name]


def _pairs(records: Sequence[Record], claim: Mapping[str, Any]) -> list[Pair]:
    pairs = []
    if not load_text.compared(records):
        return []
    for group in dict.fromkeys(record.group for record in records):
        members = [record for record in records if record.group == group]
        slower, than = _find(members, claim["slower"]), _find(members, claim["than"])
        if slower and than and slower.latency and than.latency:
            ratio = _paired(slower, than) or _quotient(slower.latency, than.latency)
            pairs.append(Pair(slower, than, ratio))
    return pairs


def _find(records: Iterable[Record], labels: Mapping[str, Any]) -> Record | None:
    """Return the first measured record that has these labels."""
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


def _paired(slower: Record, than: Record) -> Interval | None:
    """Return the ratio from the rounds that the two share, if one of them is the reference."""
    if than.case == slower.reference and slower.relative is not None:
        return slower.relative
    if slower.case == than.reference and than.relative is not None:
        inverse = than.relative
        return Interval(1 / inverse.value, 1 / inverse.high, 1 / inverse.low)
    return None


def _quotient(slower: Latency, than: Latency) -> Interval:
    """Return the quotient of two p50s; its ends take each interval at its worst."""
    value = slower.p50_s / than.p50_s
    a, b = slower.interval, than.interval
    if a is None or b is None:
        return Interval(value, 0.0, math.inf)
    return Interval(value, a.low / b.high, a.high / b.low)


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


def _though(pairs: Sequence[Pair]) -> str:
    """Return that a decision comes from cases of which one at least is imprecise, if it does."""
    decided = [pair for pair in pairs if pair.decision != "unclear"]
    statuses = {each.status for pair in decided for each in (pair.slower, pair.than)}
    return ", though by imprecise figures" if "imprecise" in statuses else ""


def _key(pairs: Sequence[Pair]) -> str:
    """Return what the groups are called, as a prefix: `scale ` of `scale=1`."""
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


def _aside(pairs: Sequence[Pair]) -> str:
    """Return the groups that the ratios belong to, those on the GPU itself, and the paper's."""
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
    """Return the ratio of what the two take on the GPU itself, empty where that is not known."""
    slower, than = pair.slower.spans, pair.than.spans
    return formatting.ratio(slower.span_s / than.span_s) if slower and than else ""


def _paper(records: Sequence[Record], spec_facts: SpecFacts) -> list[str]:
    """Return where the paper's figures come from."""
    figures = {record.case: record.published for record in records}
    if not load_text.compared(records) or not any(
        record.published and figures.get(record.reference) for record in records
    ):
        return []
    unit = formatting.per_second(spec_facts.published_unit)
    device = f" on {spec_facts.published_device}" if spec_facts.published_device else ""
    source = f" ({spec_facts.source})" if spec_facts.source else ""
    return [f"paper: ratios of its {unit}{device}{source}"]


def _not_built(record: Record) -> str:
    """Return what the paper prints and what was built instead, unless the note says so already."""
    differing = [
        (name, f"{name} = {label_text(value)}")
        for name, value in record.printed.items()
        if f"{name} = {label_text(value)}" not in record.note
    ]
    if not differing:
        return ""
    built = listed([f"{name} = {label_text(record.args.get(name))}" for name, _ in differing])
    return f"built with {built}, the paper prints {listed([text for _, text in differing])}"


def _shifted(record: Record) -> str:
    """Return that a state, of the processor or the GPU, is another than in earlier runs, if so."""
    first = "GPU" if record.spans else "processor"
    shifts = {first: record.state_shift, "host's processor": record.host_shift}
    said = [
        f"the {what} was {abs(shift - 1):.0%} {'slower' if shift > 1 else 'faster'}"
        for what, shift in shifts.items()
        if shift is not None and abs(shift - 1) > SHIFT
    ]
    return f"taken while {listed(said)} than in earlier runs on this machine" if said else ""


def _elsewhere(records: Sequence[Record], provider: str) -> list[str]:
    """Return which cases have nodes that the provider asked for did not take."""
    lines = by_text(
        [record.case for record in records], [_left(record, provider) for record in records]
    )
    if len(lines) <= FEW:
        return lines
    some = [record for record in records if _left(record, provider)]
    most = max(some, key=lambda record: _share_left(record, provider))
    count = f"{len(some)} of {len(records)} cases have nodes that {provider} did not take"
    return [f"{count}, most of all {most.case}: {_left(most, provider)}"]


def _left(record: Record, provider: str) -> str:
    """Return how many nodes other providers ran, empty where none did."""
    nodes = record.nodes or {}
    others = [f"{count} on {name}" for name, count in nodes.items() if count and name != provider]
    total = sum(nodes.values())
    return f"of its {total} nodes {listed(others)}, not on {provider}" if others else ""


def _share_left(record: Record, provider: str) -> float:
    nodes = record.nodes or {}
    return 1 - nodes.get(provider, 0) / max(1, sum(nodes.values()))


def _denormal(record: Record) -> str:
    """Return how much slower the case would be if denormal numbers were not flushed to zero."""
    ratio = record.denormal_ratio
    if ratio is None or ratio <= DENORMAL:
        return ""
    times = formatting.ratio(ratio)
    return f"denormal numbers in it, flushed to zero here; where they are not, {times}"


def _apart(records: Sequence[Record]) -> list[str]:
    """Return where agent processes differ by more than the intervals, which know rounds only."""
    lines = [f"{r.case}: {_of_processes(r)}" for r in records if _processes_matter(r)]
    if len(lines) <= FEW:
        return lines
    worst = max(filter(_processes_matter, records), key=_between)
    count = f"{len(lines)} of {len(records)} cases differ between processes by more than their ±"
    return [f"{count}, most of all {worst.case}: {_of_processes(worst)}"]


def _between(record: Record) -> float:
    """Return the standard deviation between processes, relative, 0 where none is known."""
    return (record.latency.between_sd or 0.0) if record.latency else 0.0


def _processes_matter(record: Record) -> bool:
    return _between(record) > max(APART, _half_width(record))


def _of_processes(record: Record) -> str:
    latency = record.latency
    assert latency is not None, "it has processes"
    p50s = listed([formatting.milliseconds(p50) for p50 in latency.sessions_p50_s])
    return f"p50 was {p50s} ms in {len(latency.sessions_p50_s)} processes"


def _imprecise(records: Sequence[Record]) -> list[str]:
    """Return why cases are imprecise: each reason, or the widest case's where there are many."""
    wide = [record for record in records if record.status == "imprecise"]
    reasons = [(r.reason or "imprecise") if r.status == "imprecise" else "" for r in records]
    lines = by_text([record.case for record in records], reasons)
    if len(lines) <= FEW:
        return lines
    widest = max(wide, key=_half_width)
    count = f"{len(wide)} of {len(records)} cases are imprecise"
    return [f"{count}, the widest is {widest.case}: {widest.reason}"]


def _half_width(record: Record) -> float:
    interval = record.latency.interval if record.latency else None
    return interval.half_width if interval else math.inf

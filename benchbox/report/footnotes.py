"""Footnotes of a spec's table, and lines for the cases that failed."""

import math
from collections.abc import Collection, Mapping, Sequence

from benchbox.analysis import machine
from benchbox.analysis.latency import GOOD
from benchbox.records import Record, Run, SpecFacts, uncounted
from benchbox.records.summary import summary
from benchbox.report import (
    comparison,
    comparison_text,
    conditions,
    energy,
    formatting,
    gpu,
    load_text,
    published,
    scaling,
)
from benchbox.report.frame import over_flops
from benchbox.report.text import by_range, by_text, grouped, listed
from benchbox.specs.labels import label_text

DENORMAL = 1.1  # a case that denormals would slow down by more gets a note; a few calls are noisy
SHIFT = 0.05  # of the processor's state against that of earlier runs, which is worth a note
ADJUSTED = 0.005  # of a latency, by the usual state of the machine, which is worth a note
DISTURBED = 0.05  # of the median of all calls over p50, which is worth a note
DIGITS = len("sha256 ") + 12  # of a file's hash
APART = 0.005  # a standard deviation between processes that is worth a note
OVER_FLOPS = "over FLOPs"
FLOPS_NOTE = "FLOPs are multiply-accumulates, as the papers count them"
MEMORY_NOTE = "memory is what is accessed: every tensor read and written once, with weights"


def failures(run: Run, spec_facts: SpecFacts) -> list[str]:
    """A line per reason for the cases that were not measured."""
    records = run.of_spec(spec_facts.name)
    ends = [
        record.status + (f": {record.reason}" if record.reason else "")
        if record.status in ("failed", "skipped")
        else ""
        for record in records
    ]
    names = [record.case for record in records]
    return [f"{which} {end}" for which, end in grouped(names, ends)]


def notes(
    run: Run, spec_facts: SpecFacts, columns: Collection[str] = (OVER_FLOPS, *gpu.HEADERS)
) -> list[str]:
    """The footnotes of the spec's table, each once.

    `columns` are the headers of those columns that have notes and are not in every table.
    """
    records = run.of_spec(spec_facts.name)
    names = [record.case for record in records]
    costs = [record.cost for record in records if record.cost is not None]
    lines = [FLOPS_NOTE] if costs else []
    if any(cost.get("memory_access_bytes") is not None for cost in costs):
        lines.append(MEMORY_NOTE)
    return [
        *lines,
        *comparison_text.notes(run, records),
        *(_over_flops(run, records) if OVER_FLOPS in columns else []),
        *_paper(records, spec_facts),
        *published.notes([record.paper for record in records]),
        *by_text(names, [lower_bound(uncounted(record.cost)) for record in records]),
        *by_text(names, [_not_built(record) for record in records]),
        *by_text(names, [record.note for record in records]),
        *by_text(names, [_given(record) for record in records]),
        *by_text(names, [made_up((record.graph or {}).get("made_up") or {}) for record in records]),
        *by_text(names, ["; ".join((record.graph or {}).get("notes", ())) for record in records]),
        *_other_providers(records, run.context.provider),
        *by_range(names, [_denormal(record) for record in records]),
        *by_range(names, [_shifted(record) for record in records]),
        *_process_differences([each for each in records if each.adjustment is None]),
        *_adjusted(run, records),
        *_disturbed(records),
        *load_text.notes(records),
        *gpu.notes(run.context, records, columns),
        *energy.notes(run.context, records),
        *conditions.notes(run.context, records),
        *by_text(names, [record.reason if record.status == "ok" else "" for record in records]),
        *_bases(records),
        *_imprecise(records),
        *_earlier([record for record in run.earlier if record.spec == spec_facts.name]),
    ]


def _earlier(records: Sequence[Record]) -> list[str]:
    """The cases whose graph has changed since some of their samples were taken."""
    names = list(dict.fromkeys(record.case for record in records))
    return by_text(names, ["samples of an earlier graph are kept and not shown"] * len(names))


def lower_bound(operators: str) -> str:
    """The note for a graph with uncounted operators, empty if it has none."""
    return f"FLOPs are a lower bound, not counted are {operators}" if operators else ""


def _over_flops(run: Run, records: Sequence[Record]) -> list[str]:
    """The note on a column of tables without verdicts."""
    is_compared = comparison.margin(run.context) is None and load_text.compared(records)
    is_shown = is_compared and scaling.has_ratios(records)
    if not is_shown or not any(over_flops(run, record) for record in records):
        return []
    return [f"{OVER_FLOPS}: relative latency over relative FLOPs, 1.00x by FLOPs alone"]


def _paper(records: Sequence[Record], spec_facts: SpecFacts) -> list[str]:
    """The source of the paper's figures."""
    figures = {record.case: record.published for record in records}
    if not load_text.compared(records) or not any(
        record.published and figures.get(record.reference) and record.case != record.reference
        for record in records
    ):
        return []
    unit = formatting.per_second(spec_facts.published_unit)
    device = f" on {spec_facts.published_device}" if spec_facts.published_device else ""
    source = f" ({spec_facts.source})" if spec_facts.source else ""
    return [f"paper: ratios of its {unit}{device}{source}"]


def _given(record: Record) -> str:
    """The values of inputs that were given, a file's by the first digits of its hash."""
    short = {n: t[:DIGITS] if t.startswith("sha256 ") else t for n, t in record.values.items()}
    return listed([f"{name} is {text}" for name, text in short.items()])


def made_up(found: Mapping[str, Mapping[str, int]]) -> str:
    """The made-up integers on which the work depends, and how to give others."""
    if not found:
        return ""
    values = listed([f"{name} ({_range(how)} here)" for name, how in found.items()])
    options = " ".join(
        f"--input {name}={'FILE.npy' if 'below' in how else 'NUMBER'}"
        for name, how in found.items()
    )
    return f"latency may depend on the values of {values}; give them with {options}"


def _range(how: Mapping[str, int]) -> str:
    if "below" in how:
        return f"0 to {how['below'] - 1}"
    return str(how.get("number", "0 or 1"))


def _not_built(record: Record) -> str:
    """Arguments that differ from the paper's, unless the spec's note has them already."""
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
    """The note on a processor or GPU in another state than in earlier runs."""
    first = "GPU" if record.spans else "processor"
    shifts = {first: record.state_shift, "host's processor": record.host_shift}
    states = [
        f"the {what} was {abs(shift - 1):.0%} {'slower' if shift > 1 else 'faster'}"
        for what, shift in shifts.items()
        if shift is not None and abs(shift - 1) > SHIFT
    ]
    return f"taken while {listed(states)} than in earlier runs on this machine" if states else ""


def _other_providers(records: Sequence[Record], provider: str) -> list[str]:
    """Cases with nodes that another provider than the one asked for ran."""
    lines = by_text(
        [record.case for record in records],
        [_nodes_elsewhere(record, provider) for record in records],
    )
    if len(lines) < 2:
        return lines
    some = [record for record in records if _nodes_elsewhere(record, provider)]
    most = max(some, key=lambda record: _share_elsewhere(record, provider))
    count = f"{len(some)} of {len(records)} cases have nodes that {provider} did not take"
    return [f"{count}, most of all {most.case}: {_nodes_elsewhere(most, provider)}"]


def _nodes_elsewhere(record: Record, provider: str) -> str:
    """The number of nodes that other providers ran, empty where none did."""
    nodes = record.nodes or {}
    others = [f"{count} on {name}" for name, count in nodes.items() if count and name != provider]
    total = sum(nodes.values())
    return f"of its {total} nodes {listed(others)}, not on {provider}" if others else ""


def _share_elsewhere(record: Record, provider: str) -> float:
    nodes = record.nodes or {}
    return 1 - nodes.get(provider, 0) / max(1, sum(nodes.values()))


def _denormal(record: Record) -> str:
    """The slowdown of the case if denormal numbers were not flushed to zero."""
    ratio = record.denormal_ratio
    if ratio is None or ratio <= DENORMAL:
        return ""
    times = formatting.ratio(ratio)
    return f"denormal numbers in it, flushed to zero here; where they are not, {times}"


def _process_differences(records: Sequence[Record]) -> list[str]:
    """Cases whose processes differ by more than their intervals, which cover rounds only."""
    lines = [f"{r.case}: {_of_processes(r)}" for r in records if _processes_matter(r)]
    if len(lines) < 2:
        return lines
    worst = max(filter(_processes_matter, records), key=_between)
    count = f"{len(lines)} of {len(records)} cases differ between processes by more than their ±"
    return [f"{count}, most of all {worst.case}: {_of_processes(worst)}"]


def _between(record: Record) -> float:
    """The standard deviation between processes, relative, 0 where none is known."""
    return (record.latency.between_sd or 0.0) if record.latency else 0.0


def _processes_matter(record: Record) -> bool:
    return _between(record) > max(APART, _half_width(record))


def _of_processes(record: Record) -> str:
    latency = record.latency
    assert latency is not None, "it has processes"
    p50s = listed([formatting.milliseconds(p50) for p50 in latency.sessions_p50_s])
    return f"p50 was {p50s} ms in {len(latency.sessions_p50_s)} processes"


def _adjusted(run: Run, records: Sequence[Record]) -> list[str]:
    """By how much figures were set back to the machine's usual speed."""
    shifts = [math.expm1(-record.adjustment.shift) for record in records if record.adjustment]
    if not shifts:
        return _not_adjusted(run, records)
    ends = sorted({shift for shift in shifts if abs(shift) >= ADJUSTED}, key=abs)
    if not ends:
        return []
    return [
        f"set back to the machine's usual speed, by up to {ends[-1]:+.1%}, by slopes fitted to "
        "each case's own calls"
    ]


def _not_adjusted(run: Run, records: Sequence[Record]) -> list[str]:
    """The note on records of processors that are older than the adjustment."""
    host, timed = run.context.host, [r for r in records if not (r.arrival or r.sustained)]
    is_older = "gpu" not in host and host.get("machine") in machine.ADJUSTED
    if not is_older or not any(r.latency and r.latency.basis == "quiet" for r in timed):
        return []
    return ["not adjusted to the machine's usual speed: of the calls in one of its states alone"]


def _disturbed(records: Sequence[Record]) -> list[str]:
    """What users of a busy machine get, where that is far from p50."""
    found = [r.latency.raw_p50_s / r.latency.p50_s for r in records if r.adjustment and r.latency]
    above = [ratio - 1 for ratio in found if ratio > 1 + DISTURBED]
    if not above:
        return []
    return [f"the median of all calls, disturbed ones too, is up to {max(above):.0%} above p50"]


def _bases(records: Sequence[Record]) -> list[str]:
    """The note on figures that are not of the machine's usual state."""
    marked = [record for record in records if record.latency and record.latency.basis not in GOOD]
    of_all = [record for record in marked if record.latency and record.latency.basis == "all"]
    if of_all:
        share = formatting.percent(max(summary(record).preempted for record in of_all))
        faster = f"{max(map(_faster_when_idle, of_all)):.0%}"
        idle = f"; by the others, an idle machine is at least {faster} faster"
        return [
            "~ is of all calls, disturbed ones too: other programs interrupted up to "
            f"{share} of a case's calls, or the call before{'' if faster == '0%' else idle}"
        ]
    if marked or any(record.relative_basis not in GOOD for record in records):
        return ["~ is of calls at any speed of the machine, as too few were at its usual one"]
    return []


def _faster_when_idle(record: Record) -> float:
    """How much faster the calm calls were than the median of all; without any, the fastest."""
    assert record.latency is not None, "it has calls"
    calm_s = summary(record).calm_s
    fastest_s = record.latency.min_s if calm_s is None else calm_s
    return max(0.0, record.latency.p50_s / fastest_s - 1)


def _imprecise(records: Sequence[Record]) -> list[str]:
    """Why cases are imprecise, once for all of them: the reason of the widest."""
    wide = [record for record in records if record.status == "imprecise"]
    if len(wide) < 2:
        return [f"{record.case}: {record.reason or record.status}" for record in wide]
    widest = max(wide, key=_half_width)
    reason = f": {widest.reason}" if widest.reason else ""
    return [f"{len(wide)} of {len(records)} cases are imprecise, most {widest.case}{reason}"]


def _half_width(record: Record) -> float:
    interval = record.latency.interval if record.latency else None
    return interval.half_width if interval else math.inf

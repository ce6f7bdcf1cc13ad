"""GPU columns and footnotes: device time, copies, launch share, share of the measured ceiling.

Of these the last is of processors as well.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbox.devices import gpu_options
from benchbox.records import Context, Record, Run, known_macs
from benchbox.report import formatting, text
from benchbox.report.text import listed

BOUND = 0.5  # share of the latency that is launch: from here on a case is launch-bound
GAPS = 0.05  # share of spans with gaps in them that is worth a word
FLOATS: Mapping[str, str] = {"float16": "fp16", "float32": "fp32"}
# Column in a file -> its type for pandas.
COLUMNS: Mapping[str, str] = {
    "gpu_p50_ms": "Float64",
    "gpu_ci_low_ms": "Float64",
    "gpu_ci_high_ms": "Float64",
    "with_copies_p50_ms": "Float64",
    "launch_share": "Float64",
    "ceiling": "string",
    "ceiling_share": "Float64",
    **dict.fromkeys(gpu_options.OPTIONS, "string"),
}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The measured limit that binds a case, and the share of it that the case reached."""

    name: str
    share: float


def types(dtypes: Iterable[str]) -> list[str]:
    """Short names of the types that graphs compute in, none where all of it is float32."""
    found = list(dict.fromkeys(FLOATS.get(dtype, dtype) for dtype in dtypes))
    return [] if found == ["fp32"] else found


def cells(context: Context, record: Record) -> dict[str, str | float | None]:
    """The cells of a record in a file, by column."""
    spans, bound = record.spans, ceiling(context, record)
    interval = spans.interval if spans else None
    return {
        "gpu_p50_ms": _ms(_device_s(record)),
        "gpu_ci_low_ms": _ms(interval.low if interval else None),
        "gpu_ci_high_ms": _ms(interval.high if interval else None),
        "with_copies_p50_ms": _ms(spans.copies_s if spans else None),
        "launch_share": launch_share(record),
        "ceiling": bound.name if bound else None,
        "ceiling_share": bound.share if bound else None,
        **{name: _text(context.plan.get(name)) for name in gpu_options.OPTIONS},
    }


def printed_cells(context: Context, record: Record) -> dict[str, str]:
    """The cells of a record in a printed table, by header."""
    spans, bound = record.spans, ceiling(context, record)
    return {
        SPAN: device_time(record),
        COPIES: formatting.milliseconds(spans.copies_s if spans else None),
        SHARE: formatting.percent(launch_share(record)),
        CEILING: formatting.percent(bound.share if bound else None),
    }


SPAN, COPIES, SHARE, CEILING = "GPU (ms)", "with copies (ms)", "launch share", "of ceiling"
HEADERS = (SPAN, COPIES, SHARE, CEILING)


def device_time(record: Record) -> str:
    """The device time of a call, in ms with the half-width of its interval."""
    span_s = _device_s(record)
    if span_s is None:
        return formatting.UNKNOWN
    width = formatting.width(record.spans.interval) if record.spans else 0.0
    return formatting.estimate(span_s * formatting.MILLI, width * formatting.MILLI)


def _device_s(record: Record) -> float | None:
    """The device time of a call, in seconds."""
    return record.spans.span_s if record.spans else None


def launch_share(record: Record) -> float | None:
    """The share of a case's latency that is launching and waiting, None where it is not known."""
    return record.spans.launch_share if record.spans else None


def ceiling(context: Context, record: Record) -> Ceiling | None:
    """The ceiling that binds a case: its arithmetic's or its memory traffic's.

    None where the device's were not measured, or the case's time or cost is not known.
    """
    known, taken_s = _known(context, record)
    macs = known_macs(record.cost)
    memory = (record.cost or {}).get("memory_access_bytes")
    rounded = context.plan.get("tf32") and record.dtype == "float32"
    kind = "tf32" if rounded else FLOATS.get(record.dtype, record.dtype)
    per_s, bytes_per_s = known.get(f"{kind}_macs_per_s"), known.get("bytes_per_s")
    if not (taken_s and macs and memory and per_s and bytes_per_s):
        return None
    computing_s, moving_s = macs / per_s, memory / bytes_per_s
    name = "arithmetic" if computing_s >= moving_s else "memory"
    return Ceiling(name, max(computing_s, moving_s) / taken_s)


def _known(context: Context, record: Record) -> tuple[Mapping[str, Any], float | None]:
    """The device's ceilings, and the case's time on it; of processors the fastest copy counts."""
    if "gpu" in context.host:
        found = context.host["gpu"].get("ceilings", {})
        return found, record.spans.span_s if record.spans else None
    found = context.host.get("ceilings", {})
    if record.threads not in (None, context.threads) or record.latency is None:
        return {}, None
    copies = [rate for name, rate in found.items() if name.startswith("copy_")]
    return {**found, "bytes_per_s": max(copies, default=None)}, record.latency.p50_s


def notes(
    context: Context, records: Sequence[Record], headers: Collection[str] = HEADERS
) -> list[str]:
    """The footnotes of a run on a GPU, of columns with such headers; none for another."""
    unseen = context.host.get("gpu", {}).get("unseen")
    return [
        *_meaning(records),
        *_bound(records),
        *(_ceilings(context, records) if CEILING in headers else []),
        *_gaps(records),
        *([f"{unseen}; what slowed it down is not known"] if unseen else []),
    ]


def _meaning(records: Sequence[Record]) -> list[str]:
    if not any(record.spans for record in records):
        return []
    return [
        "p50 is what a caller waits; GPU is what the GPU itself takes, by its own clock; "
        "launch share is the rest of p50"
    ]


def in_both_modes(graph: Run, eager: Run, spec: str) -> str:
    """The sentence on the cost of launching kernel by kernel, empty if it is not known."""
    ratios = [
        (a.latency.p50_s / b.latency.p50_s, a.spans.span_s / b.spans.span_s)
        for a in eager.records
        if a.spec == spec and (b := graph.record(a.key)) and a.latency and b.latency
        if a.spans and b.spans
    ]
    if not ratios:
        return ""
    host, gpu = map(_from_to, zip(*ratios, strict=True))
    return (
        f"launched kernel by kernel a call took {host} as long as replayed from one CUDA graph, "
        f"and {gpu} the GPU time."
    )


def _from_to(ratios: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(formatting.ratio(each) for each in (min(ratios), max(ratios))))


def _bound(records: Sequence[Record]) -> list[str]:
    """Footnotes on launch-bound cases, by group where all of its cases are."""
    shares = {r.key: share for r in records if (share := launch_share(r)) is not None}
    lines: list[str] = []
    singles: list[Record] = []
    for group in dict.fromkeys(record.group for record in records):
        own = [record for record in records if record.group == group and record.key in shares]
        slow = [record for record in own if shares[record.key] >= BOUND]
        if group and slow and len(slow) == len(own):
            where = f"at {text.group(group)} launch-bound"
            lines.append(f"{where}: {_span([shares[r.key] for r in slow])}")
        else:
            singles += slow
    if singles:
        names = listed([record.case for record in singles]) if len(singles) <= 3 else "cases"
        count = "" if len(singles) <= 3 else f"{len(singles)} of {len(records)} "
        words = _span([shares[record.key] for record in singles])
        lines.append(f"{count}{names} launch-bound: {words}")
    return lines


def _span(shares: Sequence[float]) -> str:
    ends = dict.fromkeys(formatting.percent(each) for each in (min(shares), max(shares)))
    return f"{' to '.join(ends)} of the host's latency is launch"


def _ceilings(context: Context, records: Sequence[Record]) -> list[str]:
    bounds = {r.case: bound.name for r in records if (bound := ceiling(context, r))}
    if not bounds:
        return []
    is_gpu = "gpu" in context.host
    known = (context.host["gpu"] if is_gpu else context.host)["ceilings"]
    measured = str(known.get("measured", "")).partition("T")[0]
    whose, over = ("GPU", "its GPU time") if is_gpu else ("processor", "its latency")
    parts = []
    for name in dict.fromkeys(bounds.values()):
        cases = [case for case, bound in bounds.items() if bound == name]
        every = len(cases) == len(bounds)
        parts.append(f"{name} ({'all cases' if every else listed(cases)})")
    return [
        f"of ceiling: the least time that what binds a case, {' or '.join(parts)}, takes at the "
        f"{whose}'s measured best ({measured}), over {over}{''.join(_beyond(context, records))}"
    ]


def _beyond(context: Context, records: Sequence[Record]) -> Iterator[str]:
    """Footnotes on a share above 100%: cache reuse, Winograd."""
    found = [ceiling(context, record) for record in records]
    names = {bound.name for bound in found if bound and bound.share > 1}
    if "memory" in names and context.plan.get("cache") == "cold":
        yield "; beyond 100% its cache, empty when a call began, kept tensors between operators"
    elif "memory" in names:
        yield "; beyond 100% its cache gave what the memory did not have to"
    if "arithmetic" in names:
        yield "; beyond 100% of arithmetic it did with fewer multiplications than are counted"


def _gaps(records: Sequence[Record]) -> list[str]:
    slow = [r for r in records if r.spans and r.spans.unheld_share > GAPS]
    if not slow:
        return []
    worst = max(slow, key=lambda r: r.spans.unheld_share if r.spans else 0.0)
    share = formatting.percent(worst.spans.unheld_share if worst.spans else None)
    return [
        f"launching took longer than the GPU's queue could be held in {share} of {worst.case}'s "
        "calls: its GPU time may have gaps in it"
    ]


def _text(value: Any) -> str | None:  # noqa: ANN401 - whatever a plan holds
    return None if value is None else str(value).lower()


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3

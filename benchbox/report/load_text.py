"""Sentences and footnotes of `--arrival` and `--sustained` runs."""

from collections.abc import Sequence
from statistics import median

from benchbox.analysis import disturbances
from benchbox.analysis.sustained import Sustained, Window
from benchbox.records import Record
from benchbox.report import formatting
from benchbox.report.text import by_range, by_text

LATE = 0.01  # of the calls that were not over when the next was due: worth a word
CLOCK = 0.03  # a change of the clock that is more than it scatters
HALF = 0.5  # of the slowdown, on a logarithmic scale, that the sentinel must share to explain it
STEAL = 0.01  # of the time
CHANGED = 0.03  # a steady state this far from the first level without a change point


def setting(records: Sequence[Record]) -> list[str]:
    """Describe the load, with nothing for calls in a row."""
    rates = {r.arrival.per_s: None for r in records if r.arrival}
    loads = {r.sustained.asked_s: None for r in records if r.sustained}
    each = " each" if len(records) > 1 else ""
    return [
        *(f"a call every {formatting.duration(1 / rate)}" for rate in rates),
        *(f"{formatting.duration(seconds)} of continuous load{each}" for seconds in loads),
    ]


def compared(records: Sequence[Record]) -> bool:
    """Whether cases compare to a reference, which those that ran one after the other do not."""
    has_reference = any(record.case != record.reference for record in records)
    return has_reference and not any(record.sustained for record in records)


def at(record: Record) -> str:
    """` at 5/s` for a record of calls at a rate, else nothing."""
    return f" at {formatting.per(record.arrival.per_s)}" if record.arrival else ""


def briefly(record: Record) -> str:
    """The addition to a latency in a line of progress."""
    if record.arrival and record.arrival.ratio:
        return f"{at(record)}, {formatting.ratio(record.arrival.ratio.value)} back to back"
    if record.sustained and record.sustained.ratio:
        return f" steady, {formatting.ratio(record.sustained.ratio)} the first seconds"
    return at(record)


def notes(records: Sequence[Record]) -> list[str]:
    """The footnotes of such records."""
    rates = [r for r in records if r.arrival]
    lines = []
    if rates:
        lines.append(
            f"p50{at(rates[0])} is what a call takes when the processor may sleep before it; "
            "slow states of the processor are in both figures"
        )
    names = [record.case for record in records]
    lines += by_range(names, list(map(_late, records)))
    held = [r.sustained if r.sustained and r.sustained.steady else None for r in records]
    if len(held) - held.count(None) > 1:
        lines += by_text(names, [_slowdown(each) if each else "" for each in held])
        lines.append("each case but the first begins on a processor that the one before has heated")
    return lines


def sentences(records: Sequence[Record]) -> list[str]:
    """The sentence on one case under continuous load; none for several, which have footnotes."""
    held = [r.sustained for r in records if r.sustained and r.sustained.steady]
    return [f"{_slowdown(held[0])}."] if len(held) == 1 else []


def _late(record: Record) -> str:
    share = record.arrival.late_share if record.arrival else 0.0
    if share < LATE:
        return ""
    return f"{formatting.percent(share)} of the calls were not over when the next was due"


def _slowdown(sustained: Sustained) -> str:
    """When a case became slower, by how much, and why, as far as the record shows it."""
    ratio = sustained.ratio or 1.0
    times = formatting.ratio(ratio)
    if sustained.knee_s is not None:
        why = _why(sustained, ratio)
        begin = formatting.duration(sustained.knee_s)
        because = f": {why}" if why else ""
        return f"from {begin} on {times} slower{because}{_drift(sustained.drift)}"
    if abs(ratio - 1) < CHANGED:
        return f"no lasting slowdown in {formatting.duration(sustained.asked_s)}"
    if ratio < 1:
        return f"{times} the first seconds: the processor was slow then, so measure again"
    return f"{times} the first seconds, but it came and went, or too late to tell"


def _drift(drift: float) -> str:
    if not drift:
        return ""
    return ", and still getting slower" if drift > 0 else ", and getting faster again"


def _why(sustained: Sustained, ratio: float) -> str:
    """The cause of a slowdown by the counters or else the sentinel; empty if there is none."""
    knee_s = sustained.knee_s or 0.0
    before = [window for window in sustained.windows if window.at_s < knee_s]
    after = sustained.steady_windows
    parts = [
        _fallen(before, after),
        "the processor was too hot for its clock" if _any(after, "thermal_throttles") else "",
        "its firmware held its clock down" if _throttled(after) else "",
        "its container had used up its processor time" if _any(after, "throttled_us") else "",
        "the hypervisor gave its processor to others" if _stolen(after) > STEAL else "",
        _heated(before, after),
    ]
    known = [part for part in parts if part]
    return ", ".join(known) if known else _sentinel_too(before, after, ratio)


def _fallen(before: Sequence[Window], after: Sequence[Window]) -> str:
    was, now = _middle(before, "clock_khz"), _middle(after, "clock_khz")
    if not was or not now or now > (1 - CLOCK) * was:
        return ""
    return f"the clock fell from {was / 1e6:.2f} to {now / 1e6:.2f} GHz"


def _heated(before: Sequence[Window], after: Sequence[Window]) -> str:
    was, now = _middle(before[:1], "temperature_c"), _middle(after, "temperature_c")
    if was is None or now is None or now <= was:
        return ""
    return f"the temperature rose from {was:.0f} to {now:.0f} °C"


def _sentinel_too(before: Sequence[Window], after: Sequence[Window], ratio: float) -> str:
    """Whether fixed work became slower too, as a cause."""
    was = [window.probe_ns for window in before if window.probe_ns]
    now = [window.probe_ns for window in after if window.probe_ns]
    if not was or not now or median(now) / median(was) < ratio**HALF:
        return ""
    times = formatting.ratio(median(now) / median(was))
    return f"the processor itself, as the sentinel took {times} as long; its clock cannot be read"


def _middle(windows: Sequence[Window], name: str) -> float | None:
    values = [window.seen[name] for window in windows if name in window.seen]
    return median(values) if values else None


def _any(windows: Sequence[Window], name: str) -> bool:
    return any(window.seen.get(name, 0) > 0 for window in windows)


def _throttled(windows: Sequence[Window]) -> bool:
    return any(
        int(window.seen.get("throttled_bits", 0)) & disturbances.HELD_DOWN for window in windows
    )


def _stolen(windows: Sequence[Window]) -> float:
    lasted_s = sum(window.lasts_s for window in windows)
    return sum(w.seen.get("steal_s", 0.0) for w in windows) / lasted_s if lasted_s else 0.0

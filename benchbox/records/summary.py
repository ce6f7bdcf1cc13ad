"""Summary of a case's samples: what tables say of them, for runs whose samples are too many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from statistics import median

from benchbox.analysis import stats
from benchbox.analysis.disturbance_text import LASTING
from benchbox.analysis.samples import NS, Burst, figures
from benchbox.analysis.states import Gate
from benchbox.records.model import Context, Record


@dataclass(frozen=True, slots=True)
class Summary:
    """What tables say of a case's samples.

    `settings` of the device have the values to which they changed, `shares` are those of the bursts
    that count which bear a LASTING tag. `preempted` is the share of the calls that were, or the
    call before, and `calm_s` the median of the others: of figures of all calls alone.
    """

    settings: Mapping[str, Sequence[str]]
    shares: Mapping[str, float]
    percentiles_s: Mapping[float, float | None]
    preempted: float = 0.0
    calm_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarised(Record):
    """A record with a summary in place of its samples."""

    summary: Summary

    @property
    def has_samples(self) -> bool:
        """Whether anything was measured."""
        return True


def summarised(record: Record, context: Context) -> Record:
    """The record with a summary, with the percentiles of its run, in place of its samples."""
    if not record.bursts:
        return record
    known = {field.name: getattr(record, field.name) for field in fields(record)} | {"bursts": ()}
    return Summarised(**known, summary=summary(record, asked(context)))


def asked(context: Context) -> list[float]:
    """The percentiles that a run was asked for but the median, which every table has."""
    return [float(each) for each in context.plan.get("percentiles") or () if each != 50]


def summary(record: Record, percentiles: Sequence[float] = ()) -> Summary:
    """Summarise the samples of a record, with some percentiles of all calls."""
    if isinstance(record, Summarised):
        return record.summary
    bursts = record.bursts
    every = [ns * NS for b in figures(bursts) for ns in b.latencies_ns] if percentiles else []
    is_of_all = record.latency is not None and record.latency.basis == "all"
    return Summary(
        _settings(bursts),
        _shares(bursts, record.gate),
        {each: stats.percentile(every, each / 100) for each in percentiles},
        *(_disturbed(bursts) if is_of_all else ()),
    )


def _settings(bursts: Sequence[Burst]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for burst in bursts:
        for name, words in burst.setting.items():
            found.setdefault(name, {})[words] = None
    return {name: [*words] for name, words in found.items()}


def _shares(bursts: Sequence[Burst], gate: Gate) -> dict[str, float]:
    """The share of bursts that bear each tag, of those with the GPU in its usual state."""
    tags = {tag for burst in bursts for tag in burst.tags if tag in LASTING}
    kept = [b for b in bursts if any(b.steady(gate, host=False))] if tags else []
    return {tag: sum(tag in burst.tags for burst in kept) / max(1, len(kept)) for tag in tags}


def _disturbed(bursts: Sequence[Burst]) -> tuple[float, float | None]:
    calls = [(b.latencies_ns, b.undisturbed()) for b in bursts]
    kept = [each for _, calm in calls for each in calm]
    calm = [ns for latencies, calm in calls for ns in compress(latencies, calm)]
    return 1 - sum(kept) / max(1, len(kept)), median(calm) * NS if calm else None

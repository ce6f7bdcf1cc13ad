"""File columns of `--arrival` and `--sustained` runs.

The ordinary columns of such a row hold its figures at the rate, or its steady state.
"""

from collections.abc import Mapping

from benchbox.analysis.arrival import Arrival
from benchbox.analysis.sustained import Sustained
from benchbox.records import Record

ARRIVAL = (
    "arrival_per_s",
    "back_to_back_p50_ms",
    "back_to_back_ci_low_ms",
    "back_to_back_ci_high_ms",
    "back_to_back_ratio",
    "back_to_back_ratio_low",
    "back_to_back_ratio_high",
)
SUSTAINED = (
    "sustained_s",
    "first_p50_ms",
    "slower_from_s",
    "steady_from_s",
    "steady_ratio",
)
COLUMNS = (*ARRIVAL, *SUSTAINED)
Cells = Mapping[str, float | None]


def cells(record: Record) -> dict[str, float | None]:
    """The cells of a record; none for calls in a row."""
    arrival = _arrival(record.arrival) if record.arrival else {}
    return {**arrival, **(_sustained(record.sustained) if record.sustained else {})}


def _arrival(arrival: Arrival) -> Cells:
    latency, ratio = arrival.back_to_back, arrival.ratio
    return {
        # As many calls come as come, however fast each is: latency does not tell throughput.
        "images_per_s": None,
        "batches_per_s": None,
        "arrival_per_s": arrival.per_s,
        "back_to_back_p50_ms": _ms(latency.p50_s if latency else None),
        "back_to_back_ci_low_ms": _ms(latency.ci_low_s if latency else None),
        "back_to_back_ci_high_ms": _ms(latency.ci_high_s if latency else None),
        "back_to_back_ratio": ratio.value if ratio else None,
        "back_to_back_ratio_low": ratio.low if ratio else None,
        "back_to_back_ratio_high": ratio.high if ratio else None,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _sustained(sustained: Sustained) -> Cells:
    return {
        "relative_latency": None,  # cases that ran one after the other do not compare
        "sustained_s": sustained.asked_s,
        "first_p50_ms": _ms(sustained.first_s),
        "slower_from_s": sustained.knee_s,
        "steady_from_s": sustained.steady_from_s,
        "steady_ratio": sustained.ratio,
    }

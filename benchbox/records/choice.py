"""Choice from the cases of a run by a latency budget."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchbox.analysis import choice, limits
from benchbox.analysis.choice import Fit
from benchbox.analysis.latency import GOOD
from benchbox.analysis.stats import Interval
from benchbox.records.model import Record, Run

METRICS = {"top1_percent": "top-1", "map_percent": "mAP"}
P50 = 50.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The longest latency that is asked for: of a call, or of an image at a rate."""

    seconds: float
    per_image: bool = False
    percentile: float = P50

    def of(self, record: Record) -> float:
        """The longest latency of a case's call in seconds."""
        images = record.batch if self.per_image and record.has_images else 1
        return self.seconds * images


@dataclass(frozen=True, slots=True)
class Candidate:
    """A case with the latency that is held to the budget; `is_usual` where that can be known."""

    record: Record
    latency: Interval
    fit: Fit
    metric: str
    budget_s: float
    is_usual: bool = True

    @property
    def is_known(self) -> bool:
        """Whether its interval has two ends and is of what the budget is about, not around it."""
        return self.is_usual and self.latency.high < math.inf

    @property
    def accuracy(self) -> float | None:
        """The published accuracy in percent."""
        keys = (key for key, name in METRICS.items() if name == self.metric)
        return next((self.record.paper.get(key) for key in keys), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The cases of a run under a budget; `origins` has the run of earlier figures, by case key."""

    run: Run
    budget: Budget
    candidates: Sequence[Candidate]
    origins: Mapping[str, Run] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether any case fits with its whole interval."""
        return any(each.fit == "fits" for each in self.candidates)


def choose(run: Run, budget: Budget, origins: Mapping[str, Run] | None = None) -> Choice:
    """Hold the cases of a run to a budget."""
    candidates = [
        Candidate(
            *(record, found, choice.fit(found, longest), _metric(run, record), longest),
            is_usual=budget.percentile != P50 or _is_usual(record),
        )
        for record in run.records
        if (found := held(record, budget)) and (longest := budget.of(record))
    ]
    return Choice(run, budget, candidates, origins or {})


def held(record: Record, budget: Budget) -> Interval | None:
    """The latency of a case that is held to a budget, None where it is not known."""
    if record.latency is None or record.status not in ("ok", "imprecise"):
        return None
    if budget.percentile == P50:
        return choice.held(record.latency)
    return limits.percentile_of(record.bursts, budget.percentile)


def _is_usual(record: Record) -> bool:
    return record.latency is not None and record.latency.basis in GOOD


def _metric(run: Run, record: Record) -> str:
    """The kind of accuracy that is published of a case or, where of none, of its spec."""
    own = [name for key, name in METRICS.items() if key in record.paper]
    of_spec = _metrics(run.of_spec(record.spec))
    everywhere = _metrics(run.records)
    for names in (own, of_spec, everywhere):
        if len(names) == 1:
            return names[0]
    return ""


def _metrics(records: Sequence[Record]) -> list[str]:
    return [n for key, n in METRICS.items() if any(key in record.paper for record in records)]

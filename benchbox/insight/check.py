"""Checks of sentences: what an altered graph should take, what it takes, and whether that holds."""

from dataclasses import dataclass
from typing import Literal

from benchbox.analysis.stats import Interval
from benchbox.insight.alteration import Alteration
from benchbox.insight.parts import Explained, Part

Verdict = Literal["HOLDS", "WITHDRAWN", "UNCLEAR"]

LEAST = 0.02  # of the latency, below which nothing is said to be saved of the whole
WITHIN = 1 / 3  # of what was said to be saved, within which it must be
OWN = 0.5  # of what leaving work out saves, that must be the blamed part's
LEFT = 0.75  # of what the blamed part takes, over FLOPs, that may be left of it


@dataclass(frozen=True, slots=True)
class Check:
    """The predicted and the measured effect on latency of altering what is behind a part.

    `flops` are the altered graph's over the original's, `said` and `measured` latencies over the
    original's, `conversions` those of layout before and after. `reason` is why it was not measured.
    """

    part: Part
    alteration: Alteration
    flops: float = 1.0
    said: float = 1.0
    measured: Interval | None = None
    reason: str = ""
    conversions: tuple[int, int] = (0, 0)

    @property
    def base(self) -> float:
        """What saved time is taken off: the original's, or FLOPs where nothing of it was to be."""
        return 1.0 if self.said < 1 - LEAST else max(1.0, self.flops)

    @property
    def width(self) -> float:
        """How narrow an interval must be to tell what was said from a third more or less."""
        return WITHIN * abs(self.base - self.said)

    @property
    def verdict(self) -> Verdict:
        """Whether time fell for sure, and by what was said within a third.

        Where the interval is wider than what was said to be saved, or only a part of it is within a
        third, it is unclear.
        """
        if self.measured is None:
            return "UNCLEAR"
        found, said = self.measured, self.base - self.said
        least, saved, most = (self.base - each for each in (found.high, found.value, found.low))
        if most - least > abs(said):
            return "UNCLEAR"
        lower, upper = (1 - WITHIN) * said, (1 + WITHIN) * said
        if least > 0 and said > 0 and lower <= saved <= upper:
            return "HOLDS"
        return "UNCLEAR" if said > 0 and least <= upper and most >= lower else "WITHDRAWN"


def objection(check: Check, found: Explained, then: Explained) -> str:
    """Why an altered graph would prove nothing; empty where it may. `then` is what it should be."""
    saved_s = found.profile.latency_s - then.profile.latency_s
    more = max(1.0, check.flops)
    if check.said > check.base * (1 - LEAST):
        return f"that should save {max(0.0, 1 - check.said / more):.1%}, too little to be seen"
    blamed_s, left_s = found.parts[check.part], then.parts[check.part]
    if left_s / more > LEFT * blamed_s:
        over = ", over FLOPs" if more > 1 else ""
        return f"{left_s / more / blamed_s:.0%} of that part would be left{over}"
    own_s = blamed_s - left_s
    if check.alteration.leaves_out_work and own_s < OWN * saved_s:
        return f"{1 - own_s / saved_s:.0%} of what that saves would be other work"
    return ""

"""Guidelines: whether the paper's reason for one, or another, makes cases of equal FLOPs differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbox.insight.parts import Explained, Part

HALF = 0.5  # of the difference, from which on a reason holds


@dataclass(frozen=True, slots=True)
class Verdict:
    """The slowest case over the fastest of a group: what they differ by, and of what that is made.

    `paper_s` is how much the paper's reason makes of the difference, `part` what makes most of it.
    """

    slow: int
    fast: int
    difference_s: float
    paper_s: float
    part: Part
    part_s: float

    @property
    def is_paper(self) -> bool:
        """Whether the paper's reason makes half of the difference at least."""
        return self.paper_s >= HALF * self.difference_s


def judge(guideline: str, cases: Sequence[Explained]) -> Verdict | None:
    """Judge the cases of one group; None where nothing can be said of them."""
    is_disturbed = any(each.profile.is_disturbed for each in cases)
    if guideline not in REASONS or len(cases) < 2 or is_disturbed:
        return None
    order = sorted(range(len(cases)), key=lambda index: cases[index].profile.latency_s)
    slow, fast = order[-1], order[0]
    more = difference(cases[slow], cases[fast])
    difference_s = cases[slow].profile.latency_s - cases[fast].profile.latency_s
    if difference_s <= LEAST * cases[fast].profile.latency_s:
        return None
    own = {part: each for part, each in more.items() if part != "arithmetic at peak"}
    part = max(own, key=lambda part: own[part])
    paper_s = REASONS[guideline](cases[slow]) - REASONS[guideline](cases[fast])
    return Verdict(slow, fast, difference_s, paper_s, part, own[part])


LEAST = 0.05  # of the latency: what differs by less is not made of anything
REASONS = {
    "G1": lambda found: found.memory_s,  # memory access
    "G2": lambda found: found.memory_s,
    "G3": lambda found: found.launch_s,  # nodes that have to be started
    "G4": lambda found: found.parts["element-wise and pooling"],
}


def difference(found: Explained, other: Explained) -> dict[Part, float]:
    """The seconds that each part of one takes more than of the other."""
    others: Mapping[Part, float] = other.parts
    return {part: seconds - others[part] for part, seconds in found.parts.items()}

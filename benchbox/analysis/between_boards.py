"""Spread between boards of one kind, from cases that several of them timed."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from benchbox.analysis.adjusted import RUN_SD, WIDEST, Z95
from benchbox.analysis.stats import Interval

# What boards differ by before any was compared, as a standard deviation of ln, and how many boards
# that is worth: two tell little of the next one.
UNKNOWN_SD, UNKNOWN_BOARDS = 0.01, 2
APART = 0.03  # of the middle board: one that differs by more is named
ITERATIONS = 20
MEDIAN_SD = math.sqrt(math.pi / 2)  # of a median of n normal values, over that of one by sqrt(n)

Shared = Mapping[str, Mapping[str, Interval]]  # by case, the figure of each board that timed it


@dataclass(frozen=True, slots=True)
class Boards:
    """Boards set beside the middle one, or of two beside the faster, by how many cases they share.

    `effects` has how many times as long each takes, `sd` is what boards of the kind differ by, as a
    standard deviation of ln, and `odd_sd` that with those that are apart.
    """

    effects: Mapping[str, Interval]
    sd: float = UNKNOWN_SD
    odd_sd: float = UNKNOWN_SD
    cases: int = 0

    @property
    def apart(self) -> Mapping[str, Interval]:
        """The boards that differ by more than APART for sure, the slowest first."""
        found = sorted(self.effects.items(), key=lambda each: -each[1].value)
        return {name: each for name, each in found if _is_apart(each)}

    def widened(self, figure: Interval, boards: Collection[str]) -> Interval:
        """A figure of some boards as one of any board of the kind."""
        sd = self.sd if self.apart.keys().isdisjoint(boards) else self.odd_sd
        half = math.hypot(_half(figure), Z95 * sd / math.sqrt(len(boards)))
        more = math.exp(min(half, WIDEST))
        return Interval(figure.value, figure.value / more, figure.value * more)


def _is_apart(effect: Interval) -> bool:
    return abs(math.log(effect.value)) > math.log1p(APART) and not effect.low <= 1 <= effect.high


def between(found: Shared) -> Boards:
    """Compare boards by the cases that several of them timed; without any nothing is known of them.

    Cases and boards are told apart by Tukey's median polish, so that one odd board moves no other.
    """
    shared = {case: own for case, own in found.items() if len(own) > 1}
    if not shared:
        return Boards({})
    logs = {case: {b: math.log(f.value) for b, f in own.items()} for case, own in shared.items()}
    effects = _polished(logs)
    errors = {
        board: fmean(_half(own[board]) for own in shared.values() if board in own)
        for board in effects
    }
    boards = Boards({board: _effect(board, effects, errors) for board in effects})
    usual = [board for board in effects if board not in boards.apart]
    sd, odd_sd = (_sd(each, effects, errors) for each in (usual, [*effects]))
    return replace(boards, sd=sd, odd_sd=odd_sd, cases=len(shared))


def _half(figure: Interval) -> float:
    return math.log1p(figure.half_width)


def _polished(logs: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Ln of how many times as long each board takes."""
    effects = dict.fromkeys(sorted(board for own in logs.values() for board in own), 0.0)
    for _ in range(ITERATIONS):
        levels = {
            case: median(ln - effects[b] for b, ln in own.items()) for case, own in logs.items()
        }
        effects = {
            board: median(own[board] - levels[case] for case, own in logs.items() if board in own)
            for board in effects
        }
    middle = median(effects.values()) if len(effects) > 2 else min(effects.values())
    return {board: each - middle for board, each in effects.items()}


def _effect(board: str, effects: Mapping[str, float], errors: Mapping[str, float]) -> Interval:
    """A board over the middle one; what a run differs by from the next one is in its interval."""
    others = [error for name, error in errors.items() if name != board]
    share = MEDIAN_SD / math.sqrt(len(effects)) if len(effects) > 2 else 1.0
    half = math.hypot(errors[board], share * fmean(others), Z95 * RUN_SD * math.hypot(1.0, share))
    value, more = math.exp(effects[board]), math.exp(min(half, WIDEST))
    return Interval(value, value / more, value * more)


def _sd(boards: Sequence[str], effects: Mapping[str, float], errors: Mapping[str, float]) -> float:
    """What boards differ by beyond what their figures are unsure of."""
    mean, count = fmean(effects[board] for board in boards), len(boards) - 1
    error = fmean((errors[board] / Z95) ** 2 for board in boards)
    excess = max(0.0, sum((effects[board] - mean) ** 2 for board in boards) - count * error)
    return math.sqrt((UNKNOWN_BOARDS * UNKNOWN_SD**2 + excess) / (UNKNOWN_BOARDS + count))

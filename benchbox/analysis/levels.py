"""Levels of a machine's memory by its stream and refill sentinels, over what is usual there."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from statistics import fmean, median

from benchbox.analysis import stats
from benchbox.analysis.quantities import Ratio
from benchbox.analysis.samples import NS, Burst

Round = tuple[int, int]  # session and round
# Of the compute, the stream and the refill sentinel: ln of readings over the usual ones, or slopes.
PerSentinel = tuple[float, float, float]

WINDOW = 0.12  # ln of a reading over the usual one
# Rounds to each side over which a level is taken, or more for the seconds.
NEIGHBOURS, NEAR_S, MOST_NEAR = 3, 2.0, 100
STREAM_CLIP, REFILL_CLIP = 0.3, 1.5  # of the levels: beyond them the slopes were never seen
# The variance that a run's few independent levels must exceed, over that of their readings alone.
DOUBT = 3.0


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual readings of a machine's sentinels, in ns; None of one that did not run."""

    compute_ns: Ratio
    stream_ns: Ratio
    refill_ns: Ratio | None = None

    def apart(self, other: "Usual") -> PerSentinel:
        """How far another usual state is from this one, as ln of its readings over these."""
        return (
            math.log(other.compute_ns / self.compute_ns),
            math.log(other.stream_ns / self.stream_ns),
            math.log(other.refill_ns / self.refill_ns) if other.refill_ns and self.refill_ns else 0,
        )


class ReadingLevel:
    """Readings of one sentinel, whose mean over some rounds shows a state that lasts for seconds.

    A reading that stands for a while is in several bursts, and counts once.
    """

    def __init__(self) -> None:
        self._rounds: dict[Round, list[float]] = {}  # ln of readings in ns
        self._steps: list[float] = []  # from one reading to the next
        self._last_ns = 0
        self._found: dict[Round, tuple[int, tuple[float, int] | None]] = {}  # with their reach
        self._fresh: dict[int, int] = {}  # by session, the first round with readings since then

    def add(self, key: Round, readings: Sequence[int]) -> None:
        """Add the readings of a burst in a round."""
        for ns in readings:
            if ns <= 0 or ns == self._last_ns:
                continue
            if self._last_ns:
                self._steps.append(abs(math.log(ns / self._last_ns)))
            self._last_ns = ns
            self._rounds.setdefault(key, []).append(math.log(ns))
            session, number = key
            self._fresh[session] = min(number, self._fresh.get(session, number))

    def over_usual(self, reaches: Mapping[Round, int], usual_ns: float, clip: float) -> list[float]:
        """The levels around rounds, each over others within its reach, as ln over the usual one.

        They are drawn towards their mean as far as their scatter is that of readings: else slopes
        would be too low, and too sure of it, where a level stays the same.
        """
        self._find(reaches)
        levels = [self._found[key][1] for key in reaches]
        found = [each for each in levels if each]
        if not found:
            return [0.0] * len(reaches)
        mean = fmean(level for level, _ in found)
        spread = fmean((level - mean) ** 2 for level, _ in found)
        noise = self._variance() * fmean(1 / count for _, count in found)
        kept = max(0.0, 1.0 - DOUBT * noise / spread) if spread else 0.0
        over = [each[0] - mean if each else 0.0 for each in levels]
        usual = math.log(usual_ns)
        return [min(clip, max(-clip, mean + kept * each - usual)) for each in over]

    def _find(self, reaches: Mapping[Round, int]) -> None:
        """Find the levels around rounds, but for those that are known and have no new readings."""
        for (session, number), (reach, _) in list(self._found.items()):
            if number + reach >= self._fresh.get(session, math.inf):
                del self._found[session, number]
        self._fresh.clear()
        for (session, number), reach in reaches.items():
            if self._found.get((session, number), (None,))[0] != reach:
                window = range(number - reach, number + reach + 1)
                level = self._over(zip(repeat(session), window, strict=False))
                self._found[session, number] = reach, level

    def _over(self, rounds: Iterable[Round]) -> tuple[float, int] | None:
        """The mean of ln of the readings in rounds, and their number; None without any.

        The tenth at each end is left out: of readings that were preempted.
        """
        found = sorted(chain.from_iterable(map(self._rounds.get, rounds, repeat(()))))
        ends = len(found) // 10
        return (fmean(found[ends : len(found) - ends]), len(found)) if found else None

    def _variance(self) -> float:
        """That of a reading, had the level stayed the same."""
        return (stats.SD_OF_MAD * median(self._steps)) ** 2 / 2 if self._steps else 0.0

    def usual_ns(self, rounds: Iterable[Round]) -> float | None:
        """The level over rounds, or over all where they have none; None without readings."""
        found = self._over(rounds) or self._over(self._rounds)
        return math.exp(found[0]) if found else None


class MemoryLevels:
    """Levels of the stream and the refill sentinel around each round.

    Single readings scatter more than the state that they show, so those of all cases count, and of
    the neighbouring rounds of the same process.
    """

    def __init__(self, bursts: Iterable[Burst] = ()) -> None:
        self._stream, self._refill = ReadingLevel(), ReadingLevel()
        self._clocks: dict[Round, tuple[float, int]] = {}  # ln of the compute sentinel's readings
        self._lasted: dict[int, tuple[float, set[int]]] = {}  # by session: seconds, and rounds
        for burst in bursts:
            self.add(burst)

    def add(self, burst: Burst) -> None:
        """Add the readings of a burst."""
        key = burst.session, burst.round
        self._stream.add(key, burst.stream_ns)
        self._refill.add(key, burst.refill_ns)
        if burst.probe == "compute":
            total, count = self._clocks.get(key, (0.0, 0))
            found = [math.log(ns) for _, ns in burst.marks if ns > 0]
            self._clocks[key] = total + sum(found), count + len(found)
        seconds, rounds = self._lasted.get(burst.session, (0.0, set()))
        rounds.add(burst.round)
        self._lasted[burst.session] = seconds + burst.duration_ns * NS, rounds

    def around(self, rounds: Iterable[Round], usual: Usual) -> Mapping[Round, tuple[float, float]]:
        """Both levels around each of some rounds, as ln over the usual ones; 0 of one unknown."""
        reaches = {key: self._reach(key[0]) for key in rounds}
        stream, refill = (
            level.over_usual(reaches, usual_ns or 1.0, clip if usual_ns else 0.0)
            for level, usual_ns, clip in (
                (self._stream, usual.stream_ns, STREAM_CLIP),
                (self._refill, usual.refill_ns, REFILL_CLIP),
            )
        )
        return dict(zip(reaches, zip(stream, refill, strict=True), strict=True))

    def _reach(self, session: int) -> int:
        """How many rounds to each side tell the level around a round of a session."""
        seconds, rounds = self._lasted.get(session, (0.0, set()))
        reach = max(NEIGHBOURS, round(NEAR_S * len(rounds) / seconds) if seconds else 0)
        return min(reach, MOST_NEAR)

    def usual(self, compute_ns: float) -> Usual | None:
        """What was usual in the run while the compute sentinel read about that.

        None without readings of the stream.
        """
        centre = math.log(compute_ns)
        calm = [
            key
            for key, (total, count) in self._clocks.items()
            if count and abs(total / count - centre) <= WINDOW
        ]
        stream_ns = self._stream.usual_ns(calm)
        return Usual(compute_ns, stream_ns, self._refill.usual_ns(calm)) if stream_ns else None

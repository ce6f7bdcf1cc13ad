"""Steps in series with the noise of the reference runs: how many are found, how many are false."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbox import records
from benchbox.analysis import controls, set_back, steps
from benchbox.analysis.adjusted import Z95
from benchbox.analysis.steps import Level
from tools.bench.common import UNLIMITED, Row

STEP, WITHIN, NEAR = math.log(1.05), 3, 2  # ln, runs, runs beside its place
TRIALS, RUNS, SERIES = 1000, 500, 200
SD, RHO, HELD, LIMIT = 0.02, 0.5, 3, 1.03  # of correlated noise, and the gate's
NIGHTS = (30, 60, 300)
FEW = 0.2  # of series
MOVED = 20  # runs before the machine moves
PENALTY = 2  # of ruptures, times ln of the number of runs: as few false steps as here
ONLINE = 10  # series that are looked at after each run, as a nightly job does

Floats = NDArray[np.float64]
Series = tuple[Floats, Floats]
Starts = Callable[[Floats, Floats], list[int]]


def found() -> Iterator[Row]:
    """Steps of 5% found within three runs, and false ones in 500 runs without any."""
    random = np.random.default_rng(1)
    sds = np.array([*_sds()])

    def series(count: int) -> Series:
        own = random.choice(sds, count)
        return random.normal(0, own), own

    for before in (6, 10, 30, 100, 300):
        share = sum(_is_found(*series(before + WITHIN), before) for _ in range(TRIALS)) / TRIALS
        yield f"5% step after {before} runs found", f"{share:.1%}", ">= 95%", share >= 0.95
    false = sum(len(_starts(*series(RUNS))) for _ in range(SERIES)) / SERIES
    yield "false steps in 500 runs, at the end", f"{false:.2f}", "<= 1", false <= 1
    for name, made in (("AR(1) of 0.5, sd 2%", _correlated), ("states of 2% for 3 runs", _held)):
        for runs in NIGHTS:
            every = [made(random, *series(runs)) for _ in range(SERIES)]
            found = [steps.levels(*each) for each in every]
            share = sum(len(each) > 1 for each in found) / SERIES
            what = f"{runs} runs, {name}: series with a step"
            yield what, f"{share:.1%}", f"<= {FEW:.0%}", share <= FEW
            alarms = sum(map(_is_alarm, found, *zip(*every, strict=True))) / SERIES
            yield f"{runs} runs, {name}: alarms at 3%", f"{alarms:.1%}", "<= 5%", alarms <= 0.05
    yield from _moved(random)
    yield from _rival(random, series)
    false = sum(_online(*series(RUNS)) for _ in range(ONLINE)) / ONLINE
    yield "false steps in 500 runs, after each run", f"{false:.2f}", "<= 1", false <= 1


def _moved(random: np.random.Generator) -> Iterator[Row]:
    """A machine that slows down by 10% as one of six cases does by 23%: by the other cases."""
    off, false, count = list[float](), 0, MOVED + 3
    own = random.choice(np.array([*_sds()]), (SERIES, 6, count))
    runs, graphs = np.tile(np.arange(count), 6), np.repeat(np.arange(6), count)
    none = np.zeros((count, 1))
    for sds in own:
        values = random.normal(0, sds)
        values[:, MOVED:] += random.normal(0.1, 0.1 * controls.UNLIKE, (6, 1))
        values[0, MOVED:] += math.log(1.23)
        _, common = controls.common(values.ravel(), runs, graphs)
        series = [
            set_back.Series(v, sd, 0 * v, none).without(
                common.of(slice(n * count, (n + 1) * count))
            )
            for n, (v, sd) in enumerate(zip(values, sds, strict=True))
        ]
        found = [steps.levels(*each.part(0, count)) for each in series if each]
        off += [b.over(a).value / 1.23 - 1 for a, b in pairwise(found[0]) if b.start == MOVED]
        false += sum(len(each) - 1 for each in found[1:])
    most, share = float(np.quantile(np.abs(off), 0.9)), len(off) / SERIES
    text, is_good = f"{share:.0%} found, 9 of 10 within {most:.1%}", share >= 0.95 and most <= 0.05
    yield "23% in a case while the machine slows by 10%", text, "95%, 5%", is_good
    rate = false / SERIES
    yield "false steps in its 5 other cases", f"{rate:.2f}", "<= 0.2", rate <= 0.2


def _rival(random: np.random.Generator, series: Callable[[int], Series]) -> Iterator[Row]:
    """The same of ruptures by PELT and least squares, which takes all noise for white."""

    def row(what: str, figure: str) -> Row:
        return f"ruptures: {what}", figure, UNLIMITED, True

    share = sum(_is_found(*series(30 + WITHIN), 30, _by_ruptures) for _ in range(TRIALS)) / TRIALS
    yield row("5% step after 30 runs found", f"{share:.1%}")
    false = sum(len(_by_ruptures(*series(RUNS))) for _ in range(SERIES)) / SERIES
    yield row("false steps in 500 runs, at the end", f"{false:.2f}")
    every = [_correlated(random, *series(NIGHTS[-1])) for _ in range(SERIES)]
    share = sum(bool(_by_ruptures(*each)) for each in every) / SERIES
    yield row(f"{NIGHTS[-1]} runs, AR(1) of 0.5, sd 2%: series with a step", f"{share:.1%}")


def _by_ruptures(values: Floats, sds: Floats) -> list[int]:
    """The starts of levels; values are in standard deviations, which it does not take beside."""
    import ruptures  # here, as mere comparison needs it

    pelt = ruptures.KernelCPD(kernel="linear", min_size=steps.FEWEST).fit(values / sds)
    starts: list[int] = pelt.predict(pen=PENALTY * math.log(len(values)))[:-1]
    return starts


def _correlated(random: np.random.Generator, values: Floats, own: Floats) -> Series:
    noise = random.normal(0, SD, len(values))
    for now in range(1, len(noise)):
        noise[now] = RHO * noise[now - 1] + math.sqrt(1 - RHO**2) * noise[now]
    return noise, own


def _held(random: np.random.Generator, values: Floats, own: Floats) -> Series:
    states = random.choice([0.0, SD], len(values) // HELD + 1).repeat(HELD)
    return values + states[: len(values)], own


def _is_alarm(found: list[Level], values: Floats, own: Floats) -> bool:
    """Whether the gate on the last step, or on what all add up to, is over 3%."""
    overall = steps.overall(found, values, own)
    last = found[-1].over(found[-2]) if len(found) > 1 else None
    return any(ratio is not None and ratio.low > LIMIT for ratio in (overall, last))


def _sds() -> Iterator[float]:
    for path in sorted(Path("results/reference/cpu").glob("*.jsonl")):
        for record in records.read(path).records:
            if record.latency and (interval := record.latency.interval):
                yield interval.half_width / Z95


def _starts(values: NDArray[np.float64], sds: NDArray[np.float64]) -> list[int]:
    return [level.start for level in steps.levels(values, sds)[1:]]


def _is_found(values: Floats, sds: Floats, at: int, starts: Starts = _starts) -> bool:
    values[at:] += STEP
    ends = range(at + 1, at + WITHIN + 1)
    return any(abs(s - at) <= NEAR for end in ends for s in starts(values[:end], sds[:end]))


def _online(values: NDArray[np.float64], sds: NDArray[np.float64]) -> int:
    """The number of places that were ever called a step."""
    places: list[int] = []
    for end in range(2, len(values) + 1):
        for start in _starts(values[:end], sds[:end]):
            if all(abs(start - place) > WITHIN for place in places):
                places.append(start)
    return len(places)

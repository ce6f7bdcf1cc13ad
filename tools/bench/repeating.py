"""Whether figures repeat: whole runs of benchbox beside other ways to time the same graphs.

The spread of a figure is its largest over its smallest value in runs of the same thing; behind both
stands how many runs had it, as those of benchbox that said `imprecise` do not count.
"""

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchbox.records import Run
from tools.bench import rivals
from tools.bench.common import BENCHBOX, UNLIMITED, Row, counted, recorded
from tools.bench.neighbours import busy

CASES = {
    "G1 1:1": "g1:scale=1,ratio=1:1",
    "G1 1:6": "g1:scale=1,ratio=1:6",
    "G4": "g4:scale=2,relu=yes,shortcut=yes",
}
REFERENCE, OTHER, _ = CASES
SHIFT = 0.03
SENTINELS = "sentinels"  # among the figures of a run: their share of its wall time
SENTINEL_SHARE = 0.05

# p50 in ms by graph, "ratio", and SENTINELS; an imprecise figure is left out
Figures = dict[str, float]


def repeat(repetitions: int) -> Iterator[Row]:
    """Whole runs and the other methods, in turn, nothing else running."""
    with tempfile.TemporaryDirectory() as folder:
        methods = others(export(Path(folder)))
        own: list[Figures] = []
        theirs: dict[str, list[Figures]] = {name: [] for name in methods}
        for _ in counted("repeat", repetitions):
            own.append(whole_run())
            for name, method in methods.items():
                theirs[name].append(method())
    yield from spreads("benchbox run", own, 1.03, 1.02)
    yield imprecise("benchbox run", own)
    yield sentinel_share(own)
    for name, runs in theirs.items():
        yield from spreads(name, runs)


def neighbours(repetitions: int) -> Iterator[Row]:
    """A run alone, and then all methods with two busy neighbours, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        methods = others(export(Path(folder)))
        alone: list[Figures] = []
        own: list[Figures] = []
        theirs: dict[str, list[Figures]] = {name: [] for name in methods}
        for _ in counted("neighbours", repetitions):
            alone.append(whole_run())
            with busy():
                own.append(whole_run())
                for name, method in methods.items():
                    theirs[name].append(method())
    yield from spreads("benchbox run, neighbours", own, 1.05, 1.03)
    yield imprecise("benchbox run, neighbours", own)
    yield imprecise("benchbox run, alone", alone)
    yield shift(alone, own)
    for name, runs in theirs.items():
        yield from spreads(f"{name}, neighbours", runs)


def export(folder: Path) -> list[Path]:
    """Export the graphs that all methods time, in the order of CASES."""
    argv = [*BENCHBOX, "export", *CASES.values(), "--output", str(folder)]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    graphs = json.loads((folder / "manifest.json").read_text())["graphs"]
    return [folder / graph["file"] for graph in graphs]


def whole_run() -> Figures:
    """Run benchbox from start to end, and read what it recorded."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = recorded("run", *CASES.values(), results=Path(folder))
        seconds = time.perf_counter() - start
        return {**figures(run), SENTINELS: in_sentinels_s(run) / seconds}


def figures(run: Run) -> Figures:
    """Return the figures of a run that are as precise as asked."""
    found = dict(zip(CASES, run.records, strict=True))
    good = {name: record for name, record in found.items() if record.status == "ok"}
    result = {name: r.latency.p50_s * 1e3 for name, r in good.items() if r.latency}
    if {REFERENCE, OTHER} <= good.keys() and (relative := good[OTHER].relative):
        result["ratio"] = relative.value
    return result


def others(files: Sequence[Path]) -> dict[str, Callable[[], Figures]]:
    """Return the other methods by name; each times the files in a fresh process."""

    def method(name: str) -> Callable[[], Figures]:
        def measure() -> Figures:
            result = dict(zip(CASES, rivals.p50_ms(name, files), strict=True))
            return {**result, "ratio": result[OTHER] / result[REFERENCE]}

        return measure

    return {name: method(name) for name in rivals.METHODS}


def spreads(
    who: str, runs: Sequence[Figures], p50_limit: float = math.inf, ratio_limit: float = math.inf
) -> Iterator[Row]:
    """Yield how far apart the runs are: the p50 of the graph with most of it, and the ratio."""
    worst = max(CASES, key=lambda name: spread(name, runs))
    for what, name, limit in (
        (f"worst p50, {worst}", worst, p50_limit),
        (f"{OTHER} over 1:1", "ratio", ratio_limit),
    ):
        value = spread(name, runs)
        text = f"<= {limit:.2f}" if limit < math.inf else UNLIMITED
        held = limit == math.inf or value <= limit
        yield f"{who}: spread of {what}", f"{value:.3f} {extremes(name, runs)}", text, held


def spread(name: str, runs: Sequence[Figures]) -> float:
    """Return the largest over the smallest; infinity where most runs do not have the figure."""
    values = [run[name] for run in runs if name in run]
    return max(values) / min(values) if 2 * len(values) > len(runs) else math.inf


def extremes(name: str, runs: Sequence[Figures]) -> str:
    values = [run[name] for run in runs if name in run]
    return f"({min(values):.3f} .. {max(values):.3f}, {len(values)})" if values else "(none)"


def imprecise(who: str, runs: Sequence[Figures]) -> Row:
    counts = [sum(name not in run for run in runs) for name in CASES]
    what = f"{who}: imprecise {', '.join(CASES)}"
    return what, f"{', '.join(map(str, counts))} of {len(runs)}", UNLIMITED, True


def shift(alone: Sequence[Figures], beside: Sequence[Figures]) -> Row:
    """Return how far neighbours move the p50 of the graph that they move most."""
    moved = {name: middle(name, beside) / middle(name, alone) - 1 for name in CASES}
    missing = [name for name, value in moved.items() if math.isnan(value)]
    worst = max(moved, key=lambda name: 0 if name in missing else abs(moved[name]))
    held = not missing and abs(moved[worst]) <= SHIFT
    text = f"{moved[worst]:+.1%}" + "".join(f", no {name}" for name in missing)
    what = f"benchbox run: p50 with neighbours over alone, worst {worst}"
    return what, text, f"within {SHIFT:.0%}", held


def middle(name: str, runs: Sequence[Figures]) -> float:
    return median([run[name] for run in runs if name in run] or [math.nan])


def in_sentinels_s(run: Run) -> float:
    return sum(burst.probed_ns for record in run.records for burst in record.bursts) / 1e9


def sentinel_share(runs: Sequence[Figures]) -> Row:
    share = max(run[SENTINELS] for run in runs)
    what = "benchbox run: share of its wall time in sentinels, worst"
    return what, f"{share:.1%}", f"<= {SENTINEL_SHARE:.0%}", share <= SENTINEL_SHARE

"""Predictions: a calibration of this processor, and networks of which it has none, in one session.

Calibration networks and those that are predicted take turns in one shuffled order, forwards and
backwards, so that the state of the machine is the same for both. What was timed stays in
`predict-bench.jsonl` in the current folder: with that file there, nothing is timed again.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from benchbox import devices, runner, specs
from benchbox.export import Graph
from benchbox.insight.predict import calibration, model, work
from benchbox.insight.predict.calibration import Calibration, TimedNetwork
from benchbox.insight.predict.calibration_networks import network
from benchbox.insight.predict.fitting import fit_logarithm
from benchbox.insight.predict.model import Example, LatencyModel, Method
from benchbox.insight.predict.optimise import LightGraph, lighten
from benchbox.insight.predict.predictor import Predictor
from benchbox.runner.calibrate import Calibrator, TimedGraph, networks
from benchbox.specs import Case
from benchbox.transports import open_agent
from tools.bench.common import UNLIMITED, Row

FILE = Path("predict-bench.jsonl")
HELD_OUT = "held out"
FAMILIES = {
    "shufflenetv1": ("grouped",),
    "shufflenetv2": ("shuffled",),
    "ghostnet": ("ghost", "attended ghost", "branched"),
    "mobilenet": ("inverted", "fused inverted", "separable"),
    "backbones": ("partial", "pyramid", "attention"),
}
CALIBRATING_S = 360
FRESH, FIRST = range(1000, 1192), 64  # seeds of networks for the rate, and how many come before


def predict() -> Iterator[Row]:
    """Rows of the table on predictions: errors of methods, of families, of the truth itself."""
    seconds = timed() if not FILE.exists() else 0.0
    known = calibration.read(FILE)
    own = [each for each in known.networks if HELD_OUT not in each.motifs]
    truth = [each for each in known.networks if HELD_OUT in each.motifs]
    share = len(own) / len(known.networks)
    yield (
        f"calibration by {len(own)} networks, of a session with {len(truth)} others",
        f"{seconds * share:.0f} s" if seconds else "as it was timed before",
        f"<= {CALIBRATING_S} s",
        seconds * share <= CALIBRATING_S,
    )
    taught, asked = model.examples(own), model.examples(truth)
    fitted = model.fit(taught)
    found = of(fitted, asked)
    errors = off(found, asked)
    yield row(f"predicted by {fitted.method}", errors, 0.05, (0.85, 0.97))
    rank = spearman(found, [each.latency_us for each in asked])
    yield "  Spearman's rank correlation", f"{rank:.3f}", ">= 0.98", rank >= 0.98
    yield interval(fitted, asked)
    yield from families(taught, asked, truth, fitted.method)
    yield row("physics alone", off(of(model.fit(taught, "physics"), asked), asked))
    for name, amounts in {
        "FLOPs alone": lambda each: [each.network.macs / 1e6],
        "FLOPs and memory access": lambda each: [
            *(1.0, each.network.macs / 1e6, each.network.memory_bytes / 1e6)
        ],
    }.items():
        yield row(name, off(by_amounts(amounts, taught, asked), asked))
    yield row("look-up of the nearest kernels", off(looked_up(taught, asked), asked))
    yield rate(known, fitted)
    repeated = [abs(n.timings[1].latency_s / n.timings[0].latency_s - 1) for n in truth]
    yield row("repeat of the truth, a pass over the other", repeated)


def timed() -> float:
    """Time everything into the file; the seconds that it took."""
    wanted = {**networks(), **held_out()}
    names = list(wanted)
    random.Random(0).shuffle(names)
    begun = time.monotonic()

    def show(name: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{done}/{total} {name}", end="", file=sys.stderr, flush=True)

    device = devices.resolve("cpu", 1, ())
    part = FILE.with_suffix(".part")
    part.unlink(missing_ok=True)
    Calibrator(device, open_agent, part, show).calibrate({name: wanted[name] for name in names})
    part.rename(FILE)
    return time.monotonic() - begun


def held_out() -> dict[str, Callable[[], TimedGraph]]:
    """The networks by name, and the backbones of detectors alone."""
    found = specs.find_all(["models", "backbones"])
    cases = runner.unfold(found, specs.Selection())
    cases = [each for each in cases if each.spec == "models" or each.args.get("alone")]
    graphs = runner.prepare(found, cases)
    return {
        each.key: partial(_graph, each, graph)
        for each in cases
        if isinstance(graph := graphs[each.key], Graph)
    }


def _graph(case: Case, graph: Graph) -> TimedGraph:
    return TimedGraph((HELD_OUT,), case.inputs, graph.path.read_bytes())


def of(fitted: LatencyModel, asked: Sequence[Example]) -> list[float]:
    return [each.latency_s * 1e6 for each in fitted.predict([each.network for each in asked])]


def off(found: Sequence[float], asked: Sequence[Example]) -> list[float]:
    return [abs(f / each.latency_us - 1) for f, each in zip(found, asked, strict=True)]


def row(
    name: str,
    errors: Sequence[float],
    limit: float | None = None,
    within: tuple[float, float] = (0.0, 0.0),
) -> Row:
    middle = statistics.median(errors)
    close = [sum(each <= limit for each in errors) / len(errors) for limit in (0.1, 0.2)]
    shares = " ".join(f"{share:.0%}" for share in close)
    text = f"{middle:.1%}, {shares}"
    if limit is None:
        return f"  {name}: median, within 10% and 20%", text, UNLIMITED, True
    asked = f"<= {limit:.0%}" + (f", {within[0]:.0%} {within[1]:.0%}" if within[0] else "")
    is_met = middle <= limit and close[0] >= within[0] and close[1] >= within[1]
    return f"{name}: median, within 10% and 20%", text, asked, is_met


def interval(fitted: LatencyModel, asked: Sequence[Example]) -> Row:
    inside = []
    for each, found in zip(asked, fitted.predict([each.network for each in asked]), strict=True):
        if found.low_s is not None and found.high_s is not None:
            inside.append(found.low_s * 1e6 <= each.latency_us <= found.high_s * 1e6)
    covered = sum(inside) / max(1, len(inside))
    name = f"  80% interval, of {len(inside)} of {len(asked)} that have one"
    return name, f"{covered:.0%}", "75 to 92%", 0.75 <= covered <= 0.92


def families(
    taught: Sequence[Example],
    asked: Sequence[Example],
    truth: Sequence[TimedNetwork],
    method: Method,
) -> Iterator[Row]:
    """Each family predicted by networks without its motifs."""
    for family, motifs in FAMILIES.items():
        left = [each for each in taught if not {*motifs} & {*each.motifs}]
        own = [
            e
            for e, n in zip(asked, truth, strict=True)
            if n.name.removeprefix("models:").startswith(family)
        ]
        errors = off(of(model.fit(left, method), own), own)
        limit = 0.12 if family == "shufflenetv1" else 0.08
        yield row(f"  {family}, by {len(left)} without its motifs", errors, limit)


def rate(known: Calibration, fitted: LatencyModel) -> Row:
    """Graphs predicted in a second that were never seen, once the processes have begun."""
    files = [lighten(onnx.load_from_string(network(seed).model)).content for seed in FRESH]

    def graphs(own: Sequence[bytes]) -> Iterator[tuple[int, LightGraph]]:
        for at, file in enumerate(own):
            yield at, lighten(onnx.load_from_string(file))

    with Predictor(fitted, is_blocked=known.is_blocked) as predictor:
        [*predictor.several(graphs(files[:FIRST]))]
        begun = time.monotonic()
        each_s = len([*predictor.several(graphs(files[FIRST:]))]) / (time.monotonic() - begun)
    name = f"predicted in a second, of {len(files) - FIRST} networks that were not timed"
    return name, f"{each_s:.0f}", ">= 50", each_s >= 50


def by_amounts(
    amounts: Callable[[Example], list[float]],
    taught: Sequence[Example],
    asked: Sequence[Example],
) -> list[float]:
    """What a sum of amounts says that was fitted to the calibration networks."""
    times = np.array([each.latency_us for each in taught])
    design = np.array([amounts(each) for each in taught])
    found = fit_logarithm(design, times, np.ones(len(taught)))
    return [float(np.array(amounts(each)) @ found) for each in asked]


def looked_up(taught: Sequence[Example], asked: Sequence[Example]) -> list[float]:
    """The sum of what the nearest kernels took, each scaled by its work."""
    table: dict[str, list[tuple[work.Work, float]]] = {}
    for example in taught:
        for each, time_us in zip(example.network.works, example.times_us, strict=True):
            table.setdefault(each.kind, []).append((each, time_us))
    sizes = {kind: np.array([_size(w) for w, _ in own]) for kind, own in table.items()}
    found = []
    for example in asked:
        total = 0.0
        for each in example.network.works:
            if each.kind in table:
                nearest = np.abs(sizes[each.kind] - _size(each)).sum(1).argmin()
                like, time_us = table[each.kind][nearest]
                total += time_us * _amount(each) / _amount(like)
        found.append(total)
    return found


def _size(each: work.Work) -> list[float]:
    return list(np.log([each.inputs, each.outputs, each.pixels, *each.kernel, each.stride]))


def _amount(each: work.Work) -> int:
    return max(1, each.macs or each.memory_bytes)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    first, second = (np.argsort(np.argsort(each)) for each in (one, other))
    return float(np.corrcoef(first, second)[0, 1])

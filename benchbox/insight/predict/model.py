"""Model of latency: each kind of kernel by physics and what is learned of its alignment and sizes.

Physics of a kind are amounts of work that each take time: a fit with coefficients that are not
negative, of the logarithm of the times, weighted by an operator's share of its network. What
calibration networks that were left out take says which method is the best, by how much sums are
off, and how wide an interval has to be.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, Literal

import numpy as np

from benchbox.insight.predict import amounts, residuals, work
from benchbox.insight.predict.amounts import Call
from benchbox.insight.predict.calibration import TimedNetwork
from benchbox.insight.predict.fitting import fit_logarithm
from benchbox.insight.predict.residuals import Floats, Residuals
from benchbox.insight.predict.work import FALLING_BACK, NetworkWork, Work

Method = Literal["smoothing", "physics"]

FOLDS = 5
LEAST_US = 0.05
OWN_SHARE = 0.85  # at most, of the shortest operator, is the profiler's
SLACK = 0.25  # of a logarithm, beyond what was calibrated
DIFFERENT = 2  # times as much of an amount, without which nothing is known of its time
FEW = 5  # operators of a kind, below which nothing is known of it
MOST_EXTRAPOLATED = 0.2  # of the time, above which there is no interval
LEVEL = 0.8  # of networks that an interval covers
MOST_ADDED = 1.0  # of a logarithm, to what physics say


Timed = tuple[Work, Call, float, float]  # the time, its share of the network's


@dataclass(frozen=True, slots=True)
class Example:
    """A network of a calibration with the time of each operator."""

    network: NetworkWork
    times_us: Sequence[float]
    motifs: Sequence[str] = ()

    @property
    def latency_us(self) -> float:
        """The latency, to which the times add up."""
        return sum(self.times_us)


@dataclass(frozen=True, slots=True)
class KindModel:
    """What is known of a kind: coefficients, residuals, and the range of sizes."""

    coefficients: Sequence[float]
    residuals: Residuals | None
    lowest: Sequence[float]
    highest: Sequence[float]

    def times_us(self, works: Sequence[Work], calls: Sequence[Call]) -> Floats:
        """The time of each operator."""
        times = np.maximum(amounts.physics(works, calls) @ np.array(self.coefficients), LEAST_US)
        if self.residuals is None:
            return np.asarray(times)
        left = self.residuals.of(amounts.learned(works, calls))
        return np.asarray(times * np.exp(np.clip(left, -MOST_ADDED, MOST_ADDED)))

    def covers(self, works: Sequence[Work]) -> list[bool]:
        """Of each operator whether it is of a size that was calibrated."""
        sizes = _sizes(works)
        lowest, highest = np.array(self.lowest) - SLACK, np.array(self.highest) + SLACK
        found: list[bool] = np.all((sizes >= lowest) & (sizes <= highest), axis=1).tolist()
        return found


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a graph should take, with an interval where enough of it was calibrated.

    `extrapolated` is the share of the time that is of no kind and size that was calibrated,
    `unknown` names kinds of which there were none, `parts` has seconds by kind.
    """

    latency_s: float
    low_s: float | None
    high_s: float | None
    extrapolated: float
    unknown: Sequence[str]
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """The kinds, and how far networks that were left out were off, as logarithms.

    `pace` is what a call takes for each operator, million of MACs and megabyte, roughly;
    `shortest_us` was the shortest call.
    """

    kinds: Mapping[str, KindModel]
    method: Method
    scale: float
    errors: Sequence[float]
    pace: Sequence[float]
    shortest_us: float

    def predict(self, networks: Sequence[NetworkWork], shift: float = 1.0) -> list[Prediction]:
        """Predict graphs; `shift` is what the device takes now over what it was calibrated at."""
        times, is_known = self._times(networks)
        return [
            self._prediction(network, shift * self.scale * own, known)
            for network, own, known in zip(networks, times, is_known, strict=True)
        ]

    def _times(self, networks: Sequence[NetworkWork]) -> tuple[list[Floats], list[list[bool]]]:
        """The time of each operator of each graph, and whether the like was calibrated."""
        places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for index, network in enumerate(networks):
            for at, each in enumerate(network.works):
                places[each.kind].append((index, at))
        times = [np.zeros(len(network.works)) for network in networks]
        is_known = [[False] * len(network.works) for network in networks]
        calls = [_call(network, self.pace) for network in networks]
        for kind, own in places.items():
            works = [networks[index].works[at] for index, at in own]
            model, known = self.of(kind), [False] * len(own)
            if model is None:
                found = np.array([_roughly(NetworkWork([each])) for each in works]) @ self.pace
            else:
                found = model.times_us(works, [calls[index] for index, _ in own])
                known = model.covers(works)
            for (index, at), time_us, is_covered in zip(own, found, known, strict=True):
                times[index][at] = time_us
                is_known[index][at] = is_covered
        return times, is_known

    def of(self, kind: str) -> KindModel | None:
        """What is known of a kind, or of one that is like it."""
        return self.kinds.get(kind) or self.kinds.get(FALLING_BACK.get(kind, ""))

    def _prediction(
        self, network: NetworkWork, times_us: Floats, known: Sequence[bool]
    ) -> Prediction:
        total = float(times_us.sum())
        parts: defaultdict[str, float] = defaultdict(float)
        for each, time_us in zip(network.works, times_us, strict=True):
            parts[each.kind] += float(time_us) / 1e6
        beyond = sum(float(t) for t, is_known in zip(times_us, known, strict=True) if not is_known)
        share = beyond / total if total > self.shortest_us * math.exp(-SLACK) else 1.0
        wide = self.half_width(share)
        return Prediction(
            latency_s=total / 1e6,
            low_s=None if wide is None else total / 1e6 / math.exp(wide),
            high_s=None if wide is None else total / 1e6 * math.exp(wide),
            extrapolated=share,
            unknown=sorted(kind for kind in parts if self.of(kind) is None),
            parts=dict(parts),
        )

    def half_width(self, extrapolated: float) -> float | None:
        """The logarithm to both sides that covers LEVEL of networks that were left out."""
        if extrapolated > MOST_EXTRAPOLATED or not self.errors:
            return None
        ordered = sorted(map(abs, self.errors))
        at = min(len(ordered) - 1, math.ceil((len(ordered) + 1) * LEVEL) - 1)
        return ordered[at] * (1 + 2 * extrapolated)

    def to_json(self) -> dict[str, Any]:
        """The model as plain values."""
        kinds = {
            name: {
                **{each.name: getattr(kind, each.name) for each in fields(kind)},
                "residuals": kind.residuals.to_json() if kind.residuals else None,
            }
            for name, kind in self.kinds.items()
        }
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "kinds": kinds}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "LatencyModel":
        """The model that `to_json` wrote."""
        kinds = {}
        for name, each in plain.pop("kinds").items():
            learned = each.pop("residuals")
            kinds[name] = KindModel(
                residuals=Residuals.from_json(learned) if learned else None, **each
            )
        return cls(kinds=kinds, **plain)


def examples(networks: Sequence[TimedNetwork]) -> list[Example]:
    """The networks of a calibration, what the profiler adds taken off their operators.

    That is one figure for all of them, by which sums exceed latencies; sums are then scaled.
    """
    excess = [
        (sum(each.operators_us) - each.latency_s * 1e6) / len(each.operators) for each in networks
    ]
    overhead = max(0.0, median(excess))
    found = []
    for each in networks:
        raw = np.array(each.operators_us)
        own = np.maximum(raw - min(overhead, OWN_SHARE * raw.min()), LEAST_US)
        times = own * each.latency_s * 1e6 / own.sum()
        works = NetworkWork([work.of(operator) for operator in each.operators])
        found.append(Example(works, times.tolist(), each.motifs))
    return found


def fit(known: Sequence[Example], method: Method | None = None) -> LatencyModel:
    """Fit a model, by the method that is better for networks that are left out."""
    methods: list[Method] = [method] if method else ["smoothing", "physics"]
    found = {each: _left_out(known, each) for each in methods}
    best = min(methods, key=lambda each: median(map(abs, _centred(found[each]))))
    return replace(
        _fit(known, best),
        scale=math.exp(median(found[best])),
        errors=_centred(found[best]),
        shortest_us=min(each.latency_us for each in known),
    )


def _centred(errors: Sequence[float]) -> list[float]:
    middle = median(errors)
    return [each - middle for each in errors]


def _left_out(known: Sequence[Example], method: Method) -> list[float]:
    """The logarithm of what each network takes over what the others say of it."""
    errors = [0.0] * len(known)
    for fold in range(FOLDS):
        model = _fit([each for at, each in enumerate(known) if at % FOLDS != fold], method)
        own = range(fold, len(known), FOLDS)
        found = model.predict([known[at].network for at in own])
        for at, each in zip(own, found, strict=True):
            errors[at] = math.log(known[at].latency_us / (each.latency_s * 1e6))
    return errors


def _fit(known: Sequence[Example], method: Method) -> LatencyModel:
    by_kind: defaultdict[str, list[Timed]] = defaultdict(list)
    pace = _pace(known)
    for example in known:
        call, latency = _call(example.network, pace), example.latency_us
        for each, time_us in zip(example.network.works, example.times_us, strict=True):
            by_kind[each.kind].append((each, call, time_us, time_us / latency))
    kinds = {kind: _fit_kind(own, method) for kind, own in by_kind.items() if len(own) >= FEW}
    return LatencyModel(kinds, method, 1.0, (), pace, 0.0)


def _pace(known: Sequence[Example]) -> list[float]:
    rough = np.array([_roughly(each.network) for each in known])
    times = np.array([each.latency_us for each in known])
    found: list[float] = fit_logarithm(rough, times, np.ones(len(known))).tolist()
    return found


def _roughly(network: NetworkWork) -> list[float]:
    return [len(network.works), network.macs / 1e6, network.memory_bytes / 1e6]


def _call(network: NetworkWork, pace: Sequence[float]) -> Call:
    about_us = float(np.dot(_roughly(network), pace))
    sizes = network.footprint_bytes, network.memory_bytes, network.weight_bytes
    return Call(*sizes, max(about_us, LEAST_US))


def _fit_kind(own: Sequence[Timed], method: Method) -> KindModel:
    works, calls, times, shares = (list(each) for each in zip(*own, strict=True))
    seconds, weights = np.array(times), np.array(shares)
    physics = amounts.physics(works, calls)
    differs = physics.max(0) > DIFFERENT * physics.min(0)  # what does not is the constant's
    differs[0] = True
    most = np.full(len(differs), math.inf)
    if works[0].macs:
        most[-1] = amounts.MOST_COLD_US
    coefficients = fit_logarithm(physics * differs, seconds, weights, most)
    left = np.log(seconds / np.maximum(physics @ coefficients, LEAST_US))
    features = amounts.learned(works, calls)
    is_learned = method != "physics" and len(works) >= residuals.LEAST
    learned = residuals.learn(features, left, weights) if is_learned else None
    sizes = _sizes(works)
    return KindModel(coefficients.tolist(), learned, sizes.min(0).tolist(), sizes.max(0).tolist())


def _sizes(works: Sequence[Work]) -> Floats:
    """The logarithms by which is told what is like what was calibrated."""
    own = [(w.macs, w.memory_bytes, w.inputs, w.outputs, w.pixels, w.each) for w in works]
    return np.asarray(np.log(np.maximum(1, np.array(own, float))))

"""Model of latency: each kind of kernel by physics and what is learned of its alignment and sizes.

Physics of a kind are amounts of work that each take time: a fit with coefficients that are not
negative, of the logarithm of the times, weighted by an operator's share of its network. What
calibration networks that were left out take says which method is the best, by how much sums are
off, and how wide an interval has to be.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchbox.insight.predict import residuals, work
from benchbox.insight.predict.calibration import TimedNetwork
from benchbox.insight.predict.residuals import Floats, Method, Residuals
from benchbox.insight.predict.work import FALLING_BACK, NetworkWork, Work

FOLDS = 5
STEPS = 60
LEAST_US = 0.05
OWN_SHARE = 0.85  # at most, of the shortest operator, is the profiler's
SLACK = 0.25  # of a logarithm, beyond what was calibrated
FEW = 5  # operators of a kind: nothing is known of it
MOST_EXTRAPOLATED = 0.2  # of the time, above which there is no interval
LEVEL = 0.8  # of networks that an interval covers


@dataclass(frozen=True, slots=True)
class Example:
    """A network of a calibration with the seconds of each operator, in microseconds."""

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
    examples: int
    lowest: Sequence[float]
    highest: Sequence[float]

    def times_us(self, works: Sequence[Work], footprints: Sequence[int]) -> Floats:
        """The time of each operator."""
        physics = np.array([work.physics(each) for each in works])
        times = np.maximum(physics @ np.array(self.coefficients), LEAST_US)
        if self.residuals is None:
            return np.asarray(times)
        features = _features(works, footprints)
        longest = residuals.LONGEST
        return np.asarray(times * np.exp(np.clip(self.residuals.of(features), -longest, longest)))

    def covers(self, each: Work) -> bool:
        """Whether an operator is of a size that was calibrated."""
        sizes = zip(self.lowest, _sizes(each), self.highest, strict=True)
        return all(low - SLACK <= size <= high + SLACK for low, size, high in sizes)


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
    """The kinds, and how far networks that were left out were off, as logarithms."""

    kinds: Mapping[str, KindModel]
    method: Method
    scale: float
    errors: Sequence[float]
    us_per_byte: float

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
        footprints = [network.footprint_bytes for network in networks]
        for kind, own in places.items():
            model = self.of(kind)
            works = [networks[index].works[at] for index, at in own]
            if model is None:
                found = np.array([1 + each.memory_bytes * self.us_per_byte for each in works])
            else:
                found = model.times_us(works, [footprints[index] for index, _ in own])
            for (index, at), each, time_us in zip(own, works, found, strict=True):
                times[index][at] = time_us
                is_known[index][at] = model is not None and model.covers(each)
        return times, is_known

    def of(self, kind: str) -> KindModel | None:
        """What is known of a kind, or of one that is like it."""
        for each in (kind, FALLING_BACK.get(kind, "")):
            found = self.kinds.get(each)
            if found and found.examples >= FEW:
                return found
        return None

    def _prediction(
        self, network: NetworkWork, times_us: Floats, known: Sequence[bool]
    ) -> Prediction:
        total = float(times_us.sum())
        parts: defaultdict[str, float] = defaultdict(float)
        for each, time_us in zip(network.works, times_us, strict=True):
            parts[each.kind] += float(time_us) / 1e6
        beyond = sum(float(t) for t, is_known in zip(times_us, known, strict=True) if not is_known)
        share = beyond / total if total else 1.0
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
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "LatencyModel":
        """The model that `to_json` wrote."""
        kinds = {
            name: KindModel(**{**each, "residuals": residuals.from_json(each["residuals"])})
            for name, each in plain.pop("kinds").items()
        }
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
    methods: list[Method] = [method] if method else [residuals.best_method(), "physics"]
    found = {each: _left_out(known, each) for each in methods}
    best = min(methods, key=lambda each: median(map(abs, _centred(found[each]))))
    model = _fit(known, best)
    return LatencyModel(
        kinds=model.kinds,
        method=best,
        scale=math.exp(median(found[best])),
        errors=_centred(found[best]),
        us_per_byte=model.us_per_byte,
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
    by_kind: defaultdict[str, list[tuple[Work, int, float, float]]] = defaultdict(list)
    rates = []
    for example in known:
        footprint, latency = example.network.footprint_bytes, example.latency_us
        for each, time_us in zip(example.network.works, example.times_us, strict=True):
            by_kind[each.kind].append((each, footprint, time_us, time_us / latency))
            rates.append(time_us / max(1, each.memory_bytes))
    kinds = {kind: _fit_kind(own, method) for kind, own in by_kind.items()}
    return LatencyModel(kinds, method, 1.0, (), float(np.median(rates)))


def _fit_kind(own: Sequence[tuple[Work, int, float, float]], method: Method) -> KindModel:
    works, footprints, times, shares = (list(each) for each in zip(*own, strict=True))
    seconds, weights = np.array(times), np.array(shares)
    physics = np.array([work.physics(each) for each in works])
    coefficients = fit_logarithm(physics, seconds, weights)
    left = np.log(seconds / np.maximum(physics @ coefficients, LEAST_US))
    sizes = np.array([_sizes(each) for each in works])
    learned = residuals.learn(
        _features(works, footprints), np.clip(left, -1.5, 1.5), weights / weights.mean(), method
    )
    return KindModel(
        coefficients.tolist(), learned, len(works), sizes.min(0).tolist(), sizes.max(0).tolist()
    )


def _features(works: Sequence[Work], footprints: Sequence[int]) -> Floats:
    return np.array([work.learned(*each) for each in zip(works, footprints, strict=True)])


def _sizes(each: Work) -> list[float]:
    """The logarithms by which is told what is like what was calibrated."""
    amounts = (each.macs + 1, each.memory_bytes + 1, each.inputs, each.outputs, each.pixels)
    return [math.log(max(1, amount)) for amount in amounts]


def fit_logarithm(amounts: Floats, times: Floats, weights: Floats) -> Floats:
    """Coefficients that are not negative, so that the logarithms of sums are those of times.

    Levenberg's and Marquardt's steps over the logarithms of the coefficients.
    """
    largest = amounts.max(0)
    is_used = largest > 0
    scaled = amounts / np.where(is_used, largest, 1.0)
    logs, weights = np.log(times), weights / weights.mean()
    found = np.full(amounts.shape[1], math.log(float(np.median(times)) / amounts.shape[1]))
    damping = 1e-2

    def off(at: Floats) -> tuple[Floats, Floats, float]:
        sums = scaled @ np.exp(at) + 1e-6
        wrong = np.log(sums) - logs
        return sums, wrong, float((weights * wrong**2).sum())

    sums, wrong, cost = off(found)
    for _ in range(STEPS):
        slopes = scaled * np.exp(found) / sums[:, None]
        weighted = slopes * weights[:, None]
        curved = weighted.T @ slopes
        held = damping * np.diag(np.diag(curved) + 1e-3)
        step = np.linalg.solve(curved + held, -weighted.T @ wrong)
        then = np.clip(found + np.clip(step, -2, 2), -16, 20)
        new_sums, new_wrong, new_cost = off(then)
        if new_cost < cost:
            is_done = cost - new_cost < 1e-6 * cost
            found, sums, wrong, cost = then, new_sums, new_wrong, new_cost
            damping = max(damping / 3, 1e-7)
            if is_done:
                break
        else:
            damping *= 4
            if damping > 1e8:
                break
    return np.asarray(np.exp(found) * is_used / np.where(is_used, largest, 1.0))

"""Models of latency, fitted to networks whose times follow from a rule."""

import json
import random
from statistics import median
from typing import get_args

import numpy as np
import pytest

from benchbox.insight.predict import amounts, model, work
from benchbox.insight.predict.amounts import Call
from benchbox.insight.predict.calibration import NetworkTiming, TimedNetwork
from benchbox.insight.predict.fitting import fit_logarithm
from benchbox.insight.predict.model import Example, LatencyModel, Method
from benchbox.insight.predict.operators import Operator
from benchbox.insight.predict.shapes import Shape
from benchbox.insight.predict.work import NetworkWork


def conv(inputs: int, outputs: int, size: int, kernel: int = 1, groups: int = 1) -> Operator:
    each = inputs // groups
    return Operator(
        *("conv", "Conv", True, ((1, inputs, size, size), (outputs, each, kernel, kernel))),
        *(((1, outputs, size, size),), (False, True), {"group": groups}),
    )


def time_us(operator: Operator) -> float:
    own = work.of(operator)
    return 1 + own.macs / 5e4 + own.memory_bytes / 2e4


def network(seed: int) -> Example:
    draw = random.Random(seed)
    operators = [
        conv(
            draw.choice([16, 32, 48, 64]), draw.choice([16, 32, 64, 128]), draw.choice([7, 14, 28])
        )
        for _ in range(12)
    ]
    return Example(NetworkWork([work.of(o) for o in operators]), [time_us(o) for o in operators])


KNOWN = [network(seed) for seed in range(30)]


@pytest.mark.parametrize("method", ["physics", "smoothing"])
def test_networks_that_were_left_out_are_predicted(method: Method) -> None:
    fitted = model.fit(KNOWN, method)
    fresh = [network(seed) for seed in range(100, 110)]
    for found, each in zip(fitted.predict([f.network for f in fresh]), fresh, strict=True):
        assert found.latency_s * 1e6 == pytest.approx(each.latency_us, rel=0.1)
        assert found.low_s is not None and found.high_s is not None
        assert found.low_s <= found.latency_s <= found.high_s
        assert found.extrapolated == 0 and not found.unknown
        assert sum(found.parts.values()) == pytest.approx(found.latency_s)
    again = LatencyModel.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.predict([KNOWN[0].network]) == fitted.predict([KNOWN[0].network])


def test_what_was_never_calibrated_is_named_and_has_no_interval() -> None:
    fitted = model.fit(KNOWN, "physics")
    odd = Operator("x", "Oddity", False, ((1, 64, 56, 56),), ((1, 64, 56, 56),), (False,), {})
    (found,) = fitted.predict([NetworkWork([work.of(odd)])])
    assert found.unknown == ["Oddity"] and found.low_s is None and found.extrapolated == 1
    (large,) = fitted.predict([NetworkWork([work.of(conv(64, 64, 300))])])
    assert large.low_s is None and not large.unknown  # of a size beyond what was calibrated
    (short,) = fitted.predict([NetworkWork([work.of(conv(64, 64, 14))])])
    assert short.low_s is None and not short.unknown  # shorter than all that were calibrated


def split(shape: tuple[int, ...], axis: int) -> Operator:
    half = tuple(size // 2 if at == axis else size for at, size in enumerate(shape))
    return Operator("s", "Split", False, (shape,), (half, half), (False,), {"axis": axis})


def test_an_amount_that_was_always_the_same_decides_nothing() -> None:
    calibrated = [split((1, 16 * count, 28, 28), 1) for count in range(1, 30)]  # of two runs each
    works = NetworkWork([work.of(each) for each in calibrated])
    known = [Example(works, [time_us(each) for each in calibrated])] * 5
    fitted = model.fit(known, "physics")
    torn = split((1, 196, 16, 64), 3)  # of 6272 runs
    (found,) = fitted.predict([NetworkWork([work.of(torn)])])
    assert found.latency_s * 1e6 == pytest.approx(time_us(torn), rel=0.5)


def test_an_operator_takes_what_it_took_undisturbed() -> None:
    timings = [NetworkTiming(1e-4, 9, [40.0, 60.0]), NetworkTiming(2e-4, 9, [20.0, 180.0])]
    known = TimedNetwork("x", (), (), timings)
    assert known.operators_us == pytest.approx([15.0, 90.0])  # of 150 us


def test_an_interval_is_wider_the_more_is_extrapolated_and_covers_its_share() -> None:
    errors = [0.01 * at for at in range(1, 21)]
    fitted = LatencyModel({}, "physics", 1.0, errors, [1.0, 0.0, 0.0], 0.0)
    narrow, wide = fitted.half_width(0.0), fitted.half_width(0.1)
    assert narrow == pytest.approx(0.17) and wide is not None and wide > narrow
    assert fitted.half_width(0.21) is None


def test_a_shift_moves_all_of_it() -> None:
    fitted = model.fit(KNOWN, "physics")
    (found,) = fitted.predict([KNOWN[0].network])
    (moved,) = fitted.predict([KNOWN[0].network], 1.5)
    assert moved.latency_s == pytest.approx(1.5 * found.latency_s)


def test_the_method_is_chosen_that_errs_less_about_what_is_left_out() -> None:
    fitted = {method: model.fit(KNOWN, method) for method in get_args(Method)}
    errors = {method: median(map(abs, each.errors)) for method, each in fitted.items()}
    best, worst = sorted(errors, key=errors.__getitem__)
    assert errors[best] < errors[worst]
    assert model.fit(KNOWN).method == best


def test_coefficients_are_found_and_never_negative() -> None:
    amounts = np.array([[1.0, x, x * x] for x in range(1, 40)])
    found = fit_logarithm(amounts, amounts @ [2.0, 3.0, 0.0], np.ones(39))
    assert (found >= 0).all()
    assert np.allclose(amounts @ found, amounts @ [2.0, 3.0, 0.0], rtol=0.02)
    bounded = fit_logarithm(amounts, amounts @ [2.0, 3.0, 0.0], np.ones(39), np.array([9, 2.5, 9]))
    assert bounded[1] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        (conv(16, 32, 14), "blocked pointwise"),
        (conv(16, 32, 1), "blocked pixel"),
        (conv(3, 32, 112, 3), "blocked few"),
        (conv(32, 32, 14, 3), "blocked dense"),
        (conv(32, 32, 14, 3, 32), "blocked depthwise"),
        (conv(64, 64, 14, 3, 2), "blocked dense"),
        (Operator("s", "Add", False, ((1, 8), (1, 8)), ((1, 8),), (False, False), {}), "sum"),
        (Operator("u", "Odd", False, (None,), (None,), (False,), {}), "Odd of unknown shape"),
        (
            Operator(
                *("c", "Conv", False, ((1, 4, 9), (8, 4, 3))),
                *(((1, 8, 7),), (False, True), {}),
            ),
            "Conv of 1D",
        ),
    ],
)
def test_kinds_are_kernels_that_are_alike(operator: Operator, kind: str) -> None:
    assert work.of(operator).kind == kind
    assert np.isfinite(amounts.physics([work.of(operator)], [Call(1, 1, 1, 1)])).all()


@pytest.mark.parametrize(
    ("kind", "inputs", "result", "macs"),
    [
        ("Conv", ((1, 4, 9), (8, 4, 3)), (1, 8, 7), 8 * 7 * 4 * 3),
        ("ConvTranspose", ((1, 4, 5, 5), (4, 8, 3, 3)), (1, 8, 7, 7), 4 * 25 * 8 * 9),
        ("LSTM", ((6, 1, 4), (1, 12, 4), (1, 12, 3)), (6, 1, 1, 3), 6 * (12 * 4 + 12 * 3)),
    ],
)
def test_kernels_of_other_dimensions_and_recurrent_layers_multiply(
    kind: str, inputs: tuple[Shape, ...], result: Shape, macs: int
) -> None:
    fixed = tuple(at > 0 for at in range(len(inputs)))
    assert work.of(Operator("x", kind, False, inputs, (result,), fixed, {})).macs == macs

"""The units alone, and their spec, held against ShuffleNetV2's appendix, Table 1b."""

import inspect
from functools import cache

import pytest
import torch
from torch import nn

from benchbox import specs
from benchbox.networks import units
from benchbox.networks.shufflenetv1 import Unit as ShuffleNetUnit
from benchbox.networks.shufflenetv2 import Unit as ShuffleNetV2Unit
from benchbox.specs import BlockSpec, Builder, Case, Platform, Selection
from tests.helpers.parity import layers

PRINTED_C = (64, 128, 256)
# The table as it is printed: 56x56 for each c, then 28x28.
PRINTED: dict[Platform, dict[str, tuple[float, ...]]] = {
    "gpu": {
        "shufflenetv2": (216, 142, 81, 407, 313, 237),
        "shufflenetv1": (127, 73, 45, 298, 222, 60),
        "mobilenetv2": (89, 125, 69, 381, 286, 189),
        "xception": (185, 52, 68, 254, 238, 169),
    },
    "arm": {
        "shufflenetv2": (34.8, 12.3, 3.9, 174.5, 53.4, 16.6),
        "shufflenetv1": (24.3, 9.4, 3.0, 139.7, 43.9, 13.2),
        "mobilenetv2": (25.8, 10.0, 3.0, 118.3, 46.2, 13.3),
        "xception": (27.0, 9.7, 3.1, 117.0, 45.8, 14.0),
    },
}
PLACES = [(c, size) for size in (56, 28) for c in PRINTED_C]
# Multiply-accumulates per pixel of one unit of c channels; of ShuffleNet's with 4 groups.
ARITHMETIC = {
    "shufflenetv2": lambda c: 2 * (c // 2) ** 2 + 9 * c // 2,
    "shufflenetv1": lambda c: 2 * c * (c // 4) // 4 + 9 * c // 4,
    "mobilenetv2": lambda c: 2 * c * 6 * c + 9 * 6 * c,
    "xception": lambda c: 2 * c * (c // 4) + 9 * c // 4,
}
KINDS = list(ARITHMETIC)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_platform = pytest.mark.parametrize("platform", PRINTED)


@cache
def spec() -> BlockSpec:
    (found,) = specs.find("units")
    return found


@cache
def cases(platform: Platform = "arm") -> list[Case]:
    return spec().cases(Selection(channels=platform))


def place_of(case: Case) -> tuple[str, int]:
    """The kind of a case, and its place in the table's row."""
    c, _, size = str(case.labels["c"]).partition("@")
    return str(case.labels["unit"]), PLACES.index((int(c), int(size.partition("x")[0])))


def macs(case: Case) -> int:
    """Multiply-accumulates per pixel of one unit."""
    assert case.args.get("groups", 4) == 4
    return ARITHMETIC[str(case.args["kind"])](int(case.args["c"]))


@cache
def small(kind: str) -> nn.Module:
    """Three units of 48 channels, which no test may change."""
    torch.manual_seed(0)
    return units.unit(kind, c=48, repeat=3, size=14)


@each_kind
def test_a_stack_keeps_the_shape_and_has_the_multiply_accumulates_of_its_arithmetic(
    kind: str,
) -> None:
    for shape in ((1, 48, 14, 14), (2, 48, 9, 5)):
        assert small(kind)(torch.randn(shape)).shape == shape
    assert len(list(small(kind).children())) == 3
    convolutions = layers(small(kind), nn.Conv2d)
    assert all(c.stride == (1, 1) and c.bias is None for c in convolutions)
    # At stride 1 each weight meets every pixel once.
    assert sum(c.weight.numel() for c in convolutions) == 3 * ARITHMETIC[kind](48)


@each_kind
def test_a_stack_has_ten_units_of_the_paper_unless_told(kind: str) -> None:
    parameters = inspect.signature(units.KINDS[kind]).parameters
    assert (parameters["repeat"].default, parameters["size"].default) == (10, 56)


@pytest.mark.parametrize(
    "case", [c for c in cases() if c.group == "c=256@28x28"], ids=lambda case: case.name
)
def test_activations_stay_finite_and_near_unit_scale(case: Case) -> None:
    torch.manual_seed(0)
    module = units.unit(**case.args)
    y = torch.randn(case.inputs[0].shape, generator=torch.Generator().manual_seed(1))
    for unit in module.children():
        y = unit(y)
        assert y.isfinite().all()
        assert 0.05 <= float(y.std()) <= 20
    assert len(list(module.children())) == 10
    assert not any(layer.training for layer in module.modules())


def groups(unit: nn.Module) -> object:
    return isinstance(unit, ShuffleNetUnit) and unit.groups


def test_units_are_those_of_the_networks() -> None:
    assert {type(unit) for unit in small("shufflenetv2").children()} == {ShuffleNetV2Unit}
    assert {groups(unit) for unit in small("shufflenetv1").children()} == {4}
    assert {groups(unit) for unit in small("xception").children()} == {1}
    assert all(unit.has_shortcut for unit in small("mobilenetv2").children())
    assert len(layers(small("mobilenetv2"), nn.ReLU6)) == 2 * 3


def test_weights_follow_from_the_seed_and_statistics_from_the_size() -> None:
    def built(size: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return units.shufflenetv2_unit(48, repeat=3, size=size).state_dict()

    same, other = built(14), built(7)
    for key, value in small("shufflenetv2").state_dict().items():
        assert torch.equal(same[key], value), key
        differs = key.endswith(("running_mean", "running_var"))
        assert torch.equal(other[key], value) != differs, key


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("shufflenetv2", {"c": 7}, "7 channels have no halves"),
        ("shufflenetv1", {"c": 24}, "4 groups need a multiple of 16"),
        ("shufflenetv1", {"c": 48, "groups": 8}, "8 groups need a multiple of 32"),
        ("xception", {"c": 6}, "1 groups need a multiple of 4"),
        ("resnet", {"c": 64}, "kind is 'resnet'; there are shufflenetv2, shufflenetv1,"),
        *((kind, {"c": 48, "width": 2}, "width") for kind in KINDS),
    ],
)
def test_what_cannot_be_built_is_refused(
    kind: str, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        units.unit(kind, **arguments)


@each_platform
def test_every_figure_of_the_table_is_there_and_every_case_has_one(platform: Platform) -> None:
    expected = {
        f"unit={kind},c={c}@{size}x{size}": figure
        for kind, printed in PRINTED[platform].items()
        for (c, size), figure in zip(PLACES, printed, strict=True)
    }
    assert {case.name: case.published for case in cases(platform)} == expected
    figures = spec().figures(platform)
    assert figures is not None
    assert (len(figures.figures), figures.unit) == (24, "images_per_s")


def test_the_four_units_stand_beside_each_other_shufflenetv2s_first() -> None:
    groups: dict[str, list[object]] = {}
    for case in cases():
        groups.setdefault(case.group, []).append(case.labels["unit"])
        assert case.reference == f"unit=shufflenetv2,{case.group}"
    assert groups == {f"c={c}@{size}x{size}": KINDS for c, size in PLACES}


def test_a_case_is_built_as_it_is_labelled() -> None:
    for case in cases():
        assert isinstance(case.source, Builder)
        assert case.source.reference == "benchbox.networks.units:unit"
        size = case.args["size"]
        assert str(case.inputs[0]) == f"x=1x{case.args['c']}x{size}x{size}"
        assert str(case.labels["c"]).endswith(f"@{size}x{size}")
        assert (case.args["kind"], case.args["repeat"]) == (case.labels["unit"], 10)


def test_the_match_holds_and_is_no_wider_than_the_widths_need() -> None:
    match = spec().match
    assert match is not None
    first = {case.group: macs(case) for case in cases() if case.is_reference}
    apart = [abs(macs(case) / first[case.group] - 1) for case in cases()]
    assert match.within - 0.005 <= max(apart) <= match.within
    assert all(macs(c) == first[c.group] for c in cases() if c.args["kind"] == "shufflenetv1")


@pytest.mark.parametrize(("kind", "step"), [("shufflenetv1", 16), ("mobilenetv2", 4)])
def test_no_other_width_of_the_same_step_is_nearer_to_equal(kind: str, step: int) -> None:
    for case in cases():
        if case.args["kind"] == kind:
            aim = ARITHMETIC["shufflenetv2"](PLACES[place_of(case)[1]][0])
            c = int(case.args["c"])
            costs = [abs(ARITHMETIC[kind](width) - aim) for width in (c, c - step, c + step)]
            assert min(costs) == costs[0], case.name


def test_at_equal_widths_the_printed_speeds_would_be_out_of_reach() -> None:
    """The reason for equal FLOPs: the processor does 3.5 to 5.6 GMAC/s in Tables 1-3."""

    def speed(macs: int, kind: str, place: int) -> float:
        return 10 * macs * PLACES[place][1] ** 2 * PRINTED["arm"][kind][place] / 1e9

    def speeds(kind: str) -> list[float]:
        return [speed(ARITHMETIC[kind](c), kind, at) for at, (c, _) in enumerate(PLACES)]

    assert min(speeds("mobilenetv2")) > 40
    assert max(speeds("shufflenetv1")) < 1
    assert all(1.75 < speed(macs(case), *place_of(case)) < 4.45 for case in cases())


@each_platform
def test_the_papers_own_figures_bear_its_claim_out(platform: Platform) -> None:
    claim = spec().claim
    assert claim is not None
    assert (claim.slower, claim.than) == ({"unit": "shufflenetv1"}, {"unit": "shufflenetv2"})
    slower, than = (PRINTED[platform][kind] for kind in ("shufflenetv1", "shufflenetv2"))
    assert all(a < b for a, b in zip(slower, than, strict=True))


def test_figures_that_look_mis_ordered_are_told_of() -> None:
    """A unit that is slower than the one of twice its channels, which does more."""
    for case in cases("gpu"):
        kind, place = place_of(case)
        here, *wider = PRINTED["gpu"][kind][place : place // 3 * 3 + 3][:2]
        if wider and here < wider[0]:
            assert f"({here})" in case.note
            assert f"({wider[0]})" in case.note
        else:
            assert not case.note
    assert not any(case.note for case in cases("arm"))

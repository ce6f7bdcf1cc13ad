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
from benchbox.specs import Builder, Case, Platform, Selection

KINDS = ("shufflenetv2", "shufflenetv1", "mobilenetv2", "xception")
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


def cases(platform: Platform = "arm") -> list[Case]:
    (spec,) = specs.find("units")
    return spec.cases(Selection(channels=platform))


def split(case: Case) -> tuple[str, dict[str, int]]:
    """What a case gives the builder: the kind, and the rest."""
    return str(case.args["kind"]), {k: int(v) for k, v in case.args.items() if k != "kind"}


@cache
def small(kind: str) -> nn.Module:
    """Three units of 48 channels, which no test may change."""
    torch.manual_seed(0)
    return units.unit(kind, c=48, repeat=3, size=14)


def macs_per_pixel(module: nn.Module) -> int:
    """At stride 1 each weight of a convolution meets every pixel once."""
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert all(c.stride == (1, 1) and c.bias is None for c in convolutions)
    return sum(c.weight.numel() for c in convolutions)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 48, 14, 14), (2, 48, 9, 5)])
def test_a_stack_keeps_the_shape(kind: str, shape: tuple[int, ...]) -> None:
    assert small(kind)(torch.randn(shape)).shape == shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_has_the_multiply_accumulates_of_its_arithmetic(kind: str) -> None:
    assert macs_per_pixel(small(kind)) == 3 * ARITHMETIC[kind](48)
    assert len(list(small(kind).children())) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_has_ten_units_of_the_paper_unless_told(kind: str) -> None:
    parameters = inspect.signature(units.KINDS[kind]).parameters
    assert (parameters["repeat"].default, parameters["size"].default) == (10, 56)


@torch.no_grad()
@pytest.mark.parametrize(
    "case", [c for c in cases() if c.group == "c=256@28x28"], ids=lambda case: case.name
)
def test_activations_stay_finite_and_near_unit_scale(case: Case) -> None:
    torch.manual_seed(0)
    kind, arguments = split(case)
    module = units.unit(kind, **arguments)
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
    six = [m for m in small("mobilenetv2").modules() if isinstance(m, nn.ReLU6)]
    assert len(six) == 2 * 3


def test_weights_follow_from_the_seed_and_statistics_from_the_size() -> None:
    def built(size: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return units.shufflenetv2_unit(48, repeat=3, size=size).state_dict()

    for key, value in small("shufflenetv2").state_dict().items():
        assert torch.equal(built(14)[key], value), key
        differs = key.endswith(("running_mean", "running_var"))
        assert torch.equal(built(7)[key], value) != differs, key


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("shufflenetv2", {"c": 7}, "7 channels have no halves"),
        ("shufflenetv1", {"c": 24}, "4 groups need a multiple of 16"),
        ("shufflenetv1", {"c": 48, "groups": 8}, "8 groups need a multiple of 32"),
        ("xception", {"c": 6}, "1 groups need a multiple of 4"),
        ("resnet", {"c": 64}, "kind is 'resnet'; there are shufflenetv2, shufflenetv1,"),
    ],
)
def test_what_cannot_be_built_is_refused(
    kind: str, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        units.unit(kind, **arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_that_a_unit_has_not_is_refused(kind: str) -> None:
    with pytest.raises(TypeError, match="width"):
        units.unit(kind, c=48, width=2)


@pytest.mark.parametrize("platform", PRINTED)
def test_every_figure_of_the_table_is_there_and_every_case_has_one(platform: Platform) -> None:
    expected = {
        f"unit={kind},c={c}@{size}x{size}": figure
        for kind, figures in PRINTED[platform].items()
        for (c, size), figure in zip(PLACES, figures, strict=True)
    }
    assert {case.name: case.published for case in cases(platform)} == expected
    (spec,) = specs.find("units")
    figures = spec.figures(platform)
    assert figures is not None
    assert (len(figures.figures), figures.unit) == (24, "images_per_s")


def test_the_four_units_stand_beside_each_other_shufflenetv2s_first() -> None:
    groups: dict[str, list[object]] = {}
    for case in cases():
        groups.setdefault(case.group, []).append(case.labels["unit"])
        assert case.reference == f"unit=shufflenetv2,{case.group}"
    assert groups == {f"c={c}@{size}x{size}": list(KINDS) for c, size in PLACES}


def test_a_case_is_built_as_it_is_labelled() -> None:
    for case in cases():
        assert isinstance(case.source, Builder)
        assert case.source.reference == "benchbox.networks.units:unit"
        size = case.args["size"]
        assert str(case.inputs[0]) == f"x=1x{case.args['c']}x{size}x{size}"
        assert str(case.labels["c"]).endswith(f"@{size}x{size}")
        kind, arguments = split(case)
        assert kind == case.labels["unit"]
        assert arguments["repeat"] == 10
        inspect.signature(units.KINDS[kind]).bind(**arguments)


def cost(case: Case) -> int:
    """Multiply-accumulates per pixel of one unit."""
    assert case.args.get("groups", 4) == 4
    per_pixel: int = ARITHMETIC[str(case.args["kind"])](int(case.args["c"]))
    return per_pixel


def test_the_match_holds_and_is_no_wider_than_the_widths_need() -> None:
    (spec,) = specs.find("units")
    assert spec.match is not None
    first = {case.group: cost(case) for case in cases() if case.is_reference}
    apart = [abs(cost(case) / first[case.group] - 1) for case in cases()]
    assert spec.match.within - 0.005 <= max(apart) <= spec.match.within
    assert all(cost(c) == first[c.group] for c in cases() if c.args["kind"] == "shufflenetv1")


@pytest.mark.parametrize(("kind", "step"), [("shufflenetv1", 16), ("mobilenetv2", 4)])
def test_no_other_width_of_the_same_step_is_nearer_to_equal(kind: str, step: int) -> None:
    for case in cases():
        if case.args["kind"] == kind:
            aim = ARITHMETIC["shufflenetv2"](int(str(case.labels["c"]).partition("@")[0]))
            c = int(case.args["c"])
            costs = [abs(ARITHMETIC[kind](width) - aim) for width in (c, c - step, c + step)]
            assert min(costs) == costs[0], case.name


def test_at_equal_widths_the_printed_speeds_would_be_out_of_reach() -> None:
    """The reason for equal FLOPs: the processor does 3.5 to 5.6 GMAC/s in Tables 1-3."""

    def speeds(kind: str, widths: tuple[int, ...]) -> list[float]:
        at = zip(PLACES, PRINTED["arm"][kind], strict=True)
        costs = dict(zip(PRINTED_C, map(ARITHMETIC[kind], widths), strict=True))
        return [10 * costs[c] * size**2 * figure / 1e9 for (c, size), figure in at]

    assert min(speeds("mobilenetv2", PRINTED_C)) > 40
    assert max(speeds("shufflenetv1", PRINTED_C)) < 1
    chosen = {
        kind: tuple(int(c.args["c"]) for c in cases() if c.args["kind"] == kind)[:3]
        for kind in KINDS
    }
    every = [speed for kind, widths in chosen.items() for speed in speeds(kind, widths)]
    assert min(every) > 1.75
    assert max(every) < 4.45


@pytest.mark.parametrize("platform", PRINTED)
def test_the_papers_own_figures_bear_its_claim_out(platform: Platform) -> None:
    (spec,) = specs.find("units")
    assert spec.claim is not None
    assert (spec.claim.slower, spec.claim.than) == (
        {"unit": "shufflenetv1"},
        {"unit": "shufflenetv2"},
    )
    slower, than = (PRINTED[platform][kind] for kind in ("shufflenetv1", "shufflenetv2"))
    assert all(a < b for a, b in zip(slower, than, strict=True))


def test_figures_that_look_mis_ordered_are_told_of() -> None:
    noted = {case.name: case.note for case in cases("gpu") if case.note}
    for name, note in noted.items():
        kind, at = name.removeprefix("unit=").split(",c=")
        index = PRINTED_C.index(int(at.partition("@")[0]))
        here, wider = PRINTED["gpu"][kind][index : index + 2]
        assert here < wider
        assert f"({here})" in note
        assert f"({wider})" in note
    rising = [
        f"unit={kind},c={PRINTED_C[index % 3]}@{'56x56' if index < 3 else '28x28'}"
        for kind, figures in PRINTED["gpu"].items()
        for index in (0, 1, 3, 4)
        if figures[index] < figures[index + 1]
    ]
    assert sorted(noted) == sorted(rising)
    assert not any(case.note for case in cases("arm"))

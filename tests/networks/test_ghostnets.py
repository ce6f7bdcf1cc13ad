"""Options of the GhostNets and V3's folding; test_parity.py holds them against references."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchbox import networks, specs
from benchbox.networks.dfc import DFC
from benchbox.networks.ghostnet import GhostNet, ghostnet
from benchbox.networks.ghostnetv2 import gated_layers, ghostnetv2
from benchbox.networks.ghostnetv3 import Branched, BranchedGhostModule, ghostnetv3, ghostnetv3_train
from tests.helpers import parity
from tests.helpers.parity import FACTS, created, drawn, filled_network, on_meta

OF_V3 = [name for name in FACTS if name.startswith("ghostnetv3") and not name.endswith("_train")]
TRAINED, DEPLOYED = "ghostnetv3_x1_0_train", "ghostnetv3_x1_0"
Build = Callable[..., nn.Module]
each_width_of_v3 = pytest.mark.parametrize("name", OF_V3)


def millions(**args: Any) -> tuple[float, float]:
    """Params and multiply-accumulates of a GhostNetV2 at 224x224, as printed."""
    module = on_meta(ghostnetv2, **args)
    with FlopCounterMode(display=False) as counted:
        module(torch.empty(1, 3, 224, 224, device="meta"))
    macs = int(counted.get_total_flops()) // 2
    return round(parity.params(module) / 1e6, 3), round(macs / 1e6, 2)


# Widths


@pytest.mark.parametrize("build", [ghostnet, ghostnetv2, ghostnetv3])
@pytest.mark.parametrize("width", [0.1, 0.75])
def test_any_width_is_taken(build: Build, width: float) -> None:
    assert on_meta(build, width)(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize("build", [ghostnet, ghostnetv2, ghostnetv3, ghostnetv3_train])
@pytest.mark.parametrize("width", [0, -1, float("nan")])
def test_a_width_that_is_not_positive_is_refused(build: Build, width: float) -> None:
    with pytest.raises(ValueError, match=f"width is {width}; it must be positive"):
        build(width)


def test_channels_at_a_width_are_multiples_of_4_and_those_of_the_head_stay() -> None:
    modules = on_meta(ghostnet, 1.3).named_modules()
    channels = {k: m.out_channels for k, m in modules if isinstance(m, nn.Conv2d)}
    halves = [c for key, c in channels.items() if "primary_conv" in key]
    assert all(half % 2 == 0 for half in halves)
    # Expanded and output channels of the layers, halved.
    assert halves[:8] == [10, 10, 32, 16, 46, 16, 46, 26]
    squeezed = [c for key, c in channels.items() if key.endswith("conv_reduce")]
    assert squeezed == [24, 40, 156, 220, 220, 312, 312]
    assert channels["conv_head"] == 1280


# GhostNetV2's options


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"layers": "none"}, (5.183, 141.15)),
        ({}, (6.157, 167.05)),
        ({"layers": "2-4"}, (5.195, 146.16)),
        ({"layers": "3-4"}, (5.192, 144.25)),
        ({"layers": "5-10"}, (5.383, 152.14)),
        ({"layers": "11-15"}, (5.944, 151.04)),
        ({"layers": "0-15"}, (6.159, 172.27)),
        ({"placed": "ghost2"}, (6.131, 160.68)),
        ({"placed": "both"}, (7.105, 186.58)),
    ],
)
def test_a_place_of_dfc_costs_what_it_costs_the_reference(
    args: dict[str, Any], expected: tuple[float, float]
) -> None:
    assert millions(**args) == expected


def test_without_dfc_it_is_ghostnet() -> None:
    torch.manual_seed(networks.SEED)
    state = ghostnetv2(layers="none").state_dict()
    assert parity.equal(state, created("ghostnet_x1_0").state_dict())


def test_self_attention_costs_what_dfc_does_within_1_percent() -> None:
    _, attention = millions(attention="self")
    assert attention * 1e6 == pytest.approx(FACTS["ghostnetv2_x1_0"]["macs"], rel=0.01)
    assert attention * 1e6 == pytest.approx(1.2 * FACTS["ghostnet_x1_0"]["macs"], rel=0.02)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"layers": "none", "placed": "both"}, []),
        ({"layers": "3"}, ["3.ghost1"]),
        ({"layers": "3-4", "placed": "ghost2"}, ["3.ghost2", "4.ghost2"]),
        ({"layers": "15", "placed": "both"}, ["15.ghost1", "15.ghost2"]),
        ({}, [f"{index}.ghost1" for index in range(2, 16)]),
    ],
)
def test_the_layers_and_places_that_are_named_are_gated(
    args: dict[str, Any], expected: list[str]
) -> None:
    module = on_meta(ghostnetv2, **args)
    assert isinstance(module, GhostNet)
    bottlenecks = [block for stage in list(module.blocks)[:-1] for block in stage]
    assert expected == [
        f"{index}.{place}"
        for index, bottleneck in enumerate(bottlenecks)
        for place in ("ghost1", "ghost2")
        if hasattr(bottleneck.get_submodule(place), "short_conv")
    ]


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_the_kernel_is_that_of_every_dfc(kernel: int) -> None:
    gates = parity.layers(on_meta(ghostnetv2, kernel=kernel), DFC)
    assert len(gates) == 14
    kernels = {tuple(conv.kernel_size for conv in list(gate)[::2]) for gate in gates}
    assert kernels == {((1, 1), (1, kernel), (kernel, 1))}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"layers": "all"}, "layers is 'all'; it must be 'none' or a range within '0-15'"),
        ({"layers": "2-16"}, "layers is '2-16'; "),
        ({"layers": "4-3"}, "layers is '4-3'; "),
        ({"layers": ""}, "layers is ''; "),
        ({"kernel": 4}, "kernel is 4; it must be 3, 5 or 7"),
        ({"placed": "ghost3"}, "placed is 'ghost3'; it must be 'ghost1', 'ghost2' or 'both'"),
        ({"sigmoid": "never"}, "sigmoid is 'never'; it must be 'before' or 'after'"),
        ({"pool": "mean"}, "pool is 'mean'; it must be 'average' or 'max'"),
        ({"upsample": "cubic"}, "upsample is 'cubic'; it must be 'nearest' or 'bilinear'"),
        ({"attention": "se"}, "attention is 'se'; it must be 'dfc' or 'self'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_even_where_nothing_is_gated(
    args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        on_meta(ghostnetv2, **{"layers": "none"} | args)


def test_a_range_of_layers() -> None:
    assert [gated_layers(text) for text in ("none", "7", "0-15")] == [(0, -1), (7, 7), (0, 15)]


# GhostNetV3's folding


def test_folded_weights_of_the_reference_give_its_logits() -> None:
    fused = networks.fuse(filled_network(TRAINED))
    expected = parity.fixture(TRAINED)["hash"]["after_reparameterize"]
    assert parity.distance(fused(parity.image()), expected) < parity.TOLERANCE
    assert parity.same_state(fused, DEPLOYED) == []


@each_width_of_v3
def test_folding_leaves_the_original_and_gives_what_is_deployed(name: str) -> None:
    module, deployed, x = created(f"{name}_train"), created(name), parity.random_images(64, 64)
    before = copy.deepcopy(module.state_dict())
    fused = networks.fuse(module)
    assert parity.equal(module.state_dict(), before)
    assert parity.equal(fused.state_dict(), deployed.state_dict())
    assert not any(layer.training for layer in fused.modules())
    assert all(p.is_leaf and p.requires_grad for p in fused.parameters())
    trained = module(x)
    assert float((trained - deployed(x)).abs().max()) < parity.TOLERANCE * float(trained.std())


@pytest.mark.parametrize("name", ["ghostnet_x0_5", "ghostnetv2_x1_0", DEPLOYED])
def test_what_has_no_branches_is_copied(name: str) -> None:
    module = created(name)
    fused = networks.fuse(module)
    assert parity.equal(fused.state_dict(), module.state_dict())
    assert not {id(p) for p in fused.parameters()} & {id(p) for p in module.parameters()}
    assert str(fused) == str(module)


@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "stride", "groups", "branches"),
    [
        (6, 4, 1, 1, 1, 3),
        (6, 6, 1, 1, 1, 4),
        (6, 6, 3, 1, 6, 5),
        (6, 6, 5, 2, 6, 4),
        (6, 6, 3, 1, 2, 5),
    ],
)
def test_a_layer_in_branches_is_folded_into_the_convolution_that_equals_it(
    c_in: int, c_out: int, kernel: int, stride: int, groups: int, branches: int
) -> None:
    owner = Branched()
    owner.add_layer("dw", c_in, c_out, kernel, stride=stride, groups=groups)
    drawn(owner)
    assert len(parity.layers(owner, nn.BatchNorm2d)) == branches
    x = torch.randn(2, c_in, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fused = networks.fuse(owner)
    assert isinstance(fused, Branched)
    assert list(fused.state_dict()) == ["conv_dw.weight", "conv_dw.bias"]
    assert {value.dtype for value in fused.state_dict().values()} == {torch.float64}
    torch.testing.assert_close(fused.layer("dw", x), owner.layer("dw", x))


def test_folding_keeps_training_mode_and_can_be_repeated() -> None:
    module = BranchedGhostModule(4, 8, nn.ReLU(), None).train()
    once = networks.fuse(module)
    assert all(layer.training for layer in once.modules())
    assert parity.equal(networks.fuse(once).state_dict(), once.state_dict())


# The bundled experiments


def test_every_case_of_the_dfc_block_is_a_network_and_changes_one_thing() -> None:
    (spec,) = specs.find("dfc")
    found = spec.cases(specs.Selection())
    assert found[0].args == {"layers": "none"}
    assert all(len(case.args) == 1 for case in found)
    assert len({case.group for case in found}) == 1
    assert len({tuple(case.args.items()) for case in found}) == len(found) == 13
    for case in found:
        on_meta(ghostnetv2, **case.args)


def test_the_reparam_block_sets_each_training_form_beside_what_is_deployed() -> None:
    (spec,) = specs.find("reparam")
    found = [case.network for case in spec.cases(specs.Selection())]
    assert found == [form for name in OF_V3 for form in (name, f"{name}_train")]

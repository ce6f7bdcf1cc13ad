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
from benchbox.networks.ghostnet import ghostnet
from benchbox.networks.ghostnetv2 import ghostnetv2
from benchbox.networks.ghostnetv3 import Branched, BranchedGhostModule, ghostnetv3_train
from tests.helpers import parity
from tests.helpers.parity import FACTS, created, drawn, filled_network, on_meta

OF_V3 = [name for name in FACTS if name.startswith("ghostnetv3") and not name.endswith("_train")]
TRAINED, DEPLOYED = "ghostnetv3_x1_0_train", "ghostnetv3_x1_0"
Build = Callable[..., nn.Module]


def millions(**args: Any) -> tuple[float, float]:
    """Params and multiply-accumulates of a GhostNetV2 at 224x224, as printed."""
    module = on_meta(ghostnetv2, **args)
    with FlopCounterMode(display=False) as counted:
        module(torch.empty(1, 3, 224, 224, device="meta"))
    macs = int(counted.get_total_flops()) // 2
    return round(parity.params(module) / 1e6, 3), round(macs / 1e6, 2)


# Widths


@pytest.mark.parametrize("build", [ghostnet, ghostnetv2, ghostnetv3_train])
def test_any_width_is_taken_that_is_positive(build: Build) -> None:
    assert on_meta(build, 0.1)(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)
    for width in (0, float("nan")):
        with pytest.raises(ValueError, match=f"width is {width}; it must be a positive number"):
            build(width)


# GhostNetV2's options


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"layers": "none"}, (5.183, 141.15)),
        ({}, (6.157, 167.05)),
        ({"layers": "2-4"}, (5.195, 146.16)),
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


def test_the_kernel_is_that_of_every_dfc() -> None:
    gates = parity.layers(on_meta(ghostnetv2, kernel=7), DFC)
    kernels = [tuple(conv.kernel_size for conv in list(gate)[::2]) for gate in gates]
    assert kernels == [((1, 1), (1, 7), (7, 1))] * 14


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"layers": "all"}, "layers is 'all'; it must be 'none' or a range within '0-15'"),
        ({"layers": "2-16"}, "layers is '2-16'; "),
        ({"kernel": 4}, "kernel is 4; it must be 3, 5 or 7"),
        ({"placed": "ghost3"}, "placed is 'ghost3'; it must be 'ghost1', 'ghost2' or 'both'"),
        ({"upsample": "cubic"}, "upsample is 'cubic'; it must be 'nearest' or 'bilinear'"),
        ({"attention": "se"}, "attention is 'se'; it must be 'dfc' or 'self'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_even_where_nothing_is_gated(
    args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        on_meta(ghostnetv2, **{"layers": "none"} | args)


@pytest.mark.parametrize(
    "args",
    [{"pool": "max"}, {"upsample": "bilinear"}, {"sigmoid": "after", "upsample": "bilinear"}],
)
def test_each_gate_resizes_as_asked(args: dict[str, str]) -> None:
    gates = parity.layers(on_meta(ghostnetv2, **args), DFC)
    assert len(gates) == 14
    plain, x = drawn(DFC(4, 8)), parity.random_images(6, 6)[:, [0, 1, 2, 0]].double()
    asked = drawn(DFC(4, 8, **args))
    assert {str(vars(gate._half_size)) for gate in gates} == {str(vars(asked._half_size))}
    assert not torch.equal(plain(x), asked(x))


# GhostNetV3's folding


def test_folded_weights_of_the_reference_give_its_logits() -> None:
    fused = networks.fuse(filled_network(TRAINED))
    expected = parity.fixture(TRAINED)["hash"]["after_reparameterize"]
    assert parity.distance(fused(parity.image()), expected) < parity.TOLERANCE
    assert parity.same_state(fused, DEPLOYED) == []


def test_folding_leaves_the_original_and_gives_what_is_deployed() -> None:
    module, deployed = created("ghostnetv3_x0_5_train"), created("ghostnetv3_x0_5")
    x = parity.random_images(64, 64)
    before = copy.deepcopy(module.state_dict())
    fused = networks.fuse(module)
    assert parity.equal(module.state_dict(), before)
    assert parity.equal(fused.state_dict(), deployed.state_dict())
    assert not any(layer.training for layer in fused.modules())
    assert all(p.is_leaf and p.requires_grad for p in fused.parameters())
    trained = module(x)
    assert float((trained - deployed(x)).abs().max()) < parity.TOLERANCE * float(trained.std())


@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "stride", "groups", "branches"),
    [(6, 4, 1, 1, 1, 3), (6, 6, 3, 1, 6, 5), (6, 6, 5, 2, 6, 4), (6, 6, 3, 1, 2, 5)],
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


def test_folding_keeps_training_mode_and_copies_what_has_no_branches() -> None:
    once = networks.fuse(BranchedGhostModule(4, 8, nn.ReLU(), None).train())
    assert all(layer.training for layer in once.modules())
    again = networks.fuse(once)
    assert parity.equal(again.state_dict(), once.state_dict())
    assert not {id(p) for p in again.parameters()} & {id(p) for p in once.parameters()}


# The bundled experiments


def test_every_case_of_the_dfc_block_is_a_network_and_changes_one_thing() -> None:
    (spec,) = specs.find("dfc")
    found = spec.cases(specs.Selection())
    assert found[0].args == {"layers": "none"}
    assert {len(case.args) for case in found} == {1}
    assert len({case.group for case in found}) == 1
    assert len({tuple(case.args.items()) for case in found}) == len(found) == 13
    for case in found:
        on_meta(ghostnetv2, **case.args)


def test_the_reparam_block_sets_each_training_form_beside_what_is_deployed() -> None:
    (spec,) = specs.find("reparam")
    found = [case.network for case in spec.cases(specs.Selection())]
    assert found == [form for name in OF_V3 for form in (name, f"{name}_train")]

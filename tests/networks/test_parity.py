"""Networks held against the reference implementations' numbers, and against their own rules.

Counts and stage shapes of all networks are in `tests/data/networks.json`; those of FIXTURES have
weights, outputs and the statistics of their stages besides.
"""

import pytest
import torch
from torch import nn

from benchbox import networks
from tests.helpers import parity
from tests.helpers.parity import FACTS, TOLERANCE, created, filled_network, layer_outputs, observed

# How far the stages' means and deviations may be from the reference's, as a share of the deviation.
FIXTURES = {
    "shufflenetv2_x1_0": 1e-3,
    "shufflenetv2_tv_x0_5": 1e-3,
    "shufflenetv2_tv_x1_0": 1e-3,
    "shufflenetv1_g1": 1e-3,
    "shufflenetv1_g3": 1e-3,
    "ghostnet_x1_0": 1e-4,
    "ghostnetv2_x1_0": 1e-4,
    "ghostnetv3_x1_0_train": 1e-4,
    "mobilenetv2_x1_0": 1e-4,
    "mobilenetv3_small": 1e-4,
    "mobilenetv3_large": 1e-4,
}
DEPLOYED = "ghostnetv3_x1_0"  # of it there is the state_dict alone
WITH_ATTENTION = [name for name in parity.VARIANTS if "+" in name]
ONE_OF_EACH_BUILDER = (
    *("shufflenetv2_x0_5", "shufflenetv2_tv_x0_5", "shufflenetv1_g8", "ghostnet_x0_5"),
    *("ghostnetv2_x1_0", "ghostnetv3_x0_5", "ghostnetv3_x0_5_train"),
    *("mobilenetv2_x1_0", "mobilenetv3_small", "mobilenetv3_large"),
)


def without_ones(shape: list[int]) -> list[int]:
    """The shape without the two sizes of 1 that references keep after a global mean."""
    return [1, *(size for size in shape[1:] if size > 1)]


@pytest.mark.parametrize("name", [*FACTS, *WITH_ATTENTION])
def test_a_network_has_the_params_macs_and_stages_of_the_reference(name: str) -> None:
    counts = parity.counts(name)
    if name in parity.VARIANTS:
        sizes = round(counts["params"] / 1e6, 3), round(counts["macs"] / 1e6, 1)
        assert sizes == parity.VARIANTS[name]
    if name in WITH_ATTENTION:
        return
    stages = [observed(name)[key].shape for key in parity.stages(name)]
    expected = FACTS[name]["stages"]
    if name.startswith("shufflenet"):
        expected = list(map(without_ones, expected))
    assert {**counts, "stages": stages} == {**FACTS[name], "stages": expected}


@pytest.mark.parametrize("name", [*FACTS, *WITH_ATTENTION])
def test_activations_are_near_unit_scale_and_none_is_denormal(name: str) -> None:
    for key in parity.counted(name):
        # What Squeeze-and-Excitation takes the mean of may be centred, which leaves little; CBAM's
        # first has 32 / 24 channels, one, which may be cut off.
        least = 0.005 if ".se." in key else 0.0 if "features.1.conv.0.3.shared" in key else 0.05
        assert least <= observed(name)[key].std < 20, key
        assert not observed(name)[key].has_denormals, key


@pytest.mark.parametrize("name", [*FIXTURES, DEPLOYED])
def test_every_tensor_has_the_name_the_shape_and_the_place_of_the_reference(name: str) -> None:
    assert parity.same_state(created(name), name) == []
    norms = {layer.eps for layer in parity.layers(created(name), nn.BatchNorm2d)}
    assert norms == set(parity.fixture(name).get("bn_eps", norms))


@pytest.mark.parametrize("name", FIXTURES)
def test_logits_and_stages_are_those_of_the_reference(name: str) -> None:
    expected, tolerance = parity.fixture(name)["hash"], FIXTURES[name]
    keys = {key.partition(" ")[0]: stage for key, stage in expected["stages"].items()}
    found, logits = layer_outputs(filled_network(name), keys, parity.image())
    assert logits.shape == (1, 1000)
    assert parity.distance(logits, expected) < TOLERANCE
    for key, (shape, mean, std) in keys.items():
        assert found[key].shape in (shape, without_ones(shape)), key
        assert found[key].mean == pytest.approx(mean, abs=tolerance * std), key
        assert found[key].std == pytest.approx(std, rel=tolerance), key


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        *((name, 32, 64) for name in (*FIXTURES, *WITH_ATTENTION)),
        *((name, 75, 101) for name in ("ghostnet_x0_5", "ghostnetv2_x1_0", DEPLOYED)),
        *((name, 32, 32) for name in ("ghostnetv2_x1_0", *WITH_ATTENTION)),
    ],
)
def test_other_sizes_and_batches_are_taken(name: str, height: int, width: int) -> None:
    images = parity.random_images(height, width, count=2)
    both, first = created(name)(images), created(name)(images[:1])
    assert both.shape == (2, 1000)
    assert 0.05 <= float(both.std()) <= 20
    # Random weights enlarge rounding errors from block to block.
    least = 0.02 * float(first.std()) if name in WITH_ATTENTION else 1e-4
    torch.testing.assert_close(both[:1], first, atol=least, rtol=1e-4)


@pytest.mark.parametrize("name", ONE_OF_EACH_BUILDER)
def test_a_network_is_the_same_each_time_in_eval_mode_and_leaves_the_generator(name: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    again = networks.create(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in again.modules())
    assert parity.equal(again.state_dict(), created(name).state_dict())

"""ShuffleNet and ShuffleNetV2 held against the reference implementations and the papers' tables."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchbox import networks
from benchbox.networks import shufflenetv1, shufflenetv2
from benchbox.networks.layers import channel_shuffle
from tests.helpers import parity
from tests.helpers.parity import FACTS, created, filled_network

NAMES = [name for name in networks.names() if name.startswith("shufflenet")]
# The families, each with a network that has a fixture; the longest name first.
FAMILIES = {
    "shufflenetv2_tv": "shufflenetv2_tv_x1_0",
    "shufflenetv2": "shufflenetv2_x1_0",
    "shufflenetv1": "shufflenetv1_g3",
}
WITH_FIXTURE = [*FAMILIES.values(), "shufflenetv2_tv_x0_5", "shufflenetv1_g1"]
SIZE = 7  # of an image where nothing depends on it


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take many times as long where others are at work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Output:
    """What a layer gave."""

    shape: list[int]
    mean: float
    std: float


def outputs(module: nn.Module, x: Tensor) -> dict[str, Output]:
    """What every layer gives when the module is called, by its name."""
    found: dict[str, Output] = {}

    def note(name: str, y: Tensor) -> None:
        found[name] = Output(list(y.shape), float(y.mean()), float(y.std(correction=0)))

    handles = [
        layer.register_forward_hook(lambda *call, name=name: note(name, call[2]))
        for name, layer in module.named_modules()
    ]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return found


@cache
def of_random_images(name: str) -> dict[str, Output]:
    """What every layer of a network gives for one random image."""
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(7))
    return outputs(created(name), x)


def stages(name: str) -> dict[str, list[Any]]:
    """Layers of a network's fixture, or its family's: shape, mean and deviation by name."""
    own = name if name in WITH_FIXTURE else FAMILIES[family(name)]
    expected = parity.fixture(own)["hash"]["stages"]
    return {key.partition(" ")[0]: facts for key, facts in expected.items()}


def family(name: str) -> str:
    return next(each for each in FAMILIES if name.startswith(each))


def distance(name: str) -> float:
    with torch.no_grad():
        return parity.distance(filled_network(name)(parity.image()), parity.fixture(name)["hash"])


def test_there_are_thirteen() -> None:
    assert len(NAMES) == 13


@pytest.mark.parametrize("name", WITH_FIXTURE)
def test_a_network_equals_the_reference_implementation(name: str) -> None:
    assert parity.same_state(filled_network(name), name) == []
    assert distance(name) < parity.TOLERANCE


@pytest.mark.parametrize("name", WITH_FIXTURE)
def test_so_do_its_stages(name: str) -> None:
    found = outputs(filled_network(name), parity.image())
    for key, (_, mean, std) in stages(name).items():
        assert found[key].mean == pytest.approx(mean, abs=1e-3 * std), key
        assert found[key].std == pytest.approx(std, rel=1e-3), key


@pytest.mark.parametrize("name", WITH_FIXTURE)
def test_batch_norms_have_the_epsilon_of_the_reference(name: str) -> None:
    norms = {m.eps for m in created(name).modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms == set(parity.fixture(name)["bn_eps"])


def unshuffled(x: Tensor, groups: int) -> Tensor:
    assert groups
    return x


def inverted(x: Tensor, groups: int) -> Tensor:
    return channel_shuffle(x, x.shape[1] // groups)


@pytest.mark.parametrize("name", ["shufflenetv2_x1_0", "shufflenetv2_tv_x1_0", "shufflenetv1_g3"])
@pytest.mark.parametrize("broken", [unshuffled, inverted])
def test_a_wrong_shuffle_is_noticed(
    name: str, broken: Callable[[Tensor, int], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (shufflenetv1, shufflenetv2):
        monkeypatch.setattr(module, "channel_shuffle", broken)
    assert distance(name) > 1000 * parity.TOLERANCE


def test_one_group_is_not_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(shufflenetv1, "channel_shuffle")
    assert distance("shufflenetv1_g1") < parity.TOLERANCE


def layer_counts(module: nn.Module) -> dict[str, int]:
    layers = list(module.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    depthwise = [c for c in convolutions if c.groups == c.in_channels > 1]
    return {
        "params": sum(parameter.numel() for parameter in module.parameters()),
        "conv2d": len(convolutions),
        "depthwise": len(depthwise),
        "grouped": sum(c.groups > 1 for c in convolutions) - len(depthwise),
        "batch_norms": sum(isinstance(layer, nn.BatchNorm2d) for layer in layers),
        "linear": sum(isinstance(layer, nn.Linear) for layer in layers),
    }


def macs(name: str) -> int:
    """Multiply-accumulates that one image takes: each output is a sum over one row of weights."""
    return sum(
        math.prod(of_random_images(name)[key].shape) * layer.weight[0].numel()
        for key, layer in created(name).named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_layers_params_and_macs_of_the_reference(name: str) -> None:
    facts = FACTS[name]
    assert {**layer_counts(created(name)), "macs": macs(name), "stages": facts["stages"]} == facts


@pytest.mark.parametrize("name", NAMES)
def test_stages_have_the_shapes_of_the_reference(name: str) -> None:
    found = [of_random_images(name)[key].shape for key in stages(name)]
    # The reference keeps two sizes of 1 after its global mean.
    expected = [[1, *(size for size in shape[1:] if size > 1)] for shape in FACTS[name]["stages"]]
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_activations_are_near_unit_scale(name: str) -> None:
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    keys = [key for key, layer in created(name).named_modules() if isinstance(layer, kinds)]
    deviations = [of_random_images(name)[key].std for key in keys]
    assert len(keys) == 2 * FACTS[name]["conv2d"] + 1
    assert min(deviations) >= 0.05
    assert max(deviations) <= 20


@torch.no_grad()
@pytest.mark.parametrize("name", WITH_FIXTURE)
@pytest.mark.parametrize("shape", [(2, 3, 160, 160), (1, 3, 320, 320), (1, 3, 64, 96)])
def test_an_image_may_have_another_size(name: str, shape: tuple[int, ...]) -> None:
    y = created(name)(torch.randn(shape, generator=torch.Generator().manual_seed(7)))
    assert y.shape == (shape[0], 1000)
    assert 0.05 <= float(y.std()) <= 20


@torch.no_grad()
def test_images_of_a_batch_do_not_mix() -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    for name in WITH_FIXTURE:
        torch.testing.assert_close(created(name)(x)[1:], created(name)(x[1:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", WITH_FIXTURE)
def test_another_creation_has_equal_weights_and_leaves_the_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = networks.create(name)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in created(name).state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert not any(layer.training for layer in again.modules())


@pytest.mark.parametrize("build", [shufflenetv2.shufflenetv2, shufflenetv2.shufflenetv2_tv])
@pytest.mark.parametrize("width", [0.25, 0, 3.0])
def test_a_width_is_one_of_the_tables(build: Callable[..., Any], width: float) -> None:
    with pytest.raises(ValueError, match=rf"width is {width}; .* 0\.5, 1\.0, 1\.5, 2\.0"):
        build(width)


@pytest.mark.parametrize("groups", [0, 5, 16])
def test_groups_are_of_the_table(groups: int) -> None:
    with pytest.raises(ValueError, match=f"groups is {groups}; .* 1, 2, 3, 4, 8"):
        shufflenetv1.shufflenetv1(groups)


@torch.no_grad()
def test_the_authors_unit_passes_the_even_channels_and_torchvisions_the_first_half() -> None:
    x = torch.randn(2, 12, SIZE, SIZE)
    y = shufflenetv2.Unit(12).eval()(x)
    assert torch.equal(y[:, :6], x[:, ::2])
    assert not torch.equal(y[:, 6:], x[:, 1::2])
    y = shufflenetv2.TorchvisionUnit(12).eval()(x)
    assert torch.equal(y[:, ::2], x[:, :6])
    assert not torch.equal(y[:, 1::2], x[:, 6:])


@torch.no_grad()
def test_at_stride_2_all_channels_go_through_both_branches() -> None:
    x = torch.randn(2, 12, 8, 8)
    authors = shufflenetv2.Downsampling(12, 32).eval()
    expected = (authors.branch_proj(x), authors.branch_main(x))
    assert [y.shape[1] for y in expected] == [12, 20]
    assert torch.equal(authors(x), torch.cat(expected, 1))
    torchvisions = shufflenetv2.TorchvisionDownsampling(12, 32).eval()
    y = torchvisions(x)
    assert torch.equal(y[:, ::2], torchvisions.branch1(x))
    assert torch.equal(y[:, 1::2], torchvisions.branch2(x))


@torch.no_grad()
def test_shufflenets_unit_adds_its_input_or_sets_its_mean_beside() -> None:
    x = torch.rand(2, 24, 8, 8)
    unit = shufflenetv1.Unit(24, 24, groups=3).eval()
    for parameter in unit.branch_main_2.parameters():
        parameter.zero_()
    assert torch.equal(unit(x), x)
    unit = shufflenetv1.Unit(24, 60, groups=3, stride=2).eval()
    y = unit(torch.ones(1, 24, 8, 8))
    assert y.shape == (1, 60, 4, 4)
    assert y[0, 0, 0, 0] == pytest.approx(4 / 9)  # the border counts as zeros
    assert y[0, 0, 1, 1] == pytest.approx(1)


def test_channels_that_cannot_be_split_or_grouped_are_refused() -> None:
    with pytest.raises(ValueError, match="7 channels"):
        shufflenetv2.Unit(7)
    with pytest.raises(ValueError, match="c_out is 20; 3 groups need a multiple of 12"):
        shufflenetv1.Unit(24, 20, groups=3)
    with pytest.raises(RuntimeError, match="4 channels"), torch.no_grad():
        created("shufflenetv2_x1_0")(torch.zeros(1, 4, 64, 64))

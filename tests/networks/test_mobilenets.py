"""MobileNetV2 and V3 held against the reference implementation's numbers."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchbox import networks
from benchbox.networks.mobilenetv2 import InvertedResidual, mobilenetv2
from benchbox.networks.mobilenetv3 import mobilenetv3_large, mobilenetv3_small
from tests.helpers import parity
from tests.helpers.parity import FACTS, created, filled_network, random_images

NAMES = ("mobilenetv2_x1_0", "mobilenetv3_small", "mobilenetv3_large")
each_network = pytest.mark.parametrize("name", NAMES)


def outputs(module: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    """What those layers give; copies, for an activation may work in place."""
    found: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda *call, key=key: found.update({key: call[2].clone()}))
        for key, layer in layers.items()
    ]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return found


@each_network
def test_every_tensor_has_the_name_the_shape_and_the_place_of_the_reference(name: str) -> None:
    assert parity.same_state(created(name), name) == []


@each_network
def test_the_logits_are_those_of_the_reference(name: str) -> None:
    with torch.no_grad():
        logits = filled_network(name)(parity.image())
    assert parity.distance(logits, parity.fixture(name)["hash"]) < parity.TOLERANCE


@each_network
def test_every_stage_gives_what_the_reference_gives(name: str) -> None:
    expected = parity.fixture(name)["hash"]["stages"]
    module = filled_network(name)
    found = outputs(module, {key: module.get_submodule(key) for key in expected}, parity.image())
    for key, (shape, mean, std) in expected.items():
        assert list(found[key].shape) == shape, key
        assert float(found[key].double().mean()) == pytest.approx(mean, abs=1e-4 * std), key
        assert float(found[key].double().std(correction=0)) == pytest.approx(std, rel=1e-4), key


@pytest.mark.parametrize(
    ("name", "least"), [("mobilenetv3_small", 0.1), ("mobilenetv3_large", 0.01)]
)
def test_another_epsilon_would_be_seen(name: str, least: float) -> None:
    module = filled_network(name)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    for norm in norms:
        norm.eps = 1e-5
    with torch.no_grad():
        apart = parity.distance(module(parity.image()), parity.fixture(name)["hash"])
    for norm in norms:
        norm.eps = 1e-3
    assert apart > least


def test_relu_for_relu6_would_be_seen() -> None:
    name = "mobilenetv2_x1_0"
    module = filled_network(name)
    activations = [layer for layer in module.modules() if isinstance(layer, nn.ReLU6)]
    assert len(activations) == 35
    for activation in activations:
        activation.max_val = float("inf")
    with torch.no_grad():
        apart = parity.distance(module(parity.image()), parity.fixture(name)["hash"])
    for activation in activations:
        activation.max_val = 6.0
    assert apart > 1


@each_network
def test_the_counts_are_those_of_the_reference(name: str) -> None:
    module, facts = created(name), FACTS[name]
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(random_images())
    assert {
        "params": sum(parameter.numel() for parameter in module.parameters()),
        "macs": counted.get_total_flops() // 2,
        "conv2d": len(convolutions),
        "depthwise": sum(layer.groups > 1 for layer in convolutions),
        "batch_norms": sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()),
        "linear": sum(isinstance(layer, nn.Linear) for layer in module.modules()),
    } == {key: facts[key] for key in facts if key not in ("grouped", "stages")}
    assert all(layer.groups in (1, layer.in_channels) for layer in convolutions)


@each_network
def test_the_stages_have_the_shapes_of_the_reference(name: str) -> None:
    module = created(name)
    layers = {key: layer for key, layer in module.named_modules() if key.count(".") == 1}
    features = {key: layer for key, layer in layers.items() if key.startswith("features.")}
    found = outputs(
        module, features | {"classifier": module.get_submodule("classifier")}, random_images()
    )
    assert [list(output.shape) for output in found.values()] == FACTS[name]["stages"]


@each_network
def test_activations_are_near_unit_scale_and_none_is_denormal(name: str) -> None:
    module = created(name)
    kinds = nn.Conv2d | nn.BatchNorm2d
    layers = {key: layer for key, layer in module.named_modules() if isinstance(layer, kinds)}
    for key, output in outputs(module, layers, random_images()).items():
        assert 0.05 < float(output.std()) < 20, key
        size = output.abs()
        assert not ((size > 0) & (size < torch.finfo(torch.float32).tiny)).any(), key


@each_network
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_other_sizes_and_batches_are_taken(name: str, height: int, width: int) -> None:
    images = random_images(height, width, count=2)
    with torch.no_grad():
        both, first = created(name)(images), created(name)(images[:1])
    assert both.shape == (2, 1000)
    assert torch.allclose(both[:1], first, atol=1e-4)


@each_network
def test_a_network_is_the_same_each_time_and_in_eval_mode(name: str) -> None:
    torch.manual_seed(11)
    again = networks.create(name)
    assert not any(module.training for module in again.modules())
    state, expected = again.state_dict(), created(name).state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_widths_round_to_multiples_of_8_and_the_last_layer_never_narrows() -> None:
    with torch.device("meta"):
        narrow, wide = mobilenetv2(0.35), mobilenetv2(1.4)
        small, large = mobilenetv3_small(0.75), mobilenetv3_large(1.25)
    assert shape(narrow, "features.0.0") == (16, 3, 3, 3)
    assert shape(narrow, "classifier.1") == (1000, 1280)
    assert shape(wide, "features.0.0") == (48, 3, 3, 3)
    assert shape(wide, "features.18.0") == (1792, 448, 1, 1)
    assert shape(small, "features.12.0") == (432, 72, 1, 1)
    assert shape(small, "classifier.0") == (768, 432)
    assert shape(large, "features.16.0") == (1200, 200, 1, 1)
    assert shape(large, "classifier.3") == (1000, 1600)


def shape(module: nn.Module, key: str) -> tuple[int, ...]:
    return tuple(module.get_parameter(f"{key}.weight").shape)


@pytest.mark.parametrize("build", [mobilenetv2, mobilenetv3_small, mobilenetv3_large])
def test_a_width_that_is_not_positive_is_refused(build: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="width is 0; it must be positive"):
        build(0)


@pytest.mark.parametrize(
    ("c_out", "stride", "has_shortcut"), [(16, 1, True), (24, 1, False), (16, 2, False)]
)
def test_a_block_adds_its_input_where_the_shapes_agree(
    c_out: int, stride: int, has_shortcut: bool
) -> None:
    block = InvertedResidual(16, c_out, stride, 6).eval()
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        y, inner = block(x), block.conv(x)
    assert y.shape == (1, c_out, 8 // stride, 8 // stride)
    assert torch.equal(y, inner + x if has_shortcut else inner)

"""Numeric fixtures of the reference implementations: weights by a rule, and what comes out.

`data/parity/<network>.json` holds the shapes of a reference's state_dict in its order and, for
weights filled in that order by a rule of integers (`hash`), the statistics of its output.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from benchbox import networks
from benchbox.networks.mobilenetv2 import mobilenetv2

T = TypeVar("T", bound=nn.Module)

# Two threads on processors that others use wait for each other; one is as fast for these.
torch.set_num_threads(1)

DATA = Path(__file__).parents[1] / "data"
# Params, multiply-accumulates and stage shapes of every network, by name.
FACTS: dict[str, dict[str, Any]] = json.loads((DATA / "networks.json").read_text())
# Families, each with a network whose fixture names its stages; the longest name first.
FAMILIES = {
    "shufflenetv2_tv": "shufflenetv2_tv_x1_0",
    "shufflenetv2": "shufflenetv2_x1_0",
    "shufflenetv1": "shufflenetv1_g3",
    "ghostnet": "ghostnet_x1_0",
}
# MobileNetV2 without and with attention: millions of params and multiply-accumulates, as
# published. DFC keeps the odd row and column of a 7x7 map.
VARIANTS = {
    "mobilenetv2_x1_0": (3.505, 300.8),
    "mobilenetv2+se": (3.891, 301.2),
    "mobilenetv2+cbam": (3.890, 303.8),
    "mobilenetv2+ca": (3.952, 306.8),
    "mobilenetv2+dfc": (4.370, 343.4),
}
TOLERANCE = 1e-4  # of the standard deviation of the logits


@cache
def fixture(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "parity" / f"{name}.json").read_text())
    return found


def uniform(index: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`count` numbers in [0, 1) that belong to the tensor `index` of a state_dict."""
    h = np.arange(count, dtype=np.uint32)
    with np.errstate(over="ignore"):
        h += np.uint32(0x9E3779B9 * (index + 1) % 2**32)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ h >> np.uint32(shift)) * np.uint32(factor)
    return (h ^ h >> np.uint32(16)) / 2.0**32


def values(index: int, norm_part: str, shape: tuple[int, ...], gain: float) -> Tensor:
    """One floating tensor of a state_dict; `norm_part` is its name in a batch norm, or empty."""
    k = np.arange(math.prod(shape), dtype=np.float64)
    match norm_part:
        case "weight":
            found = 1 + 0.1 * np.sin(index + k)
        case "bias":
            found = 0.1 * np.cos(index + k)
        case "running_mean":
            found = 0.1 * np.sin(0.5 * index + k)
        case "running_var":
            found = 1 + 0.5 * np.abs(np.sin(0.3 * index + k))
        case _:
            scale = math.sqrt(3 * gain / math.prod(shape[1:])) if len(shape) > 1 else 0.1
            found = scale * (2 * uniform(index, k.size) - 1)
    return torch.from_numpy(found.astype(np.float32)).view(shape)


def on_meta(build: Callable[..., T], *args: Any, **options: Any) -> T:
    """Build a module without numbers, which takes no time to build or to call."""
    with torch.device("meta"):
        return build(*args, **options)


def filled(module: T, gains: Iterable[tuple[int, float]]) -> T:
    """Give a module of the meta device weights by the rule, in the order of its state_dict.

    Each of the `gains` holds from a tensor on. Parameters that are never trained hold 0, 1, 2 ...
    """
    fixed = {key for key, each in module.named_parameters() if not each.requires_grad}
    state = module.to_empty(device="cpu").state_dict()
    norms = {key for key, each in module.named_modules() if isinstance(each, nn.BatchNorm2d)}
    for key in fixed:
        state[key].copy_(torch.arange(state[key].numel()).view(state[key].shape))
    floating = [k for k, value in state.items() if value.is_floating_point() and k not in fixed]
    for index, key in enumerate(floating):
        owner, _, part = key.rpartition(".")
        norm_part = part if owner in norms else ""
        gain = [each for first, each in gains if index >= first][-1]
        state[key].copy_(values(index, norm_part, tuple(state[key].shape), gain))
    return module


@cache
def filled_network(name: str) -> nn.Module:
    """A network with the weights of its fixture, which no test may leave changed."""
    return filled(on_meta(networks.create, name), [(0, fixture(name)["hash"]["gain"])])


@cache
def created(name: str) -> nn.Module:
    """A network by name, or MobileNetV2 with the attention after the `+`; no test may change it."""
    _, _, attention = name.partition("+")
    if not attention:
        return networks.create(name)
    torch.manual_seed(networks.SEED)
    return mobilenetv2(attention=attention)


def image(height: int = 224, width: int = 224) -> Tensor:
    """The input of every fixture, 1x3xHxW."""
    k = np.arange(3 * height * width, dtype=np.float64)
    return torch.from_numpy(np.sin(0.001 * k).astype(np.float32)).view(1, 3, height, width)


def uniform_input(index: int, shape: Iterable[int]) -> Tensor:
    """The input of a block alone: numbers from -2 to 2, as those of the tensor `index`."""
    size = tuple(shape)
    numbers = (4 * uniform(index, math.prod(size)) - 2).astype(np.float32)
    return torch.from_numpy(numbers).view(size).double()


def random_images(height: int = 224, width: int = 224, count: int = 1) -> Tensor:
    """Seeded random images, (count, 3, height, width)."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))


def drawn(module: T) -> T:
    """The module in eval mode and float64, with random weights and statistics."""
    generator = torch.Generator().manual_seed(5)
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            numbers = torch.randn(value.shape, generator=generator)
            value.copy_(numbers.abs() + 0.5 if key.endswith("running_var") else numbers)
    return module.double().eval()


def same_state(module: nn.Module, name: str) -> list[str]:
    """Differences between a module's state_dict and the fixture's: key, shape, order."""
    expected = [(key, tuple(shape)) for key, shape, *_ in fixture(name)["state_dict"]]
    actual = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    pairs = zip(expected, actual, strict=False)
    wrong = [f"{theirs} is {ours}" for theirs, ours in pairs if theirs != ours]
    if len(expected) != len(actual):
        wrong.append(f"{len(expected)} entries, {len(actual)} here")
    return wrong


def distance(logits: Tensor, expected: dict[str, Any]) -> float:
    """How far the logits are from a fixture's, in standard deviations of the fixture's."""
    found = logits.detach().flatten().double().numpy()
    apart = np.abs(found[: len(expected["logits16"])] - np.array(expected["logits16"])).max()
    moments = [found.mean() - expected["mean"], found.std() - expected["std_ddof0"]]
    largest = abs(np.abs(found).max() - expected["max_abs"])
    return float(max(apart, largest, *map(abs, moments)) / expected["std_ddof0"])


@dataclass(frozen=True)
class Output:
    """Shape and statistics of a layer's output."""

    shape: list[int]
    mean: float
    std: float
    has_denormals: bool
    elements: int  # of all calls


def layer_outputs(
    module: nn.Module, names: Iterable[str], x: Tensor
) -> tuple[dict[str, Output], Tensor]:
    """The outputs of layers, by name, when the module is called with x; and its own output."""
    found: dict[str, Output] = {}

    def note(name: str, y: Tensor) -> None:
        wide = y.double()
        size = wide.abs()
        denormal = (size > 0) & (size < torch.finfo(torch.float32).tiny)
        mean, std = float(wide.mean()), float(wide.std(correction=0))
        elements = y.numel() + (found[name].elements if name in found else 0)
        found[name] = Output(list(y.shape), mean, std, bool(denormal.any()), elements)

    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda *call, name=name: note(name, call[2])
        )
        for name in names
    ]
    with torch.no_grad():
        result = module(x)
    for handle in handles:
        handle.remove()
    return found, result


def counted(name: str) -> dict[str, nn.Module]:
    """The convolutions, linear layers and batch norms of a network."""
    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d
    return {key: each for key, each in created(name).named_modules() if isinstance(each, kinds)}


@cache
def observed(name: str) -> dict[str, Output]:
    """The outputs of a network's stages and counted layers for one random image."""
    keys = [*counted(name), *(stages(name) if name in FACTS else ())]
    return layer_outputs(created(name), dict.fromkeys(keys), random_images())[0]


def stages(name: str) -> list[str]:
    """The layers whose output shapes the facts of a network have, in order."""
    if name.startswith("mobilenet"):
        features = created(name).get_submodule("features").named_children()
        return [*(f"features.{key}" for key, _ in features), "classifier"]
    family = next(each for each in FAMILIES if name.startswith(each))
    return [key.partition(" ")[0] for key in fixture(FAMILIES[family])["hash"]["stages"]]


def layers(module: nn.Module, kind: type[T]) -> list[T]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def counts(name: str) -> dict[str, int]:
    """Params, and the multiply-accumulates that one image takes.

    Each output of a layer is a sum over one row of its weights.
    """
    macs = sum(
        observed(name)[key].elements * layer.weight[0].numel()
        for key, layer in counted(name).items()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    )
    return {"params": params(created(name)), "macs": macs}


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two states have the same tensors in the same order."""
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)

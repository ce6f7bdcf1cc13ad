"""Numeric fixtures of the reference implementations: weights by a rule, and what comes out.

`data/parity/<network>.json` holds the shapes of a reference's state_dict in its order and, for
weights filled in that order by a rule of integers (`hash`), the statistics of its output.
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbox import networks

# Two threads on processors that others use wait for each other; one is as fast for these.
torch.set_num_threads(1)

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "parity"
# Params, multiply-accumulates, layer counts and stage shapes of every network, by name.
FACTS: dict[str, dict[str, Any]] = json.loads((DATA / "networks.json").read_text())
TOLERANCE = 1e-4  # of the standard deviation of the logits


@cache
def fixture(name: str) -> dict[str, Any]:
    """The fixture of a file in FOLDER."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def uniform(index: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`count` numbers in [0, 1) that belong to the tensor `index` of a state_dict."""
    h = np.arange(count, dtype=np.uint32)
    with np.errstate(over="ignore"):
        h += np.uint32(0x9E3779B9 * (index + 1) % 2**32)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ h >> np.uint32(shift)) * np.uint32(factor)
    return (h ^ h >> np.uint32(16)) / 2.0**32


def filled(index: int, role: str, shape: tuple[int, ...], gain: float) -> Tensor:
    """The values of one floating tensor of a state_dict."""
    k = np.arange(math.prod(shape), dtype=np.float64)
    batch_norm = {
        "bn_weight": lambda: 1 + 0.1 * np.sin(index + k),
        "bn_bias": lambda: 0.1 * np.cos(index + k),
        "bn_mean": lambda: 0.1 * np.sin(0.5 * index + k),
        "bn_var": lambda: 1 + 0.5 * np.abs(np.sin(0.3 * index + k)),
    }
    if role in batch_norm:
        values = batch_norm[role]()
    else:
        centred = 2 * uniform(index, k.size) - 1
        is_weight = len(shape) > 1
        scale = math.sqrt(3 * gain / math.prod(shape[1:])) if is_weight else 0.1
        values = scale * centred
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def roles(module: nn.Module) -> dict[str, str]:
    """What each key of a module's state_dict holds, in order: whether of a batch norm, and what."""
    norms = {
        name for name, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    }
    parts = {"weight": "bn_weight", "bias": "bn_bias", "running_mean": "bn_mean"}
    parts |= {"running_var": "bn_var", "num_batches_tracked": "int"}
    found = {}
    for key in module.state_dict():
        owner, _, part = key.rpartition(".")
        found[key] = parts[part] if owner in norms else "plain"
    return found


def fill(module: nn.Module, gain: float) -> None:
    """Give every floating tensor of the module, in the order of its state_dict, its values."""
    state = module.state_dict()
    of_role = roles(module)
    floating = [key for key in state if of_role[key] != "int"]
    values = {
        key: filled(index, of_role[key], tuple(state[key].shape), gain)
        for index, key in enumerate(floating)
    }
    module.load_state_dict(values, strict=False)


def image() -> Tensor:
    """The input of every fixture, 1x3x224x224."""
    k = np.arange(3 * 224 * 224, dtype=np.float64)
    return torch.from_numpy(np.sin(0.001 * k).astype(np.float32)).view(1, 3, 224, 224)


def same_state(module: nn.Module, name: str) -> list[str]:
    """What differs between a module's state_dict and the fixture's: key, shape, order."""
    expected = [(key, tuple(shape)) for key, shape, *_ in fixture(name)["state_dict"]]
    actual = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    pairs = zip(expected, actual, strict=False)
    wrong = [f"{theirs} is {ours}" for theirs, ours in pairs if theirs != ours]
    if len(expected) != len(actual):
        wrong.append(f"{len(expected)} entries, {len(actual)} here")
    return wrong


def distance(logits: Tensor, expected: dict[str, Any]) -> float:
    """How far the logits are from a fixture's, in standard deviations of the fixture's."""
    values = logits.detach().flatten().double().numpy()
    apart = np.abs(values[: len(expected["logits16"])] - np.array(expected["logits16"])).max()
    moments = [values.mean() - expected["mean"], values.std() - expected["std_ddof0"]]
    largest = abs(np.abs(values).max() - expected["max_abs"])
    return float(max(apart, largest, *map(abs, moments)) / expected["std_ddof0"])


@cache
def created(name: str) -> nn.Module:
    """A network that no test may change."""
    return networks.create(name)


@cache
def filled_network(name: str) -> nn.Module:
    """A network with the weights of its fixture, which no test may leave changed."""
    module = networks.create(name)
    fill(module, fixture(name)["hash"]["gain"])
    return module


def random_images(height: int = 224, width: int = 224, count: int = 1) -> Tensor:
    """Seeded random images, (count, 3, height, width)."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))

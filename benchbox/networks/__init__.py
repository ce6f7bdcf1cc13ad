"""The networks, one file per family; torch is imported when one is built.

names()          every name, in the order of the families
create(name)     the network: eval mode, seeded weights, activations near unit scale
fuse(module)     a copy with training-time branches folded into single convolutions
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.networks import catalogue

if TYPE_CHECKING:
    from torch import nn

SEED = 0


def names() -> list[str]:
    """Return the name of every network."""
    return list(catalogue.NETWORKS)


def create(name: str, weights: Path | None = None) -> "nn.Module":
    """Return the network of that name in eval mode; (n, 3, h, w) -> (n, 1000).

    The bare name of a family means its x1_0. Weights are seeded random numbers, unless `weights`
    names a checkpoint of the reference implementation. Raises SpecError for an unknown name and for
    a checkpoint that is none of this network's.
    """
    import torch

    network = catalogue.named(name)
    module_name, _, builder = network.builder.partition(":")
    build = getattr(importlib.import_module(module_name), builder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module: nn.Module = build(**network.args)
    if weights is not None:
        from benchbox.networks.checkpoints import load

        load(module, weights, network.name)
    return module


def fuse(module: "nn.Module") -> "nn.Module":
    """Return a copy in which every re-parameterised layer is one convolution, equal in eval mode.

    A module without such layers is copied as it is.
    """
    from benchbox.networks.ghostnetv3 import fuse

    return fuse(module)

"""Builder of networks by name, with seeded weights; torch is imported when one is built."""

import importlib
import inspect
from typing import TYPE_CHECKING

from benchbox.errors import SpecError
from benchbox.networks import catalogue

if TYPE_CHECKING:
    from torch import nn

SEED = 0


def names() -> list[str]:
    """Return the name of every network."""
    return list(catalogue.NETWORKS)


def build(name: str, **args: catalogue.Scalar) -> "nn.Module":
    """Return the network of that name in eval mode, with seeded random weights.

    `args` go to its builder, above its own. Raises SpecError for an unknown name or
    argument.
    """
    import torch

    network = catalogue.named(name)
    module_name, _, builder = network.builder.partition(":")
    builds = getattr(importlib.import_module(module_name), builder)
    taken = inspect.signature(builds).parameters
    if unknown := [arg for arg in args if arg not in taken]:
        raise SpecError(f"{name} takes no {unknown[0]!r}; it takes {', '.join(taken) or 'none'}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module: nn.Module = builds(**{**network.args, **args})
    return module


def fuse(module: "nn.Module") -> "nn.Module":
    """Return a copy in which every re-parameterised layer is one convolution, equal in eval mode.

    A module without such layers is copied as it is.
    """
    from benchbox.networks.branches import fuse

    return fuse(module)

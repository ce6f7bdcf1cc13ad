"""The networks, one file per family; torch is imported when one is built.

names()          every name, in the order of the families
create(name)     the network: eval mode, seeded weights, activations near unit scale
fuse(module)     a copy with training-time branches folded into single convolutions
"""

from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.networks import catalogue
from benchbox.networks.build import SEED, build, fuse, names

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SEED", "create", "fuse", "names"]


def create(name: str, weights: Path | None = None, **args: catalogue.Scalar) -> "nn.Module":
    """Return the network of that name in eval mode; (n, 3, h, w) -> (n, 1000).

    A detector gives what its `head` says. The bare name of a family means its x1_0. Weights are
    seeded random numbers, unless `weights` names a checkpoint of the reference implementation.
    `args` go to the network's builder. Raises SpecError for an unknown name and for a checkpoint
    that is none of this network's.
    """
    module = build(name, **args)
    if weights is not None:
        from benchbox.networks.checkpoints import load

        load(module, weights, catalogue.named(name).name, args)
    return module

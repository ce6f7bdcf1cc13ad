"""Batch norms folded into the convolutions before them, as every deployed network has them.

The exporter folds them too, but only after it has traced and lowered each; of a network with three
hundred that takes most of its time.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TOLERANCE = 1e-5  # relative and absolute; what is not that equal is exported as it was


def folded(module: "nn.Module", inputs: "Sequence[Tensor]") -> "nn.Module":
    """Return a copy of a module in eval mode with batch norms folded, equal to it on `inputs`.

    Returns the module itself when there is nothing to fold, and when the copy is not equal to it:
    a convolution's result may go elsewhere, too.
    """
    import torch

    if not any(isinstance(each, _norms()) for each in module.modules()):
        return module
    try:
        other = copy.deepcopy(module)
        with torch.no_grad():
            _fold(other, inputs)
            return other if _equal(other(*inputs), module(*inputs)) else module
    except Exception:  # a user's module may not let itself be copied, called twice, or changed
        return module


def _fold(module: "nn.Module", inputs: "Sequence[Tensor]") -> None:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    names: dict[nn.Module, list[str]] = {}
    for name, each in module.named_modules(remove_duplicate=False):
        names.setdefault(each, []).append(name)
    for conv, norm in _pairs(module, inputs):
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        for name in names[norm]:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, nn.Identity())


def _pairs(module: "nn.Module", inputs: "Sequence[Tensor]") -> list[tuple[Any, Any]]:
    """Return each convolution with the batch norm that reads its result, both used only once."""
    from torch import nn

    made: list[tuple[torch.Tensor, nn.Module]] = []  # kept, so that no tensor takes another's place
    found: list[tuple[nn.Module, nn.Module]] = []
    calls: Counter[nn.Module] = Counter()

    def note(layer: nn.Module, given: Any, result: Any) -> None:  # noqa: ANN401 - torch's own types
        calls[layer] += 1
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            made.append((result, layer))
        elif made and made[-1][0] is given[0]:
            found.append((made[-1][1], layer))

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_norms())
    handles = [
        each.register_forward_hook(note) for each in module.modules() if isinstance(each, kinds)
    ]
    module(*inputs)
    for handle in handles:
        handle.remove()
    return [
        (conv, norm)
        for conv, norm in found
        if calls[conv] == calls[norm] == 1 and getattr(norm, "running_mean", None) is not None
    ]


def _norms() -> tuple[type, ...]:
    from torch import nn

    return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _equal(ours: object, theirs: object) -> bool:
    import torch
    from torch.utils import _pytree

    pairs = zip(_pytree.tree_leaves(ours), _pytree.tree_leaves(theirs), strict=True)
    return all(
        torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)
        for one, other in pairs
        if isinstance(other, torch.Tensor)
    )

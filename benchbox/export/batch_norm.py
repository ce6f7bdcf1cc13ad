"""Batch-norm folding into the convolutions before them, as in every deployed network.

The exporter folds them too, but only after it has traced and lowered each; of a network with three
hundred that takes most of its time.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbox.export import compared, modules
from benchbox.export.verify import difference

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchbox.export.verify import Array

Pair = tuple[Any, Any]


def folded(module: "nn.Module", inputs: "Sequence[Tensor]") -> "nn.Module":
    """Copy a module in eval mode with its batch norms folded; its output on `inputs` is the same.

    A norm is folded if nothing else reads the convolution's output and both are called once.
    Returns the module itself, never called, if there is nothing to fold or the copy is not equal,
    as its graph has to be.
    """
    import torch

    if not any(isinstance(each, _norms()) for each in module.modules()):
        return module
    try:
        other, arrays = copy.deepcopy(module), [each.numpy() for each in inputs]
        expected, pairs = _traced(other, arrays)
        if not pairs:
            return module
        with torch.no_grad():
            _fold(other, pairs)
        outputs = compared.of_module(other, arrays)
        difference(expected, outputs, kind=modules.output_kind(other))
        return other
    except Exception:  # a user's module may not let itself be copied, called twice, or changed
        return module


def _fold(module: "nn.Module", pairs: Sequence[Pair]) -> None:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    names: dict[nn.Module, list[str]] = {}
    for name, each in module.named_modules(remove_duplicate=False):
        names.setdefault(each, []).append(name)
    for conv, norm in pairs:
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        for name in names[norm]:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, nn.Identity())


def _traced(module: "nn.Module", inputs: "Sequence[Array]") -> "tuple[list[Array], list[Pair]]":
    """Call the module; return its outputs, and each convolution with the norm that reads it."""
    trace = _Trace()
    layers = [each for each in module.modules() if isinstance(each, (*_convs(), *_norms()))]
    handles = [each.register_forward_pre_hook(trace.enter) for each in layers]
    handles += [each.register_forward_hook(trace.leave) for each in layers]
    with _reading(trace):
        outputs = compared.of_module(module, inputs)
    for handle in handles:
        handle.remove()
    return outputs, trace.pairs()


class _Trace:
    """Producers and readers of the convolutions' outputs in one call of a module."""

    def __init__(self) -> None:
        self._made: dict[int, Pair] = {}  # tensor and layer, kept so that no id is used again
        self._found: list[tuple[int, Any, Any]] = []
        self._calls: Counter[Any] = Counter()
        self._reads: Counter[int] = Counter()
        self._inside: list[Any] = []  # layers being called: what they read inside is their own

    def enter(self, layer: "nn.Module", _: object) -> None:
        """Record that a layer starts."""
        self._inside.append(layer)

    def leave(self, layer: "nn.Module", args: Sequence[Any], result: object) -> None:
        """Record a layer's inputs and output."""
        self._inside.pop()
        self._calls[layer] += 1
        self.read(args)
        source = id(args[0]) if args else None
        if isinstance(layer, _convs()):
            self._made[id(result)] = (result, layer)
        elif source in self._made:
            self._found.append((source, self._made[source][1], layer))

    def read(self, values: object) -> None:
        """Record that these values are read, unless inside a layer that is being called."""
        if not self._inside:
            read = map(id, modules.tensors(values))
            self._reads.update(each for each in read if each in self._made)

    def pairs(self) -> list[Pair]:
        """Each convolution with the norm that is its only reader, both called once."""
        return [
            (conv, norm)
            for tensor, conv, norm in self._found
            if self._calls[conv] == self._calls[norm] == self._reads[tensor] == 1
            and getattr(norm, "running_mean", None) is not None
        ]


def _reading(trace: _Trace) -> Any:  # noqa: ANN401 - a mode, whose class torch has
    from torch.overrides import TorchFunctionMode

    class Reading(TorchFunctionMode):
        """Reports the arguments of every torch function."""

        def __torch_function__(
            self,
            func: Callable[..., object],
            types: object,
            args: Sequence[object] = (),
            kwargs: Mapping[str, object] | None = None,
        ) -> object:
            trace.read((args, kwargs))
            return func(*args, **(kwargs or {}))

    return Reading()


def _convs() -> tuple[type, ...]:
    from torch import nn

    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _norms() -> tuple[type, ...]:
    from torch import nn

    return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

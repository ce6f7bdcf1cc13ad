"""nn.Module of a case, built from its recipe: equal recipes give equal weights."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import networks
from benchbox.errors import CaseError, SpecError
from benchbox.export import checkout
from benchbox.export.graph import SEED
from benchbox.export.user_builder import resolve
from benchbox.export.verify import check_finite
from benchbox.specs import Builder, Case

if TYPE_CHECKING:
    import torch

    from benchbox.export.verify import Array


def recipe(case: Case) -> dict[str, object]:
    """The recipe that builds a case's module, as JSON types.

    Raises CaseError for a case that is an .onnx file.
    """
    source = case.source
    if not isinstance(source, Builder):
        raise CaseError(f"{source.path.name} has no module; only ONNX Runtime runs an .onnx file")
    return {
        "reference": source.reference,
        "file": None if source.path is None else str(source.path),
        "checkout": checkout.message(source.checkout),
        "args": dict(case.args),
        "network": source.network,
        "weights": None if source.weights is None else str(source.weights),
        "conversion": case.conversion,
    }


def build(request: Mapping[str, Any]) -> "torch.nn.Module":
    """Return the module of a `recipe` in eval mode, its weights drawn by one thread and one seed.

    Raises SpecError for a builder that does not import or returns no module.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    process = os.getpid()
    module = _module(request)
    if os.getpid() != process:  # a copy of it that the builder forked came back from it, too
        os._exit(0)
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise SpecError(f"builder {request['reference']!r} returned {kind}, not an nn.Module")
    return module.eval()


def _module(request: Mapping[str, Any]) -> object:
    """Call the builder, or create a network with the weights of a checkpoint."""
    if request["weights"] is not None:
        return networks.create(request["network"], Path(request["weights"]), **request["args"])
    return resolve(request["reference"], request["file"])(**request["args"])


def output_kind(module: "torch.nn.Module") -> str:
    """What a detector gives, as its outputs are compared; empty for any other module."""
    kind = getattr(module, "output_kind", "")
    return kind if isinstance(kind, str) else ""


def arrays(result: object) -> list["Array"]:
    """The tensors in a module's result as arrays; raises CaseError unless all are finite."""
    outputs: list[Array] = [tensor.cpu().numpy() for tensor in tensors(result)]
    check_finite(outputs)
    return outputs


def tensors(result: object) -> list["torch.Tensor"]:
    """The tensors in a module's result, in order."""
    import torch
    from torch.utils import _pytree

    return [leaf for leaf in _pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def call(module: "torch.nn.Module", feeds: Sequence["Array"]) -> list["Array"]:
    """Return the module's outputs as arrays; raises CaseError unless all are finite."""
    import torch

    with torch.no_grad():
        return arrays(module(*(torch.from_numpy(array) for array in feeds)))

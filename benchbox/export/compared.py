"""Outputs by which a graph and its module are compared; of chosen detections, what they are from.

Which of several detections with one score are chosen is free, and random weights give hundreds of
them. So the boxes and scores before the choice are compared, and the choice is looked at alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.agent.ort.compare import BOX
from benchbox.errors import CaseError
from benchbox.export import modules, names, ort_call
from benchbox.export.verify import check_finite

if TYPE_CHECKING:
    import torch

    from benchbox.export.verify import Array


def chooser(module: "torch.nn.Module") -> str:
    """The path of the module that chooses a detector's detections; empty for any other module."""
    path = getattr(module, "chooser", "") if modules.output_kind(module) == "detections" else ""
    return path if isinstance(path, str) else ""


def of_module(module: "torch.nn.Module", feeds: Sequence["Array"]) -> list["Array"]:
    """A module's outputs; of a detector that chooses, its boxes and scores.

    Raises CaseError unless all are finite.
    """
    if not (path := chooser(module)):
        return modules.call(module, feeds)
    given: list[Array] = []
    hook = module.get_submodule(path).register_forward_pre_hook(
        lambda _, args: given.extend(modules.arrays(args))
    )
    try:
        modules.call(module, feeds)
    finally:
        hook.remove()
    return given


def of_graph(path: Path, feeds: Mapping[str, "Array"], choosing: str) -> list["Array"]:
    """A graph's outputs; where the module `choosing` is in it, the boxes and scores that it reads.

    Raises CaseError where others than the best are chosen.
    """
    if not choosing:
        return ort_call.run(path, feeds)
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    detections, *given = ort_call.run_with(model, path, feeds, names.given(model, choosing))
    check_finite([detections, *given])
    boxes, scores = sorted(given, key=lambda array: array.shape[1])  # 4 and 80 rows
    _require_best(detections, boxes, scores)
    return [boxes, scores]


def _require_best(detections: "Array", boxes: "Array", scores: "Array") -> None:
    """Raise CaseError unless the rows, (images, rows, 6), are the best of what they are from.

    That is boxes, (images, 4, places), and scores, (images, classes, places). Which of those with
    one score are taken is free, but none is taken twice.
    """
    import numpy as np

    for rows, own, each in zip(detections, boxes, scores, strict=True):
        best = np.sort(each, axis=None)[::-1][: len(rows)]
        classes = rows[:, BOX + 1].astype(int).clip(0, len(each) - 1)
        sources = (own == rows[:, :BOX, None]).all(1) & (each[classes] == rows[:, BOX, None])
        sources &= (classes == rows[:, BOX + 1])[:, None]
        twins = (rows[:, None] == rows[None]).all(2)
        if (rows[:, BOX] != best).any() or (twins.sum(1) > sources.sum(1)).any():
            raise CaseError(
                "its detections are not the best of the boxes and scores that it chooses from; "
                "such a graph is not timed"
            )

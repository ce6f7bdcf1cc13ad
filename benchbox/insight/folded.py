"""Constants of a graph computed as when ONNX Runtime opens it, so that they can be altered.

Exporters write weights behind Identity or Transpose, and sizes as what follows from Shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbox.insight.file_graph import FileGraph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Those whose weights stay quantised, and those that give something else in every call.
KEPT = ("DequantizeLinear", "Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike")


def folded(
    model: ModelProto,
    inputs: Mapping[str, Sequence[int]],
    observed: Mapping[str, Sequence[int]],
) -> ModelProto:
    """A copy where what follows from constants and known shapes is a constant.

    `observed` are shapes that a run told. What cannot be computed here stays as it is.
    """
    from onnx import numpy_helper

    view = FileGraph(model, inputs)
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    made, before = type(model)(), {*values}
    made.CopyFrom(model)
    del made.graph.node[:]
    given = {value.name for value in model.graph.output}
    for node in sorted(model.graph.node, key=lambda node: view.places.get(node.output[0], 0)):
        shape = view.shape(node.input[0]) or observed.get(node.input[0]) if node.input else None
        can_be = not given & {*node.output}
        found = (_of_shape(node, shape) or _computed(node, values, model)) if can_be else None
        if found is None:
            made.graph.node.append(node)
        else:
            values |= found
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, order="C"), name)
        for name, value in values.items()
        if name not in before
    )
    return made


def _of_shape(node: NodeProto, shape: Sequence[int] | None) -> dict[str, Any] | None:
    """The result of Shape, where that is known."""
    if node.op_type != "Shape" or node.domain or not shape:
        return None
    ends = {each.name: each.i for each in node.attribute}
    return {node.output[0]: np.array(shape[ends.get("start", 0) : ends.get("end")], np.int64)}


def _computed(
    node: NodeProto, values: Mapping[str, Any], model: ModelProto
) -> dict[str, Any] | None:
    """The results of what depends on constants alone."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    reads = [name for name in node.input if name]
    if node.op_type == "Constant" and node.attribute[0].HasField("t"):
        return {node.output[0]: numpy_helper.to_array(node.attribute[0].t)}
    is_kept = node.op_type in KEPT or node.domain or any(a.HasField("g") for a in node.attribute)
    if is_kept or not reads or not all(name in values for name in reads):
        return None
    if node.op_type == "Identity":
        return {node.output[0]: values[reads[0]]}
    opsets = {each.domain: each.version for each in model.opset_import}
    try:
        made = ReferenceEvaluator(node, opsets=opsets).run(None, {n: values[n] for n in reads})
    except Exception:  # of an operator that onnx cannot compute, in whatever way it says so
        return None
    return dict(zip(node.output, made, strict=True))

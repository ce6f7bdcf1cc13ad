"""Conversion of a float32 graph to float16: weights, activations, inputs and outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.agent.stdio import sentence
from benchbox.errors import CaseError

if TYPE_CHECKING:
    import onnx

    from benchbox.export.verify import Array

SMALLEST, LARGEST = 5.96e-8, 65504.0  # of float16: weights are clipped to them
# ONNX defines these for float16 and GPUs have kernels for it; the converter, which keeps them in
# float32 unless told, is older than those.
DEFINED = frozenset({"Max", "Min", "TopK", "Upsample"})
LIMIT_BYTES = (1 << 31) - 1  # protobuf's, within which types are inferred


def single(feeds: Mapping[str, "Array"]) -> dict[str, "Array"]:
    """Return the inputs of a float16 graph as those of the float32 graph with the same values."""
    import numpy as np

    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in feeds.items()
    }


def halve(source: Path, target: Path) -> None:
    """Convert the graph at `source`, its external data too, and write it to `target`.

    Operators that ONNX defines for float32 only stay in it, between casts. Raises CaseError for a
    graph that is too large, or that the converter makes no valid graph of.
    """
    import onnx

    model = onnx.load(str(source))
    if model.ByteSize() > LIMIT_BYTES:
        raise CaseError("its float32 graph is beyond 2 GiB, where it cannot be made float16")
    try:
        half = _converted(model)
        onnx.checker.check_model(half, full_check=True)
    except Exception as error:  # the converter's and the checker's have no common ancestor
        raise CaseError(f"it cannot be made float16: {sentence(error)}") from None
    onnx.save(half, str(target))


def _converted(model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnxruntime.transformers import float16, onnx_model

    _separate_scales(model)
    count = len(model.graph.node)
    half = float16.convert_float_to_float16(
        model,
        min_positive_val=SMALLEST,
        max_finite_val=LARGEST,
        op_block_list=[each for each in float16.DEFAULT_OP_BLOCK_LIST if each not in DEFINED],
    )
    if len(half.graph.node) > count:  # the converter appends its casts to the end
        onnx_model.OnnxModel.graph_topological_sort(half.graph, is_deterministic=True)
    return half  # type: ignore[no-any-return]


def _separate_scales(model: "onnx.ModelProto") -> None:
    """Give every Resize its own scales, without a type: the converter fails at others."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = set()
    for index, node in enumerate(model.graph.node):
        scales = node.input[2] if node.op_type == "Resize" and len(node.input) > 2 else ""
        if scales in taken:
            node.input[2] = f"{scales}_{index}"
            own = model.graph.initializer.add()
            own.CopyFrom(tensors[scales])
            own.name = node.input[2]
        elif scales in tensors:
            taken.add(scales)
    for typed in [each for each in model.graph.value_info if each.name in taken]:
        model.graph.value_info.remove(typed)

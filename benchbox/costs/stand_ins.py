"""Stand-ins for ONNX Runtime's own operators: ONNX's of the same shape, which inference knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

DOMAIN = "com.microsoft"
# Operator -> the outputs that are as its first input.
_ALIKE = {
    "BiasGelu": (0,),
    "FastGelu": (0,),
    "Gelu": (0,),
    "QLinearLeakyRelu": (0,),
    "QLinearSigmoid": (0,),
    "QLinearSoftmax": (0,),
    "QuickGelu": (0,),
    "RotaryEmbedding": (0,),
    "SkipLayerNormalization": (0, 3),
    "SkipSimplifiedLayerNormalization": (0, 3),
}
# Operator -> ONNX's, and the inputs that this one takes.
_SIMILAR: dict[str, tuple[str, Sequence[int]]] = {
    "BiasAdd": ("Add", (0, 1)),
    "EmbedLayerNormalization": ("Gather", (2, 0)),
    "FusedConv": ("Conv", (0, 1)),
    "FusedGemm": ("Gemm", (0, 1)),
    "FusedMatMul": ("MatMul", (0, 1)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearMul": ("Mul", (0, 3)),
}
# With one of these set the result has another shape.
_CHANGING = frozenset({"channels_last", "transBatchA", "transBatchB"})
_TRANSPOSING = frozenset({"transA", "transB"})


def stand_ins(node: NodeProto, graph: GraphProto) -> list[NodeProto]:
    """What stands for a node of ONNX Runtime's, nothing where its shape is for a run to show.

    A weight whose sizes are attributes is added to the constants of `graph`.
    """
    numbers = {each.name: each.i for each in node.attribute}
    if node.domain != DOMAIN or not node.input or not node.output or _is_set(numbers, _CHANGING):
        return []
    if node.op_type in _ALIKE:
        return list(_renamed(node, _ALIKE[node.op_type]))
    if node.op_type == "QLinearConcat":
        return [_made("Concat", node, node.input[2::3])]
    if node.op_type == "MatMulNBits" and numbers.keys() >= {"K", "N"}:
        return [_product(node, graph, numbers["K"], numbers["N"])]
    operator, wanted = _SIMILAR.get(node.op_type, ("", (0,)))
    transposed = operator == "MatMul" and _is_set(numbers, _TRANSPOSING)
    if not operator or transposed or len(node.input) <= max(wanted):
        return []
    return [_made(operator, node, [node.input[at] for at in wanted])]


def _is_set(numbers: dict[str, int], names: frozenset[str]) -> bool:
    return any(numbers.get(name) for name in names)


def _renamed(node: NodeProto, outputs: Sequence[int]) -> Iterator[NodeProto]:
    from onnx import NodeProto

    for at in outputs:
        if at < len(node.output) and node.output[at]:
            yield NodeProto(op_type="Identity", input=node.input[:1], output=[node.output[at]])


def _made(operator: str, node: NodeProto, inputs: Sequence[str]) -> NodeProto:
    from onnx import NodeProto

    made = NodeProto(op_type=operator, input=inputs, output=node.output[:1])
    made.attribute.extend(node.attribute)
    return made


def _product(node: NodeProto, graph: GraphProto, rows: int, columns: int) -> NodeProto:
    """A product with a matrix of the sizes that a packed weight has, whose values nobody needs."""
    from onnx import TensorProto

    name, sizes = f"{node.output[0]}, unpacked", (rows, columns)
    graph.initializer.append(TensorProto(name=name, dims=sizes, data_type=TensorProto.FLOAT))
    return _made("MatMul", node, [node.input[0], name])

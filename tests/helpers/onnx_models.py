"""Small ONNX models, built operator by operator or from text, for tests of their costs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper, parser

FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8
INT32, INT64 = TensorProto.INT32, TensorProto.INT64
MICROSOFT = "com.microsoft"
Dims = Sequence[int | str]


def weight(name: str, *dims: int, dtype: int = FLOAT) -> TensorProto:
    size = math.prod(dims) * helper.tensor_dtype_to_np_dtype(dtype).itemsize
    return helper.make_tensor(name, dtype, dims, bytes(size), raw=True)


def weights(dtype: int = FLOAT, **dims: Sequence[int]) -> list[TensorProto]:
    return [weight(name, *each, dtype=dtype) for name, each in dims.items()]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims | None],
    weights: Sequence[TensorProto] = (),
    outputs: Sequence[str] = ("y",),
    dtype: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()],
        [helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
        list(weights),
    )
    domains = {"": 18, MICROSOFT: 1, f"{MICROSOFT}.nchwc": 1, "custom": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def one(
    op: str, inputs: Mapping[str, Dims | None], *weights: TensorProto, **attributes: Any
) -> onnx.ModelProto:
    names = [*inputs, *(tensor.name for tensor in weights)]
    return model([helper.make_node(op, names, ["y"], **attributes)], inputs, weights)


def text(body: str, *weights: TensorProto, opset: int = 18) -> onnx.ModelProto:
    domains = f'"": {opset}, "com.microsoft": 1, "custom": 1, "lib": 1'
    built = parser.parse_model(f"<ir_version: 9, opset_import: [{domains}]> {body}")
    built.graph.initializer.extend(weights)
    return built


def naming(
    body: str, shapes: Mapping[str, Sequence[int]], numbers: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    """A model of a text with those of the weights and other constants that it names."""
    used = [weight(name, *shape) for name, shape in shapes.items() if name in body]
    others = [
        helper.make_tensor(name, INT64, [len(values)], values)
        for name, values in numbers.items()
        if name in body
    ]
    return text(body, *used, *others)


def convolution(data: Dims, kernel: Sequence[int], **attributes: Any) -> onnx.ModelProto:
    return one("Conv", {"x": data}, weight("w", *kernel), **attributes)


def product(first: Dims, second: Dims, op: str = "MatMul", **attributes: Any) -> onnx.ModelProto:
    return one(op, {"a": first, "b": second}, **attributes)


def einsum(equation: object, *shapes: Dims) -> onnx.ModelProto:
    given = {} if equation is None else {"equation": equation}
    return one("Einsum", {f"x{at}": shape for at, shape in enumerate(shapes)}, **given)


K = (4, 3, 3, 3)
DATA = (1, 3, 8, 8)

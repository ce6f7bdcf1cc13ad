"""Shape inference for every tensor of a model, on a copy without the weights' bytes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, islice
from typing import TYPE_CHECKING

from benchbox.costs.stand_ins import DOMAIN, stand_ins
from benchbox.errors import GraphError

if TYPE_CHECKING:
    from onnx import (
        AttributeProto,
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TensorShapeProto,
        ValueInfoProto,
    )

# Inference reads the values of constants such as Reshape targets, which are never larger.
_KEPT_ELEMENTS = 1024
_LONG = 1 << 16  # elements
_MOST_NODES = 1_000_000
NAMELESS = ("", "?", "None", "unk", "-1")  # what some exporters write for any open size


def infer(model: ModelProto, input_shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """A copy of `model` with functions inlined, inputs fixed and shapes inferred.

    The copy has no large weight's bytes: it stays far below protobuf's 2 GB, which inference and
    inlining cannot go beyond, and external data need not be loaded.
    """
    from onnx import inliner

    light = _light_model(model)
    if light.functions:
        require_few_nodes(light)
        light = _within_onnx("inline functions", lambda: inliner.inline_local_functions(light))
        light.ClearField("functions")
    _fix_inputs(light.graph, input_shapes)
    places = _put_stand_ins(light.graph)
    inferred = _best_inferred(light)
    _put_back(inferred.graph, places)
    return inferred


def _put_stand_ins(graph: GraphProto) -> list[tuple[NodeProto | None, int]]:
    """Put stand-ins for ONNX Runtime's own operators in; return what stood in each place.

    That is None for a node that stays, with how many nodes are there now.
    """
    if all(node.domain != DOMAIN for node in graph.node):
        return []
    found = [(node, stand_ins(node, graph)) for node in graph.node]
    nodes = [each for node, others in found for each in others or [node]]
    graph.ClearField("node")
    graph.node.extend(nodes)
    return [(node if others else None, len(others) or 1) for node, others in found]


def _put_back(graph: GraphProto, places: list[tuple[NodeProto | None, int]]) -> None:
    if not places:
        return
    now = iter(list(graph.node))
    nodes = []
    for original, count in places:
        *_, last = islice(now, count)
        nodes.append(original or last)
    graph.ClearField("node")
    graph.node.extend(nodes)


def _best_inferred(light: ModelProto) -> ModelProto:
    """The model with shapes, with those that follow from values where there is memory for them."""
    plain = _inferred(light, propagate=False)
    if any(map(_is_long, plain.graph.value_info)):
        return plain
    try:
        return _inferred(light, propagate=True)
    except GraphError as error:
        if isinstance(error.__cause__, MemoryError):  # long ones whose sizes it found itself
            return plain
        raise


def _inferred(model: ModelProto, *, propagate: bool) -> ModelProto:
    """The model with shapes; with `propagate` those that follow from values, such as x.shape[0]."""
    from onnx import shape_inference

    return _within_onnx(
        "infer shapes",
        lambda: shape_inference.infer_shapes(model, strict_mode=False, data_prop=propagate),
    )


def _is_long(value: ValueInfoProto) -> bool:
    """Whether a tensor is a list so long that its values would fill memory as a shape's sizes."""
    dims = value.type.tensor_type.shape.dim
    return len(dims) == 1 and dims[0].dim_value > _LONG


def require_few_nodes(model: ModelProto) -> None:
    """Raise GraphError for functions that call functions until there are too many nodes."""
    sizes: dict[tuple[str, str, str], int] = {}
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}

    def size(nodes: Iterable[NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in functions and key not in sizes:
                sizes[key] = _MOST_NODES + 1  # until it is known: one that calls itself has no end
                sizes[key] = size(functions[key].node)
            bodies = [body for a in node.attribute for body in (a.g, *a.graphs)]
            total += sizes.get(key, 1) + sum(size(body.node) for body in bodies if body.node)
        return total

    if size(model.graph.node) > _MOST_NODES:
        raise GraphError(
            f"its functions, written out, have more than {_MOST_NODES} nodes; such a graph is "
            "neither counted nor run"
        )


def _within_onnx(task: str, work: Callable[[], ModelProto]) -> ModelProto:
    try:
        return work()
    except Exception as error:  # onnx's C++ does not say which types it raises
        reason = " ".join(str(error).split())
        raise GraphError(f"the model is corrupt: onnx cannot {task}: {reason}") from error


def _light_model(model: ModelProto) -> ModelProto:
    from onnx import ModelProto

    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    _light_graph(model.graph, light.graph)
    for function in model.functions:
        _light_function(function, light.functions.add())
    return light


def _light_function(function: FunctionProto, light: FunctionProto) -> None:
    light.name, light.domain, light.overload = function.name, function.domain, function.overload
    light.input.extend(function.input)
    light.output.extend(function.output)
    light.attribute.extend(function.attribute)
    light.attribute_proto.extend(function.attribute_proto)
    light.opset_import.extend(function.opset_import)
    for node in function.node:
        _light_node(node, light.node.add())


def _light_graph(graph: GraphProto, light: GraphProto) -> None:
    light.name = graph.name
    light.input.extend(graph.input)
    light.output.extend(graph.output)
    light.value_info.extend(graph.value_info)
    light.initializer.extend(map(_light_tensor, graph.initializer))
    light.initializer.extend(map(_dense, graph.sparse_initializer))
    for node in _ordered(graph.node):
        _light_node(node, light.node.add())


def _ordered(nodes: Sequence[NodeProto]) -> Sequence[NodeProto]:
    """The nodes with each after those that make its inputs, as ONNX asks and some tools do not.

    Nodes in a cycle stay as they are.
    """
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [{maker[name] for name in _used(node) if name in maker} for node in nodes]
    if all(max(needed, default=-1) < index for index, needed in enumerate(needs)):
        return nodes
    try:
        return [nodes[i] for i in TopologicalSorter(dict(enumerate(needs))).static_order()]
    except CycleError:
        return nodes


def _used(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, in its bodies too."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from _used(inner)


def _light_node(node: NodeProto, light: NodeProto) -> None:
    light.op_type, light.domain = node.op_type, node.domain
    light.name, light.overload = node.name, node.overload
    light.input.extend(node.input)
    light.output.extend(node.output)
    for attribute in node.attribute:
        _light_attribute(attribute, light.attribute.add())


def _light_attribute(attribute: AttributeProto, light: AttributeProto) -> None:
    if attribute.HasField("t"):
        light.name, light.type = attribute.name, attribute.type
        light.t.CopyFrom(_light_tensor(attribute.t))
    elif attribute.HasField("g"):
        light.name, light.type = attribute.name, attribute.type
        _light_graph(attribute.g, light.g)
    elif attribute.HasField("sparse_tensor"):
        light.name, light.type = "value", attribute.TENSOR
        light.t.CopyFrom(_dense(attribute.sparse_tensor))
    else:
        light.CopyFrom(attribute)


def _light_tensor(tensor: TensorProto) -> TensorProto:
    from onnx import TensorProto

    if math.prod(tensor.dims) <= _KEPT_ELEMENTS:
        return tensor
    return TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)


def _dense(tensor: SparseTensorProto) -> TensorProto:
    """The dense form of a sparse constant, of which inference knows next to nothing."""
    from onnx import TensorProto

    return TensorProto(name=tensor.values.name, dims=tensor.dims, data_type=tensor.values.data_type)


def _fix_inputs(graph: GraphProto, input_shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs their shapes, and with them every dimension that goes by the same symbol."""
    inputs = {value.name: value for value in graph.input}
    symbols: defaultdict[str, set[int]] = defaultdict(set)
    for name, shape in input_shapes.items():
        if name not in inputs:
            raise GraphError(
                f"no input is named {name!r}; there are: {', '.join(map(repr, inputs))}"
            )
        _fix_input(inputs[name], shape, symbols)
    for value in chain(graph.input, graph.value_info, graph.output):
        _fix_symbols(value, symbols)


def _fix_input(
    value: ValueInfoProto, shape: Sequence[int], symbols: defaultdict[str, set[int]]
) -> None:
    from onnx import TensorShapeProto

    tensor = value.type.tensor_type
    unlimited = [TensorShapeProto.Dimension()] * len(shape)
    declared = tensor.shape.dim if tensor.HasField("shape") else unlimited
    fits = len(declared) == len(shape) and all(map(_allows, declared, shape))
    if not fits or not value.type.HasField("tensor_type"):
        raise GraphError(f"input {value.name!r} cannot have the shape {list(shape)}")
    for dim, size in zip(declared, shape, strict=True):
        if dim.dim_param not in NAMELESS:
            symbols[dim.dim_param].add(size)
    dims = [TensorShapeProto.Dimension(dim_value=size) for size in shape]
    tensor.shape.CopyFrom(TensorShapeProto(dim=dims))


def _allows(dim: TensorShapeProto.Dimension, size: int) -> bool:
    dynamic = not dim.HasField("dim_value") or dim.dim_value < 0
    return size >= 0 if dynamic else size == dim.dim_value


def _fix_symbols(value: ValueInfoProto, symbols: Mapping[str, set[int]]) -> None:
    for dim in value.type.tensor_type.shape.dim:
        sizes = symbols.get(dim.dim_param, set())
        if len(sizes) == 1:
            (dim.dim_value,) = sizes
        elif dim.dim_value < 0:  # how some exporters write "unknown"
            dim.Clear()

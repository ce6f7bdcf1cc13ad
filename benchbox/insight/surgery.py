"""Surgery on an ONNX model: an alteration carried out, what nobody reads any more removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchbox.errors import GraphError
from benchbox.insight.alteration import Alteration
from benchbox.insight.carried import Shape, repeated
from benchbox.insight.file_graph import read_by_bodies
from benchbox.insight.widths import widened

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def altered(
    model: ModelProto, inputs: Mapping[str, Sequence[int]], alteration: Alteration
) -> tuple[ModelProto, dict[str, Shape]]:
    """A valid copy of a model that is altered, and the shapes of its inputs.

    Raises GraphError for a model that cannot be.
    """
    shapes = {name: tuple(shape) for name, shape in inputs.items()}
    if alteration.widths or alteration.narrowed:
        made, shapes = widened(model, inputs, alteration.widths, alteration.narrowed)
    else:
        made = type(model)()
        made.CopyFrom(model)
        made.graph.ClearField("value_info")
    _merge_groups(made.graph, {name: new for name, (_, new) in alteration.groups.items()})
    _leave_out(made.graph, alteration.left_out)
    _prune(made.graph)
    return made, shapes


def _leave_out(graph: GraphProto, left_out: Mapping[str, str]) -> None:
    """Let other tensors stand for results; ONNX Runtime removes an Identity."""
    for node in graph.node:
        for name in node.output[:1]:
            if name in left_out:
                node.op_type, node.domain, node.name = "Identity", "", ""
                node.input[:] = [left_out[name]]
                node.output[:] = [name]
                node.ClearField("attribute")


def _prune(graph: GraphProto) -> None:
    """Remove nodes and weights that nobody reads."""
    makers = {name: node for node in graph.node for name in node.output if name}
    needed, names = set[str](), [value.name for value in graph.output]
    while names:
        if (name := names.pop()) not in needed:
            needed.add(name)
            node = makers.get(name)
            names += (*node.input, *read_by_bodies(node)) if node else ()
    nodes = [node for node in graph.node if needed & {*node.output}]
    weights = [weight for weight in graph.initializer if weight.name in needed]
    inputs = {weight.name for weight in graph.initializer} - needed  # of files before IR 4
    values = [value for value in graph.input if value.name not in inputs]
    for field, kept in (("node", nodes), ("initializer", weights), ("input", values)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)


def _merge_groups(graph: GraphProto, groups: Mapping[str, int]) -> None:
    """Give convolutions fewer groups, whose weights are repeated and scaled as sums get longer."""
    from onnx import numpy_helper

    weights = {each.name: each for each in graph.initializer}
    for node in graph.node if groups else ():
        if (count := groups.get(node.output[0], 0)) == 0:
            continue
        if node.op_type != "Conv" or node.input[1] not in weights:
            raise GraphError(f"{node.name or node.op_type}: its groups are no constants")
        (attribute,) = (each for each in node.attribute if each.name == "group")
        array = numpy_helper.to_array(weights[node.input[1]])
        size = array.shape[1] * attribute.i // count
        scaled = repeated(array, (len(array), size, *array.shape[2:]))
        attribute.i = count
        name = f"{node.input[1]}@{node.output[0]}"
        graph.initializer.append(numpy_helper.from_array(scaled, name))
        node.input[1] = name

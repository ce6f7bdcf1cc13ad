"""Shapes of a graph's tensors, the old and the new ones, carried forward node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbox.errors import GraphError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shape = tuple[int, ...]
NAMES = 4  # axes of an image; a shuffle has one more, for the groups
COLOURS = 3  # channels that an image has at most


class MeetsError(Exception):
    """Two widths that were equal and are not: which, and what both have to be."""

    def __init__(self, old: int, new: int) -> None:
        self.old, self.new = old, new


class Carried:
    """Every tensor's old shape and its new one, and the constants that nodes get instead.

    `widths` are the wanted widths by old ones, `named` those of single results, which go first.
    """

    def __init__(
        self, model: ModelProto, inputs: Mapping[str, Sequence[int]], named: Mapping[str, int]
    ) -> None:
        from onnx import numpy_helper

        from benchbox.costs.inference import infer

        self.named, self._original = named, model
        self.constants = {
            each.name: numpy_helper.to_array(each) for each in model.graph.initializer
        }
        inferred = infer(model, inputs).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self.old: dict[str, Shape] = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in values
        }
        self._inputs = {name: tuple(shape) for name, shape in inputs.items()}
        is_of_image = all(len(shape) != NAMES or shape[1] <= COLOURS for shape in inputs.values())
        self._given = self._giving() if is_of_image else set[str]()

    def begin(self, widths: Mapping[int, int]) -> None:
        """Carry from the first node on, in a copy of the model, with these widths."""
        self.widths = widths
        self.model = type(self._original)()
        self.model.CopyFrom(self._original)
        self.inputs = {name: self._widened_input(shape) for name, shape in self._inputs.items()}
        self.new = dict(self.inputs)
        self.changed: dict[str, Any] = {}

    def _giving(self) -> set[str]:
        """The results of those convolutions whose channels are the graph's outputs' own."""
        makers = {name: node for node in self._original.graph.node for name in node.output}
        names, found = [each.name for each in self._original.graph.output], set[str]()
        while names:
            node = makers.get(name := names.pop())
            if node is None or name in found or node.op_type in ("Gemm", "MatMul"):
                continue
            found.add(name)
            if not node.op_type.startswith("Conv") or self.is_depthwise(node):
                names += node.input
        return found

    def _widened_input(self, shape: Shape) -> Shape:
        if len(shape) < 4 or shape[1] not in self.widths:
            return shape
        return (shape[0], self.widths[shape[1]], *shape[2:])

    def attributes(self, node: NodeProto) -> dict[str, Any]:
        """A node's attributes as Python's values."""
        from onnx import helper

        return {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def groups(self, node: NodeProto) -> int:
        """The groups of a convolution as they were."""
        return int(self.attributes(node).get("group", 1))

    def width(self, node: NodeProto) -> int:
        """The new width of a convolution's result."""
        old = self.old[node.output[0]][1]
        if self.is_depthwise(node):  # as wide as what it reads
            inputs = self.old[node.input[0]][1]
            return old // inputs * self.new[node.input[0]][1]
        if node.output[0] in self._given and node.output[0] not in self.named:
            return old
        return self.named.get(node.output[0], self.widths.get(old, old))

    def is_depthwise(self, node: NodeProto) -> bool:
        """Whether a convolution has as many groups as channels."""
        return self.groups(node) == self.old[node.input[0]][1] > 1

    def constant(self, name: str) -> Any:  # noqa: ANN401 - an array of any type
        """The values of a constant; raises GraphError for what is computed."""
        if name not in self.constants:
            raise GraphError(f"{name}: weights that are no constants")
        return self.constants[name]

    def resize(self, node: NodeProto, index: int, shape: Shape) -> None:
        """Repeat a constant until it has this shape."""
        array = self.constant(node.input[index])
        if array.shape != shape:
            self.put(node, index, repeated(array, shape))

    def put(self, node: NodeProto, index: int, array: Any) -> None:  # noqa: ANN401
        """Give a node a constant of its own, whoever else reads the old one."""
        name = f"{node.input[index]}@{node.output[0]}"
        node.input[index] = name
        self.changed[name] = array


def repeated(array: Any, shape: Shape) -> Any:  # noqa: ANN401
    """An array repeated until it has this shape; sums over its second axis stay as large."""
    made = array
    for axis, size in enumerate(shape):
        made = np.take(made, np.arange(size) % array.shape[axis], axis=axis)
    return (made * (array.shape[1] / shape[1])).astype(array.dtype) if len(shape) > 1 else made

"""Graph of a file as alterations see it: who makes and who reads a tensor, and of what shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Tensor = tuple[int, tuple[int, ...]]  # the type of its elements, and its shape


class FileGraph:
    """A model with shapes inferred for its inputs; functions in it must be inlined.

    `makers` has the node of each result, `places` its number from the first that runs on, and
    `readers` the nodes that read a tensor; bodies and the graph's outputs count as None there.
    """

    def __init__(self, model: ModelProto, inputs: Mapping[str, Sequence[int]]) -> None:
        from benchbox.costs.inference import infer

        self.model = model
        graph = infer(model, inputs).graph
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.places = {name: at for at, node in enumerate(graph.node) for name in node.output}
        self.readers: defaultdict[str, list[NodeProto | None]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
            for name in read_by_bodies(node):
                self.readers[name].append(None)
        for value in graph.output:
            self.readers[value.name].append(None)
        self._tensors: dict[str, Tensor] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            shape = tuple(dim.dim_value for dim in tensor.shape.dim)
            if tensor.HasField("shape") and all(shape):
                self._tensors[value.name] = tensor.elem_type, shape
        self._constants = {each.name for each in model.graph.initializer}

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a weight, or computed from nothing."""
        maker = self.makers.get(name)
        return name in self._constants or (maker is not None and not [*maker.input])

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; empty where that is not known."""
        return self._tensors[name][1] if name in self._tensors else ()

    def is_alike(self, one: str, other: str) -> bool:
        """Whether two tensors have one type and one shape, which are known."""
        return one in self._tensors and self._tensors[one] == self._tensors.get(other)

    def computed(self, node: NodeProto) -> list[str]:
        """The tensors that a node reads and that are no constants, each once."""
        return [name for name in dict.fromkeys(node.input) if name and not self.is_constant(name)]

    def only_reader(self, name: str) -> NodeProto | None:
        """The node that alone reads a tensor, or None."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 else None


def read_by_bodies(node: NodeProto) -> Iterator[str]:
    """The names that the bodies of a node read, their own among them."""
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from inner.input
                yield from read_by_bodies(inner)
            yield from (value.name for value in body.output)

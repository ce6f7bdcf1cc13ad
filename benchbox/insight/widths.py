"""Widths of a graph's channels changed: what a sentence about channels says, made to be timed.

Shapes are carried forward through the graph: a convolution's new width follows from its old one,
what is concatenated, split, shuffled or added after it follows suit, and where two widths that are
to be added differ, the smaller one is made the larger. Weights are repeated, scaled so that sums
stay as large as they were. What a graph gives of an image stays as wide as its users expect it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbox.errors import GraphError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shape = tuple[int, ...]
ATTEMPTS = 30  # of widening further where widths meet that differ
# What may be widened though all that it reads is not.
WIDENING = ("Conv", "ConvTranspose", "Concat", "Split")
COLOURS = 3  # channels that an image has at most
NAMES = 4  # axes of an image; a shuffle has one more, for the groups


class _MeetsError(Exception):
    """Two widths that were equal and are not: which, and what both have to be."""

    def __init__(self, old: int, new: int) -> None:
        self.old, self.new = old, new


def widened(
    model: ModelProto, inputs: Mapping[str, Sequence[int]], to: Mapping[int, int]
) -> tuple[ModelProto, dict[str, Shape], dict[int, int]]:
    """A copy with other numbers of channels, by old number, and the shapes of its inputs.

    The last are all numbers of channels that changed, with those that followed suit.

    Raises GraphError for a graph with operators whose new shapes are not known.
    """
    widths = dict(to)
    for _ in range(ATTEMPTS):
        try:
            return _Widening(model, inputs, widths).done()
        except _MeetsError as meeting:
            if widths.get(meeting.old) == meeting.new:
                break
            widths[meeting.old] = meeting.new
    raise GraphError("no widths fit all additions in it")


class _Widening:
    """One attempt: every tensor's old shape and its new one."""

    def __init__(
        self, model: ModelProto, inputs: Mapping[str, Sequence[int]], widths: Mapping[int, int]
    ) -> None:
        from onnx import numpy_helper

        from benchbox.costs.inference import infer

        self._widths = widths
        self._model = type(model)()
        self._model.CopyFrom(model)
        self._constants = {
            each.name: numpy_helper.to_array(each) for each in model.graph.initializer
        }
        inferred = infer(model, inputs).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self._old: dict[str, Shape] = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in values
        }
        self._new: dict[str, Shape] = {
            name: self._widened_input(tuple(shape)) for name, shape in inputs.items()
        }
        self._inputs = dict(self._new)
        self._changed: dict[str, Any] = {}
        is_of_image = all(len(shape) != NAMES or shape[1] <= COLOURS for shape in inputs.values())
        self._given = self._giving() if is_of_image else set[str]()

    def _giving(self) -> set[str]:
        """The results of those convolutions whose channels are the graph's outputs' own."""
        makers = {name: node for node in self._model.graph.node for name in node.output}
        names, found = [each.name for each in self._model.graph.output], set[str]()
        while names:
            node = makers.get(name := names.pop())
            if node is None or name in found or node.op_type in ("Gemm", "MatMul"):
                continue
            found.add(name)
            if not node.op_type.startswith("Conv") or self._is_depthwise(node):
                names += node.input
        return found

    def done(self) -> tuple[ModelProto, dict[str, Shape], dict[int, int]]:
        """Carry all shapes forward and write the model."""
        from onnx import numpy_helper

        graph = self._model.graph
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self._step(node)
        graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in self._changed.items()
        )
        graph.ClearField("value_info")
        for value in [*graph.input, *graph.output]:
            if shape := self._new.get(value.name):
                for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=False):
                    dim.Clear()
                    dim.dim_value = size
        pairs = ((self._old.get(name, ()), new) for name, new in self._new.items())
        changed = {
            old[1]: new[1] for old, new in pairs if len(old) == len(new) == NAMES and old != new
        }
        return self._model, self._inputs, changed

    def _widened_input(self, shape: Shape) -> Shape:
        if len(shape) < 4 or shape[1] not in self._widths:
            return shape
        return (shape[0], self._widths[shape[1]], *shape[2:])

    def _step(self, node: NodeProto) -> None:
        reads = [name for name in node.input if name in self._new]
        if not reads:  # computed from constants alone
            for name in node.output:
                self._new[name] = self._old.get(name, ())
            return
        is_same = all(self._new[name] == self._old.get(name, self._new[name]) for name in reads)
        if is_same and node.op_type not in WIDENING:
            self._new |= {name: self._old.get(name, ()) for name in node.output}
            return
        method = getattr(self, f"_op_{node.op_type.lower()}", None)
        if method is not None:
            method(node)
        elif len(reads) > 1:
            self._together(node, reads)
        else:
            self._alone(node, reads[0])

    def _attributes(self, node: NodeProto) -> dict[str, Any]:
        from onnx import helper

        return {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def _old_width(self, node: NodeProto) -> int:
        return self._old[node.output[0]][1]

    def _groups(self, node: NodeProto) -> int:
        return int(self._attributes(node).get("group", 1))

    def _width(self, node: NodeProto) -> int:
        """The new width of a convolution's result."""
        old = self._old_width(node)
        if self._is_depthwise(node):  # as wide as what it reads
            inputs = self._old[node.input[0]][1]
            return old // inputs * self._new[node.input[0]][1]
        return old if node.output[0] in self._given else self._widths.get(old, old)

    def _is_depthwise(self, node: NodeProto) -> bool:
        return self._groups(node) == self._old[node.input[0]][1] > 1

    def _op_conv(self, node: NodeProto) -> None:
        weights = self._constant(node.input[1])
        old_groups = self._groups(node)
        width, reads = self._width(node), self._new[node.input[0]][1]
        groups = reads if self._is_depthwise(node) else old_groups
        if reads % groups or width % groups:
            raise GraphError(f"{node.name or node.op_type}: {groups} groups do not divide {width}")
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = groups
        self._resize(node, 1, (width, reads // groups, *weights.shape[2:]))
        if len(node.input) > 2 and node.input[2]:
            self._resize(node, 2, (width,))
        old = self._old[node.output[0]]
        self._new[node.output[0]] = (old[0], width, *old[2:])

    def _op_convtranspose(self, node: NodeProto) -> None:
        weights, reads = self._constant(node.input[1]), self._new[node.input[0]][1]
        if self._groups(node) != 1:
            raise GraphError(f"{node.name or node.op_type}: groups of a transposed convolution")
        width = self._width(node)
        self._resize(node, 1, (reads, width, *weights.shape[2:]))
        if len(node.input) > 2 and node.input[2]:
            self._resize(node, 2, (width,))
        old = self._old[node.output[0]]
        self._new[node.output[0]] = (old[0], width, *old[2:])

    def _op_batchnormalization(self, node: NodeProto) -> None:
        shape = self._new[node.input[0]]
        for index in range(1, 5):
            self._resize(node, index, (shape[1],))
        self._new[node.output[0]] = shape

    def _op_concat(self, node: NodeProto) -> None:
        shapes = [self._new.get(name) or self._constant(name).shape for name in node.input]
        axis = self._attributes(node)["axis"] % len(shapes[0])
        total = sum(shape[axis] for shape in shapes)
        old = [self._old[name][axis] for name in node.input if name in self._old]
        wanted = self._widths.get(self._old[node.output[0]][axis], 0)
        if wanted > total and len(old) == len(shapes):
            widest = max(range(len(old)), key=lambda index: old[index])
            raise _MeetsError(old[widest], shapes[widest][axis] + wanted - total)
        self._new[node.output[0]] = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])

    def _op_split(self, node: NodeProto) -> None:
        shape = self._new[node.input[0]]
        axis = self._attributes(node).get("axis", 0) % len(shape)
        old = [self._old[name][axis] for name in node.output]
        sizes = [self._widths.get(size, size) for size in old]
        if sum(sizes) > shape[axis]:
            raise _MeetsError(sum(old), sum(sizes))
        if sum(sizes) != shape[axis]:
            sizes = [size * shape[axis] // sum(old) for size in old]
        if sum(sizes) != shape[axis]:
            raise GraphError(f"{node.name or node.op_type}: {shape[axis]} channels do not split so")
        for name, size in zip(node.output, sizes, strict=True):
            self._new[name] = (*shape[:axis], size, *shape[axis + 1 :])
        if len(node.input) > 1 and node.input[1]:
            self._put(node, 1, np.array(sizes, np.int64))

    def _op_slice(self, node: NodeProto) -> None:
        old, shape = self._old[node.output[0]], self._new[node.input[0]]
        before = self._old[node.input[0]]
        changed = [i for i, size in enumerate(shape) if size != before[i]]
        if any(old[i] != before[i] for i in changed):
            (axis, *others) = changed
            starts = self._constant(node.input[1])
            start = starts.flat[0] * shape[axis] / before[axis]  # of what is cut into like parts
            if others or starts.size != 1 or start < 0 or start % 1:
                raise GraphError(f"{node.name or node.op_type}: a slice of changed channels")
            size = min(shape[axis], self._widths.get(old[axis], old[axis]))
            if start:
                size = min(shape[axis] - int(start), old[axis] * shape[axis] // before[axis])
                self._put(node, 1, np.array([start], np.int64))
            self._put(node, 2, np.array([start + size], np.int64))
            self._new[node.output[0]] = (*shape[:axis], size, *shape[axis + 1 :])
            return
        self._alone(node, node.input[0])

    def _op_reshape(self, node: NodeProto) -> None:
        old, made = self._old[node.output[0]], list(self._old[node.output[0]])
        before, after = self._old[node.input[0]], self._new[node.input[0]]
        # Of a shuffle's groups and channels the more numerous are channels.
        places = sorted(range(1, 3 if len(old) > NAMES else 2), key=lambda axis: -old[axis])
        fits = [axis for axis in places if old[axis] * math.prod(after) % math.prod(before) == 0]
        if not fits:
            raise GraphError(f"{node.name or node.op_type}: its channels do not divide")
        made[fits[0]] = old[fits[0]] * math.prod(after) // math.prod(before)
        self._put(node, 1, np.array(made, np.int64))
        self._new[node.output[0]] = tuple(made)

    def _op_transpose(self, node: NodeProto) -> None:
        shape = self._new[node.input[0]]
        order = self._attributes(node).get("perm", range(len(shape))[::-1])
        self._new[node.output[0]] = tuple(shape[axis] for axis in order)

    def _op_flatten(self, node: NodeProto) -> None:
        shape = self._new[node.input[0]]
        axis = self._attributes(node).get("axis", 1)
        self._new[node.output[0]] = (math.prod(shape[:axis]), math.prod(shape[axis:]))

    def _op_gemm(self, node: NodeProto) -> None:
        weights, depth = self._constant(node.input[1]), self._new[node.input[0]][-1]
        transposed = self._attributes(node).get("transB", 0)
        width = weights.shape[0 if transposed else 1]
        self._resize(node, 1, (width, depth) if transposed else (depth, width))
        self._new[node.output[0]] = (*self._new[node.input[0]][:-1], width)

    def _op_matmul(self, node: NodeProto) -> None:
        weights, depth = self._constant(node.input[1]), self._new[node.input[0]][-1]
        self._resize(node, 1, (depth, weights.shape[1]))
        self._new[node.output[0]] = (*self._new[node.input[0]][:-1], weights.shape[1])

    def _op_resize(self, node: NodeProto) -> None:
        self._alone(node, node.input[0])
        if len(node.input) > 3 and node.input[3]:
            self._put(node, 3, np.array(self._new[node.output[0]], np.int64))

    def _together(self, node: NodeProto, reads: Sequence[str]) -> None:
        """Operators on several tensors of one width."""
        widest = max((self._new[name] for name in reads), key=math.prod)
        for name in reads:
            old, new = self._old[name], self._new[name]
            for axis in range(1, min(len(new), len(widest))):
                if new[axis] not in (1, widest[axis]):
                    raise _MeetsError(old[axis], max(new[axis], widest[axis]))
        self._new[node.output[0]] = widest

    def _alone(self, node: NodeProto, read: str) -> None:
        """Operators that keep the channels of what they read; constants beside it follow."""
        before, after = self._old[read], self._new[read]
        for name in node.output:
            old = self._old.get(name, ())
            pairs = zip(old, before, after, strict=False)
            sizes = [new if size == was else size for size, was, new in pairs]
            self._new[name] = (*sizes, *old[len(sizes) :])
        for index, name in enumerate(node.input):
            shape = np.shape(self._constants.get(name, ()))
            width = before[1] if len(before) > 1 else 0
            if name != read and len(shape) > 0 and width in shape and width != after[1]:
                followed = tuple(after[1] if size == width else size for size in shape)
                self._resize(node, index, followed)

    def _constant(self, name: str) -> Any:  # noqa: ANN401 - an array of any type
        if name not in self._constants:
            raise GraphError(f"{name}: weights that are no constants")
        return self._constants[name]

    def _resize(self, node: NodeProto, index: int, shape: Shape) -> None:
        """Repeat a constant until it has this shape; sums over its second axis stay as large."""
        array = self._constant(node.input[index])
        if array.shape == shape:
            return
        made = array
        for axis, size in enumerate(shape):
            made = np.take(made, np.arange(size) % array.shape[axis], axis=axis)
        if len(shape) > 1:
            made = (made * (array.shape[1] / shape[1])).astype(array.dtype)
        self._put(node, index, made)

    def _put(self, node: NodeProto, index: int, array: Any) -> None:  # noqa: ANN401
        """Give a node a constant of its own, whoever else reads the old one."""
        name = f"{node.input[index]}@{node.output[0]}"
        node.input[index] = name
        self._changed[name] = array

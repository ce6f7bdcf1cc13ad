"""Rules of operators: a result's new shape from those of what a node reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchbox.errors import GraphError
from benchbox.insight.carried import NAMES, Carried, MeetsError, Shape

if TYPE_CHECKING:
    from onnx import NodeProto

# What may be widened though all that it reads is not.
WIDENING = ("Conv", "ConvTranspose", "Concat", "Split")


def carry(carried: Carried, node: NodeProto) -> None:
    """Carry the shapes of what a node reads to its results, and give it the constants to fit.

    Raises MeetsError where two widths meet that differ, GraphError for other misfits.
    """
    new, old = carried.new, carried.old
    reads = [name for name in node.input if name in new]
    is_same = all(new[name] == old.get(name, new[name]) for name in reads)
    widens = node.op_type in WIDENING or node.output[0] in carried.named
    if not reads or (is_same and not widens):
        new |= {name: old.get(name, ()) for name in node.output}
    elif rule := RULES.get(node.op_type):
        rule(carried, node)
    elif len(reads) > 1:
        _together(carried, node, reads)
    else:
        _alone(carried, node, reads[0])


def _conv(carried: Carried, node: NodeProto) -> None:
    weights = carried.constant(node.input[1])
    old_groups = carried.groups(node)
    width, reads = carried.width(node), carried.new[node.input[0]][1]
    groups = reads if carried.is_depthwise(node) else old_groups
    if reads % groups or width % groups:
        raise GraphError(f"{node.name or node.op_type}: {groups} groups do not divide {width}")
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = groups
    carried.resize(node, 1, (width, reads // groups, *weights.shape[2:]))
    if len(node.input) > 2 and node.input[2]:
        carried.resize(node, 2, (width,))
    old = carried.old[node.output[0]]
    carried.new[node.output[0]] = (old[0], width, *old[2:])


def _convtranspose(carried: Carried, node: NodeProto) -> None:
    weights, reads = carried.constant(node.input[1]), carried.new[node.input[0]][1]
    if carried.groups(node) != 1:
        raise GraphError(f"{node.name or node.op_type}: groups of a transposed convolution")
    width = carried.width(node)
    carried.resize(node, 1, (reads, width, *weights.shape[2:]))
    if len(node.input) > 2 and node.input[2]:
        carried.resize(node, 2, (width,))
    old = carried.old[node.output[0]]
    carried.new[node.output[0]] = (old[0], width, *old[2:])


def _batchnormalization(carried: Carried, node: NodeProto) -> None:
    shape = carried.new[node.input[0]]
    for index in range(1, 5):
        carried.resize(node, index, (shape[1],))
    carried.new[node.output[0]] = shape


def _concat(carried: Carried, node: NodeProto) -> None:
    shapes = [carried.new.get(name) or carried.constant(name).shape for name in node.input]
    axis = carried.attributes(node)["axis"] % len(shapes[0])
    total = sum(shape[axis] for shape in shapes)
    old = [carried.old[name][axis] for name in node.input if name in carried.old]
    wanted = carried.widths.get(carried.old[node.output[0]][axis], 0)
    if wanted > total and len(old) == len(shapes):
        widest = max(range(len(old)), key=lambda index: old[index])
        raise MeetsError(old[widest], shapes[widest][axis] + wanted - total)
    carried.new[node.output[0]] = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _split(carried: Carried, node: NodeProto) -> None:
    shape = carried.new[node.input[0]]
    axis = carried.attributes(node).get("axis", 0) % len(shape)
    old = [carried.old[name][axis] for name in node.output]
    sizes = [carried.widths.get(size, size) for size in old]
    if sum(sizes) > shape[axis]:
        raise MeetsError(sum(old), sum(sizes))
    if sum(sizes) != shape[axis]:
        sizes = [size * shape[axis] // sum(old) for size in old]
    if sum(sizes) != shape[axis]:
        raise GraphError(f"{node.name or node.op_type}: {shape[axis]} channels do not split so")
    for name, size in zip(node.output, sizes, strict=True):
        carried.new[name] = (*shape[:axis], size, *shape[axis + 1 :])
    for attribute in node.attribute:  # before opset 13
        if attribute.name == "split":
            attribute.ints[:] = sizes
    if len(node.input) > 1 and node.input[1]:
        carried.put(node, 1, np.array(sizes, np.int64))


def _slice(carried: Carried, node: NodeProto) -> None:
    old, shape = carried.old[node.output[0]], carried.new[node.input[0]]
    before = carried.old[node.input[0]]
    changed = [i for i, size in enumerate(shape) if size != before[i]]
    if any(old[i] != before[i] for i in changed):
        (axis, *others) = changed
        starts = carried.constant(node.input[1])
        start = starts.flat[0] * shape[axis] / before[axis]  # of what is cut into like parts
        if others or starts.size != 1 or start < 0 or start % 1:
            raise GraphError(f"{node.name or node.op_type}: a slice of changed channels")
        size = min(shape[axis], carried.widths.get(old[axis], old[axis]))
        if start:
            size = min(shape[axis] - int(start), old[axis] * shape[axis] // before[axis])
            carried.put(node, 1, np.array([start], np.int64))
        carried.put(node, 2, np.array([start + size], np.int64))
        carried.new[node.output[0]] = (*shape[:axis], size, *shape[axis + 1 :])
        return
    _alone(carried, node, node.input[0])


def _reshape(carried: Carried, node: NodeProto) -> None:
    old, made = carried.old[node.output[0]], list(carried.old[node.output[0]])
    before, after = carried.old[node.input[0]], carried.new[node.input[0]]
    # Of a shuffle's groups and channels the more numerous are channels.
    places = sorted(range(1, 3 if len(old) > NAMES else 2), key=lambda axis: -old[axis])
    fits = [axis for axis in places if old[axis] * math.prod(after) % math.prod(before) == 0]
    if not fits:
        raise GraphError(f"{node.name or node.op_type}: its channels do not divide")
    made[fits[0]] = old[fits[0]] * math.prod(after) // math.prod(before)
    carried.put(node, 1, np.array(made, np.int64))
    carried.new[node.output[0]] = tuple(made)


def _transpose(carried: Carried, node: NodeProto) -> None:
    shape = carried.new[node.input[0]]
    order = carried.attributes(node).get("perm", range(len(shape))[::-1])
    carried.new[node.output[0]] = tuple(shape[axis] for axis in order)


def _flatten(carried: Carried, node: NodeProto) -> None:
    shape = carried.new[node.input[0]]
    axis = carried.attributes(node).get("axis", 1)
    carried.new[node.output[0]] = (math.prod(shape[:axis]), math.prod(shape[axis:]))


def _gemm(carried: Carried, node: NodeProto) -> None:
    weights, depth = carried.constant(node.input[1]), carried.new[node.input[0]][-1]
    transposed = carried.attributes(node).get("transB", 0)
    old = weights.shape[0 if transposed else 1]
    width = carried.named.get(node.output[0], old)
    carried.resize(node, 1, (width, depth) if transposed else (depth, width))
    if len(node.input) > 2 and node.input[2] and width != old:
        bias = carried.constant(node.input[2]).shape
        carried.resize(node, 2, (*bias[:-1], width) if bias and bias[-1] == old else bias)
    carried.new[node.output[0]] = (*carried.new[node.input[0]][:-1], width)


def _matmul(carried: Carried, node: NodeProto) -> None:
    weights, depth = carried.constant(node.input[1]), carried.new[node.input[0]][-1]
    width = carried.named.get(node.output[0], weights.shape[1])
    carried.resize(node, 1, (depth, width))
    carried.new[node.output[0]] = (*carried.new[node.input[0]][:-1], width)


def _resize(carried: Carried, node: NodeProto) -> None:
    _alone(carried, node, node.input[0])
    if len(node.input) > 3 and node.input[3]:
        carried.put(node, 3, np.array(carried.new[node.output[0]], np.int64))


def _together(carried: Carried, node: NodeProto, reads: Sequence[str]) -> None:
    """Operators on several tensors of one width."""
    widest = max((carried.new[name] for name in reads), key=math.prod)
    for name in reads:
        old, new = carried.old[name], carried.new[name]
        for axis in range(1, min(len(new), len(widest))):
            if new[axis] not in (1, widest[axis]):
                raise MeetsError(old[axis], max(new[axis], widest[axis]))
    carried.new[node.output[0]] = widest


def _alone(carried: Carried, node: NodeProto, read: str) -> None:
    """Operators that keep the channels of what they read; constants beside it follow."""
    before, after = carried.old[read], carried.new[read]
    for name in node.output:
        old = carried.old.get(name, ())
        pairs = zip(old, before, after, strict=False)
        sizes = [new if size == was else size for size, was, new in pairs]
        carried.new[name] = (*sizes, *old[len(sizes) :])
    for index, name in enumerate(node.input):
        shape = np.shape(carried.constants.get(name, ()))
        if name != read and shape and (followed := _followed(shape, before, after)) != shape:
            carried.resize(node, index, followed)


def _followed(shape: Shape, before: Shape, after: Shape) -> Shape:
    """The shape of a constant beside what has another one now: its last axes are that one's."""
    axes = range(-len(shape), 0)
    if len(shape) <= len(before) == len(after) and all(
        shape[axis] in (1, before[axis]) for axis in axes
    ):
        return tuple(1 if shape[axis] == 1 else after[axis] for axis in axes)
    width = before[1] if len(before) > 1 else 0
    return tuple(after[1] if size == width else size for size in shape)


RULES: Mapping[str, Callable[[Carried, NodeProto], None]] = {
    "BatchNormalization": _batchnormalization,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _convtranspose,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}

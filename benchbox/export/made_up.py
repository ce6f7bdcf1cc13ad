"""Integers that benchbox makes up for a graph's inputs, by what the graph does with them.

Those that become an index are spread over the table, lengths take the most that the shapes allow;
all others stay 0 or 1. Followed are the operators that hand integers on, into bodies too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbox.agent.ort import inputs
from benchbox.agent.stdio import Message
from benchbox.costs.inference import infer

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MadeUp = Mapping[str, Mapping[str, int]]
Uses = dict[str, list[tuple["NodeProto", int]]]
# What hands on its first input, or all of them, as it is.
_FIRST = """
    Cast CastLike Clip DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND
    Identity Mod Pad ReduceMax ReduceMin Reshape Slice Squeeze Tile TopK Transpose Trilu
    Unsqueeze
"""
ALL = frozenset({"Concat", "Max", "Min", "Where"})
# What computes something else of it, which still decides.
_OTHER = """
    Abs And ArgMax ArgMin BitwiseAnd Ceil CumSum Div Equal Floor Greater GreaterOrEqual Less
    LessOrEqual Mul Neg Not NonZero OneHot Or Range ReduceProd ReduceSum Round Sub Sum Where
    Xor
"""
FIRST, OTHER = frozenset(_FIRST.split()), frozenset(_OTHER.split())
# Inputs that decide how much is computed, by operator.
DECIDING: Mapping[str, tuple[int, ...]] = {
    "Attention": (6,),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "EmbedLayerNormalization": (0, 1),
    "Expand": (1,),
    "GRU": (4,),
    "Gather": (1,),
    "GatherBlockQuantized": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "GroupQueryAttention": (5, 6),
    "If": (0,),
    "LSTM": (4,),
    "Loop": (0, 1),
    "NonMaxSuppression": (2,),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1,),
    "RNN": (4,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "ReverseSequence": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unique": (0,),
}
# An input, the attribute that names the axis of it that counts, and that axis without it.
Place = tuple[int, str, int]
TABLES: Mapping[str, Place] = {
    "Gather": (0, "axis", 0),
    "GatherBlockQuantized": (0, "gather_axis", 0),
    "GatherElements": (0, "axis", 0),
    "ScatterElements": (0, "axis", 0),
}
LENGTHS: Mapping[str, Place] = {
    "Attention": (1, "", -2),
    "GRU": (0, "layout", 0),
    "LSTM": (0, "layout", 0),
    "NonMaxSuppression": (0, "", 1),
    "RNN": (0, "layout", 0),
    "ReverseSequence": (0, "time_axis", 0),
    "TopK": (0, "axis", -1),
}


@dataclass(slots=True)
class _Found:
    """What became of an input: whether it decides anything, and the bounds that it must keep."""

    decides: bool = False
    below: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=list)

    def how(self, dtype: str) -> dict[str, int]:
        """How its values are made; {} for 0 and 1."""
        import numpy as np

        top = 1 if dtype == "bool" else int(np.iinfo(dtype).max)
        if self.most:
            return {"number": max(0, min([*self.most, *(n - 1 for n in self.below), top]))}
        if self.below and dtype != "bool":
            return {"below": max(1, min([*self.below, top + 1]))}
        return {}


def made_up(model: "ModelProto", tensors: Sequence[Message]) -> dict[str, dict[str, int]]:
    """How integers are made for each input on whose values the work depends.

    Empty for a graph whose inputs all have values, or no integers.
    """
    asked = made_up_integers(tensors)
    if not asked:
        return {}
    graph = _Graph(infer(model, {each["name"]: each["shape"] for each in tensors}).graph)
    found = {name: graph.follow(name) for name in asked}
    return {name: each.how(asked[name]) for name, each in found.items() if each.decides}


def made_up_integers(tensors: Sequence[Message]) -> dict[str, str]:
    """The inputs that integers are made up for, with their types."""
    kinds = (*inputs.BYTES, *inputs.WORDS, "bool")
    return {t["name"]: t["dtype"] for t in tensors if t["dtype"] in kinds and "values" not in t}


class _Graph:
    """A graph whose values are followed from node to node."""

    def __init__(self, graph: "GraphProto") -> None:
        self._uses: Uses = {}
        self._shapes: dict[str, list[int]] = {}
        self._constants: dict[str, Sequence[float]] = {}
        self._read(graph)

    def _read(self, graph: "GraphProto") -> None:
        from onnx import numpy_helper

        for value in (*graph.value_info, *graph.input, *graph.output):
            self._shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
        for node in graph.node:
            for index, name in enumerate(node.input):
                self._uses.setdefault(name, []).append((node, index))
            for body in _bodies(node):
                self._read(body)
        constants = {tensor.name: tensor for tensor in graph.initializer}
        constants |= {n.output[0]: a.t for n in graph.node for a in n.attribute if a.HasField("t")}
        for name, tensor in constants.items():
            self._shapes[name] = list(tensor.dims)
            is_small = math.prod(tensor.dims) and (
                tensor.raw_data or tensor.int64_data or tensor.int32_data
            )
            if is_small and tensor.data_type in (6, 7):  # int32 and int64, of a light copy
                self._constants[name] = numpy_helper.to_array(tensor).reshape(-1).tolist()

    def follow(self, name: str) -> _Found:
        """What becomes of an input, by every way that its values take.

        A value on the way is at most `times` that of the input and `plus`, None where unknown.
        """
        found = _Found()
        ways: list[tuple[str, tuple[int, int] | None]] = [(name, (1, 0))]
        seen = set[str]()
        while ways:
            name, line = ways.pop()
            if name in seen:
                continue
            seen.add(name)
            for node, index in self._uses.get(name, ()):
                if index in DECIDING.get(node.op_type, ()):
                    found.decides = True
                    if line is not None:
                        self._bound(found, node, index, line)
                ways += self._next(node, index, line)
        return found

    def _next(
        self, node: "NodeProto", index: int, line: tuple[int, int] | None
    ) -> Iterator[tuple[str, tuple[int, int] | None]]:
        """The values that an operator makes of its input."""
        kind = node.op_type
        if kind in ("Loop", "Scan"):
            body = _bodies(node)[0]
            if index < len(body.input) and (kind == "Scan" or index > 1):
                yield body.input[index].name, line
            return
        if (index == 0 and kind in FIRST) or (kind in ALL and (kind != "Where" or index)):
            yield node.output[0], line
        elif kind == "Split" and index == 0:
            yield from ((name, line) for name in node.output)
        elif kind in ("Add", "Mul") or (kind == "Sub" and index == 0):
            yield node.output[0], self._computed(node, index, line)
        elif kind in OTHER:
            yield node.output[0], None

    def _computed(
        self, node: "NodeProto", index: int, line: tuple[int, int] | None
    ) -> tuple[int, int] | None:
        """The line after Add, Sub or Mul: with constants exact, else of two alike."""
        if line is None:
            return None
        times, plus = line
        other = self._constants.get(node.input[1 - index])
        if other is None:
            return (2 * times, plus) if node.op_type == "Add" else None
        if node.op_type == "Mul":
            factor = max(1, int(max(other)))
            return times * factor, plus * factor
        return times, plus + int(max(other) if node.op_type == "Add" else -min(other))

    def _bound(self, found: _Found, node: "NodeProto", index: int, line: tuple[int, int]) -> None:
        times, plus = line
        if (size := self._index_below(node, index)) is not None:
            found.below.append(max(1, -(-(size - plus) // times)))
        elif (size := self._most(node, index)) is not None:
            found.most.append(max(0, (size - plus) // times))

    def _index_below(self, node: "NodeProto", index: int) -> int | None:
        """The size of the table that an input is an index of, None where it is none."""
        kind = node.op_type
        if kind == "EmbedLayerNormalization":
            return self._size(node, (2, 4)[index], 0)
        if kind in ("GatherND", "ScatterND"):
            sizes = self._shapes.get(node.input[0], [])
            last = self._shapes.get(node.input[1], [0])[-1:]
            first = _integer(node, "batch_dims", 0)
            return min(sizes[first : first + last[0]] if last else [], default=None)
        return self._sized(node, TABLES)

    def _most(self, node: "NodeProto", index: int) -> int | None:
        """The largest length or count that the shapes allow, None for what is none."""
        kind = node.op_type
        if kind == "Slice" and index == 2:
            axes = self._constants.get(node.input[3]) if len(node.input) > 3 else [0]
            return self._size(node, 0, int(axes[0])) if axes and len(axes) == 1 else None
        if kind == "GroupQueryAttention":
            past, new = self._size(node, 3, 2) or 0, self._size(node, 0, 1)
            return new and past + new - (index == 5)
        if kind == "Loop":
            return self._trips(node) if index == 0 else None
        return self._sized(node, LENGTHS)

    def _trips(self, node: "NodeProto") -> int | None:
        """How often a loop can run that takes a part of a tensor each time."""
        body = _bodies(node)[0]
        count = self.follow(body.input[0].name)
        return min(count.below, default=None)

    def _sized(self, node: "NodeProto", places: Mapping[str, Place]) -> int | None:
        """The size at the place that an operator has in a table, None for one that has none."""
        if node.op_type not in places:
            return None
        index, attribute, axis = places[node.op_type]
        return self._size(node, index, _integer(node, attribute, axis))

    def _size(self, node: "NodeProto", index: int, axis: int) -> int | None:
        sizes = self._shapes.get(node.input[index], [])
        return (sizes[axis] or None) if -len(sizes) <= axis < len(sizes) else None


def _bodies(node: "NodeProto") -> list["GraphProto"]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _integer(node: "NodeProto", name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)

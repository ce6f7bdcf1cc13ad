"""Kernels: what a node that ran computes, with its real channels, its layout and its weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchbox.analysis.operators import kind as kind_of
from benchbox.analysis.operators import weights
from benchbox.analysis.origins import BLOCKED
from benchbox.analysis.profile import Node

Kind = Literal["dense", "grouped", "depthwise", "product", "other"]
READ_ONCE = 8  # multiplications of each weight, up to which reading it is what takes long


@dataclass(frozen=True, slots=True)
class Kernel:
    """One node's work: `inputs` and `outputs` are a convolution's channels, as the file has them.

    `is_blocked` is whether it computes in blocks of channels, `macs` what the file asks for without
    padding, `pixels` the results of a channel, `memory_bytes` what it reads and writes.
    """

    kind: Kind
    macs: int = 0
    is_blocked: bool = False
    inputs: int = 0
    outputs: int = 0
    groups: int = 1
    window: Sequence[int] = ()
    pixels: int = 0
    weights: int = 0
    memory_bytes: int = 0

    @property
    def reads_weights(self) -> bool:
        """Whether it reads weights that it hardly uses again, as on a map of one pixel."""
        return 0 < self.macs <= READ_ONCE * self.weights

    def padding(self, block: int) -> float:
        """Multiplications that blocks of channels add, as a share of those of the file."""
        if not self.is_blocked or self.kind != "dense":
            return 0.0
        padded = _up(self.outputs, block) / self.outputs
        if self.inputs >= block:  # fewer are read as they are
            padded *= _up(self.inputs, block) / self.inputs
        return padded - 1


def of(node: Node, bytes_each: int) -> Kernel:
    """The kernel of a node whose elements have so many bytes."""
    alike = node.origin and kind_of(node.origin.operation) == kind_of(node.operation)
    operation = node.origin.operation if node.origin and alike else node.operation
    macs = node.origin.macs if node.origin and alike else None
    shapes = [*node.operation.inputs, *node.operation.outputs]
    memory = bytes_each * sum(math.prod(shape) for shape in shapes if shape)
    result = operation.output()
    each, data = weights(operation), operation.input(0)
    is_known = min((len(each), len(data), len(result))) > 2 and min((*each, *data, *result)) > 0
    if kind_of(operation) == "convolution" and is_known:
        channels = data[1]
        groups = max(1, channels // each[1]) if "Transpose" not in operation.type else 1
        known = math.prod(result) * math.prod(each[1:]) if "Transpose" not in operation.type else 0
        return Kernel(
            kind=_kind(node, groups),
            macs=known if macs is None else macs,
            is_blocked=node.name.endswith(BLOCKED),
            inputs=channels,
            outputs=result[1],
            groups=groups,
            window=each[2:],
            pixels=math.prod(result[2:]),
            weights=math.prod(each),
            memory_bytes=memory,
        )
    if kind_of(operation) in ("matmul", "attention") and result and data:
        depth = data[-1]
        known = math.prod(result) * depth
        return Kernel(
            "product",
            macs=known if macs is None else macs,
            pixels=math.prod(result[:-1]),
            weights=depth * result[-1],
            memory_bytes=memory,
        )
    return Kernel("other", memory_bytes=memory)


def block(nodes: Sequence[Node]) -> int:
    """The channels of a block: 16, or 8 where a blocked result has no multiple of 16."""
    blocked = [node.operation.output() for node in nodes if node.name.endswith(BLOCKED)]
    return 8 if any(len(shape) > 1 and shape[1] % 16 for shape in blocked) else 16


def _kind(node: Node, groups: int) -> Kind:
    if node.category == "depthwise":
        return "depthwise"
    return "grouped" if groups > 1 else "dense"


def _up(count: int, block: int) -> int:
    return -(-count // block) * block

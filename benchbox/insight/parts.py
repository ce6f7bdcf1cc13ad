"""Parts of a latency that exclude each other and add up to it, and what each node is held up by.

A node's time is first what its real multiplications take at the peak of a large product; what is
left belongs to one cause: the padding of channels to blocks as far as that would take so long, then
what its kernel is. Channels come from the file: nodes that compute in blocks of channels report
padded ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from benchbox.analysis.operators import LAYOUT
from benchbox.analysis.profile import Node, Profile
from benchbox.insight import kernels
from benchbox.insight.kernels import Kernel

Part = Literal[
    "arithmetic at peak", "padding", "kernels below peak", "weights read once",
    "blocked depthwise", "plain depthwise", "plain grouped",
    "layout conversion", "data movement", "element-wise and pooling",
]  # fmt: skip
PARTS: tuple[Part, ...] = get_args(Part)
OUTSIDE = "outside of nodes"  # the rest of the latency
# What a node's channels, map or weights have to do with it.
Reason = Literal["", "of 4", "of a block", "group of a block", "few inputs", "weights", "small map"]
ALIGNMENT = 4  # of channels, without which a convolution is not computed in blocks
SMALL_MAP = 64  # pixels
MOVEMENT = ("data movement", "shuffle")


@dataclass(frozen=True, slots=True)
class Peaks:
    """The best of a processor for one type of numbers: products, copies by their bytes, a node."""

    macs_per_s: float
    copies: Mapping[int, float]
    node_s: float
    bytes_each: int

    def moving_s(self, memory_bytes: int) -> float:
        """The seconds of reading and writing so many bytes, by the copy nearest in size."""
        fitting = [size for size in sorted(self.copies) if 2 * size >= memory_bytes]
        return memory_bytes / self.copies[fitting[0] if fitting else max(self.copies)]


@dataclass(frozen=True, slots=True)
class ExplainedNode:
    """A node with its time by part; `reached` is the share of the ceiling that binds it."""

    node: Node
    kernel: Kernel
    parts: Mapping[Part, float]
    reason: Reason
    bound: Literal["arithmetic", "memory"]
    reached: float


@dataclass(frozen=True, slots=True)
class Explained:
    """A profile by parts; `memory_s` is what its nodes' memory access takes as copies.

    `known` is the best of the processor. Nodes take their `own_s`.
    """

    profile: Profile
    known: Peaks
    block: int
    nodes: Sequence[ExplainedNode]
    memory_s: float
    launch_s: float

    @property
    def macs(self) -> int:
        """The multiply-accumulates that the file asks for."""
        return sum(each.kernel.macs for each in self.nodes)

    @property
    def parts(self) -> dict[Part, float]:
        """Seconds of each part, zero of those that there are none of."""
        return total(each.parts for each in self.nodes)

    @property
    def conversions(self) -> int:
        """How many conversions of layout there are."""
        return sum("layout conversion" in each.parts for each in self.nodes)

    @property
    def whole(self) -> dict[str, float]:
        """The parts and what is outside of nodes, which add up to the latency."""
        return dict(self.parts.items()) | {OUTSIDE: self.outside_s}

    @property
    def outside_s(self) -> float:
        """What of the latency is in no node; below zero where they take longer than that."""
        return self.profile.latency_s - sum(each.node.time_s for each in self.nodes)


def total(parts: Iterable[Mapping[Part, float]]) -> dict[Part, float]:
    """The sum of several nodes' parts."""
    found = dict.fromkeys(PARTS, 0.0)
    for each in parts:
        for part, seconds in each.items():
            found[part] += seconds
    return found


BYTES = {"float32": 4, "float16": 2, "int8": 1}
KINDS = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


def peaks(measured: Mapping[str, float], dtype: str) -> Peaks | None:
    """The peaks of a type, None where its product was not measured."""
    peak = measured.get(f"{KINDS.get(dtype)}_macs_per_s")
    copies = {
        int(name.split("_")[1]): rate for name, rate in measured.items() if name.startswith("copy_")
    }
    if not peak or not copies:
        return None
    return Peaks(peak, copies, measured["node_s"], BYTES[dtype])


def explain(profile: Profile, known: Peaks) -> Explained:
    """Split the time of every node of a profile, without what the profiler added to it."""
    block = kernels.block(profile.nodes)
    nodes = [
        explained_node(replace(node, time_s=node.own_s), known, block) for node in profile.nodes
    ]
    memory_s = sum(known.moving_s(each.kernel.memory_bytes) for each in nodes)
    return Explained(profile, known, block, nodes, memory_s, known.node_s * len(nodes))


def explained_node(node: Node, known: Peaks, block: int) -> ExplainedNode:
    """A node with its time split into parts."""
    kernel = kernels.of(node, known.bytes_each)
    computing_s = kernel.macs / known.macs_per_s
    moving_s = known.moving_s(kernel.memory_bytes)
    return ExplainedNode(
        node,
        kernel,
        parts=_split(node, kernel, computing_s, block),
        reason=_reason(kernel, block),
        bound="arithmetic" if computing_s >= moving_s else "memory",
        reached=max(computing_s, moving_s) / node.time_s if node.time_s else 0.0,
    )


def _split(node: Node, kernel: Kernel, computing_s: float, block: int) -> dict[Part, float]:
    if kernel.kind == "other":
        return {_other(node): node.time_s}
    at_peak = min(node.time_s, computing_s)
    rest = node.time_s - at_peak
    padding = min(rest, computing_s * kernel.padding(block))
    return {"arithmetic at peak": at_peak, "padding": padding, _computing(kernel): rest - padding}


def _computing(kernel: Kernel) -> Part:
    """The part of what a kernel takes beyond its multiplications and padding."""
    if kernel.kind == "depthwise":
        return "blocked depthwise" if kernel.is_blocked else "plain depthwise"
    if kernel.kind == "grouped" and not kernel.is_blocked:
        return "plain grouped"
    return "weights read once" if kernel.reads_weights else "kernels below peak"


def _other(node: Node) -> Part:
    if node.operation.type in LAYOUT:
        return "layout conversion"
    return "data movement" if node.category in MOVEMENT else "element-wise and pooling"


def _reason(kernel: Kernel, block: int) -> Reason:
    if kernel.kind in ("other", "product"):
        return "weights" if kernel.reads_weights else ""
    each = kernel.inputs // kernel.groups, kernel.outputs // kernel.groups
    if kernel.kind == "grouped" and not kernel.is_blocked:
        return "group of a block" if any(channels % block for channels in each) else ""
    if not kernel.is_blocked and kernel.inputs % ALIGNMENT:
        return "of 4"
    if kernel.kind == "depthwise":
        return ""
    if kernel.reads_weights:
        return "weights"
    if kernel.is_blocked and kernel.inputs < block:
        return "few inputs"
    if kernel.padding(block):
        return "of a block"
    return "small map" if kernel.pixels < SMALL_MAP else ""

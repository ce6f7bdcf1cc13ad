"""Latency expected of an altered graph: by the operators that would run, and the profile's times.

ONNX Runtime decides which operators run when it opens a graph, so those of the altered one are
asked of it, and conversions of layout are counted and not guessed. An operator that the profile has
takes as long as there. Another one takes what its node took before, as far as it has more or less
to do; one that is computed in blocks and was not takes what the nearest of its kind takes there.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from benchbox.analysis.operators import LAYOUT
from benchbox.analysis.origins import BLOCKED
from benchbox.analysis.profile import Node
from benchbox.insight import kernels
from benchbox.insight.kernels import Kernel
from benchbox.insight.parts import Explained, ExplainedNode, explained_node

# The shares of the peak that convolutions in blocks reach where the graph has none to learn from.
# In eight networks on a quiet Xeon the best of 43 dense ones without padding had 0.88, the only
# grouped one 0.75, and 82 depthwise ones 0.18 in the middle. Of products half is assumed.
SHARES: Mapping[str, float] = {"dense": 0.9, "grouped": 0.75, "depthwise": 0.2, "product": 0.5}


def expected(found: Explained, nodes: Sequence[Node]) -> Explained:
    """The explanation of an altered graph whose nodes were not timed."""
    times = _Times(found)
    made = [replace(each, time_s=times.of(each)) for each in nodes]
    explained = [explained_node(each, found.known, found.block) for each in made]
    latency_s = found.outside_s + sum(each.time_s for each in made)
    return replace(found, nodes=explained, profile=replace(found.profile, latency_s=latency_s))


class _Times:
    """The times of a profile, by what nodes do and by where they come from."""

    def __init__(self, found: Explained) -> None:
        self._found = found
        times: defaultdict[object, list[float]] = defaultdict(list)
        for each in found.nodes:
            times[_work(each.node, each.kernel)].append(each.node.time_s)
        self._alike = {work: fmean(each) for work, each in times.items()}
        named = (each for each in found.nodes if each.node.operation.type not in LAYOUT)
        self._named = {each.node.name: each for each in named}  # conversions are numbered by chance
        kernels_alone = [each for each in found.nodes if each.kernel.kind != "other"]
        self._origins = {e.node.origin.name: e for e in kernels_alone if e.node.origin}

    def of(self, node: Node) -> float:
        """The seconds that a node should take."""
        kernel = kernels.of(node, self._found.known.bytes_each)
        work = _work(node, kernel)
        named = self._named.get(node.name)
        if named and _work(named.node, named.kernel) == work:
            return named.node.time_s
        if work in self._alike:
            return self._alike[work]
        if kernel.kind == "other":
            return self._other_s(node, kernel)
        was = self._origins.get(node.origin.name) if node.origin else None
        return self._kernel_s(node, kernel, was)

    def _other_s(self, node: Node, kernel: Kernel) -> float:
        known, size = self._found.known, kernel.memory_bytes
        alike = [each for each in self._found.nodes if _kind(each.node) == _kind(node)]

        def distance(each: ExplainedNode) -> tuple[float, int]:  # many small maps take longer
            maps = abs(math.log(_pixels(each.node) / _pixels(node)))
            return maps, abs(each.kernel.memory_bytes - size)

        nearest = min(alike, key=distance, default=None)
        was = self._named.get(node.name)
        if was and _kind(was.node) == _kind(node):
            nearest = was
        if nearest is None or not size:
            return known.node_s + known.moving_s(size)
        beyond_s = max(0.0, nearest.node.time_s - known.node_s)
        return known.node_s + beyond_s * size / max(1, nearest.kernel.memory_bytes)

    def _kernel_s(self, node: Node, kernel: Kernel, was: ExplainedNode | None) -> float:
        block = self._found.block
        if (
            was
            and was.kernel.is_blocked == kernel.is_blocked
            and not _fills(was.kernel, kernel, block)
        ):
            done, to_do = _amounts(was.kernel, kernel, block)
            return was.node.time_s * to_do / max(1, done)
        alike = [
            each
            for each in self._found.nodes
            if (each.kernel.kind, each.kernel.is_blocked) == (kernel.kind, kernel.is_blocked)
            and _read(each.node) == _read(node)
            and (kernel.kind != "dense" or not kernel.is_blocked or each.kernel.inputs >= block)
        ]
        macs = _multiplied(kernel, block)
        nearest = min(
            alike, key=lambda each: abs(_multiplied(each.kernel, block) - macs), default=None
        )
        if nearest is not None:
            return nearest.node.time_s * macs / max(1, _multiplied(nearest.kernel, block))
        at_peak_s = kernel.macs / self._found.known.macs_per_s
        rate_s = at_peak_s / SHARES.get(kernel.kind, 1.0)
        if was is None:
            return rate_s
        return min(was.node.time_s * kernel.macs / max(1, was.kernel.macs), rate_s)


def _kind(node: Node) -> tuple[str, bool]:
    """The operator, and whether it computes in blocks: pooling is much faster there."""
    return node.operation.type, node.name.endswith(BLOCKED)


def _pixels(node: Node) -> int:
    """The results of a channel."""
    return max(1, math.prod(node.operation.output()[2:]))


def _work(node: Node, kernel: Kernel) -> object:
    """What nodes that take alike have in common."""
    if kernel.kind == "other":
        shapes = node.operation.input(0), node.operation.output()
        return *_kind(node), *map(tuple, shapes)
    return replace(kernel, memory_bytes=0, window=tuple(kernel.window)), _read(node)


def _read(node: Node) -> int:
    """The pixels that are read for each that is made: four where every other is left out."""
    return math.prod(node.operation.input(0)[2:]) // _pixels(node)


def _fills(was: Kernel, kernel: Kernel, block: int) -> bool:
    """Whether input channels that were too few for a block are enough now."""
    is_blocked = was.is_blocked and was.kind == "dense"
    return is_blocked and was.inputs < block <= kernel.inputs


def _amounts(was: Kernel, kernel: Kernel, block: int) -> tuple[int, int]:
    """What a kernel did and does: weights read, or multiplications with padding."""
    if was.reads_weights and kernel.reads_weights:
        return was.weights, kernel.weights
    return _multiplied(was, block), _multiplied(kernel, block)


def _multiplied(kernel: Kernel, block: int) -> int:
    """Multiplications, those that fill blocks included."""
    if kernel.kind == "depthwise" and kernel.is_blocked:
        return kernel.macs * -(-kernel.outputs // block) * block // max(1, kernel.outputs)
    return round(kernel.macs * (1 + kernel.padding(block)))

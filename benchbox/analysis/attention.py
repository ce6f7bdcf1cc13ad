"""Attention that a graph has written out: a softmax between two products of activations."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from benchbox.analysis.operators import kind
from benchbox.analysis.origins import FileNode

BETWEEN = ("element-wise", "data movement")  # scales, masks, and other orders of the same values
LONGEST = 6  # steps from a product to the softmax, or on to the other product

Neighbours = Callable[[FileNode], Iterable[int]]


def with_attention(nodes: Sequence[FileNode]) -> list[FileNode]:
    """The nodes, each softmax with both its products and what is between as attention."""
    makers = {result: at for at, node in enumerate(nodes) for result in node.makes}
    readers: dict[str, list[int]] = {}
    for at, node in enumerate(nodes):
        for name in node.reads:
            readers.setdefault(name, []).append(at)
    found: set[int] = set()
    for at, node in enumerate(nodes):
        if node.operation.type == "Softmax":
            before = _way(nodes, at, lambda each: [makers[n] for n in each.reads if n in makers])
            after = _way(
                nodes, at, lambda each: [r for n in each.makes for r in readers.get(n, ())]
            )
            found |= {*before, at, *after} if before and after else set()
    return [
        replace(node, category="attention") if at in found else node
        for at, node in enumerate(nodes)
    ]


def _way(nodes: Sequence[FileNode], start: int, neighbours: Neighbours) -> list[int]:
    """The way to the nearest product, with it; empty unless that is one of two activations."""
    ways = [[at] for at in neighbours(nodes[start])]
    passed = {start}
    for way in ways:  # of which more are added
        node = nodes[way[-1]]
        if kind(node.operation) == "matmul":
            return way if len(node.reads) > 1 else []
        if kind(node.operation) in BETWEEN and len(way) < LONGEST and way[-1] not in passed:
            ways += [[*way, at] for at in neighbours(node)]
        passed.add(way[-1])
    return []

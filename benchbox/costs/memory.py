"""Memory access of a graph in bytes, and the peak of its activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchbox.costs.graph import GraphNode, OnnxGraph, Tensor

_RENAMING = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_MOVES_NOTHING = _RENAMING | {"Constant", "Shape", "Size"}
_PICKED = frozenset({0})
# Inputs of which an operator reads no more than it writes: rows of a table, a part of a tensor.
_READ_IN_PART = {
    "Gather": _PICKED,
    "GatherElements": _PICKED,
    "GatherND": _PICKED,
    "Slice": _PICKED,
    "com.microsoft:EmbedLayerNormalization": frozenset({2, 3, 4}),
    "com.microsoft:GatherBlockQuantized": _PICKED,
    "com.microsoft:GatherND": _PICKED,
    "com.microsoft:QEmbedLayerNormalization": frozenset({2, 3, 4}),
}


def access_bytes(graph: OnnxGraph) -> int | None:
    """The papers' memory access cost: each operator reads each input once and writes each output.

    For a 1x1 convolution that is hw(c1 + c2) + c1c2 elements (ShuffleNetV2, arXiv 1807.11164,
    guideline 1). Operators that only rename a tensor move nothing, and a look-up reads the rows
    that it gives. None when a tensor's size is unknown, or when a body decides while running how
    much is moved.
    """
    moving = [step for step in graph.steps if step.type not in _MOVES_NOTHING]
    if any(step.bodies for step in moving):
        return None
    return _sum(size for step in moving for size in _moved(step))


def _moved(step: GraphNode) -> Iterator[int | None]:
    """The bytes of each tensor of `step` that it reads or writes."""
    partly = _READ_IN_PART.get(step.type, ())
    whole = {tensor for at, tensor in enumerate(step.inputs) if tensor and at not in partly}
    result = next((tensor for tensor in step.outputs if tensor), None)
    for at in partly:
        table = step.input(at) if at < len(step.inputs) and step.inputs[at] else None
        if table and result and table not in whole:
            yield _read_of(table, result)
    yield from (tensor.nbytes for tensor in {*whole, *filter(None, step.outputs)})


def _read_of(table: Tensor, result: Tensor) -> int | None:
    """The bytes that a table has of as many elements as the result."""
    if table.nbytes is None or result.size is None or not table.size:
        return table.nbytes
    return min(table.nbytes, -(-table.nbytes * result.size // table.size))


def peak_bytes(graph: OnnxGraph) -> int | None:
    """The most bytes of activations alive at once, when steps run in order and free what they can.

    A renamed tensor is alive as long as any of its names; results of the graph live to the end;
    constants are no activations.
    """
    roots = _roots(graph)
    sizes = {root: root.nbytes for root in roots.values()}
    dying = _dying(graph, roots)
    alive: set[Tensor] = set(graph.inputs)
    held = _total(alive)
    peak = held
    for at, step in enumerate(graph.steps):
        born = {roots[out] for out in step.outputs if out in roots} - alive
        inner = _most(peak_bytes(body) for body in step.bodies)
        added = _total(born)
        if held is None or peak is None or added is None or inner is None:
            return None
        alive |= born
        held += added
        peak = max(peak, held + inner)
        held -= sum(sizes[tensor] or 0 for tensor in dying[at])
        alive -= dying[at]
    return peak


def _roots(graph: OnnxGraph) -> dict[Tensor, Tensor]:
    """The tensor whose memory each activation of `graph` lies in."""
    roots = {tensor: tensor for tensor in graph.inputs}
    for step in graph.steps:
        renamed = step.inputs[0] if step.type in _RENAMING and step.inputs else None
        for tensor in step.outputs:
            if tensor is not None and not tensor.constant:
                roots[tensor] = roots.get(renamed, tensor) if renamed else tensor
    return roots


def _dying(graph: OnnxGraph, roots: dict[Tensor, Tensor]) -> list[set[Tensor]]:
    """For each step, the tensors that nothing after it needs."""
    needed = {roots[tensor] for tensor in graph.outputs if tensor in roots}
    dying: list[set[Tensor]] = []
    for step in reversed(graph.steps):
        used = {roots[tensor] for tensor in _touched(step) if tensor in roots}
        dying.append(used - needed)
        needed |= used
    return dying[::-1]


def _distinct(step: GraphNode) -> set[Tensor]:
    return {tensor for tensor in (*step.inputs, *step.outputs) if tensor is not None}


def _touched(step: GraphNode) -> Iterator[Tensor]:
    """The tensors of `step`, with those that its bodies capture or hand back."""
    yield from _distinct(step)
    for body in step.bodies:
        yield from body.outputs
        for inner in body.steps:
            yield from _touched(inner)


def _total(tensors: Iterable[Tensor]) -> int | None:
    return _sum(tensor.nbytes for tensor in tensors)


def _sum(found: Iterable[int | None]) -> int | None:
    sizes = list(found)
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _most(sizes: Iterable[int | None]) -> int | None:
    listed = list(sizes)
    known = [size for size in listed if size is not None]
    return max(known, default=0) if len(known) == len(listed) else None

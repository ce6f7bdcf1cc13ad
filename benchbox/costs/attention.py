"""Multiply-accumulates of attention operators: queries by keys, their product by values."""

from __future__ import annotations

from benchbox.costs.graph import GraphNode, Shape

FOUR = 4  # dimensions of a tensor whose heads stand apart
FIVE = 5  # dimensions of one that holds queries, keys and values, or keys and values


def attention(step: GraphNode) -> int:
    """ONNX's Attention: query, key and value in three dimensions or four, maybe with a past.

    Masked products count: kernels compute them, and so does the same attention written out.
    """
    query, key, value = (step.shape(step.input(at)) for at in range(3))
    if len(query) == FOUR:
        batch, heads, rows, size = query
        value_size = value[-1]
        keys = key[2]
    else:
        batch, rows, wide = _three(step, query)
        heads, keys = _heads(step, "q_num_heads"), key[1]
        size, value_size = wide // heads, value[-1] // _heads(step, "kv_num_heads")
    past = _optional(step, 4)
    return batch * heads * rows * (keys + (past[2] if past else 0)) * (size + value_size)


def multi_head(step: GraphNode) -> int:
    """MultiHeadAttention: without projections; keys may be packed, or come from a cache."""
    heads, query = _heads(step, "num_heads"), step.shape(step.input(0))
    key, value, past = _optional(step, 1), _optional(step, 2), _optional(step, 6)
    if len(query) == FIVE:  # batch, rows, heads, 3, size
        batch, rows, size = query[0], query[1], query[4]
        keys, value_size = rows, size
    else:
        batch, rows, wide = _three(step, query)
        size = wide // heads
        if key is None:
            raise step.malformed("it has neither keys nor packed ones")
        keys = key[2] if len(key) == FOUR else key[1]
        wide_value = value[-1] if value else size
        value_size = wide_value if value is None or len(value) == FOUR else wide_value // heads
    keys += past[2] if past and (key is None or len(key) != FOUR) else 0
    return batch * heads * rows * keys * (size + value_size)


def projected(step: GraphNode, past: int = 4) -> int:
    """Attention of ONNX Runtime, and its quantised form: with the projection of its input."""
    batch, rows, wide = _three(step, step.shape(step.input(0)))
    weights = step.shape(step.input(1))
    if len(weights) != 2 or weights[0] != wide:
        raise step.malformed(f"{[batch, rows, wide]} cannot be projected by {list(weights)}")
    sizes = step.integers("qkv_hidden_sizes") or [weights[1] // 3] * 3
    before = _optional(step, past)
    keys = rows + (before[3] if before else 0)
    return batch * rows * (wide * weights[1] + keys * (sizes[0] + sizes[2]))


def grouped_query(step: GraphNode) -> int:
    """GroupQueryAttention: fewer heads of keys than of queries, and a cache of keys."""
    batch, rows, wide = _three(step, step.shape(step.input(0)))
    heads, shared = _heads(step, "num_heads"), _heads(step, "kv_num_heads")
    is_packed = _optional(step, 1) is None
    size = wide // (heads + 2 * shared) if is_packed else wide // heads
    past, present = _optional(step, 3), step.outputs[1] if len(step.outputs) > 1 else None
    if present is not None and present.shape:
        keys = present.shape[2]
    else:
        keys = rows + (past[2] if past else 0)
    return batch * heads * rows * keys * 2 * size


def _three(step: GraphNode, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise step.malformed(f"{list(shape)} is no batch of sequences")
    return shape[0], shape[1], shape[2]


def _heads(step: GraphNode, name: str) -> int:
    heads = step.integer(name, 0)
    if heads < 1:
        raise step.malformed(f"{name} is {heads}")
    return heads


def _optional(step: GraphNode, index: int) -> Shape | None:
    tensor = step.inputs[index] if index < len(step.inputs) else None
    return None if tensor is None else step.shape(tensor)

"""Which cases are loaded together: as many as fit the memory, each with its reference."""

from collections.abc import Mapping, Sequence

from benchbox.export import Graph
from benchbox.specs import Case

LIMIT_BYTES = 2 << 30  # of one agent process, however much memory the device has
SHARE = 0.5  # of the memory that is free on the device
BASE_BYTES = 70 << 20  # Python, numpy and ONNX Runtime
SESSION_BYTES = 2 << 20  # of a session beside its tensors
WEIGHT_COPIES = 2.5  # the file, the initializers, and their pre-packed form


def budget(free_bytes: int | None) -> int:
    """Return the bytes that the sessions of one agent may take together."""
    limit = LIMIT_BYTES if free_bytes is None else min(LIMIT_BYTES, int(free_bytes * SHARE))
    return max(0, limit - BASE_BYTES)


def session_bytes(graph: Graph) -> int:
    """Return what a loaded graph is expected to take: weights with their copies, activations."""
    cost = graph.cost
    activations = cost.peak_activation_bytes or 0
    return int(SESSION_BYTES + WEIGHT_COPIES * cost.weight_bytes + 1.5 * activations)


def split(
    cases: Sequence[Case], graphs: Mapping[str, Graph], budget_bytes: int
) -> list[list[Case]]:
    """Return the cases in groups that fit the budget, in order; a case that does not fit is alone.

    A reference is in every group that holds one of its cases, so that their ratio is always taken
    inside one process.
    """
    references = {(c.spec, c.group): c for c in cases if c.is_reference}
    groups: list[list[Case]] = []
    members: list[Case] = []
    used = 0
    for case in cases:
        reference = references.get((case.spec, case.group), case)
        fresh = [c for c in (reference, case) if c not in members]
        fresh = fresh[:1] if reference is case else fresh
        size = sum(session_bytes(graphs[c.key]) for c in fresh)
        if members and used + size > budget_bytes:
            groups.append(members)
            members, used = [], 0
            fresh = [case] if reference is case else [reference, case]
            size = sum(session_bytes(graphs[c.key]) for c in fresh)
        members += fresh
        used += size
    return [*groups, members] if members else groups

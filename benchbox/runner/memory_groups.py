"""Which cases are loaded together: as many as fit the memory, each with its reference.

Beforehand that is known of a host's memory alone. Of a GPU's it is seen while they are loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Room:
    """A GPU's memory for the graphs of one agent: `taken_bytes` by case, of `budget_bytes`.

    The budget is None where nobody tells. What ONNX Runtime finds free decides how cuDNN convolves,
    so that it is not to be filled up. `closed` says that it was full already.
    """

    budget_bytes: int | None = None
    taken_bytes: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    def has_for(self, case: Case) -> bool:
        """Return whether a case is to be loaded: one with nothing but its reference always is."""
        if self.closed:
            return False
        taken = sum(self.taken_bytes.values()) if self.beside_others(case) else 0
        return self.budget_bytes is None or taken <= self.budget_bytes

    def beside_others(self, case: Case) -> bool:
        """Return whether more is loaded than the reference of a case."""
        return bool(self.taken_bytes.keys() - {case.key, reference_key(case)})


@dataclass(frozen=True, slots=True)
class Later:
    """A case for which a GPU had no room, and the seconds that are left for it.

    `alone` says that it did not fit beside its reference.
    """

    case: Case
    most_s: float
    alone: bool


def reference_key(case: Case) -> str:
    """Return the key of the case that a case is set beside."""
    return f"{case.spec}:{case.reference}"


def again(
    put_off: Sequence[Later], cases: Mapping[str, Case]
) -> Iterator[tuple[list[Case], float]]:
    """Yield the cases that were put off, in groups with their seconds.

    Each stands after its reference, so that of a group at least the first has room beside it.
    """
    together = [later for later in put_off if not later.alone]
    members: dict[str, Case] = {}
    for later in together:
        reference = cases.get(reference_key(later.case), later.case)
        members |= {reference.key: reference, later.case.key: later.case}
    if members:
        yield list(members.values()), sum(later.most_s for later in together)
    yield from (([later.case], later.most_s) for later in put_off if later.alone)

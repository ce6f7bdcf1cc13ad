"""Memory groups: as many cases as can be loaded together, each with its reference.

The memory of a host is known beforehand; how much of a GPU's a graph takes, only once it is loaded.
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
    """The bytes that the graphs of one agent may take together."""
    limit = LIMIT_BYTES if free_bytes is None else min(LIMIT_BYTES, int(free_bytes * SHARE))
    return max(0, limit - BASE_BYTES)


def session_bytes(graph: Graph) -> int:
    """The bytes that a loaded graph is expected to take: weights, their copies, activations."""
    cost = graph.cost
    activations = cost.peak_activation_bytes or 0
    return int(SESSION_BYTES + WEIGHT_COPIES * cost.weight_bytes + 1.5 * activations)


def split(
    cases: Sequence[Case], graphs: Mapping[str, Graph], budget_bytes: int
) -> list[list[Case]]:
    """Divide the cases, in order, into groups that fit the budget; one that fits none is alone.

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

    The budget is None where it is not known. ONNX Runtime chooses cuDNN's convolutions by the
    memory that is free, so that it must not be filled up. `closed` says that it was full already.
    """

    budget_bytes: int | None = None
    taken_bytes: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    def has_for(self, case: Case) -> bool:
        """Whether a case is to be loaded; one with nothing but its reference always is."""
        if self.closed:
            return False
        taken = sum(self.taken_bytes.values()) if self.beside_others(case) else 0
        return self.budget_bytes is None or taken <= self.budget_bytes

    def beside_others(self, case: Case) -> bool:
        """Whether more is loaded than the reference of a case."""
        return bool(self.taken_bytes.keys() - {case.key, reference_key(case)})


@dataclass(frozen=True, slots=True)
class Postponed:
    """A case for which a GPU had no room, and the seconds that are left for it.

    `alone` says that it did not fit beside its reference.
    """

    case: Case
    max_time_s: float
    alone: bool


def reference_key(case: Case) -> str:
    """The key of the case that a case is compared with."""
    return f"{case.spec}:{case.reference}"


def regrouped(
    postponed: Sequence[Postponed], cases: Mapping[str, Case]
) -> Iterator[tuple[list[Case], float]]:
    """Yield the cases that were postponed, in groups with their seconds.

    Each stands after its reference, so that of a group at least the first has room beside it.
    """
    together = [later for later in postponed if not later.alone]
    members: dict[str, Case] = {}
    for later in together:
        reference = cases.get(reference_key(later.case), later.case)
        members |= {reference.key: reference, later.case.key: later.case}
    if members:
        yield list(members.values()), sum(later.max_time_s for later in together)
    yield from (([later.case], later.max_time_s) for later in postponed if later.alone)

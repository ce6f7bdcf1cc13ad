"""Parts of a profile: its nodes by category, module or type, with their time and costs on paper."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchbox.analysis.operators import CATEGORIES
from benchbox.analysis.origins import FileNode
from benchbox.analysis.profile import Node, Profile

By = Literal["category", "module", "type"]
Key = Callable[[Node | FileNode], str]


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes that ran, their time, and what the file's own cost; None where that is not known."""

    name: str
    nodes: int
    time_s: float | None
    share: float | None
    macs: int | None
    macs_share: float | None
    memory_access_bytes: int | None
    memory_share: float | None


def split(profile: Profile, by: By = "category", depth: int | None = None) -> list[Part]:
    """The parts that ran or that the file has, which add up to the whole.

    Categories stand in their order, modules as they ran, types by their time. The path of a
    module is cut to its first `depth` names, by default to as few as tell two modules apart.
    """
    key = _key(profile, by, depth)
    # Fusion changes types: those that ran have no costs in the file.
    file = profile.file if by != "type" else ()
    all_macs = _sum(node.macs for node in file) if file else None
    all_memory = _sum(node.memory_access_bytes for node in file) if file else None
    parts = []
    everything: list[Node | FileNode] = [*profile.nodes, *file]
    for name in dict.fromkeys(map(key, everything)):
        ran = [node for node in profile.nodes if key(node) == name]
        own = [node for node in file if key(node) == name]
        macs, memory = _sum(n.macs for n in own), _sum(n.memory_access_bytes for n in own)
        parts.append(
            Part(
                name=name,
                nodes=len(ran),
                time_s=None if profile.is_drowned else sum(node.time_s for node in ran),
                share=None if profile.is_drowned else sum(node.share for node in ran),
                macs=None if all_macs is None else macs,
                macs_share=_ratio(macs, all_macs),
                memory_access_bytes=None if all_memory is None else memory,
                memory_share=_ratio(memory, all_memory),
            )
        )
    if by == "category":
        order: list[str] = [*CATEGORIES]
        return sorted(parts, key=lambda part: order.index(part.name))
    return sorted(parts, key=lambda part: -(part.share or 0.0)) if by == "type" else parts


def _key(profile: Profile, by: By, depth: int | None) -> Key:
    if by == "category":
        return lambda node: node.category
    if by == "type":
        return lambda node: node.operation.type
    names = depth or _telling(profile.nodes)
    return lambda node: _cut(node.module, names)


def _telling(nodes: Sequence[Node]) -> int:
    """The fewest names of paths that tell two modules apart."""
    deepest = max((node.module or "").count(".") for node in nodes) + 1
    for depth in range(1, deepest):
        if len({_cut(node.module, depth) for node in nodes} - {""}) > 1:
            return depth
    return deepest


def _cut(module: str | None, depth: int) -> str:
    return ".".join((module or "").split(".")[:depth])


def _sum(costs: Iterable[int | None]) -> int | None:
    known = list(costs)
    return None if None in known else sum(each or 0 for each in known)


def _ratio(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole

"""Profile of a graph: its time by node and by category of operators.

A node's time is the midmean (the mean of the middle half) of the profiler's times over all calls;
its share is its part of the sum over nodes. Each node is trimmed on its own, as a program that
takes the processor away falls into few nodes of a call. On two processors with five programs the
share of convolutions in ShuffleNetV2 x1.0 was 51 to 53% so in six processes, and 44 to 65% from the
mean of the fastest quarter of calls. On a quiet machine it is 57.2 to 57.6% in five, what the
profiler adds taken off; from load to load it moves by four points, as states of the machine do not
slow all operators down alike.

What the profiler adds is taken off every node: no more than the gap between two nodes, which is the
profiler's as well, and no more than OWN_SHARE of the shortest node, as a node that does nothing was
written down with 2.1 to 2.6 us, of which 0.25 are its own. Eight 1x1 convolutions of 58 channels at
28x28 take 15% less without the shuffles between them. With this the profile of them says 14 to 15%,
with nothing taken off 24 to 25%.

Shares are then scaled to the latency without the profiler. That is the tenth percentile, the calls
that nothing disturbed, for shares hold for those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from benchbox.analysis.operators import CATEGORIES, Category, Operation, classify

OWN_SHARE = 0.85  # at most, of the shortest node, is the profiler's

# Multiply-accumulates, and bytes of memory access where they are known.
PaperCosts = Mapping[Category, tuple[int, int | None]]


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph that ran; `count` is how often it did in one call.

    `time_s` is its part of the latency without the profiler, `share` is that part over the latency.
    """

    name: str
    operation: Operation
    category: Category
    provider: str
    count: float
    time_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Part:
    """A category: nodes that ran, their time, and what the file's own cost; None where unknown."""

    category: Category
    nodes: int
    time_s: float
    share: float
    macs: int | None = None
    macs_share: float | None = None
    memory_access_bytes: int | None = None
    memory_share: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Time of one graph by node and category.

    `latency_s` is that of undisturbed calls without the profiler, `unoptimised_s` the same with
    every optimisation off, or None and why. `slowdown` is what the profiler makes of a call,
    `overhead_s` what was taken off each node, `covered` the nodes' part of a profiled call,
    `disturbance` the median latency over the undisturbed one.
    """

    nodes: tuple[Node, ...]
    parts: tuple[Part, ...]
    file_nodes: int
    calls: int
    latency_s: float
    unoptimised_s: float | None
    unoptimised_error: str
    slowdown: float
    overhead_s: float
    covered: float
    disturbance: float

    def part(self, category: Category) -> Part:
        """One category, with nothing in it where the graph has none of it."""
        found = (part for part in self.parts if part.category == category)
        return next(found, Part(category, 0, 0.0, 0.0))


def estimate(reply: Mapping[str, Any], file_nodes: int, costs: PaperCosts) -> Profile:
    """Estimate the profile from an agent's reply, as the module describes."""
    raw = [midmean(node["us"]) for node in reply["nodes"]]
    counts = [node["count"] for node in reply["nodes"]]
    overhead = _overhead(raw, counts, midmean(reply["gap_us"]))
    times = [max(0.0, us - overhead * count) for us, count in zip(raw, counts, strict=True)]
    total = sum(times)
    shares = [us / total if total else 1 / len(times) for us in times]
    latencies = {name: _undisturbed(ns) / 1e9 for name, ns in reply["latencies_ns"].items()}
    latency_s = latencies["default"]
    nodes = _nodes(reply["nodes"], shares, latency_s)
    called = zip(reply["run_us"], *(node["us"] for node in reply["nodes"]), strict=True)
    return Profile(
        nodes=nodes,
        parts=_parts(nodes, costs),
        file_nodes=file_nodes,
        calls=len(reply["run_us"]),
        latency_s=latency_s,
        unoptimised_s=latencies.get("unoptimised"),
        unoptimised_error=reply["unoptimised_error"],
        slowdown=latencies["profiled"] / latency_s,
        overhead_s=overhead / 1e6,
        covered=midmean([sum(own) / max(1, whole) for whole, *own in called]),
        disturbance=median(reply["latencies_ns"]["default"]) / 1e9 / latency_s,
    )


def midmean(values: Sequence[float]) -> float:
    """The mean of the middle half of the values, of which there must be one."""
    ordered, cut = sorted(values), len(values) // 4
    return fmean(ordered[cut : len(ordered) - cut])


def _overhead(raw: Sequence[float], counts: Sequence[float], gap: float) -> float:
    """The profiler's own part of each node's time, from nodes that run in every call."""
    each = [us / count for us, count in zip(raw, counts, strict=True) if count >= 1]
    return min(gap, OWN_SHARE * min(each, default=0.0))


def _undisturbed(latencies_ns: Sequence[int]) -> float:
    return sorted(latencies_ns)[len(latencies_ns) // 10]


def _nodes(
    facts: Sequence[Mapping[str, Any]], shares: Sequence[float], latency_s: float
) -> tuple[Node, ...]:
    operations = [Operation(node["op"], node["inputs"], node["outputs"]) for node in facts]
    return tuple(
        Node(
            name=node["name"],
            operation=operation,
            category=category,
            provider=node["provider"],
            count=node["count"],
            time_s=share * latency_s,
            share=share,
        )
        for node, operation, category, share in zip(
            facts, operations, classify(operations), shares, strict=True
        )
    )


def _parts(nodes: Sequence[Node], costs: PaperCosts) -> tuple[Part, ...]:
    """The categories that ran, or that the file has."""
    all_macs = sum(macs for macs, _ in costs.values())
    memories = [memory for _, memory in costs.values()]
    all_memory = None if None in memories else sum(memory or 0 for memory in memories)
    parts = []
    for category in CATEGORIES:
        own = [node for node in nodes if node.category == category]
        if not own and category not in costs:
            continue
        macs, memory = costs.get(category, (0, 0)) if costs else (None, None)
        parts.append(
            Part(
                category=category,
                nodes=len(own),
                time_s=sum(node.time_s for node in own),
                share=sum(node.share for node in own),
                macs=macs,
                macs_share=_ratio(macs, all_macs),
                memory_access_bytes=memory,
                memory_share=_ratio(memory, all_memory),
            )
        )
    return tuple(parts)


def _ratio(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole

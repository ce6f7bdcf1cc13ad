"""Profile of a graph: its time by node.

A node's time is the mean of the profiler's times over typical calls, its share its part of the sum
over nodes. Of one thread those calls are the middle three fifths by the processor's time, which
other programs hardly add to. What such a call waited, as its wall time exceeds that, is taken off
the nodes that took most beyond their fastest call: a program that takes the processor away falls
into few nodes of a call. Of several threads nobody knows what they waited, so the fastest fifth of
calls is typical. On two processors with a load of 8 to 13 nodes came so within 5% of the latency of
79 of 81 graphs, and of 62 of them by the mean of the middle fifth of each node.

What the profiler adds to nodes is found for each graph: what they take more than a call without it,
less what opens and ends a call, as nothing but nodes lies between; never more than the profiler
adds to a call. Of that every node gets like parts, what it takes to write a node down, but no more
than OWN_SHARE of the shortest one, as a node that does nothing was written down with 2.1 to 2.6 us,
of which 0.25 are its own. The rest is taken off in proportion, as what is written pushes weights
out of the caches. Three networks that were profiled in a quiet hour and in a busy one took 0.5 to
1.5 us more a node and up to 7% more beyond their latency; the shortest nodes say those 0.5 to 1.5.

Shares are then scaled to the latency without the profiler, by the mean of its typical calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from benchbox.analysis import origins
from benchbox.analysis.operators import Category, Operation, classify, kernel, kind
from benchbox.analysis.origins import FileNode, Origins

OWN_SHARE = 0.85  # at most, of the shortest node, is the profiler's
CLOSE = 0.05  # of the latency, that nodes may differ from it
DROWNED = 3.0  # slowdown beyond which times are the profiler's rather than the graph's


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph that ran; `count` is how often it did in one call.

    `time_s` is its part of the latency without the profiler, `share` is that part over the latency.
    `profiled_s` is what the profiler wrote down less waiting, `own_s` that without what the
    profiler added. `origin` is the node of the file that it was made of, None for one that ONNX
    Runtime added, whose module is that of its neighbour.
    """

    name: str
    operation: Operation
    kernel: Sequence[int]
    category: Category
    module: str | None
    origin: FileNode | None
    provider: str
    count: float
    profiled_s: float
    own_s: float
    time_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Time of one graph by node.

    `latency_s` is that of undisturbed calls without the profiler, `unoptimised_s` the same with
    every optimisation off, or None and why. `slowdown` is what the profiler makes of a call,
    `overhead_s` what was taken off a node on average, `covered` the nodes' part of a profiled call,
    `disturbance` the median latency over the undisturbed one. `file` has the nodes of the file,
    where they could be read.
    """

    nodes: tuple[Node, ...]
    file: Sequence[FileNode]
    file_nodes: int
    calls: int
    latency_s: float
    unoptimised_s: float | None
    unoptimised_error: str
    slowdown: float
    overhead_s: float
    covered: float
    disturbance: float

    @property
    def is_drowned(self) -> bool:
        """Whether the profiler's own work hides the graph's."""
        return self.slowdown > DROWNED

    @property
    def outside_share(self) -> float:
        """What of the latency is in no node; below zero where they take longer than that."""
        return 1 - sum(each.own_s for each in self.nodes) / self.latency_s

    @property
    def is_disturbed(self) -> bool:
        """Whether nodes take more than calls, or so much less that not opening a call explains it.

        What that takes is known where the profiler was found to add something.
        """
        outside = self.outside_share
        return outside < -CLOSE or (outside > CLOSE and not self.overhead_s)


def estimate(reply: Mapping[str, Any], file_nodes: int, file: Sequence[FileNode] = ()) -> Profile:
    """Estimate the profile from an agent's reply, as the module describes."""
    cpu_ns = reply.get("cpu_ns")
    times_ns = {name: ns for name, ns in (cpu_ns or reply["latencies_ns"]).items() if ns}
    kept = {
        name: _typical_calls(ns, is_processor_time=bool(cpu_ns)) for name, ns in times_ns.items()
    }
    latencies = {
        name: fmean(times_ns[name][call] for call in calls) / 1e9 for name, calls in kept.items()
    }
    raw = _raw(reply, times_ns["profiled"], kept["profiled"])
    latency_s = latencies["default"]
    walls_us = [ns / 1e3 for ns in reply["latencies_ns"]["profiled"]]
    ends_us = typical([wall - us for wall, us in zip(walls_us, reply["run_us"], strict=True)])
    most = (latencies["profiled"] - latency_s) * 1e6
    added = max(0.0, min(most, sum(raw) + max(0.0, ends_us) - latency_s * 1e6))
    own = _without(raw, [node["count"] for node in reply["nodes"]], added)
    called = zip(reply["run_us"], *(node["us"] for node in reply["nodes"]), strict=True)
    return Profile(
        nodes=tuple(nodes_of(reply["nodes"], file, raw, own, latency_s)),
        file=file,
        file_nodes=file_nodes,
        calls=len(reply["run_us"]),
        latency_s=latency_s,
        unoptimised_s=latencies.get("unoptimised"),
        unoptimised_error=reply["unoptimised_error"],
        slowdown=latencies["profiled"] / latency_s,
        overhead_s=added / sum(node["count"] for node in reply["nodes"]) / 1e6,
        covered=typical([sum(each) / max(1, whole) for whole, *each in called]),
        disturbance=median(reply["latencies_ns"]["default"]) / 1e9 / latency_s,
    )


def typical(values: Sequence[float]) -> float:
    """The mean of the middle fifth of the values, of which there must be one."""
    ordered, cut = sorted(values), 2 * len(values) // 5
    return fmean(ordered[cut : max(cut + 1, len(ordered) - cut)])


def _typical_calls(times_ns: Sequence[int], *, is_processor_time: bool) -> list[int]:
    """The calls in the middle by the processor's time, or the fastest of those by wall time."""
    ordered = sorted(range(len(times_ns)), key=times_ns.__getitem__)
    fifth = len(ordered) // 5
    return ordered[fifth : len(ordered) - fifth] if is_processor_time else ordered[: max(1, fifth)]


def _raw(reply: Mapping[str, Any], times_ns: Sequence[int], kept: Sequence[int]) -> list[float]:
    """What nodes took in us on average over the kept calls, without what these waited."""
    walls_ns = reply["latencies_ns"]["profiled"]
    rows = zip(*(node["us"] for node in reply["nodes"]), strict=True)
    calls = [[*us, wall / 1e3 - sum(us)] for us, wall in zip(rows, walls_ns, strict=True)]
    fastest = [min(each) for each in zip(*calls, strict=True)]
    own = [
        _without_waiting(calls[call], fastest, (walls_ns[call] - times_ns[call]) / 1e3)
        for call in kept
    ]
    *nodes, _ = (fmean(each) for each in zip(*own, strict=True))
    return nodes


def _without_waiting(call: Sequence[float], fastest: Sequence[float], waited: float) -> list[float]:
    """What the nodes of a call took while it ran: those that took most beyond their fastest waited.

    Where some waited in each call, all are said to have waited for the same share of their time.
    """
    beyond = [us - least for us, least in zip(call, fastest, strict=True)]
    if waited > sum(beyond):
        return [us * (1 - waited / sum(call)) for us in call]
    own = [*call]
    for place in sorted(range(len(call)), key=lambda each: -beyond[each]):
        off = max(0.0, min(waited, beyond[place]))
        own[place] -= off
        waited -= off
    return own


def _without(raw: Sequence[float], counts: Sequence[float], added: float) -> list[float]:
    """What nodes take without what the profiler added to all of them."""
    often = [us / count for us, count in zip(raw, counts, strict=True) if count >= 1]
    each = min(added / sum(counts), OWN_SHARE * min(often, default=0.0))
    own = [max(0.0, us - each * count) for us, count in zip(raw, counts, strict=True)]
    share = (sum(raw) - added) / sum(own) if any(own) else 0.0
    return [us * min(1.0, share) for us in own]


def nodes_of(
    facts: Sequence[Mapping[str, Any]],
    file: Sequence[FileNode],
    raw: Sequence[float],
    own: Sequence[float],
    latency_s: float,
) -> Iterator[Node]:
    """The nodes that an agent reports, with where in the file they come from.

    `raw` and `own` are what each took in us, with and without what the profiler added.
    """
    total = sum(own)
    shares = [us / total if total else 1 / len(own) for us in own]
    operations = [Operation(node["op"], node["inputs"], node["outputs"]) for node in facts]
    known = Origins(file)
    found = [known.find(node["name"], each) for node, each in zip(facts, operations, strict=True)]
    modules = origins.modules(found, [node["name"] for node in facts])
    for node, operation, category, origin, module, us, own_us, share in zip(
        facts, operations, classify(operations), found, modules, raw, own, shares, strict=True
    ):
        # Of one kind, the file's has all shapes: those of weights that are packed are gone.
        is_alike = origin is not None and kind(origin.operation) == kind(operation)
        yield Node(
            name=node["name"],
            operation=operation,
            kernel=kernel(origin.operation if origin and is_alike else operation),
            category=origin.category if origin and is_alike else category,
            module=module,
            origin=origin,
            provider=node["provider"],
            count=node["count"],
            profiled_s=us / 1e6,
            own_s=max(0.0, own_us) / 1e6,
            time_s=share * latency_s,
            share=share,
        )

"""Replies of agents that profiled, and what is estimated from them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchbox.analysis.operators import Category, Operation
from benchbox.analysis.origins import FileNode
from benchbox.analysis.profile import Profile, estimate


def node(name: str, op: str, us: Sequence[float], count: float = 1.0) -> dict[str, Any]:
    """Return a node as an agent reports it, with what it took in each call."""
    return {
        "name": name,
        "op": op,
        "provider": "CPUExecutionProvider",
        "inputs": [],
        "outputs": [],
        "count": count,
        "us": list(us),
    }


def reply(*nodes: dict[str, Any], added_us: float = 2.0, **latencies_ms: float) -> dict[str, Any]:
    """Return an agent's reply; so much the profiler added to each node."""
    calls = len(nodes[0]["us"])
    ms = {"default": 1.0, "profiled": 1.5, "unoptimised": 2.0, **latencies_ms}
    own_us = sum(median(each["us"]) - added_us * each["count"] for each in nodes)
    return {
        "reply": "profile",
        "latencies_ns": {name: [int(each * 1e6)] * calls for name, each in ms.items()},
        "unoptimised_error": "",
        "run_us": [1e3 * (ms["profiled"] - ms["default"]) + own_us] * calls,
        "nodes": list(nodes),
    }


Costs = Mapping[Category, tuple[int, int | None]]


def estimated(
    *nodes: dict[str, Any], costs: Costs | None = None, file: Sequence[FileNode] = (), **more: float
) -> Profile:
    """Return the profile of an agent's reply; the file has 9 nodes, or one for each cost."""
    of_costs = [
        FileNode(category, Operation(""), category, None, *cost)
        for category, cost in (costs or {}).items()
    ]
    return estimate(reply(*nodes, **more), 9, [*file, *of_costs])

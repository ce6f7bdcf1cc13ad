"""Profiles of cases: each in an agent of its own, with the costs of its operators on paper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchbox.analysis.operators import Category, Operation, classify
from benchbox.analysis.profile import PaperCosts, Profile, estimate
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError, CaseError, DeviceError
from benchbox.export import Graph, require_unchanged
from benchbox.specs import Case, onnx_file
from benchbox.transports import Agent, client

SEED = 0  # of the inputs
MOST_EVENTS = 40_000  # ONNX Runtime holds them all in memory, with 2 KB each


@dataclass(frozen=True, slots=True)
class ProfileOutcome:
    """A case with its profile or the reason why it has none, and the agent's `hello`."""

    case: Case
    profile: Profile | None
    reason: str = ""
    hello: Mapping[str, Any] = field(default_factory=dict)


def require_processor(device: Device) -> None:
    """Raise DeviceError for a device that is no processor."""
    if device.provider != CPU_PROVIDER:
        raise DeviceError(
            f"device {device.name!r}: only processors can be profiled, not {device.provider}; "
            "profile with --device cpu"
        )


def outcomes(
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    device: Device,
    open_agent: Callable[[Device], Agent],
    notify: Callable[[Case, float], None] = lambda *_: None,
) -> Iterator[ProfileOutcome]:
    """Profile one case after the other, each in its own agent, so that a crash costs one case.

    `notify` is called with the share of a case that is done. Raises DeviceError for a GPU, whose
    profiler sees kernels launched and not run, for an emulated device, and when no agent starts for
    the first case; for a later one that is its reason.
    """
    require_processor(device)
    started = False
    for case in cases:
        graph = graphs[case.key]
        if isinstance(graph, CaseError):
            yield ProfileOutcome(case, None, str(graph))
            continue
        try:
            with open_agent(device) as agent:
                client.require_real(agent, device.name, "times to profile")
                started = True
                yield ProfileOutcome(case, _profile(agent, case, graph, notify), "", agent.hello)
        except DeviceError as error:
            if not started:
                raise
            yield ProfileOutcome(case, None, str(error))
        except CaseError as error:
            yield ProfileOutcome(case, None, str(error))


def _profile(
    agent: Agent, case: Case, graph: Graph, notify: Callable[[Case, float], None]
) -> Profile:
    require_unchanged(case, graph)
    nodes = sum(graph.cost.ops.values())
    most_calls = MOST_EVENTS // max(1, nodes)
    reply = agent.profile(
        str(graph.path), case.inputs, SEED, most_calls, lambda share: notify(case, share)
    )
    if not reply["nodes"]:
        raise CaseError("the profiler wrote down no node: optimisation left none to run")
    return estimate(reply, nodes, paper_costs(case, graph))


def paper_costs(case: Case, graph: Graph) -> PaperCosts:
    """Costs of the operators of each category by the file, empty where not all are known."""
    from benchbox.costs.graph import GraphNode, OnnxGraph, Uncountable, read
    from benchbox.costs.inference import infer
    from benchbox.costs.macs import macs
    from benchbox.costs.memory import access_bytes

    try:
        model = onnx_file.read(graph.path)
        steps = read(infer(model, {t.name: t.shape for t in case.inputs}).graph, {}).steps
        by_category: dict[Category, list[GraphNode]] = {}
        for step, category in zip(steps, classify([_operation(s) for s in steps]), strict=True):
            by_category.setdefault(category, []).append(step)
        costs = {
            category: (sum(map(macs, own)), access_bytes(OnnxGraph((), (), tuple(own))))
            for category, own in by_category.items()
        }
    except (BenchboxError, Uncountable):
        return {}
    is_all = sum(count for count, _ in costs.values()) == graph.cost.known_macs
    return costs if is_all else {}


def _operation(step: Any) -> Operation:  # noqa: ANN401 - a GraphNode, whose module is imported late
    shapes = [[None if t is None else t.shape for t in ts] for ts in (step.inputs, step.outputs)]
    return Operation(step.type.rpartition(":")[2], *shapes)

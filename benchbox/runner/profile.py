"""Profiles of cases: each in an agent of its own, with the costs of its operators on paper."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox.analysis.attention import with_attention
from benchbox.analysis.operators import Operation, classify
from benchbox.analysis.origins import FileNode
from benchbox.analysis.parts import By
from benchbox.analysis.profile import Profile, estimate
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError, CaseError, DeviceError, GraphError
from benchbox.export import Graph, names, require_unchanged
from benchbox.runner import ceilings
from benchbox.specs import Case, onnx_file
from benchbox.transports import Agent, client

if TYPE_CHECKING:
    import onnx

    from benchbox.costs.graph import GraphNode

SEED = 0  # of the inputs
LARGE_BYTES = 256 << 20
AGAIN = 2  # times, at most, that a disturbed profile is taken anew
MOST_EVENTS = 40_000  # ONNX Runtime holds them all in memory, with 2 KB each


@dataclass(frozen=True, slots=True)
class ProfileOutcome:
    """A case with its profile or the reason why it has none, and the agent's `hello`.

    `made_up` maps inputs on whose made-up values the work depends to how these were made,
    `ceilings` has what the processors do at best, where that was asked for.
    """

    case: Case
    profile: Profile | None
    reason: str = ""
    hello: Mapping[str, Any] = field(default_factory=dict)
    made_up: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)


def is_processor(device: Device) -> bool:
    """Whether a device can be profiled."""
    return device.provider == CPU_PROVIDER


def require_processor(device: Device) -> None:
    """Raise DeviceError for a device that is no processor."""
    if not is_processor(device):
        there = device.name.rpartition("-cuda-")[0]  # another machine's
        raise DeviceError(
            f"device {device.name!r}: only processors can be profiled, not {device.provider}; "
            f"profile with --device {f'{there}:cpu' if there else 'cpu'}"
        )


def outcomes(
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    device: Device,
    open_agent: Callable[[Device], Agent],
    notify: Callable[[Case, float], None] = lambda *_: None,
    by: By = "category",
    *,
    with_ceilings: bool = False,
) -> Iterator[ProfileOutcome]:
    """Profile one case after the other, each in its own agent, so that a crash costs one case.

    Where `by` is modules, a case fails whose nodes name none. `notify` is called with the share of
    a case that is done. Raises DeviceError for a GPU, whose profiler sees kernels launched and not
    run, for an emulated device, and when no agent starts for the first case; for a later one that
    is its reason.
    """
    require_processor(device)
    started, known = False, dict[str, float]()
    for case in cases:
        graph = graphs[case.key]
        if isinstance(graph, CaseError):
            yield ProfileOutcome(case, None, str(graph))
            continue
        try:
            with open_agent(replace(device, threads=case.threads or device.threads)) as agent:
                client.require_real(agent, device.name, "times to profile")
                started = True
                if with_ceilings and not known:  # anew each time: a busy hour shows in none alone
                    known, _ = ceilings.measure(agent, device)
                profile = _profile(agent, case, graph, by, notify)
                yield ProfileOutcome(case, profile, "", agent.hello, graph.made_up, known)
        except DeviceError as error:
            if not started:
                raise
            yield ProfileOutcome(case, None, str(error))
        except (CaseError, GraphError) as error:
            yield ProfileOutcome(case, None, str(error))


def _profile(
    agent: Agent, case: Case, graph: Graph, by: By, notify: Callable[[Case, float], None]
) -> Profile:
    require_unchanged(case, graph)
    model = onnx_file.read(graph.path)
    with tempfile.TemporaryDirectory() as folder:
        path = _with_names(model, graph, Path(folder))
        file = file_nodes(model, case, graph)
        if by == "module" and not any(node.module for node in file):
            raise CaseError("its nodes carry no names of modules; --by type works with any graph")
        nodes = sum(graph.cost.ops.values())
        request = str(path), graph.filled(case.inputs), SEED, MOST_EVENTS // max(1, nodes)

        def take() -> Profile:
            reply = agent.profile(*request, lambda share: notify(case, share))
            if not reply["nodes"]:
                raise CaseError("the profiler wrote down no node: optimisation left none to run")
            return estimate(reply, nodes, file)

        found = take()
        for _ in range(AGAIN):
            if found.is_disturbed:
                found = min(found, take(), key=lambda each: abs(each.outside_share))
    return found


def _with_names(model: "onnx.ModelProto", graph: Graph, folder: Path) -> Path:
    """The graph's path, or that of a copy where each node has a name: the profile tells by them.

    A large graph, or one with external data, is profiled as it is.
    """
    import onnx

    if graph.beside or graph.size_bytes > LARGE_BYTES or not names.complete(model):
        return graph.path
    path = folder / graph.path.name
    onnx.save(model, path)
    return path


def file_nodes(model: "onnx.ModelProto", case: Case, graph: Graph) -> list[FileNode]:
    """The nodes of a case's file with their costs; none where it is malformed."""
    from benchbox import costs

    shapes = {tensor.name: tensor.shape for tensor in case.inputs}
    try:
        counted = costs.of_steps(model, shapes, graph.observed)
    except BenchboxError:
        return []
    categories = classify([_operation(step) for step, *_ in counted])
    modules = names.modules(model)
    nodes = [
        FileNode(
            name=step.node.name,
            operation=_operation(step),
            category=category,
            module=modules.get(step.node.name),
            macs=macs,
            memory_access_bytes=memory,
            reads=[each.name for each in step.inputs if each and not each.constant],
            makes=[each.name for each in step.outputs if each],
        )
        for (step, macs, memory), category in zip(counted, categories, strict=True)
    ]
    return with_attention(nodes)


def _operation(step: "GraphNode") -> Operation:
    shapes = [[None if t is None else t.shape for t in ts] for ts in (step.inputs, step.outputs)]
    return Operation(step.type.rpartition(":")[2], *shapes)

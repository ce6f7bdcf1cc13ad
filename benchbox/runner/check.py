"""Checks of an explanation: what it blames is altered, and timed beside the original."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from benchbox import costs
from benchbox.analysis.stats import Interval
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError, GraphError
from benchbox.export import Graph
from benchbox.insight.advice import Advice, candidates
from benchbox.insight.blame import Blame
from benchbox.insight.check import Check, said, widths
from benchbox.insight.parts import Explained
from benchbox.insight.widths import widened
from benchbox.runner import mirrored
from benchbox.runner.profile import LARGE_BYTES, SEED
from benchbox.specs import Case, TensorSpec
from benchbox.transports import Agent

ORIGINAL, ALTERED = "original", "altered"
MOST_FLOPS = 1.5  # of the original's, beyond which it is another network


def checks(
    blamed: Sequence[Blame],
    found: Explained,
    case: Case,
    graph: Graph,
    device: Device,
    open_agent: Callable[[Device], Agent],
    notify: Callable[[float], None] = lambda _: None,
) -> Iterator[Check]:
    """Check every part that widths are blamed for, each in an agent of its own."""
    for blame in blamed:
        to = widths(blame, found.block)
        if not to:
            continue
        unchecked = Check(blame.part, to)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "altered.onnx"
                inputs, cost, changed = altered(case, graph, to, path)
                flops = cost.macs / max(1, graph.cost.macs)
                unchecked = replace(unchecked, flops=flops, said=said(found, changed))
                loaded = (graph.path, graph.filled(case.inputs)), (path, inputs)
                limits = _limits(found, flops)
                yield replace(
                    unchecked, measured=ratio(device, open_agent, *loaded, limits, notify)
                )
        except (CaseError, DeviceError, GraphError) as error:
            yield replace(unchecked, reason=str(error))


def advice(
    found: Explained,
    case: Case,
    graph: Graph,
    device: Device,
    open_agent: Callable[[Device], Agent],
    folder: Path,
    notify: Callable[[float], None] = lambda _: None,
) -> Iterator[Advice]:
    """Time graphs with wider channels beside the original; those that differ lie in a folder."""
    known, wanted = set[bytes](), candidates(found)
    for number, to in enumerate(wanted):
        path = folder / f"{number}.onnx"
        unmeasured = Advice(to)
        try:
            inputs, cost, _ = altered(case, graph, to, path)
            flops = cost.macs / max(1, graph.cost.macs)
            digest = sha256(path.read_bytes()).digest()
            if digest in known or not 1 <= flops <= MOST_FLOPS:
                continue
            known.add(digest)
            unmeasured = Advice(to, path, cost.macs, flops, cost.params)
            loaded = (graph.path, graph.filled(case.inputs)), (path, inputs)

            def show(share: float, done: int = number) -> None:
                notify((done + share) / len(wanted))

            measured = ratio(device, open_agent, *loaded, _limits(found, flops), show)
            yield replace(unmeasured, measured=measured)
        except (CaseError, DeviceError, GraphError) as error:
            yield replace(unmeasured, reason=str(error))


def ratio(
    device: Device,
    open_agent: Callable[[Device], Agent],
    original: tuple[Path, Sequence[TensorSpec]],
    other: tuple[Path, Sequence[TensorSpec]],
    limits: Sequence[float],
    notify: Callable[[float], None],
) -> Interval | None:
    """The latency of another graph over the original's, in mirrored rounds of one agent."""
    with open_agent(device) as agent:
        for name, (path, inputs) in ((ORIGINAL, original), (ALTERED, other)):
            agent.load(name, str(path), inputs, SEED)
        return mirrored.ratio(agent, (ORIGINAL, ALTERED), limits, notify)


def _limits(found: Explained, flops: float) -> tuple[float, float]:
    return found.profile.latency_s, found.profile.latency_s * max(1.0, flops)


def altered(
    case: Case, graph: Graph, to: Mapping[int, int], path: Path
) -> tuple[list[TensorSpec], costs.Cost, dict[int, int]]:
    """Write the graph with other widths; return its inputs, its cost, and all that changed."""
    import onnx

    if graph.beside or graph.size_bytes > LARGE_BYTES:
        raise GraphError("its weights are too many to alter")
    shapes = {tensor.name: tensor.shape for tensor in case.inputs}
    model, now, changed = widened(onnx.load(str(graph.path)), shapes, to)
    model.doc_string = f"{case.name} with other widths; its weights are repeated, not trained"
    onnx.save(model, path)
    inputs = [replace(tensor, shape=now[tensor.name]) for tensor in graph.filled(case.inputs)]
    return inputs, costs.count(model, now), changed

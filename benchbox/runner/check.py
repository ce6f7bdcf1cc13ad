"""Checks of an explanation: what it blames is altered, and timed beside the original."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import costs
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError, GraphError
from benchbox.export import Graph
from benchbox.insight.blame import Blame
from benchbox.insight.check import Check, said, widths
from benchbox.insight.parts import Explained
from benchbox.insight.widths import widened
from benchbox.runner import mirrored
from benchbox.runner.profile import LARGE_BYTES, SEED
from benchbox.specs import Case, TensorSpec
from benchbox.transports import Agent

ORIGINAL, ALTERED = "original", "altered"


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
                path, inputs, flops = _altered(case, graph, to, Path(folder))
                unchecked = replace(unchecked, flops=flops, said=said(found, to))
                with open_agent(device) as agent:
                    agent.load(ORIGINAL, str(graph.path), graph.filled(case.inputs), SEED)
                    agent.load(ALTERED, str(path), inputs, SEED)
                    latency_s = found.profile.latency_s
                    limits = (latency_s, latency_s * max(1.0, flops))
                    measured = mirrored.ratio(agent, (ORIGINAL, ALTERED), limits, notify)
            yield replace(unchecked, measured=measured)
        except (CaseError, DeviceError, GraphError) as error:
            yield replace(unchecked, reason=str(error))


def _altered(
    case: Case, graph: Graph, to: dict[int, int], folder: Path
) -> tuple[Path, list[TensorSpec], float]:
    """The altered graph's file, its inputs, and its FLOPs over the original's."""
    import onnx

    if graph.beside or graph.size_bytes > LARGE_BYTES:
        raise GraphError("its weights are too many to alter")
    shapes = {tensor.name: tensor.shape for tensor in case.inputs}
    model, now = widened(onnx.load(str(graph.path)), shapes, to)
    path = folder / "altered.onnx"
    onnx.save(model, path)
    inputs = [replace(tensor, shape=now[tensor.name]) for tensor in graph.filled(case.inputs)]
    return path, inputs, costs.count(model, now).macs / max(1, graph.cost.macs)

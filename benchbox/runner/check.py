"""Checks of an explanation: what it blames is altered, and timed beside the original."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox import costs
from benchbox.analysis.profile import Node, nodes_of
from benchbox.analysis.stats import Interval
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError, GraphError
from benchbox.export import Graph, names
from benchbox.insight.advice import Advice, candidates
from benchbox.insight.alteration import Alteration, alterations
from benchbox.insight.blame import Blame
from benchbox.insight.check import Check, objection
from benchbox.insight.expected import expected
from benchbox.insight.file_graph import FileGraph
from benchbox.insight.folded import folded
from benchbox.insight.parts import Explained
from benchbox.insight.predict.optimise import Optimiser
from benchbox.insight.surgery import altered
from benchbox.runner import mirrored
from benchbox.runner.profile import LARGE_BYTES, SEED, file_nodes
from benchbox.specs import Case, TensorSpec
from benchbox.transports import Agent

if TYPE_CHECKING:
    from onnx import ModelProto

ORIGINAL, ALTERED = "original", "altered"
MOST_FLOPS = 1.5  # of the original's, beyond which it is another network
OpenAgent = Callable[[Device], Agent]
Notify = Callable[[float], None]


def checks(
    blamed: Sequence[Blame],
    found: Explained,
    case: Case,
    graph: Graph,
    device: Device,
    open_agent: OpenAgent,
    notify: Notify = lambda _: None,
) -> Iterator[Check]:
    """Check every part of which something can be altered; the others have no check."""
    try:
        bench = _Bench(found, case, graph, device, open_agent)
    except (CaseError, GraphError) as error:
        yield from (Check(blame.part, Alteration(), reason=str(error)) for blame in blamed)
        return
    for number, blame in enumerate(blamed):

        def show(share: float, done: int = number) -> None:
            notify((done + share) / len(blamed))

        if (check := bench.check(blame, show)) is not None:
            yield check


def advice(
    found: Explained,
    case: Case,
    graph: Graph,
    device: Device,
    open_agent: OpenAgent,
    folder: Path,
    notify: Notify = lambda _: None,
) -> Iterator[Advice]:
    """Time graphs with wider channels beside the original; those that differ lie in a folder."""
    known, wanted = set[bytes](), candidates(found)
    try:
        original = _model(case, graph)
    except (CaseError, GraphError) as error:
        yield from (Advice(to, reason=str(error)) for to in wanted)
        return
    for number, to in enumerate(wanted):
        path = folder / f"{number}.onnx"
        unmeasured = Advice(to)
        try:
            model, inputs = _altered(original, case, graph, Alteration(widths=to))
            cost = costs.count(model, _shapes(inputs))
            flops = cost.macs / max(1, graph.cost.macs)
            model.doc_string = (
                f"{case.name} with other widths; its weights are repeated, not trained"
            )
            content = model.SerializeToString()
            digest = sha256(content).digest()
            if digest in known or not 1 <= flops <= MOST_FLOPS:
                continue
            known.add(digest)
            path.write_bytes(content)
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
    open_agent: OpenAgent,
    original: tuple[Path, Sequence[TensorSpec]],
    other: tuple[Path, Sequence[TensorSpec]],
    limits: Sequence[float],
    notify: Notify,
    width: float = math.inf,
) -> Interval | None:
    """The latency of another graph over the original's, in mirrored rounds of one agent."""
    with open_agent(device) as agent:
        for name, (path, inputs) in ((ORIGINAL, original), (ALTERED, other)):
            # What is altered is timed alone: without its activations numbers may grow large.
            agent.load(name, str(path), inputs, SEED, finite=False)
        return mirrored.ratio(agent, (ORIGINAL, ALTERED), limits, notify, width)


class _Bench:
    """A case whose parts are altered one after the other.

    Raises GraphError or CaseError where nothing of it can be altered.
    """

    def __init__(
        self, found: Explained, case: Case, graph: Graph, device: Device, open_agent: OpenAgent
    ) -> None:
        self._found, self._case, self._graph = found, case, graph
        self._device, self._open_agent = device, open_agent
        self._model = _model(case, graph)
        self._view = FileGraph(self._model, _shapes(case.inputs))
        self._macs = costs.count(self._model, _shapes(case.inputs)).macs
        self._timed: list[tuple[Alteration, Interval | None]] = []
        own = Counter(each.node.operation.type for each in found.nodes)
        here = self._nodes(self._model, case.inputs)
        if own != Counter(each.operation.type for each in here):
            raise CaseError(
                f"device {device.name!r} ran other operators than ONNX Runtime writes down here"
            )

    def check(self, blame: Blame, notify: Notify) -> Check | None:
        """Time the first alteration that would prove something; None where there is none at all."""
        failed: Check | None = None
        for alteration in alterations(blame, self._found, self._view):
            check = Check(blame.part, alteration)
            try:
                check = self._checked(check, notify)
            except (CaseError, DeviceError, GraphError) as error:
                check = replace(check, reason=str(error))
            if not check.reason:
                return check
            failed = failed or check
        return failed

    def _checked(self, check: Check, notify: Notify) -> Check:
        model, inputs = _altered(self._model, self._case, self._graph, check.alteration)
        then = expected(self._found, self._nodes(model, inputs))
        flops = costs.count(model, _shapes(inputs)).macs / max(1, self._macs)
        said = then.profile.latency_s / self._found.profile.latency_s
        conversions = self._found.conversions, then.conversions
        check = replace(check, flops=flops, said=said, conversions=conversions)
        if why := objection(check, self._found, then):
            return replace(check, reason=why)
        return replace(check, measured=self._measured(check, model, inputs, notify))

    def _measured(
        self, check: Check, model: ModelProto, inputs: Sequence[TensorSpec], notify: Notify
    ) -> Interval | None:
        """The measured ratio; what two parts are blamed for is timed once."""
        for alteration, measured in self._timed:
            if alteration == check.alteration:
                return measured
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "altered.onnx"
            path.write_bytes(model.SerializeToString())
            loaded = (self._graph.path, self._graph.filled(self._case.inputs)), (path, inputs)
            limits = _limits(self._found, check.flops)
            agents = self._device, self._open_agent
            measured = ratio(*agents, *loaded, limits, notify, check.width)
        self._timed.append((check.alteration, measured))
        return measured

    def _nodes(self, model: ModelProto, inputs: Sequence[TensorSpec]) -> list[Node]:
        """The nodes that run of a model, not timed, with where in it they come from."""
        case = replace(self._case, inputs=tuple(inputs))
        file = file_nodes(model, case, replace(self._graph, observed={}))
        is_blocked = any(each.kernel.is_blocked for each in self._found.nodes)
        with Optimiser(is_blocked=is_blocked) as optimiser:
            operators = optimiser.operators(model, _shapes(inputs))
        facts = [
            {
                "name": each.name,
                "op": each.type,
                "inputs": each.inputs,
                "outputs": each.outputs,
                "count": 1.0,
                "provider": "",
            }
            for each in operators
        ]
        nothing = [0.0] * len(facts)
        return [*nodes_of(facts, file, nothing, nothing, 0.0)]


def _limits(found: Explained, flops: float) -> tuple[float, float]:
    return found.profile.latency_s, found.profile.latency_s * max(1.0, flops)


def _shapes(inputs: Sequence[TensorSpec]) -> Mapping[str, Sequence[int]]:
    return {tensor.name: tensor.shape for tensor in inputs}


def _model(case: Case, graph: Graph) -> ModelProto:
    """The model of a file as its profile names the nodes; raises GraphError for a large one."""
    import onnx
    from onnx import inliner

    if graph.size_bytes > LARGE_BYTES:
        raise GraphError("its weights are too many to alter")
    model = onnx.load(str(graph.path))
    names.complete(model)
    if model.functions:
        model = inliner.inline_local_functions(model)
    return folded(model, _shapes(case.inputs), graph.observed)


def _altered(
    model: ModelProto, case: Case, graph: Graph, alteration: Alteration
) -> tuple[ModelProto, list[TensorSpec]]:
    """An altered model and its inputs."""
    made, shapes = altered(model, _shapes(case.inputs), alteration)
    return made, [replace(each, shape=shapes[each.name]) for each in graph.filled(case.inputs)]

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
NOTHING = "no altered graph would prove it"
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
    """Check every part, those too of which nothing can be altered that proves something."""
    try:
        bench = _Checks(_Original(found, case, graph, device, open_agent))
    except (CaseError, GraphError) as error:
        yield from (Check(blame.part, Alteration(), reason=str(error)) for blame in blamed)
        return
    for number, blame in enumerate(blamed):

        def show(share: float, done: int = number) -> None:
            notify((done + share) / len(blamed))

        yield bench.check(blame, show)


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
        original = _Original(found, case, graph, device, open_agent)
    except (CaseError, GraphError) as error:
        yield from (Advice(to, reason=str(error)) for to in wanted)
        return
    for number, to in enumerate(wanted):
        path = folder / f"{number}.onnx"
        unmeasured = Advice(to)
        try:
            model, inputs = original.altered(Alteration(widths=to))
            cost = costs.count(model, _shapes(inputs))
            flops = cost.macs / max(1, original.macs)
            model.doc_string = (
                f"{case.name} with other widths; its weights are repeated, not trained"
            )
            content = model.SerializeToString()
            digest = sha256(content).digest()
            if digest in known or not 1 < flops <= MOST_FLOPS:  # those of outputs stay as they are
                continue
            known.add(digest)
            path.write_bytes(content)
            unmeasured = Advice(to, path, cost.macs, flops, cost.params)

            def show(share: float, done: int = number) -> None:
                notify((done + share) / len(wanted))

            yield replace(unmeasured, measured=original.ratio(path, inputs, flops, show))
        except (CaseError, DeviceError, GraphError) as error:
            yield replace(unmeasured, reason=str(error))


class _Original:
    """A case's model, beside which altered ones are timed.

    Raises GraphError for a large one.
    """

    def __init__(
        self, found: Explained, case: Case, graph: Graph, device: Device, open_agent: OpenAgent
    ) -> None:
        self.found, self.case, self.graph, self.device = found, case, graph, device
        self.model = _model(case, graph)
        self.macs = costs.count(self.model, _shapes(case.inputs)).macs
        self._open_agent = open_agent

    def altered(self, alteration: Alteration) -> tuple[ModelProto, list[TensorSpec]]:
        """An altered model and its inputs."""
        made, shapes = altered(self.model, _shapes(self.case.inputs), alteration)
        inputs = self.graph.filled(self.case.inputs)
        return made, [replace(each, shape=shapes[each.name]) for each in inputs]

    def ratio(
        self,
        path: Path,
        inputs: Sequence[TensorSpec],
        flops: float,
        notify: Notify,
        width: float = math.inf,
    ) -> Interval | None:
        """The latency of an altered graph over the original's, in mirrored rounds of one agent."""
        own = self.graph.path, self.graph.filled(self.case.inputs)
        latency_s = self.found.profile.latency_s
        limits = latency_s, latency_s * max(1.0, flops)
        with self._open_agent(self.device) as agent:
            for name, (file, reads) in ((ORIGINAL, own), (ALTERED, (path, inputs))):
                # What is altered is timed alone: without its activations numbers may grow large.
                agent.load(name, str(file), reads, SEED, finite=False)
            return mirrored.ratio(agent, (ORIGINAL, ALTERED), limits, notify, width)


class _Checks:
    """Checks of a case whose parts are altered one after the other.

    Raises CaseError where the device runs other operators than ONNX Runtime here.
    """

    def __init__(self, original: _Original) -> None:
        self._original, self._found = original, original.found
        self._view = FileGraph(original.model, _shapes(original.case.inputs))
        self._timed: list[tuple[Alteration, Interval | None]] = []
        own = Counter(each.node.operation.type for each in self._found.nodes)
        here = self._nodes(original.model, original.case.inputs)
        if own != Counter(each.operation.type for each in here):
            raise CaseError(
                f"device {original.device.name!r} ran other operators than ONNX Runtime writes "
                "down here"
            )

    def check(self, blame: Blame, notify: Notify) -> Check:
        """Time the first alteration that would prove something; else why the first one does not."""
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
        return failed or Check(blame.part, Alteration(), reason=NOTHING)

    def _checked(self, check: Check, notify: Notify) -> Check:
        model, inputs = self._original.altered(check.alteration)
        then = expected(self._found, self._nodes(model, inputs))
        flops = costs.count(model, _shapes(inputs)).macs / max(1, self._original.macs)
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
            measured = self._original.ratio(path, inputs, check.flops, notify, check.width)
        self._timed.append((check.alteration, measured))
        return measured

    def _nodes(self, model: ModelProto, inputs: Sequence[TensorSpec]) -> list[Node]:
        """The nodes that run of a model, not timed, with where in it they come from."""
        case = replace(self._original.case, inputs=tuple(inputs))
        file = file_nodes(model, case, replace(self._original.graph, observed={}))
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

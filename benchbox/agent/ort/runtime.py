"""OnnxRuntime: ONNX Runtime on processors, as the agent's `Runtime`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from benchbox.agent.host import machine
from benchbox.agent.host.counters import Counters
from benchbox.agent.ort import plugins
from benchbox.agent.ort.plugins import LoadedPlugin
from benchbox.agent.runtime import LoadedGraph
from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    from benchbox.agent.ort.compare import Array


class OnnxRuntime:
    """ONNX Runtime, which has a pool of threads for each graph."""

    gpu = None

    def __init__(self) -> None:
        self._plugin: LoadedPlugin | None = None
        self._threads = 1
        self._cpus: Sequence[int] = ()

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import it; threads come with each graph."""
        import onnxruntime  # noqa: F401 - so that no load has to wait for it

        self._threads, self._cpus = int(request["threads"]), cpus
        if request.get("plugin"):
            with machine.spread(cpus):  # its threads may run where this one may
                self._plugin = plugins.load(request["plugin"])

    def versions(self) -> dict[str, str]:
        """Return its version."""
        import onnxruntime as ort

        own = self._plugin.facts[plugins.VERSION] if self._plugin else ""
        return {"onnxruntime": ort.__version__, **({"plugin": str(own)} if own else {})}

    def build(self) -> str:
        """Return from what and how it was built, empty for one that does not say."""
        import onnxruntime as ort

        return str(ort.get_build_info()) if hasattr(ort, "get_build_info") else ""

    def providers(self) -> list[str]:
        """Return the execution providers of this build."""
        import onnxruntime as ort

        own = [self._plugin.provider] if self._plugin else []
        return [*own, *(each for each in ort.get_available_providers() if each not in own)]

    def plugin(self) -> Mapping[str, object] | None:
        """Return what the plug-in is, and the device that it runs on."""
        return self._plugin.facts if self._plugin else None

    def read_counters(self) -> Counters:
        """No counters: it runs on processors."""
        return {}

    def load(self, request: Message) -> LoadedGraph:
        """Open a graph and call it; raises RuntimeError unless its pool is bound as asked."""
        from benchbox.agent.ort import session

        options, masks = session.options(self._threads, self._cpus), machine.affinity()
        provider, plugin = request["provider"], self._plugin
        has_pool = plugin is not None or provider in session.OWN_POOLS
        own = self._cpus if has_pool else self._cpus[:1]
        with machine.spread(own):  # a pool that binds no threads has the mask of who starts it
            loaded = session.load(
                request["path"], provider, request["inputs"], request["seed"], options, plugin
            )
        machine.check_pool(self._threads, self._cpus, masks)
        return loaded

    def warm_up(self) -> None:
        """Run a graph of nothing, so that the memory of the runtime's start is no graph's."""
        from benchbox.agent.ort import matmul_graph, session

        number = [{"name": matmul_graph.LEFT, "shape": [1], "dtype": "float32"}]
        graph: Any = matmul_graph.chain(1)
        with suppress(Exception):  # what is wrong with the runtime the first graph tells
            session.load(graph, session.CPU, number, 0, session.options(1, ()))

    def compare(self, request: Message, loaded: LoadedGraph) -> Mapping[str, object]:
        """The error of another provider's outputs relative to the CPU's, and its precision."""
        from benchbox.agent.ort import check_outputs
        from benchbox.agent.ort import compare as ort_compare

        assert loaded.fetch is not None, "loaded here"
        provider, plugin = request["provider"], self._plugin
        given, reference = loaded.fetch(), check_outputs.CpuReference(request, self._threads)
        is_single = request["compare"] == "single"
        asked = plugin.precision if plugin and is_single else ""
        tolerance = ort_compare.TOLERANCE if asked == check_outputs.SINGLE else check_outputs.LOST
        off = check_outputs.require_alike(reference, given, tolerance, provider)
        if off is None or request["compare"] == "quantised":
            return {"output_error": off}
        if plugin and plugin.precisions:
            run = partial(self._run_in, request, plugin)
            return {
                "output_error": off,
                "computed_in": check_outputs.told_precision(plugin, run, given, off),
            }
        found = check_outputs.precision(reference, off, provider) if is_single else None
        return {"output_error": off, "computed_in": found}

    def _run_in(
        self, request: Message, plugin: LoadedPlugin, precision: str
    ) -> "Sequence[Array | None]":
        """The outputs of a call in a session that computes in a type."""
        from benchbox.agent.ort import inputs, session

        told = replace(plugin, precision=precision)
        options = session.options(self._threads, self._cpus)
        opened = session.opened(request["path"], plugin.provider, options, told)
        feeds = {each["name"]: inputs.of(each, request["seed"]) for each in request["inputs"]}
        return session.fetch(opened, session.values(feeds))

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Number of the graph's nodes by the type of their output, and by operator if asked."""
        from benchbox.agent.ort import node_types, session

        asked = (request["path"], request["provider"], request["inputs"], request["seed"])
        return node_types.types(
            partial(session.load, *asked, plugin=self._plugin),
            session.options(1, ()),
            by_operator=request["types"] == "operators",
        )

"""OnnxRuntime: ONNX Runtime on processors, as the agent's `Runtime`."""

from collections.abc import Mapping, Sequence
from functools import partial

from benchbox.agent.host import machine
from benchbox.agent.host.counters import Counters
from benchbox.agent.runtime import LoadedGraph
from benchbox.agent.stdio import Message


class OnnxRuntime:
    """ONNX Runtime, which has a pool of threads for each graph."""

    gpu = None

    def __init__(self) -> None:
        self._threads = 1
        self._cpus: Sequence[int] = ()

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import it; threads come with each graph."""
        import onnxruntime  # noqa: F401 - so that no load has to wait for it

        self._threads, self._cpus = int(request["threads"]), cpus

    def versions(self) -> dict[str, str]:
        """Return its version."""
        import onnxruntime as ort

        return {"onnxruntime": ort.__version__}

    def providers(self) -> list[str]:
        """Return the execution providers of this build."""
        import onnxruntime as ort

        return list(ort.get_available_providers())

    def read_counters(self) -> Counters:
        """No counters: it runs on processors."""
        return {}

    def load(self, request: Message) -> LoadedGraph:
        """Open a graph and call it; raises RuntimeError unless its pool is bound as asked."""
        from benchbox.agent.ort import session

        options, masks = session.options(self._threads, self._cpus), machine.affinity()
        provider = request["provider"]
        own = self._cpus if provider in session.OWN_POOLS else self._cpus[:1]
        with machine.spread(own):  # a pool that binds no threads has the mask of who starts it
            loaded = session.load(
                request["path"], provider, request["inputs"], request["seed"], options
            )
        machine.check_pool(self._threads, self._cpus, masks)
        return loaded

    def compare(self, request: Message, loaded: LoadedGraph) -> None:
        """Nothing to compare: this is the processor."""

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Number of the graph's nodes by the type of their output, and by operator if asked."""
        from benchbox.agent.ort import node_types, session

        asked = (request["path"], request["provider"], request["inputs"], request["seed"])
        return node_types.types(
            partial(session.load, *asked),
            session.options(1, ()),
            by_operator=request["types"] == "operators",
        )

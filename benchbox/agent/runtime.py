"""What runs graphs on the device: ONNX Runtime here, PyTorch in benchbox.export.torch_agent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from benchbox.agent.host import machine
from benchbox.agent.host.counters import Seen
from benchbox.agent.stdio import Message, Refusal

if TYPE_CHECKING:
    from benchbox.agent.gpu.device import Card
    from benchbox.agent.ort.compare import Array


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded graph; `call` runs it once on an input that was made beforehand.

    `nodes` says how many of its nodes each provider runs, None where the runtime does not tell.
    `gpu_bytes` is what loading it and its first calls took of a GPU's memory, None on a processor.
    """

    call: Callable[[], object]
    load_s: float
    first_call_s: float
    finite: bool
    outputs: list[dict[str, object]]
    nodes: Mapping[str, int] | None = None
    gpu_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSession(Session):
    """A graph whose tensors lie on the GPU; as benchbox.agent.gpu.burst.Call wants it.

    `call` and `run` are the same: they wait for the outputs, on the GPU. `enqueue` waits for
    nothing; `run_with_copies` begins and ends in the host's memory.
    """

    enqueue: Callable[[], object]
    run_with_copies: "Callable[[], Sequence[Array]]"

    def run(self) -> object:
        """Call the graph and wait for its outputs, on the GPU."""
        return self.call()


class GpuLostError(RuntimeError):
    """The GPU cannot be used by this process any more."""


class GpuFullError(RuntimeError, Refusal):
    """The GPU's memory is full; with less loaded there, a graph may fit."""


class Runtime(Protocol):
    """A library that runs graphs, and which of its builds this is.

    `gpu` is what it runs them on from `begin` on, None on a processor.
    """

    @property
    def gpu(self) -> "Card | None":
        """The GPU, opened."""

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import the library and make its threads as a `hello` asks; the first runs on `cpus[0]`.

        Raises ValueError where it cannot run here as it is asked to.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the library, by name."""

    def providers(self) -> list[str]:
        """Return what it can run graphs by here."""

    def load(self, request: Message) -> Session:
        """Open what a `load` asks for and call it; its pool is bound as the session's threads."""

    def look(self) -> Seen:
        """Return what is seen of a GPU that it runs on, nothing on a processor."""

    def compare(self, request: Message, loaded: Session) -> None:
        """Raise Refusal unless a graph gives on a GPU what it gives on the processor."""

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Return how many nodes of such a graph give which type, None where nobody tells."""


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

    def look(self) -> Seen:
        """Return nothing: it runs on processors."""
        return {}

    def load(self, request: Message) -> Session:
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

    def compare(self, request: Message, loaded: Session) -> None:
        """Leave it: this is the processor."""

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Return how many nodes of such a graph give which type."""
        from benchbox.agent.ort import node_types, session

        asked = (request["path"], request["provider"], request["inputs"], request["seed"])
        return node_types.types(partial(session.load, *asked), session.options(1, ()))

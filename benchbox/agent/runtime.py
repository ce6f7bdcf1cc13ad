"""Runtime and LoadedGraph: protocol of the library that runs graphs, ONNX Runtime or PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchbox.agent.host.counters import Counters
from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    from benchbox.agent.gpu.device import GpuDevice
    from benchbox.agent.ort.compare import Array


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A loaded graph; `call` runs it once on an input that was made beforehand.

    `nodes` counts the nodes that each provider runs, None where the runtime does not report it.
    `fetch` gives the outputs of a call, None for one that is no array; a GPU's come otherwise.
    `gpu_bytes` is what loading it and its first calls took of a GPU's memory, None on a processor.
    """

    call: Callable[[], object]
    load_s: float
    first_call_s: float
    finite: bool
    outputs: list[dict[str, object]]
    nodes: Mapping[str, int] | None = None
    gpu_bytes: int | None = None
    fetch: "Callable[[], Sequence[Array | None]] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGraph(LoadedGraph):
    """A graph whose tensors lie on the GPU; as benchbox.agent.gpu.burst.GpuCall wants it.

    `call` and `run` are the same: they wait for the outputs, on the GPU. `enqueue` waits for
    nothing; `run_with_copies` begins and ends in the host's memory.
    """

    enqueue: Callable[[], object]
    run_with_copies: "Callable[[], Sequence[Array]]"

    def run(self) -> object:
        """Call the graph and wait for its outputs, on the GPU."""
        return self.call()


class Runtime(Protocol):
    """A library that runs graphs, and which of its builds this is.

    `gpu` is what it runs them on from `begin` on, None on a processor.
    """

    @property
    def gpu(self) -> "GpuDevice | None":
        """The GPU, opened."""

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import the library and make its threads as a `hello` asks; the first runs on `cpus[0]`.

        Raises ValueError where it cannot run here as it is asked to.
        """

    def versions(self) -> dict[str, str]:
        """Versions of the library and what it uses, by name."""

    def providers(self) -> list[str]:
        """Names of the providers that it can run graphs on here."""

    def load(self, request: Message) -> LoadedGraph:
        """Open what a `load` asks for and call it; its pool is bound as the session's threads."""

    def read_counters(self) -> Counters:
        """Counters of the GPU that it runs on; empty on a processor."""

    def compare(self, request: Message, loaded: LoadedGraph) -> Mapping[str, object]:
        """The fields of a `load` reply that compare its outputs with those of the CPU provider.

        Raises Refusal where they have nothing to do with these.
        """

    def plugin(self) -> Mapping[str, object] | None:
        """Facts of the plug-in that runs the graphs, None for providers of the build itself."""

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Number of the graph's nodes by the type of their output, None where that is unknown."""

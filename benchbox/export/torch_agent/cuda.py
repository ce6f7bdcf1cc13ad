"""CUDA for PyTorch: stream, sentinel, copies and graph capture; the timing loop is the agent's own.

All of torch's calls go to one stream, which is not the default one; timing events are put into the
same stream through the CUDA runtime library that torch has loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from benchbox.agent.gpu import cudart, libraries
from benchbox.agent.gpu.device import GpuDevice
from benchbox.agent.gpu.sentinel import MatmulFactory
from benchbox.agent.gpu.stream import Stream
from benchbox.agent.ort import inputs, matmul_graph
from benchbox.agent.stdio import Message
from benchbox.export import modules

if TYPE_CHECKING:
    import torch

    from benchbox.agent.ort.compare import Array

WARMUPS = 3  # before a capture: libraries allocate and choose their kernels in the first calls

Result = TypeVar("Result")


def require() -> None:
    """Raise ValueError, with what to do, unless this torch finds a GPU."""
    import torch

    if torch.version.cuda and torch.cuda.is_available():
        return
    why = "finds no GPU" if torch.version.cuda else "is built without CUDA"
    raise ValueError(
        f"this torch ({torch.__version__}) {why}; install one that has it, or time on --device cpu"
    )


def open_gpu(index: int, driving: Message) -> GpuDevice:
    """Open GPU `index` with a stream that torch's calls in this thread go to from now on.

    Raises ValueError where it cannot be used.
    """
    import torch

    major = int(str(torch.version.cuda).partition(".")[0])
    try:
        runtime = cudart.CudaRuntime(libraries.runtime(major))
        every = driving["conv_search"] == "exhaustive"
        return GpuDevice(runtime, index, partial(_set_up, every_algorithm=every), driving)
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _set_up(
    device: cudart.CudaDevice, *, every_algorithm: bool
) -> tuple[Stream, MatmulFactory, Mapping[str, str]]:
    """Set the device, full precision and a stream; raises RuntimeError if torch ignores one.

    With `every_algorithm` cuDNN tries all for each convolution, else it uses its heuristics.
    """
    import torch

    torch.cuda.set_device(device.index)
    torch.backends.cudnn.benchmark = every_algorithm
    torch.backends.cudnn.benchmark_limit = 0  # none; torch would try the first ten
    # Convolutions would round their factors to ten bits (TF32), which ONNX Runtime here does only
    # when asked to. By the older names of the two switches: what is set by the newer ones, some
    # versions of torch.compile fail to read.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    own = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # as torch has it
    torch.cuda.set_stream(own)
    used = torch.cuda.current_stream()
    if torch.cuda.current_device() != device.index or used.cuda_stream != own.cuda_stream:
        raise RuntimeError(
            f"torch's calls go to {used}, not to the stream that is timed, {own} of GPU "
            f"{device.index}: its figures would be wrong"
        )
    options = {
        "cudnn.allow_tf32": str(False),
        "cuda.matmul.allow_tf32": str(False),
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "cudnn.benchmark_limit": str(torch.backends.cudnn.benchmark_limit),
    }
    return Stream(device, own.cuda_stream), product, options


def product(size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
    """A function that puts a product of two matrices into torch's stream.

    It is a MatmulFactory of benchbox.agent.gpu.sentinel.
    """
    import torch

    matmul = torch.backends.cuda.matmul
    left, right = (
        torch.from_numpy(inputs.make(name, [size, size], dtype, 0)).to("cuda")
        for name in (matmul_graph.LEFT, matmul_graph.RIGHT)
    )
    target = torch.empty_like(left)

    def enqueue() -> None:
        matmul.allow_tf32 = tf32
        torch.mm(left, right, out=target)
        matmul.allow_tf32 = False

    return enqueue


def synchronized(call: Callable[[], Result]) -> Callable[[], Result]:
    """The call followed by a wait until the GPU is done, which is the latency a user sees."""
    import torch

    wait = torch.cuda.current_stream().synchronize

    def run() -> Result:
        result = call()
        wait()
        return result

    return run


def with_copies(
    call: Callable[[], object], tensors: "Sequence[torch.Tensor]", sources: "Sequence[torch.Tensor]"
) -> "Callable[[], list[Array]]":
    """The call with its input copied from `sources` on the host and its output copied back."""

    def run() -> "list[Array]":
        for tensor, source in zip(tensors, sources, strict=True):
            tensor.copy_(source)
        return [each.cpu().numpy() for each in modules.tensors(call())]

    return run


def captured(call: Callable[[], Result]) -> Callable[[], Result]:
    """Capture the call; return a function that replays it, with its result always in one place.

    It is captured in a stream of its own, where its first calls were made, as libraries keep
    handles and workspaces by stream: with a graph that is given up some versions of torch give back
    cuBLAS's workspace of its stream, whatever other graph was captured there.
    """
    import torch

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # as torch has it
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUPS):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        result = call()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def release() -> None:
    """Free the GPU memory that torch keeps but does not use."""
    import torch

    torch.cuda.empty_cache()

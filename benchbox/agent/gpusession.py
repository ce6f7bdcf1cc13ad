"""One graph in ONNX Runtime on a GPU: opened, checked, and bound to buffers on the device.

Nodes that the CUDA provider has no kernel for run on the processor, with copies between; they are
counted, and a graph with none on the GPU is refused. `session.disable_cpu_ep_fallback` would refuse
every such graph, also those where it is a shape that ONNX Runtime computes there by choice.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchbox.agent import gpuerrors, inputs, session
from benchbox.agent.gpulibraries import PROVIDER, TENSORRT
from benchbox.agent.runtime import GpuSession
from benchbox.agent.stdio import Message

ConvSearch = Literal["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]
CAPTURE = re.compile("graph capture|captur|cudaStream(Begin|End)Capture", re.IGNORECASE)
PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
EAGER, CAPTURED = "-1", "1"  # values of gpu_graph_id: not captured, and the one that is
Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Place:
    """Where graphs run and how: a provider, its options, and the device that holds their tensors.

    `captured` says whether calls replay a CUDA graph, which the first call recorded. `rest` are the
    providers, with their options, of the nodes that it has no kernels for, before the processor's.
    """

    provider: str
    options: dict[str, str]
    device: str
    index: int
    captured: bool
    rest: dict[str, dict[str, str]] = field(default_factory=dict)


def place(
    index: int = 0,
    stream: int = 0,
    conv_search: ConvSearch = "EXHAUSTIVE",
    *,
    tf32: bool = False,
    captured: bool = False,
) -> Place:
    """Return the place that is GPU `index`; everything runs on the CUDA stream given, if one is.

    With `tf32` products of float32 numbers are rounded to ten bits where the GPU can, ONNX
    Runtime's own default; without it they are what the graph says. `conv_search` is how cuDNN's
    algorithms are chosen, anew for each session. Names and values are those of
    OrtCUDAProviderOptionsV2.
    """
    options = {
        "device_id": str(index),
        "cudnn_conv_algo_search": conv_search,
        "use_tf32": str(int(tf32)),
        "enable_cuda_graph": str(int(captured)),
    }
    if stream:
        options["user_compute_stream"] = str(stream)
    return Place(PROVIDER, options, "cuda", index, captured)


def eager(where: Place) -> Place:
    """Return the place with every kernel launched in each call, as a profiler has to see them."""
    return replace(where, captured=False, options={**where.options, "enable_cuda_graph": "0"})


def load(
    graph: str | bytes,
    tensors: Sequence[Message],
    seed: int,
    where: Place,
    session_options: ort.SessionOptions,
) -> GpuSession:
    """Open a graph, by its path or its bytes, and run it once.

    Raises RuntimeError when the provider has none of its nodes, when the GPU's memory is too small,
    when it cannot be captured, or when CUDA fails otherwise; benchbox.agent.gpulibraries says
    before what is missing here. ONNX Runtime's other errors pass through.
    """
    with gpuerrors.told(), _capturing(where):
        start = time.perf_counter()
        opened = _opened(graph, where, session_options)
        load_s = time.perf_counter() - start
        nodes = session._nodes(opened)
        session._require(where.provider, opened.get_providers()[0], nodes)
        _require_whole(opened, where)
        arrays = {
            each["name"]: inputs.make(each["name"], each["shape"], each["dtype"], seed)
            for each in tensors
        }
        bound = _Bound(opened, where, arrays)
        start = time.perf_counter()
        values = bound.first_call()
        first_call_s = time.perf_counter() - start
        bound.keep(values)
        call = bound.caller(wait=True)
        call()
        finite, outputs = session._finite(values), session._describe(opened, values)
    enqueue = bound.caller(wait=False)
    copies = partial(bound.call_with_copies, call)
    return GpuSession(
        call,
        load_s,
        first_call_s,
        finite,
        outputs,
        nodes,
        enqueue=enqueue,
        run_with_copies=copies,
    )


def _require_whole(opened: ort.InferenceSession, where: Place) -> None:
    """Raise RuntimeError where of several engines ONNX Runtime would record the first alone."""
    if where.provider != TENSORRT or not where.captured or session._nodes(opened) is None:
        return
    parts = opened.get_provider_graph_assignment_info()
    if (engines := sum(part.ep_name == TENSORRT for part in parts)) > 1:
        raise RuntimeError(f"graph capture takes one of its {engines} engines alone")


@contextmanager
def _capturing(where: Place) -> Iterator[None]:
    """Say what helps where a graph cannot become a CUDA graph."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's have no common ancestor but this
        if not where.captured or not CAPTURE.search(str(error)):
            raise
        why = PREFIX.sub("", " ".join(str(error).split()))
        raise RuntimeError(
            f"it cannot be captured as a CUDA graph: {why}; time it with --mode eager"
        ) from None


def _opened(
    graph: str | bytes, where: Place, session_options: ort.SessionOptions
) -> ort.InferenceSession:
    asked = {where.provider: where.options}
    if hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        asked |= {**where.rest, session.CPU: {}}
    elif where.provider != session.CPU:
        # An ONNX Runtime that cannot tell which nodes it left to the processor may leave none;
        # with the processor's provider named beside, it takes that for a contradiction.
        session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # What stands for a session's messages does not stand for its provider's: it warns of its own
    # option device_id.
    ort.set_default_logger_severity(session.ERRORS_ONLY)
    # Else Python's part of ONNX Runtime opens the graph on the processor when CUDA fails, and
    # prints why instead of raising it.
    return ort.InferenceSession(
        graph, session_options, [*asked], [*asked.values()], enable_fallback=0
    )


def run_options(where: Place, graph: str, *, wait: bool) -> ort.RunOptions:
    """Return the options of a call: which CUDA graph, where there are any, and whether it waits."""
    options = ort.RunOptions()
    options.log_severity_level = session.ERRORS_ONLY
    if where.captured:
        options.add_run_config_entry("gpu_graph_id", graph)
    if not wait:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


class _Bound:
    """A session with its inputs and outputs bound."""

    def __init__(
        self, opened: ort.InferenceSession, where: Place, arrays: dict[str, Array]
    ) -> None:
        self._session, self._where, self._arrays = opened, where, arrays
        self._binding = opened.io_binding()
        self._values = {
            name: ort.OrtValue.ortvalue_from_numpy(array, where.device, where.index)
            for name, array in arrays.items()
        }
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)

    def first_call(self) -> list[ort.OrtValue]:
        """Call the graph with outputs that ONNX Runtime allocates, and return them.

        It records no CUDA graph: that may only be done once the outputs have their places.
        """
        for output in self._session.get_outputs():
            self._bind_somewhere(output)
        self._session.run_with_iobinding(self._binding, run_options(self._where, EAGER, wait=True))
        return list(self._binding.get_outputs())

    def keep(self, values: Sequence[ort.OrtValue]) -> None:
        """Bind the outputs to these for good."""
        self._binding.clear_binding_outputs()
        for output, value in zip(self._session.get_outputs(), values, strict=True):
            if _on_device(output):
                self._binding.bind_ortvalue_output(output.name, value)
            else:
                self._bind_somewhere(output)

    def caller(self, *, wait: bool) -> Callable[[], object]:
        """Return what calls the graph, and waits for the GPU or does not."""
        options = run_options(self._where, CAPTURED, wait=wait)
        return partial(self._session.run_with_iobinding, self._binding, options)

    def call_with_copies(self, call: Callable[[], object]) -> object:
        """Bring the inputs to the device, call the graph, and return the outputs as arrays."""
        for name, value in self._values.items():
            value.update_inplace(self._arrays[name])
        call()
        return self._binding.copy_outputs_to_cpu()

    def _bind_somewhere(self, output: ort.NodeArg) -> None:
        if _on_device(output):
            self._binding.bind_output(output.name, self._where.device, self._where.index)
        else:
            self._binding.bind_output(output.name)


def _on_device(output: ort.NodeArg) -> bool:
    """Return whether an output is a tensor that a GPU can hold: sequences and strings are not."""
    return bool(output.type.startswith("tensor(") and not output.type.endswith("(string)"))

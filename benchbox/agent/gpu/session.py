"""One graph in ONNX Runtime on a GPU: opened, checked, and bound to buffers on the device.

Nodes that the CUDA provider has no kernel for run on the processor, with copies between; they are
counted, and a graph with none on the GPU is refused. `session.disable_cpu_ep_fallback` would refuse
every such graph, also those where it is a shape that ONNX Runtime computes there by choice.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Literal

import onnxruntime as ort

from benchbox.agent.gpu import errors, libraries
from benchbox.agent.gpu.binding import BoundSession
from benchbox.agent.gpu.libraries import PROVIDER, TENSORRT
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.ort import inputs, messages, session
from benchbox.agent.runtime import GpuGraph
from benchbox.agent.stdio import Message

ConvSearch = Literal["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]
CAPTURE = re.compile("graph capture|captur|cudaStream(Begin|End)Capture", re.IGNORECASE)


def placement(
    index: int = 0,
    stream: int = 0,
    conv_search: ConvSearch = "EXHAUSTIVE",
    *,
    tf32: bool = False,
    captured: bool = False,
) -> Placement:
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
    return Placement(PROVIDER, options, "cuda", index, captured)


def eager(where: Placement) -> Placement:
    """Return the place with every kernel launched in each call, as a profiler has to see them."""
    return replace(where, captured=False, options={**where.options, "enable_cuda_graph": "0"})


def load(
    graph: str | bytes,
    tensors: Sequence[Message],
    seed: int,
    where: Placement,
    session_options: ort.SessionOptions,
) -> GpuGraph:
    """Open a graph, by its path or its bytes, and run it once.

    Raises RuntimeError when the provider has none of its nodes, when the GPU's memory is too small,
    when it cannot be captured, when a later call, or a replay, does not give what the first one
    did, or when CUDA fails otherwise; benchbox.agent.gpu.libraries reports missing ones before.
    ONNX Runtime's other errors pass through.
    """
    with errors.translate_errors(), _capturing(where):
        start = time.perf_counter()
        opened = _opened(graph, where, session_options)
        load_s = time.perf_counter() - start
        if where.provider not in opened.get_providers():
            libraries.require_part(where.provider)
        nodes = session._nodes(opened)
        session._require(where.provider, opened.get_providers()[0], nodes)
        _require_whole(opened, where)
        arrays = {each["name"]: inputs.of(each, seed) for each in tensors}
        bound = BoundSession(opened, where, arrays)
        start = time.perf_counter()
        values = bound.first_call()
        first_call_s = time.perf_counter() - start
        finite, outputs = session._finite(values), session._describe(opened, values)
        right = bound.keep(values)
        call = bound.caller(wait=True)
        call()
        if finite:
            bound.require_again(right)
    enqueue = bound.caller(wait=False)
    copies = partial(bound.call_with_copies, call)
    return GpuGraph(
        call, load_s, first_call_s, finite, outputs, nodes, enqueue=enqueue, run_with_copies=copies
    )


def _require_whole(opened: ort.InferenceSession, where: Placement) -> None:
    """Raise RuntimeError where of several engines ONNX Runtime would record the first alone."""
    if where.provider != TENSORRT or not where.captured or session._nodes(opened) is None:
        return
    parts = opened.get_provider_graph_assignment_info()
    if (engines := sum(part.ep_name == TENSORRT for part in parts)) > 1:
        raise RuntimeError(f"graph capture takes one of its {engines} engines alone")


@contextmanager
def _capturing(where: Placement) -> Iterator[None]:
    """Add advice to the error where a graph cannot become a CUDA graph."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's have no common ancestor but this
        if not where.captured or not CAPTURE.search(str(error)):
            raise
        why = messages.plain(str(error))
        raise RuntimeError(
            f"it cannot be captured as a CUDA graph: {why}; time it with --mode eager"
        ) from None


def _opened(
    graph: str | bytes, where: Placement, session_options: ort.SessionOptions
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

"""ONNX Runtime's provider for TensorRT: how it is asked for, and what it leaves to that for CUDA.

TensorRT fuses the nodes that it can run to an engine, and times kernels for it while it builds it:
all of that is in the time to load, and each process builds anew. The nodes that it cannot run are
the CUDA provider's, on the same stream.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchbox.agent.gpu import session
from benchbox.agent.gpu.libraries import TENSORRT
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.stdio import Message


def placement(
    index: int = 0, stream: int = 0, *, tf32: bool = False, captured: bool = False
) -> Placement:
    """Return the place that is TensorRT on GPU `index`, on the CUDA stream given, if one is.

    Names are those of OrtTensorRTProviderOptionsV2; of flags ONNX Runtime's Python takes the words
    True and False alone, and no has_user_compute_stream, which the stream stands for. No engine is
    kept in a file or taken from one. `tf32` is what is asked of CUDA; TensorRT itself reads it from
    the environment, which gpulibraries.choose_tf32 sets.
    """
    options = {
        "device_id": str(index),
        "trt_cuda_graph_enable": str(captured),
        "trt_engine_cache_enable": str(False),
        "trt_timing_cache_enable": str(False),
    }
    if stream:
        options["user_compute_stream"] = str(stream)
    rest = session.placement(index, stream, tf32=tf32)
    return Placement(TENSORRT, options, rest.device, index, captured, {rest.provider: rest.options})


def typed(where: Placement, tensors: Sequence[Message]) -> Placement:
    """Return the place for a graph with these inputs.

    TensorRT refuses float16 graphs unless it may use float16, and if it may, computes float32 ones
    in it too where that is faster: so it may where the graph itself is float16.
    """
    half = any(tensor["dtype"] == "float16" for tensor in tensors)
    return replace(where, options={**where.options, "trt_fp16_enable": str(half)})

"""Products of matrices by ONNX Runtime on a GPU, for the probes and the ceilings."""

from collections.abc import Callable
from dataclasses import replace

from benchbox.agent import gemm, gpusession, session


def product(where: gpusession.Place, size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
    """Return what puts a product of two matrices into the stream of a place.

    Raises RuntimeError when the GPU cannot hold it. With its place given it is a Products of
    benchbox.agent.gpusentinel.
    """
    place = replace(where, options={**where.options, "use_tf32": str(int(tf32))})
    tensors = [
        {"name": name, "shape": [size, size], "dtype": dtype} for name in (gemm.LEFT, gemm.RIGHT)
    ]
    graph = gemm.graph(size, gemm.ELEMENTS[dtype])
    return gpusession.load(graph, tensors, 0, place, session.options(1, ())).enqueue

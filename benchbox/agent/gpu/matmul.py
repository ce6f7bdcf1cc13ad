"""Matrix products by ONNX Runtime on a GPU, for the probes and the ceilings."""

from collections.abc import Callable
from dataclasses import replace

from benchbox.agent.gpu import session as gpu_session
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.ort import matmul_graph, session


def product(where: Placement, size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
    """A function that puts a product of two matrices into the stream of a placement.

    Raises RuntimeError when the GPU cannot hold it. With its place given it is a MatmulFactory of
    benchbox.agent.gpu.sentinel.
    """
    place = replace(where, options={**where.options, "use_tf32": str(int(tf32))})
    tensors = [
        {"name": name, "shape": [size, size], "dtype": dtype}
        for name in (matmul_graph.LEFT, matmul_graph.RIGHT)
    ]
    graph = matmul_graph.graph(size, matmul_graph.ELEMENTS[dtype])
    return gpu_session.load(graph, tensors, 0, place, session.options(1, ())).enqueue

"""Keeps the GPU busy until its input ends; prints `busy` once it does."""

import select
import sys

from benchbox.agent.gpu import cudart, libraries
from benchbox.agent.gpu import session as gpu_session
from benchbox.agent.gpu.stream import Stream
from benchbox.agent.ort import matmul_graph, session

SIZE = 4096


def main() -> None:
    device = cudart.CudaDevice(cudart.CudaRuntime(libraries.runtime(libraries.prepare())))
    place = gpu_session.placement(stream=Stream(device).handle)
    tensors = [
        {"name": name, "shape": [SIZE, SIZE], "dtype": "float32"}
        for name in (matmul_graph.LEFT, matmul_graph.RIGHT)
    ]
    loaded = gpu_session.load(matmul_graph.graph(SIZE), tensors, 0, place, session.options(1, ()))
    print("busy", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        loaded.run()


if __name__ == "__main__":
    main()

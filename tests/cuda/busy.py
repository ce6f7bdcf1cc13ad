"""Keeps the GPU busy until its input ends; prints `busy` once it does."""

import select
import sys

from benchbox.agent import cudart, gemm, gpulibraries, gpusession, session
from benchbox.agent.gpuqueue import Stream

SIZE = 4096


def main() -> None:
    device = cudart.Device(cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare())))
    place = gpusession.place(stream=Stream(device).handle)
    tensors = [
        {"name": name, "shape": [SIZE, SIZE], "dtype": "float32"}
        for name in (gemm.LEFT, gemm.RIGHT)
    ]
    loaded = gpusession.load(gemm.graph(SIZE), tensors, 0, place, session.options(1, ()))
    print("busy", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        loaded.run()


if __name__ == "__main__":
    main()

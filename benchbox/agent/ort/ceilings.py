"""Ceilings of processors: what a large product, copies and a node that does nothing take at best.

`fp32_macs_per_s`, `fp16_macs_per_s`, `int8_macs_per_s`: multiply-accumulates of a product of two
matrices by ONNX Runtime, on all threads of the session; of a type that it has no product for there
is none. `copy_<bytes>_bytes_per_s`: bytes read and written in copies of so many, by as many
threads. `node_s`: seconds that a node adds to a call of warm code.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from benchbox.agent.host import machine
from benchbox.agent.ort import matmul_graph
from benchbox.agent.runtime import LoadedGraph
from benchbox.agent.stdio import Message

PRODUCTS = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
LEFTS = {"int8": "uint8"}  # types of left factors, where they differ
SIZE, SIZE_OF_MANY = 512, 1024  # of the matrices, for one thread and for several
COPIES = (1 << 19, 1 << 20, 1 << 22, 1 << 26)  # bytes: a core's caches, shared ones, the memory
NODES = 201  # of the chain whose call is compared to that of one node
EACH_S = 0.2  # spent on each figure, of whose calls the fastest counts
LEAST_CALLS = 4
LONGEST_WAIT_S = 10.0  # of threads for each other

Load = Callable[[Message], LoadedGraph]


def measure(load: Load, cpus: Sequence[int]) -> dict[str, float]:
    """Measure all ceilings with graphs that `load` opens, for a thread on each of `cpus`."""
    found = {}
    size = SIZE if len(cpus) == 1 else SIZE_OF_MANY
    for name, dtype in PRODUCTS.items():
        graph = matmul_graph.graph(size, matmul_graph.ELEMENTS[dtype])
        kinds = ((matmul_graph.LEFT, LEFTS.get(dtype, dtype)), (matmul_graph.RIGHT, dtype))
        inputs = [{"name": name, "shape": [size, size], "dtype": kind} for name, kind in kinds]
        with suppress(Exception):  # whatever a runtime raises that has no product of this type
            found[f"{name}_macs_per_s"] = size**3 / _fastest_s(_opened(load, graph, inputs))
    for size in COPIES:
        found[f"copy_{size}_bytes_per_s"] = 2 * size / _copy_s(size, cpus)
    number = [{"name": matmul_graph.LEFT, "shape": [1], "dtype": "float32"}]
    one_s, all_s = (
        _fastest_s(_opened(load, matmul_graph.chain(nodes), number)) for nodes in (1, NODES)
    )
    return {**found, "node_s": max(1e-9, (all_s - one_s) / (NODES - 1))}


def _opened(load: Load, graph: bytes, inputs: Sequence[Message]) -> Callable[[], object]:
    from benchbox.agent.ort.session import CPU

    return load({"path": graph, "provider": CPU, "inputs": inputs, "seed": 0}).call


def _fastest_s(call: Callable[[], object]) -> float:
    """The seconds of the fastest call within EACH_S, the first left out."""
    call()
    readings: list[float] = []
    start = end = time.perf_counter()
    while len(readings) < LEAST_CALLS or end - start < EACH_S:
        begun = time.perf_counter()
        call()
        end = time.perf_counter()
        readings.append(end - begun)
    return max(1e-9, min(readings))


def _copy_s(size: int, cpus: Sequence[int]) -> float:
    """The seconds of copying so many bytes, a part by a thread on each processor."""
    copies = [_copy(size // len(cpus)) for _ in cpus]
    if len(cpus) == 1:
        return _fastest_s(copies[0])
    slowest: list[float] = []
    together = threading.Barrier(len(cpus), timeout=LONGEST_WAIT_S)

    def work(cpu: int, copy: Callable[[], object]) -> None:
        machine.pin([cpu])
        together.wait()
        slowest.append(_fastest_s(copy))

    threads = [
        threading.Thread(target=work, args=each, daemon=True)
        for each in zip(cpus, copies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(slowest) < len(cpus):
        raise RuntimeError("a thread on each of its processors does not start")
    return max(slowest)


def _copy(size: int) -> Callable[[], object]:
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    return lambda: np.copyto(target, source)

"""Prints how far a GPU's outputs are from the processor's, or why not, by graph and mode.

With `tensorrt` as its argument those of TensorRT.
"""

import json
import sys
from typing import Any

import numpy as np

from benchbox import runner, specs
from benchbox.agent.gpu import cudart, libraries, tensorrt
from benchbox.agent.gpu import session as gpu_session
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.gpu.stream import Stream
from benchbox.agent.ort import session
from benchbox.export import Graph
from benchbox.specs import Case, Selection

NAMES = ("g2:groups=1,scale=1", "g2:groups=8,scale=1", "shufflenetv2_x1_0")


def main() -> None:
    provider = libraries.TENSORRT if sys.argv[1:] == ["tensorrt"] else libraries.PROVIDER
    libraries.choose_tf32(on=False)
    device = cudart.CudaDevice(cudart.CudaRuntime(libraries.runtime(libraries.prepare(provider))))
    stream = Stream(device)
    on_gpu = gpu_session if provider == libraries.PROVIDER else tensorrt
    found = [spec for name in NAMES for spec in specs.find(name)]
    cases = runner.unfold(found, Selection(channels="gpu"))
    graphs = runner.prepare(found, cases)
    result: dict[str, float | str] = {}
    for case in cases:
        graph = graphs[case.key]
        assert isinstance(graph, Graph), graph
        for mode in ("eager", "graph"):
            there = on_gpu.placement(stream=stream.handle, captured=mode == "graph")
            try:
                result[f"{case.key} {mode}"] = apart(case, graph, there)
            except Exception as error:  # ONNX Runtime's have no common ancestor but this
                result[f"{case.key} {mode}"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))


def apart(case: Case, graph: Graph, place: Placement) -> float:
    """The largest difference over 1 plus the size of what is right."""
    tensors = [{"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in case.inputs]
    here = Placement(session.CPU, {}, "cpu", 0, captured=False)
    outputs = [
        gpu_session.load(
            str(graph.path), tensors, 0, where, session.options(1, ())
        ).run_with_copies()
        for where in (here, place)
    ]
    right, other = outputs
    pairs = zip(right, other, strict=True)
    return max(_difference(*pair) for pair in pairs)


def _difference(right: Any, other: Any) -> float:
    return float((np.abs(other - right) / (1 + np.abs(right))).max())


if __name__ == "__main__":
    main()

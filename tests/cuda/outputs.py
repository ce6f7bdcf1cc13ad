"""Prints how far a GPU's outputs are from the processor's, or why not, by graph and mode.

With `tensorrt` as its argument those of TensorRT.
"""

import json
import sys

import numpy as np

from benchbox import runner, specs
from benchbox.agent import cudart, gpulibraries, gpusession, gputensorrt, session
from benchbox.agent.gpuqueue import Stream
from benchbox.export import Graph
from benchbox.specs import Case, Selection

NAMES = ("g2:groups=1,scale=1", "g2:groups=8,scale=1", "shufflenetv2_x1_0")


def main() -> None:
    provider = gpulibraries.TENSORRT if sys.argv[1:] == ["tensorrt"] else gpulibraries.PROVIDER
    gpulibraries.choose_tf32(on=False)
    device = cudart.Device(cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare(provider))))
    stream = Stream(device)
    place = gpusession.place if provider == gpulibraries.PROVIDER else gputensorrt.place
    found = [spec for name in NAMES for spec in specs.find(name)]
    cases = runner.unfold(found, Selection(channels="gpu"))
    graphs = runner.prepare(found, cases)
    result: dict[str, float | str] = {}
    for case in cases:
        graph = graphs[case.key]
        assert isinstance(graph, Graph), graph
        for mode in ("eager", "graph"):
            there = place(stream=stream.handle, captured=mode == "graph")
            try:
                result[f"{case.key} {mode}"] = apart(case, graph, there)
            except Exception as error:  # ONNX Runtime's have no common ancestor but this
                result[f"{case.key} {mode}"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))


def apart(case: Case, graph: Graph, place: gpusession.Place) -> float:
    """The largest difference over 1 plus the size of what is right."""
    tensors = [{"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in case.inputs]
    here = gpusession.Place(session.CPU, {}, "cpu", 0, captured=False)
    outputs = [
        gpusession.load(
            str(graph.path), tensors, 0, where, session.options(1, ())
        ).run_with_copies()
        for where in (here, place)
    ]
    right, other = outputs
    pairs = zip(right, other, strict=True)  # type: ignore[call-overload]
    return max(float((np.abs(b - a) / (1 + np.abs(a))).max()) for a, b in pairs)


if __name__ == "__main__":
    main()

"""ONNX Runtime calls on the processor: a graph's outputs, or the shapes inside it, from one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox import memory

if TYPE_CHECKING:
    import onnx

    from benchbox.export.verify import Array


def run(path: Path, feeds: Mapping[str, "Array"]) -> list["Array"]:
    """Return the outputs of the graph at `path`, in order."""
    import onnxruntime as ort

    from benchbox.agent.ort import session

    options = session.options(1, [])
    runtime = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return list(runtime.run(None, dict(feeds)))


def observe(
    model: "onnx.ModelProto", path: Path, feeds: Mapping[str, "Array"], names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors `names`, from a run of the graph with them as outputs.

    Tensors whose shape no run can show are left out; their operators count as not counted.
    """
    import onnx
    import onnxruntime as ort

    inside = {output for node in model.graph.node for output in node.output}
    wanted = [name for name in names if name in inside]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {output.name for output in probe.graph.output}
    for name in wanted:
        if name not in present:
            probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    try:
        runtime = ort.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = runtime.run(wanted, dict(feeds))
    except Exception as error:  # optional or sequence tensors, or a model beyond protobuf's size
        if memory.ran_out(error):
            raise
        return {}
    return {n: tuple(v.shape) for n, v in zip(wanted, values, strict=True) if hasattr(v, "shape")}

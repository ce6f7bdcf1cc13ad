"""ONNX Runtime calls on the processor: a graph's outputs, or the shapes inside it, from one run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox import memory

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort

    from benchbox.export.verify import Array


BESIDE = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a call: as an array where it is a tensor, and why it cannot be bound."""

    name: str
    array: "Array | None"
    unbound: str

    def not_finite(self) -> int:
        """How many of its values are NaN or infinite."""
        import numpy as np

        if self.array is None or self.array.dtype.kind != "f":
            return 0
        return int(self.array.size - np.isfinite(self.array).sum())

    def notes(self) -> Iterator[str]:
        """What a reader of its latency should know."""
        if bad := self.not_finite():
            assert self.array is not None, "it has values"
            size = self.array.size
            yield f"{bad} of {size} values of output {self.name} are NaN or infinite"
        if self.unbound:
            yield f"output {self.name} {self.unbound}, so each call allocates its outputs"


def opened(path: Path, model: "onnx.ModelProto | None" = None) -> "ort.InferenceSession":
    """Return a session of the graph at `path`, or of a `model` with external data beside it."""
    import onnxruntime as ort

    from benchbox.agent.ort import session

    options = session.options(1, [])
    if model is None:
        return ort.InferenceSession(str(path), options, providers=[session.CPU])
    options.add_session_config_entry(BESIDE, str(path.parent))
    return ort.InferenceSession(model.SerializeToString(), options, providers=[session.CPU])


def call(runtime: "ort.InferenceSession", feeds: Mapping[str, "Array"]) -> list[Output]:
    """Return the outputs of a graph, in order."""
    from benchbox.agent.ort import session

    given = session.values(feeds)
    return [
        Output(output.name, session.array(value), session.why_unbound(output, value))
        for output, value in zip(runtime.get_outputs(), session.run(runtime, given), strict=True)
    ]


def run(path: Path, feeds: Mapping[str, "Array"]) -> list["Array"]:
    """Return those outputs of the graph at `path` that are tensors, in order."""
    return _arrays(opened(path), feeds)


def run_with(
    model: "onnx.ModelProto", path: Path, feeds: Mapping[str, "Array"], names: Sequence[str]
) -> list["Array"]:
    """The same of the `model` at `path` with the tensors `names` inside it after its outputs."""
    return _arrays(opened(path, _with_outputs(model, names)), feeds)


def _arrays(runtime: "ort.InferenceSession", feeds: Mapping[str, "Array"]) -> list["Array"]:
    return [each.array for each in call(runtime, feeds) if each.array is not None]


def _with_outputs(model: "onnx.ModelProto", names: Sequence[str]) -> "onnx.ModelProto":
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {output.name for output in probe.graph.output}
    for name in names:
        if name not in present:
            probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return probe


def observe(
    model: "onnx.ModelProto", path: Path, feeds: Mapping[str, "Array"], names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors `names`, from a run of the graph with them as outputs.

    Tensors whose shape no run can show are left out; their operators count as not counted.
    """
    import onnxruntime as ort

    from benchbox.agent.ort import session

    inside = {output for node in model.graph.node for output in node.output}
    wanted = [name for name in names if name in inside]
    if not wanted:
        return {}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry(BESIDE, str(path.parent))
    try:
        probe = _with_outputs(model, wanted).SerializeToString()
        runtime = ort.InferenceSession(probe, options, providers=[session.CPU])
        values = runtime.run_with_ort_values(wanted, session.values(feeds))
    except Exception as error:  # optional or sequence tensors, or a model beyond protobuf's size
        if memory.ran_out(error):
            raise
        return {}
    found = zip(wanted, values, strict=True)
    return {name: tuple(v.shape()) for name, v in found if v.has_value() and v.is_tensor()}

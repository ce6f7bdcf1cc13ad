"""Optimised graphs: what ONNX Runtime makes of a file on this machine, without its weights.

Which operators run is decided when a graph is opened: convolutions take in what follows them, and
compute in blocks of channels (NCHWc) where their channels allow it. Weights decide nothing of that,
so large ones are replaced by zeros of a file without content: 20 ms for MobileNetV2 on a Xeon
where the whole file takes 35, 60 instead of 80 for GhostNetV2 with 356 operators.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchbox.errors import CaseError
from benchbox.insight.predict import operators
from benchbox.insight.predict.operators import Operator

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGE = 1024  # elements of a weight, from which on its values decide nothing
ZEROS, NOWHERE = "zeros.bin", "nowhere.bin"
ERRORS_ONLY = 4
UNBLOCKED = "NchwcTransformer"  # what makes operators in blocks of channels


@dataclass(frozen=True, slots=True)
class LightGraph:
    """A graph without the values of large weights, and the bytes of the largest of them."""

    content: bytes
    most: int


class Optimiser:
    """Opens graphs as a device would that computes in blocks of channels, or one that does not.

    A context manager: its folder goes with it.
    """

    def __init__(self, *, is_blocked: bool = True) -> None:
        self._is_blocked = is_blocked
        self._held = tempfile.TemporaryDirectory(prefix="benchbox-predict-")
        self._folder = Path(self._held.name)
        self._zeros = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._held.cleanup()

    def operators(
        self, model: ModelProto, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> list[Operator]:
        """The operators that run of a model, as `read` gives them."""
        return self.read(lighten(model, shapes))

    def read(self, graph: LightGraph) -> list[Operator]:
        """The operators that run; raises CaseError where ONNX Runtime does not open a graph."""
        if graph.most > self._zeros:  # zeros for the largest weight take no room on the disk
            with (self._folder / ZEROS).open("ab") as file:
                file.truncate(graph.most)
            self._zeros = graph.most
        return operators.read(self._optimised(graph.content))

    def _optimised(self, content: bytes) -> ModelProto:
        import onnx
        import onnxruntime as ort

        source, target = self._folder / "source.onnx", self._folder / "optimised.onnx"
        source.write_bytes(content)
        nowhere = self._folder / NOWHERE  # where weights go to, and which goes with them
        nowhere.unlink(missing_ok=True)
        nowhere.symlink_to(os.devnull)
        options = ort.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # nothing is run
        options.optimized_model_filepath = str(target)
        for name, value in {
            "session.disable_prepacking": "1",
            "session.optimized_model_external_initializers_file_name": NOWHERE,
            "session.optimized_model_external_initializers_min_size_in_bytes": str(4 * LARGE),
        }.items():
            options.add_session_config_entry(name, value)
        left_out = [] if self._is_blocked else [UNBLOCKED]
        try:
            ort.InferenceSession(
                *(str(source), options, ["CPUExecutionProvider"]), disabled_optimizers=left_out
            )
        except Exception as error:  # ONNX Runtime's have no common ancestor but this
            raise CaseError(f"ONNX Runtime does not open it: {_line(error)}") from None
        return onnx.load(target, load_external_data=False)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rpartition(" : ")[2]


def lighten(model: ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> LightGraph:
    """A copy without large weights, whose inputs get these shapes where they are open."""
    from onnx import ModelProto

    light = ModelProto()
    light.ir_version = max(model.ir_version, 3)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.initializer.extend(_light_weight(each) for each in model.graph.initializer)
    _fix(light, shapes or {})
    lengths = (_length(each) for each in graph.initializer if each.external_data)
    return LightGraph(light.SerializeToString(), max(lengths, default=0))


def _light_weight(weight: TensorProto) -> TensorProto:
    from onnx import TensorProto

    size = math.prod(weight.dims)
    bits: dict[int, int] = {TensorProto.FLOAT: 32, TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64}
    is_here = weight.data_location != TensorProto.EXTERNAL
    if (size < LARGE and is_here) or weight.data_type not in bits:
        return weight
    light = TensorProto(name=weight.name, dims=weight.dims, data_type=weight.data_type)
    light.data_location = TensorProto.EXTERNAL
    length = size * bits[weight.data_type] // 8
    for key, value in (("location", ZEROS), ("offset", "0"), ("length", str(length))):
        light.external_data.add(key=key, value=value)
    return light


def _length(weight: TensorProto) -> int:
    return next((int(e.value) for e in weight.external_data if e.key == "length"), 0)


def _fix(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs their shapes, which decide those of all operators."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes.get(value.name, ()), strict=False):
            dim.Clear()
            dim.dim_value = size

"""Number types of cases: `--dtype` marks float32 graphs for a conversion and refuses others."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.errors import UsageError
from benchbox.specs import onnx_file
from benchbox.specs.model import Case, OnnxFile, Precision, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

# Operators on numbers of eight bits and fewer, of ONNX and of ONNX Runtime.
QUANTISED_OPERATOR = re.compile(r"[Qq]uantize|^QLinear|^QGemm|^QAttention|Integer|NBits|Bnb4")
NO_ACCURACY = "random calibration data, so a latency without an accuracy"
QUANTISED: Mapping[Precision, str] = {
    "int8": f"int8: static, per channel (onnxruntime.quantization), {NO_ACCURACY}",
    "int8-dynamic": "int8-dynamic: activations quantised in every call (onnxruntime.quantization), "
    "a latency without an accuracy",
}


def with_dtype(cases: Sequence[Case], asked: Precision | None) -> list[Case]:
    """Return the cases in the precision asked for, as they are without one.

    fp16 is a float32 graph converted: weights, activations, float inputs and outputs. int8 and
    int8-dynamic quantise its weights and activations; inputs and outputs stay. Raises UsageError
    for a case that is in another precision already.
    """
    if asked is None:
        return list(cases)
    for case in cases:
        _require_float32(case, asked)
    return list(cases) if asked == "fp32" else [_converted(case, asked) for case in cases]


def is_quantised(case: Case) -> bool:
    """Whether a case's graph is quantised by benchbox."""
    return case.conversion in QUANTISED


def computes_in_float32(path: Path) -> bool:
    """Whether an .onnx file has floats of no other type, and no quantised operators."""
    model = onnx_file.read(path)
    is_quantised = any(map(QUANTISED_OPERATOR.search, _operators(model)))
    return not is_quantised and {*_floats(model)} == {"float32"}


def _converted(case: Case, asked: Precision) -> Case:
    # The paper's speed is of float32.
    paper = case.paper.untimed()
    case = replace(case, conversion=asked, dtype=asked, published=None, paper=paper)
    if asked != "fp16":
        return replace(case, paper=replace(case.paper, top1_percent=None, map_percent=None))
    inputs = tuple(
        replace(tensor, dtype="float16") if tensor.dtype == "float32" else tensor
        for tensor in case.inputs
    )
    return replace(case, inputs=inputs, dtype="float16")


def _require_float32(case: Case, asked: Precision) -> None:
    if isinstance(case.source, OnnxFile):
        _require_float32_file(case.source.path, asked)
    elif others := [tensor for tensor in case.inputs if _is_other_float(tensor)]:
        raise UsageError(
            f"{case.key}: --dtype {asked}: its input is {others[0]}; --dtype is for float32 "
            "inputs, so leave it out, or the type of the input"
        )


def _is_other_float(tensor: TensorSpec) -> bool:
    return tensor.dtype in ("float16", "float64")


def _require_float32_file(path: Path, asked: Precision) -> None:
    model = onnx_file.read(path)
    if operator := next((o for o in _operators(model) if QUANTISED_OPERATOR.search(o)), ""):
        raise UsageError(
            f"{path.name}: --dtype {asked}: it is quantised ({operator}); leave --dtype out"
        )
    floats = dict.fromkeys(_floats(model))
    if list(floats) != ["float32"]:
        holds = f"holds {' and '.join(floats)}" if floats else "holds no floats"
        already = " already" if asked == "fp16" and list(floats) == ["float16"] else ""
        raise UsageError(f"{path.name}: --dtype {asked}: it {holds}{already}; leave --dtype out")


def _operators(model: "ModelProto") -> Iterator[str]:
    yield from (node.op_type for node in model.graph.node)
    yield from (node.op_type for function in model.functions for node in function.node)


def _floats(model: "ModelProto") -> Iterator[str]:
    """Yield the float types of a graph's inputs, outputs and weights."""
    import onnx

    values = [*model.graph.input, *model.graph.output]
    codes = [value.type.tensor_type.elem_type for value in values]
    codes += [tensor.data_type for tensor in model.graph.initializer]
    for code in codes:
        name = onnx.TensorProto.DataType.Name(code).lower()
        if "float" in name or name == "double":
            yield {"float": "float32", "double": "float64"}.get(name, name)

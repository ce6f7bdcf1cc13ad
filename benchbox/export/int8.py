"""Quantisation of a float32 graph to int8 by ONNX Runtime: static, as QDQ, or dynamic."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.agent.stdio import sentence
from benchbox.errors import CaseError
from benchbox.export import entries
from benchbox.export.float16 import LIMIT_BYTES
from benchbox.specs.dtype import QUANTISED_OPERATOR

if TYPE_CHECKING:
    import onnx

    from benchbox.export.verify import Array

OPSET = 13  # the oldest whose DequantizeLinear has a scale for each channel
MOST = 6  # operators that a refusal names


class _Calibration:
    """The calibration data of a static quantisation: inputs that were made up."""

    def __init__(self, feeds: Mapping[str, "Array"]) -> None:
        self._feeds = iter([dict(feeds)])

    def __iter__(self) -> Iterator[dict[str, "Array"]]:
        return self._feeds

    def get_next(self) -> dict[str, "Array"] | None:
        """The next inputs, None at the end."""
        return next(self._feeds, None)


def quantise(source: Path, target: Path, feeds: Mapping[str, "Array"], *, is_dynamic: bool) -> None:
    """Quantise the graph at `source`, its external data too, and write it to `target`.

    Weights become int8, those of a static graph by channel, and activations uint8: of the pairs
    that ONNX Runtime quantises to, its x86 kernels take this one alone. A static graph has the
    ranges of activations that `feeds` give. Equal graphs become equal bytes. Raises CaseError for a
    graph that is too large, or has nothing that can be quantised.
    """
    import onnx

    model = onnx.load(str(source))
    if model.ByteSize() > LIMIT_BYTES:
        raise CaseError("its float32 graph is beyond 2 GiB, where it cannot be made int8")
    before = dict.fromkeys(node.op_type for node in model.graph.node)
    with entries.scratch() as scratch:
        plain, raw = scratch / "plain.onnx", scratch / "raw.onnx"
        try:
            onnx.save(_prepared(model, scratch), str(plain))
            _quantise(plain, raw, feeds, is_dynamic=is_dynamic)
        except Exception as error:  # the quantiser's have no common ancestor
            raise CaseError(f"it cannot be made int8: {sentence(error)}") from None
        quantised = onnx.load(str(raw))
    if not any(QUANTISED_OPERATOR.search(node.op_type) for node in quantised.graph.node):
        names = [*before][:MOST] + ["…"] * (len(before) > MOST)
        how = "int8-dynamic" if is_dynamic else "int8"
        raise CaseError(f"nothing in it can be made {how}: it has {', '.join(names) or 'no node'}")
    _drop_unused_opsets(quantised)
    onnx.save(quantised, str(target))


def _prepared(model: "onnx.ModelProto", scratch: Path) -> "onnx.ModelProto":
    """The graph with what folds folded, as ONNX Runtime asks for before it quantises."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    if version < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    first, folded = scratch / "first.onnx", scratch / "folded.onnx"
    onnx.save(model, str(first))
    quant_pre_process(str(first), str(folded), skip_symbolic_shape=True)
    prepared = onnx.load(str(folded))
    del prepared.graph.value_info[:]  # it has shapes of weights, which the quantiser transposes
    return prepared


def _quantise(plain: Path, raw: Path, feeds: Mapping[str, "Array"], *, is_dynamic: bool) -> None:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization import registry

    # The quantiser takes ONNX's Attention for ONNX Runtime's, whose inputs are others.
    nodes = onnx.load(str(plain)).graph.node
    not_meant = {node.op_type for node in nodes if not node.domain} & {"Attention"}
    signed, unsigned = quantization.QuantType.QInt8, quantization.QuantType.QUInt8
    if is_dynamic:
        operators = sorted(registry.IntegerOpsRegistry.keys() - not_meant)
        quantization.quantize_dynamic(
            str(plain), str(raw), operators, per_channel=True, weight_type=signed
        )
        return
    operators = sorted({*registry.QLinearOpsRegistry, *registry.QDQRegistry} - not_meant)
    quantization.quantize_static(
        str(plain),
        str(raw),
        _Calibration(feeds),
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=unsigned,
        weight_type=signed,
    )


def _drop_unused_opsets(model: "onnx.ModelProto") -> None:
    """Drop the domains that no node is of: an older ONNX Runtime refuses those it does not know."""
    used = {"", *(node.domain for node in model.graph.node)}
    used |= {node.domain for function in model.functions for node in function.node}
    for opset in [each for each in model.opset_import if each.domain not in used]:
        model.opset_import.remove(opset)

"""Conversion of a graph to float16."""

from pathlib import Path

import onnx

from benchbox.export import float16

SHARED = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[1,1,2,2] x) => (float[1,1,8,8] z) <float[4] s = {1.0, 1.0, 2.0, 2.0}> {
    y = Resize <mode = "nearest"> (x, , s)
    z = Resize <mode = "nearest"> (y, , s)
}
"""


def test_resizes_may_share_their_scales(tmp_path: Path) -> None:
    source, target = tmp_path / "single.onnx", tmp_path / "half.onnx"
    model = onnx.parser.parse_model(SHARED)
    model.graph.value_info.add(name="s").type.CopyFrom(
        onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [4])
    )
    onnx.save(model, source)
    float16.halve(source, target)
    half = onnx.load(target)
    assert half.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16

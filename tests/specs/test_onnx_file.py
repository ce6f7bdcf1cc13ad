import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchbox import specs
from benchbox.agent.ort import inputs
from benchbox.cli.parsing import shape
from benchbox.errors import BenchboxError, GraphError, UsageError
from benchbox.specs import Case, OnnxFile, Selection, TensorSpec, onnx_file
from tests.conftest import WriteOnnx
from tests.specs.conftest import only

FIXED = "fixed (float[2,3,8,8] x) => (float[2,3,8,8] y) { y = Relu(x) }"
BATCHED = "batched (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"
OPEN = "open (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"
NO_INPUT = "g () => (float[1] y) { y = Constant <value = float[1] {1}> () }"
UNSIZED = "input 'x' has open sizes (Nx3xHxW): give --shape"
IDS = "int64[N,7] ids, bool[N,7] mask, float16[4] k, float s"
TWO = f"two ({IDS}) => (int64[N,7] y) {{ y = Neg(ids) }}"
OTHERS = ["mask=1x7:bool", "k=4:float16", "s=scalar"]


def case_of(path: Path, batch: int | None = None, *shapes: str) -> Case:
    batches = (batch,) if batch else ()
    return only(path, Selection(batches=batches, shapes=tuple(map(shape, shapes))))


@pytest.mark.parametrize(
    ("text", "batch", "shapes", "expected"),
    [
        (FIXED, None, [], ["x=2x3x8x8"]),
        (BATCHED, None, [], ["x=1x3x8x8"]),
        (BATCHED, 16, [], ["x=16x3x8x8"]),
        (BATCHED, None, ["x=4x3x8x8"], ["x=4x3x8x8"]),
        (OPEN, None, ["x=2x3x32x64"], ["x=2x3x32x64"]),
        (NO_INPUT, None, [], []),
        (TWO, None, [], ["ids=1x7:int64", *OTHERS]),
        (TWO, None, ["ids=5x7"], ["ids=5x7:int64", *OTHERS]),
    ],
)
def test_inputs_come_from_the_file_and_open_sizes_from_the_command_line(
    write_onnx: WriteOnnx, text: str, batch: int | None, shapes: list[str], expected: list[str]
) -> None:
    case = case_of(write_onnx(text=text), batch, *shapes)
    assert [str(each) for each in case.inputs] == expected
    assert case.batch == (case.inputs[0].shape[0] if expected else 1)


def test_a_file_is_a_spec_of_one_case_by_its_name_and_content(write_onnx: WriteOnnx) -> None:
    path = write_onnx("net", FIXED)
    case = case_of(path)
    assert (case.key, case.source, case.is_reference) == ("net:net", OnnxFile(path.resolve()), True)
    assert (case.args, case.labels, case.channels) == ({}, {}, None)
    shas = {specs.find(str(write_onnx(text=text)))[0].sha256 for text in (FIXED, BATCHED, FIXED)}
    assert len(shas) == 2


@pytest.mark.parametrize(
    ("text", "batch", "shapes", "sentence"),
    [
        (FIXED, 4, [], "--batch 4: the file fixes the batch to 2"),
        (FIXED, None, ["x=4x3x8x8"], "--shape x=4x3x8x8 does not fit the input's 2x3x8x8"),
        (BATCHED, None, ["x=1x3x8"], "--shape x=1x3x8 does not fit the input's Nx3x8x8"),
        (BATCHED, 8, ["x=4x3x8x8"], "--batch 8: its batch is 4 here"),
        (BATCHED, None, ["z=1x3x8x8"], "--shape z: the inputs are x"),
        (OPEN, None, [], f"{UNSIZED} x=1x3x224x224"),
        (NO_INPUT, 8, [], "--batch 8: its batch is 1 here"),
    ],
)
def test_what_does_not_fit_the_file_says_what_to_type(
    write_onnx: WriteOnnx, text: str, batch: int | None, shapes: list[str], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        case_of(write_onnx(text=text), batch, *shapes)
    assert str(caught.value) == f"tiny.onnx: {sentence}"
    with pytest.raises(UsageError, match="the input is of type float32"):
        case_of(write_onnx("open", OPEN), None, "x=1x3x8x8:int64")


def test_constants_that_are_listed_as_inputs_are_not_fed(write_onnx: WriteOnnx) -> None:
    text = "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    assert [each.name for each in case_of(write_onnx(text=text)).inputs] == ["x"]


def model_of(
    value: onnx.ValueInfoProto, node: onnx.NodeProto, *weights: TensorProto
) -> onnx.ModelProto:
    output = helper.make_value_info("y", onnx.TypeProto())
    return helper.make_model(helper.make_graph([node], "g", [value], [output], weights))


def tensor(dtype: int, dims: list[Any] | None, name: str = "x") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def save(path: Path, value: onnx.ValueInfoProto) -> Path:
    onnx.save(model_of(value, helper.make_node("Identity", [value.name], ["y"])), path)
    return path


def test_an_input_without_a_rank_takes_its_shape_from_the_command_line(tmp_path: Path) -> None:
    value = tensor(TensorProto.FLOAT, None)
    spec = onnx_file.spec(save(tmp_path / "m.onnx", value))
    with pytest.raises(UsageError, match="give --shape x=1x3x224x224"):
        spec.cases(Selection())
    given = TensorSpec("x", (2, 5))
    (case,) = spec.cases(Selection(shapes=(given,)))
    assert case.inputs == (given,)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1]),
            "input 'x' is no tensor; such a graph is not timed",
        ),
        (tensor(0, [1]), "input 'x' has the unknown type 0"),
    ],
)
def test_an_input_that_cannot_be_made_is_refused(
    tmp_path: Path, value: onnx.ValueInfoProto, sentence: str
) -> None:
    with pytest.raises(GraphError, match=f"^odd.onnx: {sentence}"):
        case_of(save(tmp_path / "odd.onnx", value))


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.BFLOAT16])
def test_a_dtype_that_cannot_be_filled_is_refused_by_name_when_it_is_to_be_filled(
    tmp_path: Path, dtype: int
) -> None:
    value = tensor(dtype, [1])
    (x,) = case_of(save(tmp_path / "odd.onnx", value)).inputs
    with pytest.raises(ValueError, match=f"input 'x' is of type {x.dtype}; benchbox can fill"):
        inputs.make(x.name, x.shape, x.dtype, 0)


def test_only_an_open_size_or_an_image_tells_the_batch(tmp_path: Path) -> None:
    for dims, batch in (([8, 64], 1), ([8, 3, 4, 4], 8), (["n", 64], 1), ([-1, 0], 1)):
        path = save(tmp_path / "g.onnx", tensor(TensorProto.FLOAT, dims))
        assert case_of(path).batch == batch
    assert str(case_of(path, 4).inputs[0]) == "x=4x0", "a negative size is open, zero is a size"


# External data


def save_external(path: Path, location: str) -> Path:
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    built = model_of(tensor(TensorProto.FLOAT, [4]), node, weight)
    path.write_bytes(built.SerializeToString())
    return path


def test_external_data_beside_the_file_is_found(tmp_path: Path, write_onnx: WriteOnnx) -> None:
    assert onnx_file.external_files(write_onnx()) == []
    (tmp_path / "weights").mkdir()
    for name in ("w.bin", "weights/w.bin"):
        (tmp_path / name).write_bytes(bytes(16))
        path = save_external(tmp_path / "g.onnx", name)
        assert onnx_file.external_files(path) == [name]
        assert str(case_of(path).inputs[0]) == "x=4"


@pytest.mark.parametrize("location", ["../w.bin", "a/../../w.bin", "/etc/hostname", "link.bin"])
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    for name, why in ((location, "lies outside of its folder"), ("no.bin", "is not beside it")):
        with pytest.raises(GraphError, match=f"^g.onnx: .*external data {name!r} {why}$"):
            onnx_file.external_files(save_external(folder / "g.onnx", name))


# Broken files


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    for content in (b"", b"not a model", b"PK\x03\x04" + bytes(64)):
        path.write_bytes(content)
        with pytest.raises(GraphError, match=r"^g.onnx: not an ONNX file"):
            case_of(path)
    with pytest.raises(GraphError, match=re.escape(f"{tmp_path}: cannot be read: it is a folder")):
        onnx_file.spec(tmp_path)


def test_names_that_are_no_text_are_corrupt(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", tensor(TensorProto.FLOAT, [2]))
    path.write_bytes(path.read_bytes().replace(b"\x01x", b"\x01\xff"))
    with pytest.raises(GraphError, match=r"^g.onnx: corrupt: an input has no readable name"):
        case_of(path)
    with pytest.raises(GraphError, match=r"^g.onnx: corrupt: its external data has no readable"):
        onnx_file.external_files(save_external(path, "a\0"))


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_truncated_or_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "g.onnx"
    whole = save_external(path, "w.bin").read_bytes()
    place %= len(whole)
    for content in (whole[:place], whole[:place] + bytes([byte]) + whole[place + 1 :]):
        path.write_bytes(content)
        try:
            assert all(isinstance(each.name, str) for each in case_of(path).inputs)
            onnx_file.external_files(path)
        except BenchboxError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["sequence", "optional", "map"])
def test_an_output_that_grows_with_every_call_is_refused(kind: str) -> None:
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    model = model_of(tensor(TensorProto.FLOAT, [1]), node)
    getattr(model.graph.output[0].type, f"{kind}_type").SetInParent()
    said = f"^g.onnx: output 'y' is no tensor but of the kind {kind}, which"
    with pytest.raises(GraphError, match=said):
        onnx_file.require_tensors(Path("g.onnx"), model)


@pytest.mark.parametrize("offset", [None, 0, 1, "x"])
def test_a_weight_without_its_data_is_refused(tmp_path: Path, offset: object) -> None:
    weight = onnx.TensorProto(name="w", dims=[1 << 40], data_type=1, raw_data=b"1234")
    if offset is not None:
        (tmp_path / "w.bin").write_bytes(b"1234")
        weight = onnx.TensorProto(name="w", dims=[1], data_type=1, data_location=1)
        weight.external_data.add(key="location", value="w.bin")
        weight.external_data.add(key="offset", value=str(offset))
    model = onnx.ModelProto(graph=onnx.GraphProto(initializer=[weight]))
    if offset == 0:
        onnx_file.require_tensors(tmp_path / "g.onnx", model)
        return
    with pytest.raises(GraphError, match=r"^g.onnx: weight 'w' has too few bytes for "):
        onnx_file.require_tensors(tmp_path / "g.onnx", model)

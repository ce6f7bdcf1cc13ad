"""ONNX files as they are read: external data, broken files, pointers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchbox.errors import BenchboxError, GraphError
from benchbox.specs import onnx_file
from tests.conftest import WriteOnnx
from tests.specs.conftest import only


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
        assert str(only(path).inputs[0]) == "x=4"


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
    for content, kind in (
        (b"", ", or one with an empty graph"),
        (b"not a model", ", or a broken one: "),
        (b"PK\x03\x04" + bytes(64), ", but PyTorch's; "),
        (b"\x1f\x8b\x08" + bytes(64), ", but a packed one; unpack it"),
        (b"\x1c\0\0\0TFL3" + bytes(64), ", but TensorFlow's; "),
        (b"<!DOCTYPE html><html>", ", but a web page"),
        (b'ir_version: 8 graph { name: "g" }', ", but text; "),
    ):
        path.write_bytes(content)
        with pytest.raises(GraphError, match=f"^g.onnx: not an ONNX file{kind}"):
            only(path)
    with pytest.raises(GraphError, match=re.escape(f"{tmp_path}: cannot be read: it is a folder")):
        onnx_file.digest(tmp_path)


def test_names_that_are_no_text_are_corrupt(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", tensor(TensorProto.FLOAT, [2]))
    path.write_bytes(path.read_bytes().replace(b"\x01x", b"\x01\xff"))
    with pytest.raises(GraphError, match=r"^g.onnx: corrupt: an input has no readable name"):
        only(path)
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
            assert all(isinstance(each.name, str) for each in only(path).inputs)
            onnx_file.external_files(path)
        except BenchboxError as error:
            assert "\n" not in str(error)


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
        onnx_file.require_weights(tmp_path / "g.onnx", model)
        return
    with pytest.raises(GraphError, match=r"^g.onnx: weight 'w' has too few bytes for "):
        onnx_file.require_weights(tmp_path / "g.onnx", model)


def test_a_pointer_of_git_lfs_is_said_to_be_one(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / "w.bin").write_text(pointer)
    (tmp_path / "g.onnx").write_text(pointer)
    with pytest.raises(GraphError, match=r"^g.onnx: it is a pointer of Git LFS .*git lfs pull"):
        only(tmp_path / "g.onnx")
    with pytest.raises(GraphError, match=r"^g.onnx: .*'w.bin': it is a pointer of Git LFS"):
        onnx_file.external_files(save_external(tmp_path / "g.onnx", "w.bin"))

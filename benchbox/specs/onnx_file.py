"""ONNX files: read, with the files of their external data, or refused in a line."""

import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import host, memory
from benchbox.errors import GraphError, UsageError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

MOST_BYTES = 1 << 31  # of protobuf
# What other files begin with.
KINDS = {
    re.compile(rb"\x1f\x8b|BZh|\xfd7z|7z"): "a packed one; unpack it",
    re.compile(rb"PK|\x80[\2-\5]"): "PyTorch's; name a callable that builds its module",
    re.compile(rb"\x89HDF|....TFL"): "TensorFlow's; convert it, as tf2onnx does",
    re.compile(rb"\s*<[!?hH]"): "a web page, perhaps of a download that failed",
    re.compile(rb"ir_version|\s*[<{]"): "text; save the model by onnx.save",
}
SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2, 11: 8, 16: 2}  # bytes of an element, by its type


def digest(path: Path) -> str:
    """The sha256 of an .onnx file; raises GraphError for what is none at a glance."""
    _require_model(path)
    try:
        return host.sha256(path)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None


def read(path: Path) -> "ModelProto":
    """Return the model without its external data; raises GraphError when it cannot be read."""
    import onnx

    _require_model(path)
    try:
        with memory.limited():  # of two bytes a node protobuf makes two hundred
            model = onnx.load(str(path), load_external_data=False)
    except UsageError:  # of the limit
        raise
    except Exception as error:  # protobuf's decode errors have no common base that is public
        if memory.ran_out(error):
            raise GraphError(memory.sentence(f"{path.name}: it cannot be read")) from None
        what = f"but {kind}" if (kind := _kind(path)) else f"or a broken one: {one_line(error)}"
        raise GraphError(f"{path.name}: not an ONNX file, {what}") from None
    if not model.graph.node:
        raise GraphError(f"{path.name}: not an ONNX file, or one with an empty graph")
    return model


def _kind(path: Path) -> str:
    """What a file is by its first bytes, empty where they say nothing."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((kind for sign, kind in KINDS.items() if sign.match(head)), "")


def _require_model(path: Path) -> None:
    if host.is_lfs_pointer(path):
        raise GraphError(f"{path.name}: {host.LFS_ADVICE}")
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise GraphError(f"{path.name}: it is larger than 2 GiB, which no ONNX file can be")


def external_files(path: Path) -> list[str]:
    """Return the names of the files beside an .onnx file that hold its tensors, sorted.

    Raises GraphError when one is missing, or lies outside of the file's own folder.
    """
    if not _may_have_external(path):
        return []
    try:
        names = sorted(set(_locations(read(path))))
        places = [(path.parent / name).resolve() for name in names]
    except (TypeError, ValueError):  # bytes where protobuf found no UTF-8, or a null byte
        raise GraphError(f"{path.name}: corrupt: its external data has no readable name") from None
    for name, place in zip(names, places, strict=True):
        if Path(name).is_absolute() or not place.is_relative_to(path.parent.resolve()):
            raise GraphError(f"{path.name}: external data {name!r} lies outside of its folder")
        if not place.is_file():
            raise GraphError(f"{path.name}: its external data {name!r} is not beside it")
        if host.is_lfs_pointer(place):
            raise GraphError(f"{path.name}: its external data {name!r}: {host.LFS_ADVICE}")
    return names


def require_weights(path: Path, model: "ModelProto") -> None:
    """Raise GraphError unless the weights have their data."""
    for tensor in model.graph.initializer:
        if _data_bytes(path, tensor) < math.prod(tensor.dims) * SIZES.get(tensor.data_type, 0):
            shape = "x".join(map(str, tensor.dims))
            raise GraphError(f"{path.name}: weight {tensor.name!r} has too few bytes for {shape}")


def _data_bytes(path: Path, tensor: "TensorProto") -> int:
    """The bytes of a tensor that are there, in the file or beside it."""
    if tensor.data_location != tensor.EXTERNAL:
        numbers = (tensor.float_data, tensor.double_data, tensor.int64_data, tensor.int32_data)
        counted: int = sum(map(len, numbers)) * SIZES.get(tensor.data_type, 0)
        return counted or len(tensor.raw_data)
    said = {entry.key: entry.value for entry in tensor.external_data}
    try:
        rest: int = (path.parent / said["location"]).stat().st_size - int(said.get("offset") or 0)
        return min(rest, int(said.get("length") or rest))
    except (KeyError, OSError, ValueError):
        return 0


def _may_have_external(path: Path) -> bool:
    """Whether the key that names an external file is in it; saves reading most graphs."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"location") >= 0


def _locations(message: Any) -> Iterator[str]:  # noqa: ANN401 - any protobuf message
    """The files that tensors are in, wherever below a message they stand.

    That is in initializers, attributes, sparse tensors, subgraphs and functions, of any form.
    """
    import onnx

    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in message.external_data if entry.key == "location")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _locations(inner)


def one_line(error: BaseException) -> str:
    """An error's text as one line."""
    return " ".join(str(error).split()) or type(error).__name__

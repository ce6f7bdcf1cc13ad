"""ONNX file as a spec of one case: inputs read from the file, dynamic sizes filled in."""

import math
import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import host, memory
from benchbox.errors import GraphError, UsageError
from benchbox.specs.model import BlockSpec, Case, OnnxFile, Selection, TensorSpec, precision

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

IMAGE_RANK = 4
MOST_BYTES = 1 << 31  # of protobuf
SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2, 11: 8, 16: 2}  # bytes of an element, by its type
Dims = tuple[int | str, ...] | None  # a name or "?" for an open size, None for an open rank


def spec(path: Path) -> BlockSpec:
    """Return the spec of one .onnx file; raises GraphError when it is no such file."""
    _require_size(path)
    try:
        digest = host.sha256(path)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    return BlockSpec(path.stem, path.name, digest, partial(_unfold, path))


def read(path: Path) -> "ModelProto":
    """Return the model without its external data; raises GraphError when it cannot be read."""
    import onnx

    _require_size(path)
    try:
        with memory.limited():  # of two bytes a node protobuf makes two hundred
            model = onnx.load(str(path), load_external_data=False)
    except UsageError:  # of the limit
        raise
    except Exception as error:  # protobuf's decode errors have no common base that is public
        if memory.ran_out(error):
            raise GraphError(memory.sentence(f"{path.name}: it cannot be read")) from None
        raise GraphError(f"{path.name}: not an ONNX file: {one_line(error)}") from None
    if not model.graph.node:
        raise GraphError(f"{path.name}: not an ONNX file, or one with an empty graph")
    return model


def _require_size(path: Path) -> None:
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
    return names


def require_tensors(path: Path, model: "ModelProto") -> None:
    """Raise GraphError unless all outputs are tensors, and its weights have their data.

    Into a sequence that is bound, ONNX Runtime puts more with every call, which takes ever longer.
    """
    for value in model.graph.output:
        kind = value.type.WhichOneof("value")
        if kind not in ("tensor_type", None):
            what = kind.removesuffix("_type").replace("_", " ")
            raise GraphError(
                f"{path.name}: output {value.name!r} is no tensor but of the kind {what}, which "
                "every call would add to; such a graph is not timed: leave that output out"
            )
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


def _unfold(path: Path, selection: Selection) -> list[Case]:
    given = {tensor.name: tensor for tensor in selection.shapes}
    inputs = list(_inputs(path, read(path)))
    unknown = sorted(set(given) - {name for name, _, _ in inputs})
    if unknown:
        names = ", ".join(name for name, _, _ in inputs)
        raise UsageError(f"{path.name}: --shape {unknown[0]}: the inputs are {names}")
    tensors = tuple(_fix(path, *each, given.get(each[0]), selection.batch) for each in inputs)
    batch = _batch(inputs[0][1], tensors[0].shape) if tensors else 1
    if selection.batch not in (None, batch):
        raise UsageError(f"{path.name}: --batch {selection.batch}: its batch is {batch} here")
    source = OnnxFile(path.resolve())
    dtype = precision(tensors)
    return [Case(path.stem, path.stem, {}, {}, tensors, batch, source, dtype=dtype)]


def _batch(dims: Dims, shape: tuple[int, ...]) -> int:
    """Return the images in one call: the first size where it is open, or that of an NCHW input.

    The first size of any other input may be anything: tokens, rows of a matrix.
    """
    is_open = dims is None or not dims or isinstance(dims[0], str)
    return shape[0] if shape and (is_open or len(shape) == IMAGE_RANK) else 1


def _inputs(path: Path, model: "ModelProto") -> Iterable[tuple[str, Dims, str]]:
    """Yield name, dimensions and dtype of every input that is not a constant."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for value in model.graph.input:
        if value.name not in constants:
            if not isinstance(value.name, str):  # bytes where protobuf found no UTF-8
                raise GraphError(f"{path.name}: corrupt: an input has no readable name")
            dtype = _dtype(path, value.name, value.type)
            yield value.name, _dims(value), dtype


def _dims(value: "ValueInfoProto") -> Dims:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )


def _dtype(path: Path, name: str, type_: "TypeProto") -> str:
    import onnx

    if not type_.HasField("tensor_type"):
        raise GraphError(f"{path.name}: input {name!r} is no tensor; such a graph is not timed")
    code = type_.tensor_type.elem_type
    if code == onnx.TensorProto.STRING:
        return "string"
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(code))
    except KeyError:
        raise GraphError(f"{path.name}: input {name!r} has the unknown type {code}") from None


def _fix(
    path: Path, name: str, dims: Dims, dtype: str, given: TensorSpec | None, batch: int | None
) -> TensorSpec:
    """Return the input with every size known; raises UsageError that shows what to type."""
    if given is not None:
        if dims is not None and not _fits(dims, given.shape):
            shape = "x".join(map(str, dims))
            raise UsageError(f"{path.name}: --shape {given} does not fit the input's {shape}")
        if given.dtype not in ("float32", dtype):
            raise UsageError(f"{path.name}: --shape {given}: the input is of type {dtype}")
        return TensorSpec(name, given.shape, dtype)
    if dims is None:
        raise UsageError(
            f"{path.name}: input {name!r} leaves its shape open: give --shape {name}=1x3x224x224"
        )
    sizes = list(dims)
    if sizes and isinstance(sizes[0], str):
        sizes[0] = batch or 1
    elif batch is not None and sizes and sizes[0] != batch:
        raise UsageError(f"{path.name}: --batch {batch}: the file fixes the batch to {sizes[0]}")
    if any(isinstance(size, str) for size in sizes):
        shape = "x".join(map(str, dims))
        example = "x".join(str(s) if isinstance(s, int) else "224" for s in sizes)
        raise UsageError(
            f"{path.name}: input {name!r} has open sizes ({shape}): give --shape {name}={example}"
        )
    return TensorSpec(name, tuple(int(size) for size in sizes), dtype)


def _fits(dims: Sequence[int | str], shape: tuple[int, ...]) -> bool:
    return len(dims) == len(shape) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(dims, shape, strict=True)
    )

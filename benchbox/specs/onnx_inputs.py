"""Inputs of an .onnx file, with every open size fixed by the command line or by the batch."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.errors import GraphError, OpenSizesError, UsageError
from benchbox.specs import onnx_file
from benchbox.specs.labels import case_name
from benchbox.specs.model import BlockSpec, Case, OnnxFile, Selection, TensorSpec, precision
from benchbox.specs.shapes import shape

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto, ValueInfoProto

IMAGE_RANK = 4
IMAGE_SIZE, OTHER_SIZE = 224, 128  # in a line to paste
Dims = tuple[int | str, ...] | None  # a name or "" for an open size, None for an open rank
# Names of a first size that counts something else than images.
NO_BATCH = re.compile(r"seq|time|len|tok|frame|step|word|char|past|^[tlshw]$", re.IGNORECASE)
UNNAMED = ("?", "None", "unk", "-1")  # what some exporters write for any open size
BATCH = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)
# Operators that leave the order of the dimensions as it is; RECURRENT ones have time first.
_IN_ORDER = """
    Add BatchNormalization Cast Clip Div Dropout Elu Erf Gelu HardSigmoid Identity
    LayerNormalization LeakyRelu MatMul Mul Relu Selu Sigmoid Softmax Sub Tanh
"""
IN_ORDER = frozenset(_IN_ORDER.split())
RECURRENT = frozenset({"GRU", "LSTM", "RNN"})


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """An input as a file declares it."""

    name: str
    dims: Dims
    dtype: str

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.name} of any shape"
        return f"{self.name}={'x'.join(str(dim) or '?' for dim in self.dims) or 'scalar'}"


def spec(path: Path, only: Mapping[str, str] | None = None) -> BlockSpec:
    """Return the spec of one .onnx file; raises GraphError when it is no such file.

    `only` maps inputs of this file to shapes, and symbols to sizes, as they are typed behind it.
    """
    unfold = partial(_unfold, path, dict(only or {}))
    return BlockSpec(path.stem, path.name, onnx_file.digest(path), unfold, path=path.resolve())


def _unfold(path: Path, only: Mapping[str, str], selection: Selection) -> list[Case]:
    model = onnx_file.read(path)
    inputs = _with_sides(path, list(_inputs(path, model)), selection)
    symbols = tuple(dict.fromkeys(dim for each in inputs for dim in _open(each.dims) if dim))
    batched = [each.name for each in inputs if _has_batch(model, each)]
    sizes = _Sizes(path, inputs, symbols, only, selection)
    tensors = sizes.fix(batched)
    first = tensors[0].shape[:1] if tensors else ()
    has_images = not first or first == (1,) or inputs[0].name in batched
    batch = first[0] if first and inputs[0].name in batched else 1
    if selection.batch not in (None, batch):
        is_fixed = inputs and inputs[0].dims and isinstance(inputs[0].dims[0], int)
        why = (
            f"the file fixes the batch to {first[0]}" if is_fixed else f"its batch is {batch} here"
        )
        raise UsageError(f"{path.name}: --batch {selection.batch}: {why}")
    return [
        Case(
            path.stem,
            case_name(only) or path.stem,
            dict(only),
            {},
            tuple(tensors),
            batch,
            OnnxFile(path.resolve()),
            dtype=precision(tensors),
            has_images=has_images,
            symbols=symbols,
        )
    ]


def _inputs(path: Path, model: "ModelProto") -> Iterator[DeclaredInput]:
    """Yield every input that is not a constant."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for value in model.graph.input:
        if value.name not in constants:
            if not isinstance(value.name, str):  # bytes where protobuf found no UTF-8
                raise GraphError(f"{path.name}: corrupt: an input has no readable name")
            dtype, dims = _dtype(path, value.name, value.type), _dims(value)
            if dims is not None and 0 in dims and len(dims) > 1:  # a list may well be empty
                raise GraphError(_empty(path, model, DeclaredInput(value.name, dims, dtype)))
            yield DeclaredInput(value.name, dims, dtype)


def _empty(path: Path, model: "ModelProto", found: DeclaredInput) -> str:
    """The advice on a file that declares a size of 0, which ONNX Runtime takes literally."""
    assert found.dims is not None, "it has a size"
    index = [value.name for value in model.graph.input].index(found.name)
    dim = f"m.graph.input[{index}].type.tensor_type.shape.dim[{found.dims.index(0)}]"
    code = f"import onnx; m = onnx.load({path.name!r}); {dim}.dim_param = 'N'; "
    code += f"onnx.save(m, '{path.stem}-open.onnx')"
    return (
        f"{path.name}: input {found} has a size of 0, with which nothing is computed; "
        f'leave it open: python -c "{code}"'
    )


def _dims(value: "ValueInfoProto") -> Dims:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value >= 0
        else ("" if dim.dim_param in UNNAMED else dim.dim_param)
        for dim in tensor.shape.dim
    )


def _dtype(path: Path, name: str, type_: "TypeProto") -> str:
    import onnx

    if not type_.HasField("tensor_type"):
        kind = (type_.WhichOneof("value") or "no type").replace("_", " ")
        raise GraphError(f"{path.name}: input {name!r} is of {kind}; only tensors can be made")
    code = type_.tensor_type.elem_type
    if code == onnx.TensorProto.STRING:
        return "string"
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(code))
    except KeyError:
        raise GraphError(f"{path.name}: input {name!r} has the unknown type {code}") from None


def _with_sides(
    path: Path, inputs: Sequence[DeclaredInput], selection: Selection
) -> list[DeclaredInput]:
    """The inputs with the open sides of images filled in, where --size says them.

    Raises UsageError for a file without images, and for one whose sides are fixed or given.
    """
    size = selection.size
    if size is None:
        return list(inputs)
    images = [each for each in inputs if each.dims is not None and len(each.dims) == IMAGE_RANK]
    if given := next((each.name for each in images if each.name in selection.given), ""):
        also = selection.given[given]
        raise UsageError(f"{path.name}: --size {size}: {also} is given, too; give one of them")
    found, fixed = dict[str, int](), list[str]()
    filled: dict[str, Dims] = {}
    for each in images:
        assert each.dims is not None, "it has a rank"
        is_last = isinstance(each.dims[1], str) and isinstance(each.dims[3], int)  # channels
        sides = (1, 2) if is_last else (2, 3)
        found |= {str(each.dims[i]): size for i in sides if isinstance(each.dims[i], str)}
        if not any(each.dims[i] in (size, *found, "") for i in sides):
            fixed.append(str(each))
        filled[each.name] = tuple(
            size if dim == "" and index in sides else dim for index, dim in enumerate(each.dims)
        )
    if fixed or not images:
        what = f"the file fixes {' and '.join(fixed)}" if fixed else "no input of it is of images"
        raise UsageError(f"{path.name}: --size {size}: {what}; leave it out")
    found.pop("", None)
    return [
        replace(each, dims=dims and tuple(found.get(str(dim), dim) for dim in dims))
        for each in inputs
        for dims in [filled.get(each.name, each.dims)]
    ]


def _open(dims: Dims) -> list[str]:
    """The open sizes, "" for one without a name."""
    return [dim for dim in dims or () if isinstance(dim, str)]


def _has_batch(model: "ModelProto", found: DeclaredInput) -> bool:
    """Whether the first size is how many images, or sentences, there are in one call.

    That is so where it is open, and of an NCHW input; the first size of any other may be anything:
    tokens, rows of a matrix, time.
    """
    if found.dims is None:
        return not _is_time_first(model, found.name)
    if not found.dims or isinstance(found.dims[0], int):
        return len(found.dims) == IMAGE_RANK
    return not NO_BATCH.search(found.dims[0]) and not _is_time_first(model, found.name)


def _is_time_first(model: "ModelProto", name: str) -> bool:
    """Whether an input goes to a recurrent layer, in the order of its dimensions."""
    reached = {name}
    for node in model.graph.node:
        if not node.input or reached.isdisjoint(node.input):
            continue
        if node.op_type in RECURRENT and node.input[0] in reached:
            return not any(each.name == "layout" and each.i for each in node.attribute)
        if node.op_type in IN_ORDER:
            reached.update(node.output)
    return False


class _Sizes:
    """What is known of the open sizes of a file's inputs."""

    def __init__(
        self,
        path: Path,
        inputs: Sequence[DeclaredInput],
        symbols: Sequence[str],
        only: Mapping[str, str],
        selection: Selection,
    ) -> None:
        """Collect shapes of inputs and sizes of symbols; raises UsageError for unknown ones."""
        self._file, self._inputs = path.name, inputs
        self._batch = selection.batch
        names = {each.name for each in inputs}
        self._shapes = selection.given
        self._valued = selection.values
        self._sizes = {name: sizes[0] for name, sizes in selection.dims.items()}
        for name, text in only.items():
            if name in names:
                self._shapes[name] = shape(f"{name}={text}", path.name + ":")
            elif name in symbols:
                self._sizes[name] = self._size(name, text)
            else:
                raise UsageError(
                    f"{path.name}:{name}={text}: the inputs are {', '.join(map(str, inputs))}"
                )
        self._unknown = [name for name in self._shapes if name not in names]
        self._unknown += [name for name in self._sizes if name not in symbols]
        self._typed = dict(self._sizes)
        for each in inputs:
            self._learn(each)

    def _size(self, name: str, text: str) -> int:
        if not re.fullmatch(r"0*[1-9]\d{0,8}", text):
            raise UsageError(f"{self._file}:{name}={text}: write a size such as {name}=128")
        return int(text)

    def _learn(self, found: DeclaredInput) -> None:
        """Check a shape that is given, and take the sizes of symbols from it."""
        given = self._shapes.get(found.name)
        if given is None:
            return
        option = "--input" if found.name in self._valued else "--shape"
        if found.dims is not None and not _fits(found.dims, given.shape):
            raise UsageError(f"{self._file}: {option} {given} does not fit the input {found}")
        if option == "--shape" and given.dtype not in ("float32", found.dtype):
            raise UsageError(f"{self._file}: --shape {given}: the input is of type {found.dtype}")
        for dim, size in zip(found.dims or (), given.shape, strict=False):
            if isinstance(dim, str) and self._typed.get(dim, size) != size:
                typed = f"{dim}={self._typed[dim]}"
                raise UsageError(f"{self._file}: {typed}: {option} {given} has {size} there")
            if isinstance(dim, str) and dim:
                self._sizes.setdefault(dim, size)

    def fix(self, batched: Sequence[str]) -> list[TensorSpec]:
        """The inputs with every size known; raises UsageError that shows what to type."""
        for each in self._inputs:
            first = each.dims[0] if each.name in batched and each.dims else ""
            if isinstance(first, str) and first:
                self._sizes.setdefault(first, self._batch or 1)
        tensors = [self._fixed(each, each.name in batched) for each in self._inputs]
        if None in tensors:
            raise self._question(tensors)
        return [tensor for tensor in tensors if tensor is not None]

    def _fixed(self, found: DeclaredInput, is_batched: bool) -> TensorSpec | None:
        """An input with every size known, None where one is not."""
        if found.name in self._shapes:
            return TensorSpec(found.name, self._shapes[found.name].shape, found.dtype)
        if found.dims is None:
            return None
        sizes = [self._sizes.get(dim) if isinstance(dim, str) else dim for dim in found.dims]
        if is_batched and found.dims[0] == "":
            sizes[0] = self._batch or 1
        known = [size for size in sizes if size is not None]
        return (
            TensorSpec(found.name, tuple(known), found.dtype) if len(known) == len(sizes) else None
        )

    def _question(self, tensors: Sequence[TensorSpec | None]) -> OpenSizesError:
        """All that is open, and what to paste."""
        left = [each for each, t in zip(self._inputs, tensors, strict=True) if t is None]
        dims, shapes = dict[str, int](), list[str]()
        for each in left:
            sizes = [self._sizes.get(d, d) if isinstance(d, str) else d for d in each.dims or ()]
            guess = [
                size if isinstance(size, int) else _guess(size, index, len(sizes))
                for index, size in enumerate(sizes)
            ]
            if each.dims is not None and all(d for d in sizes):
                dims |= {str(d): g for d, g in zip(sizes, guess, strict=True) if isinstance(d, str)}
            else:
                shapes.append(f"--shape {each.name}={'x'.join(map(str, guess)) or '1x3x224x224'}")
        sized = [f"--dim {shlex.quote(f'{name}={size}')}" for name, size in dims.items()]
        odd = f" (and none is {' or '.join(self._unknown)})" if self._unknown else ""
        has = "has" if len(left) == 1 else "have"
        what = f"{self._file}: {', '.join(map(str, left))} {has} open sizes{odd}"
        return OpenSizesError([what], [*sized, *shapes])


def _guess(symbol: str, index: int, rank: int) -> int:
    """A size to paste for an open one."""
    if BATCH.search(symbol) or (not symbol and index == 0):
        return 1
    return IMAGE_SIZE if rank == IMAGE_RANK and index > 1 else OTHER_SIZE


def _fits(dims: Sequence[int | str], given: Sequence[int]) -> bool:
    return len(dims) == len(given) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(dims, given, strict=True)
    )

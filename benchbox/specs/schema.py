"""Schema of a blocks/*.toml file; keys that it does not declare are errors."""

import math
import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from pydantic import ValidationError as Invalid
from pydantic_core import PydanticCustomError

from benchbox.errors import SpecError
from benchbox.specs.model import DType

MOST_CASES = 10_000
# So that no file takes long: what is said of every case is short.
MOST_KEYS, MOST_INPUTS, MOST_SIZES, MOST_PUBLISHED = 100, 100, 64, 100
MOST_CHARACTERS = 200  # of an argument or a label, which a case's name is made of
LARGEST = (1 << 63) - 1  # TOML's own
SHOWN = 80  # characters of a value in a message

# For whose keys the parser takes time that grows with the square.
_DEEP = re.compile(rb"(?<![\w\"'-])(?:[\w\"'-]++ *+\. *+){%d}" % MOST_KEYS)


def _of_two(sizes: object) -> object:
    if not isinstance(sizes, list) or len(sizes) != 2:
        raise PydanticCustomError("image", "height and width, such as [320, 416]")
    return sizes


Whole = Annotated[StrictInt, Field(ge=-LARGEST - 1, le=LARGEST)]
Short = Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)]
Value = Short | StrictBool | Whole | StrictFloat
Table = Annotated[dict[Short, Value], Field(max_length=MOST_KEYS)]
Size = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Shape = Annotated[list[Size | Short], Field(max_length=MOST_SIZES)]
PositiveFloat = Annotated[float, Field(gt=0)]
Axis = Annotated[StrictInt, Field(ge=0, le=MOST_SIZES)]
Image = Annotated[list[Size], BeforeValidator(_of_two)]
Values = Annotated[list[Value], Field(min_length=1, max_length=MOST_CASES)]


class Closed(BaseModel):
    """A table that admits only the keys it declares."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


class InputTable(Closed):
    """`[[inputs]]`: shape without the batch; a word in it stands for the case's argument.

    `values` is a .npy file beside the spec, or a number.
    The batch comes at `batch_axis`, or nowhere where that is false.
    """

    name: Short
    shape: Shape
    dtype: DType = "float32"
    values: Value | None = None
    batch_axis: Axis | Literal[False] | None = None


class PrintedTable(Closed):
    """`[cases.printed]`: what the paper prints where it cannot be built so."""

    gpu: Table = {}
    arm: Table = {}


class NoteTable(Closed):
    """`[cases.notes]`: a sentence for the reader of the table, per platform."""

    gpu: StrictStr = ""
    arm: StrictStr = ""


class PaperTable(Closed):
    """`[cases.paper]`: what a paper prints of a case as a network; millions, percent and ms."""

    params_m: PositiveFloat | None = None
    macs_m: PositiveFloat | None = None
    top1_percent: PositiveFloat | None = None
    map_percent: PositiveFloat | None = None
    cpu_onnx_ms: PositiveFloat | None = None
    t4_tensorrt_ms: PositiveFloat | None = None
    source: StrictStr = ""


class CaseTable(Closed):
    """`[[cases]]`: labels identify the case; args, and gpu or arm over them, go to the builder.

    A case that names a network has its builder from there, and its input unless it has an `image`.
    """

    network: StrictStr | None = None
    image: Image | None = None
    labels: Table | None = None
    args: Table = {}
    input: Shape | None = None
    batch_axis: Axis | None = None
    gpu: Table | None = None
    arm: Table | None = None
    printed: PrintedTable = PrintedTable()
    notes: NoteTable = NoteTable()
    paper: PaperTable = PaperTable()


class MatchTable(Closed):
    """`[match]`: within each group, multiply-accumulates equal the first case's."""

    equal: Literal["macs"]
    within: Annotated[float, Field(ge=0, lt=1)]


class PublishedTable(Closed):
    """`[[published]]`: a paper's figures by case name, of calls with `batch` images."""

    platform: Literal["gpu", "arm"]
    unit: Literal["images_per_s", "batches_per_s"]
    device: StrictStr
    source: StrictStr
    batch: Annotated[StrictInt, Field(ge=1)] = 1
    figures: dict[StrictStr, PositiveFloat]


class ClaimTable(Closed):
    """`[claim]`: in each group the case `slower` takes longer than the case `than`."""

    slower: Table
    than: Table
    subject: StrictStr
    than_subject: StrictStr


class SpecTable(Closed):
    """A whole file."""

    title: StrictStr
    builder: StrictStr | None = None
    cases: Annotated[list[CaseTable], Field(min_length=1)]
    grid: Annotated[dict[Short, Values], Field(max_length=MOST_KEYS)] = {}
    guideline: StrictStr = ""
    source: StrictStr = ""
    summary: StrictStr = ""
    assumed: StrictStr = ""
    group_by: StrictStr = ""
    args: Table = {}
    input: Shape | None = None
    batch_axis: Axis = 0
    inputs: Annotated[list[InputTable], Field(max_length=MOST_INPUTS)] = []
    match: MatchTable | None = None
    published: Annotated[list[PublishedTable], Field(max_length=MOST_PUBLISHED)] = []
    claim: ClaimTable | None = None


def read(path: Path, text: bytes) -> SpecTable:
    """Return the file's tables; raises SpecError that names the file and the key."""
    try:
        if _DEEP.search(text):
            raise SpecError(f"{path}: a key of more than {MOST_KEYS} parts; no spec has such a key")
        tables = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, 5,000 digits, deep brackets
        raise SpecError(f"{path}: not valid TOML: {_cut(str(error))}") from None
    if "grid" in tables:
        tables.setdefault("cases", [{}])
    cases, grid = tables.get("cases"), tables.get("grid")
    axes = [cases, *(grid.values() if isinstance(grid, dict) else ())]
    count = math.prod(len(each) for each in axes if isinstance(each, list))
    if isinstance(cases, list) and count > MOST_CASES:
        raise SpecError(
            f"{path}: {count} cases, of at most {MOST_CASES}; divide them among several files"
        )
    try:
        table = SpecTable.model_validate(tables)
    except Invalid as invalid:
        raise SpecError(f"{path}: {_sentence(invalid)}") from None
    return table.model_copy(update={"cases": _on_grid(path, table)}) if table.grid else table


def _on_grid(path: Path, table: SpecTable) -> list[CaseTable]:
    """Each case at every point of the grid, whose values are arguments and labels."""
    for index, case in enumerate(table.cases):
        if twice := sorted(table.grid.keys() & {*case.args, *(case.labels or ())}):
            raise SpecError(f"{path}: cases[{index + 1}]: {twice[0]!r} is in the grid, too")
    points = [dict(zip(table.grid, each, strict=True)) for each in product(*table.grid.values())]
    return [
        case.model_copy(
            update={
                "args": {**case.args, **point},
                "labels": None if case.labels is None else {**case.labels, **point},
            }
        )
        for case in table.cases
        for point in points
    ]


def _sentence(invalid: Invalid) -> str:
    """Describe the first error, and how many more there are."""
    # An unknown key first: it is what a missing one was meant to be.
    errors = sorted(
        invalid.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden"
    )
    first, more = errors[0], len({_key(e["loc"]) for e in errors}) - 1
    if first["type"] == "extra_forbidden":
        what = "unknown key; blocks/README.md lists the known ones"
    elif first["type"] == "missing":
        what = "missing"
    else:
        alike = [error["msg"] for error in errors if _key(error["loc"]) == _key(first["loc"])]
        alike = [text.removeprefix("Input should be ").removeprefix("a valid ") for text in alike]
        expected = " or ".join(dict.fromkeys(alike))
        what = f"expected {expected}, got {_shown(first['input'])}"
    return f"{_key(first['loc'])}: {what}" + (f" (and {more} more)" if more else "")


def _shown(value: object) -> str:
    """A value as Python writes it, cut."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of more digits than Python writes
        return "a number that is too large"
    return _cut(text, SHOWN)


def _cut(text: str, most: int = 2 * SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


# What pydantic adds to a location for each branch of a union.
BRANCHES = {"str", "int", "float", "bool", "constrained-int", "constrained-str"} | {
    "dict[constrained-str,union[constrained-str,bool,constrained-int,float]]"
}


def _key(location: tuple[int | str, ...]) -> str:
    """Format a location as in TOML, counted from 1: `cases[3].args.c`."""
    key = ""
    for part in location:
        if part in BRANCHES:
            continue
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if key else part
    return _cut(key) or "the file"

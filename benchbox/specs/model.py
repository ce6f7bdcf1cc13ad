"""Spec model: BlockSpec, Case, Selection and their parts; a spec unfolds into cases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from benchbox.errors import OpenSizesError, UsageError
from benchbox.networks import catalogue
from benchbox.specs import labels
from benchbox.specs.labels import label_text

Paper = catalogue.Paper
Scalar = catalogue.Scalar
DType = Literal[
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]  # fmt: skip - those that the agent can fill
Platform = Literal["gpu", "arm"]
Precision = Literal["fp32", "fp16", "int8", "int8-dynamic"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Unit = Literal["images_per_s", "batches_per_s"]


@dataclass(frozen=True, slots=True)
class Values:
    """The values of an input: those of a .npy file, a number, a text, or integers `below` a bound.

    A file has its shape and dtype here, which are empty otherwise.
    """

    file: Path | None = None
    sha256: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    number: float | None = None
    below: int | None = None
    text: str | None = None

    def __str__(self) -> str:
        own = self.number if self.text is None else self.text
        return f"sha256 {self.sha256}" if self.file else str(own)

    def message(self) -> dict[str, Any]:
        """The values as an agent on this machine makes them."""
        if self.file:
            return {"file": str(self.file)}
        if self.text is not None:
            return {"text": self.text}
        return {"below": self.below} if self.below is not None else {"number": self.number}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input: its name, its shape with the batch in it, its numpy dtype.

    `values` are None where they are made up.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    values: Values | None = None

    def __str__(self) -> str:
        dtype = "" if self.dtype == "float32" else f":{self.dtype}"
        return f"{self.name}={'x'.join(map(str, self.shape)) or 'scalar'}{dtype}"

    def message(self) -> dict[str, Any]:
        """The input as JSON types, as an agent on this machine makes it."""
        values = {"values": self.values.message()} if self.values else {}
        return {"name": self.name, "shape": self.shape, "dtype": self.dtype, **values}


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit in a `folder` of its own, beside the repository at `top`.

    `ignored` are the paths in that which git ignores: what is built and installed, of no commit.
    """

    top: Path
    folder: Path
    commit: str
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Builder:
    """What returns an nn.Module: `module:callable`, or `file.py:callable` with its path.

    With `weights` it is the network of that name with a checkpoint loaded into it. With a
    `checkout` it is of that, as is all that it imports from the repository.
    """

    reference: str
    path: Path | None = None
    network: str = ""
    weights: Path | None = None
    weights_sha256: str = ""
    checkout: Checkout | None = None


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A graph that exists already, or the `fault` for which it does not."""

    path: Path
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A paper's figures for the cases of one platform, by case name, in `unit`.

    They are of calls with `batch` images, and stand beside no others.
    """

    platform: Platform
    unit: Unit
    device: str
    source: str
    figures: Mapping[str, float]
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Match:
    """The invariant of a spec: within each group, multiply-accumulates equal the first case's."""

    within: float


@dataclass(frozen=True, slots=True)
class Claim:
    """What a guideline says: the case `slower` takes longer than the case `than`, in each group.

    `subject` and `than_subject` name the two in a sentence: "8 groups cost 2x the latency of 1".
    """

    slower: Mapping[str, Scalar]
    than: Mapping[str, Scalar]
    subject: str
    than_subject: str


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a sweep: a builder or file, its arguments, and its input.

    Cases with the same `spec` and `group` are compared with each other; `reference` names the
    first of them. `printed` holds arguments that the paper prints but that cannot be built so,
    `paper` what it prints of the case as a network. `network` is its name in the catalogue.
    `conversion` is what its float32 graph is converted to, None where it stays as it is.
    `has_images` says that its `batch` counts images: the first size of an input may be a time
    instead. `symbols` are those of its file's open sizes. `threads` are those of a run with several
    numbers of them, `axes` its place on all that such a run sweeps.
    """

    spec: str
    name: str
    labels: Mapping[str, Scalar]
    args: Mapping[str, Scalar]
    inputs: tuple[TensorSpec, ...]
    batch: int
    source: Builder | OnnxFile
    group: str = ""
    reference: str = ""
    channels: Platform | None = None
    published: float | None = None
    printed: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""
    dtype: str = "float32"
    conversion: Precision | None = None
    has_images: bool = True
    symbols: tuple[str, ...] = ()
    network: str = ""
    paper: Paper = field(default_factory=Paper)
    threads: int | None = None
    axes: Mapping[str, Scalar] = field(default_factory=dict)

    def at(self, point: Mapping[str, Scalar]) -> "Case":
        """The case named by its place on what is swept: `groups=8,batch=2` in `batch=2`."""
        if not point:
            return self
        where = labels.case_name(point)
        group = f"{self.group},{where}" if self.group else where
        name, axes = f"{self.name},{where}", {**self.axes, **point}
        return replace(self, name=name, group=group, axes=axes)

    @property
    def key(self) -> str:
        """The name of this case in a run of several specs."""
        return f"{self.spec}:{self.name}"

    @property
    def is_reference(self) -> bool:
        """Whether the others of the group are set beside this one."""
        return self.name == self.reference


@dataclass(frozen=True, slots=True)
class Selection:
    """The command line's choice from a spec: which cases, on which input, with which weights.

    `weights` maps names of networks to checkpoints; the empty name is that of the only network.
    `head` is what detectors give. `dims` maps symbols of open sizes to sizes, `values` inputs to
    their values.
    With several `batches`, `sizes` of images or of symbols, `dtypes` or `threads` every case is
    there at each. `keys` are those of the only cases that are wanted, empty for all.
    """

    channels: Platform = "arm"
    batches: tuple[int, ...] = ()
    scales: tuple[str, ...] = ()
    shapes: tuple[TensorSpec, ...] = ()
    dims: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)
    dtypes: tuple[Precision, ...] = ()
    head: str | None = None
    sizes: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    keys: frozenset[str] = frozenset()

    @property
    def batch(self) -> int | None:
        """The first batch, which is the only one where cases are made; None for a spec's own."""
        return self.batches[0] if self.batches else None

    @property
    def given(self) -> dict[str, TensorSpec]:
        """The inputs whose shapes are given, by --shape or with the file of their values."""
        files = {name: values for name, values in self.values.items() if values.file}
        shaped = {tensor.name: tensor for tensor in self.shapes}
        return shaped | {
            name: TensorSpec(name, values.shape, values.dtype)
            for name, values in files.items()
            if name not in shaped
        }

    @property
    def size(self) -> int | None:
        """The first side of images, which is the only one where cases are made."""
        return self.sizes[0] if self.sizes else None

    def points(self) -> Iterator[tuple["Selection", dict[str, Scalar]]]:
        """Yield a selection for each size and batch, with its place where there are several."""
        all_axes = [
            ("sizes", "size", self.sizes),
            *(("dims", name, sizes) for name, sizes in self.dims.items()),
            ("batches", "batch", self.batches),
        ]
        axes = [axis for axis in all_axes if len(axis[2]) > 1]
        for values in product(*(sizes for _, _, sizes in axes)):
            one, dims, point = self, dict(self.dims), dict[str, Scalar]()
            for (kind, name, _), value in zip(axes, values, strict=True):
                point[name] = value
                if kind == "dims":
                    dims[name] = (value,)
                elif kind == "sizes":
                    one = replace(one, sizes=(value,))
                else:
                    one = replace(one, batches=(value,))
            yield replace(one, dims=dims), point


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One experiment: `unfold` makes its cases for what the command line selects.

    `sha256` is that of the file behind it, which lies at `path`, so that a record can say which
    version was run.
    """

    name: str
    title: str
    sha256: str
    unfold: Callable[[Selection], list[Case]]
    guideline: str = ""
    source: str = ""
    summary: str = ""
    assumed: str = ""
    group_by: str = ""
    match: Match | None = None
    published: tuple[Published, ...] = ()
    claim: Claim | None = None
    path: Path | None = None
    only: Mapping[str, str] = field(default_factory=dict)

    def cases(self, selection: Selection) -> list[Case]:
        """Return the selected cases, each with its group's reference named.

        Several batches or sizes each have their own cases and groups, named by them. Raises
        UsageError when the selection leaves none.
        """
        points = selection.points()
        return with_references([c.at(point) for each, point in points for c in self._at_one(each)])

    def _at_one(self, selection: Selection) -> list[Case]:
        wanted = dict(self.only)
        cases = [
            case
            for case in self.unfold(selection)
            if all(labels.is_typed(case.labels.get(key), text) for key, text in wanted.items())
            and (not selection.scales or label_text(case.labels.get("scale")) in selection.scales)
        ]
        if "network" in wanted:  # none of its own group stands beside it
            cases = [replace(case, group="") for case in cases]
        if not cases:
            every = [case.labels for case in self.unfold(selection)]
            asked = [*wanted, *(["scale"] if selection.scales else [])]
            raise UsageError(
                f"{self.name}: no case has {labels.requested(wanted, selection.scales)}; "
                f"{labels.available(every, asked)}"
            )
        return cases

    def figures(self, platform: Platform | None) -> Published | None:
        """Return the paper's figures for the platform whose channels were used."""
        return next((p for p in self.published if p.platform == platform), None)


def unfolded(specs: Sequence[BlockSpec], selection: Selection) -> list[Case]:
    """Return the selected cases of all specs; raises OpenSizesError for all that lack sizes."""
    cases, what, options = list[Case](), list[str](), list[str]()
    for spec in specs:
        try:
            cases += spec.cases(selection)
        except OpenSizesError as error:  # the title tells files of one name apart
            said = [each.partition(": ")[2] for each in error.what]
            what += [f"{spec.title}: {each}" for each in said] if spec.path else error.what
            options += error.options
    if what:
        raise OpenSizesError(what, options)
    return cases


def with_references(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with the first one of its spec and group named as the reference of each."""
    first: dict[tuple[str, str], str] = {}
    for case in cases:
        first.setdefault((case.spec, case.group), case.name)
    return [replace(case, reference=first[case.spec, case.group]) for case in cases]


def precision(inputs: Sequence[TensorSpec]) -> str:
    """The type that a graph computes in, by its inputs: that of the first float one."""
    floats = (tensor.dtype for tensor in inputs if tensor.dtype.startswith("float"))
    return next(floats, "float32")

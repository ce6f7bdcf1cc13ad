"""Lookup of specs by name: bundled spec, network, path or builder, each optionally narrowed by
`:key=value,...`; a path never stands for another name, nor the reverse."""

import difflib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

from benchbox import host
from benchbox.errors import SpecError, UsageError
from benchbox.networks import catalogue, libraries
from benchbox.specs import network_input, onnx_inputs, toml
from benchbox.specs.labels import case_name
from benchbox.specs.model import BlockSpec, Builder, Case, Selection, precision
from benchbox.specs.shapes import shape

ALL = "all"
WEIGHTS = "weights have no graph; name a callable that builds the module: ./file.py:build"
TENSORFLOW = "a graph of TensorFlow; convert it to .onnx, as tf2onnx does"
BUILT = "a graph as one runtime keeps it; give the .onnx file that it was made from"
PACKED = "a packed file; unpack it"
OTHER_FILES = {
    ".py": "name the callable in it: {}:build",
    ".ort": "an ORT file says nothing of its operators that could be counted; give the .onnx file "
    "that it was made from",
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".gguf"), WEIGHTS),
    **dict.fromkeys((".tflite", ".pb", ".h5", ".hdf5", ".keras"), TENSORFLOW),
    **dict.fromkeys((".engine", ".plan", ".trt", ".mlmodel", ".mlpackage", ".xml"), BUILT),
    **dict.fromkeys((".gz", ".zip", ".tar", ".tgz", ".xz", ".7z"), PACKED),
    ".data": "the weights of an .onnx file; give that file",
}
OF_NETWORKS = ("models", "detectors")  # the bundled specs that hold every network once


def find(name: str) -> list[BlockSpec]:
    """Return the specs that `name` stands for: one, or every guideline for `all`.

    Raises SpecError for a name that stands for nothing, with the nearest ones.
    """
    name, only = split(name)
    if name == ALL:
        found = [spec for spec in map(_bundled, bundled()) if spec.guideline]
    elif library := libraries.find(name):
        found = [_of_library(library)]
        only = {"network": str(library.args["name"]), **only}
    elif ":" in name and not (is_file(name) and Path(name).is_file()):
        found = [_from_builder(name, only)]
    elif is_file(name) or "/" in name or "\\" in name or _suffix(name) in OTHER_FILES:
        found = _from_path(Path(name), only)
    elif name in bundled():
        found = [_bundled(name)]
    elif network := catalogue.find(name):
        found, only = [_bundled(network.spec)], {"network": network.name, **only}
    else:
        raise SpecError(f"unknown name {name!r}{_nearest(name)}; `benchbox list` shows them all")
    if name in OF_NETWORKS and (network := catalogue.find(only.get("network", ""))):
        only = {**only, "network": network.name}
    return [replace(spec, only=only) for spec in found]


def find_all(names: Iterable[str]) -> list[BlockSpec]:
    """Return the specs of all names; files that share a name are told apart by their folders."""
    found = [spec for name in names for spec in find(name)]
    places = {spec.path for spec in found if spec.path is not None}
    return [_unique(spec, places) for spec in found]


def _unique(spec: BlockSpec, places: Collection[Path]) -> BlockSpec:
    """The spec, with as many folders in its name as no other file of that name is in."""
    if spec.path is None:
        return spec
    parts = [part for part in (*spec.path.parts[:-1], spec.path.stem) if part != spec.path.anchor]
    others = [
        (*place.parts[:-1], place.stem)
        for place in places
        if place.stem == spec.path.stem and place != spec.path
    ]
    lengths = range(1, len(parts) + 1)
    count = next((n for n in lengths if not _is_among(parts[-n:], others)), 1)
    return spec if count == 1 else _renamed(spec, "/".join(parts[-count:]))


def _is_among(end: Sequence[str], others: Iterable[Sequence[str]]) -> bool:
    return any(list(other[-len(end) :]) == list(end) for other in others)


def _renamed(spec: BlockSpec, name: str) -> BlockSpec:
    def unfold(selection: Selection) -> list[Case]:
        return [
            replace(case, spec=name, name=name if case.name == spec.name else case.name)
            for case in spec.unfold(selection)
        ]

    suffix = Path(spec.title).suffix
    title = f"{name}{suffix}" if spec.title == f"{spec.name}{suffix}" else spec.title
    return replace(spec, name=name, title=title, unfold=unfold)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def is_file(name: str) -> bool:
    """Whether a name, without a selection, is that of a file with a spec or a graph."""
    return name.lower().endswith((".toml", ".onnx"))


def is_network(name: str) -> bool:
    """Whether `name`, without a selection, stands for a network."""
    return ":" not in name and name not in (*bundled(), ALL) and catalogue.find(name) is not None


def bundled() -> list[str]:
    """Return the names of the specs that come with benchbox, sorted."""
    return sorted(path.stem for path in blocks().glob("*.toml"))


@cache
def blocks() -> Path:
    """Return the folder of the bundled specs: inside the wheel, or that of the checkout."""
    installed = Path(str(files("benchbox"))) / "blocks"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "blocks"


def _bundled(name: str) -> BlockSpec:
    return toml.load(blocks() / f"{name}.toml", name)


def split(name: str) -> tuple[str, Mapping[str, str]]:
    """Split `g2:groups=8,scale=1` into the name and its selection."""
    # Values may hold colons, as ratio=1:12, and names of a graph's inputs, as input:0.
    match = re.fullmatch(r"(?i:(.+?\.onnx):(.*=.*))", name)
    match = match or re.fullmatch(r"(.+?):([^:=,/\\]*=.*)", name)
    if match is None:
        return name, {}
    pairs = [part.partition("=") for part in match[2].split(",")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise UsageError(f"{name!r}: write the selection as key=value,key=value")
    only = {key.strip(): value.strip() for key, _, value in pairs}
    if len(only) < len(pairs):
        raise UsageError(f"{name!r}: a label is there twice; give each one value")
    return match[1], only


def _nearest(name: str) -> str:
    at = [path for path in (Path(f"{name}.toml"), Path(f"{name}.onnx")) if path.is_file()]
    if at:
        return f" (for the file write {at[0]})"
    if Path(name).is_dir():
        return f" (for the folder write ./{name})"
    known = [*bundled(), ALL, *catalogue.families(), *catalogue.NETWORKS]
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.4) + libraries.near(name)
    return catalogue.meant(sorted(close, key=partial(_unlike, name))[:2])


def _unlike(name: str, other: str) -> float:
    """The distance of a name from another, whose library does not count."""
    return -difflib.SequenceMatcher(a=name, b=other.rpartition(":")[2]).ratio()


def _from_path(path: Path, only: Mapping[str, str]) -> list[BlockSpec]:
    if path.is_dir():
        return _from_folder(path, only)
    if problem := host.why_no_file(path):
        raise SpecError(f"{path}: {problem}")
    suffix = _suffix(path.name)
    if suffix == ".toml":
        return [replace(toml.load(path, path.stem), path=path.resolve())]
    if suffix == ".onnx":
        return [onnx_inputs.spec(path, only)]
    advice = OTHER_FILES.get(suffix, "expected a .toml spec or an .onnx file")
    raise SpecError(f"{path}: {advice.format(path)}")


def _from_folder(folder: Path, only: Mapping[str, str]) -> list[BlockSpec]:
    """The specs of all .onnx files of a folder, sorted by name."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx")
    if not files:
        raise SpecError(f"{folder}: the folder has no .onnx file")
    return [onnx_inputs.spec(path, only) for path in files]


def _of_library(network: catalogue.Network) -> BlockSpec:
    """The spec of a library, with one of its networks."""
    library, _, own = network.name.partition(":")

    def unfold(selection: Selection) -> list[Case]:
        inputs = (network_input.image(network, selection),)
        labels = {"network": own}
        source, batch = Builder(network.builder), inputs[0].shape[0]
        return [Case(library, own, labels, network.args, inputs, batch, source)]

    digest = hashlib.sha256(libraries.identity(library).encode()).hexdigest()
    return BlockSpec(library, f"Networks of {library}, random weights", digest, unfold)


def _from_builder(reference: str, only: Mapping[str, str]) -> BlockSpec:
    source = toml.builder(reference, Path())
    name = source.reference.rpartition(":")[2]
    digest = hashlib.sha256(reference.encode()).hexdigest()
    if source.path is not None:
        digest = host.sha256(source.path)
    own = [shape(f"{key}={text}", f"{reference}:") for key, text in only.items()]

    def unfold(selection: Selection) -> list[Case]:
        inputs = network_input.of_builder(reference, selection, own)
        batch = (inputs[0].shape or (1,))[0]
        named = case_name(only) or name
        return [Case(name, named, dict(only), {}, inputs, batch, source, dtype=precision(inputs))]

    return BlockSpec(name, f"{source.reference}", digest, unfold)

"""Lookup of specs by name: bundled spec, network, path or builder, each optionally narrowed by
`:key=value,...`; a path never stands for another name, nor the reverse."""

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from benchbox import host
from benchbox.errors import SpecError, UsageError
from benchbox.networks import catalogue
from benchbox.specs import onnx_file, toml
from benchbox.specs.model import BlockSpec, Case, Selection, TensorSpec, precision

ALL = "all"
OF_NETWORKS = ("models", "detectors")  # the bundled specs that hold every network once


def find(name: str) -> list[BlockSpec]:
    """Return the specs that `name` stands for: one, or every guideline for `all`.

    Raises SpecError for a name that stands for nothing, with the nearest ones.
    """
    name, only = split(name)
    if name == ALL:
        found = [spec for spec in map(_bundled, bundled()) if spec.guideline]
    elif ":" in name:
        found = [_from_builder(name)]
    elif name.endswith((".toml", ".onnx")) or "/" in name or "\\" in name:
        found = [_from_path(Path(name))]
    elif name in bundled():
        found = [_bundled(name)]
    elif network := catalogue.find(name):
        found, only = [_bundled(network.spec)], {"network": network.name, **only}
    else:
        raise SpecError(f"unknown name {name!r}{_nearest(name)}; `benchbox list` shows them all")
    if name in OF_NETWORKS and (network := catalogue.find(only.get("network", ""))):
        only = {**only, "network": network.name}
    return [replace(spec, only=only) for spec in found]


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
    match = re.fullmatch(r"(.+?):([^:=,/\\]*=.*)", name)  # values may hold colons: ratio=1:12
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
    known = [*bundled(), ALL, *catalogue.families(), *catalogue.NETWORKS]
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def _from_path(path: Path) -> BlockSpec:
    if problem := host.why_no_file(path):
        raise SpecError(f"{path}: {problem}")
    if path.suffix == ".toml":
        return toml.load(path, path.stem)
    if path.suffix == ".onnx":
        return onnx_file.spec(path)
    if path.suffix == ".py":
        raise SpecError(f"{path}: name the callable in it: {path}:build")
    raise SpecError(f"{path}: expected a .toml spec or an .onnx file")


def _from_builder(reference: str) -> BlockSpec:
    source = toml.builder(reference, Path())
    name = source.reference.rpartition(":")[2]
    digest = hashlib.sha256(reference.encode()).hexdigest()
    if source.path is not None:
        digest = host.sha256(source.path)

    def unfold(selection: Selection) -> list[Case]:
        if not selection.shapes:
            raise UsageError(f"{reference}: say what goes in, e.g. --shape x=1x3x224x224")
        inputs = tuple(_with_batch(tensor, selection.batch) for tensor in selection.shapes)
        batch = (inputs[0].shape or (1,))[0]
        return [Case(name, name, {}, {}, inputs, batch, source, dtype=precision(inputs))]

    return BlockSpec(name, f"{source.reference}", digest, unfold)


def _with_batch(tensor: TensorSpec, batch: int | None) -> TensorSpec:
    """Return the input with its first size replaced; a scalar has none."""
    if batch is None or not tensor.shape:
        return tensor
    return replace(tensor, shape=(batch, *tensor.shape[1:]))

"""Images, checkpoint and head: `--shape`, `--size`, `--batch`, `--weights` and `--head`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import host
from benchbox.errors import SpecError, UsageError
from benchbox.networks import catalogue
from benchbox.specs.model import Builder, Case, Selection, TensorSpec

INPUT, CHANNELS, IMAGE_RANK = "x", 3, 4  # of images, with the batch
DIGITS = 12  # of a checkpoint's sha256 in a note


def image(
    network: catalogue.Network, selection: Selection, size: Sequence[int] | None = None
) -> TensorSpec:
    """Return the input of a network: what --shape or --size says, else its own image.

    `size` is another height and width of its image.

    Raises UsageError for a shape that the network cannot take.
    """
    tensor = selection.given.get(INPUT)
    channels, *own = network.image
    if selection.size is not None:
        _refuse_both(selection)
        size = (selection.size, selection.size)
        if problem := misfit(*size, network.stride):
            raise UsageError(f"--size {selection.size}: {problem}")
    if tensor is None:
        sides = (*own[:-2], *size) if size else own
        return TensorSpec(INPUT, (selection.batch or 1, channels, *sides))
    if (
        len(tensor.shape) != 2 + len(own)
        or tensor.shape[1] != channels
        or tensor.dtype != "float32"
    ):
        raise UsageError(
            f"--shape {tensor}: the input of a network is float32 images of {channels} channels, "
            f"such as {INPUT}=1x{channels}x{'x'.join(map(str, own))}"
        )
    if problem := misfit(tensor.shape[-2], tensor.shape[-1], network.stride):
        raise UsageError(f"--shape {tensor}: {problem}")
    batch = tensor.shape[0] if selection.batch is None else selection.batch
    return TensorSpec(INPUT, (batch, *tensor.shape[1:]))


def misfit(height: int, width: int, stride: int = catalogue.STRIDE) -> str:
    """Why no network takes images of that size, and the nearest one that does; empty if they do."""
    nearest = [max(stride, round(size / stride) * stride) for size in (height, width)]
    if nearest == [height, width]:
        return ""
    return (
        f"height and width must be multiples of {stride}, the stride of a network, "
        f"such as {'x'.join(map(str, nearest))}"
    )


def of_builder(
    reference: str, selection: Selection, own: Sequence[TensorSpec] = ()
) -> tuple[TensorSpec, ...]:
    """The inputs of a builder: its `own`, or what is given, or images of --size; --batch of them.

    Raises UsageError without any, and for a batch over what may be none.
    """
    tensors = {tensor.name: tensor for tensor in own} or selection.given
    if selection.size is not None:
        _refuse_both(selection)
        image = TensorSpec(INPUT, (1, CHANNELS, selection.size, selection.size))
        tensors = {INPUT: image, **tensors}
    if not tensors:
        raise UsageError(
            f"{reference}: say what goes in, e.g. --shape {INPUT}=1x3x224x224, or --size 224"
        )
    return _batched([*tensors.values()], selection.batch)


def _refuse_both(selection: Selection) -> None:
    if INPUT in selection.given and selection.size is not None:
        raise UsageError(
            f"--size {selection.size}: {selection.given[INPUT]} is given, too; give one of them"
        )


def _batched(tensors: Sequence[TensorSpec], batch: int | None) -> tuple[TensorSpec, ...]:
    """The inputs with another batch: the first size of the first, in all that begin with it."""
    before = next(iter(tensors[0].shape), 0)
    if batch is None or before == batch:
        return tuple(tensors)
    if before != 1 and len(tensors[0].shape) != IMAGE_RANK:
        begins = f"begins with {before}, which may be no batch" if before else "has no batch"
        raise UsageError(
            f"--batch {batch}: {tensors[0]} {begins}; write 1 where the batch is, or it in --shape"
        )
    return tuple(
        replace(each, shape=(batch, *each.shape[1:])) if each.shape[:1] == (before,) else each
        for each in tensors
    )


def with_head(cases: Sequence[Case], head: str | None) -> list[Case]:
    """Return the cases with that head of detectors, or as they are.

    Raises UsageError for a case that has no such head.
    """
    return list(cases) if head is None else [_headed(case, head) for case in cases]


def _headed(case: Case, head: str) -> Case:
    heads = catalogue.named(case.network).heads if case.network else ()
    if head not in heads:
        none = "is no detector by name, as yolov8n is; leave --head out"
        what = f"has the heads {' and '.join(heads)}" if heads else none
        raise UsageError(f"--head {head}: {case.name} {what}")
    return replace(case, args={**case.args, "head": head}, note=_noted(case, f"head {head}"))


def _noted(case: Case, note: str) -> str:
    return "; ".join(text for text in (case.note, note) if text)


def with_weights(cases: Sequence[Case], weights: Mapping[str, Path]) -> list[Case]:
    """Return the cases, those networks that `weights` names with their checkpoint.

    The empty name stands for the only network there is. Raises UsageError for a name that is none
    of the networks, SpecError for a file that cannot be read.
    """
    networks = list(dict.fromkeys(case.network for case in cases if case.network))
    by_network = dict(_by_network(weights, networks))
    return [
        _weighed(case, by_network[case.network]) if case.network in by_network else case
        for case in cases
    ]


def _by_network(weights: Mapping[str, Path], networks: Sequence[str]) -> list[tuple[str, Path]]:
    pairs: list[tuple[str, Path]] = []
    for name, path in weights.items():
        if not name and len(networks) != 1:
            which = "none of them is a network" if not networks else "there are several networks"
            raise UsageError(f"--weights {path}: {which}; write --weights NAME={path}")
        try:
            network = networks[0] if not name else catalogue.named(name).name
        except SpecError as error:
            raise UsageError(f"--weights {name}={path}: {error}") from None
        if network not in networks:
            raise UsageError(f"--weights {name}={path}: {network} is not among what is asked for")
        if network in dict(pairs):
            raise UsageError(f"--weights {path}: a second file for {network}; give one")
        pairs.append((network, path))
    return pairs


def _weighed(case: Case, path: Path) -> Case:
    assert isinstance(case.source, Builder), "a network has one"
    sha = _sha256(path)
    note = f"weights of {path.name}, sha256 {sha[:DIGITS]}"
    source = replace(case.source, network=case.network, weights=path, weights_sha256=sha)
    return replace(case, source=source, note=_noted(case, note))


def _sha256(path: Path) -> str:
    if not path.is_file():  # a pipe or a device would be read for ever
        what = "is not a file" if path.exists() else "is not there"
        raise SpecError(f"--weights {path} {what}; give a .pth file")
    try:
        return host.sha256(path)
    except OSError as error:
        raise SpecError(f"--weights {path}: cannot be read: {error.strerror}") from None

"""TOML specs: a blocks/*.toml file becomes a BlockSpec, which unfolds into cases."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchbox import host
from benchbox.errors import SpecError, UsageError
from benchbox.networks import catalogue
from benchbox.specs import network_input, schema, values
from benchbox.specs.labels import case_name, label_text
from benchbox.specs.model import (
    BlockSpec,
    Builder,
    Case,
    Claim,
    Match,
    Paper,
    Platform,
    Published,
    Scalar,
    Selection,
    TensorSpec,
    precision,
)

MOST_MB = 4  # of a file; one with as many cases as there may be has half of that


def load(path: Path, name: str) -> BlockSpec:
    """Return the spec that the file holds; raises SpecError that names file and key."""
    try:
        text = host.read_file(path, MOST_MB)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    table = schema.read(path, text)
    _check(path, table)
    return BlockSpec(
        name=name,
        title=table.title,
        sha256=hashlib.sha256(text).hexdigest(),
        unfold=partial(_unfold, path, name, table),
        guideline=table.guideline,
        source=table.source,
        summary=table.summary,
        assumed=table.assumed,
        group_by=table.group_by,
        match=None if table.match is None else Match(table.match.within),
        published=tuple(
            Published(p.platform, p.unit, p.device, p.source, dict(p.figures), p.batch)
            for p in table.published
        ),
        claim=None if table.claim is None else Claim(**table.claim.model_dump()),
    )


def _check(path: Path, table: schema.SpecTable) -> None:
    """Raise SpecError for names that do not agree across the file, which no schema can check."""
    for index, case in enumerate(table.cases):
        _check_source(f"{path}: cases[{index + 1}]", path, table, case)
    built = [case for case in table.cases if case.network is None]
    ways = {case.input is None and table.input is None for case in built}
    if built and ways != {bool(table.inputs)}:
        raise SpecError(f"{path}: give either input = [...] or [[inputs]], one of the two")
    names = [_name(path, table, case) for case in table.cases]
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise SpecError(f"{path}: cases[{index + 1}]: a second case {name!r}; name its labels")
        seen.add(name)
    _check_labels(path, table)
    if table.group_by:
        missing = [n for n, c in zip(names, table.cases, strict=True) if _group(table, c) is None]
        if missing:
            raise SpecError(f"{path}: group_by: case {missing[0]!r} has no {table.group_by!r}")
    _check_published(path, table, names)
    _check_claim(path, table)


def _check_labels(path: Path, table: schema.SpecTable) -> None:
    """Raise SpecError for two values of a label that are printed alike, as 8 and "8" are."""
    seen: dict[tuple[str, str], Scalar] = {}
    for index, case in enumerate(table.cases):
        for name, value in _labels(table, case).items():
            other = seen.setdefault((name, label_text(value)), value)
            if any(isinstance(value, kind) != isinstance(other, kind) for kind in (str, bool)):
                text = f"{name} is {value!r}, and {other!r} before, which is printed alike"
                raise SpecError(f"{path}: cases[{index + 1}]: {text}; write one of the two")


def _check_source(where: str, path: Path, table: schema.SpecTable, case: schema.CaseTable) -> None:
    """Raise SpecError unless a case has a builder, or is a network and says no more."""
    if case.network is None:
        if table.builder is None:
            raise SpecError(f"{path}: builder: missing")
        if case.image:
            raise SpecError(f"{where}: image: it is for a network; a builder has input = [...]")
        return
    own = [table.builder, table.args, table.input, table.inputs, table.batch_axis]
    own += [case.args, case.gpu, case.arm, case.input, case.batch_axis]
    if any(own):
        raise SpecError(
            f"{where}: network: it brings its builder, arguments and input; "
            "leave builder, args, gpu, arm, input and inputs out"
        )
    try:
        catalogue.named(case.network)
    except SpecError as error:
        raise SpecError(f"{where}: network: {error}") from None
    if case.image and (problem := network_input.misfit(*case.image)):
        raise SpecError(f"{where}: image: {problem}")


def _check_published(path: Path, table: schema.SpecTable, names: Sequence[str]) -> None:
    has_sets = any(case.gpu is not None or case.arm is not None for case in table.cases)
    known = set(names)
    for published in table.published:
        unknown = sorted(set(published.figures) - known)
        if unknown:
            raise SpecError(f"{path}: published.figures: no case is named {unknown[0]!r}")
        if has_sets and all(getattr(case, published.platform) is None for case in table.cases):
            raise SpecError(f"{path}: published.platform: no case has {published.platform!r}")


def _check_claim(path: Path, table: schema.SpecTable) -> None:
    if table.claim is None:
        return
    labels = [_labels(table, case).items() for case in table.cases]
    for key, wanted in (("slower", table.claim.slower), ("than", table.claim.than)):
        if not any(wanted.items() <= each for each in labels):
            raise SpecError(f"{path}: claim.{key}: no case has {case_name(wanted)}")


def _labels(table: schema.SpecTable, case: schema.CaseTable) -> dict[str, Scalar]:
    """The labels that identify a case: its own, its network, or else its arguments."""
    if case.labels is not None:
        return dict(case.labels)
    if case.network is not None:
        network = catalogue.named(case.network)
        return {"network": network.name, **network.labels}
    return dict(case.args) or dict(case.arm or case.gpu or table.args)


def _name(path: Path, table: schema.SpecTable, case: schema.CaseTable) -> str:
    """A case's name: its network's, or else made from its labels."""
    if case.network is not None and case.labels is None:
        return catalogue.named(case.network).name
    return case_name(_labels(table, case)) or path.stem


def _group(table: schema.SpecTable, case: schema.CaseTable) -> str | None:
    if not table.group_by:
        return ""
    value = _labels(table, case).get(table.group_by)
    return None if value is None else f"{table.group_by}={label_text(value)}"


def _unfold(path: Path, name: str, table: schema.SpecTable, selection: Selection) -> list[Case]:
    own = [tensor.name for tensor in table.inputs] or [network_input.INPUT]
    is_built = any(case.network is None or case.image for case in table.cases)
    is_shaped = any(tensor.name in own for tensor in selection.shapes)
    if is_built and (selection.size is not None or is_shaped):
        option = "--shape" if selection.size is None else "--size"
        raise UsageError(
            f"{name}: {option} is for networks, .onnx files and builders; a TOML has its input"
        )
    source = builder(table.builder, path.parent, f"{path}: ") if table.builder else None
    return [
        _case(f"{path}: cases[{index + 1}]", path, name, table, source, case, selection)
        for index, case in enumerate(table.cases)
    ]


def _case(
    where: str,
    path: Path,
    spec: str,
    table: schema.SpecTable,
    source: Builder | None,
    case: schema.CaseTable,
    selection: Selection,
) -> Case:
    platform, channels = _channels(where, table, case, selection.channels)
    paper = Paper(**case.paper.model_dump())
    if case.network is not None:
        network = catalogue.named(case.network)
        args, source = network.args, Builder(network.builder)
        inputs: tuple[TensorSpec, ...] = (network_input.image(network, selection, case.image),)
        paper = network.paper if paper == Paper() else paper
    else:
        args = {**table.args, **case.args, **channels}
        inputs = tuple(_inputs(where, path.parent, table, case, args, selection.batch or 1))
        if selection.batch and table.inputs and not any(map(_has_batch, table.inputs)):
            raise UsageError(f"{spec}: --batch {selection.batch}: no input of it has a batch")
    assert source is not None, "checked when the file was read"
    name = _name(path, table, case)
    batch = inputs[0].shape[0] if case.network is not None else selection.batch or 1
    # Else the paper's figures are of other images.
    as_printed = network_input.INPUT not in selection.given and not case.image
    as_printed &= selection.size is None
    printed = [p for p in table.published if p.platform == platform and p.batch == batch]
    figures = printed[0].figures if printed and as_printed else {}
    return Case(
        spec=spec,
        name=name,
        labels=_labels(table, case),
        args=args,
        inputs=inputs,
        batch=batch,
        source=source,
        group=_group(table, case) or "",
        channels=platform,
        published=figures.get(name),
        printed=case.printed.gpu if platform == "gpu" else case.printed.arm,
        note=case.notes.gpu if platform == "gpu" else case.notes.arm,
        dtype=precision(inputs),
        network=catalogue.named(case.network).name if case.network is not None else "",
        paper=(paper if batch == 1 else paper.untimed()) if as_printed else Paper(),
    )


def _channels(
    where: str, table: schema.SpecTable, case: schema.CaseTable, wanted: Platform
) -> tuple[Platform | None, Mapping[str, Scalar]]:
    """The platform whose figures the case is compared with, and the case's arguments there."""
    if case.gpu is None and case.arm is None:
        return (wanted if table.published else None), {}
    chosen = case.gpu if wanted == "gpu" else case.arm
    if chosen is None:
        raise SpecError(f"{where} has no {wanted!r} channels")
    return wanted, chosen


def _has_batch(table: schema.InputTable) -> bool:
    return table.batch_axis is not False


def _inputs(
    where: str,
    folder: Path,
    table: schema.SpecTable,
    case: schema.CaseTable,
    args: Mapping[str, Scalar],
    batch: int,
) -> Iterator[TensorSpec]:
    own = table.input if case.input is None else case.input
    axis = table.batch_axis if case.batch_axis is None else case.batch_axis
    for each in table.inputs or [schema.InputTable(name="x", shape=own or [])]:
        sizes = [_size(where, size, args) for size in each.shape]
        at = axis if each.batch_axis is None else each.batch_axis
        if at is not False:
            if at > len(sizes):
                raise SpecError(f"{where}: batch_axis: {each.name} has no axis {at} to have it at")
            sizes.insert(at, batch)
        tensor = TensorSpec(each.name, tuple(sizes), each.dtype)
        if each.values is not None:
            option = f"{where}: values of"
            given = values.parse(each.values, f"{option} {each.name}", folder)
            tensor = values.filled(tensor, given, option)
        yield tensor


def _size(where: str, size: int | str, args: Mapping[str, Scalar]) -> int:
    """Return a dimension: a number, or the case's argument of that name."""
    value = args.get(size) if isinstance(size, str) else size
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(
            f"{where}: input: {size!r} is no argument with a positive whole number; "
            f"give it one in args, as args = {{ {size} = 56 }}, or in the grid"
            if isinstance(size, str) and size.isidentifier() and size not in args
            else f"{where}: input: {size!r} is no argument with a positive whole number"
        )
    return value


def builder(reference: str, folder: Path, where: str = "") -> Builder:
    """Return the builder that `module:callable` or `file.py:callable` names.

    A file is looked for beside the spec that names it. Raises SpecError, which begins with `where`,
    when the reference is not of that form or the file is not there.
    """
    module, colon, name = reference.rpartition(":")
    if not colon or not module or not name.isidentifier():
        raise SpecError(
            f"{where}builder {reference!r}: write module:callable or ./file.py:callable"
        )
    if not module.endswith(".py"):
        if module.partition(".")[0] in sys.stdlib_module_names:
            raise SpecError(
                f"{where}builder {reference!r}: Python's own {module} builds no network; "
                "name a callable that returns an nn.Module"
            )
        return Builder(reference)
    path = folder / module
    if problem := host.why_no_file(path):
        raise SpecError(f"{where}builder {reference!r}: {path}: {problem}")
    path = path.resolve()
    return Builder(f"{path.name}:{name}", path)

"""Comparison of cases of any specs: a spec of its own whose reference is the first case."""

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial

from benchbox.errors import UsageError
from benchbox.specs.model import BlockSpec, Case, OnnxFile, Selection, unfolded

NAME = "compare"


def comparison(found: Sequence[BlockSpec], title: str) -> BlockSpec:
    """Return the spec that compares the cases of all these with the first of them.

    Unfolding it raises UsageError for a case that is named twice.
    """
    parts = [[spec.sha256, sorted(spec.only.items())] for spec in found]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    is_one = len({(spec.name, spec.sha256) for spec in found}) == 1
    return BlockSpec(
        name=NAME,
        title=title,
        sha256=digest,
        unfold=partial(_unfold, found, is_one),
        source=found[0].source if is_one else "",
        published=found[0].published if is_one else (),  # else in units of several papers
    )


def beside(
    found: Sequence[BlockSpec], old: Sequence[BlockSpec], label: str, title: str
) -> BlockSpec:
    """Return the spec that compares each case with the one of its name in the `old` specs.

    Old ones are called `name@label`; a case without one is a group of its own.
    """

    def unfold(selection: Selection) -> list[Case]:
        before = {case.key: case for case in unfolded(old, selection)}
        members = unfolded(found, selection)
        cases = list[Case]()
        for case, name in zip(members, _names(members), strict=True):
            group = name if len(members) > 1 else ""
            pair = [(before.get(case.key), f"{name}@{label}"), (case, name)]
            cases += [replace(c, spec=NAME, name=n, group=group) for c, n in pair if c]
        return cases

    digests = [[spec.sha256, sorted(spec.only.items())] for spec in (*found, *old)]
    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    return BlockSpec(NAME, title, digest, unfold)


def timed_alone(spec: str, name: str) -> tuple[str, str]:
    """The spec and the name of a case as it has them where it is not timed beside others."""
    if spec != NAME:
        return spec, name
    spec, _, short = name.partition(":")
    return spec, short or spec


def _unfold(found: Sequence[BlockSpec], is_one: bool, selection: Selection) -> list[Case]:
    members = unfolded(found, selection)
    names = _names(members)
    seen: set[Hashable] = set()
    for case in members:
        if (same := _identity(case)) in seen:
            raise UsageError(f"{_short(case)} is compared with itself; name two different cases")
        seen.add(same)
    return [
        replace(
            case,
            spec=NAME,
            name=name,
            group="",
            channels=case.channels if is_one else None,
            published=case.published if is_one else None,
        )
        for case, name in zip(members, names, strict=True)
    ]


def _identity(case: Case) -> Hashable:
    """The identity of a case: its source, arguments and input."""
    source = case.source
    where = source.path.resolve() if isinstance(source, OnnxFile) else source
    return where, frozenset(case.args.items()), case.inputs


def _names(members: Sequence[Case]) -> list[str]:
    """The shortest unique name of each case."""
    names = [_short(case) for case in members]
    placed = Counter(_in_folder(case) for case in members)
    apart = [_in_folder(c) if placed[_in_folder(c)] == 1 else _short(c) for c in members]
    names = _longer(names, apart)
    while len(set(names)) < len(names):
        names = _longer(names, [f"{name}#{index + 1}" for index, name in enumerate(names)])
    return names


def _longer(names: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return the longer name where several have one name."""
    counts = Counter(names)
    return [long if counts[name] > 1 else name for name, long in zip(names, longer, strict=True)]


def _short(case: Case) -> str:
    return case.name if case.name in (case.network, case.spec) else case.key


def _in_folder(case: Case) -> str:
    """A file's or builder's name with its folder: `before/model`."""
    path, is_file = case.source.path, isinstance(case.source, OnnxFile)
    name = case.name if is_file else _short(case)
    return f"{path.resolve().parent.name}/{name}" if path else name

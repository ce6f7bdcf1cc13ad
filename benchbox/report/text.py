"""English lists, and texts with the cases that they are about."""

import re
from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len

FEW = 3  # cases that are named one by one
# A number that is no part of a name.
FIGURE = re.compile(r"(?<![\w=.:/+-])[+-]?\d+(?:\.\d+)?[%x]?(?=[\s,;:)]|$)")


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def few(cases: Sequence[str]) -> str:
    """The cases, or of many how many they are."""
    if len(cases) <= FEW:
        return listed(cases)
    return f"{len(cases)} cases, {cases[0]} the first"


def group(name: str) -> str:
    """`scale 1, batch 8` for the group `scale=1,batch=8`."""
    return ", ".join(part.replace("=", " ", 1) for part in name.split(","))


def shared_input(cases: Iterable[Sequence[str]]) -> list[str]:
    """`input 1x3x640x640`, where all cases have that as their only one; no text otherwise."""
    shapes = {tuple(text.rpartition("=")[2] for text in inputs) for inputs in cases}
    only = shapes.pop() if len(shapes) == 1 else ()
    return [f"input {only[0]}"] if len(only) == 1 else []


def by_text(cases: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Each text once, after the names of the cases that it is about; empty ones are none."""
    return [f"{names}: {text}" for names, text in grouped(cases, texts)]


def grouped(cases: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Each text that is not empty, after the names of the cases that it is about."""
    about: dict[str, list[str]] = {}
    for case, text in zip(cases, texts, strict=True):
        if text:
            about.setdefault(text, []).append(case)
    return [(_all_or(names, len(cases)), text) for text, names in about.items()]


def by_range(cases: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts as `by_text` has them, with a range where they differ in nothing but figures."""
    return by_text(cases, ranged(texts))


def ranged(texts: Sequence[str]) -> list[str]:
    """The texts, alike with a range of figures where they differ in nothing else."""
    kinds = [FIGURE.sub("", text) for text in texts]
    alike: dict[str, list[str]] = {}
    for kind, text in zip(kinds, texts, strict=True):
        alike.setdefault(kind, []).append(text)
    joined = {kind: merged(own, _range) for kind, own in alike.items()}
    return [joined[kind] for kind in kinds]


def merged(texts: Sequence[str], join: Callable[[Sequence[str]], str]) -> str:
    """One text for several that differ in figures alone, each of which is joined."""
    figures = zip(*(FIGURE.findall(text) for text in texts), strict=True)
    words = (join(each) if len({*each}) > 1 else each[0] for each in figures)
    return FIGURE.sub(lambda _: next(words), texts[0])


def _range(figures: Sequence[str]) -> str:
    ordered = sorted(figures, key=lambda figure: float(figure.rstrip("%x")))
    return f"{ordered[0]} to {ordered[-1]}"


def _all_or(names: Sequence[str], count: int) -> str:
    return "all cases" if len(names) == count > 1 else listed(names)


def folded(line: str, width: int) -> str:
    """The line as several, none wider than that but for a single long word: none is broken."""
    first, *words = line.split(" ")
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)

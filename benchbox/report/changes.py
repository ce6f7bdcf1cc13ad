"""Differences of two runs in words."""

from collections.abc import Mapping, Sequence

from benchbox.records.differences import Difference

SHOWN = 12  # characters of a sha256


def changes(found: Sequence[Difference]) -> list[str]:
    """`threads 1 -> 2` for each difference, of a mapping for each item of it."""
    return [text for each in found for text in _change(each.name, each.was, each.now)]


def _change(name: str, was: object, now: object) -> list[str]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        return [text for key in keys for text in _change(key, was.get(key), now.get(key))]
    return [f"{name} {shown(was)} -> {shown(now)}"]


def shown(value: object) -> str:
    """A value of a context in a few words."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)

"""Mutations of JSON by random choices: each changes one part of a value, of whatever type."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

DEEP = 150  # brackets; more than anything nests, fewer than parsers refuse


def _nested() -> object:
    value: object = 1
    for _ in range(DEEP):
        value = [value]
    return value


ODD: tuple[Callable[[], object], ...] = (
    *(lambda value=value: value for value in (None, True, False, 0, 0.5, -1, -0.0, 2, 10**9)),
    *(lambda value=value: value for value in (10**17, 2**63, -(2**63), 10**400, -(10**400))),
    *(lambda value=value: float(value) for value in ("nan", "inf", "-inf")),
    *(lambda value=value: value for value in (1e17, 1e30, -1e30, 1e308, 5e-324, -1e-9, 1e-30)),
    *(lambda value=value: value for value in ("", "x", "1", "nan", "\udce9", "\ud83d\ude00")),
    *(lambda value=value: value for value in ("\x1b[2J\r\n\x00", "\u202e\u2028", "a" * 70_000)),
    list,
    dict,
    lambda: [[]],
    lambda: [{}],
    lambda: [None],
    lambda: [1, 2, 3],
    lambda: [[1, 2]],
    lambda: {"x": []},
    lambda: {"": {"": None}},
    lambda: {"x": 1},
    _nested,
)


def odd(rng: random.Random) -> object:
    """A value that is seldom right."""
    return rng.choice(ODD)()


def _place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A random container in a value that is one, and a key or an index in it."""
    while True:
        keys = [*value] if isinstance(value, dict) else range(len(value))
        key = rng.choice(keys)
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
            return value, key
        value = inner


def mutated(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A copy of an object with one part changed, lost, moved or added."""
    value = copy.deepcopy(value)
    holder, key = _place(value, rng)
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, there = _place(value, rng)
        holder[key], other[there] = other[there], holder[key]
        try:
            json.dumps(value)
        except (ValueError, RecursionError):  # one was in the other
            other[there] = holder[key] = None
    elif kind == 2 and isinstance(holder, list):
        holder[key : key + 1] = rng.choice(([holder[key]] * 2, [holder[key]] * 300, []))
    elif kind == 2:
        holder[rng.choice(("", "new", "\udce9", "a\nb"))] = odd(rng)
    elif kind == 3 and isinstance(holder[key], int | float):
        holder[key] = rng.choice((-holder[key], holder[key] * 10**6, str(holder[key])))
    else:
        holder[key] = odd(rng)
    return value

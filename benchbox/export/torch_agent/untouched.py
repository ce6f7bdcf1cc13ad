"""Guard of torch's own classes and functions, which all modules of one process share."""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchbox.errors import CaseError

Value = tuple[Any, object, object]  # what is there, and what a function would run
METHODS = (classmethod, staticmethod, property)
FLAGS = (
    ("mkldnn", "enabled"),
    ("cudnn", "enabled"),
    ("cudnn", "benchmark"),
    ("cudnn", "deterministic"),
)


@contextmanager
def untouched() -> Iterator[None]:
    """Undo what a builder changes of torch within the block.

    Raises CaseError that names it: the modules of other cases, built before, would run it too.
    """
    owners = [(name, owner, _values(owner)) for name, owner in _owners()]
    states = [(name, read(), restore) for name, read, restore in _states()]
    changed: list[str] = []
    try:
        yield
    finally:
        for name, owner, before in owners:
            changed += [f"{name}.{each}" for each in _restored(owner, before)]
        for (name, read, _), (_, value, restore) in zip(_states(), states, strict=True):
            if read() != value:
                restore(value)
                changed.append(name)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise CaseError(
            f"its builder changes {changed[0]}{more}, which the modules of other cases run too; "
            "change a class of your own that derives from it"
        )


def _owners() -> Iterator[tuple[str, Any]]:
    """Modules and classes of torch that networks are made of, by name."""
    import torch
    from torch import nn

    inner = [each for each in vars(nn.modules).values() if isinstance(each, types.ModuleType)]
    for module in (torch, nn, nn.functional, nn.init, nn.modules, *inner):
        yield module.__name__, module
    yield "torch.Tensor", torch.Tensor
    found = [each for each in vars(nn).values() if isinstance(each, type)]
    classes = {one for each in found for one in each.__mro__ if one.__module__.startswith("torch")}
    for each in sorted(classes, key=lambda one: one.__qualname__):
        yield f"torch.nn.{each.__name__}", each


def _states() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], object]]]:
    """Settings of torch that a builder might leave behind: name, reader and writer of each."""
    import torch
    from torch.nn.modules import module

    yield "torch's default type", torch.get_default_dtype, torch.set_default_dtype
    yield "torch's grad mode", torch.is_grad_enabled, torch.set_grad_enabled
    yield "torch's threads", torch.get_num_threads, torch.set_num_threads
    for place, name in FLAGS:
        owner = getattr(torch.backends, place)
        label = f"torch.backends.{place}.{name}"
        yield label, partial(getattr, owner, name), partial(setattr, owner, name)
    for name, hooks in vars(module).items():
        if name.startswith("_global_") and isinstance(hooks, dict):
            yield f"torch's {name[1:].replace('_', ' ')}", hooks.copy, _writer(hooks)


def _writer(hooks: dict[Any, Any]) -> Callable[[dict[Any, Any]], None]:
    def write(before: dict[Any, Any]) -> None:
        hooks.clear()
        hooks.update(before)

    return write


def _values(owner: object) -> dict[str, Value]:
    return {
        name: (value, getattr(value, "__code__", None), getattr(value, "__defaults__", None))
        for name, value in vars(owner).items()
        if callable(value) or isinstance(value, (*METHODS, types.ModuleType))
    }


def _restored(owner: object, before: dict[str, Value]) -> list[str]:
    """Put back what was there; return the names of what was not, or was another."""
    after = _values(owner)
    wrong = [name for name, value in before.items() if not _is_same(after.get(name), value)]
    for name in wrong:
        value, code, defaults = before[name]
        if code is not None:
            value.__code__, value.__defaults__ = code, defaults
        setattr(owner, name, value)
    # A module takes in what is imported late; a class that overrides what it inherited is changed.
    added = [] if isinstance(owner, types.ModuleType) else sorted(after.keys() - before.keys())
    for name in added:
        delattr(owner, name)
    return wrong + added


def _is_same(now: Value | None, before: Value) -> bool:
    return now is not None and all(one is other for one, other in zip(now, before, strict=True))

"""Resuming: finds the run that stopped, and checks that its samples fit those to come."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchbox import records
from benchbox.devices import gpu_options
from benchbox.errors import RecordError, UsageError
from benchbox.records import Context, Run

# Samples taken under different values of these do not belong in one table. What was timed may have
# changed: samples belong to a graph, by its sha256.
SAME = ("device", "provider", "threads", "cpus", "channels", "seed", "versions")
SWEPT = ("batch", "size", "shapes", "dims", "values", "dtype", "threads")
SAME_PLAN = (*SWEPT, "arrival_per_s", "sustained_s")
SAME_DRIVING = tuple(gpu_options.OPTIONS)
SAME_GPU = {"name": "GPU", "power_limit_w": "its power limit"}
SAME_HOST = ("machine", "cpu", "cpus", "kernel", "emulated")


def previous(folder: Path, context: Context) -> Run:
    """The newest run of the same name and device.

    Raises UsageError when there is none, RecordError when it cannot be continued from here.
    """
    path = records.latest(folder, context.device, context.name)
    if path is None:
        place = folder / context.device
        raise UsageError(f"--resume: {place} holds no run of {context.name}; run it first")
    run = records.read(path)
    differences = [*_differences(run.context, context)]
    if differences:
        what, advice = "; ".join(differences), "drop --resume, or set it as it was"
        raise RecordError(f"{path}: cannot be resumed: {what}; {advice}")
    return run


def _differences(old: Context, new: Context) -> Sequence[str]:
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in SAME]
    pairs += [(name, old.host.get(name), new.host.get(name)) for name in SAME_HOST]
    plans = SAME_PLAN + SAME_DRIVING
    pairs += [(name, old.plan.get(name) or None, new.plan.get(name) or None) for name in plans]
    gpu, gpu_now = (each.host.get("gpu", {}) for each in (old, new))
    pairs += [(label, gpu.get(name), gpu_now.get(name)) for name, label in SAME_GPU.items()]
    return [
        f"{name} was {_shown(was)} and is {_shown(now)} now"
        for name, was, now in pairs
        if was != now
    ]


def _shown(value: object) -> str:
    """Format a value for a message."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return "none" if value is None else repr(value)

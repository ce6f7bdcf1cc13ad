"""Resuming: finds the run that stopped, and checks that its samples fit those to come."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchbox import records
from benchbox.errors import RecordError, UsageError
from benchbox.records import Context, Run, differences
from benchbox.records.differences import Difference


def previous(folder: Path, context: Context) -> Run:
    """The newest run of the same name and device.

    Raises UsageError when there is none, RecordError when it cannot be continued from here.
    """
    path = records.latest(folder, context.device, context.name)
    if path is None:
        place = folder / context.device
        raise UsageError(f"--resume: {place} holds no run of {context.name}; run it first")
    run = records.read(path)
    require_none(path, differences.of_samples(run.context, context))
    return run


def require_none(path: Path, found: Sequence[Difference]) -> None:
    """Raise RecordError for what a run to be resumed differs in."""
    if found:
        what = "; ".join(
            f"{each.name} was {_shown(each.was)} and is {_shown(each.now)} now" for each in found
        )
        advice = "drop --resume, or set it as it was"
        raise RecordError(f"{path}: cannot be resumed: {what}; {advice}")


def _shown(value: object) -> str:
    """Format a value for a message."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return "none" if value is None else repr(value)

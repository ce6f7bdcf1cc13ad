"""Baselines: runs without their samples under a name, as text files that a repository can hold."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import host
from benchbox.errors import RecordError, StorageError, UsageError
from benchbox.records import differences, reader, writer
from benchbox.records.model import Context, Run

FOLDER = Path("baselines")
SUFFIX = ".jsonl"
CHARACTERS = "-_.+"


def path_of(name: str) -> Path:
    """The file of a baseline: one in `baselines`, or that which the name itself is."""
    if name.endswith(SUFFIX):
        return Path(name)
    if not name or name.startswith(".") or not all(c.isalnum() or c in CHARACTERS for c in name):
        raise UsageError(
            f"baseline {name!r}: name it with letters, digits and {CHARACTERS}, no dot first, or "
            "by its .jsonl"
        )
    return FOLDER / f"{name}{SUFFIX}"


def names() -> list[str]:
    """The names of the baselines in the folder, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def read(name: str) -> list[Run]:
    """The runs of a baseline, one for each machine.

    Raises UsageError where there is none of that name, RecordError where it is damaged.
    """
    path = path_of(name)
    if not path.exists():
        known = f"there are {', '.join(names())}" if names() else "there is none"
        raise UsageError(
            f"baseline {name}: {path}: no such file ({known}); "
            f"`benchbox baseline set {name} RUN` makes it of a recorded run"
        )
    found = reader.read_all(path)
    if cut := next((line for run in found for line in run.warnings), ""):
        raise RecordError(f"{cut}; set it anew, or take it from your repository")
    return found


def keep(name: str, run: Run) -> tuple[Run, Run | None, list[str]]:
    """Keep the figures of a run as those of its machine, beside those of others.

    Returns the run as it is kept, the one of its machine that it replaces, and the cases without a
    figure, which are left out. Raises RecordError for a run that has no figures of calls in a row.
    """
    if any(record.arrival or record.sustained for record in run.records):
        raise RecordError(f"{run.path}: at a rate or under load; a baseline is of calls in a row")
    figures = [
        replace(record, bursts=()) for record in run.records if record.latency and record.sha256
    ]
    if not figures:
        raise RecordError(f"{run.path}: no case has a figure")
    path = path_of(name)
    earlier = read(name) if path.exists() else []
    others = [each for each in earlier if not is_of(each, run.context)]
    kept = replace(run, path=path, records=figures, earlier=())
    try:
        host.write(path, "".join(map(writer.text, [*others, kept])), 0o666)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
    taken = {record.key for record in figures}
    left_out = [record.case for record in run.records if record.key not in taken]
    return kept, of_machine(earlier, run.context), left_out


def remove(name: str) -> Path:
    """Remove a baseline; raises UsageError where there is none of that name."""
    path = path_of(name)
    with contextlib.suppress(RecordError):  # a damaged one can go, too
        read(name)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed: {error.strerror}") from None
    return path


def of_machine(runs: Sequence[Run], context: Context) -> Run | None:
    """The run of the machine of a context, None without one."""
    return next((run for run in runs if is_of(run, context)), None)


def is_of(run: Run, context: Context) -> bool:
    """Whether a run is of the machine of a context."""
    return differences.machine(run.context) == differences.machine(context)

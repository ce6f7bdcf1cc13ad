"""Packing and removal of old runs, for the `benchbox results` commands."""

from pathlib import Path

from benchbox.api import parsing
from benchbox.cli import runs
from benchbox.cli.output import console
from benchbox.errors import BenchboxError
from benchbox.records import archive
from benchbox.records.model import PACKED
from benchbox.records.names import Wanted
from benchbox.report.formatting import size


def change(age: str, device: str | None, results: Path, *, pack: bool, dry_run: bool) -> None:
    """Pack or remove runs of that age, or name them; raises BenchboxError for those that stay."""
    date = parsing.since(age, "--older-than")
    old = archive.begun_before(date, Wanted(results, device))
    paths = [path for path in old if not (pack and path.suffix == PACKED)]
    stdout, freed, failures = console(), 0, list[BenchboxError]()
    for path in paths:
        if dry_run:
            stdout.print(str(path))
            freed += path.stat().st_size
            continue
        try:
            freed += archive.change(path, pack=pack)
        except BenchboxError as error:
            failures.append(error)
    done = len(paths) - len(failures)
    what = f"{done} run{'' if done == 1 else 's'} begun before {date:%Y-%m-%d %H:%M} UTC"
    verb = "archive" if pack else "remove"
    if not paths:
        stdout.print(f"Nothing to {verb}: {what}")
    elif dry_run:
        stdout.print(f"Would {verb} {what}, of {size(freed)}")
    elif done:
        stdout.print(f"{verb.capitalize()}d {what}, which frees {size(freed)}")
    runs.require_all(failures)

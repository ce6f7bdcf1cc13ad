"""The `benchbox report` command: tables of runs from their records."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from benchbox import records
from benchbox.cli.output import STDOUT, console, require_writable, write
from benchbox.errors import RecordError, UsageError
from benchbox.records import Run
from benchbox.report.console import show_runs


def report(
    runs: Sequence[str], format_: str, output: Path | None, results: Path, verbose: bool
) -> None:
    """Print or write the tables of runs; of the newest one when none is named."""
    if output:
        require_writable("--output", output)
    stderr = console(stderr=True)
    read, failures = _readable(runs or [None], results, stderr)
    for run in read:
        for warning in [*run.warnings, *_empty(run)]:
            stderr.print(f"Warning: {warning}", style="yellow")
    if format_ != "table":
        write(output or STDOUT, render(read, format_))
    elif output not in (None, STDOUT):
        raise UsageError("--output needs --format csv, markdown or json")
    else:
        show_runs(read, console(), verbose=verbose)
    if failures:
        raise RecordError("; ".join(map(str, failures)))


def _readable(
    names: Iterable[str | None], results: Path, stderr: Console
) -> tuple[list[Run], list[RecordError]]:
    """The named runs, and the errors of those that are broken; raises that of the only."""
    read, failures = list[Run](), list[RecordError]()
    for name in names:
        found, broken = _first_readable(_candidates(name, results))
        read += found
        if not found:
            failures.append(broken[0])
        elif broken:
            words = "; ".join(map(str, broken))
            stderr.print(f"Warning: {words}; shown is {found[0].path}", style="yellow")
    if failures and not read:
        raise failures[0]
    return read, failures


def _first_readable(paths: Iterable[Path]) -> tuple[list[Run], list[RecordError]]:
    """The runs of the first file that is not broken, and the errors of those before it."""
    broken = list[RecordError]()
    for path in paths:
        try:
            return records.read_all(path), broken
        except RecordError as error:
            broken.append(error)
    return [], broken


def render(runs: Sequence[Run], format_: str) -> str:
    """Runs as csv, markdown or json."""
    from benchbox.report import files
    from benchbox.report.frame import to_frame

    if format_ == "markdown":
        return files.to_markdown(runs)
    table = to_frame(runs)
    return files.to_csv(table) if format_ == "csv" else files.to_json(table)


def _empty(run: Run) -> list[str]:
    if run.records:
        return []
    return [f"{run.path}: it stopped before a case was finished; benchbox run --resume goes on"]


def _candidates(name: str | None, results: Path) -> list[Path]:
    """The file of a run, or those of this name, or of any, of which the first is wanted."""
    if name and (name.endswith(".jsonl") or "/" in name):
        return [Path(name)]
    paths = records.newest_first(sorted(p for p in results.glob("*") if p.is_dir()), name)
    if not paths:
        what = "no run" if name is None else f"no run of {name!r}"
        raise RecordError(f"{results}: {what} here; name a .jsonl file, or run something first")
    return paths

"""The `benchbox report` command: tables of runs from their records."""

from collections.abc import Sequence
from pathlib import Path

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
    read, failures = _readable(_paths(runs, results))
    stderr = console(stderr=True)
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


def _readable(paths: Sequence[Path]) -> tuple[list[Run], list[RecordError]]:
    """The runs of the files, and the errors of those that are broken; raises that of the only."""
    read, failures = list[Run](), list[RecordError]()
    for path in paths:
        try:
            read += records.read_all(path)
        except RecordError as error:
            failures.append(error)
    if failures and not read:
        raise failures[0]
    return read, failures


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


def _paths(runs: Sequence[str], results: Path) -> list[Path]:
    if not runs:
        return [_newest(results, None)]
    return [Path(run) if _is_path(run) else _newest(results, run) for run in runs]


def _is_path(run: str) -> bool:
    return run.endswith(".jsonl") or "/" in run


def _newest(results: Path, name: str | None) -> Path:
    folders = sorted(path for path in results.glob("*") if path.is_dir())
    found = [records.latest(folder.parent, folder.name, name) for folder in folders]
    paths = [path for path in found if path is not None]
    if not paths:
        what = "no run" if name is None else f"no run of {name!r}"
        raise RecordError(f"{results}: {what} here; name a .jsonl file, or run something first")
    return max(paths, key=records.dated)

"""The `benchbox choose` command: what fits a latency budget, of recorded figures and new ones."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeVar

import typer

from benchbox import runner, specs
from benchbox.analysis import choice
from benchbox.analysis.quantities import YEAR_S
from benchbox.api import job, parsing
from benchbox.api.job import Job
from benchbox.api.plan import plan
from benchbox.api.selection import file_name, run_name
from benchbox.cli import run, runs
from benchbox.cli.exits import CASE_FAILED
from benchbox.cli.options.jobs import Options
from benchbox.cli.options.timing import BudgetOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.progress import Live
from benchbox.errors import RecordError, UsageError
from benchbox.records import Record, Run, merge
from benchbox.records import choice as choices
from benchbox.records.choice import P50, Budget, Choice
from benchbox.records.names import Wanted
from benchbox.report import choice as words
from benchbox.report.console import show_tables
from benchbox.runner import Request, recorded
from benchbox.runner.recorded import Archive
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case

T = TypeVar("T")
DEFAULT = "models"
FASTEST = 1e6  # images per second
HIGHEST = 99.9  # percentile


def choose(options: Options, asked: BudgetOptions) -> None:
    """Print and export what fits; exits with 1 where nothing does or a case failed."""
    budget, exports = _budget(asked), Exports(options.output.exports.paths())
    if asked.from_:
        _choose_recorded(options, asked.from_, budget, asked.sort.value, exports)
    else:
        _choose_measured(options, asked, budget, exports)


def _choose_recorded(
    options: Options, typed: Sequence[str], budget: Budget, sort: str, exports: Exports
) -> None:
    """Choose from runs as they are recorded, on each machine of them."""
    device = _only(options.where.device or [], "--device")
    found, failures = runs.readable(typed, Wanted(options.output.results, device))
    merged = _of_cases(merge.merge(found).runs, options.cases.names or [])
    found_on = [choices.choose(each, budget) for each in merged]
    if not found_on:
        raise RecordError(f"--from {' '.join(typed)}: no case was recorded there")
    _show(found_on, sort, exports)
    runs.require_all(failures)
    if not all(each.fits for each in found_on):
        raise typer.Exit(CASE_FAILED)


def _of_cases(found: Sequence[Run], typed: Sequence[str]) -> list[Run]:
    """The runs with their cases of these names and patterns, of specs or cases, or with all."""
    if not typed:
        return [*found]
    names = {e.key: (e.case, e.spec, f"{e.spec}:{e.case}") for run in found for e in run.records}
    kept = set[str]()
    for name in typed:
        own = {key for key, each in names.items() if any(fnmatchcase(n, name) for n in each)}
        if not own:
            raise UsageError(f"{name}: --from has no such case; `benchbox report` lists its cases")
        kept |= own
    narrowed = [replace(run, records=[e for e in run.records if e.key in kept]) for run in found]
    return [run for run in narrowed if run.records]


def _choose_measured(
    options: Options, asked: BudgetOptions, budget: Budget, exports: Exports
) -> None:
    """Choose from the cases of a command line, and time those that are not recorded."""
    names = options.cases.names or [DEFAULT]
    timing = options.timing
    if budget.percentile != P50:
        timing = replace(timing, percentiles=f"{budget.percentile:g}")
    options = replace(options, cases=replace(options.cases, names=names), timing=timing)
    named, stderr = specs.find_all(names), console(stderr=True)
    whole = job.of_specs(options.plain(), named, file_name(f"choose-{run_name(names)}"))
    cases = whole.cases
    request = _only(whole.requests, "--device, --cpus, --provider or --mode")
    assert request is not None, "there is a device"
    with Live(stderr, len(cases)) as live:
        graphs = runner.prepare(named, cases, live.exporting)
    context = job.context_now(request, cases)
    with runs.index(request.results) as index:
        archive = Archive(index, context, parsing.since(asked.since))
        found = recorded.look_up(
            archive, cases, graphs, partial(_is_enough, budget, request.plan.precision)
        )
    if found.known and found.missing:
        count, left = len(found.known), len(found.missing)
        stderr.print(f"{count} of {len(cases)} cases are recorded; {left} to time")
    ends = _measured(options, request, found.missing) if found.missing else Ends()
    outcomes = list(ends.outcomes.values())
    timed = [each for outcome in outcomes for each in outcome.run.records]
    records = [*(each.record for each in found.known), *timed, *found.failed]
    origins = {each.record.key: each.run for each in found.known}
    chosen = choices.choose(Run(request.results, context, records), budget, origins)
    _show([chosen], asked.sort.value, exports)
    for outcome in outcomes:
        run.epilogue(stderr, outcome)
    run.end(ends, outcomes, stderr, strict=False)
    if found.failed or not chosen.fits:
        raise typer.Exit(CASE_FAILED)


def _measured(options: Options, request: Request, missing: Sequence[Case]) -> Ends:
    """Time the cases that are missing, as `benchbox run` would."""
    keys = frozenset(case.key for case in missing)
    narrowed = replace(
        request,
        selection=replace(request.selection, keys=keys),
        plan=plan(options.plain(), missing, is_gpu=bool(request.device.gpu)),
    )
    return run.measured(Job([narrowed], missing), console(stderr=True))


def _is_enough(budget: Budget, precision: float, record: Record) -> bool:
    """Whether a recorded figure decides, or is as precise as one of now would be."""
    held = choices.held(record, budget)
    if held is None:
        return False
    interval = record.latency.interval if record.latency else None
    is_precise = interval is not None and interval.half_width <= precision
    return is_precise or choice.fit(held, budget.of(record)) != "may fit"


def _budget(asked: BudgetOptions) -> Budget:
    if (asked.budget is None) == (asked.fps is None):
        raise UsageError("give --budget 33ms or --fps 30, one of them")
    if not P50 <= asked.percentile <= HIGHEST or round(asked.percentile, 1) != asked.percentile:
        ends = f"{P50:g} to {HIGHEST:g}"
        raise UsageError(f"--percentile {asked.percentile:g}: write {ends}, with one decimal")
    if asked.budget is not None:
        return Budget(parsing.budget(asked.budget), percentile=asked.percentile)
    assert asked.fps is not None, "one of them is there"
    if not 1 / YEAR_S < asked.fps <= FASTEST:
        raise UsageError(f"--fps {asked.fps:g}: write images per second, up to {FASTEST:,.0f}")
    return Budget(1 / asked.fps, per_image=True, percentile=asked.percentile)


def _only(several: Sequence[T], options: str) -> T | None:
    """The only one; raises UsageError for several."""
    if len(several) > 1:
        raise UsageError(f"{options}: choose on one device, in one way, at a time")
    return next(iter(several), None)


def _show(found: Sequence[Choice], sort: str, exports: Exports) -> None:
    tables = [table for each in found for table in words.tables(each, sort)]
    show_tables(tables, exports.console())

    def render(format_: str) -> str:
        from benchbox.report import files

        return files.of_rows(format_, tables, [row for e in found for row in words.rows(e, sort)])

    exports.write(render, "")

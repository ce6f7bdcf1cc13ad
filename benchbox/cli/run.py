"""The `benchbox run` and `compare` commands: progress, tables, files and exit code of a job."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from benchbox.api import baseline, job, load_options, parsing
from benchbox.api.baseline import Against
from benchbox.api.job import Job
from benchbox.api.plan import PUBLISHED
from benchbox.cli import ci
from benchbox.cli.exits import CASE_FAILED, IMPRECISE, INTERRUPTED, OVER_LIMIT, UNCLEAR
from benchbox.cli.options.jobs import Options
from benchbox.cli.output import REPORT, Exports, console
from benchbox.cli.progress import Lives
from benchbox.report import claims, diff
from benchbox.report.console import show_tables
from benchbox.report.limits import Judgement, judgements
from benchbox.report.multi_device import tables_of
from benchbox.runner import Outcome, Request
from benchbox.runner.several_devices import Ends
from benchbox.sampling.plan import processes_for


def run(options: Options) -> None:
    """Measure the named cases, print, export; exits with 1, 130, or if strict 5 or 4."""
    exports = Exports(options.output.paths())
    with baseline.of_run(options.plain()) as against:
        _do(against, exports, options)


def compare(options: Options) -> None:
    """Measure cases paired with the first of them, print verdicts, export; exits as `run` does."""
    exports = Exports(options.output.paths())
    _do(Against(job.of_comparison(options.plain())), exports, options)


def _do(against: Against, exports: Exports, options: Options) -> None:
    """Do a job, print and export tables, and exit with a code.

    The error of a device that cannot be used is printed when it occurs, and decides the exit code.
    """
    stderr, asked = console(stderr=True), against.job
    ends = on_fleet(asked, stderr, options) if options.fleet.scheduler else measured(asked, stderr)
    outcomes = [ends.outcomes[index] for index in sorted(ends.outcomes)]
    if outcomes:
        runs = [outcome.run for outcome in outcomes]
        show_tables(tables_of(runs, verbose=options.output.verbose), exports.console())
        diffs = against.diffs(runs)
        beside = list(map(diff.table, diffs or ()))
        show_tables(beside, exports.console())
        if same := against.same(runs):
            stderr.print(f"The same graph in both: {', '.join(same)}")
    is_profiled = not asked.profiles or _profile(asked, ends, exports.console(), stderr)
    for outcome in outcomes:
        epilogue(stderr, outcome)
    what = "Not all measured" if options.fleet.scheduler else "Not measured"
    for index in sorted(ends.failures) if outcomes else ():
        name = asked.requests[index].device.name or "the fleet"
        stderr.print(f"{what}: {name}, for the reason above", style="red")
    judged = list[Judgement]()
    if outcomes:
        new = against.new(runs)
        judged = list(judgements(new, parsing.limits(options.output.fail_on), diffs))
        problems = [f"Not set beside its baseline: {each}" for each in against.problems]
        ci.say(judged, stderr, problems)
        ci.tell_github(runs, judged, stderr, problems, beside)
        about = (judged, problems, str(options.output.export_ci))
        render = partial(ci.rendered, runs, new, *about)
        exports.write(render, "" if any(o.lost for o in outcomes) else REPORT)
    lacking = bool(against.problems) or not is_profiled
    end(ends, outcomes, stderr, judged, strict=options.output.strict, lacking=lacking)


def _profile(asked: Job, ends: Ends, out: Console, stderr: Console) -> bool:
    from benchbox.cli import profile  # here, as few runs need it

    return profile.after_timing(asked, ends, out, stderr)


def end(
    ends: Ends,
    outcomes: Sequence[Outcome],
    stderr: Console,
    judged: Sequence[Judgement] = (),
    *,
    strict: bool,
    lacking: bool = False,
) -> None:
    """Exit with the code that the outcomes ask for; their tables are printed by now.

    `lacking` says that a case could not be set beside its baseline, or not be profiled.
    """
    if ends.interrupted:
        again = "; `--resume` goes on from here" if outcomes else ""
        stderr.print(f"Interrupted{again}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    for bug in ends.bugs.values():
        raise bug
    if ends.failures:
        raise typer.Exit(ends.failures[min(ends.failures)].exit_code)
    if code := exit_code(outcomes, judged, strict=strict, lacking=lacking):
        raise typer.Exit(code)


def measured(asked: Job, stderr: Console) -> Ends:
    """Measure on every device, with a live view of all."""
    requests, count = asked.requests, len(asked.cases)
    hardware = [request.device.hardware for request in requests]
    turns = max(map(hardware.count, hardware))
    if text := load_options.announcement(requests[0].plan, count, turns):
        stderr.print(text)
    plan, few = requests[0].plan, PUBLISHED.sessions
    wanted = processes_for(plan.precision, plan.max_time_s)
    if plan.margin is None and plan.sessions == wanted > few:
        precision = f"±{100 * plan.precision:g}%"
        stderr.print(f"{plan.sessions} processes in turn, as {precision} takes more than {few}")

    def stopping() -> None:
        stderr.print("Interrupted, ending; Ctrl-C again leaves at once.", style="yellow")

    known = [job.newest(request) for request in requests]
    try:
        with Lives(stderr, count, [request.device for request in requests]) as lives:
            return asked.run(lives, lambda index, error: lives[index].failed(error), stopping)
    except KeyboardInterrupt:  # before there was anything, or for the second time
        kept = [path for r, was in zip(requests, known, strict=True) if (path := _kept(r, was))]
        if not kept:
            raise
        for path in kept:
            stderr.print(f"Records so far: {path}")
        stderr.print("Interrupted; `--resume` goes on from here.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None


def on_fleet(asked: Job, stderr: Console, options: Options) -> Ends:
    """Measure on the devices of a fleet."""
    from benchbox.cli import fleet_run  # here, as few runs are

    return fleet_run.measured(asked, stderr, options.fleet)


def _kept(request: Request, before: Path | None) -> Path | None:
    """The file of a run that did not end, None without one; `before` existed before the run."""
    path = job.newest(request)
    if path is None or (path == before and not request.resume):
        return None
    return path


def epilogue(stderr: Console, outcome: Outcome) -> None:
    """Print the warnings of a run, and where its records are."""
    for warning in outcome.run.warnings:
        stderr.print(f"Warning: {warning}", style="yellow")
    if outcome.lost:
        stderr.print(f"Error: {outcome.lost}", style="red")
    else:
        stderr.print(f"Records: {outcome.run.path}")


def exit_code(
    outcomes: Sequence[Outcome], judged: Sequence[Judgement], *, strict: bool, lacking: bool = False
) -> int:
    """The exit code of a command with these outcomes; what is certain comes first."""
    if any(each.kept == "over" for each in judged):
        return OVER_LIMIT
    statuses = {record.status for outcome in outcomes for record in outcome.run.records}
    if (
        lacking
        or "failed" in statuses
        or any(outcome.lost or outcome.failed for outcome in outcomes)
    ):
        return CASE_FAILED
    if not strict:
        return 0
    if judged:  # then they decide, however wide other intervals are
        return UNCLEAR if any(each.kept == "unclear" for each in judged) else 0
    if "imprecise" in statuses:
        return IMPRECISE
    return UNCLEAR if any(claims.is_unclear(outcome.run) for outcome in outcomes) else 0

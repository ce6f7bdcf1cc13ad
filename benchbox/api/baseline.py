"""Jobs against a baseline: its graphs timed beside the new ones, or its figures kept in a file."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from benchbox import host, runner, specs
from benchbox.api import job, parsing, revision
from benchbox.api.job import Job
from benchbox.api.options import JobOptions
from benchbox.api.selection import file_name, run_name
from benchbox.errors import BenchboxError, CaseError, RecordError, UsageError
from benchbox.export import Graph
from benchbox.records import Context, Record, Run, baselines, differences
from benchbox.records.diff import RunDiff, both, diff
from benchbox.report.changes import changes
from benchbox.report.diff import machine
from benchbox.report.text import few, listed
from benchbox.runner.prepare import prepare
from benchbox.runner.record import record as bare
from benchbox.specs import COMPARE, BlockSpec, Case, Checkout, OnnxFile, Selection

MARGIN = "1%"
MANIFEST = "manifest.json"
MOST_MB = 64


@dataclass(frozen=True, slots=True)
class Against:
    """A job, the kept runs that its figures are set beside, and what cannot be set beside it.

    With a `label` the job times old graphs too, whose cases are called `name@label`; with a `name`
    it is against that baseline, of which there may be nothing to use.
    """

    job: Job
    name: str = ""
    label: str = ""
    kept: Sequence[Run] = ()
    problems: list[str] = field(default_factory=list)

    def new(self, runs: Sequence[Run]) -> list[Run]:
        """The runs without the old graphs, which no limit and no file of CI is about."""
        if not self.label:
            return list(runs)
        return [
            replace(run, records=[r for r in run.records if not self._is_old(r)]) for run in runs
        ]

    def _is_old(self, record: Record) -> bool:
        return record.case == record.reference and f"@{self.label}" in record.case

    def same(self, runs: Sequence[Run]) -> list[str]:
        """The cases whose graph is that of their old one, each once."""
        found = list[str]()
        for run in runs if self.label else ():
            old = {each.case: each.sha256 for each in run.records if self._is_old(each)}
            new = [each for each in run.records if each.case not in old and each.sha256]
            found += [each.case for each in new if each.sha256 == old.get(each.reference)]
        return list(dict.fromkeys(found))

    def diffs(self, runs: Sequence[Run]) -> list[RunDiff] | None:
        """The runs beside the kept ones of their machines, None where figures have no baseline.

        Cases of one alone are problems.
        """
        if not self.name:
            return None
        found = list[RunDiff]()
        for run in runs:
            kept = baselines.of_machine(self.kept, run.context)
            if kept is None:
                continue
            between = diff(kept, run, parsing.share(MARGIN))
            fitting = [p for p in between.pairs if not self._is_other(kept, p.a, run, p.b)]
            found.append(replace(between, pairs=fitting))
            ours, theirs = ({id(getattr(p, each)) for p in between.pairs} for each in ("b", "a"))
            for record in run.records:
                if id(record) not in ours:
                    self.problems.append(f"{record.case}: not in baseline {self.name}")
            for record in kept.records:
                if id(record) not in theirs:
                    self.problems.append(f"{record.case}: only in baseline {self.name}")
        return found

    def _is_other(self, kept: Run, a: Record, run: Run, b: Record) -> bool:
        """Whether a case was kept at another setting, which is a problem then."""
        apart = differences.of_case(kept.context, a, run.context, b)
        if apart:
            text = "; ".join(changes(apart))
            self.problems.append(f"{b.case}: baseline {self.name} is of another setting: {text}")
        return bool(apart)


@contextmanager
def of_run(options: JobOptions) -> Iterator[Against]:
    """The job of timing cases against the baseline that the options name, if any."""
    against = options.against
    if not (against.name is not None or against.graphs or against.rev is not None):
        yield Against(job.of_run(options))
        return
    if options.load.arrival or options.load.sustained:
        raise UsageError("--baseline: not with --arrival or --sustained")
    if against.graphs and against.rev is not None:
        raise UsageError("--baseline-graphs and --baseline-rev: choose one")
    kept, problems = _kept(against.name)
    if against.graphs:
        label = against.name or against.graphs.resolve().name
        records = [record for run in kept for record in run.records]
        yield _beside(options, _of_folder(options, against.graphs, records, label, problems))
    elif against.rev is not None:
        with revision.checkout(against.rev, options.cases.names) as place:
            yield _beside(options, _of_checkout(options, place, against.rev, problems))
    else:
        plain, name = job.of_run(options), str(against.name)
        _require_fitting(plain, name, kept)
        yield Against(plain, name, kept=kept, problems=problems)


def _kept(name: str | None) -> tuple[list[Run], list[str]]:
    """The runs of a baseline, none of a damaged one, and what is wrong with it."""
    try:
        return (baselines.read(name) if name is not None else []), []
    except RecordError as error:
        return [], [str(error)]


def _require_fitting(plain: Job, name: str, kept: Sequence[Run]) -> None:
    """Raise UsageError for a baseline of other machines alone, or of other settings alone."""
    for request in plain.requests if kept else ():
        try:
            context = job.context_now(request, plain.cases)
        except BenchboxError:
            continue  # the run tells what is wrong with the device
        if run := baselines.of_machine(kept, context):
            _require_setting(plain, name, run, context)
        else:
            known = "; ".join(f"{run.context.device}: {machine(run.context)}" for run in kept)
            raise UsageError(
                f"--baseline {name}: it is of another machine ({known}) than "
                f"{context.device}: {machine(context)}; time its graphs beside the new ones with "
                "--baseline-rev REV or --baseline-graphs DIR, or make one here with "
                f"`benchbox baseline set {name} RUN`"
            )


def _require_setting(plain: Job, name: str, kept: Run, context: Context) -> None:
    """Raise UsageError where no case was kept, or every one at another setting."""
    pairs = _common(plain, kept)
    if not (pairs or plain.stream):
        raise UsageError(
            f"--baseline {name}: it has none of these cases, but "
            f"{few([_short(record.key) for record in kept.records])}; time what it has, or "
            f"`benchbox baseline set {name} RUN` of a run of these"
        )
    apart = [differences.of_case(kept.context, old, context, each) for old, each in pairs]
    if pairs and all(apart):
        raise UsageError(
            f"--baseline {name}: it is of another setting ({'; '.join(changes(apart[0]))}); "
            f"time that, or `benchbox baseline set {name} RUN` of a run at this one"
        )


def _common(plain: Job, kept: Run) -> list[tuple[Record, Record]]:
    """The cases of a baseline that a run has; where names tell of none, by their graphs."""
    named = [bare(index, case, None) for index, case in enumerate(plain.cases)]
    if found := both(kept.records, named):
        return found
    graphs = prepare(plain.requests[0].specs, plain.cases)
    made = (graph if isinstance(graph := graphs[c.key], Graph) else None for c in plain.cases)
    return both(kept.records, list(map(bare, count(), plain.cases, made)))


@dataclass(frozen=True, slots=True)
class _Old:
    """The specs of the old graphs; `gone` are the names of those without any, for `problems`."""

    label: str
    specs: list[BlockSpec]
    problems: list[str]
    gone: set[str] = field(default_factory=set)
    folder: str = ""

    def lacks(self, names: Iterable[str], what: str, error: object) -> None:
        """Keep why specs have no old graphs, without the folder and without their name twice."""
        self.gone.update(names)
        why = str(error).replace(f"{self.folder}/", "").removeprefix(f"{what.partition(':')[0]}: ")
        self.problems.append(f"{what}: {why}")


def _of_checkout(options: JobOptions, place: Checkout, label: str, problems: list[str]) -> _Old:
    """The specs of the run as they are in a checkout."""
    old = _Old(label, [], problems, folder=str(place.folder))
    wanted = [(typed, revision.name_in(place, typed)) for typed in options.cases.names]
    for typed, name in wanted:
        try:
            old.specs.extend(revision.found_in(place, name))
        except BenchboxError as error:
            old.lacks((spec.name for spec in specs.find(typed)), f"{typed}: in {label}", error)
    return old


def _of_folder(
    options: JobOptions, folder: Path, kept: Sequence[Record], label: str, problems: list[str]
) -> _Old:
    """The specs of the run with the graphs of a folder: by manifest, by sha256, or by name."""
    if not folder.is_dir():
        raise UsageError(f"--baseline-graphs {folder}: there is no such folder")
    entries = _manifest(folder, problems)
    recorded = {record.key: record.sha256 for record in kept}

    def file(case: Case) -> Path | None:
        own = [e for e in entries if (e.get("spec"), e.get("case")) == (case.spec, case.name)]
        if wanted := recorded.get(case.key):
            own = [e for e in entries if wanted in (e.get("sha256"), e.get("file_sha256"))] or own
        names = [str(entry.get("file")) for entry in own]
        names += [f"{case.spec}-{case.name}.onnx", f"{case.name}.onnx"]
        if isinstance(case.source, OnnxFile):
            names.append(case.source.path.name)
        return next((path for name in names if (path := folder / name).is_file()), None)

    def with_files(unfold: Callable[[Selection], list[Case]]) -> Callable[[Selection], list[Case]]:
        def cases(selection: Selection) -> list[Case]:
            found = [(case, file(case)) for case in unfold(selection)]
            return [replace(case, source=OnnxFile(path)) for case, path in found if path]

        return cases

    found = specs.find_all(options.cases.names)
    with_old = [replace(spec, unfold=with_files(spec.unfold)) for spec in found]
    return _Old(label, with_old, problems, folder=str(folder))


def _manifest(folder: Path, problems: list[str]) -> list[Mapping[str, object]]:
    """The graphs by the manifest; none of a damaged one, which is a problem."""
    try:
        found = json.loads(host.read_file(folder / MANIFEST, MOST_MB))["graphs"]
        return [entry for entry in found if isinstance(entry, Mapping)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        damaged = f"{folder / MANIFEST} is damaged, files are found by name"
        problems.append(f"{damaged}; `benchbox export` writes it anew")
        return []


def _without(
    unfold: Callable[[Selection], list[Case]], keys: Container[str]
) -> Callable[[Selection], list[Case]]:
    return lambda selection: [case for case in unfold(selection) if case.key not in keys]


def _short(key: str) -> str:
    """A case by spec and name, or by its name alone where it is its spec's only one."""
    spec, _, name = key.partition(":")
    return name if spec == name else key


def _beside(options: JobOptions, old: _Old) -> Against:
    """The job of timing each case beside its old one; alone where that cannot be built."""
    names, label = options.cases.names, old.label
    found = specs.find_all(names)
    plain = job.of_specs(options, found, run_name(names))
    selection = plain.requests[0].selection
    built, keys, failed = list[BlockSpec](), list[str](), set[str]()
    for spec in old.specs:
        try:
            cases = runner.unfold([spec], selection) if spec.unfold(selection) else []
            graphs = prepare([spec], cases)
        except BenchboxError as error:
            old.lacks([spec.name], f"{spec.name}: {label} does not build", error)
            continue
        raised = {
            case.key: reason for case in cases if isinstance(reason := graphs[case.key], CaseError)
        }
        for key, reason in raised.items():
            old.lacks([], f"{_short(key)}: in {label}", reason)
        spec = replace(spec, unfold=_without(spec.unfold, raised))
        failed |= {*raised}
        built += [spec] if len(cases) > len(raised) else []
        keys += [case.key for case in cases]
    ours = [case.key for case in plain.cases if case.spec not in old.gone]
    old.problems.extend(f"{_short(key)}: not in {label}" for key in ours if key not in keys)
    old.problems.extend(f"{_short(key)}: only in {label}" for key in keys if key not in ours)
    if not (set(keys) - failed) & set(ours):
        return Against(plain, label, problems=old.problems)
    spec = specs.beside(
        found, built, label, f"{listed(list(map(job.label, names)))} against {label}"
    )
    name = file_name(f"{COMPARE}-{label}+{run_name(names)}")
    return Against(
        job.of_specs(replace(options, margin=MARGIN), [spec], name),
        label=label,
        problems=old.problems,
    )

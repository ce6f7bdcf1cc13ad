"""Results of a fleet's run: the records of each device in a file of its own, as they come."""

import secrets
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbox import records
from benchbox.errors import RecordError, StorageError
from benchbox.fleet import members
from benchbox.fleet.chunks import Chunk, sha256_of
from benchbox.fleet.members import Member
from benchbox.records import (
    Context,
    Record,
    Run,
    Writer,
    differences,
    model,
    pools,
    reader,
    resume,
    writer,
)
from benchbox.records.differences import Difference
from benchbox.records.indexed_line import IndexedLine
from benchbox.records.model import RECORD, STILL_TIMED
from benchbox.runner.context import facts, planned
from benchbox.runner.request import Outcome, Request
from benchbox.specs import Case

GOOD = ("ok", "imprecise")  # with a figure; whoever resumes times the others again
MOST_SHOWN = 1000  # records that are read again for a table


@dataclass(slots=True)
class DeviceFile:
    """The file of one device's run, whose samples are on disk and nowhere else."""

    writer: Writer
    context: Context
    statuses: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    replaces: bool = False  # whether records of earlier lines count no more

    def append(self, found: Sequence[Record]) -> None:
        """Write records; once the file cannot be, to another in the temporary folder.

        Raises StorageError where that cannot be written, either.
        """
        try:
            self.writer.append(*found)
        except StorageError as error:
            if self.lost:
                raise
            rescued, self.lost = _rescued(self.context, error)
            self.writer.close()
            self.writer = rescued
            self.writer.append(*found)
        self.replaces |= any(record.key in self.statuses for record in found)
        self.statuses |= {each.key: "" if each.is_unfinished else each.status for each in found}

    def outcome(self, *, interrupted: bool, is_shown: bool) -> Outcome:
        """What became of the run on this device, with records to be shown."""
        path = self.writer.path
        if self.replaces and is_shown:
            records.compact(path, self.context)
        self.writer.close()
        run = records.read(path) if is_shown else Run(path, self.context, ())
        return Outcome(run, interrupted, self.lost, "failed" in self.statuses.values())


class Results:
    """The files of a request's run, one for each device that has timed some of it."""

    def __init__(
        self, request: Request, cases: Sequence[Case], member: Member, *, is_pool: bool
    ) -> None:
        """`member` is the device that was asked for by name, or the first of a pool.

        Raises RecordError where an earlier run that is to be resumed was of other settings.
        """
        self._request, self._member = request, member
        self._pool = pool = member.identity if is_pool else ""
        self._index = {case.key: index for index, case in enumerate(cases)}
        self._plan = planned(request, cases)
        if pool or not cases:  # how many of the cases a device gets is not known before
            self._plan = {**self._plan, **({"pool": pool} if pool else {}), "cases": None}
        self._specs = facts(request)
        self._previous = self._earlier() if request.resume else {}
        self._begun = {
            device: {record.key: record for record in run.records}
            for device, (run, _) in self._previous.items()
        }
        if pool:
            before = (run.context.plan.get("together") for run, _ in self._previous.values())
            self._plan["together"] = next(filter(None, before), secrets.token_hex(8))
        self.files: dict[str, DeviceFile] = {}

    def done(self) -> set[tuple[str, str]]:
        """The cases that an earlier run on these devices has, by key and sha256 of the graph."""
        return {each for _, statuses in self._previous.values() for each in statuses}

    def has(self, device: str, key: str, sha256: str) -> bool:
        """Whether an earlier run on a device has a case."""
        before = self._previous.get(device)
        return before is not None and (key, sha256) in before[1]

    def outcomes(self, *, interrupted: bool) -> list[Outcome]:
        """What became of the run on each device; of one that had nothing to add, what it has."""
        counts = {device: len(done) for device, (_, done) in self._previous.items()}
        counts |= {device: len(file.statuses) for device, file in self.files.items()}
        is_shown = sum(counts.values()) <= MOST_SHOWN
        files = self.files.values()
        found = [file.outcome(interrupted=interrupted, is_shown=is_shown) for file in files]
        for device, (run, _) in self._previous.items():
            if device not in self.files:
                own = records.read(run.path) if is_shown else run
                found.append(Outcome(own, interrupted, ""))
        return found

    def has_begun(self, device: str, chunk: Chunk) -> bool:
        """Whether a device has measured some of a chunk before that was cut short."""
        return not self._begun.get(device, {}).keys().isdisjoint(chunk.wanted)

    def unfinished(self, device: str, chunk: Chunk) -> str:
        """What a device has measured of a chunk before that was cut short, as lines of a run.

        Rounds of several tasks are never set beside each other: where a reference goes along with
        parts of its group, it is timed anew.
        """
        begun, cases = self._begun.get(device, {}), chunk.cases
        if self._request.plan.margin is None and not all(case.is_reference for case in cases):
            cases = [case for case in cases if not case.is_reference]
        found = [begun[case.key] for case in cases if case.key in begun]
        found = [each for each in found if each.sha256 == sha256_of(chunk.graphs[each.key])]
        if not found:
            return ""
        file = self.files.get(device)
        context = file.context if file else self._previous[device][0].context
        return writer.text(Run(Path(), context, found))

    def take(self, device: str, lines: str, chunk: Chunk, *, is_part: bool = False) -> list[Record]:
        """Keep the records of a task, or of a part of it; those that are new.

        What had no call on a device that was too slow is left out, the first time.
        """
        run = records.read(Path(f"the reply of {device}"), lines.encode())
        self._require_asked(run, chunk)
        if is_part:
            found = [_unfinished(each) for each in run.records if _has_samples(each)]
        else:
            found = [each for each in run.records if chunk.before or not _is_untimed(each)]
        if not found:
            return []
        file = self.files.get(device) or self._open(device, run.context)
        taken = [
            replace(record, index=self._index.get(record.key, chunk.places[record.key]))
            for record in found
            # What is not wanted is a reference, which this device may have timed before.
            if record.key in chunk.wanted or file.statuses.get(record.key) not in GOOD
        ]
        file.append(taken)
        self._note(device, taken)
        return taken

    def _note(self, device: str, taken: Sequence[Record]) -> None:
        """Note what a task may go on from: in a comparison, with all that it is compared with."""
        begun = self._begun.setdefault(device, {})
        for record in taken:
            is_paired = self._request.plan.margin is not None and record.has_samples
            if record.is_unfinished or is_paired:
                begun[record.key] = record
            else:
                begun.pop(record.key, None)

    def _require_asked(self, run: Run, chunk: Chunk) -> None:
        """Raise RecordError for records of what nobody asked for."""
        for record in run.records:
            graph = chunk.graphs.get(record.key)
            if graph is None or record.sha256 not in ("", sha256_of(graph)):
                raise RecordError(f"a record of what was not asked for: {record.key!r}")

    def _open(self, device: str, context: Context) -> DeviceFile:
        own = replace(
            context,
            device=device,
            name=self._request.name,
            created=records.now(),
            plan={**context.plan, **self._plan},
            specs=self._specs,
        )
        before = self._previous.get(device)
        if before and not differences.of_samples(before[0].context, own):
            run, statuses = before
            file = DeviceFile(records.reopen(run), run.context, replaces=True)
            file.statuses |= {key: "ok" for key, _ in statuses}
        else:
            file = _created(self._request.results, own)
        self.files[device] = file
        return file

    def _earlier(self) -> Mapping[str, tuple[Run, Collection[tuple[str, str]]]]:
        """The newest run of that name of each device of the target, with what it has."""
        found: dict[str, tuple[Run, Collection[tuple[str, str]]]] = {}
        results, name = self._request.results, self._request.name
        for folder in sorted(path for path in results.glob("*") if path.is_dir()):
            path = records.latest(results, folder.name, name)
            if path is None or (not self._pool and folder.name != self._request.device.name):
                continue
            run, done = _earlier(path, is_paired=self._request.plan.margin is not None)
            context = run.context
            if (context.plan.get("pool") or "") == self._pool:
                resume.require_none(path, self._differences(context))
                found[folder.name] = run, done
        return found

    def _differences(self, before: Context) -> list[Difference]:
        """What forbids to show figures of an earlier run as those that are asked for now."""
        plan = {name: before.plan.get(name) for name in differences.DRIVING}
        now = replace(
            before,
            threads=self._request.device.threads or self._member.threads or before.threads,
            channels=self._request.selection.channels,
            seed=self._request.plan.seed,
            plan=plan | self._plan,
        )
        kind = pools.kind(before.host, before.versions)
        shown = [Difference(n, kind[n], getattr(self._member, n)) for n in members.SHOWN]
        return differences.of_samples(before, now) + [
            each for each in shown if each.was != each.now
        ]


def _created(results: Path, context: Context) -> DeviceFile:
    try:
        return DeviceFile(records.create(results, context), context)
    except StorageError as error:
        writer, lost = _rescued(context, error)
        return DeviceFile(writer, context, lost=lost)


def _rescued(context: Context, error: StorageError) -> tuple[Writer, str]:
    """A file in the temporary folder, and what to say of it; raises the error without one."""
    try:
        writer = records.create(Path(tempfile.mkdtemp(prefix="benchbox-")), context)
    except (StorageError, OSError):
        raise error from None
    return writer, f"{error}; records from then on are in {writer.path}"


def _has_samples(record: Record) -> bool:
    return record.has_samples and record.status in GOOD


def _is_untimed(record: Record) -> bool:
    """Whether a case had no call, as its device was too slow."""
    return record.status == "imprecise" and not (record.latency or record.is_unfinished)


def _unfinished(record: Record) -> Record:
    return replace(record, status="imprecise", reason=STILL_TIMED)


@dataclass(frozen=True, slots=True)
class _StatusLine(IndexedLine):
    """A line of a record as far as whoever resumes its run has it."""

    reason: str = ""


def _earlier(path: Path, *, is_paired: bool) -> tuple[Run, set[tuple[str, str]]]:
    """A run with the records that are gone on from, and the cases that it has by key and sha256.

    Of the others no sample is kept; those of a comparison go on together.
    """
    done, texts = set[tuple[str, str]](), dict[tuple[str, str], bytes]()
    for _, line, text in reader.scan(path, _StatusLine, []):
        if isinstance(line, Context) or line.kind != RECORD:
            continue
        key = (f"{line.spec}:{line.case}", line.sha256)
        done.discard(key)  # the last one counts
        texts.pop(key, None)
        is_unfinished = model.is_unfinished(line.status, line.reason)
        if line.status in GOOD and line.latency is not None and not is_unfinished:
            done.add(key)
        if is_unfinished or (is_paired and line.status in GOOD):
            texts[key] = text
    return records.read(path, b"".join([reader.first_line(path), *texts.values()])), done

"""File of a device in a fleet's run: its records on disk as they come, and what it has by now."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchbox import records
from benchbox.errors import StorageError
from benchbox.records import Context, Record, Run, Writer, model, reader
from benchbox.records.indexed_line import IndexedLine
from benchbox.records.model import RECORD
from benchbox.runner.request import Outcome

GOOD = ("ok", "imprecise")  # with a figure; whoever resumes times the others again


@dataclass(slots=True)
class DeviceFile:
    """The file of one device's run, whose samples are on disk and nowhere else.

    `statuses` are those of the cases that it has, by key and sha256 of the graph; of earlier
    commands they are of cases with a figure alone. `begun` has what a task may go on from.
    """

    writer: Writer
    context: Context
    statuses: dict[tuple[str, str], str] = field(default_factory=dict)
    begun: dict[str, Record] = field(default_factory=dict)
    lost: str = ""
    is_earlier: bool = False  # whether all of it is of earlier commands
    replaces: bool = False  # whether records of earlier lines count no more

    def append(self, found: Sequence[Record], *, is_comparison: bool) -> None:
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
        self.replaces |= self.is_earlier
        self.is_earlier = False
        for record in found:
            graph = (record.key, record.sha256)
            self.replaces |= record.key in self.begun or graph in self.statuses
            if not record.is_unfinished:
                self.statuses[graph] = record.status
            if record.is_unfinished or (is_comparison and record.has_samples):
                self.begun[record.key] = record  # of a comparison with all that it is set beside
            else:
                self.begun.pop(record.key, None)

    def outcome(self, *, interrupted: bool, is_shown: bool) -> Outcome:
        """What became of the run on this device, with records to be shown."""
        path = self.writer.path
        if self.replaces and is_shown:
            records.compact(path, self.context)
        self.writer.close()
        run = records.read(path) if is_shown else Run(path, self.context, ())
        return Outcome(run, interrupted, self.lost, "failed" in self.statuses.values())


def created(results: Path, context: Context) -> DeviceFile:
    """A new file of a device, in the temporary folder where it can be nowhere else."""
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


def reopened(
    path: Path, newest: dict[str, tuple[float, str]], *, is_comparison: bool
) -> DeviceFile:
    """The file of an earlier command, locked, as read since then.

    `newest` gets when each case was asked for last, and of which graph. Raises RecordError where
    another run writes to it.
    """
    run = records.read(path, reader.first_line(path))
    writer = records.reopen(run)
    statuses, begun = _kept(path, newest, is_comparison=is_comparison)
    return DeviceFile(writer, run.context, statuses, begun, is_earlier=True)


@dataclass(frozen=True, slots=True)
class _StatusLine(IndexedLine):
    """A line of a record as far as whoever resumes its run has it."""

    reason: str = ""
    asked_s: float = 0.0


def _kept(
    path: Path, newest: dict[str, tuple[float, str]], *, is_comparison: bool
) -> tuple[dict[tuple[str, str], str], dict[str, Record]]:
    """The cases that a file has a figure of, and the records that are gone on from.

    Of the others no sample is kept; those of a comparison go on together.
    """
    done, texts = dict[tuple[str, str], str](), dict[tuple[str, str], bytes]()
    for _, line, text in reader.scan(path, _StatusLine, []):
        if isinstance(line, Context) or line.kind != RECORD:
            continue
        key = (f"{line.spec}:{line.case}", line.sha256)
        newest[key[0]] = max((line.asked_s, key[1]), newest.get(key[0], (0.0, "")))
        done.pop(key, None)  # the last one counts
        texts.pop(key, None)
        is_unfinished = model.is_unfinished(line.status, line.reason)
        if line.status in GOOD and line.latency is not None and not is_unfinished:
            done[key] = line.status
        if is_unfinished or (is_comparison and line.status in GOOD):
            texts[key] = text
    run = records.read(path, b"".join([reader.first_line(path), *texts.values()]))
    return done, {record.key: record for record in run.records}

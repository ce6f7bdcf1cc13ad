"""Journal of a run: its file or, once that cannot be written any more, a rescue file."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import records
from benchbox.errors import StorageError
from benchbox.records import Context, Record, Run, Writer
from benchbox.records.profile import CaseProfile


class Journal:
    """The records of a run in progress, in memory and on disk.

    A results folder that fails in mid-run must not cost what was measured: everything then goes to
    a file in the system's temporary folder, and `lost` says so.
    """

    def __init__(self, folder: Path, context: Context, previous: Run | None = None) -> None:
        self._writer: Writer | None = (
            records.create(folder, context) if previous is None else records.reopen(previous)
        )
        self.path = self._writer.path
        self.context = context
        self.records: dict[str, Record] = {}
        self.warnings: list[str] = []
        self.lost = ""
        self._earlier: dict[tuple[str, str], Record] = {}
        self._profiles: Sequence[CaseProfile] = ()
        self._replaced = previous is not None  # its context line then is that of both
        if previous is not None:
            # Read again under the lock: another run may have added to it since.
            read = records.read(self.path)
            self.records = {record.key: record for record in read.records}
            self._earlier = {(record.key, record.sha256): record for record in read.earlier}
            self._profiles = read.profiles
            self.warnings = list(previous.warnings)
            self.context = _together(previous.context, context)

    def append(self, record: Record) -> None:
        """Keep a record; the last one of a case and graph counts."""
        self._replaced |= record.key in self.records
        self._set_aside(record.key, record.sha256)
        self._earlier.pop((record.key, record.sha256), None)
        self.records[record.key] = record
        if self._writer is None:
            return
        try:
            self._writer.append(record)
        except StorageError as error:
            self._rescue(error)

    def go_on_with(self, graphs: Mapping[str, str]) -> None:
        """Have `records` hold those of these graphs only, sha256 by case, and keep the others.

        A case whose graph is not known stays as it is.
        """
        for key, sha256 in graphs.items():
            self._set_aside(key, sha256)
            if (back := self._earlier.get((key, sha256))) is not None:
                self.append(back)  # so that it is the newest of its case again

    def _set_aside(self, key: str, sha256: str) -> None:
        """Make room for a record of a graph where there is one of another."""
        before = self.records.get(key)
        if before is not None and before.sha256 != sha256:
            del self.records[key]
            if before.has_samples:
                self._earlier[key, before.sha256] = before

    def _rescue(self, error: StorageError) -> None:
        self._replaced = False  # the file cannot be written, so not anew either
        self._shut()
        try:
            folder = Path(tempfile.mkdtemp(prefix="benchbox-"))
            self._writer = records.create(folder, self.context)
            for record in (*self._earlier.values(), *self.records.values()):
                self._writer.append(record)
            self.lost = f"{error}; all records are in {self._writer.path} instead"
        except (StorageError, OSError):
            self._shut()
            self.lost = f"{error}; nor can the temporary folder: export the table from this run"

    @property
    def run(self) -> Run:
        """The run as a reader of its file would see it."""
        newest, earlier = map(records.ordered, (self.records.values(), self._earlier.values()))
        return Run(self.path, self.context, newest, self.warnings, earlier, self._profiles)

    def close(self) -> None:
        """Close the file and give up its lock; records that later ones replaced leave it."""
        if self._writer is not None and self._writer.is_deleted:
            self._rescue(StorageError(f"{self.path}: the file was deleted"))
        if self._replaced and not self.lost:
            records.compact(self.path, self.context)
        self._shut()

    def _shut(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _together(old: Context, new: Context) -> Context:
    """The context of a run that goes on: as it began, with the plan and the specs of now."""
    gone = [spec for spec in old.specs if spec.name not in {each.name for each in new.specs}]
    return replace(old, plan={**old.plan, **new.plan}, specs=[*new.specs, *gone])

"""Journal of a run: its file or, once that cannot be written any more, a rescue file."""

import tempfile
from dataclasses import replace
from pathlib import Path

from benchbox import records
from benchbox.errors import StorageError
from benchbox.records import Context, Record, Run, Writer


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
        self._replaced = previous is not None  # its context line then has the plan of both
        if previous is not None:
            # Read again under the lock: another run may have added to it since.
            self.records = {record.key: record for record in records.read(self.path).records}
            self.warnings = list(previous.warnings)
            self.context = replace(previous.context, plan=context.plan)

    def append(self, record: Record) -> None:
        """Keep a record; the last one of a case counts."""
        self._replaced |= record.key in self.records
        self.records[record.key] = record
        if self._writer is None:
            return
        try:
            self._writer.append(record)
        except StorageError as error:
            self._rescue(error)

    def _rescue(self, error: StorageError) -> None:
        self._replaced = False  # the file cannot be written, so not anew either
        self.close()
        try:
            folder = Path(tempfile.mkdtemp(prefix="benchbox-"))
            self._writer = records.create(folder, self.context)
            for record in self.records.values():
                self._writer.append(record)
            self.lost = f"{error}; all records are in {self._writer.path} instead"
        except (StorageError, OSError):
            self.close()
            self.lost = f"{error}; nor can the temporary folder: export the table from this run"

    @property
    def run(self) -> Run:
        """The run as a reader of its file would see it."""
        return Run(self.path, self.context, records.ordered(self.records.values()), self.warnings)

    def close(self) -> None:
        """Close the file and give up its lock; records that later ones replaced leave it."""
        if self._writer is not None:
            if self._replaced and not self.lost:
                records.compact(self.run)
            self._writer.close()
            self._writer = None

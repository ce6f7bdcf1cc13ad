"""Archive of old runs: their files packed by gzip, which every reader unpacks, or removed."""

import gzip
import os
from datetime import datetime
from pathlib import Path

from benchbox import host
from benchbox.errors import RecordError, StorageError
from benchbox.records.model import PACKED
from benchbox.records.names import Wanted
from benchbox.records.reader import NO_DATE, dated, newest_first
from benchbox.records.writer import held


def begun_before(date: datetime, wanted: Wanted) -> list[Path]:
    """The files of runs begun before a date, the oldest first; none whose name has no date.

    Raises RecordError where there is no such folder.
    """
    if not wanted.results.is_dir():
        raise RecordError(f"{wanted.results}: no such folder; another is --results")
    folders = [path for path in wanted.results.glob("*") if path.is_dir()]
    old = [path for path in newest_first(folders) if NO_DATE < dated(path) < date]
    return [path for path in reversed(old) if wanted.takes(path)]


def change(path: Path, *, pack: bool) -> int:
    """Pack a file, or remove it with a packed one beside it; the bytes that this frees.

    Raises RecordError while a run writes to it, StorageError where it cannot be changed.
    """
    try:
        with held(path):
            data = host.read_file(path)
            freed = len(data)
            packed = path.with_name(path.name + PACKED)
            if pack:
                status = path.stat()
                smaller = gzip.compress(data, mtime=0)
                host.write(packed, smaller, status.st_mode & 0o777)
                os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
                freed -= len(smaller)
            else:
                packed.unlink(missing_ok=True)
            path.unlink()
            return freed
    except OSError as error:
        what = "packed" if pack else "removed"
        raise StorageError(f"{path}: cannot be {what}: {error.strerror or error}") from None

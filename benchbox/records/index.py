"""Index of a results folder: its runs and cases without their samples, in SQLite.

It is in the cache folder, made from the records whenever they are newer, and never the truth: a
file that is damaged, or that cannot be written, is made anew or done without. SQLite would not
notice most of what is damaged, so the file has a checksum. It is read once, into memory, and
replaced as a whole, so that two processes may use it at once.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchbox import __version__, host
from benchbox.records import reader
from benchbox.records.model import STATUSES, Context, Status, stem

if TYPE_CHECKING:
    from benchbox.records.indexed_line import Rows

# Texts that are in many rows have numbers there; those of an entry are of a case and a graph.
# Pages of 8 kB take a third of the time of smaller ones to copy.
TABLES = """
PRAGMA page_size = 8192;
CREATE TABLE file (path BLOB PRIMARY KEY, changed_ns INTEGER, size INTEGER, error TEXT);
CREATE TABLE run (
    id INTEGER PRIMARY KEY, path BLOB, place INTEGER, size INTEGER, name TEXT, created TEXT,
    device TEXT, ok INTEGER, imprecise INTEGER, failed INTEGER, skipped INTEGER, planned INTEGER,
    conditions INTEGER, machine INTEGER);
CREATE TABLE context (run INTEGER PRIMARY KEY, facts TEXT);
CREATE TABLE figures (run INTEGER PRIMARY KEY, packed BLOB);
CREATE TABLE entry (run INTEGER, name INTEGER, graph INTEGER);
CREATE TABLE text (number INTEGER PRIMARY KEY, text TEXT);
CREATE INDEX run_of_path ON run (path);
CREATE INDEX entry_of_run ON entry (run);
CREATE INDEX entry_of_graph ON entry (graph);
CREATE INDEX entry_of_name ON entry (name);
INSERT INTO text VALUES (0, '');
"""
MEANING = 6  # of what is in the tables, such as what sets histories apart
VERSION = zlib.crc32(f"{__version__} {MEANING} {TABLES}".encode())
SEAL = slice(68, 72)  # where the checksum is: an SQLite file has an application's number there


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run as a list shows it: `file` is that in its folder, `cases` counts them by status.

    `planned` is how many there were to be, None of runs that do not tell.
    """

    results: Path
    file: str
    name: str
    created: str
    device: str
    size_bytes: int
    cases: Mapping[Status, int]
    planned: int | None = None

    @property
    def path(self) -> Path:
        """The file of the run."""
        return self.results / self.file

    @property
    def stem(self) -> str:
        """The name of the file, without its folder and its ending."""
        return stem(self.file)


class DatedRun(NamedTuple):
    """A run of a history: when, its file, which run of that, and what the index has of it.

    `packed` are the figures of all its cases, as rows of each would take longer to fetch than all
    that is computed.
    """

    created: str
    path: bytes
    place: int
    number: int
    machine: int
    conditions: int
    packed: bytes


class Index:
    """The index of a results folder, as its files are now."""

    def __init__(self, results: Path, reading: Callable[[int], object] = lambda _: None) -> None:
        """Read the files that are new or changed; `reading` hears how many there are."""
        self._results = results
        file = _file(results)
        self._tables = _read(file)
        if self._update(reading):
            _write(file, self._tables)

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self._tables.close()

    def runs(self) -> list[ListedRun]:
        """All runs, the newest first."""
        rows = self._tables.execute(
            f"SELECT path, name, created, device, size, planned, {', '.join(STATUSES)} "  # noqa: S608
            "FROM run ORDER BY created DESC, path DESC, place DESC"
        )
        return [
            ListedRun(
                *(self._results, os.fsdecode(path), name, created, device, size),
                {status: n for status, n in zip(STATUSES, counts, strict=True) if n},
                planned,
            )
            for path, name, created, device, size, planned, *counts in rows
        ]

    def unreadable(self) -> dict[Path, str]:
        """The files that cannot be read, each with an error line."""
        rows = self._tables.execute("SELECT path, error FROM file WHERE error <> '' ORDER BY path")
        paths = {self._results / os.fsdecode(path): error for path, error in rows}
        return {path: f"{path}{error}" for path, error in paths.items()}

    def contexts(self, device: str, since: str) -> Iterator[tuple[int, Path, Context]]:
        """Yield number, file and context, but for its specs, of each run on a device since then."""
        rows = self._tables.execute(
            "SELECT id, path, facts FROM run JOIN context ON run.id = context.run "
            "WHERE device = ? AND created >= ?",
            (device, since),
        )
        for number, path, facts in rows:
            yield number, self._results / os.fsdecode(path), Context(**json.loads(facts), specs=())

    def context(self, number: int) -> Context:
        """The context of a run, but for its specs."""
        ((facts,),) = self._tables.execute("SELECT facts FROM context WHERE run = ?", (number,))
        return Context(**json.loads(facts), specs=())

    def names(self) -> list[str]:
        """The specs and names of all cases, as in `g2:groups=1`."""
        rows = self._tables.execute(
            "SELECT text FROM text WHERE text <> '' "
            "AND EXISTS (SELECT 1 FROM entry WHERE name = number) ORDER BY text"
        )
        return [name for (name,) in rows]

    def dated(self, since: str) -> list[DatedRun]:
        """The runs since then, the oldest first."""
        rows = self._tables.execute(
            "SELECT created, path, place, id, machine, conditions, packed "
            "FROM run JOIN figures ON id = run WHERE created >= ?",
            (since,),
        )
        return sorted(map(DatedRun._make, rows))

    def texts(self) -> dict[int, str]:
        """The texts that have numbers in dated runs."""
        return dict(self._tables.execute("SELECT * FROM text"))

    def of_graph(self, sha256: str) -> list[int]:
        """The numbers of the runs that have a graph, the newest first."""
        rows = self._tables.execute(
            "SELECT DISTINCT run.id FROM text JOIN entry ON entry.graph = number "
            "JOIN run ON run.id = entry.run WHERE text = ? ORDER BY created DESC, path DESC",
            (sha256,),
        )
        return [number for (number,) in rows]

    def _update(self, reading: Callable[[int], object]) -> bool:
        """Read what is new or changed; whether there was anything."""
        stamps = self._tables.execute("SELECT path, changed_ns, size FROM file")
        known = {os.fsdecode(path): (changed, size) for path, changed, size in stamps}
        there = dict(_files(self._results))
        changed = [path for path, stamp in there.items() if known.get(path) != stamp]
        gone = known.keys() - there.keys()
        if changed:
            reading(len(changed))
        if not changed and not gone:
            return False
        from benchbox.records import indexed_line  # here, as it takes a fifth of a list's time

        read = [(path, *indexed_line.read(self._results / path)) for path in changed]
        with self._tables:
            numbers = dict(self._tables.execute("SELECT text, number FROM text"))
            for path in (*gone, *changed):
                self._remove(path)
            for path, runs, error in read:
                self._tables.execute(
                    "INSERT INTO file VALUES (?, ?, ?, ?)",
                    (os.fsencode(path), *there[path], indexed_line.storable(error)),
                )
                for place, rows in enumerate(runs):
                    self._add((os.fsencode(path), place, there[path][1]), rows, numbers)
            self._tables.executemany("INSERT OR IGNORE INTO text VALUES (?2, ?1)", numbers.items())
        return True

    def _remove(self, name: str) -> None:
        path = os.fsencode(name)
        of_path = "(SELECT id FROM run WHERE path = ?)"
        for table in ("entry", "context", "figures"):
            self._tables.execute(f"DELETE FROM {table} WHERE run IN {of_path}", (path,))  # noqa: S608
        self._tables.execute("DELETE FROM run WHERE path = ?", (path,))
        self._tables.execute("DELETE FROM file WHERE path = ?", (path,))

    def _add(self, file: tuple[bytes, int, int], rows: "Rows", numbers: dict[str, int]) -> None:
        """Add a run by its file, its place there and the size of that; `numbers` are of texts."""
        machine, packed, entries = rows.numbered(numbers)
        run = self._tables.execute(
            f"INSERT INTO run VALUES (NULL{', ?' * 13})",  # noqa: S608
            (*file, *rows.run, machine),
        ).lastrowid
        self._tables.execute("INSERT INTO context VALUES (?, ?)", (run, rows.facts))
        self._tables.execute("INSERT INTO figures VALUES (?, ?)", (run, packed))
        self._tables.executemany(
            "INSERT INTO entry VALUES (?, ?, ?)", ((run, *entry) for entry in entries)
        )


def _file(results: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(results.resolve())).hexdigest()
    return host.cache_folder() / "index" / f"{digest[:32]}.sqlite"


def _read(file: Path) -> sqlite3.Connection:
    """The tables of a file in memory, empty where it is damaged or of another version."""
    with contextlib.suppress(OSError, sqlite3.Error):
        data = host.read_file(file)
        if data[SEAL] == _seal(data):
            whole = sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)
            with contextlib.closing(whole):
                return _copied(whole, ":memory:")
    tables = sqlite3.connect(":memory:")
    tables.executescript(TABLES)
    return tables


def _write(file: Path, tables: sqlite3.Connection) -> None:
    """Replace a file by these tables, if that can be."""
    with contextlib.suppress(OSError, sqlite3.Error):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            copy = Path(folder) / file.name
            _copied(tables, copy).close()
            data = copy.read_bytes()
        host.write(file, data[: SEAL.start] + _seal(data) + data[SEAL.stop :])


def _copied(tables: sqlite3.Connection, to: Path | str) -> sqlite3.Connection:
    copy = sqlite3.connect(to)
    tables.backup(copy)
    return copy


def _seal(data: bytes) -> bytes:
    """The checksum of this version for a file but for the place of the checksum."""
    view = memoryview(data)
    before = zlib.crc32(view[: SEAL.start], VERSION)
    return zlib.crc32(view[SEAL.stop :], before).to_bytes(4, "big")


def _files(results: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files of runs in the folders of devices, with when and how they last changed."""
    with contextlib.suppress(OSError), os.scandir(results) as folders:
        for folder in folders:
            with contextlib.suppress(OSError), os.scandir(folder) as files:
                there = {file.name: file for file in files}
                for name in reader.runs(there):
                    yield f"{folder.name}/{name}", _stamp(there[name])


def _stamp(file: "os.DirEntry[str]") -> tuple[int, int]:
    """When a file last changed and its size, of a link to nothing those of the link."""
    try:
        status = file.stat()
    except OSError:
        status = file.stat(follow_symlinks=False)
    return status.st_mtime_ns, status.st_size

"""Names of runs: the files that a name, a glob, a device and a date stand for."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from benchbox.errors import RecordError
from benchbox.records import reader
from benchbox.records.model import SUFFIXES, Run, stem
from benchbox.records.reader import dated, name_of, newest_first

FILES = (".onnx", ".toml")  # that are run, and give the run its name
MOST = 60  # names that a shell is given to complete one
DATES = (4, 6, 8, 11, 13)  # characters of a name up to its year, month, day, hour and minute


@dataclass(frozen=True, slots=True)
class Wanted:
    """A selection of runs in a folder; None allows any device, or any date.

    Without samples their records have but what tables say of these.
    """

    results: Path
    device: str | None = None
    since: datetime | None = None
    with_samples: bool = True

    def takes(self, path: Path) -> bool:
        """Whether a file of the folder is of that device and not older."""
        of_device = self.device is None or fnmatchcase(path.parent.name, self.device)
        return of_device and (self.since is None or dated(path) >= self.since)


def files(name: str | None, wanted: Wanted) -> list[list[Path]]:
    """The files that a name stands for, each with those to take its place if it is broken.

    A name alone, or none, stands for the newest run of that name, or of any; a glob for every run
    that matches it, the newest last. Raises RecordError where there is none.
    """
    if name and (typed := _typed(name)):
        return [[path] for path in typed]
    is_named = reader.named(None) if name is None else matcher(name)
    folders = _folders(wanted.results)
    named = newest_first(folders, lambda path: is_named(path) and wanted.takes(path))
    if name and "/" in name and not (named or is_glob(name)):
        return [[Path(name)]]  # which does not exist
    if not named:
        raise RecordError(missing(name, wanted))
    return [[path] for path in reversed(named)] if name and is_glob(name) else [named]


def readable(
    typed: Iterable[str | None], wanted: Wanted
) -> tuple[list[Run], list[RecordError], list[str]]:
    """The runs of these names, the errors of those that are broken, and what was taken instead.

    In place of a broken file stands the next of its name.
    """
    read, failures, warnings = list[Run](), list[RecordError](), list[str]()
    for name in typed:
        try:
            choices = files(name, wanted)
        except RecordError as error:
            failures.append(error)
            continue
        for choice in choices:
            found, broken = _first_readable(choice, wanted)
            read += found
            if not found:
                failures.append(broken[0])
            else:
                warnings += [f"{error}; shown is {found[0].path}" for error in broken]
    return read, failures, warnings


def _first_readable(paths: Iterable[Path], wanted: Wanted) -> tuple[list[Run], list[RecordError]]:
    """The runs of the first file that is not broken, and the errors of those before it."""
    broken = list[RecordError]()
    for path in paths:
        try:
            return reader.read_all(path, with_samples=wanted.with_samples), broken
        except RecordError as error:
            broken.append(error)
    return [], broken


def is_path(name: str) -> bool:
    """Whether a name is of files or a pattern, and none of runs alone."""
    return is_glob(name) or "/" in name or name.endswith(SUFFIXES)


def is_glob(name: str) -> bool:
    """Whether a name is a pattern."""
    return glob.has_magic(name)


def matcher(name: str) -> Callable[[Path], bool]:
    """Whether a name or a glob is that of a file, with its device and its date or without."""
    if is_glob(name):
        return lambda path: any(fnmatchcase(each, name) for each in _names(path))
    return lambda path: name in _names(path)


def complete(results: Path, begun: str) -> list[str]:
    """The names of runs that begin so, the newest first: with their dates once a digit is typed.

    Of many the beginnings, up to the month, day, hour or minute. A device may stand before it.
    """
    device, slash, begun = begun.rpartition("/")
    folders = [path for path in _folders(results) if device in ("", path.name)]
    is_dated = begun[:1].isdigit()
    stems = [stem(path) for path in newest_first(folders)]
    every = dict.fromkeys(each if is_dated else name_of(each) for each in stems)
    found = [name for name in every if name.startswith(begun)]
    for length in DATES if is_dated and len(found) > MOST else ():
        beginnings = [*dict.fromkeys(name[:length] for name in found)]
        if length > len(begun) and len(beginnings) > 1:
            found = beginnings
            break
    return [f"{device}{slash}{name}" for name in found[:MOST]]


def devices(results: Path) -> list[str]:
    """The devices that have a folder of runs."""
    return [path.name for path in _folders(results)]


def _typed(name: str) -> list[Path]:
    """The files that a path, a folder or a glob of paths stands for, none for a name."""
    if in_folder := _in_folder(Path(name)):
        return in_folder
    if "/" in name and Path(name).is_file():
        return [Path(name)]
    if is_glob(name) and "/" in name:
        every = sorted(map(Path, glob.glob(name)))  # noqa: PTH207 - pathlib's takes no absolute one
        return [path for path in every if path.name.endswith(SUFFIXES)] or every
    return [Path(name)] if name.endswith(SUFFIXES) and not is_glob(name) else []


def _in_folder(folder: Path) -> list[Path]:
    """The runs in a device's folder or in those of all devices, the oldest first."""
    try:
        is_folder = folder.is_dir()
    except OSError:  # no name that a file can have
        is_folder = False
    if not is_folder:
        return []
    return [*reversed(newest_first([folder, *_folders(folder)]))]


def _names(path: Path) -> Iterator[str]:
    whole = str(path)
    yield whole
    device = whole.rpartition("/")[0].rpartition("/")[2]
    for name in (stem(whole), name_of(stem(whole))):
        yield name
        yield f"{device}/{name}"


def _folders(results: Path) -> Sequence[Path]:
    return sorted(path for path in results.glob("*") if path.is_dir())


def missing(name: str | None, wanted: Wanted) -> str:
    """Why there is no run of a name, or none at all."""
    what = f"{wanted.results}: no run{'' if name is None else f' of {name!r}'}"
    if name and name.endswith(FILES):
        return f"{what} here; one of that file is called {Path(name).stem}"
    on = f" on {wanted.device}" if wanted.device else ""
    since = f" since {wanted.since:%Y-%m-%d %H:%M} UTC" if wanted.since else ""
    if on or since or (name and is_glob(name)):
        return f"{what}{on}{since} here; `benchbox report --list` shows all"
    return f"{what} here; name a .jsonl file, or run something first"

"""Checkout of a git revision in a worktree of its own, and what names stand for in it."""

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from benchbox import host, specs
from benchbox.errors import RecordError, SpecError, StorageError, UsageError
from benchbox.export import source_digest
from benchbox.records.writer import held
from benchbox.specs import BlockSpec, Builder, Case, Checkout, OnnxFile, Selection

OPTION = "--baseline-rev"
FULL = os.strerror(errno.ENOSPC)
FATAL, SUBMODULE = "fatal: ", "160000 "  # in what git says
Git = Callable[..., str]


def name_in(place: Checkout, name: str) -> str:
    """A name as spelled for a checkout; raises UsageError where it has no file there."""
    base, only = specs.split(name)
    if _is_module_of(place, base):
        return name
    callable_ = ""
    if not specs.is_file(base) and ".py:" in base:
        base, _, callable_ = base.rpartition(":")
    path = Path(os.path.realpath(Path(base).parent), Path(base).name)
    if not ((callable_ or specs.is_file(base)) and path.is_relative_to(place.top)):
        raise UsageError(
            f"{OPTION}: {name} is no .onnx, .toml, .py:callable or module:callable of this "
            "repository, so no revision has another; --baseline NAME is of recorded figures"
        )
    pairs = ",".join(f"{key}={value}" for key, value in only.items())
    there = place.folder / path.relative_to(place.top)
    return ":".join(filter(None, (str(there), callable_, pairs)))


def _is_module_of(place: Checkout, base: str) -> bool:
    """Whether a name is `module:callable` of the repository of a checkout."""
    if ":" not in base or specs.is_file(base) or ".py:" in base:
        return False
    try:
        file, *_ = source_digest.place(Builder(base))
    except SpecError:
        return False
    return source_digest.moved(file, place) != file


def found_in(place: Checkout, name: str) -> list[BlockSpec]:
    """The specs of a name in a checkout, whose builders import from there."""
    found = specs.find_all([name])
    return [replace(spec, unfold=partial(_unfold, place, spec.unfold)) for spec in found]


def _unfold(
    place: Checkout, unfold: Callable[[Selection], list[Case]], selection: Selection
) -> list[Case]:
    def taken(case: Case) -> Case:
        source = case.source
        if isinstance(source, OnnxFile) or source_digest.is_own(source):
            return case
        path = source.path and source_digest.moved(source.path, place)
        return replace(case, source=replace(source, path=path, checkout=place))

    return list(map(taken, unfold(selection)))


@contextlib.contextmanager
def checkout(revision: str, names: Sequence[str] = ()) -> Iterator[Checkout]:
    """Check a revision out into a new folder, which is removed at the end; no hook runs.

    It is of the repository of the first of `names` that is a file, else of the current folder's.
    Raises UsageError where there is no such revision.
    """
    if not revision.strip():
        raise UsageError(f"{OPTION} '': name a revision, such as origin/main")
    if not shutil.which("git"):
        raise UsageError(f"{OPTION} {revision}: git is not installed")
    git = partial(_git, revision, _home(names))
    top = Path(git("rev-parse", "--show-toplevel"))
    commit = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    git = partial(_git, revision, top)
    ignored = frozenset(_ignored(revision, top))
    place = Path(os.path.realpath(host.cache_folder() / "revisions"))
    place.mkdir(parents=True, exist_ok=True)
    _remove_left(git, place)
    folder = Path(tempfile.mkdtemp(prefix=f"{commit[:12]}-", dir=place))
    _lock(folder).touch()
    with held(_lock(folder)):
        try:
            _add(revision, top, folder, commit)
            yield Checkout(top, folder, commit, ignored)
        finally:
            _remove(git, folder)


def _home(names: Sequence[str]) -> Path:
    """The folder of the first file, or of the first builder's."""
    files = (specs.split(name)[0].partition(".py:") for name in names)
    paths = (Path(base + colon[:3]) for base, colon, _ in files)
    return next((Path(os.path.realpath(p.parent)) for p in paths if p.is_file()), Path.cwd())


def _lock(folder: Path) -> Path:
    """The file that whoever uses a checkout holds; the system frees that of one that was killed."""
    return folder.with_name(f"{folder.name}.lock")


def _remove_left(git: Git, place: Path) -> None:
    """Remove the checkouts of this repository whose runs were killed, and no other worktree."""
    listed = git("worktree", "list", "--porcelain").splitlines()
    ours = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    for folder in ours:
        if folder.parent == place and os.name == "posix":  # other systems have no such lock
            _lock(folder).touch()
            with contextlib.suppress(RecordError), held(_lock(folder)):
                _remove(git, folder)


def _add(revision: str, top: Path, folder: Path, commit: str) -> None:
    """Check a commit out, and the commits of its submodules as far as they are at hand."""
    git = partial(_git, revision, top)
    git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    for name, own in _submodules(git("ls-tree", "-r", "-z", commit)):
        if (top / name / ".git").exists():
            with contextlib.suppress(UsageError):
                _add(revision, top / name, folder / name, own)


def _ignored(revision: str, top: Path) -> Iterator[str]:
    """Yield the files and folders that git ignores, those of submodules too."""
    git = partial(_git, revision, top)
    others = git("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
    yield from (each.rstrip("/") for each in others.split("\0") if each)
    for name, _ in _submodules(git("ls-files", "--stage", "-z")):
        if (top / name / ".git").exists():
            yield from (f"{name}/{each}" for each in _ignored(revision, top / name))


def _submodules(listed: str) -> Iterator[tuple[str, str]]:
    """The folders of submodules in a list of git's, and what it says last of each: its commit."""
    for line in listed.split("\0"):
        facts, _, name = line.partition("\t")
        if facts.startswith(SUBMODULE):
            yield name, facts.split()[-1]


def _remove(git: Git, folder: Path) -> None:
    with contextlib.suppress(UsageError):
        for name, _ in _submodules(_git("", folder, "ls-files", "--stage", "-z")):
            if (folder / name / ".git").exists():
                _remove(partial(_git, "", folder / name), folder / name)
        git("worktree", "remove", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    _lock(folder).unlink(missing_ok=True)


def _git(revision: str, folder: Path, *words: str) -> str:
    done = _run(folder, "-c", f"core.hooksPath={os.devnull}", *words)
    if done.returncode:
        error = StorageError if FULL in done.stderr else UsageError
        raise error(f"{OPTION} {revision}: {_reason(done.stderr)}")
    return done.stdout.strip()


def _reason(said: str) -> str:
    """Why git failed, in one line of what it said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["git failed"]
    told = [line for line in lines if FULL in line] or [
        line for line in reversed(lines) if line.startswith(FATAL)
    ]
    reason = (told or lines[-1:])[0]
    if "single revision" in reason:
        return "there is no such revision here; fetch it first"
    advice = f"; {lines[-1]}" if "dubious ownership" in reason else ""
    return reason.removeprefix(FATAL) + advice


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git; what a hook's git tells of its own repository and index is not for this one."""
    command = ["git", "-C", str(folder), *words]
    env = {name: value for name, value in os.environ.items() if name not in _local_variables()}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, errors="replace", check=False
    )


@cache
def _local_variables() -> frozenset[str]:
    """The variables that are about one repository, but for its settings."""
    words = ["git", "rev-parse", "--local-env-vars"]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    return frozenset(name for name in told if not name.startswith("GIT_CONFIG"))

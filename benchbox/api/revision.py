"""Checkout of a git revision in a worktree of its own, and where named files lie in it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from benchbox import host, specs
from benchbox.errors import RecordError, UsageError
from benchbox.records.writer import held

OPTION = "--baseline-rev"
Git = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A revision in a folder, and the top folder of the repository that it is of."""

    top: Path
    folder: Path

    def name(self, name: str) -> str:
        """A name as spelled for the checkout; raises UsageError where it has no file there."""
        base, only = specs.split(name)
        callable_ = ""
        if not specs.is_file(base) and ".py:" in base:
            base, _, callable_ = base.rpartition(":")
        path = Path(os.path.realpath(Path(base).parent), Path(base).name)
        if not ((callable_ or specs.is_file(base)) and path.is_relative_to(self.top)):
            raise UsageError(
                f"{OPTION}: {name} is no .onnx, .toml or .py:callable of this repository, so no "
                "revision has another; --baseline NAME sets it beside recorded figures"
            )
        pairs = ",".join(f"{key}={value}" for key, value in only.items())
        place = self.folder / path.relative_to(self.top)
        return ":".join(filter(None, (str(place), callable_, pairs)))


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
    top = git("rev-parse", "--show-toplevel")
    commit = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    place = Path(os.path.realpath(host.cache_folder() / "revisions"))
    place.mkdir(parents=True, exist_ok=True)
    _remove_left(git, place)
    folder = Path(tempfile.mkdtemp(prefix=f"{commit[:12]}-", dir=place))
    _lock(folder).touch()
    with held(_lock(folder)):
        try:
            git("worktree", "add", "--quiet", "--detach", str(folder), commit)
            yield Checkout(Path(top), folder)
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


def _remove(git: Git, folder: Path) -> None:
    with contextlib.suppress(UsageError):
        git("worktree", "remove", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    _lock(folder).unlink(missing_ok=True)


def _git(revision: str, folder: Path, *words: str) -> str:
    done = _run(folder, "-c", f"core.hooksPath={os.devnull}", *words)
    if done.returncode:
        reason = next(filter(None, reversed(done.stderr.splitlines())), "git failed")
        if "single revision" in reason:
            reason = "there is no such revision here; fetch it first"
        raise UsageError(f"{OPTION} {revision}: {reason}")
    return done.stdout.strip()


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

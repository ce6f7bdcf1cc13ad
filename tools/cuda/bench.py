"""Runs benchbox, and programs beside it, each with a time limit, and reads what came of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FEWEST_S = 1.0  # that a program is given, however little is left
ENDING_S = 20.0  # that benchbox has to keep what it measured, when its time is over
BLIND = "torch's profiler sees no work on a GPU"
LAST_LINES = 3  # of what a program said, told of one that failed


class NotRun(Exception):  # noqa: N818 - no error, but what is said instead of a result
    """Why a check cannot be made here."""


class TooLong(Exception):  # noqa: N818 - as above
    """What there is of a check whose time was over."""


@dataclass(frozen=True)
class Ended:
    """How a program ended; `cut` says that its time was over."""

    code: int
    out: str
    error: str
    cut: bool = False

    @property
    def lines(self) -> list[str]:
        """What stands on stderr, line by line."""
        return self.error.strip().splitlines()

    @property
    def said(self) -> str:
        """The errors on stderr, else its end, or the code where nothing stands there."""
        errors = [line for line in self.lines if "Error" in line]
        return " | ".join((errors or self.lines)[-LAST_LINES:]) or f"it ended with {self.code}"


@dataclass(frozen=True)
class Bench:
    """The command line of benchbox, by this Python, until a moment of time.monotonic."""

    results: Path
    until: float = float("inf")

    def within(self, seconds: float) -> "Bench":
        """The same, with no more than so many seconds from now on."""
        return replace(self, until=min(self.until, time.monotonic() + seconds))

    @property
    def left_s(self) -> float:
        return self.until - time.monotonic()

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, **(env or {})}

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        return self.python("-m", "benchbox", *arguments, env=env)

    def python(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        with self.started(*arguments, env=env) as process:
            try:
                out, error = process.communicate(timeout=max(FEWEST_S, self.left_s))
                return Ended(process.returncode, out, error)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            try:
                out, error = process.communicate(timeout=ENDING_S)
            except subprocess.TimeoutExpired:
                out, error = "", "it did not end when asked to"
            return Ended(process.poll() or 0, out, error, cut=True)

    @contextlib.contextmanager
    def started(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a program in a group of its own, whose last process ends with this context."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=self.environment(env),
            process_group=0,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError, ValueError):
                    if stream is not None:
                        stream.close()

    def answer(self, program: str, *arguments: str) -> Any:
        """Return what a module of this folder prints as JSON, on its last line."""
        done = self.python("-m", f"tools.cuda.{program}", *arguments)
        if done.cut:
            raise TooLong(done.said)
        assert done.code == 0 and done.out.strip(), done.said
        return json.loads(done.out.strip().splitlines()[-1])

    def records(self, folder: Path, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        """Run cases into a folder; return their records by device."""
        done = self.run("run", *arguments, "--results", str(folder))
        if done.cut:
            raise TooLong(done.said)
        assert done.code in (0, 1) and folder.is_dir(), done.said
        return {place.name: read(newest(place)) for place in sorted(folder.iterdir())}


def newest(place: Path) -> Path:
    """The newest run in a device's folder."""
    return max(place.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)


def read(file: Path) -> list[dict[str, Any]]:
    """The records of a run, of each case the last."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    records = [line for line in lines if line["kind"] == "record"]
    return list({(r["spec"], r["case"]): r for r in records}.values())


def failures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{r['case']}: {r.get('reason')}" for r in records if r["status"] == "failed"]

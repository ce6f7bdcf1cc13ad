"""Runs benchbox, and programs beside it, and reads what came of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LONGEST_S = 400.0


class NotRun(Exception):  # noqa: N818 - no error, but what is said instead of a result
    """Why a check cannot be made here."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    error: str

    @property
    def lines(self) -> list[str]:
        """What stands on stderr, line by line."""
        return self.error.strip().splitlines()


@dataclass(frozen=True)
class Bench:
    """The command line of benchbox, by this Python."""

    results: Path

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, **(env or {})}

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        return self.python("-m", "benchbox", *arguments, env=env)

    def python(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env=self.environment(env),
            timeout=LONGEST_S,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def answer(self, program: str, *arguments: str) -> Any:
        """Return what a module of this folder prints as JSON, on its last line."""
        done = self.python("-m", f"tests.cuda.{program}", *arguments)
        assert done.code == 0, done.lines[-1] if done.lines else f"code {done.code}"
        return json.loads(done.out.strip().splitlines()[-1])

    def records(self, folder: Path, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        """Run cases into a folder; return their records by device."""
        done = self.run("run", *arguments, "--results", str(folder))
        assert done.code in (0, 1), done.lines[-1] if done.lines else f"code {done.code}"
        return {place.name: _newest(place) for place in sorted(folder.iterdir())}


def _newest(place: Path) -> list[dict[str, Any]]:
    file = max(place.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "record"]


def failures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{r['case']}: {r.get('reason')}" for r in records if r["status"] == "failed"]

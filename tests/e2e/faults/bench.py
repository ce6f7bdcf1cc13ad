"""Bench of a fault: a folder of its own, graphs in it, the command, and what must hold."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from benchbox import records
from benchbox.records import Run
from tests.conftest import HEADER
from tests.e2e.faults import truth

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "tests.e2e.faults.program")
QUICK = ("--quick", "--precision", "20%", "--max-time", "2s")
# Of a command that was refused, failed, was left by its reader, or ended as asked.
EXIT_CODES = (0, 1, 2, 3, 4, 5, 6, 130, 141)
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Fault:
    """A kind of fault: `inject` makes one, by random choices, and asserts what must hold."""

    family: str
    kind: str
    inject: "Callable[[Bench, random.Random], None]"


FAULTS: dict[str, Fault] = {}


def fault(
    family: str, kind: str
) -> "Callable[[Callable[[Bench, random.Random], None]], Callable[[Bench, random.Random], None]]":
    """Register a function as the fault of a kind."""

    def register(
        inject: "Callable[[Bench, random.Random], None]",
    ) -> "Callable[[Bench, random.Random], None]":
        assert kind not in FAULTS, f"{kind} is there twice"
        FAULTS[kind] = Fault(family, kind, inject)
        return inject

    return register


class Bench:
    """A folder with nothing in it, and the command run there with a home and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("BENCHBOX_")},
            "HOME": str(folder / "home"),
            "BENCHBOX_CACHE_DIR": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        (folder / "home").mkdir()

    def graph(self, name: str, size: int) -> Path:
        """Write a product of size x size matrices to <name>.onnx; another size, another graph."""
        tensor = f"float[{size},{size}]"
        text = f"g ({tensor} x) => ({tensor} y) {{ y = MatMul(x, x) }}"
        path = self.folder / f"{name}.onnx"
        onnx.save(onnx.parser.parse_model(HEADER + text), path)
        return path

    def command(
        self, *arguments: str, program: Sequence[str] = PROGRAM, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end: an expected exit code, and never a traceback."""
        done = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        check_end(done.returncode, done.stdout, done.stderr)
        return done

    @contextlib.contextmanager
    def started(
        self,
        *arguments: str,
        program: Sequence[str] = PROGRAM,
        ignored: int | None = None,
        **environment: str,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """The command as a process in a group of its own, which ends with the block.

        It may have a signal `ignored` from the start.
        """
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=ignored and (lambda: signal.signal(ignored, signal.SIG_IGN)),
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.communicate()

    def runs(self) -> list[Run]:
        """Every run on record, checked: its samples are of the graphs they are filed under."""
        found = [records.read(p) for p in sorted((self.folder / "results").glob("*/*.jsonl"))]
        for run in found:
            truth.check(run)
        return found


def check_end(code: int, stdout: bytes, stderr: bytes) -> None:
    """Assert that a command ended as it may: with a known exit code and without a traceback."""
    text = (stdout + stderr).decode(errors="replace")
    assert "Traceback (most recent call last)" not in text, text
    assert code in EXIT_CODES, f"exit {code}: {text}"
    errors = [line for line in stderr.decode(errors="replace").splitlines() if "Error:" in line]
    assert len(errors) <= 1, text


def samples(runs: Sequence[Run]) -> dict[str, int]:
    """How many calls are on record of each graph, by its sha256."""
    found: dict[str, int] = {}
    for run in runs:
        for record in (*run.records, *run.earlier):
            sha = record.sha256
            found[sha] = found.get(sha, 0) + sum(len(b.latencies_ns) for b in record.bursts)
    return found

"""Faults of what reads the command: readers that leave, full disks, terminals, signals."""

import os
import random
import subprocess
import sys
from collections.abc import Sequence

from tests.e2e.faults.bench import (
    DEADLINE_S,
    PROGRAM,
    QUICK,
    ROOT,
    Bench,
    check_end,
    fault,
    samples,
)

BENCHBOX = (sys.executable, "-m", "benchbox")
FULL = "/dev/full"
LEFT = 141
RECORDED = sorted((ROOT / "results/reference/cpu").glob("*.jsonl"))
UNTIMED = (
    ("list",),
    ("--help",),
    ("run", "--help"),
    ("device", "list"),
    ("show", "./net.onnx"),
    ("report", str(RECORDED[0])),
    ("report", str(RECORDED[0]), "--format", "csv"),
)
TIMED = (("run", "./net.onnx", *QUICK), ("compare", "./net.onnx", "./other.onnx", *QUICK))


def left_by(
    bench: Bench, arguments: Sequence[str], lost: Sequence[str], how: str, after: int
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command whose streams `lost` are closed, full, or of a reader that leaves."""
    ours, theirs = os.pipe()
    stream = {"full": FULL, "closed": os.devnull}.get(how)
    target = os.open(stream, os.O_WRONLY) if stream else theirs

    def close() -> None:
        for name in lost if how == "closed" else ():
            os.close({"stdout": 1, "stderr": 2}[name])

    streams = {name: target if name in lost else subprocess.PIPE for name in ("stdout", "stderr")}
    process = subprocess.Popen(
        [*(PROGRAM if "--quick" in arguments else BENCHBOX), *arguments],
        cwd=bench.folder,
        env=bench.environment,
        stdin=subprocess.DEVNULL,
        preexec_fn=close,
        **streams,  # type: ignore[call-overload]
    )
    os.close(theirs)
    if after:
        os.read(ours, after)
    os.close(ours)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    check_end(process.returncode, stdout or b"", stderr or b"")
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr)


@fault("losses", "whoever reads a command's output leaves, or its disk is full")
def reader_leaves(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    how = rng.choice(["left", "left", "full", "closed"])
    after = rng.choice([0, 0, 1, rng.randrange(1, 4000)]) if how == "left" else 0
    done = left_by(bench, rng.choice(UNTIMED), ["stdout"], how, after)
    assert done.returncode == LEFT or (after and done.returncode == 0), done
    assert (b"No space left" in done.stderr) == (how == "full"), done


@fault("losses", "whoever reads a run's output leaves, or its disk is full")
def reader_of_a_run_leaves(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8), bench.graph("other", 9)
    how, arguments = rng.choice(["left", "left", "full", "closed"]), rng.choice(TIMED)
    lost = rng.choice([["stdout"], ["stderr"], ["stdout", "stderr"]])
    after = rng.choice([0, rng.randrange(1, 200)]) if how == "left" else 0
    if "stdout" in lost and rng.random() < 0.3:
        arguments += ("--export-csv", "-")
    done = left_by(bench, (*arguments, "--export-json", "table.json"), lost, how, after)
    assert done.returncode in (LEFT, 0 if after else LEFT), done
    assert len(samples(bench.runs())) == (2 if "compare" in arguments else 1)
    assert (bench.folder / "table.json").read_text().count('"status": "ok"') > 0

"""The command on boards and phones: run in this process, and its records, rows and refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import Result

from benchbox import records
from benchbox.cli.progress import Live
from benchbox.records import Run
from benchbox.sampling.sampler import Sampler
from tests.helpers.command import MEASURED, invoke

SHORT = ("--quick", "--precision", "90%", "--max-time", "5s")
ENDLESS = ("--quick", "--precision", "0.0001%", "--max-time", "60s")
EMULATED = "emulated (qemu-user): a figure taken here is no latency"
FIGURES = ("latency_p50_ms", "latency_ci_low_ms", "latency_p90_ms", "images_per_s", "samples")


@pytest.fixture
def graphs(write_onnx: Callable[..., Path], warm: None) -> None:
    """Three graphs in the current folder: a.onnx, b.onnx and c.onnx."""
    assert warm is None
    for name, n in (("a", 24), ("b", 32), ("c", 40)):
        write_onnx(name, f"{name} (float[{n},{n}] x) => (float[{n},{n}] y) {{ y = MatMul(x, x) }}")


def grow(name: str, size: int) -> None:
    """Write a graph to name.onnx that is a.onnx with as many bytes of weights besides."""
    model = onnx.load("a.onnx")
    weights = np.frombuffer(np.random.default_rng(0).bytes(size), dtype=np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
    onnx.save(model, f"{name}.onnx")


def benchbox(*arguments: str, code: int | None = 0) -> Result:
    """Run a command, which must end with `code` unless that is None."""
    result = invoke(*arguments)
    assert code in (result.exit_code, None), result.output
    return result


def refused(*arguments: str) -> str:
    """The one line that a command ends with."""
    result = benchbox(*arguments, code=6)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("preparing ")]
    assert (result.stdout, len(lines)) == ("", 1), result.output
    return lines[0]


def newest(name: str = "*") -> Run:
    return records.read(max(Path("results").glob(f"{name}/*.jsonl")))


def by_case(run: Run) -> dict[str, tuple[str, str]]:
    """The status of each case, and its reason."""
    return {record.case: (record.status, record.reason) for record in run.records}


def bursts(run: Run) -> dict[str, int]:
    """How many bursts there are of each case that was measured."""
    measured = [record for record in run.records if record.status in MEASURED]
    return {record.case: len(record.bursts) for record in measured}


def once(act: Callable[[], object]) -> Callable[[Live, Sampler], None]:
    """Acts as soon as every case has samples, in the place of Live.measuring."""
    done: list[bool] = []

    def measuring(_: Live, sampler: Sampler) -> None:
        if not done and all(len(case.bursts) > 2 for case in sampler.cases.values()):
            done.append(True)
            act()

    return measuring


def lose_and_resume(
    lose: Callable[[], object],
    recover: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
) -> tuple[list[str], str]:
    """Lose a device in the middle of a run, and go on with that run: what it has is kept.

    Returns the reasons that the lost run gives, sorted, and the text of its record.
    """
    command = ("run", "a.onnx", "b.onnx", "-d", device)
    with monkeypatch.context() as patched:
        patched.setattr(Live, "measuring", once(lose))
        try:
            benchbox(*command, *ENDLESS, code=1)
        finally:
            recover()
    lost = newest()
    assert {status for status, _ in by_case(lost).values()} == {"failed"}
    before = {record.case: len(record.bursts) for record in lost.records}
    assert min(before.values()) > 2
    benchbox(*command, *SHORT[:-1], "6s", "--resume")
    assert newest().path == lost.path
    after = bursts(newest())
    assert all(after[case] > count for case, count in before.items()), (before, after)
    return sorted(reason for _, reason in by_case(lost).values()), lost.path.read_text()

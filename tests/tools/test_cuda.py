"""Checks of `make test-cuda`, on stand-ins and, where there is a GPU, all of them on it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from benchbox.agent.gpu import burst
from benchbox.devices import providers
from tests.agent.test_gpu_burst import Machine, Waiting
from tests.fakegpu.building import ROOT, SOURCES, Libraries
from tools.cuda import __main__ as program
from tools.cuda import checks, engines, kept, needs, profiled
from tools.cuda.bench import BLIND, Bench, NotRun, TooLong
from tools.cuda.checks import Check


def checked(make: Callable[[Bench], str], left_s: float = 60.0) -> tuple[str, str]:
    row = program.result(Check("some", make, 60), Bench(Path()).within(left_s))
    return row.result, row.seen


def raising(error: Exception) -> Callable[[Bench], str]:
    def make(_: Bench) -> str:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotRun("no process list"), ("not run", "no process list")),
        (TooLong("3 of 8 cases"), ("cut off", "3 of 8 cases; it had 60 of 60 s")),
        (AssertionError("1.2x"), ("FAILED", "1.2x")),
    ],
)
def test_whatever_becomes_of_a_check_is_a_row(error: Exception, said: tuple[str, str]) -> None:
    assert checked(raising(error)) == said


def test_a_mistake_in_a_check_is_a_row_that_names_its_line() -> None:
    result, seen = checked(raising(KeyError("cuda")))
    assert result == "FAILED"
    assert seen.startswith("KeyError: 'cuda' (test_cuda.py:")


def test_a_check_that_no_time_is_left_for_is_not_begun() -> None:
    assert checked(raising(KeyError("begun")), left_s=1.0)[0] == "not run"


def test_what_a_check_does_not_use_of_the_time_is_for_all_that_follow() -> None:
    some = [Check(name, raising(KeyError()), limit_s) for name, limit_s in (("a", 60), ("b", 20))]
    assert checks.shares([*some, some[1]]) == [0.6, 0.5, 1.0]


def test_the_graphs_are_made_before_the_checks_share_the_time() -> None:
    bench = Bench(Path()).within(program.LIMIT_S)
    first, *others = [(check.name, alone.left_s) for check, alone in program._begun(bench, [])]
    assert first[0] == "graphs"
    assert [name for name, _ in others] == [*checks.CHECKS]
    assert all(left_s > program.ENOUGH_S for _, left_s in others)
    ((name, left_s),) = [(c.name, b.left_s) for c, b in program._begun(bench, ["spread"])]
    assert name == "spread"
    assert left_s > checks.CHECKS["spread"].limit_s


class Recorded(Bench):
    """A bench whose runs all give the same records."""

    found: ClassVar[dict[str, list[dict[str, object]]]]

    def records(self, _: Path, *__: str) -> dict[str, list[dict[str, object]]]:
        return self.found


def test_a_row_without_a_latency_fails_the_check_of_modes_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = {"case": "groups=1", "status": "imprecise", "reason": "only 2 quiet rounds"}
    monkeypatch.setattr(Recorded, "found", {"cuda-graph": [row]}, raising=False)
    ended = program.result(Check("modes", checks.modes, 60), Recorded(Path()))
    said = "cuda-graph hot: groups=1 has no latency: only 2 quiet rounds"
    assert (ended.result, ended.seen) == ("FAILED", said)


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
    sleeping = "import time; print('there', flush=True); time.sleep(60)"
    start = time.monotonic()
    ended = Bench(Path()).within(0.0).python("-c", child.format(sleeping))
    assert ended.cut
    assert time.monotonic() - start < 30


def test_spans_of_the_profiler_are_taken_call_by_call() -> None:
    kernels = [(10.0, 2.0), (13.0, 1.0), (100.0, 2.0), (104.0, 1.5)]
    events = [{"cat": "kernel", "ts": ts, "dur": dur} for ts, dur in reversed(kernels)]
    assert profiled.per_call([*events, {"cat": "cuda_runtime", "ts": 1.0}], 2) == [4000, 5500]
    with pytest.raises(ValueError, match="sees 4 kernels in 3 calls"):
        profiled.per_call(events, 3)
    with pytest.raises(ValueError, match="no work on a GPU"):
        profiled.per_call([], 3)


@pytest.mark.parametrize("waits", [False, True])
def test_the_calls_of_spans_are_told_from_those_before_however_many_it_takes_to_settle(
    *, waits: bool
) -> None:
    machine = Waiting() if waits else Machine()
    counted = profiled.Counted(machine)
    burst.time_gpu_calls(counted, machine, burst.BurstPlan(3, replayed=True), clock=machine.clock)
    looks = burst.LOOKS_TO_SEE if waits else 1
    assert counted.queued == [False, *[True] * looks, *[False, True] * 3]
    assert counted.last(3) == [looks + 2, looks + 4, looks + 6]


class Said(Bench):
    """A bench whose programs all say the same."""

    said: ClassVar[dict[str, object]]

    def answer(self, *_: str) -> dict[str, object]:
        return self.said


@pytest.mark.parametrize(
    ("said", "result"),
    [
        ({"g1 eager": [101, 100], "g3 graph": [99, 100]}, "ok"),
        ({"g1 eager": [101, 100], "g3 graph": [90, 100]}, "FAILED"),
        ({"g1 eager": [101, 100], "g3 graph": "sees 7 kernels in 44 calls"}, "FAILED"),
        ({"g1 eager": [101, 100], "g3 graph": BLIND}, "FAILED"),
        ({"g1 eager": BLIND, "g3 graph": BLIND}, "not run"),
    ],
)
def test_spans_are_checked_only_where_all_of_them_are_seen(
    said: dict[str, object], result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Said, "said", said, raising=False)
    row = program.result(Check("spans", checks.spans, 60), Said(Path()))
    assert row.result == result


@pytest.mark.parametrize(
    ("said", "result", "seen"),
    [
        ({"a": 1e-5, "b": 1e-6}, "ok", "2 graphs, the worst is a with 1e-05"),
        ({"a": 0.5}, "FAILED", "a differs by 0.5, 0.001 is allowed"),
        ({"a": 0.5, "b": "it does not compute"}, "FAILED", "b: it does not compute"),
    ],
)
def test_outputs_are_alike_if_all_are_computed_and_close(
    said: dict[str, object], result: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Said, "said", said, raising=False)
    row = program.result(Check("outputs", checks.outputs, 60), Said(Path()))
    assert (row.result, row.seen) == (result, seen)


def test_pairs_of_the_paper_are_counted_within_their_groups() -> None:
    def record(group: str, published: float, p50_s: float) -> dict[str, object]:
        figures = {"latency": {"p50_s": p50_s}, "spans": {"span_s": 1.0}}
        return {"spec": "g2", "group": group, "published": published, **figures}

    found = [record("1", 30, 1.0), record("1", 20, 2.0), record("1", 10, 1.5), record("2", 5, 1.0)]
    (said,) = kept.order(found)
    assert said == (
        "g2 2 of 3 pairs as the paper, 1 turned round by p50 and "
        "0 of 3 pairs as the paper, 0 turned round by GPU"
    )


def stood_in(gpu: Libraries, *arguments: str, ort: str = "") -> subprocess.CompletedProcess[str]:
    """The whole program on the stand-ins for a GPU."""
    told = {"cuda": "no_sleep 1\n", "nvml": "process 999999 1000\n", "ort": ort}
    for name, text in told.items():
        (gpu.work / name).write_text(text)
    paths = [str(SOURCES / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    files = {f"FAKE_{name.upper()}": str(gpu.work / name) for name in told}
    libraries = {
        "LD_LIBRARY_PATH": str(gpu.folder),
        "PYTHONPATH": os.pathsep.join(paths),
        "FAKE_ORT_HOME": str(gpu.folder / "onnxruntime"),
    }
    return subprocess.run(
        [sys.executable, "-m", "tools.cuda", *arguments, "--results", str(gpu.work / "results")],
        capture_output=True,
        text=True,
        env={**os.environ, **libraries, **files},
        cwd=ROOT,
        timeout=200,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("shared_cache")
@pytest.mark.parametrize(
    ("names", "ort", "result", "seen"),
    [
        (["doctor", "tensorrt", "outputs"], "", "ok", "6 graphs, the worst is"),
        (["outputs"], "wrong Conv", "FAILED", "0.001 is allowed"),
    ],
)
def test_the_checks_run_on_a_stand_in_and_end_with_a_table(
    fake_gpu: Libraries, names: list[str], ort: str, result: str, seen: str
) -> None:
    ended = stood_in(fake_gpu, *names, ort=ort)
    table = ended.stdout.partition("\ncheck ")[2].splitlines()
    found = [line.split()[:2] for line in table[1 : len(names) + 1]]
    assert sorted(found) == sorted([name, result] for name in names), table
    assert any(line.startswith("outputs") and seen in line for line in table), table
    assert table[-1].endswith("s together")
    assert ended.returncode == (result != "ok"), ended.stdout


def test_without_a_gpu_the_checks_end_with_6_and_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tools.cuda"], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    if ended.returncode == 0:
        pytest.skip("there is a GPU")
    assert ended.returncode == 6
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_check_of_a_provider_that_is_missing_is_not_run() -> None:
    if not needs.missing(providers.TENSORRT):
        pytest.skip("there is TensorRT")
    result, seen = checked(engines.tensorrt)
    assert (result, len(seen.splitlines())) == ("not run", 1)


@pytest.fixture(scope="module")
def gpu() -> None:
    if missing := needs.missing():
        pytest.skip(f"no GPU to test on: {missing}")


@pytest.mark.cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", checks.CHECKS)
def test_the_gpu_passes_a_check(name: str, tmp_path: Path) -> None:
    check = checks.CHECKS[name]
    try:
        assert check.make(Bench(tmp_path).within(check.limit_s))
    except NotRun as reason:
        pytest.skip(str(reason))

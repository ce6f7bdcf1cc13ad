"""Checks of `make test-cuda`, on stand-ins and, where there is a GPU, all of them on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchbox.agent.gpu import burst
from tests.agent.test_gpu_burst import Machine, Waiting
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries
from tools.cuda import __main__ as program
from tools.cuda import checks, engines, kept, needs, profiled
from tools.cuda.bench import BLIND, Bench, NotRun, TooLong
from tools.cuda.checks import Check


def checked(make: Callable[[Bench], str], bench: Bench) -> program.Row:
    return program.result(Check("some", make, 60), bench)


def raising(error: Exception) -> Callable[[Bench], str]:
    def make(_: Bench) -> str:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "left_s", "result", "seen"),
    [
        (NotRun("no process list"), 60, "not run", "no process list"),
        (TooLong("3 of 8 cases"), 60, "cut off", "3 of 8 cases; it had 60 of 60 s"),
        (AssertionError("1.2x"), 60, "FAILED", "1.2x"),
        (KeyError("cuda"), 60, "FAILED", "KeyError: 'cuda' (test_cuda.py:"),  # and its line
        (KeyError("begun"), 1, "not run", "no time was left for it"),
    ],
)
def test_whatever_becomes_of_a_check_is_a_row(
    error: Exception, left_s: float, result: str, seen: str
) -> None:
    row = checked(raising(error), Bench(Path()).within(left_s))
    assert (row.result, row.seen[: len(seen)]) == (result, seen)


def test_the_rows_are_a_table_and_one_that_is_not_ok_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Check("good", lambda _: "all\nof it", 60), Check("bad", raising(NotRun("no room")), 60)
    monkeypatch.setattr(checks, "CHECKS", {check.name: check for check in made})
    monkeypatch.setattr(needs, "missing", str)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    assert (program.main(["good"]), program.main(["bad", "good"])) == (0, 1)
    *_, bad, good, end = capsys.readouterr().out.splitlines()
    assert (bad.split(), good.split()) == (
        ["bad", "not", "run", "0", "s", "no", "room"],
        ["good", "ok", "0", "s", "all", "of", "it"],
    )
    assert end.endswith("s together")


def test_the_graphs_are_made_before_the_checks_share_the_time() -> None:
    bench = Bench(Path()).within(program.LIMIT_S)
    first, *others = [(check.name, alone.left_s) for check, alone in program._begun(bench, [])]
    assert first[0] == "graphs"
    assert [name for name, _ in others] == [*checks.CHECKS]
    assert all(left_s > program.ENOUGH_S for _, left_s in others)
    ((name, left_s),) = [(c.name, b.left_s) for c, b in program._begun(bench, ["spread"])]
    assert name == "spread"
    assert left_s > checks.CHECKS["spread"].limit_s


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
    settling = counted.queued.index(True)
    assert counted.queued[settling:] == [*[True] * looks, *[False, True] * 3]
    assert counted.last(3) == [settling + looks + n for n in (1, 3, 5)]


@dataclass(frozen=True)
class Stub(Bench):
    """A bench whose programs all say the same."""

    results: Path = Path()
    said: Any = None

    def answer(self, *_: str) -> Any:
        return self.said


EAGER, GRAPH = "g1 eager", "g3 graph"


@pytest.mark.parametrize(
    ("check", "said", "result", "seen"),
    [
        (checks.spans, {EAGER: [101, 100], GRAPH: [99, 100]}, "ok", "g1 eager: 1.010, g3"),
        (checks.spans, {EAGER: [101, 100], GRAPH: [90, 100]}, "FAILED", "g3 graph: 0.900"),
        (checks.spans, {EAGER: [101, 100], GRAPH: "sees 7 kernels"}, "FAILED", "sees 7 kernels"),
        (checks.spans, {EAGER: [101, 100], GRAPH: BLIND}, "FAILED", BLIND),
        (checks.spans, {EAGER: BLIND, GRAPH: BLIND}, "not run", BLIND),
        (checks.outputs, {"a": 1e-5, "b": 1e-6}, "ok", "2 graphs, the worst is a with 1e-05"),
        (checks.outputs, {"a": 0.5}, "FAILED", "a differs by 0.5, 0.001 is allowed"),
        (checks.outputs, {"a": 0.5, "b": "no kernel"}, "FAILED", "b: no kernel"),
    ],
)
def test_spans_and_outputs_are_right_where_all_of_them_are_seen_and_close(
    check: Callable[[Bench], str], said: object, result: str, seen: str
) -> None:
    row = checked(check, Stub(said=said))
    assert (row.result, seen in row.seen) == (result, True), row


@pytest.fixture(scope="module")
def missing() -> str:
    return needs.missing()


def test_without_a_gpu_the_checks_end_with_6_and_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not missing:
        pytest.skip("there is a GPU")
    monkeypatch.setattr(needs, "missing", lambda *_: missing)
    assert program.main([]) == 6
    assert capsys.readouterr() == ("", f"Error: {missing}\n")
    assert len(missing.splitlines()) == 1
    row = checked(engines.tensorrt, Bench(Path()))
    assert (row.result, row.seen) == ("not run", missing)


@pytest.mark.slow
def test_the_reference_of_a_gpu_is_kept_in_one_go_whatever_is_cut_off(
    fake_gpu: Libraries, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fake_gpu.environment().items():
        monkeypatch.setenv(name, value)
    fake_gpu.tell(cuda="no_sleep 1\n", nvml="", ort="", torch="")
    quick = (*kept.BOTH, "--quick", "--precision", "90%")
    asked = (([str(write_onnx())], quick, 0.5), (["absent.onnx"], quick, 0.5))
    monkeypatch.setattr(kept, "REFERENCE", asked)
    monkeypatch.setattr(kept, "REFERENCE_GRAPHS", ())
    row = checked(kept.reference, Bench(fake_gpu.work / "results").within(120))
    assert row.result == "cut off"
    assert "cuda-eager: 1 of 1 cases timed; cuda-graph: 1 of 1 cases timed; absent.o" in row.seen
    for mode in ("graph", "eager"):
        suffixes = {file.suffix for file in (fake_gpu.work / f"results/cuda-{mode}").iterdir()}
        assert suffixes == {".jsonl", ".csv", ".md"}


@pytest.fixture
def gpu(missing: str) -> None:
    if missing:
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

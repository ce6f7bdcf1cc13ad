"""Timed calls: bursts on a simulated machine, the sentinel, and the check for denormals."""

import contextlib
import os
import platform
import subprocess
import sys
import threading
import time
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox.agent.host import machine as host_machine
from benchbox.agent.timing import burst as timing_burst
from benchbox.agent.timing import denormals, sentinel
from benchbox.agent.timing.sentinel import Sentinel
from tests.helpers.machine import SimulatedMachine


@pytest.mark.parametrize(("threads", "who"), [(1, 1), (2, 0)])
def test_switches_belong_to_calls(monkeypatch: pytest.MonkeyPatch, threads: int, who: int) -> None:
    """Those of the last untimed call, which disturb the caches, are the first one's."""
    asked: list[int] = []
    calls: list[int] = []

    def getrusage(who: int) -> SimpleNamespace:
        asked.append(who)
        timed = len(calls) - settling
        return SimpleNamespace(ru_nivcsw=4 + sum(each <= timed for each in (0, 2, 2, 4)))

    settling = 2
    monkeypatch.setattr(timing_burst, "STEADY", 0.0)  # so many settle the graph

    resource = SimpleNamespace(getrusage=getrusage, RUSAGE_SELF=0, RUSAGE_THREAD=1)
    monkeypatch.setattr(timing_burst, "resource", resource)
    burst = timing_burst.time_calls(lambda: calls.append(1), 4, threads)
    assert (len(calls), burst.switches) == (settling + 4, [1, 2, 0, 1])
    assert (burst.marks, burst.probed_ns) == ([], 0)
    assert set(asked) == {who}
    monkeypatch.setattr(timing_burst, "resource", None)  # as on Windows
    assert timing_burst.time_calls(lambda: None, 3, threads).switches is None


def machine(latency_s: float, **more: Any) -> SimulatedMachine:
    return SimulatedMachine({"g": latency_s}, noise=0.0, **more)


@settings(max_examples=30)
@given(st.floats(1e-6, 0.3), st.integers(1, 60))
def test_readings_bracket_every_burst_and_come_in_order(latency_s: float, calls: int) -> None:
    burst = machine(latency_s).burst("g", calls)
    before = [index for index, _ in burst["marks"]]
    assert (before[0], before[-1]) == (0, calls)
    assert before == sorted(set(before))
    assert burst["latencies_ns"] == pytest.approx([latency_s * 1e9] * calls, abs=1)
    assert burst["switches"] == [0] * calls


@pytest.mark.parametrize(
    ("latency_s", "calls", "settling", "more"),
    [(1e-4, 600, 2, 1), (2e-3, 600, 2, 0), (3e-2, 9, 1, 0)],
)
def test_the_sentinel_is_read_every_20_ms(
    latency_s: float, calls: int, settling: int, more: int
) -> None:
    short = machine(latency_s)
    marks = short.burst("g", calls)["marks"]
    gaps = [(later - earlier) * latency_s for (earlier, _), (later, _) in pairwise(marks)]
    assert max(gaps) < timing_burst.MARK_NS * 1e-9 + 2 * latency_s
    assert all(gap >= timing_burst.MARK_NS * 1e-9 for gap in gaps[:-1])
    assert short.calls == calls + settling + more * (len(marks) - 1)


def test_what_hits_the_sentinel_counts_for_the_call_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hit = machine(0.002)
    hit.interrupt = lambda seconds: (0.001, int(seconds < 0.001))
    burst = hit.burst("g", 100)
    before = {index for index, _ in burst["marks"]}
    assert [index for index, n in enumerate(burst["switches"]) if n] == sorted(before - {100})
    slow = machine(0.002)
    monkeypatch.setattr(slow, "compute", lambda: slow.sleep(0.01) or 12_000)
    burst = slow.burst("g", 1000)
    assert burst["probed_ns"] < 0.03 * 2e9  # it is read less often
    assert len(burst["marks"]) > 2


@pytest.mark.parametrize(
    ("latencies", "is_bound", "calls"),
    [
        ([8, 8], False, 2),
        ([30, 20], False, 1),
        ([8, 7, 7], False, 3),
        ([8, 7, 6, 5, 5], True, 5),
        ([2.0**-n for n in range(99)], False, 4),
        ([2.0**-n for n in range(99)], True, 10),
    ],
)
def test_a_graph_settles_first(latencies: list[float], calls: int, *, is_bound: bool) -> None:
    following = iter(latencies)
    bound = machine(0.0)
    bound.latencies["g"] = lambda: next(following) * 1e-3
    with patch.object(timing_burst, "time", bound):
        last_ns = timing_burst.settle(lambda: bound.call("g"), memory_bound=is_bound)
    assert bound.calls == calls
    assert last_ns == pytest.approx(latencies[calls - 1] * 1e6, rel=1e-3)


# the sentinel


def test_the_sentinel_reads_whole_nanoseconds_more_for_a_copy_than_for_a_product() -> None:
    probe = Sentinel()
    streams, products = ([read() for _ in range(5)] for read in (probe.copy, probe.compute))
    assert all(isinstance(reading, int) for reading in (*streams, *products))
    assert min(streams) > min(products) > 0
    reads = iter([1, 9, 5, 6])  # of a few calls the fastest but the first counts
    assert sentinel.fastest(lambda: time.sleep(next(reads) * 1e-3), 4) >= 5_000_000


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinities")
@pytest.mark.usefixtures("two_cpus")
def test_the_slowest_of_the_processors_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before, usable = os.sched_getaffinity(0), host_machine.usable_cpus()
    probe = Sentinel(usable[:2])
    assert probe.compute() > 0
    assert os.sched_getaffinity(0) == before
    name = f"sentinel-{usable[1]}"
    bound = [thread.native_id or 0 for thread in threading.enumerate() if thread.name == name]
    assert bound
    assert all(os.sched_getaffinity(thread) == {usable[1]} for thread in bound)
    with pytest.raises(RuntimeError, match="processor 4095"):
        Sentinel([0, 4095])
    mine = threading.current_thread()
    for here, there in ((5, 9), (9, 5)):
        readings = {True: here, False: there}
        monkeypatch.setattr(
            sentinel, "_compute", lambda _, r=readings: r[threading.current_thread() is mine]
        )
        assert probe.compute() == 9


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> SimulatedMachine:
    """A machine on which the real stream sentinel copies, for 1.2 ms."""
    there = machine(0.002)
    there.agent.sentinel = Sentinel()
    monkeypatch.setattr(there.agent.sentinel, "copy", there.copy)
    monkeypatch.setattr(there.agent.sentinel, "compute", there.compute)
    monkeypatch.setattr(sentinel, "time", there)
    return there


@pytest.mark.parametrize("stream", [True, False])
def test_sentinels_take_a_small_share_and_no_latency(
    crowded: SimulatedMachine, stream: bool
) -> None:
    for _ in range(100):
        crowded.burst("g", 5)
    assert crowded.now / (100 * 7 * 0.002) < 1 + 2 * sentinel.LEVEL_SHARE
    for _ in range(3):
        before, calls = crowded.now, crowded.calls
        burst = crowded.burst("g", 100, stream)
        beside = crowded.now - before - 0.002 * (crowded.calls - calls)
        assert burst["probed_ns"] == pytest.approx(beside * 1e9, rel=0.01)
        assert max(burst["latencies_ns"]) <= 2_000_001


# denormals


@pytest.mark.parametrize(
    ("times", "ratio"),
    [
        ([440, 11, 450, 12, 460, 10, 440, 10, 440, 10], 44.0),
        ([440, 11, 450, 12, 12, 12], 1.0),  # a trial without a difference
        ([10, 10], 1.0),
        ([16, 15], 1.0),  # a slower state begins
        ([16, 10, 16, 15], 1.0),  # another program does
        ([3, 0] * 5, 3.0),
    ],
)
def test_denormals_cost(times: list[int], ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    left = list(times)
    monkeypatch.setattr(denormals, "_environment", lambda: ())
    monkeypatch.setattr(denormals, "_denormals_kept", contextlib.nullcontext)
    monkeypatch.setattr(denormals, "_processor_ns", lambda _: left.pop(0))
    monkeypatch.setattr(denormals, "_switches", lambda: 0)
    assert denormals.ratio(lambda: None) == ratio
    assert not left
    monkeypatch.setattr(denormals, "_processor_ns", lambda _: 10)
    monkeypatch.setattr(denormals, "_switches", count().__next__)
    assert denormals.ratio(lambda: None) is None, "of disturbed calls nothing is said"


DENORMALS = """
import numpy as np
import onnxruntime as ort
from benchbox.agent.ort import matmul_graph, session
from benchbox.agent.timing import denormals
tiny = np.full(8, 1e-20, np.float32)
found = [denormals.ratio(lambda: None)]
ort.InferenceSession(matmul_graph.graph(2), session.options(1, ()), providers=[session.CPU])
found.append((tiny * tiny).any())
with denormals._denormals_kept(*denormals._environment()):
    found.append((tiny * tiny).any())
print(*found, (tiny * tiny).any())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no mode to switch")
def test_a_thread_keeps_denormals_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python alone never makes a thread flush them, and ONNX Runtime only once in a process."""
    argv = [sys.executable, "-c", DENORMALS]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "None False True False\n"
    monkeypatch.setattr(denormals.platform, "machine", lambda: "riscv64")
    assert denormals._environment() is None

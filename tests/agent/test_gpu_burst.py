"""Bursts on a machine of numbers: a host with a clock, and a GPU that works through a queue."""

import threading
import time
from collections.abc import Callable
from itertools import count

import pytest

from benchbox.agent.gpu import burst as gpu_burst
from benchbox.agent.gpu import host_sentinel
from benchbox.agent.gpu.burst import BurstPlan, GpuBurst
from benchbox.agent.gpu.host_sentinel import PairedProbe
from benchbox.agent.gpu_errors import GpuLostError
from benchbox.agent.timing import burst as timing_burst

US = 1000
FLUSH_NS = 30 * US
WAKE_NS = 5 * US
COPY_NS = 40 * US


class Machine:
    """A graph of `kernels` that take `launch_ns` each on the host and `work_ns` on the GPU."""

    def __init__(self, kernels: int = 10, launch_ns: int = 4 * US, work_ns: int = US) -> None:
        self.kernels, self.launch_ns, self.work_ns = kernels, launch_ns, work_ns
        self.synchronises = False  # whether a call waits in its middle, as one with CPU nodes does
        self.now = self.free = self.first = self.last = 0
        self.did: list[str] = []

    def clock(self) -> int:
        return self.now

    def add(self, ns: int) -> None:
        self.free = max(self.free, self.now) + ns

    def wait(self) -> None:
        self.did.append("wait")
        self.now = max(self.now, self.free) + WAKE_NS

    def launch(self) -> None:
        for _ in range(self.kernels):
            self.now += self.launch_ns
            self.add(self.work_ns)

    def enqueue(self) -> None:
        self.did.append("enqueue")
        self.launch()
        if self.synchronises:
            self.wait()

    def run(self) -> None:
        self.did.append("run")
        self.launch()
        self.now = max(self.now, self.free) + WAKE_NS

    def run_with_copies(self) -> None:
        self.now += COPY_NS
        self.run()
        self.now += COPY_NS

    def flush(self) -> None:
        self.did.append("flush")
        self.add(FLUSH_NS)

    def hold(self, ns: int) -> None:
        self.did.append("hold")
        self.add(ns)

    def start(self) -> None:
        self.did.append("start")
        self.add(0)
        self.first = self.free

    def end(self) -> None:
        self.add(0)
        self.last = self.free

    def span_ns(self) -> int:
        self.now = max(self.now, self.last) + WAKE_NS
        return self.last - self.first

    def probe(self) -> int:
        self.did.append("probe")
        self.now += 100 * US
        return 77

    def burst(self, plan: BurstPlan, probe: Callable[[], int] | None = None) -> GpuBurst:
        return gpu_burst.time_gpu_calls(self, self, plan, probe, clock=self.clock)


@pytest.mark.parametrize(
    ("work_ns", "latency_ns", "span_ns"),
    [
        (1 * US, 10 * 4 * US + 1 * US + WAKE_NS, 10 * US),  # small kernels: launching takes longer
        (100 * US, 1000 * US + 4 * US + WAKE_NS, 1000 * US),  # large ones: much the same
    ],
)
def test_a_latency_has_the_launching_in_it(work_ns: int, latency_ns: int, span_ns: int) -> None:
    burst = Machine(10, 4 * US, work_ns).burst(BurstPlan(5))
    assert burst.latencies_ns == [latency_ns] * 5
    assert burst.spans_ns == [span_ns] * 5
    assert burst.enqueues_ns == [40 * US] * 5
    assert burst.unheld == 0
    assert (burst.marks, burst.probed_ns) == ([], 0)
    assert len(burst.switches or ()) == 5


def test_calls_that_wait_or_outlast_the_room_of_the_queue_are_counted_as_not_held() -> None:
    machine = Machine()
    machine.synchronises = True
    assert machine.burst(BurstPlan(3)).unheld == 3
    machine = Machine(10_000, 4 * US, 100)
    assert machine.burst(BurstPlan(1)).unheld == 1
    assert machine.burst(BurstPlan(1)).spans_ns[0] > 10_000 * 100


def test_a_cold_cache_is_flushed_before_each_and_never_within_what_is_timed() -> None:
    warm, cold = Machine(), Machine()
    expected = warm.burst(BurstPlan(4, copies=1))
    burst = cold.burst(BurstPlan(4, copies=1, cold=True))
    assert cold.did.count("flush") == 4 + 4 + 1
    assert "flush" not in warm.did
    assert burst.cold
    assert burst.latencies_ns == expected.latencies_ns
    assert burst.spans_ns == expected.spans_ns
    assert burst.copies_ns == expected.copies_ns == [expected.latencies_ns[0] + 2 * COPY_NS]
    machine = Machine()
    machine.burst(BurstPlan(1, cold=True))
    assert machine.did[-7:] == ["flush", "wait", "run", "hold", "flush", "start", "enqueue"]


def test_a_burst_settles_and_reads_the_sentinel_at_both_ends_and_between_long_calls() -> None:
    machine = Machine()
    burst = machine.burst(BurstPlan(3), machine.probe)
    assert machine.did[0] == "run"
    assert (burst.marks, burst.probed_ns) == ([(0, 77), (3, 77)], 200 * US)
    slow = Machine(10, 4 * US, 1000 * US)
    marks = slow.burst(BurstPlan(20), slow.probe).marks
    assert len(marks) > 3
    assert [calls for calls, _ in marks] == sorted({calls for calls, _ in marks})


def test_of_very_many_calls_some_are_timed() -> None:
    machine = Machine(1)
    burst = machine.burst(BurstPlan(3 * timing_burst.MOST_TIMED))
    assert len(burst.latencies_ns) == timing_burst.MOST_TIMED
    assert machine.did.count("run") > 3 * timing_burst.MOST_TIMED


@pytest.mark.parametrize("doing", ["run", "enqueue"])
def test_losing_the_gpu_in_a_burst_is_an_error(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access ; GPU=0 ; hostname=alice ; ")

    machine = Machine()
    monkeypatch.setattr(machine, doing, fail)
    with pytest.raises(GpuLostError, match="illegal memory access"):
        machine.burst(BurstPlan(1))


class Waiting(Machine):
    """A GPU by the real clock whose replays wait for their end, though asked not to."""

    WORK_NS = 3_000_000

    @property
    def now(self) -> int:  # type: ignore[override]
        return time.perf_counter_ns()

    @now.setter
    def now(self, _: int) -> None:
        """The time passes by itself."""

    def wait(self) -> None:
        while self.now < self.free:
            time.sleep(0.0001)

    def enqueue(self) -> None:
        time.sleep(0.0001)
        self.add(self.WORK_NS)
        self.wait()
        time.sleep(0.002)  # until the host has woken up

    run = run_with_copies = enqueue

    def start(self) -> None:
        self.first = max(self.free, self.now)

    def end(self) -> None:  # in another thread, which must not write what `add` does
        self.last = max(self.free, self.now)

    def join(self) -> None:
        self.did.append(threading.current_thread().name)

    def span_ns(self) -> int:
        self.wait()
        return super().span_ns()


def test_the_end_of_a_replay_that_waits_is_marked_while_it_waits() -> None:
    machine = Waiting()
    burst = machine.burst(BurstPlan(3, replayed=True))
    assert machine.did.count("span-end") == 1
    # Marked after the replay each would be 2 ms longer.
    assert min(burst.spans_ns) == Waiting.WORK_NS
    assert all(thread.name != "span-end" for thread in threading.enumerate())


def test_a_replay_that_is_queued_after_its_end_is_timed_anew() -> None:
    class Stalled(Waiting):
        calls = 0

        def enqueue(self) -> None:
            self.calls += 1
            if self.calls == 10:  # after those that settle it and see how long to hold
                time.sleep(0.05)
            super().enqueue()

        run = Waiting.run

        def end(self) -> None:  # of a queue that is held, however late this thread is
            self.last = max(self.free, self.first)

    machine = Stalled()
    burst = machine.burst(BurstPlan(8, replayed=True))
    assert (len(burst.spans_ns), min(burst.spans_ns)) == (8, Waiting.WORK_NS)
    assert machine.calls > 8 + 3


@pytest.mark.parametrize("stalls", [0, 2])
def test_a_host_that_stalls_once_is_not_taken_for_a_replay_that_waits(stalls: int) -> None:
    class Stalled(Machine):
        left = stalls

        def enqueue(self) -> None:
            self.now += 3_000 * US if self.left else 0
            self.left = max(0, self.left - 1)
            super().enqueue()

    burst = Stalled(1, 10 * US, 300 * US).burst(BurstPlan(3, replayed=True))
    assert (burst.enqueues_ns, burst.spans_ns) == ([10 * US] * 3, [300 * US] * 3)
    assert stalls or burst.unheld == 0


def test_what_goes_wrong_in_the_second_thread_is_raised_in_the_first() -> None:
    class Broken(Waiting):
        def join(self) -> None:
            raise RuntimeError("no context here")

    with pytest.raises(RuntimeError, match="no context here"):
        Broken().burst(BurstPlan(1, replayed=True))
    assert all(thread.name != "span-end" for thread in threading.enumerate())


def test_readings_of_the_host_belong_to_the_marks_they_were_taken_at() -> None:
    machine, numbers = Machine(), count(1)
    beside = PairedProbe(machine.probe, lambda: next(numbers))
    burst = machine.burst(BurstPlan(4), beside.read)
    assert burst.marks == [(0, 77), (4, 77)]
    assert beside.marks(burst.marks) == [(0, 1), (4, 2)]
    with pytest.raises(ValueError, match="shorter"):
        beside.marks([*burst.marks, (9, 77)])
    assert host_sentinel.compute() > 0

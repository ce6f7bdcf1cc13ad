"""A GPU's host that is slow for a while: seen by its own sentinel, and kept out of latencies."""

import random
from collections.abc import Iterable
from dataclasses import asdict
from itertools import count

import pytest

from benchbox.agent.gpu import burst as gpu_burst
from benchbox.agent.gpu import host_sentinel
from benchbox.agent.gpu.burst import BurstPlan
from benchbox.agent.gpu.host_sentinel import PairedProbe
from benchbox.agent.stdio import Message
from benchbox.analysis import gpu_time, samples
from benchbox.analysis.samples import Burst, Latency
from benchbox.analysis.states import Gate, Readings
from benchbox.sampling.session import Timed
from tests.agent.test_gpu_burst import US, WAKE_NS, Machine

HOST_NS = 12_000
FAST_NS = 10 * 4 * US + US + WAKE_NS  # of a call that is launched by a processor in its usual state


class SlowHost(Machine):
    """A machine whose processor is `slowness` times as slow; the GPU is what it always is."""

    def __init__(self, slowness: int) -> None:
        super().__init__(launch_ns=4 * US * slowness)
        self.slowness = slowness

    def host(self) -> int:
        return HOST_NS * self.slowness

    def watched(self) -> Message:
        """A burst as an agent sends it; no other program runs on this machine."""
        beside = PairedProbe(self.probe, self.host)
        burst = gpu_burst.time_gpu_calls(
            self, self, BurstPlan(4, copies=1), beside.read, clock=self.clock
        )
        return {**asdict(burst), "switches": [0] * 4, "host_marks": beside.marks(burst.marks)}


def measured(slownesses: Iterable[int]) -> tuple[list[Burst], Gate]:
    """Bursts on a processor that is so slow in each, and the gate that their readings make."""
    readings, bursts = Readings(), []
    for number, slowness in enumerate(slownesses):
        burst = Timed("g", SlowHost(slowness).watched()).burst(session=0, round=number)
        readings.add(burst.probe, burst.marks, burst.stream_ns, burst.host_marks)
        bursts.append(burst)
    readings.update()
    return bursts, readings.gate


def estimated(bursts: list[Burst], gate: Gate) -> Latency:
    found = samples.estimate(bursts, gate)
    assert found is not None
    return found


HALF_SLOW = [1, 2] * 20
random.Random(3).shuffle(HALF_SLOW)


def test_what_the_host_took_while_it_was_slow_is_no_latency() -> None:
    bursts, gate = measured(HALF_SLOW)
    found, unwatched = (estimated(bursts, each) for each in (gate, Gate(compute=gate.compute)))
    assert unwatched.interval is not None
    assert unwatched.interval.high > 1.5 * unwatched.interval.low  # of either state by chance
    assert found.p50_s == pytest.approx(FAST_NS * 1e-9)
    assert found.quiet_share == 0.5
    assert found.rounds == len(bursts) // 2


def test_a_slow_host_is_the_cause_and_no_span_is_lost_to_it() -> None:
    bursts, gate = measured(HALF_SLOW)
    assert samples.tag_shares(bursts, gate) == {"slow": 0.5}
    found, everything = gpu_time.estimate(bursts, gate), gpu_time.estimate(bursts)
    assert found is not None
    assert everything is not None
    assert found.span_s == pytest.approx(10 * US * 1e-9)
    assert (found.copies_s or 1e9) < (everything.copies_s or 0)


def test_readings_belong_to_the_marks_they_were_taken_at() -> None:
    numbers = count(1)
    beside = PairedProbe(lambda: 77, lambda: next(numbers))
    assert [beside.read() for _ in range(3)] == [77] * 3
    assert beside.marks([(0, 77), (5, 77), (9, 77)]) == [(0, 1), (5, 2), (9, 3)]
    with pytest.raises(ValueError, match="shorter"):
        beside.marks([(0, 77), (5, 77), (9, 77), (12, 77)])
    burst = SlowHost(1).watched()
    assert burst["marks"] == [(0, 77), (4, 77)]
    assert burst["host_marks"] == [(0, HOST_NS), (4, HOST_NS)]
    assert host_sentinel.compute() > 0

"""Profile of a graph by ONNX Runtime's profiler, in turn with the graph without it.

A profiled call is no call that anybody makes. To write a node down takes some 5 us within the
node's own time, and as much again between nodes: ShuffleNetV2 x1.0, 168 nodes in 5 ms, takes 1.4
times as long. So the same graph is timed in turn without the profiler, to know what to take off;
and without optimisation, to know what that is worth.
"""

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from benchbox.agent.ort.trace import Recording
from benchbox.agent.stdio import Message, sentence
from benchbox.agent.timing.burst import MOST_TIMED, settle, time_calls

if TYPE_CHECKING:
    import onnxruntime as ort

    from benchbox.agent.runtime import LoadedGraph

ROUNDS, BURST_S = 10, 0.1
BRIEF_ROUNDS, BRIEF_BURST_S = 4, 0.05  # of one of many graphs, each of which is taken twice
LEAST_CALLS = 2  # in a burst
LONGEST_S = 120.0  # after which no further round is begun
CALIBRATING_CALLS = 3  # to see how long one takes, of which a disturbed one tells nothing
READ_S = 1.0  # that writing and reading the events should take

Options = Callable[[], "ort.SessionOptions"]


def profile(request: Message, threads: int, options: Options) -> Iterator[dict[str, object]]:
    """Yield a step whenever something is done, with what the next should take; then the reply.

    Three variants of the graph take turns: as it is timed, profiled, and without optimisation. The
    reply has all latencies in ns by variant, and every profiled call by the profiler, whole and by
    node. Of one thread it has the processor's time of each call as well, which other programs add
    nothing to. A `brief` request is for one of many graphs: in fewer and shorter bursts, without
    the last variant.
    """
    from benchbox.agent.ort import session

    asked = (request["path"], request["provider"], request["inputs"], request["seed"])
    load = partial(session.load, *asked)
    with Recording() as recording:
        calls = {"default": load(options()).call}
        yield _step(0.0)
        calls["profiled"] = load(recording.attach(options())).call
        recording.hide()
        yield _step(0.0)
        is_brief = bool(request.get("brief"))
        reason = "" if is_brief else _add_unoptimised(calls, load, options())
        bursts = Bursts(calls, threads, request["most_calls"], is_brief=is_brief)
        yield from bursts.take()
        calls.clear()
        gc.collect()  # the session is gone, and its events are written
        every = recording.runs()  # those of opening the graph come first
        runs = list(compress(every[len(every) - len(bursts.belongs) :], bursts.belongs))
        nodes = recording.nodes(runs)
    yield {
        "reply": "profile",
        "latencies_ns": bursts.latencies_ns,
        "cpu_ns": bursts.cpu_ns if threads == 1 else None,
        "unoptimised_error": reason,
        "run_us": [run.us for run in runs],
        "nodes": nodes,
    }


def _step(share: float, next_s: float | None = None) -> dict[str, object]:
    """Progress so far, and the seconds that the next step should take; None for opening a graph."""
    return {"step": {"share": share, "next_s": next_s}}


def _add_unoptimised(
    calls: dict[str, Callable[[], object]],
    load: "Callable[[ort.SessionOptions], LoadedGraph]",
    options: "ort.SessionOptions",
) -> str:
    """Add the graph as its file has it; return why it does not run so: some need a fusion."""
    import onnxruntime as ort

    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        calls["unoptimised"] = load(options).call
    except Exception as error:  # whatever a runtime raised: the others run all the same
        return sentence(error)
    return ""


class Bursts:
    """Bursts of variants in turn, so that a drift of the processor is the same for all.

    `latencies_ns` has those of every variant, `cpu_ns` the time of the calling thread in each;
    `belongs` says of each call of the profiled session since then whether it is one of them.
    """

    def __init__(
        self,
        calls: dict[str, Callable[[], object]],
        threads: int,
        most_profiled: int,
        *,
        is_brief: bool = False,
    ) -> None:
        self._rounds = BRIEF_ROUNDS if is_brief else ROUNDS
        burst_s = BRIEF_BURST_S if is_brief else BURST_S
        self._calls = calls
        self._threads = threads
        self._counts: dict[str, int] = {}
        self._round_s = 0.0
        self._read: dict[str, list[int]] = {name: [] for name in calls}  # since a burst began
        for name, call in calls.items():
            calls[name] = call = _clocked(call, self._read[name])
            call_s = max(1, min(settle(call) for _ in range(CALIBRATING_CALLS))) / 1e9
            most = most_profiled // self._rounds if name == "profiled" else MOST_TIMED
            most = min(most, MOST_TIMED)
            count = self._counts[name] = max(LEAST_CALLS, min(most, int(burst_s / call_s)))
            self._round_s += (1 + count) * call_s
        self.latencies_ns: dict[str, list[int]] = {name: [] for name in calls}
        self.cpu_ns: dict[str, list[int]] = {name: [] for name in calls}
        self.belongs = [False] * len(self._read["profiled"])

    def take(self) -> Iterator[dict[str, object]]:
        """Time a burst of every variant in each round, and yield a step for it."""
        end = time.monotonic() + LONGEST_S
        order = list(self._calls)
        gc.disable()
        try:
            for index in range(self._rounds):
                yield _step(index / self._rounds, self._round_s)
                for name in order:
                    self._burst(name)
                order.reverse()
                if time.monotonic() > end:
                    break
        finally:
            gc.enable()
        yield _step(1.0, READ_S)

    def _burst(self, name: str) -> None:
        readings, count = self._read[name], self._counts[name]
        readings.clear()
        burst = time_calls(self._calls[name], count, self._threads)
        self.latencies_ns[name] += burst.latencies_ns
        self.cpu_ns[name] += readings[-count:]
        if name == "profiled":
            # The first calls of a burst only bring the graph back into the caches.
            self.belongs += [False] * (len(readings) - count) + [True] * count


def _clocked(call: Callable[[], object], readings: list[int]) -> Callable[[], object]:
    """The call, which adds what it takes of its thread's time to the readings."""
    clock = time.thread_time_ns

    def clocked() -> object:
        start = clock()
        result = call()
        readings.append(clock() - start)
        return result

    return clocked

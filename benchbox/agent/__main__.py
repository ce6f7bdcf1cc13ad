"""The agent's loop: JSON requests in, JSON replies out; `bye` or a closed stdin ends it."""

import gc
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchbox.agent import PROTOCOL, stdio
from benchbox.agent.gpu_errors import GpuFullError, GpuLostError
from benchbox.agent.host import clusters, disturbances, energy, machine
from benchbox.agent.host.clusters import Cluster
from benchbox.agent.host.counters import Counters
from benchbox.agent.host.disturbances import PROC, SYS, CounterReader
from benchbox.agent.host.health import HealthReader
from benchbox.agent.ort import plugins
from benchbox.agent.ort.runtime import OnnxRuntime
from benchbox.agent.runtime import GpuGraph, LoadedGraph, Runtime
from benchbox.agent.stdio import Message, sentence
from benchbox.agent.timing import denormals
from benchbox.agent.timing.arrival import time_arrivals
from benchbox.agent.timing.burst import TimedBurst, time_calls

if TYPE_CHECKING:
    from benchbox.agent.gpu.device import GpuDevice
    from benchbox.agent.gpu.sentinel import GpuSentinel
    from benchbox.agent.timing.sentinel import Sentinel

FACTS = "--facts"
GPU_LOST = 3  # the exit code


class AgentProgram:
    """State between requests: the loaded graphs, the threads, and their processors."""

    def __init__(self, proc: Path = PROC, sys: Path = SYS, runtime: Runtime | None = None) -> None:
        """Serve for the machine that these folders describe, by ONNX Runtime or by another."""
        self._proc, self._sys = proc, sys
        self._runtime = runtime or OnnxRuntime()
        self.health = HealthReader((), sys)
        self.sessions: dict[str, LoadedGraph] = {}
        self.threads = 1
        self.cpus: list[int] = []
        self.sentinel: Sentinel | GpuSentinel | None = None
        self.gpu: GpuDevice | None = None
        self.counters: CounterReader | None = None
        self.energy = energy.EnergyMeter("")

    def replies(self, request: Message) -> Iterator[dict[str, object]]:
        """Yield every reply to one request; an error becomes a reply."""
        handlers: dict[str, Callable[[Message], Iterator[dict[str, object]]]] = {
            "hello": self.hello,
            "load": self.load,
            "time": self.time,
            "look": self.look,
            "health": self.report_health,
            "gpu": self.require_gpu,
            "ceilings": self.ceilings,
            "cpu_ceilings": self.cpu_ceilings,
            "profile": self.profile,
            "unload": self.unload,
            "bye": self.bye,
        }
        op = str(request.get("op"))
        try:
            if op not in handlers:
                raise ValueError(f"unknown request {op!r}")
            yield from handlers[op](request)
        except GpuLostError as error:
            _leave(error)
        except Exception as error:  # whatever a runtime raised belongs to this request alone
            full = {"full": True} if isinstance(error, GpuFullError) else {}
            yield {"reply": op, "error": sentence(error), **full}

    def hello(self, request: Message) -> Iterator[dict[str, object]]:
        """Pin this process, import the runtime, and report what is here."""
        if request["protocol"] != PROTOCOL:
            raise ValueError(f"protocol {request['protocol']} asked for, {PROTOCOL} spoken here")
        host = machine.host()
        self.threads = int(request["threads"])
        usable = machine.usable_cpus()
        found = clusters.read(usable, self._proc, self._sys)
        self.cpus = self._chosen(request.get("cpus"), found)
        driving = request.get("driving")
        if driving and isinstance(self._runtime, OnnxRuntime):
            from benchbox.agent.gpu.runtime import GpuOnnxRuntime

            self._runtime = GpuOnnxRuntime(driving, request["gpu"], request["provider"], usable)
        machine.pin(self.cpus)
        self.health = HealthReader(self.cpus, self._sys)
        self._runtime.begin(request, self.cpus)
        self.gpu = self._runtime.gpu
        import numpy as np

        self.sentinel = self._probes()
        self.counters = CounterReader(self.threads, self.cpus, self._proc, self._sys)
        counted = self.gpu.read_counters if self.gpu else None
        self.energy = energy.meter(self._sys, self.cpus, counted)
        plugin = self._runtime.plugin() or {}
        simulator = plugin.get(plugins.SIMULATOR)
        yield {
            "reply": "hello",
            "protocol": PROTOCOL,
            "host": {
                **host,
                **({"emulated": simulator} if simulator else {}),
                **self._gpu_facts(host),
                "clusters": [each.facts() for each in found],
                "setting": self.health.setting(),
                "energy": self.energy.facts(),
            },
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                **self._runtime.versions(),
            },
            "providers": self._runtime.providers(),
            "plugins": plugins.installed(),
            **self._build(),
            **({"plugin": plugin} if plugin else {}),
            "cpus": self.cpus,
            "affinity": machine.affinity(),
            "rss_bytes": machine.rss_bytes(),
            **({} if self.gpu is None else {"seen": self.gpu.read_counters()}),
        }

    def _build(self) -> dict[str, str]:
        """How ONNX Runtime was built, which decides what runs and how fast."""
        return {"build": self._runtime.build()} if isinstance(self._runtime, OnnxRuntime) else {}

    def _probes(self) -> "Sentinel | GpuSentinel":
        if self.gpu is not None:
            return self.gpu.sentinel
        from benchbox.agent.timing.sentinel import Sentinel

        return Sentinel(self.cpus)

    def _gpu_facts(self, host: Message) -> dict[str, object]:
        """Facts of the GPU, and its free memory or the host's, whichever is smaller."""
        if self.gpu is None:
            return {}
        free = self.gpu.free_bytes()
        smaller = min(free, host.get("memory_available_bytes", free))
        return {
            "gpu": self.gpu.facts(),
            "gpu_bus": self.gpu.bus_id(),
            "memory_available_bytes": smaller,
        }

    def _chosen(self, asked: Sequence[int] | str | None, found: Sequence[Cluster]) -> list[int]:
        """Return the processors asked for by number or by word, else the fastest."""
        if isinstance(asked, str):
            return clusters.choose(asked, self.threads, found, self._sys)
        usable = [cpu for cluster in found for cpu in cluster.cpus]
        if absent := sorted(set(asked or ()) - set(usable)):
            raise ValueError(
                f"it has no processor {absent[0]} to run on; choose from {machine.ranges(usable)}"
            )
        return list(
            asked or machine.choose_cpus(self.threads, usable, self._sys / machine.PROCESSORS)
        )

    def load(self, request: Message) -> Iterator[dict[str, object]]:
        """Open a graph, call it once, and keep it."""
        gc.collect()  # what a graph that failed has left on a GPU is free again
        if not self.sessions and self.gpu is None and isinstance(self._runtime, OnnxRuntime):
            self._runtime.warm_up()
        mark = machine.mark_peak()
        loaded = self._runtime.load(request)
        machine.check_bound(self.cpus)
        # With more threads the pool's keep their own mode, and no call could tell.
        is_short = self.threads == 1 and loaded.first_call_s < denormals.LONGEST_S
        looked_for = request.get("denormals") and is_short and self.gpu is None
        denormal_ratio = denormals.ratio(loaded.call) if looked_for else None
        gc.collect()
        gc.freeze()
        reply: dict[str, object] = {
            "reply": "load",
            "load_s": loaded.load_s,
            "first_call_s": loaded.first_call_s,
            "finite": loaded.finite,
            "nodes": loaded.nodes,
            "denormal_ratio": denormal_ratio,
            "outputs": loaded.outputs,
            "gpu_bytes": loaded.gpu_bytes,
            "affinity": machine.affinity(),
            "rss_bytes": machine.rss_bytes(),
            "peak_rss_bytes": machine.peak_rss_bytes(),
            "peak_bytes": machine.peak_since(mark),
        }
        if request.get("compare"):
            reply |= self._runtime.compare(request, loaded)
        self.sessions[request["graph"]] = loaded
        yield reply | ({"types": self._runtime.types(request)} if request.get("types") else {})

    def time(self, request: Message) -> Iterator[dict[str, object]]:
        """Time bursts in the order asked for; the garbage collector is off meanwhile."""
        gc.disable()
        try:
            for graph, *how in request["bursts"]:
                yield {"burst": {"graph": graph, **self._burst(graph, *how)}}
        finally:
            gc.enable()
        yield {
            "reply": "time",
            "peak_rss_bytes": machine.peak_rss_bytes(),
            "setting": self.health.setting(),
        }

    def _burst(
        self, graph: str, calls: int, stream: bool = False, period_s: float = 0.0
    ) -> dict[str, object]:
        assert self.sentinel is not None, "greeted"
        kind = "stream" if stream else "compute"
        try:
            levels = [] if stream or period_s else [self.sentinel.level()]
            before = self._read_counters()
            mark = self.energy.mark()
            burst, host = self._timed(self.sessions[graph], calls, period_s, stream=stream)
            used = self.energy.since(mark, "" if period_s else graph)
            change = disturbances.between(before, self._read_counters()) | used
            levels += [self.sentinel.level() for _ in levels]
        except GpuLostError as error:
            _leave(error)
        except Exception as error:  # one graph's failure must not end the others' bursts
            return {"error": sentence(error)}
        facts = {
            "probe": kind,
            "stream_ns": [level[0] for level in levels],
            "refill_ns": [ns for level in levels for ns in level[1:]],
            "pool": self.threads > 1,
            "seen": change,
            "probed_ns": burst.probed_ns + self.sentinel.levelled_ns(),
        }
        return {**asdict(burst), **host, **facts}

    def _timed(
        self, session: LoadedGraph, calls: int, period_s: float, *, stream: bool
    ) -> tuple[TimedBurst, dict[str, object]]:
        """Return a burst and, of a GPU, what the host's processor read meanwhile."""
        assert self.sentinel is not None, "greeted"
        probe = self.sentinel.copy if stream else self.sentinel.compute
        if period_s:
            return time_arrivals(session.call, calls, self.threads, period_s), {}
        if self.gpu is not None:
            assert isinstance(session, GpuGraph), "loaded there"
            return self._on_gpu(self.gpu, session, calls, probe, stream=stream)
        burst = time_calls(session.call, calls, self.threads, probe, memory_bound=stream)
        return burst, {}

    def _on_gpu(
        self,
        gpu: "GpuDevice",
        session: GpuGraph,
        calls: int,
        probe: Callable[[], int],
        *,
        stream: bool,
    ) -> tuple[TimedBurst, dict[str, object]]:
        """Watch the processor too: it launches what the GPU is to do, and shows in latencies."""
        from benchbox.agent.gpu.host_sentinel import PairedProbe

        paired = PairedProbe(probe)
        burst = gpu.time_calls(session, calls, paired.read, memory_bound=stream)
        return burst, {"host_marks": paired.marks(burst.marks)}

    def _read_counters(self) -> Counters:
        """Counters of the system and, of a GPU, of its driver."""
        assert self.counters is not None, "greeted"
        return self.counters.read_counters() | self._runtime.read_counters()

    def require_gpu(self, request: Message) -> Iterator[dict[str, object]]:
        """Check that there is a GPU to use, before anything is done for it."""
        from benchbox.agent.gpu.runtime import require

        try:
            require(int(request["index"]), request["provider"])
        except RuntimeError as error:
            raise stdio.Refusal(str(error)) from None
        yield {"reply": "gpu"}

    def ceilings(self, _: Message) -> Iterator[dict[str, object]]:
        """Measure the GPU's peak rates."""
        if self.gpu is None:
            raise ValueError("only GPUs have ceilings")
        yield {
            "reply": "ceilings",
            "ceilings": self.gpu.ceilings(),
            "seen": self.gpu.read_counters(),
        }

    def cpu_ceilings(self, _: Message) -> Iterator[dict[str, object]]:
        """Measure the peak rates of this session's processors."""
        from benchbox.agent.ort import ceilings

        gc.collect()
        yield {
            "reply": "cpu_ceilings",
            "ceilings": ceilings.measure(self._runtime.load, self.cpus[: self.threads]),
        }

    def look(self, request: Message) -> Iterator[dict[str, object]]:
        """Observe a processor, then the GPU, for a second at most; add the machine's settings."""
        from benchbox.agent.host import settings, watch
        from benchbox.agent.timing.sentinel import Sentinel

        try:
            observed = watch.observe(Sentinel().compute, request["cpu"], request["seconds"])
        finally:
            machine.pin(self.cpus)
        gpu = {} if self.gpu is None else {"gpu": self.gpu.observe(request["seconds"])}
        yield {"reply": "look", "look": {**observed, **gpu}, "facts": settings.read(self.cpus)}

    def report_health(self, _: Message) -> Iterator[dict[str, object]]:
        """Report the device's temperature and settings."""
        yield {
            "reply": "health",
            "temperature_c": (self.gpu or self.health).temperature_c(),
            "setting": self.health.setting(),
        }

    def profile(self, request: Message) -> Iterator[dict[str, object]]:
        """Profile a graph, which is opened for this alone."""
        from benchbox.agent.ort import profile as ort_profile
        from benchbox.agent.ort import session

        yield from ort_profile.profile(
            request, self.threads, lambda: session.options(self.threads, self.cpus)
        )

    def unload(self, request: Message) -> Iterator[dict[str, object]]:
        """Forget a graph and give its memory back."""
        self.sessions.pop(request["graph"], None)
        gc.collect()
        yield {"reply": "unload"}

    def bye(self, _: Message) -> Iterator[dict[str, object]]:
        """Acknowledge; the loop ends after it."""
        yield {"reply": "bye"}


def _leave(error: GpuLostError) -> NoReturn:
    """End the process: whoever reads its last words starts one that can use the GPU again."""
    sys.stderr.write(f"{sentence(error)}\n")
    sys.stderr.flush()
    os._exit(GPU_LOST)


def main() -> None:
    """Serve on stdin and stdout; with `--facts` say on one line what the device is, and end."""
    if sys.argv[1:] == [FACTS]:
        from benchbox.agent.host import facts

        sys.stdout.write(json.dumps(facts.read()) + "\n")
        return
    # Before onnxruntime is imported: it reports its use over the network unless told not to.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    stdio.serve(AgentProgram().replies)


if __name__ == "__main__":
    main()

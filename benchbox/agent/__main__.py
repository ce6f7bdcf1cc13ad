"""The agent's loop: JSON requests in, JSON replies out; `bye` or a closed stdin ends it."""

import gc
import os
import platform
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from benchbox.agent import PROTOCOL, stdio, system, timing
from benchbox.agent.stdio import Message, sentence

if TYPE_CHECKING:
    from benchbox.agent.session import Session


class Agent:
    """What is held between requests: the loaded graphs, the threads, and where they run."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.threads = 1
        self.cpus: list[int] = []

    def replies(self, request: Message) -> Iterator[dict[str, object]]:
        """Yield every reply to one request; an error becomes a reply that says so."""
        handlers: dict[str, Callable[[Message], Iterator[dict[str, object]]]] = {
            "hello": self.hello,
            "load": self.load,
            "time": self.time,
            "unload": self.unload,
            "bye": self.bye,
        }
        op = str(request.get("op"))
        try:
            if op not in handlers:
                raise ValueError(f"unknown request {op!r}")
            yield from handlers[op](request)
        except Exception as error:  # whatever a runtime raised belongs to this request alone
            yield {"reply": op, "error": sentence(error)}

    def hello(self, request: Message) -> Iterator[dict[str, object]]:
        """Pin this process, import ONNX Runtime, and say what is here."""
        if request["protocol"] != PROTOCOL:
            raise ValueError(f"protocol {request['protocol']} asked for, {PROTOCOL} spoken here")
        host = system.host()
        self.threads = int(request["threads"])
        usable = system.usable_cpus()
        self.cpus = list(request.get("cpus") or system.choose_cpus(self.threads, usable))
        system.pin(self.cpus)
        import numpy as np
        import onnxruntime as ort

        yield {
            "reply": "hello",
            "protocol": PROTOCOL,
            "host": host,
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "onnxruntime": ort.__version__,
            },
            "providers": ort.get_available_providers(),
            "cpus": self.cpus,
            "affinity": system.affinity(),
            "rss_bytes": system.rss_bytes(),
        }

    def load(self, request: Message) -> Iterator[dict[str, object]]:
        """Open a graph, call it once, and keep it."""
        from benchbox.agent import session

        options = session.options(self.threads, self.cpus)
        loaded = session.load(
            request["path"], request["provider"], request["inputs"], request["seed"], options
        )
        self.sessions[request["graph"]] = loaded
        gc.collect()
        gc.freeze()
        yield {
            "reply": "load",
            "load_s": loaded.load_s,
            "first_call_s": loaded.first_call_s,
            "finite": loaded.finite,
            "outputs": loaded.outputs,
            "affinity": system.affinity(),
            "rss_bytes": system.rss_bytes(),
            "peak_rss_bytes": system.peak_rss_bytes(),
        }

    def time(self, request: Message) -> Iterator[dict[str, object]]:
        """Time bursts in the order asked for; the garbage collector is off meanwhile."""
        gc.disable()
        try:
            for graph, calls in request["bursts"]:
                yield {"burst": self._burst(graph, calls)}
        finally:
            gc.enable()
        yield {"reply": "time", "peak_rss_bytes": system.peak_rss_bytes()}

    def _burst(self, graph: str, calls: int) -> dict[str, object]:
        try:
            call = self.sessions[graph].call
            timing.settle(call, self.threads)
            burst = timing.burst(call, calls, self.threads)
        except Exception as error:  # one graph's failure must not end the others' bursts
            return {"graph": graph, "error": sentence(error)}
        return {"graph": graph, "latencies_ns": burst.latencies_ns, "switches": burst.switches}

    def unload(self, request: Message) -> Iterator[dict[str, object]]:
        """Forget a graph and give its memory back."""
        self.sessions.pop(request["graph"], None)
        gc.collect()
        yield {"reply": "unload"}

    def bye(self, _: Message) -> Iterator[dict[str, object]]:
        """Say goodbye; the loop ends after it."""
        yield {"reply": "bye"}


def main() -> None:
    """Serve on stdin and stdout."""
    # Before onnxruntime is imported: it reports its use over the network unless told not to.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    stdio.serve(Agent().replies)


if __name__ == "__main__":
    main()

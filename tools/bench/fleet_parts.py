"""Processes of a fleet in scaled time: scheduler, submitter, and hosts of stand-in devices.

A device sleeps for as long as its cases take, which is in their names, divided by SPEED; what
everything else takes is real.
"""

import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchbox.analysis.samples import Burst
from benchbox.api.plan import PUBLISHED
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError
from benchbox.export import Graph
from benchbox.fleet import authority, chunks, engine, members, scheduler
from benchbox.runner.request import Outcome, Prepared, Request
from benchbox.specs import BlockSpec, Case, OnnxFile, Selection
from tests.fleet import stand_in
from tests.helpers.runs import graph_of, named

SPEED = 12.0
SHORTEST_S, LONGEST_S = 2.0, 20.0
SESSIONS, ROUNDS, CALLS = 3, 18, 2  # of a case, as many as an ordinary run has
GRAPH_BYTES = 4096


def takes_s(name: str) -> float:
    """How long a case takes on a device."""
    return float(name.rpartition("-")[2])


def measure(log: Path, request: Request, ready: Prepared, watcher: Any) -> Outcome:
    begin = time.monotonic()
    device = request.device.name
    generator = random.Random(device)

    def bursts() -> dict[str, list[Burst]]:
        calls = [10**6, 3 * 10**6] + [generator.randrange(10**6, 3 * 10**6) for _ in range(CALLS)]
        places = product(range(SESSIONS), range(ROUNDS))
        return {"bursts": [Burst(session, at, tuple(calls)) for session, at in places]}

    outcome = stand_in.timed(request, ready, watcher, bursts)
    busy_s = sum(takes_s(case.name) for case in ready.cases)
    time.sleep(max(0.0, begin + busy_s / SPEED - time.monotonic()))
    with log.open("a") as file:
        file.write(json.dumps([device, begin, time.monotonic(), busy_s]) + "\n")
    return outcome


def host(url: str, folder: str, *names: str) -> None:
    """Offer devices until the end."""
    from benchbox.fleet import offered, worker

    os.environ["BENCHBOX_CACHE_DIR"] = str(Path(folder) / f"cache-{names[0]}")
    tempfile.tempdir = folder
    found = [Device(name, CPU_PROVIDER, 1, "arm") for name in names]
    there = [offered.Offered(each, members.described(each, **stand_in.HELLO)) for each in found]
    with patch.object(worker, "measure", partial(measure, Path(folder) / f"log-{names[0]}")):
        asyncio.run(worker.serve(authority.parse(url), there, partial(print, flush=True)))


def schedule(url: str) -> None:
    """Run a scheduler until the end."""
    asyncio.run(scheduler.run(authority.parse(url), partial(print, flush=True)))


def yielded(folder: Path, count: int) -> Iterator[Case]:
    """Yield cases of 2 to 20 s, each with a graph of its own."""
    generator = random.Random(0)
    for index in range(count):
        takes = generator.uniform(SHORTEST_S, LONGEST_S)
        (case,) = named(f"v{index}-{takes:.2f}")
        path = folder / f"{case.name}.onnx"
        path.write_bytes(f"{index:08}".encode() * (GRAPH_BYTES // 8))
        yield replace(case, group=case.name, source=OnnxFile(path))


class Silent:
    """Hears of a run, and says what went wrong."""

    def exporting(self, *_: object) -> None:
        pass

    def finished(self, *_: object) -> None:
        pass

    def aside(self, device: str, reason: str) -> None:
        print(device, reason, file=sys.stderr)

    def waiting(self, reason: str) -> None:
        print(reason or "it is back", file=sys.stderr)

    def failed(self, error: BenchboxError) -> None:
        print(error, file=sys.stderr)

    def resting(self, reasons: Mapping[str, str]) -> None:
        print(reasons, file=sys.stderr)

    def usual(self, device: str) -> None:
        print(device, "is usual again", file=sys.stderr)

    def left(self, device: str) -> None:
        print(device, "has left", file=sys.stderr)

    def back(self, device: str) -> None:
        print(device, "is back", file=sys.stderr)

    def stopping(self, count: int) -> None:
        pass


def submitter(url: str, folder: str, count: str) -> None:
    """Have cases timed as they come, and print what it took."""
    from benchbox.fleet import submit

    def prepare(_: object, cases: Sequence[Case], *__: object) -> dict[str, Graph]:
        return {case.key: graph_of(case) for case in cases}

    place = Path(folder)
    (place / "graphs").mkdir(exist_ok=True)
    request = Request(
        name="search",
        specs=[BlockSpec("tiny", "Search", "0" * 64, lambda _: [])],
        selection=Selection(),
        device=Device("", CPU_PROVIDER, 1, "arm", url="fleet:"),
        plan=PUBLISHED,
        results=place / "results",
    )
    begin = time.monotonic()
    with patch.object(chunks, "prepare", prepare):
        stream = yielded(place / "graphs", int(count))
        submit.run(authority.parse(url), [request], (), Silent(), stream=stream)
    took = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "begin": begin,
                "end": time.monotonic(),
                "rss_mb": took.ru_maxrss / 1e3,
                "cpu_s": took.ru_utime + took.ru_stime,
            }
        )
    )


if __name__ == "__main__":
    engine.require()
    roles: dict[str, Callable[..., None]] = {
        "host": host,
        "scheduler": schedule,
        "submitter": submitter,
    }
    roles[sys.argv[1]](*sys.argv[2:])

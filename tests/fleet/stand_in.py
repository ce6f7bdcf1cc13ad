"""A process of a fleet of stand-ins: start, scheduler or worker, URL, two folders, names.

A device times a case at once, but waits while the second folder has a file `hold` or `hold-NAME`,
until that has one `go` for this task. One whose name has a file there is broken; with `NAME.slow`
it has no time for a call, with `NAME.lost` each case fails, with `NAME.bare` its figures are of no
graph; `NAME.ns` has what its sentinel reads.
Graphs are exported, too: each is the name of its case.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchbox import export
from benchbox.analysis.latency import Latency
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, state_at
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError, TooMuchError
from benchbox.export import Graph
from benchbox.fleet import authority, engine, members
from benchbox.fleet.condition import Condition, Glance
from benchbox.records import Status, resume
from benchbox.records.journal import Journal
from benchbox.records.model import CUT_SHORT, STILL_TIMED
from benchbox.runner import record
from benchbox.runner.request import Outcome, Prepared, Request
from benchbox.specs import Case, OnnxFile
from tests.helpers.record_files import context
from tests.helpers.runs import graph_of

if TYPE_CHECKING:
    from benchbox.fleet.offered import Offered

IDLE = Glance(100_000.0)
CALLS_NS = (10**6, 2 * 10**6, 3 * 10**6)
LATENCY = Latency(0.002, 0.0019, 0.0021, 0.003, None, 0.002, 0.001, 64, 0.9, 20)
FLAGS: Mapping[str, Mapping[str, Any]] = {
    "slow": {"status": "imprecise", "latency": None},
    "lost": {"status": "failed", "latency": None},
    "bare": {"graph": None},
}
HELLO: Mapping[str, Any] = {
    "host": {"machine": "aarch64", "cpu": "Cortex-A76", "cpus": 4},
    "versions": {"onnxruntime": "1.22"},
}


def measure(folder: Path, request: Request, ready: Prepared, watcher: Any) -> Outcome:
    name = request.device.name
    with (folder / "begun").open("a") as file:
        file.write(f"{name} {' '.join(case.key for case in ready.cases)}\n")
    if request.device.threads > HELLO["host"]["cpus"]:
        raise TooMuchError("more threads than processors")
    gate = Gate(state_at(reading_ns(folder, name), 3))
    facts: dict[str, Any] = {"gate": gate}
    for flag, changed in FLAGS.items():
        if (folder / f"{name}.{flag}").exists():
            facts |= changed
    return timed(request, ready, watcher, lambda: facts, partial(is_held, folder, name))


def is_held(folder: Path, name: str) -> bool:
    with suppress(FileNotFoundError):
        (folder / "go").unlink()
        return False
    if (folder / "hold").exists() or (folder / f"hold-{name}").exists():
        return True
    if (folder / name).exists():
        raise DeviceError(f"device {name!r}: it is on fire")
    return False


def timed(
    request: Request,
    ready: Prepared,
    watcher: Any,
    facts: Callable[[], Mapping[str, Any]],
    is_held: Callable[[], bool] = lambda: False,
) -> Outcome:
    """A run whose cases have all the same latency, and other facts; a burst more each time."""
    own = context(request.name, device=request.device.name, **HELLO)
    previous = resume.previous(request.results, own) if request.resume else None
    with closing(Journal(request.results, own, previous)) as journal:
        before = {key: each.bursts for key, each in journal.records.items()}

        def write(status: Status, reason: str = "") -> None:
            for index, case in enumerate(ready.cases):
                graph = ready.graphs[case.key]
                assert isinstance(graph, Graph)
                assert graph.path.read_bytes(), "it was sent"
                bursts = before.get(case.key, ())
                own = {"bursts": [*bursts, Burst(len(bursts), 0, CALLS_NS)], "latency": LATENCY}
                bare = record.record(index, case, graph)
                own |= {"status": status, "reason": reason, **facts()}
                journal.append(replace(bare, **own))

        try:
            for turn in count():
                if not is_held():
                    break
                if turn == 0:
                    write("imprecise", STILL_TIMED)
                watcher.loading(0, 1)
                time.sleep(0.02)
        except KeyboardInterrupt:
            write("imprecise", CUT_SHORT)
            return Outcome(journal.run, True, "")
        write("ok")
        for found in journal.records.values():
            watcher.finished(found)
    return Outcome(journal.run, False, "", False)


def reading_ns(folder: Path, name: str) -> float:
    path = folder / f"{name}.ns"
    return float(path.read_text()) if path.exists() else 100_000.0


def look(folder: Path, offered: Any) -> bool:
    found: bool = offered.condition.look(Glance(reading_ns(folder, offered.device.name)))
    return found


def prepare(folder: Path, cases: Sequence[Case], *_: object) -> dict[str, Graph]:
    found = {}
    for case in cases:
        path = folder / f"{case.name}.onnx"
        path.write_text(f"{case.name} of {folder}")
        found[case.key] = graph_of(replace(case, source=OnnxFile(path)))
    return found


def offers(*names: str) -> "list[Offered]":
    from benchbox.fleet import offered

    found = [Device(name, CPU_PROVIDER, 1, "arm") for name in names]
    return [
        offered.Offered(each, members.described(each, **HELLO), condition=Condition(IDLE))
        for each in found
    ]


@contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    """Devices of this process are such as the folder says."""
    from benchbox.fleet import offered, relay, worker

    with (
        patch.object(worker, "measure", partial(measure, folder)),
        patch.object(worker, "RETRY_S", 0.2),
        patch.object(worker, "LOOK_S", 0.2),
        patch.object(relay, "SEND_S", 0.1),
        patch.object(worker, "HEARTBEAT_S", 0.5),
        patch.object(offered.Offered, "look", lambda each: look(folder, each)),
        patch.object(export, "prepare", partial(prepare, folder)),
    ):
        yield


def main(what: str, url: str, certificates: str, folder: str, *names: str) -> None:
    with patch.dict(engine.QUIET, {"distributed.scheduler.worker-ttl": "1s"}):
        engine.require()
    from benchbox.fleet import scheduler, worker

    address = authority.parse(url, folder=Path(certificates))
    say = partial(print, flush=True)
    with standing_in(Path(folder)):
        serve = partial(worker.serve, address, offers(*names), say, exports_graphs=True)
        if what == "worker":
            asyncio.run(serve())
        else:
            asyncio.run(scheduler.run(address, say, serve if what == "start" else None))


if __name__ == "__main__":
    main(*sys.argv[1:])

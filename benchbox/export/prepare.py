"""Preparation of graphs: each case's from the cache, or exported by parallel worker processes."""

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchbox import host, memory
from benchbox.devices import require_onnxruntime
from benchbox.errors import AgentError, CaseError, GraphError, SpecError, StorageError
from benchbox.export import cache, entries, fork, modules, source_digest
from benchbox.export.graph import Graph
from benchbox.specs import Builder, Case, OnnxFile
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.local import python_child

EXPORT_S = 900.0  # an export that takes longer counts as hung

COUNTED = "-counted"  # at the end of the key of an entry whose file was not run

CHANGED = "its source, or a file that it reads, changed while it was exported; run again"

Progress = Callable[[int, int, str], None]  # done, total, name
Failure = CaseError | SpecError | StorageError
FAILURES: Mapping[str, type[Failure]] = {
    "agent": AgentError,
    "case": CaseError,
    "spec": SpecError,
    "storage": StorageError,
}


def prepare(
    cases: Sequence[Case], progress: Progress = lambda *_: None, *, timed: bool = True
) -> dict[str, Graph | CaseError]:
    """Each case's graph, or why it has none, by case key.

    An .onnx file that is not to be `timed` is counted only: whether it runs is not known then.
    `progress` gets how many of the missing graphs are done, how many there are, and the key of a
    case that is being exported, empty at the end. Raises SpecError when a builder cannot work at
    all, StorageError when the cache cannot be written.
    """
    result: dict[str, Graph | CaseError] = {}
    if timed:
        cases = [*_settled(cases, result)]
    keys = cache.keys(cases)
    if not timed:
        keys |= {c.key: f"{keys[c.key]}{COUNTED}" for c in cases if _is_counted(keys[c.key], c)}
    sources = {keys[case.key]: case for case in cases}  # cases may share a graph
    found: dict[str, Graph | Failure | None] = {
        key: cache.lookup(key, case) for key, case in sources.items()
    }
    missing = {key: case for key, case in sources.items() if found[key] is None}
    failures = _make(missing, progress) if missing else {}
    failures |= {key: CaseError(CHANGED) for key in cache.drop_changed(missing)}
    for key, case in missing.items():
        found[key] = failures.get(key) or cache.lookup(key, case) or CaseError(CHANGED)
    for case in cases:
        outcome = found[keys[case.key]]
        if isinstance(outcome, SpecError | StorageError):
            raise outcome
        assert outcome is not None, "made, or failed"
        result[case.key] = outcome
    return result


def _settled(cases: Sequence[Case], broken: dict[str, Graph | CaseError]) -> Iterator[Case]:
    """Yield the cases that can be read, as they stay; why others are `broken` is noted there."""
    for case in cases:
        try:
            yield cache.settled(case)
        except GraphError as error:
            broken[case.key] = CaseError(str(error))


def _is_counted(key: str, case: Case) -> bool:
    """Whether a case is a file as it lies, that has not been run before."""
    is_file = isinstance(case.source, OnnxFile) and not case.conversion
    return is_file and cache.lookup(key, case) is None


def _make(missing: Mapping[str, Case], progress: Progress) -> dict[str, Failure]:
    """Make every missing graph; return the failures of those that could not be made."""
    require_onnxruntime()
    memory.limit()  # what is wrong with it is said before processes are
    entries.sweep()
    jobs: queue.SimpleQueue[tuple[str, Case]] = queue.SimpleQueue()
    for item in missing.items():
        jobs.put(item)
    done: queue.SimpleQueue[tuple[str, Failure | None]] = queue.SimpleQueue()
    workers = [Worker(jobs, done) for _ in range(min(len(missing), len(host.usable_cpus())))]
    failures: dict[str, Failure] = {}
    try:
        for worker in workers:
            worker.start()
        pending = dict(missing)
        while pending:
            oldest = next(iter(pending.values()))  # jobs are taken in order: it has been taken
            progress(len(missing) - len(pending), len(missing), oldest.key)
            key, failure = done.get()
            del pending[key]
            if failure is not None:
                failures[key] = failure
            if isinstance(failure, SpecError | StorageError):
                break
    finally:
        for worker in workers:
            worker.stop()
    progress(len(missing), len(missing), "")
    return failures


class Worker(threading.Thread):
    """A thread that feeds one export process, and starts another when that one dies."""

    def __init__(
        self,
        jobs: "queue.SimpleQueue[tuple[str, Case]]",
        done: "queue.SimpleQueue[tuple[str, Failure | None]]",
    ) -> None:
        super().__init__(daemon=True)
        self._jobs = jobs
        self._done = done
        self._channel: ProcessChannel | None = None
        self._stopped = False

    def run(self) -> None:
        """Work until no job is left."""
        while not self._stopped:
            try:
                key, case = self._jobs.get_nowait()
            except queue.Empty:
                return
            self._done.put((key, self._export(key, case)))

    def stop(self) -> None:
        """End the process at once; nothing it was at is kept."""
        self._stopped = True
        if self._channel is not None:
            self._channel.terminate()

    def _export(self, key: str, case: Case) -> Failure | None:
        try:
            if self._channel is None:
                self._channel = python_child("benchbox.export.worker")
                if self._stopped:  # while it started, when there was nothing to end yet
                    self._channel.terminate()
            request = _request(key, case)
            self._channel.send(request)
            reply = self._reply(self._channel, request)
            if _is_users(case) and not fork.AVAILABLE:  # what it changed ends with its process
                self._channel.terminate()
                self._channel = None
        except (ChannelClosed, Timeout, OSError, ValueError) as error:
            return self._lost(error)
        if "error" not in reply:
            return None
        return FAILURES[reply["kind"]](reply["error"])

    def _reply(self, channel: ProcessChannel, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The reply to the request; anything else is what a builder wrote."""
        until = time.monotonic() + EXPORT_S
        while not fork.answers(reply := channel.receive(until - time.monotonic()), request):
            pass
        return reply

    def _lost(self, error: Exception) -> AgentError:
        if self._channel is not None and not self._stopped:
            self._channel.terminate()
            self._channel = None
        slow = f"took more than {EXPORT_S:.0f} s"
        what = slow if isinstance(error, Timeout) else f"died: {error}"
        return AgentError(memory.explained(f"the export process {what}"))


def _is_users(case: Case) -> bool:
    return isinstance(case.source, Builder) and not source_digest.is_own(case.source)


def _request(key: str, case: Case) -> dict[str, Any]:
    request: dict[str, Any] = {
        "key": key,
        "word": secrets.token_hex(),  # which only the reply to it repeats
        "inputs": [tensor.message() for tensor in case.inputs],
        "fork": fork.AVAILABLE,
    }
    if isinstance(case.source, Builder):
        return {"op": "build", **request, **modules.recipe(case)}
    file = {"file": str(case.source.path), "conversion": case.conversion}
    return {"op": "inspect", **request, **file, "timed": not key.endswith(COUNTED)}

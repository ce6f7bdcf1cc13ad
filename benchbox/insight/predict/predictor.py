"""Predictor: what graphs should take, many of them in processes side by side.

Nearly all of the time goes into ONNX Runtime's own optimisation, on one processor for each graph.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Self, TypeVar

from benchbox import host
from benchbox.errors import BenchboxError, CaseError
from benchbox.insight.predict import work
from benchbox.insight.predict.model import LatencyModel, Prediction
from benchbox.insight.predict.optimise import LightGraph, Optimiser
from benchbox.insight.predict.work import NetworkWork

BATCH = 16  # graphs that are predicted at once
FEW = 2 * BATCH  # graphs for which no other process is worth its start
MOST_PROCESSES = 8  # of 200 MB each

Key = TypeVar("Key")
Found = Prediction | CaseError


class Predictor:
    """Predicts graphs of a device; a context manager: its processes and its folder go with it.

    `shift` is what the device takes now over what it was calibrated at.
    """

    def __init__(self, model: LatencyModel, *, is_blocked: bool, shift: float = 1.0) -> None:
        self._model, self._is_blocked, self._shift = model, is_blocked, shift
        self._optimiser = Optimiser(is_blocked=is_blocked)
        self._pool: ProcessPoolExecutor | None = None
        self._processes = min(len(host.usable_cpus()), MOST_PROCESSES)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._optimiser.close()

    def several(
        self, graphs: Iterable[tuple[Key, LightGraph | CaseError]]
    ) -> Iterator[tuple[Key, Found]]:
        """Predict graphs in their order; those before an error of the iterable come before it."""
        stream, waiting = iter(graphs), deque[tuple[list[Key], Future[list[Found]]]]()
        failed: BenchboxError | None = None
        is_done = False
        while waiting or not is_done:
            while not is_done and len(waiting) < (2 * self._processes if self._pool else 1):
                batch: list[tuple[Key, LightGraph | CaseError]] = []
                try:
                    batch.extend(islice(stream, BATCH))
                except BenchboxError as error:
                    failed = error
                is_done = len(batch) < BATCH
                waiting.append(([key for key, _ in batch], self._begun([g for _, g in batch])))
            keys, future = waiting.popleft()
            try:
                yield from zip(keys, future.result(), strict=True)
            except BrokenProcessPool:
                raise CaseError(
                    "a process that optimised graphs was ended; is memory short?"
                ) from None
        if failed:
            raise failed

    def _begun(self, batch: Sequence[LightGraph | CaseError]) -> Future[list[Found]]:
        """Begin with graphs, here as long as they are few."""
        self._count += len(batch)
        if self._count > FEW and self._processes > 1:
            self._pool = self._pool or self._started()
            return self._pool.submit(_predicted_there, batch)
        here: Future[list[Found]] = Future()
        here.set_result(predicted(batch, self._optimiser, self._model, self._shift))
        return here

    def _started(self) -> ProcessPoolExecutor:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of numpy, in each of the processes
        return ProcessPoolExecutor(
            self._processes,
            multiprocessing.get_context("spawn"),
            _start,
            (self._model, self._is_blocked, self._shift),
        )


def predicted(
    batch: Sequence[LightGraph | CaseError],
    optimiser: Optimiser,
    model: LatencyModel,
    shift: float,
) -> list[Found]:
    """Predict graphs at once, and pass on why there is one that cannot be."""
    found: list[NetworkWork | CaseError] = []
    for each in batch:
        try:
            found.append(each if isinstance(each, CaseError) else works(each, optimiser))
        except CaseError as error:
            found.append(error)
    asked = [each for each in found if isinstance(each, NetworkWork)]
    predictions = iter(model.predict(asked, shift))
    return [each if isinstance(each, CaseError) else next(predictions) for each in found]


def works(graph: LightGraph, optimiser: Optimiser) -> NetworkWork:
    """The work of the operators that run of a graph."""
    found = optimiser.read(graph)
    if not found:
        raise CaseError("optimisation leaves no operator to run")
    return NetworkWork([work.of(operator) for operator in found])


_there: list[tuple[Optimiser, LatencyModel, float]] = []  # what a process was started with


def _start(model: LatencyModel, is_blocked: bool, shift: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that asks
    _there.append((Optimiser(is_blocked=is_blocked), model, shift))


def _predicted_there(batch: Sequence[LightGraph | CaseError]) -> list[Found]:
    return predicted(batch, *_there[0])

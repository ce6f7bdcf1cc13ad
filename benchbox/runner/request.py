"""Request of a run on one device, its watcher, and the outcome."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchbox.devices import Device
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.records import Record, Run
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.specs import BlockSpec, Case, Selection
from benchbox.transports import Agent, open_agent


class Watcher(Protocol):
    """Hears of a run as it happens; every method returns at once."""

    def exporting(self, done: int, total: int, name: str) -> None:
        """`done` of `total` missing graphs are exported, now that of the case `name`."""

    def starting(self) -> None:
        """All graphs are there; the device comes next."""

    def greeted(self, seen: Mapping[str, float]) -> None:
        """The first process on a GPU is up; `seen` is what NVML reports then."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` graphs are loaded on the device, which takes a while on a slow link."""

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        """The device may cool down for at most `left_s` before the next session."""

    def measuring(self, sampler: Sampler) -> None:
        """The sampler has new samples."""

    def finished(self, record: Record) -> None:
        """A case is finished."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and how to wait for some."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Request:
    """Specs narrowed by a selection, to be measured on a device by a plan, into a folder."""

    name: str
    specs: Sequence[BlockSpec]
    selection: Selection
    device: Device
    plan: Plan
    results: Path
    resume: bool = False
    allow_emulated: bool = False
    open: Callable[[Device], Agent] = open_agent
    clock: Clock = Clock()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The cases of a request, and for each its graph or the reason why it has none."""

    cases: Sequence[Case]
    graphs: Mapping[str, Graph | CaseError]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that ended: its records, whether it was interrupted, and where records were kept.

    `lost` says why records are not in the results folder, and where they are instead; `failed` that
    some case did, though it may show the figures that it had before.
    """

    run: Run
    interrupted: bool
    lost: str
    failed: bool = False

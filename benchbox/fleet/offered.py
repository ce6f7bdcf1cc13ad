"""Offered devices: what a worker knows of each, and what it is at; two on one hardware refused."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchbox.devices import Device
from benchbox.devices.providers import runs_modules
from benchbox.errors import BenchboxError, DeviceError
from benchbox.fleet import condition, members
from benchbox.fleet.condition import Condition
from benchbox.records import Record
from benchbox.runner.request import Watcher
from benchbox.sampling import forecast
from benchbox.sampling.sampler import Sampler
from benchbox.transports import open_agent

FORECAST_S = 5.0  # between two forecasts of when a task ends
LATER_S = 60.0  # than the task's submitter, who knows more of it, takes it for hung


@dataclass(slots=True)
class Offered:
    """A device that a worker offers, what it is, and what it is at."""

    device: Device
    facts: Mapping[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)
    condition: Condition = field(default_factory=Condition)
    case: str = ""
    done: int = 0
    p50_s: float | None = None
    until_s: float | None = None  # by the clock of time.monotonic
    task_s: float | None = None  # of its tasks, so far
    due_s: float = math.inf  # by the same clock, of the task that it is at

    @property
    def is_hung(self) -> bool:
        """Whether a task holds the device for so long that nothing else ever gets it."""
        return time.monotonic() > self.due_s + LATER_S

    def now(self) -> dict[str, Any]:
        """The device as a member of the fleet."""
        left_s = None if self.until_s is None else max(0.0, self.until_s - time.monotonic())
        return {
            **{name: fact for name, fact in self.facts.items() if name != "parts"},
            "case": self.case[:400],
            "done": self.done,
            "p50_s": self.p50_s,
            "left_s": left_s,
            "task_s": self.task_s,
            "rests": self.condition.word,
            "reading_ns": self.condition.reading_ns,
            "temperature_c": self.condition.temperature_c,
        }

    @contextlib.contextmanager
    def at(self, case: str, most_s: float) -> Iterator[None]:
        """Have the device be at a task, whose first case that is, and note what it took."""
        began = time.monotonic()
        self.case, self.due_s = case, began + most_s
        try:
            yield
        finally:
            self.case, self.until_s, self.due_s = "", None, math.inf
        took_s = time.monotonic() - began
        self.task_s = took_s if self.task_s is None else 0.7 * self.task_s + 0.3 * took_s

    def watcher(self) -> Watcher:
        """A watcher that notes what the device is at."""
        return _Watch(self)

    def look(self) -> bool:
        """Look at a device that rests, between tasks; whether it is usual again."""
        with (
            self.lock,
            contextlib.suppress(BenchboxError, OSError),
            open_agent(self.device) as agent,
        ):
            return self.condition.look(condition.glance(agent))
        return False


class _Watch:
    """A watcher that keeps what a device is at for `fleet list`."""

    def __init__(self, offered: Offered) -> None:
        self._offered, self._due = offered, 0.0

    def exporting(self, done: int, total: int, name: str) -> None:
        pass

    def starting(self) -> None:
        pass

    def greeted(self, seen: Mapping[str, float]) -> None:
        pass

    def loading(self, done: int, total: int) -> None:
        pass

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        pass

    def measuring(self, sampler: Sampler) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + FORECAST_S
            self._offered.until_s = now + forecast.left_s(sampler)[0]

    def finished(self, record: Record) -> None:
        self._offered.done += 1
        if record.latency is not None:
            self._offered.p50_s = record.latency.p50_s


def offer(devices: Sequence[Device]) -> list[Offered]:
    """Reach devices, and see what they are; raises DeviceError, and for two on one hardware."""
    found: list[Offered] = []
    for device in devices:
        if runs_modules(device.provider):
            raise DeviceError(f"device {device.name!r}: torch builds modules, a fleet times graphs")
        with open_agent(device) as agent:
            facts = members.described(device, agent.hello["host"], agent.hello["versions"])
            idle = condition.glance(agent)
        for other in found:
            hardware, others = facts["hardware"], other.facts["hardware"]
            is_known = hardware and others
            if members.is_one(hardware, others) or (
                not is_known and device.hardware == other.device.hardware
            ):
                refuse(device.name, other.device.name)
        found.append(Offered(device, facts, condition=Condition(idle)))
    return found


def refuse(name: str, other: str) -> None:
    """Raise DeviceError for two names of one hardware."""
    raise DeviceError(
        f"devices {other!r} and {name!r} are the same hardware; offer one of them with -d"
    )


def named(devices: Sequence[Device], name: str) -> list[Device]:
    """Devices with the name of their machine before their own, where it has one."""
    return [replace(each, name=f"{name}-{each.name}") if name else each for each in devices]

"""Targets of a run on a fleet: what one -d asks for, and the chunks that are left of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from benchbox.errors import BenchboxError, DeviceError
from benchbox.export.prepare import Progress
from benchbox.fleet import members, task
from benchbox.fleet.chunks import (
    STREAMED,
    Ahead,
    Chunk,
    Make,
    Part,
    Preparation,
    groups,
    prepared,
)
from benchbox.fleet.control import Control
from benchbox.fleet.members import Member
from benchbox.fleet.results import Results
from benchbox.fleet.task import Task
from benchbox.runner.request import Request
from benchbox.specs import Case

MOST_LOSSES = 3  # devices that failed or left while they timed a chunk: it may be the reason


@dataclass(slots=True)
class FleetTarget:
    """Devices of one identity that share all cases of a run, each of which has `case_s`."""

    text: str
    identity: str
    request: Request
    results: Results
    ahead: Ahead[Chunk]
    case_s: float
    control: Control
    returned: list[Chunk] = field(default_factory=list)
    lost: list[Chunk] = field(default_factory=list)
    alone_since: float | None = None
    failure: BenchboxError | None = None

    def next(self, device: str, devices: int, is_at_control: bool) -> Chunk | None:
        """The next chunk for a device, of those that came back first; None where none is ready.

        What it has not timed is for others, as is the control case while it is at that. The last,
        of which there are fewer than `devices`, are shared among them case by case.
        """

        def is_for_others(chunk: Chunk) -> bool:
            is_control = is_at_control and self.control.key in chunk.wanted
            return is_control or (chunk.before == device and devices > 1)

        while chunk := self._taken(is_for_others):
            if left := self.control.left(chunk):
                is_last = self.ahead.is_over and len(self.returned) + self.ahead.count < devices
                first, *others = left.split() if is_last else [left]
                self.returned += others
                return first
        return None

    def _taken(self, is_for_others: Callable[[Chunk], bool]) -> Chunk | None:
        for index in reversed(range(len(self.returned))):
            if not is_for_others(self.returned[index]):
                return self.returned.pop(index)
        while (chunk := self.ahead.next()) and is_for_others(chunk):
            self.returned.append(chunk)
        return chunk

    def take_back(self, chunk: Chunk, *, is_loss: bool = False) -> None:
        """Keep what a device had for another; what host after host was lost with is given up."""
        chunk.losses += is_loss
        (self.lost if chunk.losses >= MOST_LOSSES else self.returned).append(chunk)

    def given_up(self) -> DeviceError | None:
        """What is given up, None without any."""
        names = [
            case.key for chunk in self.lost for case in chunk.cases if case.key in chunk.wanted
        ]
        more = f" and {len(names) - 1} more" if names[1:] else ""
        what = f"not timed, as {MOST_LOSSES} devices failed or left with it"
        return DeviceError(f"{names[0]}{more}: {what}") if names else None

    @property
    def is_done(self) -> bool:
        """Whether no chunk is left to be handed out."""
        return self.failure is not None or (not self.returned and self.ahead.is_done)

    def task(self, chunk: Chunk, device: str, topic: str, key: str) -> Task:
        """The task that has a chunk timed."""
        request = self.request
        max_time_s = min(request.plan.max_time_s, self.case_s * len(chunk.cases))
        return Task(
            device=device,
            run=request.name,
            cases=[task.bare(case) for case in chunk.cases],
            graphs={name: task.sent(graph) for name, graph in chunk.graphs.items()},
            plan=replace(request.plan, max_time_s=max_time_s),
            channels=request.selection.channels,
            threads=request.device.threads or None,
            allow_emulated=request.allow_emulated,
            is_kept=chunk.is_kept,
            before=self.results.unfinished(device, chunk),
            topic=topic,
            key=key,
        )


def of_request(
    request: Request,
    cases: Sequence[Case],
    stream: Iterator[Case] | None,
    there: Sequence[Member],
    progress: Progress,
    ready: Callable[[], None],
    make: Make | None = None,
) -> FleetTarget:
    """The target of a request, whose chunks are being made, `ready` being called at each.

    What a `stream` yields comes after the cases, with as much time for every four.
    Raises DeviceError where the fleet has no such devices, UsageError for what cannot be sent.
    """
    task.require_text(cases)
    text = request.device.name
    found = members.matching(text, there)
    identity, count = found[0].identity, len(cases)
    is_comparison = request.plan.margin is not None
    parts: Iterable[Part] = groups(cases, len(found), is_comparison=is_comparison)
    least = 1
    if stream is not None:
        parts, cases = ([case] for case in chain(cases, stream)), ()
        least = count = STREAMED
    is_pool = text != found[0].name
    results = Results(request, cases, found[0], is_pool=is_pool)
    control = Control(results)
    made = control.choose if is_pool and not is_comparison else None
    own = results.done(), progress, make, made, least
    ahead = Preparation(parts, lambda batches: prepared(request, batches, *own), ready)
    case_s = request.plan.max_time_s / max(1, count)
    return FleetTarget(text, identity, request, results, ahead, case_s, control)

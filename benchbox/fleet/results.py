"""Results of a fleet's run: the records of each device in a file of its own, as they come."""

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import records
from benchbox.errors import RecordError
from benchbox.fleet import device_file, members
from benchbox.fleet.chunks import Chunk, sha256_of
from benchbox.fleet.device_file import GOOD, DeviceFile
from benchbox.fleet.members import Member
from benchbox.records import (
    Context,
    Record,
    Run,
    differences,
    pools,
    reader,
    resume,
    writer,
)
from benchbox.records.differences import Difference
from benchbox.records.model import STILL_TIMED
from benchbox.runner.context import facts, planned
from benchbox.runner.request import Outcome, Request
from benchbox.specs import Case

LATER_S = 1e-6  # at least, by a clock that may have been set back
MOST_SHOWN = 1000  # records that are read again for a table


class Results:
    """The files of a request's run, one for each device that has timed some of it."""

    def __init__(
        self, request: Request, cases: Sequence[Case], member: Member, *, is_pool: bool
    ) -> None:
        """`member` is the device that was asked for by name, or the first of a pool.

        Raises RecordError where an earlier run that is to be resumed was of other settings, or goes
        on elsewhere.
        """
        self._request, self._member = request, member
        self._is_comparison = request.plan.margin is not None
        self._pool = pool = member.identity if is_pool else ""
        self._index = {case.key: index for index, case in enumerate(cases)}
        self._plan = planned(request, cases)
        if pool or not cases:  # how many of the cases a device gets is not known before
            self._plan = {**self._plan, **({"pool": pool} if pool else {}), "cases": None}
        self._specs = facts(request)
        self._asked_s = time.time()
        self._all = self._earlier() if request.resume else []
        self.files = {file.context.device: file for file in reversed(self._all)}
        if pool:
            before = (file.context.plan.get("together") for file in self._all)
            self._plan["together"] = next(filter(None, before), secrets.token_hex(8))

    def done(self) -> set[tuple[str, str]]:
        """The cases that some device has, by key and sha256 of the graph."""
        return {each for file in self._all for each in file.statuses}

    def holders(self, key: str, sha256: str) -> list[str]:
        """The devices that have a case."""
        return [file.context.device for file in self._all if (key, sha256) in file.statuses]

    def outcomes(self, *, interrupted: bool) -> list[Outcome]:
        """What became of the run on each device; of one that had nothing to add, what it has."""
        is_shown = sum(len(file.statuses) for file in self._all) <= MOST_SHOWN
        found = [file.outcome(interrupted=interrupted, is_shown=is_shown) for file in self._all]
        runs = pools.current([each.run for each in found])
        return [replace(each, run=run) for each, run in zip(found, runs, strict=True)]

    def has_begun(self, device: str, chunk: Chunk) -> bool:
        """Whether a device has measured some of a chunk before that was cut short."""
        file = self.files.get(device)
        return file is not None and not file.begun.keys().isdisjoint(chunk.wanted)

    def unfinished(self, device: str, chunk: Chunk) -> str:
        """What a device has measured of a chunk before that was cut short, as lines of a run.

        Rounds of several tasks are never set beside each other: where a reference goes along with
        parts of its group, it is timed anew.
        """
        file, cases = self.files.get(device), chunk.cases
        if file is None:
            return ""
        if not self._is_comparison and not all(case.is_reference for case in cases):
            cases = [case for case in cases if not case.is_reference]
        found = [file.begun[case.key] for case in cases if case.key in file.begun]
        found = [each for each in found if each.sha256 == sha256_of(chunk.graphs[each.key])]
        return writer.text(Run(Path(), file.context, found)) if found else ""

    def read(self, device: str, lines: str, chunk: Chunk, *, is_part: bool = False) -> Run:
        """What a task, or a part of it, returned; raises a BenchboxError for nonsense.

        What another device may do better with is left out, the first time.
        """
        run = records.read(Path(f"the reply of {device}"), lines.encode())
        for record in run.records:
            graph = chunk.graphs.get(record.key)
            sha256, is_figure = record.sha256, record.status in GOOD
            if graph is None or (sha256 != sha256_of(graph) if sha256 else is_figure):
                raise RecordError(f"a record of what was not asked for: {record.key!r}")
        if is_part:
            found = [_unfinished(each) for each in run.records if _has_samples(each)]
        else:
            found = [each for each in run.records if chunk.before or not self._is_for_another(each)]
        index, asked_s = self._index, self._asked_s
        placed = [
            replace(r, index=index.get(r.key, chunk.places[r.key]), asked_s=asked_s) for r in found
        ]
        return replace(run, records=placed)

    def _is_for_another(self, record: Record) -> bool:
        """Whether a case had no call on a device so slow, or failed there, where there are more."""
        if record.status == "failed":
            return bool(self._pool and record.sha256) and not self._is_comparison
        return record.status == "imprecise" and not (record.latency or record.is_unfinished)

    def keep(self, device: str, run: Run) -> list[Record]:
        """Keep what a device returned; what no device had. Raises StorageError where it cannot be.

        What the device has a figure of it may have timed again, as a reference: the first counts.
        """
        if not run.records:
            return []
        file = self._open(device, run.context)
        new = [each for each in run.records if not self.holders(each.key, each.sha256)]
        taken = [
            each for each in run.records if file.statuses.get((each.key, each.sha256)) not in GOOD
        ]
        file.append(taken, is_comparison=self._is_comparison)
        return new

    def _open(self, device: str, context: Context) -> DeviceFile:
        """The file of a device; that of an earlier command only if it is as it was then."""
        own = replace(
            context,
            device=device,
            name=self._request.name,
            created=records.now(),
            plan={**context.plan, **self._plan},
            specs=self._specs,
        )
        file = self.files.get(device)
        if file is None or (file.is_earlier and differences.of_samples(file.context, own)):
            file = self.files[device] = device_file.created(self._request.results, own)
            self._all.append(file)
        return file

    def _earlier(self) -> list[DeviceFile]:
        """The files of the newest run of that name on the target, locked as long as this one is.

        Of what other devices have timed of a newer graph since, a device has nothing.
        """
        newest: dict[str, tuple[float, str]] = {}
        with contextlib.ExitStack() as opened:
            found = []
            for path in self._paths():
                context = records.read(path, reader.first_line(path)).context
                resume.require_none(path, self._differences(context))
                file = device_file.reopened(path, newest, is_comparison=self._is_comparison)
                opened.callback(file.writer.close)
                found.append(file)
            opened.pop_all()
        for file in found:
            file.statuses = {
                g: each for g, each in file.statuses.items() if newest[g[0]][1] == g[1]
            }
        last_s = max((asked_s for asked_s, _ in newest.values()), default=0.0)
        self._asked_s = max(self._asked_s, last_s + LATER_S)
        return found

    def _paths(self) -> list[Path]:
        request = self._request
        device = "*" if self._pool else request.device.name
        return pools.newest(request.results.glob(device), request.name, self._pool)

    def _differences(self, before: Context) -> list[Difference]:
        """What forbids to show figures of an earlier run as those that are asked for now."""
        plan = {name: before.plan.get(name) for name in differences.DRIVING}
        now = replace(
            before,
            threads=self._request.device.threads or self._member.threads or before.threads,
            channels=self._request.selection.channels,
            seed=self._request.plan.seed,
            plan=plan | self._plan,
        )
        kind = pools.kind(before.host, before.versions)
        shown = [Difference(n, kind[n], getattr(self._member, n)) for n in members.SHOWN]
        return differences.of_samples(before, now) + [
            each for each in shown if each.was != each.now
        ]


def _has_samples(record: Record) -> bool:
    return record.has_samples and record.status in GOOD


def _unfinished(record: Record) -> Record:
    return replace(record, status="imprecise", reason=STILL_TIMED)

"""Worker of a fleet: offers devices, each a slot of its own, and times the tasks sent to it."""

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from errno import EADDRINUSE
from pathlib import Path
from typing import Any

from distributed import Client, Status, Worker, get_worker
from distributed.worker_state_machine import WorkerState

from benchbox import records
from benchbox.errors import BenchboxError, DeviceError, RecordError, TooMuchError, UsageError
from benchbox.fleet import engine, members, store, task
from benchbox.fleet.authority import CONNECT_S, FleetAddress
from benchbox.fleet.members import METRIC, ROLE, Member
from benchbox.fleet.offered import Offered, refuse
from benchbox.fleet.relay import Relay, TaskWorker
from benchbox.fleet.task import Reply, Task
from benchbox.records import differences
from benchbox.runner.context import planned
from benchbox.runner.request import Outcome, Prepared, Request, Watcher
from benchbox.runner.several_devices import checked, measure
from benchbox.specs import Selection

HEARTBEAT_S = 5.0  # Dask's own half a second would be felt beside timed calls
RETRY_S = 5.0  # after a scheduler was lost
LOOK_S = 30.0  # between looks at a device that rests
LEAVE_S = 5.0  # for a burst to end


class DeviceWorker(Worker):  # type: ignore[misc]  # Dask's is not known where it is not installed
    """A Dask worker with a slot for each device, whose heartbeat is slow."""

    offered: Mapping[str, Offered]
    ended: set[str]  # keys of tasks that are to end

    def is_wanted(self, key: str) -> bool:
        """Whether somebody waits for a task still, and this worker does not leave."""
        found = self.state.tasks.get(key)
        is_there = found is not None and found.state != "cancelled"
        return is_there and key not in self.ended and self.status is Status.running

    async def heartbeat(self) -> None:
        """Tell the scheduler that it lives, and what its devices are at."""
        await super().heartbeat()
        self.periodic_callbacks["heartbeat"].callback_time = 1000 * HEARTBEAT_S


class DeviceState(WorkerState):  # type: ignore[misc]  # likewise
    """What a worker begins next: a task whose own device is idle, whatever others wait for.

    Dask looks at the first that waits alone.
    """

    __slots__ = ()

    def _next_ready_task(self) -> Any:  # noqa: ANN401 - the type is of an extra
        waiting = self.constrained.sorted()
        found = next(filter(self._resource_restrictions_satisfied, waiting), None)
        if found is not None:
            self.constrained.discard(found)
        return found


def perform(text: str) -> str:
    """Time a task on its device, in a thread of the worker; what goes wrong is in the reply."""
    worker = get_worker()
    try:
        asked = task.parse_task(text)
        offered = worker.offered.get(asked.device)
        if offered is None:
            raise DeviceError(f"{asked.device!r} is not offered here")
        with offered.lock:
            if (word := offered.condition.word) and not asked.is_kept:
                return task.dump(Reply(rests=word))
            worker.log_event(asked.topic, (asked.key, ""))
            with offered.at(asked.cases[0].key, asked.most_s):
                return task.dump(timed(asked, offered, worker))
    except KeyboardInterrupt:  # before its first sample
        return task.dump(Reply(is_cut_short=True))
    except (UsageError, TooMuchError) as error:
        return task.dump(Reply(refusal=str(error)[:4000]))
    except BenchboxError as error:
        return task.dump(Reply(failure=str(error)[:4000]))
    except OSError as error:
        return task.dump(Reply(failure=f"its host refused: {error.strerror or error}"[:4000]))


def end(keys: Sequence[str], dask_worker: DeviceWorker) -> None:
    """Have tasks end with what they have measured; it runs in each worker that has some."""
    dask_worker.ended.update(keys)


def timed(asked: Task, offered: Offered, worker: TaskWorker) -> Reply:
    """The file that a run of these cases makes, and why the device rests now, if it does."""
    cases, graphs = task.placed(asked, store.path)
    device = offered.device if asked.threads is None else offered.device.with_threads(asked.threads)
    with tempfile.TemporaryDirectory(prefix="benchbox-") as folder:
        request = Request(
            name=asked.run,
            specs=(),
            selection=Selection(channels=asked.channels),
            device=device,
            plan=asked.plan,
            results=Path(folder),
            allow_emulated=asked.allow_emulated,
        )
        relay = Relay(worker, asked, offered, Path(folder))
        watcher = checked(offered.watcher(), relay.between)
        outcome = _measured(request, Prepared(cases, graphs), watcher, asked.before)
        if outcome.lost:
            raise DeviceError(outcome.lost)
        if outcome.interrupted:
            relay.send_all()
        run = outcome.run
        if changed := members.changes(offered.facts, run.context):
            now = members.described(offered.device, run.context.host, run.context.versions)
            offered.facts = {**now, "hardware": offered.facts["hardware"]}
            raise DeviceError(f"it is no more what it was: {changed}")
        word = offered.condition.after(run.context.threads, run.records)
        text = run.path.read_text()
        return Reply(lines=text, rests=word, is_cut_short=outcome.interrupted)


def _measured(request: Request, ready: Prepared, watcher: Watcher, before: str) -> Outcome:
    """Measure, and go on from what was measured `before` where that was done alike."""
    if before:
        with contextlib.suppress(RecordError):  # of other libraries, or another kernel
            _put(before, request, ready)
            return measure(replace(request, resume=True), ready, watcher)
        shutil.rmtree(request.results / request.device.name, ignore_errors=True)
    return measure(request, ready, watcher)


def _put(before: str, request: Request, ready: Prepared) -> None:
    """Write what was measured before as the run that a request goes on with."""
    run = records.read(Path("a task"), before.encode())
    kept = {name: it for name, it in run.context.plan.items() if name not in differences.SWEPT}
    context = replace(run.context, plan=kept | planned(request, ready.cases))
    with records.create(request.results, context) as writer:
        writer.append(*run.records)


async def serve(
    address: FleetAddress,
    offered: Sequence[Offered],
    say: Callable[[str], None],
    *,
    exports_graphs: bool = False,
    port: int = 0,
) -> None:
    """Offer devices to the fleet until the end; where its scheduler is lost, wait for it again.

    With `exports_graphs` it exports graphs for submitters without torch, too. The scheduler reaches
    it at `port`, any without one.

    Raises DeviceError where it cannot be joined the first time.
    """
    store.sweep()
    for each in offered:
        say(f"{each.device.name}: {each.facts['cpu']}, {each.facts['runtime']}")
    has_joined = False
    while True:
        try:
            names = {each.device.name: each for each in offered}
            worker = await _join(address, names, port, exports_graphs=exports_graphs)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            if not has_joined:
                raise address.unreachable(error) from None
        except DeviceError:
            if not has_joined:
                raise
        else:
            say("the scheduler is back" if has_joined else f"joined the fleet at {address.url}")
            has_joined = True
            try:
                async with asyncio.TaskGroup() as group:
                    looks = group.create_task(_look(offered, say))
                    await worker.finished()
                    looks.cancel()
            finally:
                await _leave(worker)
            say(f"the scheduler was lost; trying again every {RETRY_S:.0f} s")
        await asyncio.sleep(RETRY_S)


async def _leave(worker: DeviceWorker) -> None:
    """Have tasks end, and their submitters told what is measured; then leave."""
    worker.ended.update(worker.state.tasks)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            while any(each.case for each in worker.offered.values()):
                await asyncio.sleep(0.05)
    await worker.close(timeout=2, executor_wait=False)


async def _look(offered: Sequence[Offered], say: Callable[[str], None]) -> None:
    """Look at devices now and then: tell when one that rests is usual again, and of a hung one."""
    told = set[str]()
    while True:
        await asyncio.sleep(LOOK_S)
        for each in offered:
            name = each.device.name
            if each.is_hung:
                if name not in told:
                    say(f"{name} is offered no more: a task does not end; end this worker")
                told.add(name)
                continue
            rests = bool(each.condition.word)
            if rests and await asyncio.to_thread(each.look):
                say(f"{name} is usual again")


async def _join(
    address: FleetAddress, offered: Mapping[str, Offered], port: int, *, exports_graphs: bool
) -> DeviceWorker:
    each_of = [each.facts for each in offered.values()]
    resources = Counter(f"device:{name}" for name in offered)
    resources += Counter(f"pool:{pool}" for facts in each_of for pool in facts["pools"])
    resources += Counter(f"arch:{facts['machine']}" for facts in each_of)
    resources += Counter([ROLE] if exports_graphs else [])

    def devices(_: object) -> list[dict[str, Any]]:
        return [each.now() for each in offered.values() if not each.is_hung]

    await engine.greet(address, CONNECT_S)
    security = address.security()
    async with Client(
        address.url, security=security, asynchronous=True, timeout=CONNECT_S, set_as_default=False
    ) as client:
        there, _ = members.parse(await client.run_on_scheduler(members.of_scheduler))
        _require_new(there, offered)
        worker = DeviceWorker(
            address.url,
            port=port,
            host=None if address.certificates else "127.0.0.1",  # else whoever reaches it runs code
            nthreads=len(offered) + exports_graphs,
            resources=dict(resources),
            security=security,
            memory_limit=0,
            metrics={METRIC: devices},
            local_directory=tempfile.gettempdir(),
            dashboard=False,
            dashboard_address="127.0.0.1:0",
        )
        worker.offered, worker.ended = offered, set()
        worker.state.__class__ = DeviceState
        try:
            await worker
        except RuntimeError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == EADDRINUSE:
                raise UsageError(f"--port {port}: another program has it") from None
            raise
        engine.stop(worker, "find-missing")
        await _require_reached(client, worker)
    return worker


def _require_new(there: Sequence[Member], offered: Mapping[str, Offered]) -> None:
    """Raise UsageError where the fleet has devices of that name or on that hardware already."""
    for member in there:
        for name, each in offered.items():
            if member.name == name:
                raise UsageError(
                    f"device {name!r}: the fleet has one of that name on {member.worker}; "
                    "give this machine's a name of their own with --name"
                )
            if members.is_one(member.hardware, each.facts["hardware"]):
                refuse(name, member.name)


async def _require_reached(client: Any, worker: DeviceWorker) -> None:  # noqa: ANN401 - see above
    """Raise DeviceError where the scheduler cannot reach a worker that reaches it."""
    try:
        await client.run(str, workers=[worker.address])
    except OSError:
        await worker.close(timeout=2)
        raise DeviceError(
            f"the scheduler cannot reach {worker.address}; have this machine's firewall let it in"
        ) from None

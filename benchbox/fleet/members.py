"""Members of a fleet: its devices, what they are and what they are at, as the scheduler knows."""

import hashlib
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from benchbox.analysis.quantities import Amount, Count, Number, wrong_field
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.devices.device import Channels
from benchbox.errors import DeviceError
from benchbox.records import Context, pools

METRIC, ROLE = "benchbox", "role:export"
SHOWN = ("machine", "cpu", "runtime", "governor")
Text = Annotated[str, Field(max_length=400)]
NUMBERED = re.compile(r"(.+?)[-_]?\d+")


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a fleet: two of one `identity` are timed alike; `hardware` tells which it is.

    `left_s` is what the task that it is at still takes, `task_s` what one takes; `rests` says why
    it gets none for a while, `reading_ns` what its sentinel took.
    """

    name: Text
    worker: Text
    identity: Text
    machine: Text
    cpu: Text
    runtime: Text
    governor: Text
    pools: Sequence[Text]
    provider: Text = CPU_PROVIDER
    channels: Channels = "arm"
    threads: Count = 0
    hardware: Text = ""
    case: Text = ""
    done: Count = 0
    p50_s: Amount | None = None
    waiting: Count = 0
    left_s: Amount | None = None
    task_s: Amount | None = None
    rests: Text = ""
    reading_ns: Amount | None = None
    temperature_c: Number | None = None

    @property
    def queued_s(self) -> float | None:
        """The seconds until all is done that the device has now; None where that is not known."""
        if not self.waiting:
            return self.left_s
        return None if self.task_s is None else (self.left_s or 0.0) + self.waiting * self.task_s

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return ", ".join(filter(None, (self.cpu, self.machine, self.runtime, self.governor)))


def described(
    device: Device, host: Mapping[str, Any], versions: Mapping[str, Any]
) -> dict[str, Any]:
    """A device by the facts of its host with which its agent greeted, or that a run of it has."""
    parts = pools.kind(host, versions)
    identity = _digest(json.dumps([parts, device.provider, device.threads]))
    stem = match[1] if (match := NUMBERED.fullmatch(device.name)) else device.name
    slug = re.sub(r"[^a-z0-9]+", "-", parts["cpu"].lower()).strip("-")
    boot, gpu = host.get("boot"), host.get("gpu_bus")
    return {
        "name": device.name,
        "identity": identity,
        **{name: parts[name] for name in SHOWN},
        "parts": parts,
        "provider": device.provider,
        "channels": device.channels,
        "threads": device.threads,
        "pools": [*dict.fromkeys(filter(None, (stem, slug, identity)))],
        "hardware": f"{_digest(str(boot))}/{gpu or ''}" if boot else "",
    }


def is_one(hardware: str, other: str) -> bool:
    """Whether two devices are known to be of one host, and not two GPUs of it."""
    (host, _, gpu), (host_of_other, _, gpu_of_other) = hardware.partition("/"), other.partition("/")
    are_two_gpus = bool(gpu and gpu_of_other) and gpu != gpu_of_other
    return bool(host) and host == host_of_other and not are_two_gpus


def changes(facts: Mapping[str, Any], seen: Context) -> str:
    """What of a device is no more as it was when it was offered, in words; empty for nothing."""
    before, now = facts["parts"], pools.kind(seen.host, seen.versions)
    return ", ".join(
        f"{name} {now[name] or 'unknown'}, not {before[name] or 'unknown'}"
        for name in now
        if now[name] != before[name]
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def of_scheduler(dask_scheduler: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - it runs there
    """Every device that workers offer, with how many tasks wait for it."""
    waiting = Counter(
        name.removeprefix("device:")
        for task in list(dask_scheduler.tasks.values())
        if task.state in ("processing", "queued", "no-worker")
        for name in task.resource_restrictions or ()
    )
    found = []
    for worker in list(dask_scheduler.workers.values()):
        for each in (worker.metrics or {}).get(METRIC) or ():
            own = {**each, "worker": worker.address}
            count = waiting[str(own.get("name"))]
            found.append({**own, "waiting": max(0, count - bool(own.get("case")))})
    return found


def services(dask_scheduler: Any) -> tuple[int, str | None]:  # noqa: ANN401 - it runs there
    """How many workers export graphs, and the dashboard's address there; None without one."""
    exporters = sum(ROLE in worker.resources for worker in dask_scheduler.workers.values())
    server = dask_scheduler.services.get("dashboard")
    if server is None or importlib.util.find_spec("bokeh") is None:
        return exporters, None
    return exporters, f"http://{server.address}:{server.port}/status"


def parse(found: Sequence[Mapping[str, Any]]) -> tuple[list[Member], dict[str, str]]:
    """The members in what workers told, and by name why others are none."""
    members, wrong = list[Member](), dict[str, str]()
    adapter = TypeAdapter(Member)
    for each in found:
        try:
            members.append(adapter.validate_python(each))
        except ValidationError as error:
            what = f"{each['worker']} tells nonsense of it, {wrong_field(error)!r}"
            wrong[str(each.get("name"))] = f"{what}; use one benchbox on all machines"
    return members, wrong


def matching(target: str, members: Sequence[Member]) -> list[Member]:
    """The members that `pool:pi5`, `arch:aarch64` or a name stands for, empty for all.

    Raises DeviceError where there is none, and where they are of two identities.
    """
    kind, _, value = target.rpartition(":")
    found = [each for each in members if _matches(each, kind, value)]
    if not members:
        raise DeviceError("the fleet has no devices; start `benchbox worker` where some are")
    if not found:
        names = ", ".join(sorted(each.name for each in members))
        pools = ", ".join(sorted({f"pool:{pool}" for each in members for pool in each.pools[:2]}))
        raise DeviceError(f"device {target!r}: the fleet has {names}; pools: {pools}")
    kinds = {each.identity: each for each in found}
    if len(kinds) > 1:
        several = "; ".join(f"pool:{each.identity} is {each.kind}" for each in kinds.values())
        raise DeviceError(f"device {target or 'pool'!r}: they differ, choose one: {several}")
    return found


def _matches(member: Member, kind: str, value: str) -> bool:
    if kind == "pool":
        return value in member.pools
    if kind == "arch":
        return value == member.machine
    return value in ("", member.name)

"""Members of a fleet: its devices, what they are and what they are at, as the scheduler knows."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from benchbox.analysis.quantities import Amount, Count, wrong_field
from benchbox.devices import Device
from benchbox.errors import DeviceError

METRIC = "benchbox"
Text = Annotated[str, Field(max_length=400)]
NUMBERED = re.compile(r"(.+?)[-_]?\d+")


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a fleet: two of one `identity` are timed alike; `boot` tells hardware apart."""

    name: Text
    worker: Text
    identity: Text
    machine: Text
    cpu: Text
    runtime: Text
    governor: Text
    pools: Sequence[Text]
    boot: Text = ""
    case: Text = ""
    done: Count = 0
    p50_s: Amount | None = None
    waiting: Count = 0

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return ", ".join(filter(None, (self.cpu, self.machine, self.runtime, self.governor)))


def described(device: Device, hello: Mapping[str, Any]) -> dict[str, Any]:
    """A device by the facts with which its agent greeted."""
    there, versions = hello["host"], hello["versions"]
    gpu = there.get("gpu") or {}
    clusters = [each.get("core") or "" for each in there.get("clusters", ())]
    cpu = str(gpu.get("name") or there.get("cpu") or " ".join(filter(None, clusters)))
    governors = {str(each.get("governor") or "") for each in there.get("clusters", ())} - {""}
    runtime = f"ONNX Runtime {versions.get('onnxruntime', 'unknown')}"
    parts = {
        "machine": str(there.get("machine") or ""),
        "cpu": cpu,
        "runtime": runtime,
        "governor": " ".join(sorted(governors)),
    }
    others = [device.provider, device.threads, clusters, there.get("emulated"), there.get("cpus")]
    identity = _digest(json.dumps([parts, others], default=str))
    stem = match[1] if (match := NUMBERED.fullmatch(device.name)) else device.name
    slug = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")
    pools = [*dict.fromkeys(filter(None, (stem, slug, identity)))]
    boot = there.get("boot")
    return {
        "name": device.name,
        "identity": identity,
        **parts,
        "pools": pools,
        "boot": _digest(str(boot)) if boot else "",
    }


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


def parse(found: object) -> list[Member]:
    """The members in what the scheduler told; raises DeviceError where it told nonsense."""
    try:
        return TypeAdapter(list[Member]).validate_python(found)
    except ValidationError as error:
        raise DeviceError(f"the fleet's scheduler told nonsense: {wrong_field(error)!r}") from None


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
        pools = ", ".join(sorted({f"pool:{each.pools[0]}" for each in members}))
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

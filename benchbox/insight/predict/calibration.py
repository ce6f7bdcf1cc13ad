"""Calibration: what calibration networks took on a device, as JSON Lines that belong to one build.

The first line has the identity of the device and of its ONNX Runtime; then come, for each network,
its operators once and what was timed each time, with the raw time of every operator. Models are
fitted to it when it is used, and never stored as code.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.analysis.profile import estimate
from benchbox.errors import DeviceError, StorageError
from benchbox.insight.predict.operators import Operator

SCHEMA = 1
MOST_MB = 256
LEAST_NETWORKS = 24  # without which nothing is predicted


@dataclass(frozen=True, slots=True)
class Identity:
    """What a calibration belongs to: a predictor of one build is wrong for the next."""

    processor: str
    machine: str
    cores: str
    onnxruntime: str
    build: str
    provider: str
    threads: int
    dtype: str = "float32"
    batch: int = 1

    @property
    def digest(self) -> str:
        """The name of the file of its calibration."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def differences(self, other: "Identity") -> list[str]:
        """What is another one there, in words."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name} {theirs[name] or 'unknown'} instead of {mine[name] or 'unknown'}"
            for name in mine
            if mine[name] != theirs[name]
        ]


@dataclass(frozen=True, slots=True)
class NetworkTiming:
    """One time that a network was timed: its latency, and each operator's raw time.

    `calls` is how many there were without the profiler.
    """

    latency_s: float
    calls: int
    operators_us: Sequence[float]


@dataclass(frozen=True, slots=True)
class TimedNetwork:
    """A network with its operators and the times that it was timed."""

    name: str
    motifs: Sequence[str]
    operators: Sequence[Operator]
    timings: Sequence[NetworkTiming]

    @property
    def latency_s(self) -> float:
        """The mean of all times."""
        return sum(each.latency_s for each in self.timings) / len(self.timings)

    @property
    def operators_us(self) -> list[float]:
        """The raw time of each operator, by its lower share of a latency: waits make it higher."""
        shares = ([us / each.latency_s for us in each.operators_us] for each in self.timings)
        return [min(each) * self.latency_s for each in zip(*shares, strict=True)]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a file has: the identity, whether operators compute in blocks, and the networks."""

    identity: Identity
    is_blocked: bool
    created: str
    device: str
    networks: Sequence[TimedNetwork]

    @property
    def digest(self) -> str:
        """What a model that was fitted to it is kept under."""
        timed = [(each.name, each.latency_s, each.operators_us) for each in self.networks]
        return hashlib.sha256(json.dumps([asdict(self.identity), timed]).encode()).hexdigest()


def folder() -> Path:
    """Where calibrations are kept."""
    return host.cache_folder() / "calibrations"


def path(identity: Identity) -> Path:
    """The file of an identity's calibration."""
    return folder() / f"{identity.digest}.jsonl"


def lock(file: Path) -> int:
    """Be the only one to calibrate into a file until the descriptor is closed.

    Raises DeviceError where another process does, StorageError where nothing can be written.
    """
    own = _lock_of(file)
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(own, os.O_RDONLY | os.O_CREAT)
    except OSError as error:
        raise StorageError(f"{own}: cannot be written: {error.strerror}") from None
    if not host.lock(descriptor):
        os.close(descriptor)
        raise DeviceError(f"{file}: benchbox calibrate writes to it right now; wait for its end")
    return descriptor


def require_idle(file: Path) -> None:
    """Raise DeviceError where a process calibrates into a file."""
    if _lock_of(file).exists():
        os.close(lock(file))


def _lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")


def read(file: Path) -> Calibration:
    """Read a calibration; a last line that was cut off is left out.

    Raises DeviceError where it is broken or of a newer benchbox.
    """
    try:
        lines = list(_lines(file))
        head = lines[0]
        if head["schema"] > SCHEMA:
            raise DeviceError(f"{file}: written by a newer benchbox; calibrate again")
        timings: defaultdict[str, list[NetworkTiming]] = defaultdict(list)
        for line in lines[1:]:
            if line["kind"] == "timed":
                timing = NetworkTiming(line["latency_s"], line["calls"], line["operators_us"])
                timings[line["network"]].append(timing)
        made = {line["network"]: line for line in lines[1:] if line["kind"] == "network"}
        networks = [_network(line, timings) for line in made.values()]
        return Calibration(
            identity=Identity(**head["identity"]),
            is_blocked=head["is_blocked"],
            created=head["created"],
            device=head["device"],
            networks=[each for each in networks if each.timings],
        )
    except OSError as error:
        raise DeviceError(f"{file}: {error.strerror or error}; calibrate again") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise DeviceError(f"{file}: no calibration, or a broken one; remove it") from None


def _network(
    line: Mapping[str, Any], timings: Mapping[str, Sequence[NetworkTiming]]
) -> TimedNetwork:
    operators = [Operator.from_json(each) for each in line["operators"]]
    own = timings.get(line["network"], ())
    if any(len(each.operators_us) != len(operators) for each in own):
        raise ValueError(line["network"])
    return TimedNetwork(line["network"], line["motifs"], operators, own)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    whole = host.read_file(file, MOST_MB).decode().split("\n")[:-1]
    yield from (json.loads(line) for line in whole)


def mend(file: Path) -> bool:
    """Cut off a last line that was not written whole; whether anything is left."""
    try:
        with file.open("rb+") as open_file:
            open_file.truncate(open_file.read().rfind(b"\n") + 1)
            return open_file.seek(0, os.SEEK_END) > 0
    except FileNotFoundError:
        return False


def head(identity: Identity, created: str, device: str, *, is_blocked: bool) -> dict[str, object]:
    """The first line of a file."""
    return {
        "kind": "calibration",
        "schema": SCHEMA,
        "created": created,
        "device": device,
        "identity": asdict(identity),
        "is_blocked": is_blocked,
    }


def network_line(
    name: str, motifs: Sequence[str], operators: Sequence[Operator]
) -> dict[str, object]:
    """The line with what a network is made of."""
    plain = [each.to_json() for each in operators]
    return {"kind": "network", "network": name, "motifs": [*motifs], "operators": plain}


def timed_line(name: str, timing: NetworkTiming) -> dict[str, object]:
    """The line with what a network took."""
    return {"kind": "timed", "network": name, **asdict(timing)}


def timing(reply: Mapping[str, Any], places: Sequence[int]) -> NetworkTiming:
    """What an agent's profile says, its nodes put into the order of the operators."""
    profile = estimate(reply, len(places))
    times = [0.0] * len(places)
    for place, node in zip(places, profile.nodes, strict=True):
        times[place] = node.profiled_s * 1e6
    return NetworkTiming(profile.latency_s, len(reply["latencies_ns"]["default"]), times)


def places(operators: Sequence[Operator], nodes: Sequence[Mapping[str, Any]]) -> list[int]:
    """The place of each node that ran among the operators; empty where they are others.

    They go by name and by what they do. The conversions that ONNX Runtime adds are numbered by
    chance: they go by what they do alone.
    """
    named: dict[object, int] = {}
    alike: defaultdict[object, list[int]] = defaultdict(list)
    for at, each in enumerate(operators):
        work = _work(each.type, each.inputs, each.outputs)
        named[each.name, work] = at
        alike[work].append(at)
    free, found = {*range(len(operators))}, [-1] * len(nodes)
    works = [_work(node["op"], node["inputs"], node["outputs"]) for node in nodes]
    for index, (node, work) in enumerate(zip(nodes, works, strict=True)):
        if named.get((node["name"], work), -1) in free:
            found[index] = named[node["name"], work]
            free.discard(found[index])
    for index, work in enumerate(works):
        if found[index] < 0:
            found[index] = next((at for at in alike[work] if at in free), -1)
            free.discard(found[index])
    return [] if free or -1 in found else found


def _work(type_: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> object:
    return type_, *(tuple(each[0] or ()) if each else () for each in (inputs, outputs))

"""Ceilings: the best rates that `benchbox device check` measured, kept in the cache folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.devices.host_schema import KnownCeilings, wrong


def of_processor(hello: Mapping[str, Any], threads: int) -> list[object]:
    """The facts that decide the ceilings of the processors that an agent greeted from."""
    cpus = {*hello["cpus"]}
    kinds = {
        (each.get("core"), each.get("top_khz"))
        for each in hello["host"].get("clusters", ())
        if cpus & {*each["cpus"]}
    }
    facts = [hello["host"].get(name) for name in ("cpu", "machine")]
    return [*facts, sorted(map(str, kinds)), hello["versions"].get("onnxruntime"), threads]


def path(identity: Sequence[object]) -> Path:
    """The file with the ceilings of an identity (`of_processor`, `gpu_options.identity`)."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return host.cache_folder() / "ceilings" / f"{digest[:32]}.json"


def load(identity: Sequence[object]) -> dict[str, Any]:
    """The ceilings and when they were `measured`; empty where they were not."""
    found = host.read_json(path(identity))
    return found if isinstance(found, dict) and not wrong(KnownCeilings, found) else {}


def best(*measured: Mapping[str, float]) -> dict[str, float]:
    """The best of each figure: what disturbs a measurement only makes it worse."""
    found: dict[str, float] = {}
    for name, figure in (pair for each in measured for pair in each.items()):
        better = max if name.endswith("_per_s") else min
        found[name] = better(figure, found.get(name, figure))
    return found


def save(identity: Sequence[object], measured: Mapping[str, float], when: str) -> bool:
    """Keep what was measured; false where the cache cannot be written."""
    try:
        host.write(path(identity), json.dumps({**measured, "measured": when}))
    except OSError:
        return False
    return True

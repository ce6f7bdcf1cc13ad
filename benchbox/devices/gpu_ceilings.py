"""Ceilings of GPUs: the best rates that `benchbox device check` measured, in the cache folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.devices.host_schema import GpuCeilings, wrong


def path(identity: Sequence[object]) -> Path:
    """The file with the ceilings of a GPU of this identity (`gpu_options.identity`)."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return host.cache_folder() / "ceilings" / f"{digest[:32]}.json"


def load(identity: Sequence[object]) -> dict[str, Any]:
    """The ceilings of a GPU and when they were `measured`; empty where they were not."""
    found = host.read_json(path(identity))
    return found if isinstance(found, dict) and not wrong(GpuCeilings, found) else {}


def save(identity: Sequence[object], measured: Mapping[str, float], when: str) -> bool:
    """Keep what was measured; false where the cache cannot be written."""
    try:
        host.write(path(identity), json.dumps({**measured, "measured": when}))
    except OSError:
        return False
    return True

"""Ceilings of GPUs: the best rates that `benchbox device check` measured, in the cache folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbox import host


def path(identity: Sequence[object]) -> Path:
    """The file with the ceilings of a GPU of this identity (`gpu_options.identity`)."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return host.cache_folder() / "ceilings" / f"{digest[:32]}.json"


def load(identity: Sequence[object]) -> dict[str, Any]:
    """The ceilings of a GPU and when they were `measured`; empty where they were not."""
    try:
        found = json.loads(path(identity).read_bytes())
    except (OSError, ValueError):
        return {}
    is_sane = isinstance(found, dict) and all(
        isinstance(value, str) if name == "measured" else _is_positive(value)
        for name, value in found.items()
    )
    return found if is_sane else {}


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def save(identity: Sequence[object], measured: Mapping[str, float], when: str) -> bool:
    """Keep what was measured; false where the cache cannot be written."""
    try:
        host.write(path(identity), json.dumps({**measured, "measured": when}))
    except OSError:
        return False
    return True

"""What GPUs do at best, measured by `benchbox device check` and kept in the user's cache folder."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbox import host


def path(identity: Sequence[object]) -> Path:
    """Return the file that has the ceilings of a GPU of this identity (`gpu_options.identity`)."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return host.cache_folder() / "ceilings" / f"{digest[:32]}.json"


def load(identity: Sequence[object]) -> dict[str, Any]:
    """Return the ceilings of a GPU with when they were `measured`; nothing where they were not."""
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
    """Keep what was measured, at once or not at all; return whether the cache can be written."""
    file = path(identity)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as fresh:
            json.dump({**measured, "measured": when}, fresh)
        Path(fresh.name).replace(file)
    except OSError:
        return False
    return True

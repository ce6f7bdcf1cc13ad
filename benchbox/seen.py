"""When devices were last reached; no record holds it."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

from benchbox import host


def _file() -> Path:
    return host.cache_folder() / "devices.json"


def times() -> dict[str, str]:
    """Return when each device was last reached, by name."""
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(name: str) -> None:
    """Keep that a device was reached now, where the cache can be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        fresh = _file().with_suffix(".new")
        fresh.write_text(json.dumps({**times(), name: now}))
        fresh.replace(_file())

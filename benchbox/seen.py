"""When devices were last reached; no record holds it."""

import contextlib
import json
import tempfile
import threading
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


_one_at_a_time = threading.Lock()  # several devices may be reached at once


def note(name: str) -> None:
    """Keep that a device was reached now, where the cache can be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _one_at_a_time, contextlib.suppress(OSError):
        folder = _file().parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as fresh:
            json.dump({**times(), name: now}, fresh)
        Path(fresh.name).replace(_file())

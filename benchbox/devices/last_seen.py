"""Cache of when each device was last reached and its one-line description; never in records."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchbox import host


@dataclass(frozen=True, slots=True)
class LastSeen:
    """When a device was last reached, and its description; empty where not known."""

    at: str = ""
    what: str = ""


def _file() -> Path:
    return host.cache_folder() / "devices.json"


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _all() -> dict[str, LastSeen]:
    found = host.read_json(_file())
    items = found.items() if isinstance(found, dict) else ()
    return {
        key: LastSeen(str(each.get("at", "")), str(each.get("what", "")))
        for key, each in items
        if isinstance(each, dict)
    }


def last(url: str) -> LastSeen:
    """What the cache has of the device at an address; empty for one never reached."""
    return _all().get(_key(url), LastSeen())


_one_at_a_time = threading.Lock()  # several devices may be reached at once


def note(url: str, what: str = "") -> None:
    """Record that a device was reached now, and `what` it is, if the cache can be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _one_at_a_time:
        known = _all()
        before = known.get(_key(url), LastSeen())
        _write({**known, _key(url): LastSeen(now, what or before.what)})


def forget(url: str) -> None:
    """Remove the device at an address from the cache."""
    with _one_at_a_time:
        known = _all()
        if known.pop(_key(url), None) is not None:
            _write(known)


def _write(known: Mapping[str, LastSeen]) -> None:
    with contextlib.suppress(OSError):
        host.write(_file(), json.dumps({key: asdict(each) for key, each in known.items()}))


def describe(model: object, machine: object, clusters: object) -> str:
    """Describe a device in a few words; clusters that are not a list are left out."""
    listed = clusters if isinstance(clusters, list) else []
    kinds = [_kind(each) for each in listed if isinstance(each, dict)]
    parts = (str(model or ""), str(machine or ""), " + ".join(filter(None, kinds)))
    return ", ".join(part for part in parts if part)


def _kind(cluster: Mapping[str, object]) -> str:
    cpus = cluster.get("cpus")
    count = len(cpus) if isinstance(cpus, list) else 0
    return f"{count} x {cluster.get('core', 'CPU')}" if count else ""

"""When devices were last reached, and what they were then; no record holds it."""

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchbox import host


@dataclass(frozen=True, slots=True)
class Seen:
    """When a device was last reached, and what it is in a few words; empty where not known."""

    at: str = ""
    what: str = ""


def _file() -> Path:
    return host.cache_folder() / "devices.json"


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _all() -> dict[str, Seen]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    told = found.items() if isinstance(found, dict) else ()
    return {
        key: Seen(str(each.get("at", "")), str(each.get("what", "")))
        for key, each in told
        if isinstance(each, dict)
    }


def last(url: str) -> Seen:
    """Return what is kept of the device at an address; all is empty for one never reached."""
    return _all().get(_key(url), Seen())


_one_at_a_time = threading.Lock()  # several devices may be reached at once


def note(url: str, what: str = "") -> None:
    """Keep that a device was reached now, and `what` it is, where the cache can be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _one_at_a_time:
        known = _all()
        before = known.get(_key(url), Seen())
        _write({**known, _key(url): Seen(now, what or before.what)})


def forget(url: str) -> None:
    """Keep nothing of the device at an address."""
    with _one_at_a_time:
        known = _all()
        if known.pop(_key(url), None) is not None:
            _write(known)


def _write(known: Mapping[str, Seen]) -> None:
    with contextlib.suppress(OSError):
        folder = _file().parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as fresh:
            json.dump({key: asdict(each) for key, each in known.items()}, fresh)
        Path(fresh.name).replace(_file())


def describe(model: object, machine: object, clusters: object) -> str:
    """Say in a few words what a device is; what is no list of clusters is left out."""
    listed = clusters if isinstance(clusters, list) else []
    kinds = [_kind(each) for each in listed if isinstance(each, dict)]
    parts = (str(model or ""), str(machine or ""), " + ".join(filter(None, kinds)))
    return ", ".join(part for part in parts if part)


def _kind(cluster: Mapping[str, object]) -> str:
    cpus = cluster.get("cpus")
    count = len(cpus) if isinstance(cpus, list) else 0
    return f"{count} x {cluster.get('core', 'CPU')}" if count else ""

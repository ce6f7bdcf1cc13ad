"""What the machine that benchbox itself runs on has, how busy it is, and where its cache lies."""

import contextlib
import hashlib
import os
import time
from importlib import metadata
from pathlib import Path

import psutil

LOOK_S = 0.2


def usable_cpus() -> list[int]:
    """Return the processors that this process may use, ascending."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def busy_cpus() -> float:
    """Return how many processors others keep busy, seen over LOOK_S seconds of our own sleep."""
    start, before_s = time.monotonic(), _worked_s()
    time.sleep(LOOK_S)
    return max(0.0, _worked_s() - before_s) / (time.monotonic() - start)


def _worked_s() -> float:
    """Return the seconds that all processors have worked since the system started.

    psutil's own shares take less than a second of all processors together for a whole one.
    """
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def onnxruntime_version() -> str:
    """Return the version of the ONNX Runtime that is installed here, empty where none is."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return what may be kept between runs: $BENCHBOX_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("BENCHBOX_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("benchbox", appauthor=False)

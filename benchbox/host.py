"""What the machine that benchbox itself runs on has, how busy it is, and where its cache lies."""

import os
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
    times = psutil.cpu_times_percent(interval=LOOK_S)
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    return (psutil.cpu_count() or 1) * max(0.0, 1 - idle / 100)


def cache_folder() -> Path:
    """Return what may be kept between runs: $BENCHBOX_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("BENCHBOX_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("benchbox", appauthor=False)

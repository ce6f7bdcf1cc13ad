"""What the machine that benchbox itself runs on has, and how busy it is."""

import os

import psutil

LOOK_S = 0.2


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def busy_cpus() -> float:
    """Return how many processors others keep busy, seen over LOOK_S seconds of our own sleep."""
    times = psutil.cpu_times_percent(interval=LOOK_S)
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    return (psutil.cpu_count() or 1) * max(0.0, 1 - idle / 100)

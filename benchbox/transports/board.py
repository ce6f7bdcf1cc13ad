"""What a board is and how it feels, printed as one JSON line; runs there, on its own.

Its text is sent to the board's Python, so it imports nothing but the standard library.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CPUS = Path("/sys/devices/system/cpu")
ZONES = Path("/sys/class/thermal")
MODELS = (Path("/proc/device-tree/model"), Path("/sys/devices/virtual/dmi/id/product_name"))
THROTTLED = (  # bits of vcgencmd get_throttled
    (0, "under-voltage now"),
    (1, "clock capped now"),
    (2, "throttled now"),
    (3, "near its heat limit now"),
    (16, "under-voltage since it was started"),
    (17, "clock capped since it was started"),
    (18, "throttled since it was started"),
    (19, "near its heat limit since it was started"),
)


def text(path: Path) -> str:
    """Return what a file says, empty where it says nothing."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def clusters() -> list[dict[str, Any]]:
    """Return the processors in groups of equals, the fastest first."""
    found: dict[tuple[int, int, str], list[int]] = {}
    clocks: dict[tuple[int, int, str], list[int]] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        own = CPUS / f"cpu{cpu}"
        capacity, top = text(own / "cpu_capacity"), text(own / "cpufreq/cpuinfo_max_freq")
        key = (int(capacity or 0), int(top or 0), text(own / "cpufreq/scaling_governor"))
        found.setdefault(key, []).append(cpu)
        clocks.setdefault(key, []).append(int(text(own / "cpufreq/scaling_cur_freq") or 0))
    return [
        {"cpus": cpus, "top_khz": key[1], "governor": key[2], "khz": max(clocks[key])}
        for key, cpus in sorted(found.items(), reverse=True)
    ]


def heat() -> float | None:
    """Return the hottest zone, in degrees Celsius."""
    read = [text(zone / "temp") for zone in ZONES.glob("thermal_zone*")]
    return max((int(each) / 1000 for each in read if each.lstrip("-").isdigit()), default=None)


def throttled() -> list[str] | None:
    """Return what a Raspberry Pi says of its clock and supply, None on another board."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, timeout=5, text=True)
        bits = int(done.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return [what for bit, what in THROTTLED if bits >> bit & 1]


def versions() -> dict[str, str]:
    """Return the versions of what the agent needs, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"Python": platform.python_version()}
    for name in ("onnxruntime", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def look() -> dict[str, Any]:
    """Return all that is seen."""
    return {
        "model": next(filter(None, map(text, MODELS)), ""),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "clusters": clusters(),
        "heat_c": heat(),
        "throttled": throttled(),
        "versions": versions(),
        "free_bytes": shutil.disk_usage(Path.home()).free,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()) + "\n")

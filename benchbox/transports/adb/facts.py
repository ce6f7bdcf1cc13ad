"""What a phone without Python is: its own files, read here by what reads them elsewhere."""

import re
import tempfile
from pathlib import Path
from typing import Any

from benchbox.agent.host import clusters, counters, disturbances, facts, settings
from benchbox.agent.host import machine as host_machine
from benchbox.errors import CaseError

# As a shell's pattern; files that none matches are skipped.
FILES = (
    "/proc/cpuinfo",
    "/proc/self/status",
    "/proc/device-tree/model",
    "/sys/devices/system/cpu/cpu[0-9]*/cpu_capacity",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_*_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
)
SYSTEM, PRODUCT, FREE = "/system", "/product", "/free"  # no files: what programs say
# The names that files may have here: a phone can send any, and one is where its text is written.
NAME = re.compile("|".join((*FILES, SYSTEM, PRODUCT, FREE)).replace("*", "[A-Za-z0-9_.-]{0,32}"))
SPACE = re.compile("([0-9]{1,15}) ([0-9]{1,9})")  # free blocks, bytes of one
MOST_FILES = 4096  # a phone has some hundreds


def script(mark: str) -> str:
    """Return what has a phone's shell say it all; a new `mark` is before every file's path.

    A sensor may refuse to be read. No file can hold a mark that is not known before.
    """
    return f"""\
for f in {" ".join(FILES)}; do
  [ -r "$f" ] && {{ echo "{mark}$f"; cat "$f" 2>/dev/null; echo; }}
done
echo "{mark}{SYSTEM}"; uname -sr
echo "{mark}{PRODUCT}"; getprop ro.product.manufacturer 2>/dev/null
getprop ro.product.model 2>/dev/null
echo "{mark}{FREE}"; stat -f -c '%a %S' /data/local/tmp"""


def read(said: str, mark: str, machine: str) -> dict[str, Any]:
    """Return the facts of a phone from what its script printed, as benchbox.agent.host.facts does.

    Raises CaseError where the phone says something else than it was asked.
    """
    texts = _files(said, mark)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in texts.items():
            path = root / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        proc, sys = root / "proc", root / "sys"
        usable = settings.cpu_list(_field(texts.get("/proc/self/status", ""), "Cpus_allowed_list"))
        sensors = [
            host_machine.contents(path) for path in disturbances.sensors(sys / "class/thermal")
        ]
        found: dict[str, Any] = {
            "model": " ".join(texts.get(PRODUCT, "").split()) or facts.model(proc, sys),
            "machine": machine,
            "system": texts.get(SYSTEM, "").strip(),
            "clusters": [facts.cluster(each, sys) for each in clusters.read(usable, proc, sys)],
            "temperature_c": counters.temperature(sensors).get("temperature_c"),
            "versions": {},
            "free_bytes": free_bytes(texts.get(FREE, "")),
        }
    return {name: value for name, value in found.items() if value is not None}


def _files(said: str, mark: str) -> dict[str, str]:
    """Return the texts of the files by their paths; raises CaseError for one not asked for."""
    parts = (part.partition("\n") for part in f"\n{said}".split(f"\n{mark}")[1:])
    found = {name: text for name, _, text in parts}
    for name in found:
        if not NAME.fullmatch(name):
            raise CaseError(f"the phone sent {name[:80]!r}, which it was not asked for")
    if len(found) > MOST_FILES:
        raise CaseError(f"the phone sent {len(found)} files, {MOST_FILES} at most were expected")
    return found


def _field(text: str, name: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key == name), "")


def free_bytes(text: str) -> int:
    """Return what `stat -f -c '%a %S'` says is free; 0 where it says something else."""
    match = SPACE.fullmatch(text.strip())
    return int(match[1]) * int(match[2]) if match else 0

"""What a phone without Python is: its own files, read here by what reads them elsewhere."""

import tempfile
from pathlib import Path
from typing import Any

from benchbox.agent import clusters, counters, facts, settings, system, witness

MARK = "=="  # before a file's path, on a line of its own
# Files that no shell pattern matches are skipped; a sensor may refuse to be read.
SCRIPT = f"""\
for f in /proc/cpuinfo /proc/self/status /proc/device-tree/model \
  /sys/devices/system/cpu/cpu[0-9]*/cpu_capacity \
  /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq \
  /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_*_freq \
  /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor \
  /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp; do
  [ -r "$f" ] && {{ echo "{MARK}$f"; cat "$f" 2>/dev/null; echo; }}
done
echo "{MARK}/system"; uname -sr
echo "{MARK}/product"; getprop ro.product.manufacturer 2>/dev/null
getprop ro.product.model 2>/dev/null
echo "{MARK}/free"; stat -f -c '%a %S' /data/local/tmp"""


def read(said: str, machine: str) -> dict[str, Any]:
    """Return the facts of a phone from what SCRIPT printed there, as benchbox.agent.facts does."""
    texts = _files(said)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in texts.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        proc, sys = root / "proc", root / "sys"
        usable = settings.cpu_list(_field(texts.get("proc/self/status", ""), "Cpus_allowed_list"))
        sensors = [system.contents(path) for path in witness.sensors(sys / "class/thermal")]
        found: dict[str, Any] = {
            "model": " ".join(texts.get("product", "").split()) or facts.model(proc, sys),
            "machine": machine,
            "system": texts.get("system", "").strip(),
            "clusters": [facts.cluster(each, sys) for each in clusters.read(usable, proc, sys)],
            "temperature_c": counters.temperature(sensors).get("temperature_c"),
            "versions": {},
            "free_bytes": _free(texts.get("free", "")),
        }
    return {name: value for name, value in found.items() if value is not None}


def _files(said: str) -> dict[str, str]:
    """Return the texts of the files, by their paths without the first slash."""
    found: dict[str, str] = {}
    for part in f"\n{said}".split(f"\n{MARK}/")[1:]:
        name, _, text = part.partition("\n")
        if ".." not in name:
            found[name] = text
    return found


def _field(text: str, name: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key == name), "")


def _free(text: str) -> int:
    blocks, _, size = text.strip().partition(" ")
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else 0

"""Facts, temperature and settings of a board in one reply, before anything is measured there."""

import platform
import shutil
import struct
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from sys import argv

from benchbox.agent.host import clusters, health, instructions, machine
from benchbox.agent.host.clusters import Cluster
from benchbox.agent.host.disturbances import PROC, SYS
from benchbox.agent.host.health import HealthReader

NEEDED = ("onnxruntime", "numpy")


def read(proc: Path = PROC, sys: Path = SYS) -> dict[str, object]:
    """Return the facts; nothing that the agent needs besides Python is imported for them.

    `clusters` come the fastest first, each with its `governor`, its `limit` and its clock as
    `khz`; `setting` is what is set for all of the board. What is not known is absent.
    """
    health_reader = HealthReader((), sys)
    facts: dict[str, object] = {
        "model": model(proc, sys),
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,  # of Python: a kernel of 64 runs systems of 32
        "system": f"{platform.system()} {platform.release()}",
        "clusters": [
            cluster(each, sys) for each in clusters.read(machine.usable_cpus(), proc, sys)
        ],
        "instructions": instructions.read(machine.proc_fields(proc / "cpuinfo")),
        "temperature_c": health_reader.temperature_c(),
        "setting": health_reader.setting(),
        "versions": _versions(),
        "free_bytes": shutil.disk_usage(Path(argv[0]).parent).free,  # beside what is pushed
    }
    return {name: value for name, value in facts.items() if value is not None}


def cluster(alike: Cluster, sys: Path) -> dict[str, object]:
    """Facts of equal processors, with their settings and their clock."""
    khz = health.clock_khz(alike.cpus, sys)
    now = {} if khz is None else {"khz": khz}
    return {**alike.facts(), **health.policy(alike.cpus, sys), **now}


def model(proc: Path, sys: Path) -> str | None:
    """Return the phone's, the board's or else the computer's name."""
    if name := _phone():
        return name
    for file in (proc / "device-tree/model", sys / "devices/virtual/dmi/id/product_name"):
        if name := machine.contents(file).decode(errors="replace").strip("\0 \n"):
            return name
    return None


def _phone() -> str | None:
    """Maker and model as Android says them, None elsewhere."""
    if not (getprop := shutil.which("getprop")):
        return None
    names = ("ro.product.manufacturer", "ro.product.model")
    output = [subprocess.run([getprop, name], capture_output=True).stdout for name in names]
    return " ".join(b" ".join(output).decode(errors="replace").split()) or None


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in NEEDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""Settings of a machine that bear on timing; those that it does not show are absent."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchbox.agent.host.cgroups import folders
from benchbox.agent.host.counters import number
from benchbox.agent.host.disturbances import PROC, SYS
from benchbox.agent.host.machine import contents, sizes

CPU_RANGE = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")  # Linux counts up to 8192
# What makers of virtual machines call them; some clouds say so of their bare ones too.
GUESTS = re.compile(r"KVM|QEMU|VMware|VirtualBox|Xen|EC2|Google|Virtual|Bochs|Parallels|OpenStack")
BARE = re.compile(r"\bmetal\b")


def read(cpus: Sequence[int], proc: Path = PROC, system: Path = SYS) -> dict[str, object]:
    """Read all settings; of processors only those of `cpus`."""
    folder = system / "devices/system/cpu"
    memory = sizes(proc / "meminfo")
    swap, swap_free = memory.get("SwapTotal"), memory.get("SwapFree")
    facts: dict[str, object] = {
        "virtual": _virtual(proc, system),
        "cpus": [_processor(folder, cpu) for cpu in cpus],
        "isolated": cpu_list(_text(folder / "isolated")),
        "boost": _boost(folder),
        "quota_cpus": _quota(folders(proc, system)),
        "load_5min": _load(_text(proc / "loadavg")),
        "memory_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "swap_used_bytes": None if swap is None or swap_free is None else swap - swap_free,
        "on_battery": _on_battery(system / "class/power_supply"),
        "profile": _word(system / "firmware/acpi/platform_profile"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def cpu_list(text: str) -> list[int]:
    """Return the processors of a list as the kernel and taskset write it: `0-2,8`.

    What cannot be read as one is left out.
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        if match := CPU_RANGE.fullmatch(part):
            found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(found)


def _processor(folder: Path, cpu: int) -> dict[str, object]:
    own = folder / f"cpu{cpu}"
    siblings = cpu_list(_text(own / "topology/thread_siblings_list"))
    facts: dict[str, object] = {
        "cpu": cpu,
        "siblings": [each for each in siblings if each != cpu],
        "governor": _word(own / "cpufreq/scaling_governor"),
        "driver": _word(own / "cpufreq/scaling_driver"),
        "limit_khz": number(contents(own / "cpufreq/scaling_max_freq")),
        "top_khz": number(contents(own / "cpufreq/cpuinfo_max_freq")),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _boost(folder: Path) -> dict[str, object] | None:
    """Whether the clock may exceed its nominal value, and the file that sets it."""
    for name, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        value = _word(folder / name)
        if value in ("0", "1"):
            return {"on": value == on, "file": str(folder / name)}
    return None


def _quota(groups: Sequence[Path]) -> float | None:
    """Number of processors that the tightest control group allows."""
    quotas = [quota for group in groups for quota in _quotas(group)]
    return min(quotas, default=None)


def _quotas(group: Path) -> Iterator[float]:
    second = contents(group / "cpu.max").split()
    first = [contents(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for fields in (second, first):
        quota, period = map(number, fields) if len(fields) == 2 else (None, None)
        if quota is not None and period:
            yield quota / period


def _virtual(proc: Path, system: Path) -> bool | None:
    flags = re.search(r"^flags\s*:(.*)", _text(proc / "cpuinfo"), re.MULTILINE)
    if flags:
        return "hypervisor" in flags[1].split()
    if (system / "hypervisor/type").exists() or (proc / "device-tree/hypervisor").exists():
        return True
    names = [_text(system / "class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    product = " ".join(names) + _text(proc / "device-tree/compatible").replace("dummy-virt", "KVM")
    return (bool(GUESTS.search(product)) and not BARE.search(product)) if product.strip() else None


def _load(text: str) -> float | None:
    fields = text.split()
    try:
        return float(fields[1])
    except (IndexError, ValueError):
        return None


def _on_battery(folder: Path) -> bool | None:
    """Whether no mains supply is on line; None for a machine without any."""
    mains = [
        _word(supply / "online")
        for supply in folder.glob("*")
        if _word(supply / "type") in ("Mains", "USB") and _word(supply / "online")
    ]
    return None if not mains else "1" not in mains


def _word(path: Path) -> str | None:
    """The word in a file that holds one, else None."""
    words = _text(path).split()
    return words[0] if len(words) == 1 else None


def _text(path: Path) -> str:
    return contents(path).decode(errors="replace")

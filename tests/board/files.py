"""The files of a board's /proc, /sys and /etc, as plain files: Arm's Juno, two big and four LITTLE.

Its big cores are processors 1 and 2, so that a machine with two processors has one of each kind to
run the stand-in on.
"""

from collections.abc import Mapping
from pathlib import Path

BIG, LITTLE = (1, 2), (0, 3, 4, 5)
USER, UID = "board", 1000
# What qemu's cortex-a72 can do: ONNX Runtime takes the kernels that these name.
FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
CPUINFO = """\
processor\t: {cpu}
BogoMIPS\t: 100.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 0
"""


def plant(root: Path, contents: Mapping[str, str]) -> None:
    """Write files into a root; paths are relative to it."""
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def juno() -> dict[str, str]:
    """The files of a Juno r2 that does nothing, by their paths in its root."""
    cpu = "sys/devices/system/cpu"
    return {
        "proc/cpuinfo": "\n".join(_cpuinfo(n) for n in sorted(BIG + LITTLE)),
        "proc/meminfo": "MemTotal:        8169000 kB\nMemFree:         7000000 kB\n"
        "MemAvailable:    7400000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
        "proc/loadavg": "0.00 0.01 0.05 1/120 1234\n",
        "proc/device-tree/model": "ARM Juno development board (r2)\0",
        "proc/device-tree/compatible": "arm,juno-r2\0arm,juno\0arm,vexpress\0",
        **{f"{cpu}/{name}": "0-5\n" for name in ("online", "possible", "present")},
        **_cluster(LITTLE, 450000, 950000, 446, 0),
        **_cluster(BIG, 600000, 1200000, 1024, 1),
        "sys/class/thermal/thermal_zone0/type": "big_cluster\n",
        "sys/class/thermal/thermal_zone0/temp": "47000\n",
        "etc/passwd": f"root:*:0:0::/root:/bin/sh\n{USER}:*:{UID}:{UID}::/home/{USER}:/bin/sh\n",
        "etc/group": f"root:*:0:\n{USER}:*:{UID}:\n",
    }


def _cpuinfo(cpu: int) -> str:
    return CPUINFO.format(cpu=cpu, features=FEATURES, part="0xd08" if cpu in BIG else "0xd03")


def _cluster(
    cpus: tuple[int, ...], low_khz: int, top_khz: int, capacity: int, number: int
) -> dict[str, str]:
    own = {
        "cpu_capacity": capacity,
        "topology/core_siblings_list": ",".join(map(str, cpus)),
        "topology/physical_package_id": number,
        "cpufreq/cpuinfo_min_freq": low_khz,
        "cpufreq/cpuinfo_max_freq": top_khz,
        "cpufreq/scaling_max_freq": top_khz,
        "cpufreq/scaling_cur_freq": top_khz,
        "cpufreq/scaling_governor": "schedutil",
        "cpufreq/scaling_driver": "scpi-cpufreq",
    }
    made: dict[str, str] = {}
    for cpu in cpus:
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        made |= {f"{folder}/{name}": f"{value}\n" for name, value in own.items()}
        made[f"{folder}/topology/thread_siblings_list"] = f"{cpu}\n"
    return made

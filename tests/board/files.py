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
    """Return the files of a Juno r2 that does nothing, by their paths in its root."""
    cpu = "sys/devices/system/cpu"
    return {
        "proc/cpuinfo": "\n".join(_cpuinfo(n) for n in sorted(BIG + LITTLE)),
        "proc/meminfo": "MemTotal:        8169000 kB\nMemFree:         7000000 kB\n"
        "MemAvailable:    7400000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
        "proc/loadavg": "0.00 0.01 0.05 1/120 1234\n",
        "proc/uptime": "5025.51 30012.20\n",
        "proc/version": "Linux version 6.1.0-board (board@board) #1 SMP\n",
        "proc/device-tree/model": "ARM Juno development board (r2)\0",
        "proc/device-tree/compatible": "arm,juno-r2\0arm,juno\0arm,vexpress\0",
        **{f"{cpu}/{name}": "0-5\n" for name in ("online", "possible", "present")},
        **_cluster(LITTLE, 450000, 950000, 446, 0),
        **_cluster(BIG, 600000, 1200000, 1024, 1),
        **_zone(0, "soc", 45000),
        **_zone(1, "big_cluster", 47000),
        **_zone(2, "little_cluster", 44000),
        "etc/passwd": f"root:*:0:0::/root:/bin/sh\n{USER}:*:{UID}:{UID}::/home/{USER}:/bin/sh\n",
        "etc/group": f"root:*:0:\n{USER}:*:{UID}:\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
        'VERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
        "etc/hostname": "board\n",
    }


def _cpuinfo(cpu: int) -> str:
    return CPUINFO.format(cpu=cpu, features=FEATURES, part="0xd08" if cpu in BIG else "0xd03")


def _cluster(
    cpus: tuple[int, ...], low_khz: int, top_khz: int, capacity: int, number: int
) -> dict[str, str]:
    policy = {
        "affected_cpus": " ".join(map(str, cpus)),
        "related_cpus": " ".join(map(str, cpus)),
        "cpuinfo_min_freq": low_khz,
        "cpuinfo_max_freq": top_khz,
        "scaling_min_freq": low_khz,
        "scaling_max_freq": top_khz,
        "scaling_cur_freq": top_khz,
        "scaling_governor": "schedutil",
        "scaling_available_governors": "performance powersave schedutil",
        "scaling_driver": "scpi-cpufreq",
    }
    folder = "sys/devices/system/cpu"
    made = {}
    for cpu in cpus:
        own = f"{folder}/cpu{cpu}"
        made[f"{own}/cpu_capacity"] = f"{capacity}\n"
        made[f"{own}/topology/thread_siblings_list"] = f"{cpu}\n"
        made[f"{own}/topology/core_siblings_list"] = f"{','.join(map(str, cpus))}\n"
        made[f"{own}/topology/core_id"] = f"{cpus.index(cpu)}\n"
        made[f"{own}/topology/physical_package_id"] = f"{number}\n"
        # Links on a real board. Plain copies here, which a test changes one by one.
        made |= {f"{own}/cpufreq/{name}": f"{value}\n" for name, value in policy.items()}
    first = f"{folder}/cpufreq/policy{cpus[0]}"
    return made | {f"{first}/{name}": f"{value}\n" for name, value in policy.items()}


def _zone(number: int, kind: str, milli_c: int) -> dict[str, str]:
    folder = f"sys/class/thermal/thermal_zone{number}"
    trip = {"trip_point_0_type": "passive\n", "trip_point_0_temp": "75000\n"}
    trips = {f"{folder}/{name}": text for name, text in trip.items()}
    return {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{milli_c}\n"} | trips

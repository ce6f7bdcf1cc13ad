"""Findings from a GPU: who else is on it, what holds its clock down, how it is set."""

from collections.abc import Iterator
from statistics import median

from benchbox.analysis.doctor.observation import Finding, Severity, Watch, percent, severity

# Bits of NVML's reasons for a lower clock, with how bad they are and what helps.
HELD: tuple[tuple[int, Severity, str], ...] = (
    (0x8 | 0x80, "poor", "its hardware slows it down: look at its power supply and its cooling"),
    (0x20 | 0x40, "poor", "it is too hot: let it cool, and see to its fans"),
    (0x4, "fair", "its power limit holds it down: the more it works, the slower it is"),
    (0x2, "good", "someone set it: it is steady, though not what users get"),
)
BELOW = 0.95  # of its highest clock, under the probe
SLOWER = 1.05  # than the probe's usual reading
UNSTEADY = (0.02, 0.2)  # shares of readings that are slower
HOT_CELSIUS = 83.0  # from about here on GPUs lower their clock by themselves
GIGA = 1e9


def others(watch: Watch) -> Iterator[Finding]:
    """Say who else computes on it."""
    count = int(watch.gpu.get("gpu_other_processes", 0))
    if count:
        held = watch.gpu.get("gpu_other_memory_bytes")
        holding = f", and {_hold(count)} {held / GIGA:.1f} GB of its memory" if held else ""
        whose = "1 other process computes" if count == 1 else f"{count} other processes compute"
        yield Finding("poor", f"{whose} on the GPU{holding}. To see them:", "nvidia-smi")


def _hold(count: int) -> str:
    return "holds" if count == 1 else "hold"


def held_down(watch: Watch) -> Iterator[Finding]:
    """Say what held its clock down while it worked."""
    bits = int(watch.gpu.get("gpu_throttle_bits", 0))
    for mask, bad, why in HELD:
        if bits & mask:
            yield Finding(bad, f"The GPU's clock is below its highest because {why}.")


def clock(watch: Watch) -> Iterator[Finding]:
    """Say that its clock was low while it worked, where nothing tells why."""
    now, top = watch.gpu.get("gpu_sm_clock_mhz"), watch.gpu.get("top_sm_clock_mhz")
    told = any(int(watch.gpu.get("gpu_throttle_bits", 0)) & mask for mask, _, _ in HELD)
    if now and top and now < BELOW * top and not told:
        yield Finding(
            "fair",
            f"The GPU ran at {now:.0f} of {top:.0f} MHz, and nothing tells why: it may not have "
            "been asked for enough.",
        )


def steadiness(watch: Watch) -> Iterator[Finding]:
    """Say how often the probe was slower than usual."""
    readings = watch.gpu_readings_ns
    if not readings:
        return
    usual = median(readings)
    slow = [ns for ns in readings if ns > SLOWER * usual]
    share = len(slow) / len(readings)
    bad = severity(share, UNSTEADY)
    if bad != "good":
        yield Finding(
            bad,
            f"The GPU took longer for the same work {percent(share)} of the time, "
            f"{percent(median(slow) / usual - 1)} in the middle.",
        )
    else:
        yield Finding(bad, f"The GPU took the same time for the same work ({usual / 1e3:.0f} us).")


def heat(watch: Watch) -> Iterator[Finding]:
    """Say whether it is hot."""
    now = watch.gpu.get("gpu_temperature_c", 0.0)
    if now >= HOT_CELSIUS:
        yield Finding("fair", f"The GPU is hot, at {now:.0f} °C, and may lower its clock.")


def power_limit(watch: Watch) -> Iterator[Finding]:
    """Say that it may draw less than it was made for."""
    limit, usual = watch.gpu.get("power_limit_w"), watch.gpu.get("default_power_limit_w")
    if limit and usual and limit < usual:
        yield Finding(
            "fair",
            f"The GPU may draw {limit:.0f} W, and was made for {usual:.0f} W. To lift that:",
            f"sudo nvidia-smi --power-limit={usual:.0f}",
        )


def persistence(watch: Watch) -> Iterator[Finding]:
    """Say that it starts anew for every program."""
    if watch.gpu.get("persistence") is False:
        yield Finding(
            "fair",
            "The GPU starts anew for every program, and its first calls are slow. To keep it on:",
            "sudo nvidia-smi --persistence-mode=1",
        )


def parted(watch: Watch) -> Iterator[Finding]:
    """Say that others may have parts of it."""
    if watch.gpu.get("mig"):
        yield Finding(
            "fair", "The GPU is divided (MIG): what runs on its other parts shares its power limit."
        )


def witness(watch: Watch) -> Iterator[Finding]:
    """Say what of it cannot be known."""
    if "unseen" in watch.gpu:
        yield Finding("fair", f"What slows the GPU down is not known: {watch.gpu['unseen']}.")
    elif watch.gpu and "gpu_other_processes" not in watch.gpu:
        yield Finding("fair", "Whether others compute on the GPU is not told here.")

"""Findings from a GPU: who else is on it, what holds its clock down, how it is set."""

from collections.abc import Iterator
from statistics import median

from benchbox.analysis.disturbances import clock_reasons
from benchbox.analysis.doctor.observation import Finding, Watch, percent, severity

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
    reasons = {reason.advice: reason.severity for reason in clock_reasons(watch.gpu)}
    for advice, bad in reasons.items():
        yield Finding(bad, f"The GPU's clock is below its highest because {advice}.")


def clock(watch: Watch) -> Iterator[Finding]:
    """Say that its clock was low while it worked, where nothing tells why."""
    now, top = watch.gpu.get("gpu_sm_clock_mhz"), watch.gpu.get("top_sm_clock_mhz")
    if now and top and now < BELOW * top and not clock_reasons(watch.gpu):
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

"""Findings on a GPU: other processes, reasons for a low clock, settings."""

from collections.abc import Iterator
from statistics import median

from benchbox.analysis.disturbances import clock_reasons
from benchbox.analysis.doctor.observation import Finding, Observation, percent, severity

BELOW = 0.95  # of its highest clock, under the sentinel
SLOWER = 1.05  # than the sentinel's usual reading
UNSTEADY = (0.02, 0.2)  # shares of readings that are slower
HOT_CELSIUS = 83.0  # from about here on GPUs lower their clock by themselves
GIGA = 1e9


def others(observed: Observation) -> Iterator[Finding]:
    """Other processes on the GPU."""
    count = int(observed.gpu.get("gpu_other_processes", 0))
    if count:
        held = observed.gpu.get("gpu_other_memory_bytes")
        holding = f", and {_hold(count)} {held / GIGA:.1f} GB of its memory" if held else ""
        whose = "1 other process computes" if count == 1 else f"{count} other processes compute"
        yield Finding("poor", f"{whose} on the GPU{holding}. To see them:", "nvidia-smi")


def _hold(count: int) -> str:
    return "holds" if count == 1 else "hold"


def held_down(observed: Observation) -> Iterator[Finding]:
    """Reasons for a low clock while it worked."""
    reasons = {reason.advice: reason.severity for reason in clock_reasons(observed.gpu)}
    for advice, bad in reasons.items():
        yield Finding(bad, f"The GPU's clock is below its highest because {advice}.")


def clock(observed: Observation) -> Iterator[Finding]:
    """A low clock without a reason."""
    now, top = observed.gpu.get("gpu_sm_clock_mhz"), observed.gpu.get("top_sm_clock_mhz")
    if now and top and now < BELOW * top and not clock_reasons(observed.gpu):
        yield Finding(
            "fair",
            f"The GPU ran at {now:.0f} of {top:.0f} MHz, and nothing tells why: it may not have "
            "been asked for enough.",
        )


def steadiness(observed: Observation) -> Iterator[Finding]:
    """The share of readings that were slower than usual."""
    readings = observed.gpu_readings_ns
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


def heat(observed: Observation) -> Iterator[Finding]:
    """A hot GPU."""
    now = observed.gpu.get("gpu_temperature_c", 0.0)
    if now >= HOT_CELSIUS:
        yield Finding("fair", f"The GPU is hot, at {now:.0f} °C, and may lower its clock.")


def power_limit(observed: Observation) -> Iterator[Finding]:
    """A lowered power limit."""
    limit, usual = observed.gpu.get("power_limit_w"), observed.gpu.get("default_power_limit_w")
    if limit and usual and limit < usual:
        yield Finding(
            "fair",
            f"The GPU may draw {limit:.0f} W, and was made for {usual:.0f} W. To lift that:",
            f"sudo nvidia-smi --power-limit={usual:.0f}",
        )


def persistence(observed: Observation) -> Iterator[Finding]:
    """Persistence mode that is off."""
    if observed.gpu.get("persistence") is False:
        yield Finding(
            "fair",
            "The GPU starts anew for every program, and its first calls are slow. To keep it on:",
            "sudo nvidia-smi --persistence-mode=1",
        )


def parted(observed: Observation) -> Iterator[Finding]:
    """A GPU divided by MIG."""
    if observed.gpu.get("mig"):
        yield Finding(
            "fair", "The GPU is divided (MIG): what runs on its other parts shares its power limit."
        )


def visibility(observed: Observation) -> Iterator[Finding]:
    """Facts about the GPU that cannot be read."""
    if "unseen" in observed.gpu:
        yield Finding("fair", f"What slows the GPU down is not known: {observed.gpu['unseen']}.")
    elif observed.gpu and "gpu_other_processes" not in observed.gpu:
        yield Finding("fair", "Whether others compute on the GPU is not told here.")

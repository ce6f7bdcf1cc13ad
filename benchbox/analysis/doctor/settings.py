"""Findings on the set-up of a machine: clock, limits, power, readable sensors."""

from collections.abc import Iterator

from benchbox.analysis.doctor.observation import Finding, Observation, listed
from benchbox.analysis.doctor.processor import UNLIMITED, UNSTEADY

STEADY_GOVERNORS = ("performance", "userspace")
LOWEST = "powersave"
# To these drivers that governor is a hint about the whole range of clocks; to others it is the
# lowest clock.
OWN_RANGE = ("intel_pstate", "amd-pstate-epp")
CPUFREQ = "/sys/devices/system/cpu/cpu*/cpufreq"
PROFILE = "/sys/firmware/acpi/platform_profile"
SLOW_PROFILES = ("low-power", "quiet", "cool")


def governor(observed: Observation) -> Iterator[Finding]:
    """A governor that changes the clock."""
    changing = {
        (each["governor"], each.get("driver"))
        for each in observed.facts.get("cpus", ())
        if each.get("governor", STEADY_GOVERNORS[0]) not in STEADY_GOVERNORS
    }
    for name, driver in sorted(changing, key=str):
        lowest = name == LOWEST and driver not in OWN_RANGE
        does = "holds the lowest clock" if lowest else "changes the clock with the load"
        yield Finding(
            "poor" if lowest else "fair",
            f"The {name} governor {does}. Until the next start of the machine:",
            f"echo performance | sudo tee {CPUFREQ}/scaling_governor",
        )


def clock_limit(observed: Observation) -> Iterator[Finding]:
    """A clock limit below the highest clock."""
    for each in observed.facts.get("cpus", ()):
        limit, top = each.get("limit_khz"), each.get("top_khz")
        if limit and top and limit < top:
            yield Finding(
                "fair",
                f"The clock is limited to {limit / 1e6:.3g} of {top / 1e6:.3g} GHz: steady, but "
                "slower than the machine is. To lift that:",
                f"echo {top} | sudo tee {CPUFREQ}/scaling_max_freq",
            )
            return


def boost(observed: Observation) -> Iterator[Finding]:
    """Boost, where the speed was unsteady."""
    found = observed.facts.get("boost", {})
    unsteady = observed.speed is not None and 1 - observed.speed.steady > UNSTEADY[0]
    if found.get("on") and unsteady:
        off = "1" if found["file"].endswith("no_turbo") else "0"
        yield Finding(
            "fair",
            "Boost is on, and how far it goes changes with heat and with what other cores do. "
            "Without it figures are steadier, and slower than what users get:",
            f"echo {off} | sudo tee {found['file']}",
        )


def quota(observed: Observation) -> Iterator[Finding]:
    """A quota of the container that is near to the threads."""
    limit = observed.facts.get("quota_cpus")
    if limit is not None and limit < len(observed.cpus) + 1:
        yield Finding(
            "poor" if limit < len(observed.cpus) else "fair",
            f"Its container may use {limit:g} processors, and is stopped when it used more. Start "
            f"it without such a limit: {UNLIMITED}.",
        )


def crowded(observed: Observation) -> Iterator[Finding]:
    """Threads that take every usable processor."""
    if observed.usable and len(observed.usable) <= len(observed.cpus):
        yield Finding(
            "fair",
            f"Its threads take every processor that is usable ({listed(observed.usable)}): "
            "whatever else runs takes one of them.",
        )


def isolated(observed: Observation) -> Iterator[Finding]:
    """Isolated processors."""
    free = observed.facts.get("isolated", ())
    if not free:
        return
    if set(observed.cpus) <= set(free):
        yield Finding("good", f"The system gives no other work to {observed.named}.")
    elif len(free) >= len(observed.cpus):
        chosen = ",".join(map(str, free[: len(observed.cpus)]))
        yield Finding(
            "fair",
            f"The system gives no other work to processors {listed(free)}. To run there:",
            f"benchbox run g2 --cpus {chosen}",
        )


def power(observed: Observation) -> Iterator[Finding]:
    """Battery and slow power profiles."""
    if observed.facts.get("on_battery"):
        yield Finding("poor", "It runs on its battery. Plug it in.")
    profile = observed.facts.get("profile")
    if profile in SLOW_PROFILES:
        yield Finding(
            "fair",
            f"Its power profile is {profile}. Until the next start of the machine:",
            f"echo performance | sudo tee {PROFILE}",
        )


def visibility(observed: Observation) -> Iterator[Finding]:
    """Whether clock and temperature can be read."""
    gauges = {"clock": "clock_khz", "temperature": "temperature_c"}
    hidden = [name for name, key in gauges.items() if key not in observed.seen]
    virtual = observed.facts.get("virtual")
    what = "It is a virtual machine" if virtual else "It is a machine"
    if len(hidden) == len(gauges):
        yield Finding(
            "fair",
            f"{what} that shows neither clock nor temperature: why its speed changes cannot be "
            "told, and only benchbox's own sentinel tells that it does.",
        )
    elif virtual:
        yield Finding("fair", f"{what}: what its neighbours on the host do is not seen.")
    else:
        readable = [name for name in gauges if name not in hidden]
        yield Finding("good", f"Its {' and '.join(readable)} can be read.")


def energy(observed: Observation) -> Iterator[Finding]:
    """What energy is read from; the lack of it makes no place a worse one."""
    if source := observed.facts.get("energy", {}).get("source"):
        yield Finding("good", f"The energy of calls is read too, by {source}.")

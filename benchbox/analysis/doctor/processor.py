"""Findings on the processor: speed, lost time, other programs, memory, heat."""

from collections.abc import Iterator

from benchbox.analysis.doctor.observation import (
    Finding,
    Limits,
    Observation,
    Speed,
    figure,
    percent,
    severity,
)

US = 1e-6

# As shares of the time.
UNSTEADY: Limits = (0.1, 0.6)  # such calls do not count: at 60% runs take two and a half times
LOST: Limits = (0.002, 0.03)  # a call of 10 ms is longer than what lies between two losses of 3%
STOLEN: Limits = (0.001, 0.02)
NEIGHBOUR: Limits = (0.05, 0.2)  # of a processor of the same core
MEMORY: Limits = (0.001, 0.01)

BUSY = 0.1  # processors that others keep busy
PROGRAM = 0.03  # of a processor: less is not worth a name
PROGRAMS = 3
RELIEF = 0.1  # of a processor: that much less others do on one to go to
BUSY_BEFORE = 0.5  # of each processor, on average over the last minutes
HOT_CELSIUS = 90.0
SCARCE = 0.05  # of the memory
UNLIMITED = (
    "--cpuset-cpus instead of --cpus (docker, podman), no limits.cpu (Kubernetes), no CPUQuota "
    "(systemd)"
)


def speed(observed: Observation) -> Iterator[Finding]:
    """The steadiness of the processor."""
    found = observed.speed
    if found is None:
        yield Finding("poor", "The sentinel could hardly run: too few readings to judge the speed.")
        return
    parts = [f"It ran at one speed for {percent(found.steady)} of the time", *_other_speeds(found)]
    hint = ". Calls far from that speed do not count, so runs take longer"
    bad = severity(1 - found.steady, UNSTEADY)
    yield Finding(bad, "; ".join(parts) + (hint if bad != "good" else "") + ".")


def _other_speeds(found: Speed) -> Iterator[str]:
    if found.slower_share > 0:
        by = f", mostly by {percent(found.slower)}" if found.slower_share >= 0.01 else ""
        yield f"for {percent(found.slower_share)} it was slower{by}"
    if found.faster_share > 0:
        by = f", mostly by {percent(found.faster)}" if found.faster_share >= 0.01 else ""
        yield f"for {percent(found.faster_share)} it was faster{by}"


def interruptions(observed: Observation) -> Iterator[Finding]:
    """Time that something else took, and its likely cause."""
    if observed.seconds <= 0:
        return
    times, longest_ms = figure(observed.gaps / observed.seconds), observed.longest_gap_s * 1e3
    text = (
        f"Something else took the processor {times} times a second, for {percent(observed.lost)} "
        f"of the time and for {figure(longest_ms)} ms at the longest"
    )
    bad = severity(observed.lost, LOST)
    if bad == "good":
        yield Finding(bad, text + ".")
    elif observed.seen.get("switches", 0) >= observed.gaps / 2:
        yield Finding(bad, text + ": other programs. Stop them.", _relief(observed))
    elif observed.share("steal_s") >= observed.lost / 2:
        yield Finding(bad, text + ": other guests of the host. Nothing in this one helps.")
    else:
        yield Finding(bad, text + ": neither programs nor, as far as is told, the host's guests.")


def _relief(observed: Observation) -> str | None:
    """The command to run on processors that others leave alone, None where there are none."""
    count = len(observed.cpus)
    calm = sorted(observed.usable, key=lambda cpu: (observed.others.get(cpu, 1.0), cpu))[:count]
    there = max((observed.others.get(cpu, 1.0) for cpu in calm), default=1.0)
    here = max((observed.others.get(cpu, 0.0) for cpu in observed.cpus), default=0.0)
    if len(calm) < count or there > here - RELIEF:
        return None
    return f"benchbox run g2 --cpus {','.join(map(str, calm))}"


def stolen(observed: Observation) -> Iterator[Finding]:
    """Time that the hypervisor took."""
    share = observed.share("steal_s")
    bad = severity(share, STOLEN)
    if bad != "good":
        yield Finding(
            bad,
            f"The hypervisor gave {percent(share)} of it to other guests. Only a machine, or a "
            "kind of instance, with processors of its own is better.",
        )


def throttled(observed: Observation) -> Iterator[Finding]:
    """A container that was throttled."""
    periods = int(observed.seen.get("throttled_periods", 0))
    times = f" {periods} times" if periods else ""
    if periods or observed.seen.get("throttled_us", 0):
        yield Finding(
            "poor",
            f"Its container was stopped{times} because it had used up its processor time. "
            f"Start it without such a limit: {UNLIMITED}.",
        )


def programs(observed: Observation) -> Iterator[Finding]:
    """Processors that other programs kept busy, and the names of those that took most."""
    busy = [(name, share) for name, share in observed.programs if share >= PROGRAM][:PROGRAMS]
    total = max(sum(observed.others.values()), sum(share for _, share in busy))
    if total < BUSY and not busy:
        return
    of = f" of {len(observed.others)}" if observed.others else ""
    names = ", ".join(f"{name} ({percent(share)} of one)" for name, share in busy)
    yield Finding(
        "fair",
        f"Other programs kept {figure(total)}{of} processors busy"
        + (f", most of all {names}" if names else "")
        + ". Also on another processor they take of its memory, caches or clock: stop them.",
    )


def siblings(observed: Observation) -> Iterator[Finding]:
    """Busy or shared processors of the same core."""
    for each in observed.facts.get("cpus", ()):
        own = [cpu for cpu in each.get("siblings", ()) if cpu in observed.cpus]
        if own and each["cpu"] < own[0]:
            yield Finding(
                "fair",
                f"Processors {each['cpu']} and {own[0]} are halves of one core, which two threads "
                "share: choose one of each core with --cpus.",
            )
        for cpu in each.get("siblings", ()):
            share = observed.others.get(cpu, 0.0)
            bad = severity(share, NEIGHBOUR)
            if bad != "good" and cpu not in observed.cpus:
                yield Finding(
                    bad,
                    f"Processor {cpu} is the other half of the core of processor {each['cpu']}, and"
                    f" others used {percent(share)} of it. Stop them, or turn the halves off:",
                    "echo off | sudo tee /sys/devices/system/cpu/smt/control",
                )


def memory(observed: Observation) -> Iterator[Finding]:
    """Memory that is short."""
    share = observed.share("memory_pressure_us", US)
    bad = severity(share, MEMORY)
    if bad != "good":
        yield Finding(
            bad, f"For {percent(share)} of the time programs waited for memory. Free some."
        )
    fetched = int(observed.seen.get("faults_major", 0))
    if fetched > observed.seconds:  # a program that has just been started fetches one or two
        swapped = observed.facts.get("swap_used_bytes") or 0
        swap = f", with {figure(swapped / 1e9)} GB swapped out" if swapped else ""
        yield Finding(
            "fair", f"Memory had to be fetched from a disk {fetched} times{swap}. Free some."
        )
    total, free = observed.facts.get("memory_bytes"), observed.facts.get("memory_available_bytes")
    if total and free is not None and free < SCARCE * total:
        yield Finding(
            "fair", f"Only {percent(free / total)} of the memory is available. Free some."
        )


def heat(observed: Observation) -> Iterator[Finding]:
    """A processor that was too hot."""
    hottest = observed.seen.get("temperature_c")
    at = "" if hottest is None else f", at {hottest:.0f} °C"
    if observed.seen.get("thermal_throttles", 0):
        yield Finding("poor", f"It lowered its clock for heat{at}. Let it cool; see to its fan.")
    elif hottest is not None and hottest >= HOT_CELSIUS:
        yield Finding("fair", f"It is hot{at}, and may lower its clock. See to its fan.")


def busy_before(observed: Observation) -> Iterator[Finding]:
    """A machine that was busier in the minutes before."""
    load, count = observed.facts.get("load_5min"), len(observed.others)
    if load and count and load / count > BUSY_BEFORE > 2 * sum(observed.others.values()) / count:
        yield Finding(
            "fair",
            f"It is quiet now, but {figure(load)} of {count} processors were busy over the last "
            "five minutes. Look again later.",
        )

"""Findings from what was felt: speed, lost time, other programs, memory, heat."""

from collections.abc import Iterator

from benchbox.analysis.doctor.observation import (
    Finding,
    Limits,
    Speed,
    Watch,
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


def speed(watch: Watch) -> Iterator[Finding]:
    """Say how steady the processor was."""
    found = watch.speed
    if found is None:
        yield Finding("poor", "The probe could hardly run: too few readings to judge the speed.")
        return
    parts = [f"It ran at one speed for {percent(found.steady)} of the time", *_beside(found)]
    hint = ". Calls beside that speed do not count, so runs take longer"
    bad = severity(1 - found.steady, UNSTEADY)
    yield Finding(bad, "; ".join(parts) + (hint if bad != "good" else "") + ".")


def _beside(found: Speed) -> Iterator[str]:
    if found.slower_share > 0:
        by = f", mostly by {percent(found.slower)}" if found.slower_share >= 0.01 else ""
        yield f"for {percent(found.slower_share)} it was slower{by}"
    if found.faster_share > 0:
        by = f", mostly by {percent(found.faster)}" if found.faster_share >= 0.01 else ""
        yield f"for {percent(found.faster_share)} it was faster{by}"


def interruptions(watch: Watch) -> Iterator[Finding]:
    """Say how much time something else took, and what can be told of it."""
    if watch.seconds <= 0:
        return
    text = (
        f"Something else took the processor {figure(watch.gaps / watch.seconds)} times a second, "
        f"for {percent(watch.lost)} of the time and for {figure(watch.longest_gap_s * 1e3)} ms at "
        "the longest"
    )
    bad = severity(watch.lost, LOST)
    if bad == "good":
        yield Finding(bad, text + ".")
    elif watch.seen.get("switches", 0) >= watch.gaps / 2:
        yield Finding(bad, text + ": other programs. Stop them.", _relief(watch))
    elif watch.share("steal_s") >= watch.lost / 2:
        yield Finding(bad, text + ": other guests of the host. Nothing in this one helps.")
    else:
        yield Finding(bad, text + ": neither programs nor, as far as is told, the host's guests.")


def _relief(watch: Watch) -> str | None:
    """Return how to run on processors that others leave alone, None where there are none."""
    count = len(watch.cpus)
    calm = sorted(watch.usable, key=lambda cpu: (watch.others.get(cpu, 1.0), cpu))[:count]
    there = max((watch.others.get(cpu, 1.0) for cpu in calm), default=1.0)
    here = max((watch.others.get(cpu, 0.0) for cpu in watch.cpus), default=0.0)
    if len(calm) < count or there > here - RELIEF:
        return None
    return f"benchbox run g2 --cpus {','.join(map(str, calm))}"


def stolen(watch: Watch) -> Iterator[Finding]:
    """Say what the hypervisor took, where it says so."""
    share = watch.share("steal_s")
    bad = severity(share, STOLEN)
    if bad != "good":
        yield Finding(
            bad,
            f"The hypervisor gave {percent(share)} of it to other guests. Only a machine, or a "
            "kind of instance, with processors of its own is better.",
        )


def throttled(watch: Watch) -> Iterator[Finding]:
    """Say whether the container was stopped for using too much."""
    periods = int(watch.seen.get("throttled_periods", 0))
    times = f" {periods} times" if periods else ""
    if periods or watch.seen.get("throttled_us", 0):
        yield Finding(
            "poor",
            f"Its container was stopped{times} because it had used up its processor time. "
            f"Start it without such a limit: {UNLIMITED}.",
        )


def programs(watch: Watch) -> Iterator[Finding]:
    """Say how many processors other programs kept busy, and name those that took most."""
    busy = [(name, share) for name, share in watch.programs if share >= PROGRAM][:PROGRAMS]
    total = max(sum(watch.others.values()), sum(share for _, share in busy))
    if total < BUSY and not busy:
        return
    of = f" of {len(watch.others)}" if watch.others else ""
    names = ", ".join(f"{name} ({percent(share)} of one)" for name, share in busy)
    yield Finding(
        "fair",
        f"Other programs kept {figure(total)}{of} processors busy"
        + (f", most of all {names}" if names else "")
        + ". Also on another processor they take of its memory, caches or clock: stop them.",
    )


def siblings(watch: Watch) -> Iterator[Finding]:
    """Say whether a processor of the same core was busy."""
    for each in watch.facts.get("cpus", ()):
        own = [cpu for cpu in each.get("siblings", ()) if cpu in watch.cpus]
        if own and each["cpu"] < own[0]:
            yield Finding(
                "fair",
                f"Processors {each['cpu']} and {own[0]} are halves of one core, which two threads "
                "share: choose one of each core with --cpus.",
            )
        for cpu in each.get("siblings", ()):
            share = watch.others.get(cpu, 0.0)
            bad = severity(share, NEIGHBOUR)
            if bad != "good" and cpu not in watch.cpus:
                yield Finding(
                    bad,
                    f"Processor {cpu} is the other half of the core of processor {each['cpu']}, and"
                    f" others used {percent(share)} of it. Stop them, or turn the halves off:",
                    "echo off | sudo tee /sys/devices/system/cpu/smt/control",
                )


def memory(watch: Watch) -> Iterator[Finding]:
    """Say whether memory is short."""
    share = watch.share("memory_pressure_us", US)
    bad = severity(share, MEMORY)
    if bad != "good":
        yield Finding(
            bad, f"For {percent(share)} of the time programs waited for memory. Free some."
        )
    fetched = int(watch.seen.get("faults_major", 0))
    if fetched > watch.seconds:  # a program that has just been started fetches one or two
        swapped = watch.facts.get("swap_used_bytes") or 0
        beside = f", with {figure(swapped / 1e9)} GB swapped out" if swapped else ""
        yield Finding(
            "fair", f"Memory had to be fetched from a disk {fetched} times{beside}. Free some."
        )
    total, free = watch.facts.get("memory_bytes"), watch.facts.get("memory_available_bytes")
    if total and free is not None and free < SCARCE * total:
        yield Finding(
            "fair", f"Only {percent(free / total)} of the memory is available. Free some."
        )


def heat(watch: Watch) -> Iterator[Finding]:
    """Say whether the processor was too hot."""
    hottest = watch.seen.get("temperature_c")
    at = "" if hottest is None else f", at {hottest:.0f} °C"
    if watch.seen.get("thermal_throttles", 0):
        yield Finding("poor", f"It lowered its clock for heat{at}. Let it cool; see to its fan.")
    elif hottest is not None and hottest >= HOT_CELSIUS:
        yield Finding("fair", f"It is hot{at}, and may lower its clock. See to its fan.")


def busy_before(watch: Watch) -> Iterator[Finding]:
    """Say that the machine was busier in the minutes before than while it was looked at."""
    load, count = watch.facts.get("load_5min"), len(watch.others)
    if load and count and load / count > BUSY_BEFORE > 2 * sum(watch.others.values()) / count:
        yield Finding(
            "fair",
            f"It is quiet now, but {figure(load)} of {count} processors were busy over the last "
            "five minutes. Look again later.",
        )

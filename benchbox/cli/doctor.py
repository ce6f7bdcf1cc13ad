"""The `benchbox doctor` command: how good a place to measure a device is."""

import math
from collections.abc import Mapping, Set
from itertools import cycle, islice
from typing import Any

import psutil
from rich.console import Console
from rich.text import Text

from benchbox import devices, host
from benchbox.analysis.doctor import Report, examine, gather
from benchbox.api import parsing
from benchbox.api.defaults import DeviceOptions, fitting
from benchbox.cli.bar import Bar
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.output import console
from benchbox.errors import CaseError, DeviceError
from benchbox.lines import one_line
from benchbox.report.text import folded
from benchbox.runner import known_states
from benchbox.transports import Agent, client, open_agent

STYLES = {"good": "green", "fair": "yellow", "poor": "red"}
INDENT = "      "  # the width of a severity, and two

Used = dict[tuple[int, float], tuple[str, float]]  # by pid and start: name, processor time in s


def doctor(name: str, processors: ProcessorOptions, seconds: float, typed: Set[str]) -> None:
    """Observe a device for some seconds, then print how good a place to measure it is, and why."""
    name, cpus = parsing.one_device(name), [parsing.one_choice(processors.cpus)]
    threads = parsing.one_number_of_threads(processors.threads)
    asked = DeviceOptions(threads, cpus, [""])
    own = fitting(asked, name, typed)
    device = devices.resolve(name, own.threads, own.cpus[0])
    with open_agent(device) as agent:
        client.require_real(agent, device.name, "speed to watch")
        before = _used()
        try:
            looks, facts = _observe(agent, seconds, console(stderr=True))
        except CaseError as error:
            raise DeviceError(f"device {device.name!r}: {error}") from None
        programs = _busiest(before, _used(), sum(look["seconds"] for look in looks))
    is_here = not device.url  # the programs of another machine are not known
    observed = gather(
        looks,
        {**facts, "energy": agent.hello["host"].get("energy", {})},
        programs if is_here else (),
        host.usable_cpus() if is_here else (),
        agent.hello["host"].get("gpu"),
    )
    _print(device.name, examine(observed), console())


def forget() -> None:
    """Delete the states and slopes that runs have kept of every machine."""
    count = known_states.forget()
    machines = "1 file" if count == 1 else f"{count} files"
    console().print(
        f"Forgotten: {machines} on the usual state of machines; the next run begins anew."
    )


def _observe(
    agent: Agent, seconds: float, stderr: Console
) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Observe the agent's processors in turn, for a second at most each time."""
    cpus = agent.hello["cpus"]
    count = max(len(cpus), math.ceil(seconds))
    looks: list[Mapping[str, Any]] = []
    facts: Mapping[str, Any] = {}
    if not stderr.is_terminal:
        stderr.print(f"watching for {seconds:g} s")
    with Bar(stderr) as bar:
        line = bar.line()
        for cpu in islice(cycle(cpus), count):
            at = f"processor {cpu}, look {len(looks) + 1} of {count}"
            line.draw("watching", len(looks) / count, at)
            look, facts = agent.look(cpu, seconds / count)
            looks.append(look)
    return looks, facts


def _used() -> Used:
    """The processor time that every program but benchbox has used; nothing without a /proc."""
    used: Used = {}
    try:
        own = psutil.Process()
        ours = {own.pid, *(child.pid for child in own.children(recursive=True))}
    except psutil.Error:
        return used
    for process in psutil.process_iter(["name", "cpu_times", "create_time"]):
        info = process.info
        if process.pid not in ours and info["cpu_times"] is not None:
            times = info["cpu_times"]
            key = process.pid, info["create_time"] or 0.0
            used[key] = info["name"] or str(process.pid), times.user + times.system
    return used


def _busiest(before: Used, after: Used, seconds: float) -> list[tuple[str, float]]:
    """The names of programs with their shares of one processor, the largest first."""
    shares: dict[str, float] = {}
    for key, (name, now) in after.items():
        used = now - before.get(key, (name, 0.0))[1]
        shares[name] = shares.get(name, 0.0) + max(0.0, used) / seconds
    return sorted(shares.items(), key=lambda item: -item[1])


def _print(device: str, report: Report, stdout: Console) -> None:
    """Print the verdict, then the findings, each command on a line of its own."""
    verdict = folded(f"{device}, {report.verdict}", stdout.width)
    stdout.print(Text(verdict, f"bold {STYLES[report.severity]}"), soft_wrap=True)
    stdout.print()
    for finding in report.findings:
        line = Text(folded(f"{finding.severity}  {one_line(finding.text)}", stdout.width))
        line.stylize(STYLES[finding.severity], 0, len(finding.severity))
        stdout.print(line, soft_wrap=True)
        if finding.command:
            # Wrapped by the terminal alone, so that it can be copied in one piece.
            stdout.print(Text(INDENT + finding.command), soft_wrap=True)

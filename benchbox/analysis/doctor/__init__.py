"""`benchbox doctor`: findings on a device as a place to measure, and advice."""

from dataclasses import dataclass

from benchbox.analysis.doctor import gpu, processor, settings
from benchbox.analysis.doctor.observation import Finding, Observation, Severity, gather

__all__ = ["Finding", "Observation", "Report", "Severity", "examine", "gather"]

WORST_FIRST: tuple[Severity, ...] = ("poor", "fair", "good")
VERDICTS: dict[Severity, str] = {
    "good": "a good place to measure; figures should repeat",
    "fair": "a fair place to measure; give runs time, and repeat what must be sure",
    "poor": "a poor place to measure as it is; runs take long, and figures stay uncertain",
}
CHECKS = (
    processor.speed,
    processor.interruptions,
    processor.programs,
    processor.stolen,
    processor.throttled,
    processor.siblings,
    processor.heat,
    processor.memory,
    processor.busy_before,
    settings.governor,
    settings.clock_limit,
    settings.boost,
    settings.quota,
    settings.crowded,
    settings.isolated,
    settings.power,
    settings.visibility,
    settings.energy,
    gpu.others,
    gpu.held_down,
    gpu.clock,
    gpu.steadiness,
    gpu.heat,
    gpu.power_limit,
    gpu.persistence,
    gpu.parted,
    gpu.visibility,
)


@dataclass(frozen=True, slots=True)
class Report:
    """The findings, worst first, and the verdict on all of them."""

    severity: Severity
    verdict: str
    findings: tuple[Finding, ...]


def examine(observed: Observation) -> Report:
    """Run all checks; a machine is as good a place as its worst finding."""
    found = [finding for check in CHECKS for finding in check(observed)]
    found.sort(key=lambda finding: WORST_FIRST.index(finding.severity))
    worst = found[0].severity if found else "good"
    return Report(worst, f"{observed.place}: {VERDICTS[worst]}", tuple(found))

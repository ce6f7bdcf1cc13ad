"""Explanation of a command's cases, and why those have none that could not be explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from benchbox.devices import Device
from benchbox.insight.check import Check
from benchbox.insight.parts import Explained, Part, explain, peaks
from benchbox.report import profile_text
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case


@dataclass(frozen=True)
class ExplainReport:
    """Explanations of a command: an outcome per case on a device; `against` is the key of one.

    `by` is a part or one of KEYS, `guidelines` has those of specs, `top` how many nodes are shown,
    `checked` what was altered and timed of a case, by its key and by part, None where nothing was.
    """

    outcomes: Sequence[ProfileOutcome]
    device: Device
    created: str
    by: str = "part"
    against: str = ""
    guidelines: Mapping[str, str] = field(default_factory=dict)
    top: int | None = None
    checked: Mapping[str, Mapping[Part, Check]] | None = None

    @cached_property
    def explained(self) -> list[tuple[Case, Explained]]:
        """The cases that have an explanation."""
        return [
            (each.case, explain(each.profile, known))
            for each in self.outcomes
            if each.profile and not each.profile.is_drowned
            if (known := peaks(each.ceilings, each.case.dtype))
        ]

    def of(self, case: Case) -> Mapping[Part, Check]:
        """The checks of a case by part."""
        return (self.checked or {}).get(case.key, {})

    def failure(self, outcome: ProfileOutcome) -> str:
        """The reason why a case has no explanation, empty where it has one."""
        if outcome.profile is None:
            return outcome.reason
        if outcome.profile.is_drowned:
            return profile_text.warning(outcome.profile)
        if not peaks(outcome.ceilings, outcome.case.dtype):
            return f"no product of {outcome.case.dtype} was measured on this device"
        return ""

"""Profile of a case as a run keeps it: parts of its time, beside those of FLOPs and of memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchbox.analysis.parts import split
from benchbox.analysis.profile import Profile
from benchbox.analysis.quantities import Amount, Count, Share


@dataclass(frozen=True, slots=True)
class ProfilePart:
    """A part of a graph, by one of three names, with its shares; None where not known."""

    category: str = ""
    module: str = ""
    operator: str = ""
    nodes: Count = 0
    time_share: Share | None = None
    macs_share: Share | None = None
    memory_share: Share | None = None


@dataclass(frozen=True, slots=True)
class CaseProfile:
    """The profile of a case and graph; without parts, one that failed.

    `latency_s` is that of undisturbed calls without the profiler, `unoptimised_s` the same without
    optimisation, `slowdown` what the profiler makes of a call.
    """

    case: str
    spec: str = ""
    sha256: str = ""
    latency_s: Amount | None = None
    unoptimised_s: Amount | None = None
    calls: Count = 0
    slowdown: Amount | None = None
    categories: Sequence[ProfilePart] = ()
    modules: Sequence[ProfilePart] = ()
    operators: Sequence[ProfilePart] = ()


def kept(spec: str, case: str, sha256: str, profile: Profile) -> CaseProfile:
    """What is kept of a profile."""
    return CaseProfile(
        case=case,
        spec=spec,
        sha256=sha256,
        latency_s=profile.latency_s,
        unoptimised_s=profile.unoptimised_s,
        calls=profile.calls,
        slowdown=profile.slowdown,
        categories=[
            ProfilePart(
                category=part.name,
                nodes=part.nodes,
                time_share=part.share,
                macs_share=part.macs_share,
                memory_share=part.memory_share,
            )
            for part in split(profile)
        ],
    )

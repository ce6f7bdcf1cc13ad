"""Sentences and footnotes of `benchbox profile`."""

from collections.abc import Sequence

from benchbox.analysis.operators import LAYOUT, Category
from benchbox.analysis.profile import Part, Profile
from benchbox.report import formatting
from benchbox.report.footnotes import FLOPS_NOTE
from benchbox.report.text import by_text, listed

WORTH_A_WORD = 0.01  # of the latency
DISTURBED = 1.15  # median latency over the undisturbed one
HARMED = 1.05  # latency over that without optimisation
INSERTED = "InsertedPrecisionFreeCast_"  # begins the names of casts that ONNX Runtime adds
LAYOUT_NOTE = (
    "ReorderInput and ReorderOutput, to and from the blocks of channels (NCHWc) that convolutions "
    "compute in; it is data movement"
)
UNOPTIMISED_NOTE = (
    "unoptimised is the latency with fusion and layout optimisation off over that with them, "
    "both with the profiler off"
)
SUBJECTS: dict[Category, str] = {
    "convolution": "convolutions",
    "depthwise": "depthwise ones",
    "other": "other operators",
}
NOTES = (
    FLOPS_NOTE,
    "FLOPs and memory access are the file's; a convolution's time has what is fused into it",
    "a share is a node's midmean over profiled calls, times add up to the latency of undisturbed "
    "calls without the profiler; `benchbox run` measures latencies",
)


def sentences(profile: Profile) -> list[str]:
    """The sentences under the table of one case."""
    return [f"{_capital(_time_and_flops(profile))}.", f"{_capital(optimisation(profile))}."]


def labelled(label: str, profile: Profile) -> str:
    """The sentence on one case of several."""
    return f"{label}: {_time_and_flops(profile)}."


def optimisation(profile: Profile) -> str:
    """The nodes that optimisation leaves, and the time that it saves with the profiler off."""
    ran = len(profile.nodes)
    nodes = (
        f"ONNX Runtime runs {ran} {'node' if ran == 1 else 'nodes'} for the file's "
        f"{profile.file_nodes}"
    )
    if profile.unoptimised_s is None:
        return f"{nodes}; without optimisation it does not: {profile.unoptimised_error}"
    removed = 1 - profile.latency_s / profile.unoptimised_s
    verb = "remove" if removed >= 0 else "add"
    whole = profile.unoptimised_s if removed >= 0 else profile.latency_s
    share = abs(profile.unoptimised_s - profile.latency_s) / whole
    return (
        f"{nodes}; fusion and layout optimisation {verb} {share:.0%} of the time: "
        f"{formatting.milliseconds(profile.latency_s)} ms with them, "
        f"{formatting.milliseconds(profile.unoptimised_s)} ms without, the profiler off"
    )


def notes(profile: Profile) -> list[str]:
    """The footnotes of one case's table."""
    texts = [
        *NOTES,
        _of_other([profile]),
        _of_layout(profile),
        _of_casts(profile),
        _of_profiler([profile]),
        _of_harm(profile),
        _of_disturbance(profile),
    ]
    return [text for text in texts if text]


def notes_of_many(profiled: Sequence[tuple[str, Profile]]) -> list[str]:
    """The footnotes of the table of several cases, each with its label."""
    if not profiled:
        return []
    labels, profiles = [label for label, _ in profiled], [profile for _, profile in profiled]
    has_layout = any(layout_share(profile) for profile in profiles)
    texts = [
        *NOTES,
        f"layout is {LAYOUT_NOTE}" if has_layout else "",
        UNOPTIMISED_NOTE,
        _of_other(profiles),
        _of_profiler(profiles),
    ]
    own = (_of_casts, _of_harm, _of_disturbance)
    return [
        *(text for text in texts if text),
        *(line for text in own for line in by_text(labels, list(map(text, profiles)))),
    ]


def layout_share(profile: Profile) -> float:
    """The share of the latency that conversions of layouts take."""
    return sum(node.share for node in profile.nodes if node.operation.type in LAYOUT)


def _of_casts(profile: Profile) -> str:
    """The note on casts to float32 that ONNX Runtime added, recognised by their names."""
    casts = [n for n in profile.nodes if n.operation.type == "Cast" and n.name.startswith(INSERTED)]
    if not casts:
        return ""
    share = _percent(sum(node.share for node in casts))
    return f"nodes without float16 kernels computed in float32; the casts around them take {share}"


def _time_and_flops(profile: Profile) -> str:
    """`convolutions have 88% of the FLOPs and take 56% of the time, depthwise ones ...`."""
    counted = [part for part in profile.parts if part.macs_share]
    texts = [_rest(profile)]
    if counted:
        first, *others = counted
        texts[:0] = [
            f"{_subject(first)} have {_percent(first.macs_share)} of the FLOPs "
            f"and take {_percent(first.share)} of the time"
            + "".join(
                f", {_subject(part)} {_percent(part.macs_share)} and {_percent(part.share)}"
                for part in others
            )
        ]
    return "; ".join(filter(None, texts))


def _rest(profile: Profile) -> str:
    """The time of categories without FLOPs; of all where FLOPs are not known."""
    rest = [part for part in profile.parts if not part.macs_share]
    named = listed([f"{p.category} {_percent(p.share)}" for p in rest if p.share >= WORTH_A_WORD])
    if not named:
        return ""
    if len(rest) == len(profile.parts):
        return f"the time goes to {named}"
    return f"what has no FLOPs takes {_percent(sum(part.share for part in rest))} ({named})"


def _subject(part: Part) -> str:
    return SUBJECTS.get(part.category, part.category)


def _percent(value: float | None) -> str:
    return "<1%" if value is not None and 0 < value < 0.005 else f"{value or 0:.0%}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_other(profiles: Sequence[Profile]) -> str:
    """The operators in `other`, of one case with shares."""
    operators: dict[str, float] = {}
    for node in (node for profile in profiles for node in profile.nodes):
        if node.category == "other":
            kind = node.operation.type
            operators[kind] = operators.get(kind, 0.0) + node.share
    ordered = sorted(operators.items(), key=lambda item: -item[1])
    texts = [f"{kind} {_percent(s)}" if len(profiles) == 1 else kind for kind, s in ordered]
    return f"other is {listed(texts)}" if texts else ""


def _of_layout(profile: Profile) -> str:
    share = layout_share(profile)
    return f"layout takes {_percent(share)} of the time: {LAYOUT_NOTE}" if share else ""


def _of_profiler(profiles: Sequence[Profile]) -> str:
    ratios = [formatting.ratio(profile.slowdown) for profile in profiles]
    overheads = [f"{profile.overhead_s * 1e6:.1f}" for profile in profiles]
    covered = [_percent(profile.covered) for profile in profiles]
    return (
        f"the profiler makes a call {_range(ratios)} as long; {_range(overheads)} us of it were "
        f"taken off every node, and nodes are {_range(covered)} of a profiled call"
    )


def _range(texts: Sequence[str]) -> str:
    ordered = sorted(set(texts), key=lambda text: float(text.strip("<x%")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _of_harm(profile: Profile) -> str:
    """The note for a case that optimisation makes slower."""
    if profile.unoptimised_s is None or profile.latency_s < HARMED * profile.unoptimised_s:
        return ""
    return (
        "ONNX Runtime's optimisation makes it slower: channels that are no multiple of a block are "
        "padded, and some convolutions are left between two layouts"
    )


def _of_disturbance(profile: Profile) -> str:
    if profile.disturbance < DISTURBED:
        return ""
    return (
        f"the machine is disturbed, half of the calls took {formatting.ratio(DISTURBED)} the "
        "undisturbed latency or more; shares bear that, times less so"
    )

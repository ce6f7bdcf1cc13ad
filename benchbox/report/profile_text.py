"""Sentences and footnotes of `benchbox profile`."""

import re
from collections.abc import Sequence

from benchbox.analysis.operators import LAYOUT, QUANTISATION
from benchbox.analysis.origins import BLOCKED, INSERTED
from benchbox.analysis.parts import By, Part
from benchbox.analysis.profile import Node, Profile
from benchbox.report import formatting
from benchbox.report.footnotes import FLOPS_NOTE
from benchbox.report.text import by_range, listed

WORTH_A_WORD = 0.01  # of the latency
DISTURBED = 1.15  # median latency over the undisturbed one
HARMED = 1.05  # latency over that without optimisation
LAYOUT_NOTE = (
    "ReorderInput and ReorderOutput, to and from the blocks of channels (NCHWc) that convolutions "
    "compute in; it is data movement"
)
UNOPTIMISED_NOTE = (
    "unoptimised is the latency with optimisation off over that with it, both with the profiler off"
)
SUBJECTS = {
    "convolution": "convolutions",
    "depthwise": "depthwise ones",
    "matmul": "matrix products",
    "attention": "attention operators",
    "other": "other operators",
}
COST_NOTES = (
    FLOPS_NOTE,
    "FLOPs and memory access are the file's; a node's time has what is fused into it",
)
TIME_NOTE = (
    "a share is a node's mean over typical profiled calls, without what these waited; times add up "
    "to the latency of such calls without the profiler; `benchbox run` measures latencies"
)
HEAVY = ("convolution", "depthwise", "matmul", "attention")
INTEGERS = re.compile(r"^Q|Integer|DynamicQuantize")
TOP_LEVEL = "(top level)"  # what is in no module of its own
LARGEST = 3  # parts that a sentence names


def sentences(profile: Profile, parts: Sequence[Part], by: By) -> list[str]:
    """The sentences under the table of one case."""
    return [f"{_capital(text)}." for text in (division(profile, parts, by), optimisation(profile))]


def division(profile: Profile, parts: Sequence[Part], by: By) -> str:
    """Where the time goes, or why that is not known."""
    if text := warning(profile):
        return text
    return _time_and_flops(parts) if by == "category" else _largest(parts)


def warning(profile: Profile) -> str:
    """What stands in the place of shares that the profiler drowns."""
    if not profile.is_drowned:
        return ""
    return (
        f"the profiler makes a call {formatting.ratio(profile.slowdown)} as long, too much to tell "
        "where the time of such short nodes goes; `benchbox run` times the whole"
    )


def _largest(parts: Sequence[Part]) -> str:
    """`most of the time goes to neck 45% and head 30%`."""
    ordered = sorted(parts, key=lambda part: -(part.share or 0.0))[:LARGEST]
    most = "most of the" if len(parts) > LARGEST else "the"
    named = [f"{part.name or TOP_LEVEL} {_percent(part.share)}" for part in ordered]
    return f"{most} time goes to {listed(named)}"


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
    verb = "removes" if removed >= 0 else "adds"
    what = "optimisation, of layouts too," if _has_blocks(profile) else "optimisation"
    whole = profile.unoptimised_s if removed >= 0 else profile.latency_s
    share = abs(profile.unoptimised_s - profile.latency_s) / whole
    return (
        f"{nodes}; {what} {verb} {share:.0%} of the time: "
        f"{formatting.milliseconds(profile.latency_s)} ms with it, "
        f"{formatting.milliseconds(profile.unoptimised_s)} ms without, the profiler off"
    )


def _has_blocks(profile: Profile) -> bool:
    return any(n.name.endswith(BLOCKED) or n.operation.type in LAYOUT for n in profile.nodes)


def notes(profile: Profile, by: By) -> list[str]:
    """The footnotes of one case's table."""
    texts = [*(COST_NOTES if by != "type" else ()), _of_harm(profile), _of_disturbance(profile)]
    if not profile.is_drowned:
        texts[-2:-2] = [
            TIME_NOTE,
            _of_other([profile]) if by == "category" else "",
            _of_added([profile]) if by == "module" else "",
            _of_layout(profile),
            _of_quantisation(profile),
            _of_casts(profile),
            _of_profiler([profile]),
        ]
    return [text for text in texts if text]


def notes_of_many(profiled: Sequence[tuple[str, Profile]], by: By) -> list[str]:
    """The footnotes of the table of several cases, each with its label."""
    if not profiled:
        return []
    labels, profiles = [label for label, _ in profiled], [profile for _, profile in profiled]
    clear = [profile for profile in profiles if not profile.is_drowned]
    texts = [
        *(COST_NOTES if by == "category" else ()),
        TIME_NOTE,
        f"layout is {LAYOUT_NOTE}" if any(layout_share(profile) for profile in clear) else "",
        UNOPTIMISED_NOTE,
        _of_other(clear) if by == "category" else "",
        _of_added(clear) if by == "module" else "",
        _of_profiler(clear),
    ]
    own = (_of_quantisation, _of_casts, _of_harm, _of_disturbance)
    return [
        *(text for text in texts if text),
        *(line for text in own for line in by_range(labels, list(map(text, profiles)))),
    ]


def layout_share(profile: Profile) -> float:
    """The share of the latency that conversions of layouts take."""
    return _share_of(profile, LAYOUT)


def _share_of(profile: Profile, types: frozenset[str]) -> float:
    return sum(node.share for node in profile.nodes if node.operation.type in types)


def _of_quantisation(profile: Profile) -> str:
    """How many of the heavy nodes compute in integers, and what getting there takes."""
    heavy = [node.operation.type for node in profile.nodes if node.category in HEAVY]
    integers = sum(bool(INTEGERS.search(type_)) for type_ in heavy)
    around = _share_of(profile, QUANTISATION)
    if profile.is_drowned or not (integers or around):
        return ""
    return (
        f"{integers} of {len(heavy)} convolutions and matrix products compute in integers; "
        f"quantising and dequantising, which are element-wise, take {_percent(around)} of the time"
    )


def _of_casts(profile: Profile) -> str:
    """The note on casts to float32 that ONNX Runtime added, recognised by their names."""
    casts = [n for n in profile.nodes if n.operation.type == "Cast" and n.name.startswith(INSERTED)]
    if not casts or profile.is_drowned:
        return ""
    share = _percent(sum(node.share for node in casts))
    return f"nodes without float16 kernels computed in float32; the casts around them take {share}"


def _time_and_flops(parts: Sequence[Part]) -> str:
    """`convolutions have 88% of the FLOPs and take 56% of the time, depthwise ones ...`."""
    counted = [part for part in parts if part.macs_share]
    texts = [_rest(parts)]
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


def _rest(parts: Sequence[Part]) -> str:
    """The time of categories without FLOPs; of all where FLOPs are not known."""
    rest = [(part.name, part.share or 0.0) for part in parts if not part.macs_share]
    named = listed([f"{name} {_percent(share)}" for name, share in rest if share >= WORTH_A_WORD])
    if not named:
        return ""
    if len(rest) == len(parts):
        return f"the time goes to {named}"
    return f"what has no FLOPs takes {_percent(sum(share for _, share in rest))} ({named})"


def _subject(part: Part) -> str:
    return SUBJECTS.get(part.name, part.name)


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


def _of_added(profiles: Sequence[Profile]) -> str:
    """The nodes that are none of the file's, by type."""
    added = [node for profile in profiles for node in profile.nodes if node.origin is None]
    types = listed(list(dict.fromkeys(node.operation.type for node in added)))
    if not types:
        return ""
    share = sum(node.share for node in added)
    much = f", with {_percent(share)} of the time," if len(profiles) == 1 else ""
    return f"what ONNX Runtime names anew{much} counts with the module next to it: {types}"


def _of_profiler(profiles: Sequence[Profile]) -> str:
    if not profiles:
        return ""
    ratios = [formatting.ratio(profile.slowdown) for profile in profiles]
    overheads = [f"{profile.overhead_s * 1e6:.1f}" for profile in profiles]
    covered = [_percent(profile.covered) for profile in profiles]
    return (
        f"the profiler makes a call {_range(ratios)} as long; {_range(overheads)} us of it were "
        f"taken off a node on average, and nodes are {_range(covered)} of a profiled call"
    )


def _range(texts: Sequence[str]) -> str:
    ordered = sorted(set(texts), key=lambda text: float(text.strip("<x%")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _of_harm(profile: Profile) -> str:
    """The note for a case that optimisation makes slower."""
    if profile.unoptimised_s is None or profile.latency_s < HARMED * profile.unoptimised_s:
        return ""
    causes = []
    if any(map(_is_padded, profile.nodes)):
        causes.append("channels that are no multiple of a block are padded")
    if layout_share(profile) >= WORTH_A_WORD:
        causes.append("some convolutions are left between two layouts")
    seen = listed(causes) or "by what, its nodes do not show"
    return f"ONNX Runtime's optimisation makes it slower: {seen}"


def _is_padded(node: Node) -> bool:
    """Whether a node in blocks of channels computes more of them than the file's has."""
    own = node.origin.operation.output() if node.origin else ()
    ran = node.operation.output()
    return node.name.endswith(BLOCKED) and len(own) == len(ran) > 1 and ran[1] > own[1]


def _of_disturbance(profile: Profile) -> str:
    if profile.disturbance < DISTURBED:
        return ""
    return (
        f"the machine is disturbed, half of the calls took {formatting.ratio(DISTURBED)} the "
        "undisturbed latency or more; shares bear that, times less so"
    )

"""Sentences of `benchbox explain`: what takes a graph's time, and why as far as that is checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from benchbox.insight.blame import Blame, blames
from benchbox.insight.check import Check
from benchbox.insight.guidelines import Verdict, difference
from benchbox.insight.kernels import Kernel
from benchbox.insight.parts import ALIGNMENT, SMALL_MAP, Explained, ExplainedNode, Part, Reason
from benchbox.report import check_text, formatting
from benchbox.report.text import listed

SENTENCES = 3
NAMED = 3  # channels in a sentence
MADE_OF = 4  # parts that a difference is said to be made of
GIGA = 1e9
WORTH_A_WORD = 0.02  # of the latency
SUBJECTS: Mapping[Part, tuple[str, str]] = {
    "padding": ("convolution multiplies padding", "convolutions multiply padding"),
    "kernels below peak": (
        "convolution or product stays below the peak",
        "convolutions and products stay below the peak",
    ),
    "weights read once": (
        "layer reads weights that it uses once or a few times",
        "layers read weights that they use once or a few times",
    ),
    "blocked depthwise": ("depthwise convolution", "depthwise convolutions"),
    "plain depthwise": (
        "depthwise convolution outside the blocked layout",
        "depthwise convolutions outside the blocked layout",
    ),
    "plain grouped": (
        "grouped convolution outside the blocked layout",
        "grouped convolutions outside the blocked layout",
    ),
    "layout conversion": (
        "conversion between layouts that is not in the file",
        "conversions between layouts that are not in the file",
    ),
    "data movement": ("node that only moves data", "nodes that only move data"),
    "element-wise and pooling": (
        "element-wise, pooling or other node",
        "element-wise, pooling and other nodes",
    ),
}
# What is behind a part where no channels are; each ends a sentence that says "this suggests".
BEHIND: Mapping[Part, str] = {
    "kernels below peak": "kernels, or memory, that do not keep up with one large product",
    "weights read once": "reading them from memory, which fewer weights would shorten",
    "blocked depthwise": "memory access: they multiply little for what they read and write",
    "plain depthwise": "a layout that is slower for them",
    "plain grouped": "a layout that is slower for them",
    "layout conversion": "channels or operators that are not computed in blocks between others",
}
PAPER = {
    "G1": "memory access",
    "G2": "memory access",
    "G3": "starting more nodes",
    "G4": "element-wise operators",
}


def sentences(found: Explained, checked: Mapping[Part, Check] = MappingProxyType({})) -> list[str]:
    """The sentences on one graph, the weightiest first."""
    blamed = blames(found)[:SENTENCES]
    return [sentence(each, found.block, checked.get(each.part)) for each in blamed]


def sentence(blame: Blame, block: int, checked: Check | None = None) -> str:
    """`12% (0.320 ms): 4 depthwise ...; 58 is no multiple of 4, which suggests ...`.

    What was checked says what was said, measured, and whether it holds; else it is withdrawn.
    """
    count = len(blame.nodes)
    subject = SUBJECTS[blame.part][count != 1]
    amount = f"{blame.share:.0%} ({formatting.milliseconds(blame.time_s)} ms)"
    said = f"{amount}: {count} {subject}"
    if checked is None:
        return f"{said}; {_behind(blame, block)}."
    if checked.measured is None:
        return f"{said}; {_behind(blame, block)}, {check_text.failure(checked)}."
    outcome = check_text.outcome(checked)
    if checked.verdict == "UNCLEAR":
        return f"{said}; {_behind(blame, block)}; {outcome}: unclear."
    holds = checked.verdict == "HOLDS"
    return f"{said}; {outcome}: HOLDS." if holds else f"Withdrawn: {said}; {outcome}."


def _behind(blame: Blame, block: int) -> str:
    named = [str(channels) for channels in blame.channels[:NAMED]]
    if blame.reason == "few inputs":
        return f"this suggests {listed(named)} input channels, fewer than a block of {block}"
    multiple = _multiple(blame.reason, block)
    if blame.reason == "small map":
        return f"this suggests maps of fewer than {SMALL_MAP} pixels"
    if not named or not multiple:
        return f"this suggests {BEHIND.get(blame.part) or _operators(blame)}"
    among = "among others " if len(blame.channels) > NAMED else ""
    where = " a group" if blame.reason == "group of a block" else ""
    nearest = -(-blame.channels[0] // multiple) * multiple
    return (
        f"{among}{listed(named)} channels{where} are no multiple of {multiple}, which suggests "
        f"{nearest} for {named[0]}"
    )


def _operators(blame: Blame) -> str:
    """The operators that take most of a part: `Concat, Split and Transpose, which ...`."""
    times: Counter[str] = Counter()
    for each in blame.nodes:
        times[each.node.operation.type] += round(each.parts[blame.part] * 1e9)
    origins = [each.node.origin for each in blame.nodes]
    few = ", which cost next to no FLOPs" if not any(o and o.macs for o in origins) else ""
    return f"{listed([name for name, _ in times.most_common(NAMED)])}{few}"


def _multiple(reason: Reason, block: int) -> int:
    """The number that channels should be a multiple of, zero where they do not matter."""
    return {"of 4": ALIGNMENT, "of a block": block, "group of a block": block}.get(reason, 0)


def reason(each: ExplainedNode, block: int) -> str:
    """`58 % 4`, `23 a group % 16`, `3 inputs`, `4x4 map`: a node's reason in a word."""
    kernel = each.kernel
    if each.reason == "of 4":
        return f"{kernel.inputs} % {ALIGNMENT}"
    if each.reason == "of a block":
        misfit = kernel.inputs if kernel.inputs % block else kernel.outputs
        return f"{misfit} % {block}"
    if each.reason == "group of a block":
        sizes = kernel.inputs // kernel.groups, kernel.outputs // kernel.groups
        return f"{next(size for size in sizes if size % block)} a group % {block}"
    words: Mapping[str, str] = {
        "few inputs": f"{kernel.inputs} inputs",
        "weights": "weights",
        "small map": f"{kernel.pixels} pixels",
    }
    return words.get(each.reason, formatting.UNKNOWN)


def kernel_name(each: ExplainedNode) -> str:
    """`1x1 blocked`, `depthwise 3x3 plain`, `product`, or the operator's type."""
    kernel: Kernel = each.kernel
    if kernel.kind == "other":
        return each.node.operation.type
    if kernel.kind == "product":
        return kernel.kind
    window = "x".join(map(str, kernel.window))
    kind = "" if kernel.kind == "dense" else f"{kernel.kind} "
    return f"{kind}{window} {'blocked' if kernel.is_blocked else 'plain'}"


def rate(found: Explained) -> str:
    """Multiply-accumulates per second, and their share of the time at the peak."""
    at_peak = found.parts["arithmetic at peak"] / found.profile.latency_s
    rate = found.macs / found.profile.latency_s / GIGA
    return (
        f"{formatting.significant(rate)} G multiply-accumulates/s; all of it at the peak of one "
        f"large product would take {at_peak:.0%} of the time"
    )


def against(found: Explained, other: Explained, name: str, other_name: str) -> str:
    """The difference of two graphs' latencies, by the parts that make most of it."""
    more = difference(found, other)
    total = found.profile.latency_s - other.profile.latency_s
    word, sign = ("more", 1) if total >= 0 else ("less", -1)
    least = WORTH_A_WORD * other.profile.latency_s
    weighty = [part for part in more if sign * more[part] >= least]
    weighty.sort(key=lambda part: -sign * more[part])
    made = [f"{part} {formatting.milliseconds(sign * more[part])}" for part in weighty[:MADE_OF]]
    flops = f" at {formatting.ratio(found.macs / other.macs)} the FLOPs" if other.macs else ""
    of = f"; of the {formatting.milliseconds(abs(total))} ms {word}, {listed(made)}"
    ratio = formatting.ratio(found.profile.latency_s / other.profile.latency_s)
    return f"{name} takes {ratio} the time of {other_name}{flops}{of if made else ''}."


def verdict(found: Verdict, guideline: str, names: Sequence[str]) -> str:
    """Whether the paper's reason for a guideline or another makes the difference here."""
    slow, fast = names[found.slow], names[found.fast]
    paper = f"{PAPER[guideline]}, the paper's reason, makes {_ms(max(0.0, found.paper_s))}"
    other = f"{found.part} {_ms(found.part_s)}"
    holds = (
        f"this suggests that the paper's reason for {guideline} holds here"
        if found.is_paper
        else f"this suggests that another reason than the paper's for {guideline} holds here"
    )
    return f"{slow} takes {_ms(found.difference_s)} ms more than {fast}: {paper}, {other}; {holds}."


def _ms(seconds: float) -> str:
    return formatting.milliseconds(seconds) if seconds else "0"


def notes(cases: Sequence[Explained], *, is_checked: bool = False) -> list[str]:
    """The footnotes of the tables."""
    shares = [each.outside_s / each.profile.latency_s for each in cases]
    ends = " to ".join(dict.fromkeys(f"{each:+.1%}" for each in (min(shares), max(shares))))
    doubt = (
        "; so much is of other programs, which took the processor, so nothing is blamed: explain "
        "again when it is quieter"
        if any(each.profile.is_disturbed for each in cases)
        else ""
    )
    overheads = [each.profile.overhead_s * 1e6 for each in cases]
    taken = " to ".join(dict.fromkeys(f"{us:.1f}" for us in (min(overheads), max(overheads))))
    blocks = Counter(each.block for each in cases).most_common(1)[0][0]
    return [
        f"parts exclude each other: nodes' own times, less what they take more than calls without "
        f"the profiler, {taken} us a node; outside of nodes is what opens and ends a call, less "
        f"what other programs added to nodes, {ends}{doubt}",
        "multiply-accumulates are the file's; padding is what blocks of "
        f"{blocks} channels add to them",
        check_text.NOTE
        if is_checked
        else "what suggests something was not altered and timed again",
    ]

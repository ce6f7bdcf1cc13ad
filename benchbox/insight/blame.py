"""Blame: the parts of a latency that weigh most, with the nodes and the channels behind them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchbox.insight.parts import Explained, ExplainedNode, Part, Reason

WEIGHTY = 0.05  # of the latency, from which on a part is worth a sentence


@dataclass(frozen=True, slots=True)
class Blame:
    """A part that takes a share of the latency, and the reason of most of it.

    `nodes` are those of that reason, the longest first; `channels` are theirs where the reason is
    one of channels, those that take longest first.
    """

    part: Part
    time_s: float
    share: float
    reason: Reason
    nodes: Sequence[ExplainedNode]
    channels: Sequence[int]


def blames(found: Explained, least: float = WEIGHTY) -> list[Blame]:
    """The parts above a share, by weight; arithmetic at peak is nobody's fault.

    Of a disturbed profile none: what other programs took may be in any of them.
    """
    if found.profile.is_disturbed:
        return []
    latency_s = found.profile.latency_s
    parts = found.parts
    return [
        _blame(found, part, parts[part], parts[part] / latency_s)
        for part in sorted(parts, key=lambda part: -parts[part])
        if part != "arithmetic at peak" and parts[part] >= least * latency_s
    ]


def _blame(found: Explained, part: Part, time_s: float, share: float) -> Blame:
    weights: defaultdict[Reason, float] = defaultdict(float)
    for each in found.nodes:
        weights[_reason(each, part)] += each.parts.get(part, 0.0)
    reason = max(weights, key=lambda reason: weights[reason])
    own = [n for n in found.nodes if _reason(n, part) == reason and n.parts.get(part)]
    nodes = sorted(own, key=lambda each: -each.parts[part])
    times: defaultdict[int, float] = defaultdict(float)
    for each in nodes:
        for channels in _channels(each, found.block) if reason else ():
            times[channels] += each.parts[part]
    return Blame(part, time_s, share, reason, nodes, sorted(times, key=lambda c: -times[c]))


def _reason(each: ExplainedNode, part: Part) -> Reason:
    """The reason of a node as far as a part goes: blocks that are not full make padding alone."""
    return "" if each.reason == "of a block" and part != "padding" else each.reason


def _channels(each: ExplainedNode, block: int) -> set[int]:
    """The channels of a node that its reason is about."""
    kernel = each.kernel
    if each.reason in ("of 4", "few inputs"):
        return {kernel.inputs}
    if each.reason == "of a block":
        return {c for c in (kernel.inputs, kernel.outputs) if c % block}
    if each.reason == "group of a block":
        each_group = kernel.inputs // kernel.groups, kernel.outputs // kernel.groups
        return {channels for channels in each_group if channels % block}
    return set()

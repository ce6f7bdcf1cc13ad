"""Checks of sentences: which widths to try, what their latency should be, and whether it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchbox.analysis.stats import Interval
from benchbox.insight.blame import Blame
from benchbox.insight.kernels import Kernel
from benchbox.insight.parts import ALIGNMENT, Explained, ExplainedNode, Part

Verdict = Literal["HOLDS", "WITHDRAWN", "UNCLEAR"]

LEAST = 0.02  # of the latency, below which nothing is said to be saved of the whole
WITHIN = 1 / 3  # of what was said to be saved, within which it must be
KEPT = 2  # conversions where everything is computed in blocks: of the input and of the output
# The shares of the peak that convolutions in blocks reach where the graph has none to learn from.
SHARES: Mapping[str, float] = {"dense": 0.9, "grouped": 0.75, "depthwise": 0.2}
CONVOLUTIONS = tuple(SHARES)


@dataclass(frozen=True, slots=True)
class Check:
    """The predicted and the measured effect on latency of altering the channels behind a part.

    `widths` are the new numbers of channels by the old ones, `flops` the altered graph's over the
    original's, `said` and `measured` latencies over the original's. `reason` is why it was not
    measured.
    """

    part: Part
    widths: Mapping[int, int] = field(default_factory=dict)
    flops: float = 1.0
    said: float = 1.0
    measured: Interval | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether time over FLOPs fell for sure, and by what was said within a third.

        What was said to save something of the whole must do so, too. Where the interval is wider
        than what was said to be saved it is unclear.
        """
        if self.measured is None:
            return "UNCLEAR"
        saved, said = 1 - self.measured.value / self.flops, 1 - self.said / self.flops
        if (self.measured.high - self.measured.low) / self.flops > abs(said):
            return "UNCLEAR"
        is_sure = self.measured.high < (1.0 if self.said < 1 - LEAST else self.flops)
        holds = is_sure and said > 0 and abs(saved - said) <= WITHIN * said
        return "HOLDS" if holds else "WITHDRAWN"


def widths(blame: Blame, block: int) -> dict[int, int]:
    """The widths that put an end to what a part is blamed for; empty where that is no width."""
    found = {}
    for kernel in (each.kernel for each in blame.nodes):
        if kernel.inputs < ALIGNMENT:  # an image's colours
            continue
        if blame.reason == "of 4":
            found[kernel.inputs] = rounded_up(kernel.inputs, ALIGNMENT)
        elif blame.reason == "few inputs":
            found[kernel.inputs] = block
        elif blame.reason in ("of a block", "group of a block"):
            for channels in (kernel.inputs, kernel.outputs):
                if channels >= block:
                    groups = kernel.groups
                    found[channels] = groups * rounded_up(channels // groups, block)
    return {old: new for old, new in found.items() if old != new}


def said(found: Explained, to: Mapping[int, int]) -> float:
    """The latency with these widths over that now, kernel by kernel.

    A convolution that is computed in blocks takes as long as before as far as what it now
    multiplies was padding, and longer with every further block. One that was not and is then takes
    what others of its kind take in blocks. Without any other left, and nothing that moves channels,
    only the first and the last conversion remain.
    """
    kernels = [each.kernel for each in found.nodes if each.kernel.kind in CONVOLUTIONS]
    are_blocked = all(
        each.is_blocked or _becomes_blocked(each, to, found.block) for each in kernels
    )
    is_moved = any(each.parts.get("data movement") for each in found.nodes)
    layout = [each.node.time_s for each in found.nodes if "layout conversion" in each.parts]
    kept = 1.0 if is_moved or not are_blocked else min(1.0, KEPT / max(1, len(layout)))
    others = [each for each in found.nodes if "layout conversion" not in each.parts]
    then_s = sum(_then_s(found, each, to) for each in others) + kept * sum(layout)
    return (then_s + found.outside_s) / found.profile.latency_s


def _then_s(found: Explained, each: ExplainedNode, to: Mapping[int, int]) -> float:
    """The seconds that a node should take with other widths."""
    kernel, now_s = each.kernel, each.node.time_s
    is_few = kernel.is_blocked and kernel.kind == "dense" and kernel.inputs < found.block
    gains = is_few and to.get(kernel.inputs, 0) >= found.block
    if kernel.kind not in CONVOLUTIONS:
        return now_s
    if kernel.is_blocked and not gains:
        return now_s * _padded(kernel, to, found.block) / _padded(kernel, {}, found.block)
    grown = to.get(kernel.outputs, kernel.outputs) / kernel.outputs
    if kernel.kind != "depthwise":
        grown *= to.get(kernel.inputs, kernel.inputs) / kernel.inputs
    if not gains and not _becomes_blocked(kernel, to, found.block):
        return now_s * grown
    alike = [n for n in found.nodes if n.kernel.kind == kernel.kind and n.kernel.is_blocked]
    if kernel.kind == "dense":
        alike = [n for n in alike if n.kernel.inputs >= found.block]
    macs = sum(n.kernel.macs * (1 + n.kernel.padding(found.block)) for n in alike)
    if macs:
        return grown * kernel.macs * sum(n.node.time_s for n in alike) / macs
    at_peak_s = each.parts.get("arithmetic at peak", 0.0)
    return min(now_s, at_peak_s * grown / SHARES[kernel.kind])


def _padded(kernel: Kernel, to: Mapping[int, int], block: int) -> int:
    """The channels, by channels where each reads all, that a kernel in blocks works on."""
    inputs, outputs = (
        rounded_up(to.get(each, each), block) for each in (kernel.inputs, kernel.outputs)
    )
    return outputs if kernel.kind == "depthwise" else inputs * outputs


def _becomes_blocked(kernel: Kernel, to: Mapping[int, int], block: int) -> bool:
    """Whether a convolution outside the layout of blocks should be computed in it."""
    inputs, outputs = (to.get(each, each) for each in (kernel.inputs, kernel.outputs))
    if inputs == kernel.inputs and outputs == kernel.outputs:
        return False
    if kernel.kind == "grouped":
        return all(each // kernel.groups % block == 0 for each in (inputs, outputs))
    return inputs % ALIGNMENT == 0 and inputs >= block


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple, of a count that is none."""
    return -(-count // multiple) * multiple

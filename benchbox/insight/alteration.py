"""Alterations of a graph that would prove what a part of its latency is blamed for.

Each leaves all shapes around it as they are, so that the rest of the graph computes what it did:
channels are widened, groups merged until they fill blocks, layers that read weights once lose half
of these, and what only moves or touches data is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbox.analysis.operators import OPERATORS
from benchbox.insight.blame import Blame
from benchbox.insight.file_graph import FileGraph
from benchbox.insight.kernels import Kernel
from benchbox.insight.parts import ALIGNMENT, Explained, ExplainedNode, Part

if TYPE_CHECKING:
    from onnx import NodeProto

CONVOLUTIONS = ("dense", "grouped", "depthwise")
MOST_WIDER = 1.5  # times a width: beyond it is another network
VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
FEW = 0.02  # of a part, below which a layer's weights are left as they are


@dataclass(frozen=True, slots=True)
class Alteration:
    """What is altered: new `widths` by old ones, the `groups` of convolutions by their results, the
    width to which results are `narrowed`, and for results that are left out what stands for them.

    `kinds` says of those what makes them.
    """

    widths: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    narrowed: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many nodes of each kind are left out, the most frequent first."""
        return dict(Counter(self.kinds.values()).most_common())

    @property
    def leaves_out_work(self) -> bool:
        """Whether less is computed, so that what is saved may be another part's."""
        return bool(self.left_out or self.narrowed)


def alterations(blame: Blame, found: Explained, graph: FileGraph) -> Iterator[Alteration]:
    """What may be altered to prove a sentence, the most telling first; none for some parts."""
    to, grouped = widths(blame, found.block), _merged(blame, found.block)
    is_wide = any(new > MOST_WIDER * old for old, new in to.items())
    if to and not (grouped and is_wide):
        yield Alteration(widths=to)
    if grouped:
        yield Alteration(groups=grouped)
    if to or grouped:  # the sentence names channels
        return
    for rule in RULES.get(blame.part, ()):
        altered = rule(blame, found, graph)
        if altered.left_out or altered.narrowed or altered.widths:
            yield altered


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


def aligned(found: Explained, multiple: int) -> dict[int, int]:
    """Every number of channels as a multiple, that of a group where there are groups."""
    to: dict[int, int] = {}
    for kernel in (each.kernel for each in found.nodes if each.kernel.kind in CONVOLUTIONS):
        groups = kernel.groups if kernel.kind == "grouped" else 1
        for old in (kernel.inputs, kernel.outputs):
            new = groups * rounded_up(old // groups, multiple)
            if old > ALIGNMENT and new != old:
                to[old] = max(new, to.get(old, 0))
    return to


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple, of a count that is none."""
    return -(-count // multiple) * multiple


def _merged(blame: Blame, block: int) -> dict[str, tuple[int, int]]:
    """Fewer groups of as many channels in all, so that each fills blocks."""
    found = {}
    for each in blame.nodes if blame.part == "plain grouped" else ():
        kernel, result = each.kernel, _result(each)
        fewer = [groups for groups in range(1, kernel.groups) if _fills(kernel, groups, block)]
        if result and fewer and blame.reason == "group of a block":
            found[result] = kernel.groups, fewer[-1]
    return found


def _fills(kernel: Kernel, groups: int, block: int) -> bool:
    return kernel.inputs % (groups * block) == kernel.outputs % (groups * block) == 0


def _result(each: ExplainedNode) -> str:
    """The tensor of the file that a node makes; empty where ONNX Runtime added it."""
    return each.node.origin.makes[0] if each.node.origin and each.node.origin.makes else ""


def _results(found: Explained, parts: Sequence[Part], graph: FileGraph) -> list[str]:
    """The results in the file of a part's nodes, those that take longest first."""
    times: defaultdict[str, float] = defaultdict(float)
    for each in found.nodes:
        if (name := _result(each)) in graph.makers:
            times[name] += sum(each.parts.get(part, 0.0) for part in parts)
    return sorted((name for name in times if times[name]), key=lambda name: -times[name])


def _untouched(blame: Blame, found: Explained, graph: FileGraph) -> Alteration:
    """Nodes left out whose results are shaped as what they read, and shuffles."""
    return _left_out(_results(found, (blame.part,), graph), found, graph)


def _ungated(blame: Blame, found: Explained, graph: FileGraph) -> Alteration:
    """Products with what is computed of a whole map left out, and with them what computes it."""
    del blame
    results = _results(found, ("element-wise and pooling",), graph)
    gated = [name for name in results if _is_gated(graph.makers[name], graph)]
    return _left_out(gated, found, graph)


def _is_gated(node: NodeProto, graph: FileGraph) -> bool:
    reads = graph.computed(node)
    return len(reads) > 1 and not all(graph.is_alike(each, node.output[0]) for each in reads)


def _between(blame: Blame, found: Explained, graph: FileGraph) -> Alteration:
    """What is computed outside of blocks between two in blocks, left out."""
    del blame
    parts: list[Part] = ["element-wise and pooling", "data movement", "plain depthwise"]
    return _left_out(_results(found, parts, graph), found, graph)


def _aligned(blame: Blame, found: Explained, graph: FileGraph) -> Alteration:
    """All channels as multiples of a block, by half a width at most."""
    del blame, graph
    to = aligned(found, found.block)
    return Alteration(widths={old: new for old, new in to.items() if new <= MOST_WIDER * old})


def _left_out(results: Sequence[str], found: Explained, graph: FileGraph) -> Alteration:
    own = {_result(each) for each in found.nodes}
    left_out, kinds = dict[str, str](), dict[str, str]()
    for name in results:
        kind, ends = graph.makers[name].op_type, _shuffled(name, graph)
        if ends is None and (kept := _kept(name, graph)):
            ends = _with_fused(name, own, graph), kept
        elif ends:
            kind = "shuffle"
        if ends:
            left_out[ends[0]], kinds[ends[0]] = ends[1], kind
    return Alteration(left_out=left_out, kinds=kinds)


def _kept(name: str, graph: FileGraph) -> str:
    """What may stand for a result: that which a node reads, of its type and shape.

    Of several the one without which the least work is done for nobody. Then of a product the first
    one made, as the other is often an activation of it, and of a sum the last one, the branch.
    """
    node = graph.makers[name]
    reads = graph.computed(node)
    alike = [each for each in reads if graph.is_alike(each, name)]
    if not alike or any(graph.readers.get(each) for each in node.output[1:]):
        return ""
    sign = 1 if node.op_type == "Mul" else -1

    def cost(kept: str) -> tuple[int, int]:
        return _orphaned(kept, reads, graph), sign * graph.places.get(kept, -1)

    return min(alike, key=cost)


def _orphaned(kept: str, reads: Sequence[str], graph: FileGraph) -> int:
    """The convolutions and products that nobody reads any more where only one is kept."""
    names = [each for each in reads if each != kept and graph.only_reader(each)]
    count = 0
    while names:
        maker = graph.makers.get(names.pop())
        if maker is None:
            continue
        count += maker.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose")
        names += [each for each in graph.computed(maker) if graph.only_reader(each)]
    return count


def _with_fused(name: str, own: set[str], graph: FileGraph) -> str:
    """The last result of those that a kernel computes at once: after its activation."""
    while (reader := graph.only_reader(name)) and OPERATORS.get(reader.op_type) == "element-wise":
        if (
            reader.output[0] in own
            or graph.computed(reader) != [name]
            or not _kept(reader.output[0], graph)
        ):
            break
        name = reader.output[0]
    return name


def _shuffled(name: str, graph: FileGraph) -> tuple[str, str] | None:
    """The ends of a shuffle, Reshape, Transpose and Reshape, by the result of the Transpose."""
    node = graph.makers[name]
    if node.op_type != "Transpose":
        return None
    before, after = graph.makers.get(node.input[0]), graph.only_reader(name)
    if before is None or after is None or {before.op_type, after.op_type} != {"Reshape"}:
        return None
    ends = after.output[0], before.input[0]
    return ends if graph.is_alike(*ends) else None


def _halved(blame: Blame, found: Explained, graph: FileGraph) -> Alteration:
    """Half of the results of layers that read weights once, where only such layers read these."""
    narrowed = {}
    for each in found.nodes:
        name = _result(each)
        if each.parts.get(blame.part, 0.0) < FEW * blame.time_s or name not in graph.makers:
            continue
        node = graph.makers[name]
        width = graph.shape(name)[1 if node.op_type == "Conv" else -1]
        is_layer = _is_layer(node, node.input[0], graph)
        if is_layer and width > 1 and _ends_in_weights(name, graph):
            narrowed[name] = width // 2
    return Alteration(narrowed=narrowed)


def _ends_in_weights(name: str, graph: FileGraph) -> bool:
    """Whether nobody but layers with weights, and the graph's outputs, reads a result."""
    inside, beside, names = {name}, set[str](), [name]
    while names:
        for reader in graph.readers.get(name := names.pop(), []):
            if reader is None or _is_layer(reader, name, graph):
                continue
            result = reader.output[0]
            if not (graph.is_alike(name, result) or reader.op_type in VIEWS):
                return False
            beside |= {*graph.computed(reader)}
            if result not in inside:
                inside.add(result)
                names.append(result)
    return beside <= inside


def _is_layer(node: NodeProto, reads: str, graph: FileGraph) -> bool:
    groups = next((each.i for each in node.attribute if each.name == "group"), 1)
    is_known = node.op_type in ("Conv", "Gemm", "MatMul") and groups == 1
    is_data = is_known and node.input[0] == reads
    return is_data and graph.is_constant(node.input[1]) and bool(graph.shape(node.output[0]))


Rule = Callable[[Blame, Explained, FileGraph], Alteration]
RULES: Mapping[Part, Sequence[Rule]] = {
    "weights read once": (_halved, _ungated),
    "blocked depthwise": (_untouched,),
    "plain depthwise": (_untouched,),
    "layout conversion": (_between, _aligned),
    "data movement": (_untouched,),
    "element-wise and pooling": (_untouched,),
}

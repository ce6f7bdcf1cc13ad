"""Parts of profiles that are made up, with kernels of every kind."""

from collections.abc import Sequence
from typing import Any

import pytest

from benchbox.analysis.operators import Operation
from benchbox.analysis.origins import FileNode
from benchbox.analysis.profile import estimate
from benchbox.insight import fit, guidelines
from benchbox.insight.blame import blames
from benchbox.insight.parts import PARTS, Explained, Peaks, explain, peaks
from tests.helpers import profiled

PEAK = 1e9  # a microsecond has 1000 multiplications
KNOWN = Peaks(PEAK, {1000: 1e9, 1_000_000: 1e8}, node_s=1e-6, bytes_each=4)


def node(name: str, op: str, us: float, *shapes: Sequence[int]) -> dict[str, Any]:
    """A node that took so long, with the shapes of its inputs and of its result."""
    found = profiled.node(name, op, [us] * 8)
    return found | {"inputs": [[*s] for s in shapes[:-1]], "outputs": [[*shapes[-1]]]}


def conv(
    name: str, us: float, channels: tuple[int, int], size: int, window: int = 1, groups: int = 1
) -> dict[str, Any]:
    ins, outs = channels
    data, weights = (1, ins, size, size), (outs, ins // groups, window, window)
    return node(name, "Conv", us, data, weights, (1, outs, size, size))


def explained(*nodes: dict[str, Any], file: Sequence[FileNode] = ()) -> Explained:
    """The explanation of nodes whose times add up to the latency: nothing is taken off them."""
    latency_ms = sum(each["us"][0] for each in nodes) / 1e3
    latencies = {"default": latency_ms, "profiled": latency_ms}
    found = profiled.estimated(*nodes, file=file, added_us=0.0, **latencies)
    return explain(found, KNOWN)


def of(found: Explained) -> dict[str, float]:
    """The parts in microseconds, those that are there."""
    return {part: round(s * 1e6, 6) for part, s in found.parts.items() if s > 1e-12}


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (conv("a", 50, (4, 4), 20), {"arithmetic at peak": 6.4, "kernels below peak": 43.6}),
        (conv("a", 5, (4, 4), 20), {"arithmetic at peak": 5}),  # faster than the peak
        (conv("a", 9, (64, 64), 1), {"arithmetic at peak": 4.096, "weights read once": 4.904}),
        (conv("a", 9, (8, 8), 4, 3, 8), {"arithmetic at peak": 1.152, "plain depthwise": 7.848}),
        (
            conv("a_nchwc", 9, (8, 8), 4, 3, 8),
            {"arithmetic at peak": 1.152, "blocked depthwise": 7.848},
        ),
        (conv("a", 9, (8, 8), 4, 3, 2), {"arithmetic at peak": 4.608, "plain grouped": 4.392}),
        (
            node("a", "Gemm", 9, (1, 32), (32, 16), (1, 16)),
            {"arithmetic at peak": 0.512, "weights read once": 8.488},
        ),
        (
            node("a", "MatMul", 9, (100, 8), (8, 4), (100, 4)),
            {"arithmetic at peak": 3.2, "kernels below peak": 5.8},
        ),
        (node("a", "ReorderInput", 9, (1, 4), (1, 4)), {"layout conversion": 9}),
        (node("a", "Concat", 9, (1, 4), (1, 8)), {"data movement": 9}),
        (node("a", "MaxPool", 9, (1, 4), (1, 4)), {"element-wise and pooling": 9}),
    ],
)
def test_a_kernel_s_time_is_split_into_parts_that_exclude_each_other(
    found: dict[str, Any], parts: dict[str, float]
) -> None:
    assert of(explained(found)) == pytest.approx(parts)


def blocked(us: float, real: tuple[int, int], padded: tuple[int, int]) -> Explained:
    """A convolution in blocks, whose channels are padded to other numbers than the file's."""
    shapes = [(1, real[0], 10, 10), (real[1], real[0], 1, 1)]
    operation = Operation("Conv", shapes, [(1, real[1], 10, 10)])
    macs = real[0] * real[1] * 100
    file = FileNode("a", operation, "convolution", None, macs, 0, ["x"], ["y"])
    return explained(conv("y_nchwc", us, padded, 10), file=[file])


@pytest.mark.parametrize(
    ("us", "real", "padded", "parts"),
    [
        (100, (24, 16), (32, 16), {"at peak": 38.4, "padding": 12.8, "below": 48.8}),
        (45, (24, 16), (32, 16), {"at peak": 38.4, "padding": 6.6}),  # hidden by what it saves
        (100, (24, 24), (24, 24), {"at peak": 57.6, "below": 42.4}),  # blocks of 8
        (100, (3, 16), (3, 16), {"at peak": 4.8, "below": 95.2}),  # an image is not padded
    ],
)
def test_padding_is_what_blocks_add_to_the_channels_of_the_file(
    us: float, real: tuple[int, int], padded: tuple[int, int], parts: dict[str, float]
) -> None:
    names = {"at peak": PARTS[0], "padding": "padding", "below": "kernels below peak"}
    assert of(blocked(us, real, padded)) == pytest.approx({names[k]: v for k, v in parts.items()})


def test_the_weightiest_parts_are_blamed_with_their_channels_and_no_others() -> None:
    found = explained(
        conv("plain", 60, (58, 58), 4, 3, 58),
        conv("other", 30, (30, 30), 4, 3, 30),
        conv("whole", 29, (60, 60), 4, 3, 60),
        node("move", "Concat", 9, (1, 4), (1, 8)),
        node("little", "Add", 2, (1, 4), (1, 4)),
    )
    first, second = blames(found)
    assert (first.part, first.reason, first.channels) == ("plain depthwise", "of 4", [58, 30])
    assert [each.node.name for each in first.nodes] == ["plain", "other"]
    assert (second.part, second.reason, second.channels) == ("data movement", "", [])
    assert second.share == pytest.approx(9 / 130)


def test_a_node_is_bound_by_arithmetic_or_by_a_copy_of_its_size() -> None:
    known = peaks({"fp16_macs_per_s": PEAK, "copy_1000_bytes_per_s": 1e9, "node_s": 1.0}, "float16")
    assert known == Peaks(PEAK, {1000: 1e9}, 1.0, 2)
    assert peaks({"fp16_macs_per_s": PEAK, "node_s": 1.0}, "int8") is None
    assert [KNOWN.moving_s(size) for size in (2000, 3000, 10**8)] == [2e-6, 3e-5, 1.0]
    (small, large) = explained(
        node("a", "Relu", 16, (1, 100), (1, 100)), conv("b", 20, (10, 10), 10)
    ).nodes
    assert (small.bound, small.reached) == ("memory", pytest.approx(0.05))
    assert (large.bound, large.reached) == ("memory", pytest.approx(84e-6 / 20e-6, rel=0.01))


def test_counts_explain_latencies_that_follow_from_them_and_need_cases_enough() -> None:
    counts = [(1.0, 5.0), (2.0, 3.0), (4.0, 9.0), (3.0, 2.0), (7.0, 8.0), (5.0, 4.0)]
    follows = fit.r_squared([row[:1] for row in counts], [row[0] ** 2 for row in counts])
    assert follows == pytest.approx(1.0)
    loose = fit.r_squared([row[:1] for row in counts], [row[1] for row in counts])
    assert loose is not None and loose < 0.7
    assert fit.r_squared(counts[:5], [1, 2, 3, 4, 5]) is None
    assert fit.r_squared([(0.0,)] * 9, range(1, 10)) is None
    assert fit.r_squared(counts, [3.0] * 6) is None


def grown(nodes: int, misfit_us: float, size: int = 4) -> Explained:
    """A case of a group, with so many nodes that add, a large copy, and grouped convolutions."""
    adds = [node(f"add {i}", "Add", 10, (1, size), (1, size)) for i in range(nodes)]
    return explained(*adds, conv("a", misfit_us, (8, 8), 4, 3, 2))


@pytest.mark.parametrize(
    ("guideline", "slow", "is_paper", "part"),
    [
        ("G2", grown(2, 200), False, "plain grouped"),
        ("G2", grown(2, 150, size=10_000), True, "plain grouped"),
        ("G3", grown(4, 100), False, "element-wise and pooling"),
        ("G4", grown(9, 110), True, "element-wise and pooling"),
    ],
)
def test_the_paper_s_reason_holds_where_it_makes_half_of_the_difference(
    guideline: str, slow: Explained, is_paper: bool, part: str
) -> None:
    fast = grown(2, 100)
    found = guidelines.judge(guideline, [fast, slow])
    assert found is not None
    assert (found.slow, found.fast, found.is_paper, found.part) == (1, 0, is_paper, part)
    assert guidelines.judge(guideline, [fast, fast]) is None
    assert guidelines.judge("", [fast, slow]) is None
    total = sum(guidelines.difference(slow, fast).values())
    assert total == pytest.approx(found.difference_s)


# Nodes, their sum when they are profiled, and in us a call by the profiler, with it and without it:
# ShuffleNetV2 x0.5, MobileNetV3 small, GhostNetV2 x1.0 on a Xeon, and one with disturbed nodes.
SESSION = [
    (163, 2136, 2997, 3023, 1598),
    (113, 2300, 2874, 2901, 1979),
    (356, 11937, 14231, 14298, 9897),
    (356, 16469, 13900, 13990, 13553),
]


def test_nodes_take_no_more_than_a_call_but_for_what_the_profiler_cannot_have_added() -> None:
    found = []
    for count, nodes_us, run_us, profiled_us, plain_us in SESSION:
        answer = profiled.reply(
            profiled.node("a", "Conv", [nodes_us] * 8, count),
            default=plain_us / 1e3,
            profiled=profiled_us / 1e3,
        )
        answer["run_us"] = [run_us] * 8
        found.append(explain(estimate(answer, count), KNOWN))
    taken_us = [each.profile.overhead_s * 1e6 for each in found]
    assert taken_us == pytest.approx([3.46, 3.08, 5.92, 1.23], abs=0.01)
    outside = [each.outside_s / each.profile.latency_s for each in found]
    assert outside == pytest.approx([0.016, 0.014, 0.007, -0.183], abs=0.001)
    for each in found:
        assert sum(each.whole.values()) == pytest.approx(each.profile.latency_s)

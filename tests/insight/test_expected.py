"""Latencies expected of altered graphs, by the nodes of a profile that is made up."""

from typing import Any

import pytest

from benchbox.analysis.operators import Operation
from benchbox.analysis.origins import FileNode
from benchbox.analysis.profile import Node, nodes_of
from benchbox.insight.expected import expected
from benchbox.insight.parts import Explained
from tests.insight.test_parts import blocked, conv, explained, node


def nodes(*facts: dict[str, Any], file: tuple[FileNode, ...] = ()) -> list[Node]:
    zeros = [0.0] * len(facts)
    return [*nodes_of(facts, file, zeros, zeros, 0.0)]


def us(found: Explained, *facts: dict[str, Any], file: tuple[FileNode, ...] = ()) -> float:
    return expected(found, nodes(*facts, file=file)).profile.latency_s * 1e6


def padded(real: tuple[int, int], blocks: tuple[int, int]) -> tuple[Node, ...]:
    """The node of `blocked` with other channels."""
    operation = Operation(
        "Conv", [(1, real[0], 10, 10), (real[1], real[0], 1, 1)], [(1, real[1], 10, 10)]
    )
    macs = real[0] * real[1] * 100
    file = FileNode("a", operation, "convolution", None, macs, 0, ["x"], ["y"])
    return tuple(nodes(conv("y_nchwc", 0, blocks, 10), file=(file,)))


def test_what_is_multiplied_more_was_padding_or_takes_longer() -> None:
    found = blocked(60, (24, 16), (32, 16))
    filled = expected(found, padded((32, 16), (32, 16)))
    assert filled.profile.latency_s == pytest.approx(60e-6)
    doubled = expected(found, padded((24, 32), (32, 32)))
    assert doubled.profile.latency_s == pytest.approx(120e-6)
    few = expected(blocked(90, (8, 16), (8, 16)), padded((16, 16), (16, 16)))
    assert few.profile.latency_s == pytest.approx(25.6e-6 / 0.9)


def test_what_is_computed_in_blocks_then_takes_what_others_take_there() -> None:
    slow = conv("plain", 12.528, (58, 58), 4, 3, 58)
    fast = conv("fast_nchwc", 10.8, (64, 64), 4, 3, 64)
    then = us(explained(slow, fast), conv("plain_nchwc", 0, (48, 48), 4, 3, 48), fast)
    assert then == pytest.approx(10.8 * (1 + 48 / 64))
    strided = node("b_nchwc", "Conv", 50, (1, 48, 8, 8), (48, 1, 3, 3), (1, 48, 4, 4))
    then = us(explained(slow, fast, strided), conv("plain_nchwc", 0, (48, 48), 4, 3, 48))
    assert then == pytest.approx(10.8 * 48 / 64)  # it reads a smaller map than the strided one
    assert us(explained(slow), conv("plain_nchwc", 0, (58, 58), 4, 3, 58)) == pytest.approx(
        58 * 9 * 16 / 1000 / 0.2
    )


def test_what_the_profile_has_takes_as_long_as_there_and_others_by_their_bytes() -> None:
    adds = [node(f"add{i}", "Add", 10 + i, (1, 4), (1, 4)) for i in (0, 2)]
    reorders = [node(f"ReorderInput_{i}", "ReorderInput", 10 + i, (1, 4), (1, 4)) for i in (0, 2)]
    found = explained(*adds, *reorders, node("add", "Add", 9, (1, 100), (1, 100)))
    assert us(found, adds[0]) == pytest.approx(10)
    assert us(found, adds[0] | {"name": "other"}) == pytest.approx(11)
    assert us(found, reorders[0]) == pytest.approx(11)  # numbered by chance
    assert us(found, node("add", "Add", 0, (1, 50), (1, 50))) == pytest.approx(1 + 8 / 2)
    assert us(found, node("new", "Relu", 0, (1, 50), (1, 50))) == pytest.approx(1 + 0.4)
    small = node("small", "ReorderOutput", 21, (1, 50, 1, 1), (1, 50, 1, 1))
    large = node("large", "ReorderOutput", 11, (1, 5, 5, 5), (1, 5, 5, 5))
    new = node("new", "ReorderOutput", 0, (1, 2, 5, 5), (1, 2, 5, 5))
    assert us(explained(small, large), new) == pytest.approx(1 + 10 * 2 / 5)  # not as the small
    pool = node("pool", "MaxPool", 50, (1, 100), (1, 100))
    blocked_pool = node("pool_nchwc", "MaxPool", 0, (1, 100), (1, 100))
    assert us(explained(pool), blocked_pool) == pytest.approx(1 + 0.8)  # as a copy

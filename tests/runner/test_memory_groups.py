from pathlib import Path

import pytest

from benchbox.costs import Cost
from benchbox.export import Graph
from benchbox.runner import memory_groups
from benchbox.runner.memory_groups import Postponed, Room
from benchbox.specs import Builder, Case

MIB = 1 << 20


def make(*weights_of_groups: list[int]) -> tuple[list[Case], dict[str, Graph]]:
    """Cases with weights of so many MiB; the first of each list is the others' reference."""
    cases, graphs = [], {}
    for index, weights in enumerate(weights_of_groups):
        for number, mib in enumerate(weights):
            name, beside = f"{index}.{number}", {"group": str(index), "reference": f"{index}.0"}
            case = Case("mine", name, {}, {}, (), 1, Builder("m:f"), **beside)
            cases.append(case)
            cost = Cost(0, 0, None, mib * MIB, None, {}, ())
            graphs[case.key] = Graph(Path("m"), "", cost, 0, 18, "none", None, {})
    return cases, graphs


@pytest.mark.parametrize(
    ("budget_mib", "weights", "groups"),
    [
        (1000, ([10, 10, 10], [10, 10]), [["0.0", "0.1", "0.2", "1.0", "1.1"]]),  # it fits
        (60, ([10, 10, 10],), [["0.0", "0.1"], ["0.0", "0.2"]]),
        (0, ([10, 10], [10]), [["0.0"], ["0.0", "0.1"], ["1.0"]]),  # it fits nowhere
    ],
)
def test_a_reference_is_in_every_group_that_needs_it(
    budget_mib: int, weights: tuple[list[int], ...], groups: list[list[str]]
) -> None:
    found = memory_groups.split(*make(*weights), budget_mib * MIB)
    assert [[case.name for case in group] for group in found] == groups


def test_a_gpu_has_room_until_what_is_loaded_takes_more_than_it_may() -> None:
    (first, second, third), _ = make([10, 10, 10])
    room = Room(5)
    assert room.has_for(first)
    room.taken_bytes[first.key] = 6
    assert room.has_for(second)  # beside nothing but its reference
    room.taken_bytes[second.key] = 6
    assert not room.has_for(third)
    assert Room(None, room.taken_bytes).has_for(third)
    assert not Room(None, closed=True).has_for(third)


def test_what_was_postponed_comes_again_after_its_reference_or_alone() -> None:
    cases, _ = make([1, 1, 1, 1], [1, 1])
    postponed = [Postponed(cases[1], 5.0, alone=True), Postponed(cases[3], 2.0, alone=False)]
    postponed += [Postponed(cases[4], 2.0, alone=False), Postponed(cases[5], 3.0, alone=False)]
    groups = list(memory_groups.regrouped(postponed, {case.key: case for case in cases}))
    assert [([case.name for case in group], most_s) for group, most_s in groups] == [
        (["0.0", "0.3", "1.0", "1.1"], 7.0),
        (["0.1"], 5.0),
    ]


def test_a_case_whose_reference_is_not_timed_stands_for_itself() -> None:
    cases, graphs = make([10, 10, 10])
    assert memory_groups.split(cases[1:], graphs, 1000 * MIB) == [cases[1:]]


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (None, memory_groups.LIMIT_BYTES - memory_groups.BASE_BYTES),
        (64 << 30, memory_groups.LIMIT_BYTES - memory_groups.BASE_BYTES),
        (1 << 30, (1 << 29) - memory_groups.BASE_BYTES),
        (0, 0),
    ],
)
def test_a_budget_is_half_of_what_is_free_up_to_a_limit(free: int | None, expected: int) -> None:
    assert memory_groups.budget(free) == expected

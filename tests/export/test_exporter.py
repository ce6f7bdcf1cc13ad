"""torch's exporter and its optimiser, which benchbox makes faster from outside."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchbox.export import exporter


@pytest.mark.parametrize("shortcut", exporter.SHORTCUTS)
def test_what_a_shortcut_changes_is_there(shortcut: Callable[[], None]) -> None:
    shortcut()


class TwiceTurned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two transpositions that undo each other, which a rule of the optimiser drops."""
        return torch.relu(x).permute(1, 0).permute(1, 0) * 2


@pytest.mark.filterwarnings("ignore")  # of torch itself
def test_rules_of_the_optimiser_are_still_tried_where_they_fit() -> None:
    program = exporter.program(TwiceTurned().eval(), (torch.ones(2, 3),), ["x"])
    assert [node.op_type for node in program.model.graph] == ["Relu", "Mul"]

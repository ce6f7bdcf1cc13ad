"""torch's exporter of ONNX graphs, without what takes it long and changes nothing."""

import contextlib
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchbox.export.graph import OPSET

if TYPE_CHECKING:
    import torch


def program(
    module: "torch.nn.Module", arrays: "tuple[torch.Tensor, ...]", names: Sequence[str]
) -> "torch.onnx.ONNXProgram":
    """Trace a module with these inputs, of these names, and translate it."""
    import torch

    _take_shortcuts()
    found = torch.onnx.export(
        module,
        arrays,
        dynamo=True,
        optimize=True,
        verbose=False,
        opset_version=OPSET,
        input_names=names,
    )
    assert found is not None
    return found


@functools.cache
def _take_shortcuts() -> None:
    """Make exports take less than half the time.

    None of these has a public name; where one has changed, exports take longer.
    """
    for shortcut in SHORTCUTS:
        with contextlib.suppress(ImportError, AttributeError):
            shortcut()


def _keep_operator_table() -> None:
    """Make the table of operators once, not for every graph."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    make = functools.cache(ONNXRegistry.from_torchlib)
    ONNXRegistry.from_torchlib = staticmethod(make)  # type: ignore[method-assign]


def _note_no_source_lines() -> None:
    """Leave the lines of Python out that made each node: they are cleared in the end."""
    from torch import fx

    fx.config.do_not_emit_stack_traces = True


def _try_rules_where_they_may_fit() -> None:
    """Try each rule of the optimiser at nodes of its operator alone, not at every node.

    Rules on several nodes go through the whole graph each time that they are tried.
    """
    from onnxscript.rewriter import _basics, _matcher

    tried = _matcher.SimplePatternMatcher.match
    fits_not = _basics.MatchResult().fail("another operator")

    def match(self: Any, model: Any, graph: Any, node: Any, **options: Any) -> Any:  # noqa: ANN401
        if not self.pattern.output_nodes[0].op.matches(node.op_type):
            return fits_not
        return tried(self, model, graph, node, **options)

    _matcher.SimplePatternMatcher.match = match  # type: ignore[method-assign,assignment]


SHORTCUTS = (_keep_operator_table, _note_no_source_lines, _try_rules_where_they_may_fit)

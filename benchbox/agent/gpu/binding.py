"""BoundSession: a session with its inputs and outputs bound to buffers on a GPU."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnxruntime as ort

from benchbox.agent.gpu.placement import Placement
from benchbox.agent.ort import compare, session
from benchbox.agent.ort.compare import Array

EAGER, CAPTURED = "-1", "1"  # values of gpu_graph_id: not captured, and the one that is


def run_options(where: Placement, graph: str, *, wait: bool) -> ort.RunOptions:
    """Return the options of a call: which CUDA graph, where there are any, and whether it waits."""
    options = ort.RunOptions()
    options.log_severity_level = session.ERRORS_ONLY
    if where.captured:
        options.add_run_config_entry("gpu_graph_id", graph)
    if not wait:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


class BoundSession:
    """A session with its inputs and outputs bound."""

    def __init__(
        self, opened: ort.InferenceSession, where: Placement, arrays: dict[str, Array]
    ) -> None:
        """Bring the inputs to the device."""
        self._session, self._where, self._arrays = opened, where, arrays
        self._binding = opened.io_binding()
        self._values = {
            name: ort.OrtValue.ortvalue_from_numpy(array, where.device, where.index)
            for name, array in arrays.items()
        }
        self._kept: dict[str, ort.OrtValue] = {}
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)

    def first_call(self) -> list[ort.OrtValue]:
        """Call the graph with outputs that ONNX Runtime allocates, and return them.

        It records no CUDA graph: that may only be done once the outputs have their places.
        """
        for output in self._session.get_outputs():
            self._bind_somewhere(output)
        self._eagerly()
        return list(self._binding.get_outputs())

    def keep(self, values: Sequence[ort.OrtValue]) -> dict[str, Array]:
        """Bind the outputs to these for good, and return what is in them."""
        self._binding.clear_binding_outputs()
        for output, value in zip(self._session.get_outputs(), values, strict=True):
            if _on_device(output):
                self._binding.bind_ortvalue_output(output.name, value)
                self._kept[output.name] = value
            else:
                self._bind_somewhere(output)
        return self._found()

    def require_again(self, right: Mapping[str, Array]) -> None:
        """Raise RuntimeError unless a call computes the outputs anew, and as they were.

        Two things may be otherwise: a replay does not write an output that is the same in every
        call, if it writes others; and what draws random numbers draws others.
        """
        spoilt = {name: _spoil(value) for name, value in self._kept.items()}
        self.caller(wait=True)()
        found = self._found()
        wrong = {name for name in right if _differs(right[name], found[name])}
        if not wrong:
            return
        same = {n for n in wrong if np.array_equal(found[n], spoilt[n], equal_nan=True)}
        self._eagerly()
        again = self._found()
        drawn = {name for name in wrong - same if _differs(right[name], again[name])}
        fixed = same if self._where.captured and same < right.keys() else set[str]()
        if left := sorted(wrong - drawn - fixed):
            raise RuntimeError(_mismatch(left[0], captured=self._where.captured))

    def caller(self, *, wait: bool) -> Callable[[], object]:
        """A function that calls the graph, and waits for the GPU or does not."""
        options = run_options(self._where, CAPTURED, wait=wait)
        return partial(self._session.run_with_iobinding, self._binding, options)

    def call_with_copies(self, call: Callable[[], object]) -> Sequence[Array]:
        """Bring the inputs to the device, call the graph, and return the outputs as arrays."""
        for name, value in self._values.items():
            value.update_inplace(self._arrays[name])
        call()
        return list(self._binding.copy_outputs_to_cpu())

    def _eagerly(self) -> None:
        options = run_options(self._where, EAGER, wait=True)
        self._session.run_with_iobinding(self._binding, options)

    def _found(self) -> dict[str, Array]:
        return {name: compare.some(value.numpy()) for name, value in self._kept.items()}

    def _bind_somewhere(self, output: ort.NodeArg) -> None:
        if _on_device(output):
            self._binding.bind_output(output.name, self._where.device, self._where.index)
        else:
            self._binding.bind_output(output.name)


def _on_device(output: ort.NodeArg) -> bool:
    """Whether an output is a tensor that a GPU can hold: sequences and strings are not."""
    return bool(output.type.startswith("tensor(") and not output.type.endswith("(string)"))


def _spoil(value: ort.OrtValue) -> Array:
    """Overwrite an output with what it is not; return as much of that as is compared."""
    array = value.numpy()
    wrong = np.full_like(array, np.nan) if array.dtype.kind in "fc" else ~array
    value.update_inplace(wrong)
    return compare.some(wrong)


def _differs(right: Array, other: Array) -> bool:
    return compare.share(right, other) > compare.TOLERANCE


def _mismatch(output: str, *, captured: bool) -> str:
    if captured:
        return (
            f"its CUDA graph does not compute output {output!r} as the first call did, so it is "
            "not timed; time it with --mode eager"
        )
    return f"a second call does not compute output {output!r} as the first did, so it is not timed"

"""Comparison of a graph's outputs by a provider with those of the CPU's, and its precision."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchbox.agent.ort import compare as ort_compare
from benchbox.agent.ort import inputs
from benchbox.agent.ort.compare import Array
from benchbox.agent.stdio import Message, Refusal

if TYPE_CHECKING:
    from benchbox.agent.ort.plugins import LoadedPlugin

Outputs = Sequence[Array | None]
SINGLE = "float32"
LESS = f"fewer bits than {SINGLE}"
NEAREST = "a type nearest to"
# Of an output: zeros are off by all of its size, other numbers by 1.4 times that. Of 81 graphs with
# random weights the worst let bfloat16 grow to 9%; 4 bits round a value by 6% at most.
LOST = 0.5
SAME = 1e-5  # of an output: sums of float32 in another order differ by less
HALF_BITS = 11  # of a float16's factor, and a TF32's; a bfloat16's has 8


class CpuReference:
    """A graph on the CPU's provider, which computes in the graph's own types."""

    def __init__(self, request: Message, threads: int) -> None:
        import onnxruntime as ort

        from benchbox.agent.ort import session

        options = session.options(threads, ())
        self._session = ort.InferenceSession(request["path"], options, providers=[session.CPU])
        self._feeds = {each["name"]: inputs.of(each, request["seed"]) for each in request["inputs"]}
        self._outputs = self._session.run(None, self._feeds)

    def errors(self, given: Outputs, place: str, *, rounded: bool) -> Iterator[tuple[str, float]]:
        """Yield the outputs, and how far those of a `place` are off them, as shares of their size.

        Whole numbers are not compared, as they may be chosen by the least of differences; nor is
        what draws random numbers, or is no array.
        """
        for output, one, other in zip(
            self._session.get_outputs(), self._outputs, given, strict=True
        ):
            if not isinstance(one, np.ndarray) or one.dtype.kind != "f" or other is None:
                continue
            if one.shape != other.shape:
                there, here = ("x".join(map(str, each.shape)) for each in (other, one))
                raise Refusal(
                    f"output {output.name!r} on {place} is {there}, on the processor {here}"
                )
            off = ort_compare.share(ort_compare.some(one), ort_compare.some(other), rounded=rounded)
            if off <= ort_compare.TOLERANCE or not self._is_drawn(output.name, one):
                yield output.name, off

    def rounded(self, bits: int) -> Outputs | None:
        """Its outputs with inputs of so many bits; None where that changes no input."""
        feeds = {name: _rounded(array, bits) for name, array in self._feeds.items()}
        if all(np.array_equal(feeds[name], array) for name, array in self._feeds.items()):
            return None
        return list(self._session.run(None, feeds))

    def _is_drawn(self, output: str, first: Array) -> bool:
        """Whether two calls of the graph differ."""
        second = self._session.run([output], self._feeds)[0]
        return (
            first.shape != second.shape or ort_compare.share(first, second) > ort_compare.TOLERANCE
        )


def require_alike(
    reference: CpuReference, given: Outputs, tolerance: float, place: str
) -> float | None:
    """By which share of its size the worst output is off the processor's, None without any.

    Raises Refusal for more than `tolerance`.
    """
    worst = None
    rounded = tolerance > ort_compare.TOLERANCE
    for name, off in reference.errors(given, place, rounded=rounded):
        if off > tolerance:
            raise Refusal(
                f"output {name!r} on {place} is {off:.2g} times its size off the "
                f"processor's, more than {tolerance:g}, so it is not timed"
            )
        worst = max(off, worst or 0.0)
    return worst


def precision(reference: CpuReference, off: float, place: str) -> str | None:
    """The precision of what was computed, by how far it is `off`; None where that tells nothing.

    Whoever computes in so many bits rounds the inputs to as many, and is off by as much at least.
    """
    if off <= SAME:
        return SINGLE
    rounded = reference.rounded(HALF_BITS)
    if rounded is None:
        return None
    least = max((each for _, each in reference.errors(rounded, place, rounded=True)), default=0.0)
    return SINGLE if off < least / 2 else LESS


def told_precision(
    plugin: "LoadedPlugin", run: Callable[[str], Outputs], given: Outputs, off: float
) -> str:
    """The type in which a plug-in computed: the one whose outputs are these when it is told to.

    `run` gives the outputs in a type. Its own kernels are the same in both, so that they are equal;
    where none are, it is the nearest.
    """
    likely = sorted(plugin.precisions, key=lambda each: (each == SINGLE) != (off <= SAME))
    found: dict[str, float] = {}
    for each in likely:
        found[each] = _distance(given, run(each))
        if not found[each]:
            return each
    return f"{NEAREST} {min(found, key=lambda each: found[each])}"


def _distance(given: Outputs, other: Outputs) -> float:
    pairs = [(a, b) for a, b in zip(given, other, strict=True) if a is not None and b is not None]
    return max((ort_compare.share(a, b) for a, b in pairs if a.dtype.kind == "f"), default=0.0)


def _rounded(array: Array, bits: int) -> Array:
    """Floats rounded to so many bits of their factor; other numbers as they are."""
    if array.dtype.kind != "f":
        return array
    factor, exponent = np.frexp(array)
    result: Array = np.ldexp(np.rint(factor * 2**bits) / 2**bits, exponent).astype(array.dtype)
    return result

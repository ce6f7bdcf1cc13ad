"""Comparison of a graph's outputs on a GPU with those on the processor, by ONNX Runtime on both."""

from benchbox.agent.gpu import errors
from benchbox.agent.ort import compare as ort_compare
from benchbox.agent.ort import inputs
from benchbox.agent.ort.compare import Array
from benchbox.agent.runtime import GpuGraph
from benchbox.agent.stdio import Message, Refusal


def compare(request: Message, loaded: GpuGraph, tolerance: float, threads: int) -> None:
    """Call what a `load` asked for on the processor, and compare its outputs with the GPU's.

    Raises Refusal where they are further apart than `tolerance`, a share of the output's root mean
    square. Whole numbers are not compared, as they may be chosen by the least of differences; nor
    is what draws random numbers.
    """
    import onnxruntime as ort

    from benchbox.agent.ort import session

    options = session.options(threads, ())
    reference = ort.InferenceSession(request["path"], options, providers=[session.CPU])
    feeds = {each["name"]: inputs.of(each, request["seed"]) for each in request["inputs"]}
    expected = reference.run(None, feeds)
    with errors.translate_errors():
        given = loaded.run_with_copies()
    for output, one, other in zip(reference.get_outputs(), expected, given, strict=True):
        if one.dtype.kind != "f":
            continue
        off = _off(output.name, one, other, rounded=tolerance > ort_compare.TOLERANCE)
        if off > tolerance and not _drawn(one, reference.run([output.name], feeds)[0]):
            raise Refusal(
                f"output {output.name!r} on the GPU is {off:.2g} times its size off the "
                f"processor's, more than {tolerance:g}, so it is not timed"
            )


def _off(name: str, right: Array, other: Array, *, rounded: bool) -> float:
    if right.shape != other.shape:
        there, here = ("x".join(map(str, each.shape)) for each in (other, right))
        raise Refusal(f"output {name!r} on the GPU is {there}, on the processor {here}")
    one = ort_compare.some(right)
    return ort_compare.share(one, ort_compare.some(other), rounded=rounded)


def _drawn(first: Array, second: Array) -> bool:
    """Whether two calls of one graph on the processor differ."""
    return first.shape != second.shape or ort_compare.share(first, second) > ort_compare.TOLERANCE

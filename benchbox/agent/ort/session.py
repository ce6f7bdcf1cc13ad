"""One graph in ONNX Runtime: opened, checked, and bound to its input and output buffers."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchbox.agent.ort import inputs, strings
from benchbox.agent.ort.plugins import LoadedPlugin
from benchbox.agent.runtime import LoadedGraph
from benchbox.agent.stdio import Message

ERRORS_ONLY = 3
CPU = "CPUExecutionProvider"
# Providers with a pool of their own, and the option that sets its size.
OWN_POOLS = {"XnnpackExecutionProvider": "intra_op_num_threads"}


def options(threads: int, cpus: Sequence[int]) -> ort.SessionOptions:
    """Return the session options of a run; pool threads are bound to all `cpus` but the first."""
    result = ort.SessionOptions()
    result.log_severity_level = ERRORS_ONLY
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Denormals slow some CPUs down by more than ten; no deployed net should be judged by them.
    result.add_session_config_entry("session.set_denormal_as_zero", "1")
    result.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if threads > 1:
        # Without this a pool spins for 40 ms after each call, on processors that the next graph's
        # pool needs: taking turns made calls 1.7 times slower. With it a call of 0.7 ms takes 0.02
        # ms more, to wake the pool, as it does in a program that does other things between calls.
        result.add_session_config_entry("session.force_spinning_stop", "1")
    if threads > 1 and len(cpus) >= threads:
        # ONNX Runtime counts processors from 1; the calling thread is the first of the pool.
        masks = ";".join(str(cpu + 1) for cpu in cpus[1:threads])
        result.add_session_config_entry("session.intra_op_thread_affinities", masks)
    return result


def load(
    path: str,
    provider: str,
    tensors: Sequence[Message],
    seed: int,
    session_options: ort.SessionOptions,
    plugin: LoadedPlugin | None = None,
) -> LoadedGraph:
    """Open the graph at `path` and run it once, by a provider of this build or a plug-in's.

    Raises RuntimeError when the session runs on another provider than the one asked for, or when
    that one has none of its nodes: ONNX Runtime falls back to the CPU without an error. ONNX
    Runtime's own errors pass through.
    """
    start = time.perf_counter()
    session = opened(path, provider, session_options, plugin)
    load_s = time.perf_counter() - start
    nodes = _nodes(session)
    _require(provider, session.get_providers()[0], nodes)
    feeds = values({tensor["name"]: inputs.of(tensor, seed) for tensor in tensors})
    start = time.perf_counter()
    given = run(session, feeds)
    first_call_s = time.perf_counter() - start
    unbound = _unbound(session, feeds)
    call = _bound(session, feeds, given) or unbound
    if any(not isinstance(size, int) for each in session.get_outputs() for size in each.shape):
        call = _either(call, unbound)
    call()
    outputs = _describe(session, given)
    return LoadedGraph(
        call,
        load_s,
        first_call_s,
        _finite(given),
        outputs,
        nodes,
        fetch=partial(fetch, session, feeds),
    )


def opened(
    path: str,
    provider: str,
    session_options: ort.SessionOptions,
    plugin: LoadedPlugin | None = None,
) -> ort.InferenceSession:
    """A session that runs what a provider takes on it, and the rest on the processor."""
    if plugin is not None:  # without enable_fallback=0 its error is printed, and the CPU's runs
        return ort.InferenceSession(path, plugin.attach(session_options), enable_fallback=0)
    providers = [provider] if provider == CPU else [provider, CPU]
    own = _provider_options(provider, session_options)
    return ort.InferenceSession(path, session_options, providers, [own, {}][: len(providers)])


def fetch(
    session: ort.InferenceSession, feeds: Mapping[str, ort.OrtValue]
) -> list[NDArray[np.generic] | None]:
    """The outputs of a call as arrays, None for what is none."""
    return [array(value) if value.has_value() else None for value in run(session, feeds)]


def _provider_options(provider: str, session_options: ort.SessionOptions) -> dict[str, str]:
    size = OWN_POOLS.get(provider)
    return {size: str(session_options.intra_op_num_threads)} if size else {}


def _nodes(session: ort.InferenceSession) -> dict[str, int] | None:
    """Number of nodes that each provider was given, None where ONNX Runtime does not report it."""
    if not hasattr(session, "get_provider_graph_assignment_info"):  # as older ones have not
        return None
    parts = session.get_provider_graph_assignment_info()
    counts: Counter[str] = Counter()
    for part in parts:
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _require(provider: str, used: str, nodes: Mapping[str, int] | None) -> None:
    if used != provider:
        raise RuntimeError(f"the session runs on {used}, not on {provider}")
    if provider == CPU or nodes is None or nodes.get(provider):
        return
    if not nodes:
        raise RuntimeError("the graph has no node left to run: its outputs are constants")
    raise RuntimeError(f"none of its nodes runs on {provider}, all on {' or '.join(nodes)}")


def values(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, ort.OrtValue]:
    """Arrays as ONNX Runtime takes them, by the name of their input."""
    return {name: _value(array) for name, array in arrays.items()}


def _value(array: NDArray[np.generic]) -> ort.OrtValue:
    if array.dtype != object:
        return ort.OrtValue.ortvalue_from_numpy(array)
    holder = ort.InferenceSession(strings.graph(array), providers=[CPU])
    (found,) = holder.run_with_ort_values(["y"], {})
    return found


def run(session: ort.InferenceSession, feeds: Mapping[str, ort.OrtValue]) -> list[ort.OrtValue]:
    """The outputs of a call for which ONNX Runtime allocates them."""
    names = [output.name for output in session.get_outputs()]
    return list(session.run_with_ort_values(names, feeds))


def _bound(
    session: ort.InferenceSession, feeds: Mapping[str, ort.OrtValue], values: Sequence[ort.OrtValue]
) -> Callable[[], object] | None:
    """A call with the first one's output buffers, so that no later call allocates any.

    None where an output cannot be bound, or its size differs from call to call.
    """
    if any(why_unbound(*each) for each in zip(session.get_outputs(), values, strict=True)):
        return None
    binding = _fed(session, feeds)
    for output, value in zip(session.get_outputs(), values, strict=True):
        binding.bind_ortvalue_output(output.name, value)
    call = partial(session.run_with_iobinding, binding)
    try:
        call()
    except Exception:  # what else fails fails without a binding too
        return None
    return call


def _fed(session: ort.InferenceSession, feeds: Mapping[str, ort.OrtValue]) -> ort.IOBinding:
    """A binding of the inputs, which it keeps: that of ONNX Runtime 1.23 does not."""
    binding = session.io_binding()
    for name, feed in feeds.items():
        binding.bind_ortvalue_input(name, feed)
    binding.feeds = feeds
    return binding


def _either(bound: Callable[[], object], unbound: Callable[[], object]) -> Callable[[], object]:
    """A call with buffers until an output does not fit its own: its size may differ by chance."""
    chosen = bound

    def call() -> None:
        nonlocal chosen
        try:
            chosen()
        except Exception:  # ONNX Runtime's own are of no common class
            chosen = unbound
            chosen()

    return call


def _unbound(
    session: ort.InferenceSession, feeds: Mapping[str, ort.OrtValue]
) -> Callable[[], object]:
    """A call for whose outputs ONNX Runtime allocates memory each time, as it does by default.

    They are bound anew each time: what an output holds from the call before stays in it.
    """
    names, binding = [output.name for output in session.get_outputs()], _fed(session, feeds)

    def call() -> None:
        binding.clear_binding_outputs()
        for name in names:
            binding.bind_output(name)
        session.run_with_iobinding(binding)

    return call


def why_unbound(output: ort.NodeArg, value: ort.OrtValue) -> str:
    """Why an output can have no buffer that stays, empty where it can."""
    if not value.has_value() or not value.is_tensor() or output.type.endswith("(string)"):
        return f"is of the kind {output.type}"
    shape = value.shape()
    fits = len(shape) == len(output.shape) and all(
        size == declared or not isinstance(declared, int)
        for size, declared in zip(shape, output.shape, strict=True)
    )
    if fits or not output.shape:  # a scalar, or of any rank
        return ""
    declared, found = ("x".join(map(str, each)) or "a scalar" for each in (output.shape, shape))
    return f"is declared as {declared} and is {found}"


def array(value: ort.OrtValue) -> NDArray[np.generic] | None:
    """An output as an array; None for what is no tensor, or of a type that numpy has not."""
    try:
        found: NDArray[np.generic] = value.numpy()
    except Exception:  # ONNX Runtime's have no common ancestor but this
        return None
    return found if isinstance(found, np.ndarray) else None


def _finite(values: Sequence[ort.OrtValue]) -> bool:
    arrays = (found for value in values if (found := array(value)) is not None)
    return all(np.isfinite(found).all() for found in arrays if found.dtype.kind == "f")


def _describe(
    session: ort.InferenceSession, values: Sequence[ort.OrtValue]
) -> list[dict[str, object]]:
    return [
        {"name": output.name, "type": output.type, "shape": list(value.shape())}
        if value.has_value() and value.is_tensor()
        else {"name": output.name, "type": output.type}
        for output, value in zip(session.get_outputs(), values, strict=True)
    ]

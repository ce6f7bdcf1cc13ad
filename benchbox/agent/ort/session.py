"""One graph in ONNX Runtime: opened, checked, and bound to its input and output buffers."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnxruntime as ort

from benchbox.agent.ort import inputs
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
) -> LoadedGraph:
    """Open the graph at `path` and run it once.

    Raises RuntimeError when the session runs on another provider than the one asked for, or when
    that one has none of its nodes: ONNX Runtime falls back to the CPU without an error. ONNX
    Runtime's own errors pass through.
    """
    start = time.perf_counter()
    providers = [provider] if provider == CPU else [provider, CPU]
    own = _provider_options(provider, session_options)
    session = ort.InferenceSession(path, session_options, providers, [own, {}][: len(providers)])
    load_s = time.perf_counter() - start
    nodes = _nodes(session)
    _require(provider, session.get_providers()[0], nodes)
    binding = session.io_binding()
    for tensor in tensors:
        array = inputs.make(tensor["name"], tensor["shape"], tensor["dtype"], seed)
        binding.bind_ortvalue_input(tensor["name"], ort.OrtValue.ortvalue_from_numpy(array))
    start = time.perf_counter()
    values = _first_call(session, binding)
    first_call_s = time.perf_counter() - start
    _bind_outputs(session, binding, values)
    call = partial(session.run_with_iobinding, binding)
    call()
    outputs = _describe(session, values)
    return LoadedGraph(call, load_s, first_call_s, _finite(values), outputs, nodes)


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
    total, elsewhere = sum(nodes.values()), " or ".join(nodes)
    raise RuntimeError(f"none of the graph's {total} nodes runs on {provider}, all on {elsewhere}")


def _first_call(session: ort.InferenceSession, binding: ort.IOBinding) -> list[ort.OrtValue]:
    for output in session.get_outputs():
        binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    return list(binding.get_outputs())


def _bind_outputs(
    session: ort.InferenceSession, binding: ort.IOBinding, values: Sequence[ort.OrtValue]
) -> None:
    """Keep the first call's output buffers, so that no later call allocates any."""
    binding.clear_binding_outputs()
    for output, value in zip(session.get_outputs(), values, strict=True):
        if value.is_tensor() and not output.type.endswith("(string)"):
            binding.bind_ortvalue_output(output.name, value)
        else:
            binding.bind_output(output.name)


def _finite(values: Sequence[ort.OrtValue]) -> bool:
    arrays = (value.numpy() for value in values if value.is_tensor())
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f")


def _describe(
    session: ort.InferenceSession, values: Sequence[ort.OrtValue]
) -> list[dict[str, object]]:
    return [
        {"name": output.name, "type": output.type, "shape": list(value.shape())}
        if value.is_tensor()
        else {"name": output.name, "type": output.type}
        for output, value in zip(session.get_outputs(), values, strict=True)
    ]

"""Export worker, the process that imports torch: builds, exports, verifies and counts a case.

    {"op": "build", "key": k, "reference": "module:callable", "file": path | null, "args": {...},
     "checkout": {"top", "folder", "commit", "ignored"} | null,
     "inputs": [{"name", "shape", "dtype", "values"?}, ...],
     "network": name | "", "weights": path | null, "conversion": "fp16" | ... | null}
    {"op": "inspect", "key": k, "file": path, "inputs": [...], "conversion": "fp16" | ... | null,
     "timed": bool}
    {"op": "outputs", "file": path, "inputs": [...], "seed": n, "to": path of an .npz}

A reply repeats "op", "key" and "word" of its request. A case that fails is answered by {"error":
sentence, "kind": "spec" | "storage" | "case" | "agent"} too: "spec" when no case of that builder
can work, "storage" when the cache cannot be written, "agent" when its process died. The graph
itself goes into the cache, under the key. A request with "fork": true is served by a child, which
ends with it: no builder meets what another left behind.
"""

import contextlib
import functools
import logging
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import costs, memory
from benchbox.agent import stdio
from benchbox.agent.ort import inputs, messages
from benchbox.agent.stdio import Message
from benchbox.errors import BenchboxError, CaseError, SpecError, StorageError
from benchbox.export import (
    cache,
    checkout,
    compared,
    entries,
    exporter,
    float16,
    fork,
    int8,
    modules,
    names,
    ort_call,
    reads,
)
from benchbox.export.batch_norm import folded
from benchbox.export.causes import cause
from benchbox.export.graph import MODEL, SEED, Graph
from benchbox.export.made_up import MadeUp, made_up, made_up_integers
from benchbox.export.verify import check_finite, difference, half_difference, unseen
from benchbox.specs import QUANTISED, Builder, Precision, onnx_file

if TYPE_CHECKING:
    import onnx
    import torch

    from benchbox.export.verify import Array

FEW = 8  # numbers of an input that may be scales, thresholds or a ratio
INLINE_BYTES = 1 << 30  # protobuf ends at 2 GiB; larger weights go to a file beside the model


def served(request: Mapping[str, Any]) -> Iterator[fork.Reply]:
    """Yield the one reply to a request, by a child where that is asked for."""
    if not request.get("fork"):
        yield from replies(request)
        return
    with contextlib.suppress(Exception):  # the child meets it again, and says it
        _import(request["op"], request.get("conversion"))
    yield fork.reply(request, replies)


def replies(request: Mapping[str, Any]) -> Iterator[fork.Reply]:
    """Yield the one reply to a request."""
    operation = {"build": build, "inspect": inspect, "outputs": outputs}.get(request.get("op", ""))
    try:
        if operation:
            operation(request)
        yield fork.echo(request)
    except (Exception, SystemExit) as error:  # a user's builder or a runtime may raise anything
        yield {**fork.echo(request), **_failure(error)}


def _failure(error: BaseException) -> dict[str, object]:
    if memory.ran_out(error):
        return {"error": memory.sentence("it needs more memory"), "kind": "case"}
    kinds = {SpecError: "spec", StorageError: "storage"}
    text = str(error) if isinstance(error, BenchboxError) else cause(error)
    return {
        "error": text,
        "kind": next((k for t, k in kinds.items() if isinstance(error, t)), "case"),
    }


@functools.cache
def _import(operation: str, conversion: Precision | None) -> None:
    """Have what a request needs in memory before its child is made: seconds for a torch module.

    The export is one of nothing: it computes nothing and starts no thread, which no fork survives.
    """
    import onnxruntime  # noqa: F401

    if conversion in QUANTISED:
        from onnxruntime.quantization import shape_inference  # noqa: F401
    if operation == "build":
        import onnxscript  # noqa: F401
        import torch

        torch.set_num_threads(1)
        exporter.program(torch.nn.Identity(), (torch.empty(1),), ["x"])


def build(request: Mapping[str, Any]) -> None:
    """Build the nn.Module, export it, and keep the graph if its output equals the module's.

    Raises SpecError for a builder that does not import or returns no module, CaseError when the
    output is not finite or the two runtimes disagree.
    """
    with (
        cache.new_entry(request["key"]) as folder,  # before a builder has moved the cache
        entries.scratch() as scratch,
    ):
        tensors, conversion = request["inputs"], request["conversion"]
        final_feeds = _feeds(tensors, SEED)
        feeds = float16.single(final_feeds) if conversion else final_feeds
        path, builder = folder / MODEL, _builder(request)
        first = scratch / MODEL if conversion else path
        with checkout.within(builder.checkout):
            with reads.recorded(builder) as files:
                module = modules.build(request)
                expected = compared.of_module(module, list(feeds.values()))
            _export(module, feeds, first)
        kind, chooser = modules.output_kind(module), compared.chooser(module)
        actual = compared.of_graph(first, feeds, chooser)
        error: float | None = difference(expected, actual, kind=kind)
        made = _tried(first, tensors, conversion)
        if conversion:
            error = _convert(conversion, first, path, _feeds(tensors, SEED, made), kind, chooser)
        model = _load(path)
        beside = sorted(p.name for p in folder.iterdir() if p.name != MODEL)
        graph = Graph(
            path=path,
            sha256=cache.digest(path, beside),
            cost=_cost(module, model, path, final_feeds),
            size_bytes=sum(p.stat().st_size for p in folder.iterdir()),
            opset=_opset(model),
            batch_norm=_batch_norm(module, model),
            max_abs_error=error,
            versions=cache.versions(),
            beside=beside,
            made_up=made,
            notes=[*unseen(expected, actual)],
        )
        cache.write_facts(folder, request["key"], graph, files)


def _builder(request: Mapping[str, Any]) -> Builder:
    path = None if request["file"] is None else Path(request["file"])
    return Builder(request["reference"], path, checkout=checkout.of(request["checkout"]))


def _convert(
    conversion: Precision,
    source: Path,
    target: Path,
    feeds: Mapping[str, "Array"],
    kind: str = "",
    chooser: str = "",
) -> float | None:
    """Convert a graph; return the largest difference of float16 outputs to the float32 ones.

    Raises CaseError where outputs are not finite, or those in float16 too far from the float32
    graph's. Quantised ones are not compared: random calibration data gives them no accuracy.
    """
    if conversion != "fp16":
        int8.quantise(source, target, feeds, is_dynamic=conversion == "int8-dynamic")
        check_finite(ort_call.run(target, feeds), f" in {conversion}")
        return None
    float16.halve(source, target)
    outputs = compared.of_graph(target, feeds, chooser)
    check_finite(outputs, " in float16, which ends at 65504")
    expected = compared.of_graph(source, float16.single(feeds), chooser)
    return half_difference(expected, outputs, kind)


def _cost(
    module: "torch.nn.Module", model: "onnx.ModelProto", path: Path, feeds: Mapping[str, "Array"]
) -> costs.Cost:
    """The cost of a graph, with the params of its module, as papers count them.

    The graph has fewer where batch norms are folded away, and none that are never used.
    """
    shapes = {name: array.shape for name, array in feeds.items()}
    counted = costs.count(model, shapes)
    if counted.uncounted or counted.memory_access_bytes is None:
        unknown = costs.unknown_tensors(model, shapes)
        counted = costs.count(model, shapes, ort_call.observe(model, path, feeds, unknown))
    params = sum(p.numel() for p in module.parameters())
    return replace(counted, params=params, graph_params=counted.params)


def inspect(request: Mapping[str, Any]) -> None:
    """Run an .onnx file, or what it is converted to, once, count its cost, and cache these facts.

    One that is not to be timed is counted only, without a run where its sizes can be inferred.
    Raises GraphError for a malformed file.
    """
    path = Path(request["file"])
    model = onnx_file.read(path)
    onnx_file.require_weights(path, model)
    costs.require_few_nodes(model)  # ONNX Runtime would write them out for minutes
    with cache.new_entry(request["key"]) as folder:
        graph = _inspected(path, folder, request)
        cache.write_facts(folder, request["key"], graph)


def _inspected(path: Path, folder: Path, request: Mapping[str, Any]) -> Graph:
    tensors, error, outputs = request["inputs"], None, list[ort_call.Output]()
    if conversion := request["conversion"]:
        made, path, source = _tried(path, tensors, conversion), folder / MODEL, path
        error = _convert(conversion, source, path, _feeds(tensors, SEED, made))
    else:
        made = made_up(onnx_file.read(path), tensors)
        if request["timed"]:
            made, outputs = _called(path, tensors, made)
    model = onnx_file.read(path)
    shapes = {each["name"]: each["shape"] for each in tensors}
    cost, observed = costs.count(model, shapes), dict[str, tuple[int, ...]]()
    if cost.uncounted or cost.memory_access_bytes is None:  # a run may show what the graph does not
        unknown = costs.unknown_tensors(model, shapes)
        observed = ort_call.observe(model, path, _feeds(tensors, SEED, made), unknown)
        cost = costs.count(model, shapes, observed)
    beside = onnx_file.external_files(path)
    files = [path, *(path.parent / name for name in beside)]
    return Graph(
        path=path,
        sha256=cache.digest(path, beside),
        cost=cost,
        size_bytes=sum(file.stat().st_size for file in files),
        opset=_opset(model),
        batch_norm=_batch_norm(None, model),
        max_abs_error=error,
        versions=cache.versions(),
        beside=beside,
        observed=observed,
        made_up=made,
        notes=[*_empty(tensors, outputs), *(note for each in outputs for note in each.notes())],
        finite=not any(output.not_finite() for output in outputs),
    )


def _called(
    path: Path, tensors: Sequence[Message], made: MadeUp
) -> tuple[MadeUp, list[ort_call.Output]]:
    """A way to make integers on which the graph runs, and its outputs on them.

    Where it does not run on those that are `made` for it, they are 0 or 1, else all 1 or all 0, as
    sizes and axes may have to be, else floats of few numbers are, as scales and thresholds may have
    to be. Raises CaseError where it runs on none of these.
    """
    runtime = ort_call.opened(path)
    every, reason = made_up_integers(tensors), ""
    few = [t["name"] for t in tensors if _may_be_setting(t)]
    bounded = {name: how for name, how in made.items() if how}
    ways: list[MadeUp] = [made]
    if every:
        ways.append({name: {} for name in made})
        ways += [{key: {"number": n} for key in every} | b for b in (bounded, {}) for n in (1, 0)]
    ways += [{**made, **{name: {"number": n} for name in few}} for n in (1, 0) if few]
    for way in ways:
        try:
            return way, ort_call.call(runtime, _feeds(tensors, SEED, way))
        except Exception as error:  # ONNX Runtime's have no common ancestor but this
            if memory.ran_out(error):
                raise
            reason = reason or stdio.sentence(error)
    named = [name for name in (*every, *few) if re.search(rf"\b{re.escape(name)}\b", reason)]
    options = " ".join(f"--input {name}=FILE.npy" for name in named or every or few)
    advice = f"; values were made up: give them with {options}" if options else ""
    raise CaseError(reason.removesuffix(f"; {messages.GIVE}") + advice)


def _may_be_setting(tensor: Message) -> bool:
    """Whether an input without values is of a few floats."""
    is_float = tensor["dtype"] in inputs.FLOATS and "values" not in tensor
    return is_float and math.prod(tensor["shape"]) <= FEW


def _empty(tensors: Sequence[Message], given: Sequence[ort_call.Output]) -> Iterator[str]:
    """The advice on a graph that computes nothing because an input is declared empty."""
    empty = [each["name"] for each in tensors if 0 in each["shape"]]
    if empty and given and all(o.array is not None and not o.array.size for o in given):
        yield f"nothing is computed: input {empty[0]} is empty by its declaration"


def _tried(path: Path, tensors: Sequence[Message], conversion: Precision | None) -> MadeUp:
    """A way to make integers for a graph that ran on 0 and 1, or that is to be converted."""
    if conversion:  # it is in float32 as yet
        tensors = [{**t, "dtype": "float32"} if t["dtype"] == "float16" else t for t in tensors]
    made = made_up(onnx_file.read(path), tensors)
    return _called(path, tensors, made)[0] if any(made.values()) else made


def outputs(request: Mapping[str, Any]) -> None:
    """Run a graph once and write its outputs in order; raises CaseError unless all are finite."""
    import numpy as np

    feeds = _feeds(request["inputs"], request["seed"])
    found = ort_call.run(Path(request["file"]), feeds)
    check_finite(found)
    np.savez(request["to"], *found)


def _feeds(tensors: Sequence[Message], seed: int, made: MadeUp | None = None) -> dict[str, "Array"]:
    """The inputs of a call, with integers as they are `made` for the graph."""
    return {
        each["name"]: inputs.of({"values": (made or {}).get(each["name"]), **each}, seed)
        for each in tensors
    }


def _export(module: "torch.nn.Module", feeds: Mapping[str, "Array"], path: Path) -> None:
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    arrays = tuple(torch.from_numpy(array) for array in feeds.values())
    program = exporter.program(folded(module, arrays), arrays, list(feeds))
    names.assign(program.model)
    # The exporter notes source lines with their folders; equal modules must give equal bytes.
    ClearMetadataAndDocStringPass()(program.model)
    weights = sum(p.numel() * p.element_size() for p in module.state_dict().values())
    program.save(str(path), external_data=weights > INLINE_BYTES)


def _load(path: Path) -> "onnx.ModelProto":
    import onnx

    return onnx.load(str(path), load_external_data=False)


def _opset(model: "onnx.ModelProto") -> int:
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _batch_norm(module: "torch.nn.Module | None", model: "onnx.ModelProto") -> str:
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        return "kept"
    if module is None:
        return "none"
    import torch

    norms = torch.nn.modules.batchnorm._BatchNorm
    return "folded" if any(isinstance(m, norms) for m in module.modules()) else "none"


def main() -> None:
    """Serve on stdin and stdout."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # The last line on stderr tells why a process died; the exporter's remarks must not be it.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    memory.set_limit()
    stdio.serve(served)


if __name__ == "__main__":
    main()

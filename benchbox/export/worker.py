"""Export worker, the process that imports torch: builds, exports, verifies and counts a case.

    {"op": "build", "key": k, "reference": "module:callable", "file": path | null, "args": {...},
     "inputs": [[name, shape, dtype], ...],
     "network": name | "", "weights": path | null, "halved": bool} -> {"reply": "build"}
    {"op": "inspect", "key": k, "file": path, "inputs": [...], "halved": bool}
                                                              -> {"reply": "inspect"}
    {"op": "outputs", "file": path, "inputs": [...], "seed": n, "to": path of an .npz}
                                                              -> {"reply": "outputs"}

A case that fails is answered by {"error": sentence, "kind": "spec" | "storage" | "case"}: "spec"
when no case of that builder can work, "storage" when the cache cannot be written. The graph itself
goes into the cache, under the key.
"""

import contextlib
import functools
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import costs
from benchbox.agent import stdio
from benchbox.agent.ort import inputs
from benchbox.errors import BenchboxError, SpecError, StorageError
from benchbox.export import cache, float16, modules, ort_call
from benchbox.export.batch_norm import folded
from benchbox.export.graph import MODEL, OPSET, SEED, Graph
from benchbox.export.user_builder import own_modules
from benchbox.export.verify import check_finite, difference, half_difference
from benchbox.specs import onnx_file

if TYPE_CHECKING:
    import onnx
    import torch

    from benchbox.export.verify import Array

INLINE_BYTES = 1 << 30  # protobuf ends at 2 GiB; larger weights go to a file beside the model


def replies(request: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Yield the one reply to a request."""
    op = request.get("op")
    try:
        if op == "build":
            import onnxscript  # noqa: F401 - with torch, before what a build imports is its own
            import torch  # noqa: F401

            with own_modules():
                build(request)
        elif op == "inspect":
            inspect(request)
        elif op == "outputs":
            outputs(request)
        yield {"reply": op}
    except SpecError as error:
        yield {"reply": op, "error": str(error), "kind": "spec"}
    except StorageError as error:
        yield {"reply": op, "error": str(error), "kind": "storage"}
    except BenchboxError as error:
        yield {"reply": op, "error": str(error), "kind": "case"}
    except Exception as error:  # a user's builder or a runtime may raise anything
        yield {"reply": op, "error": stdio.sentence(error), "kind": "case"}


def build(request: Mapping[str, Any]) -> None:
    """Build the nn.Module, export it, and keep the graph if its output equals the module's.

    Raises SpecError for a builder that does not import or returns no module, CaseError when the
    output is not finite or the two runtimes disagree.
    """
    module = modules.build(request)
    final_feeds = _feeds(request["inputs"], SEED)
    feeds = float16.single(final_feeds) if request["halved"] else final_feeds
    expected = modules.call(module, list(feeds.values()))
    with cache.new_entry(request["key"]) as folder, tempfile.TemporaryDirectory() as scratch:
        path = folder / MODEL
        first = Path(scratch) / MODEL if request["halved"] else path
        _export(module, feeds, first)
        actual = ort_call.run(first, feeds)
        error = difference(expected, actual)
        if request["halved"]:
            error = _halve(first, path, final_feeds, actual)
        model = _load(path)
        beside = sorted(p.name for p in folder.iterdir() if p.name != MODEL)
        graph = Graph(
            path=path,
            sha256=cache.digest(path, beside),
            cost=_cost(module, model, feeds),
            size_bytes=sum(p.stat().st_size for p in folder.iterdir()),
            opset=_opset(model),
            batch_norm=_batch_norm(module, model),
            max_abs_error=error,
            versions=cache.versions(),
            beside=beside,
        )
        (folder / cache.FACTS).write_text(json.dumps(graph.facts()))


def _halve(
    source: Path, target: Path, feeds: Mapping[str, "Array"], expected: Sequence["Array"]
) -> float:
    """Convert a graph to float16; return the largest difference of its outputs to `expected`.

    Raises CaseError where they are not finite, or too far from those of the float32 graph.
    """
    float16.halve(source, target)
    outputs = ort_call.run(target, feeds)
    check_finite(outputs, " in float16, which ends at 65504")
    return half_difference(expected, outputs)


def _cost(
    module: "torch.nn.Module", model: "onnx.ModelProto", feeds: Mapping[str, "Array"]
) -> costs.Cost:
    """The cost of a graph, with the params of its module, as papers count them.

    The graph has fewer where batch norms are folded away, and none that are never used.
    """
    counted = costs.count(model, {name: array.shape for name, array in feeds.items()})
    return replace(counted, params=sum(p.numel() for p in module.parameters()))


def inspect(request: Mapping[str, Any]) -> None:
    """Run an .onnx file or its float16 version once, count its cost, and cache these facts.

    Raises GraphError for a malformed file, or one with an output that is no tensor, CaseError when
    an output is not finite.
    """
    onnx_file.require_tensors(Path(request["file"]), onnx_file.read(Path(request["file"])))
    path, feeds = Path(request["file"]), _feeds(request["inputs"], SEED)
    with cache.new_entry(request["key"]) as folder:
        error = None
        if request["halved"]:
            path, source = folder / MODEL, path
            error = _halve(source, path, feeds, ort_call.run(source, float16.single(feeds)))
        graph = _inspected(path, feeds, error)
        (folder / cache.FACTS).write_text(json.dumps(graph.facts()))


def _inspected(path: Path, feeds: Mapping[str, "Array"], error: float | None) -> Graph:
    model = onnx_file.read(path)
    shapes = {name: array.shape for name, array in feeds.items()}
    check_finite(ort_call.run(path, feeds))
    observed = ort_call.observe(model, path, feeds, costs.unknown_tensors(model, shapes))
    beside = onnx_file.external_files(path)
    files = [path, *(path.parent / name for name in beside)]
    return Graph(
        path=path,
        sha256=cache.digest(path, beside),
        cost=costs.count(model, shapes, observed),
        size_bytes=sum(file.stat().st_size for file in files),
        opset=_opset(model),
        batch_norm=_batch_norm(None, model),
        max_abs_error=error,
        versions=cache.versions(),
        beside=beside,
    )


def outputs(request: Mapping[str, Any]) -> None:
    """Run a graph once and write its outputs in order; raises CaseError unless all are finite."""
    import numpy as np

    feeds = _feeds(request["inputs"], request["seed"])
    found = ort_call.run(Path(request["file"]), feeds)
    check_finite(found)
    np.savez(request["to"], *found)


def _feeds(tensors: Sequence[Sequence[Any]], seed: int) -> dict[str, "Array"]:
    return {name: inputs.make(name, shape, dtype, seed) for name, shape, dtype in tensors}


def _export(module: "torch.nn.Module", feeds: Mapping[str, "Array"], path: Path) -> None:
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    _keep_operator_table()
    arrays = tuple(torch.from_numpy(array) for array in feeds.values())
    program = torch.onnx.export(
        folded(module, arrays),
        arrays,
        dynamo=True,
        optimize=True,
        verbose=False,
        opset_version=OPSET,
        input_names=list(feeds),
    )
    assert program is not None
    # The exporter notes source lines with their folders; equal modules must give equal bytes.
    ClearMetadataAndDocStringPass()(program.model)
    weights = sum(p.numel() * p.element_size() for p in module.state_dict().values())
    program.save(str(path), external_data=weights > INLINE_BYTES)


@functools.cache
def _keep_operator_table() -> None:
    """Have torch's exporter make its table of operators once, not for every graph: half the time.

    It has no public name; where that has changed, exports take longer.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        make = functools.cache(ONNXRegistry.from_torchlib)
        ONNXRegistry.from_torchlib = staticmethod(make)  # type: ignore[method-assign]


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
    stdio.serve(replies)


if __name__ == "__main__":
    main()

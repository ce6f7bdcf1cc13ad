"""PyTorch's own modules on the GPU, beside ONNX Runtime's graphs."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.cuda.bench import Bench, failures

BRIEF = ("--sessions", "1", "--max-time", "5s")
ASKED = ("g2:scale=1", "g4:scale=1", "--device", "cuda", *BRIEF)
LONGER = 1.02  # than its latency no span is, but for what the two medians are of


def torch(bench: Bench) -> str:
    """PyTorch, eager and captured, computes what ONNX Runtime does, and is timed beside it."""
    return _beside(bench, "cuda", "torch", "torch-cudagraph")


def compiled(bench: Bench) -> str:
    """PyTorch's compiler, likewise."""
    return _beside(bench, "cuda", "torch-compile")


def _beside(bench: Bench, *providers: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        by = ("--provider", ",".join(providers))
        found = bench.records(Path(folder), *ASKED, *by)
    assert len(found) == len(providers), f"only {', '.join(found)}"
    for name, records in found.items():
        assert not failures(records), f"{name}: {failures(records)[0]}"
        for record in records:
            _measured_there(name, record)
    first, *others = found
    ours = {r["case"]: r["latency"]["p50_s"] for r in found[first]}
    ratios = {
        name: median(r["latency"]["p50_s"] / ours[r["case"]] for r in found[name])
        for name in others
    }
    told = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in ratios.items())
    shares = ", ".join(f"{name} {_launch(records)}" for name, records in found.items())
    return f"p50 over that of {first}, in the middle: {told}; launch share: {shares}"


def _launch(records: Sequence[Mapping[str, Any]]) -> str:
    shares = [r["spans"]["launch_share"] for r in records if r.get("spans")]
    return f"{median(shares):.0%}" if shares else "unknown"


def _measured_there(name: str, record: Mapping[str, Any]) -> None:
    """A row of PyTorch's has all that one of ONNX Runtime's has."""
    case, spans = f"{name}: {record['case']}", record.get("spans")
    assert record.get("latency"), f"{case} has no latency: {record['reason']}"
    assert record["gpu_bytes"] is not None, f"{case}: its memory is not known"
    for figure in ("spans_ns", "copies_ns", "marks"):
        assert all(burst[figure] for burst in record["bursts"]), f"{case}: no {figure}"
    if spans:  # which come from quiet calls alone
        assert 0 < spans["span_s"] <= record["latency"]["p50_s"] * LONGER, f"{case}: {spans}"

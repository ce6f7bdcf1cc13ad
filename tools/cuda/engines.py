"""What a provider computes on the GPU, beside the processor; and TensorRT's engines."""

import tempfile
from pathlib import Path
from typing import Any

from benchbox.devices import providers
from tools.cuda import needs
from tools.cuda.bench import Bench, NotRun, failures

CLOSE = 1e-3  # of float32 without TF32, summed up in another order
SPREAD = 1.02
BOTH = ("--provider", "cuda,tensorrt", "--mode", "graph,eager")
NAMES = ("g2:groups=1,scale=1", "g2:groups=8,scale=1")
ASKED = (*NAMES, "--device", "cuda", *BOTH, "--quick")


def alike(bench: Bench, *provider: str) -> str:
    """The GPU computes what the processor does, by CUDA or by the provider named."""
    apart: dict[str, Any] = bench.answer("outputs", *provider)
    wrong = [f"{name}: {what}" for name, what in apart.items() if isinstance(what, str)]
    assert not wrong, "; ".join(wrong)
    worst = max(apart, key=lambda name: apart[name])
    assert apart[worst] <= CLOSE, f"{worst} differs by {apart[worst]:.2g}, {CLOSE:g} is allowed"
    return f"{len(apart)} graphs, the worst is {worst} with {apart[worst]:.1g}"


def tensorrt(bench: Bench) -> str:
    """TensorRT computes what the processor does, eager and captured, and has all of the nodes."""
    if missing := needs.missing(providers.TENSORRT):
        raise NotRun(missing)
    outputs = alike(bench, "tensorrt")
    with tempfile.TemporaryDirectory() as folder:
        found = bench.records(Path(folder), *ASKED)
    assert len(found) == 4, f"only {', '.join(found)}"
    for name, records in found.items():
        assert not failures(records), f"{name}: {failures(records)[0]}"
        own = providers.TENSORRT if "tensorrt" in name else providers.CUDA
        for record in records:
            assert list(record["nodes"]) == [own], f"{name}: {record['nodes']}"
            assert record["spans"]["span_s"] <= record["latency"]["p50_s"] * SPREAD, name
    spans_s = {name: sum(r["spans"]["span_s"] for r in records) for name, records in found.items()}
    ratio = spans_s["cuda-tensorrt-graph"] / spans_s["cuda-graph"]
    load_s = max(record["load_s"] for record in found["cuda-tensorrt-graph"])
    return f"{outputs}; spans are {ratio:.2f}x those of CUDA; engines took up to {load_s:.1f} s"

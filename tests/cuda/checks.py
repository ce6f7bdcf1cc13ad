"""The checks: each returns what it saw, and raises AssertionError where that is wrong."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cuda.bench import Bench, NotRun, failures

THREE = ("g2:groups=1,scale=1", "g2:groups=8,scale=1", "g3:scale=1")
SOME = ("g2:scale=1",)
BRIEF = ("--sessions", "1", "--max-time", "8s")
CLOSE = 1e-3  # of float32 without TF32, summed up in another order
SPANS_APART = 0.03
SPREAD = 1.02
RUNS = 5


def refusals(bench: Bench) -> str:
    """What cannot be timed is refused in one line, with its exit code."""
    asked: list[tuple[int, tuple[str, ...], Mapping[str, str]]] = [
        (6, ("--device", "cuda:99"), {}),
        (6, ("--device", "cuda"), {"CUDA_VISIBLE_DEVICES": ""}),
        (2, ("--device", "cpu", "--provider", "CUDAExecutionProvider"), {}),
        (2, ("--device", "cpu", "--provider", "tensorrt"), {}),
        (2, ("--device", "cpu", "--mode", "eager"), {}),
        (2, ("--device", "cuda", "--mode", "fast"), {}),
        (2, ("--device", "cuda", "--threads", "2"), {}),
    ]
    for code, options, env in asked:
        ended = bench.run("run", "g2", *options, env=env)
        said = f"{' '.join(options)} ended with {ended.code}: {ended.error.strip()}"
        assert ended.code == code, said
        assert len(ended.lines) == 1, said
    return f"{len(asked)} refusals in one line each"


def outputs(bench: Bench) -> str:
    """The GPU computes what the processor does, launched kernel by kernel or replayed."""
    apart: dict[str, float] = bench.answer("outputs")
    worst = max(apart, key=lambda name: apart[name])
    assert apart[worst] <= CLOSE, f"{worst} differs by {apart[worst]:.2g}, {CLOSE:g} is allowed"
    return f"{len(apart)} graphs, the worst is {worst} with {apart[worst]:.1g}"


def spans(bench: Bench) -> str:
    """Spans are what torch's profiler says of the kernels."""
    found: dict[str, Any] = bench.answer("profiled")
    if "not run" in found:
        raise NotRun(found["not run"])
    ratios = {name: span / kernel for name, (span, kernel) in found.items()}
    text = ", ".join(f"{name}: {ratio:.3f}" for name, ratio in ratios.items())
    assert all(abs(ratio - 1) <= SPANS_APART for ratio in ratios.values()), text
    return f"span over kernel time {text}"


def modes(bench: Bench) -> str:
    """Eager and graph, hot and cold: all on CUDA, and cold is not faster than hot."""
    with tempfile.TemporaryDirectory() as folder:
        both = ("--device", "cuda", "--mode", "graph,eager", *BRIEF)
        hot = bench.records(Path(folder) / "hot", *SOME, *both)
        cold = bench.records(Path(folder) / "cold", *SOME, *both, "--cache", "cold")
    found = {
        f"{name} {heat}": r for heat, d in (("hot", hot), ("cold", cold)) for name, r in d.items()
    }
    for name, records in found.items():
        assert not failures(records), f"{name}: {failures(records)[0]}"
        for record in records:
            assert record["nodes"] == {"CUDAExecutionProvider": sum(record["nodes"].values())}, name
            assert record["spans"]["span_s"] <= record["latency"]["p50_s"] * SPREAD, name
    spans_s = {name: sum(r["spans"]["span_s"] for r in records) for name, records in found.items()}
    for mode in ("cuda-graph", "cuda-eager"):
        assert spans_s[f"{mode} hot"] <= spans_s[f"{mode} cold"] * SPREAD, str(spans_s)
    waits = {name: sum(r["latency"]["p50_s"] for r in records) for name, records in found.items()}
    saved = waits["cuda-eager hot"] / waits["cuda-graph hot"]
    chill = spans_s["cuda-graph cold"] / spans_s["cuda-graph hot"]
    return f"eager waits {saved:.2f}x as long as graph; cold spans are {chill:.2f}x hot ones"


def neighbour(bench: Bench) -> str:
    """NVML sees another process that computes on the GPU, and the record says so."""
    busy = subprocess.Popen(
        [sys.executable, "-m", "tests.cuda.busy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=bench.environment(),
    )
    assert busy.stdin is not None and busy.stdout is not None, "piped"
    try:
        assert busy.stdout.readline() == b"busy\n", "the second process did not start"
        with tempfile.TemporaryDirectory() as folder:
            found = bench.records(Path(folder), *SOME, "--device", "cuda", "--quick")
    finally:
        busy.stdin.close()
        busy.wait(30)
    bursts = [burst for record in found["cuda"] for burst in record["bursts"]]
    told = [burst for burst in bursts if "gpu_other_processes" in burst.get("seen", {})]
    if not told:
        raise NotRun("NVML does not tell of processes here")
    shared = sum("gpu_shared" in burst.get("tags", ()) for burst in bursts) / len(bursts)
    assert shared > 0.5, f"only {shared:.0%} of the bursts are tagged"
    return f"{shared:.0%} of the bursts are tagged"


def spread(bench: Bench) -> str:
    """Five whole runs of three graphs agree."""
    p50s: dict[str, list[float]] = {}
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            found = bench.records(Path(folder), *THREE, "--device", "cuda", *BRIEF)
        assert not failures(found["cuda"]), failures(found["cuda"])[0]
        for record in found["cuda"]:
            p50s.setdefault(record["case"], []).append(record["latency"]["p50_s"])
    ratios = {case: max(each) / min(each) for case, each in p50s.items()}
    worst = max(ratios, key=lambda case: ratios[case])
    text = f"largest over smallest p50 of {RUNS} runs: at most {ratios[worst]:.3f} ({worst})"
    assert ratios[worst] <= SPREAD, text
    return text


def ceilings(bench: Bench) -> str:
    """The GPU tells what it is, and its best is measured."""
    ended = bench.run("device", "check", "cuda")
    assert ended.code == 0, ended.error.strip()
    lines = ended.out.splitlines()
    kept = [line for line in lines if line.startswith("GPU") or " best " in line]
    return "; ".join(" ".join(line.split()) for line in kept)


def guidelines(bench: Bench) -> str:
    """`run all --device cuda`, into the results."""
    return _kept(bench, "all", "--max-time", "70s")


def networks(bench: Bench) -> str:
    """`run models --device cuda` at batch 1 and 8, into the results."""
    parts = [_kept(bench, "models", "--batch", batch, "--max-time", "45s") for batch in ("1", "8")]
    return "; ".join(parts)


def _kept(bench: Bench, name: str, *options: str) -> str:
    ended = bench.run(
        "run",
        name,
        "--device",
        "cuda",
        "--sessions",
        "1",
        *options,
        "--results",
        str(bench.results),
    )
    print(ended.out)
    assert ended.code == 0, "; ".join([f"{name} ended with {ended.code}", *ended.lines[-1:]])
    return f"{name}: {ended.lines[-1]}"


CHECKS: Mapping[str, Callable[[Bench], str]] = {
    "refusals": refusals,
    "ceilings": ceilings,
    "outputs": outputs,
    "spans": spans,
    "modes": modes,
    "neighbour": neighbour,
    "spread": spread,
    "guidelines": guidelines,
    "networks": networks,
}

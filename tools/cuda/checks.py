"""The checks: each returns what it saw, and raises AssertionError where that is wrong."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tools.cuda import engines, kept, modules
from tools.cuda.bench import BLIND, Bench, Ended, NotRun, TooLong, failures

THREE = ("g2:groups=1,scale=1", "g2:groups=8,scale=1", "g3:scale=1")
SOME = ("g2:scale=1",)
BRIEF = ("--sessions", "1", "--max-time", "5s")
CUDA = ("--device", "cuda")
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
SPANS_APART = 0.03
SPREAD = 1.02
RUNS = 5
SLOWER = 1.1  # a probe that another process disturbs

REFUSALS: Sequence[tuple[int, tuple[str, ...], Mapping[str, str]]] = (
    (6, ("run", "g2", "--device", "cuda:99"), {}),
    (6, ("run", "g2", *CUDA), NO_GPU),
    (6, ("run", "g2", *CUDA, "--provider", "torch"), NO_GPU),
    (6, ("device", "check", "cuda"), NO_GPU),
    (6, ("run", "g2", "--device", "cudda"), {}),
    (6, ("run", "g2", "--device", "cpu", "--provider", "torch-cudagraph"), {}),
    (2, ("run", "g2", "--device", "cpu", "--provider", "CUDAExecutionProvider"), {}),
    (2, ("run", "g2", "--device", "cpu", "--provider", "tensorrt"), {}),
    (2, ("run", "g2", "--device", "cpu", "--mode", "graph"), {}),
    (2, ("run", "g2", "--device", "cpu", "--cache", "cold"), {}),
    (2, ("run", "g2", *CUDA, "--mode", "fast"), {}),
    (2, ("run", "g2", *CUDA, "--threads", "2"), {}),
    (2, ("run", "g2", *CUDA, "--provider", "tensorrt", "--conv-search", "default"), {}),
)


@dataclass(frozen=True)
class Check:
    """One check by its name, with the seconds that it may take."""

    name: str
    make: Callable[[Bench], str]
    limit_s: float


def refusals(bench: Bench) -> str:
    """What cannot be timed is refused in one line, with its exit code."""

    def refused(asked: tuple[int, tuple[str, ...], Mapping[str, str]]) -> Ended:
        return bench.run(*asked[1], env=asked[2])

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(refused, REFUSALS))
    wrong = [
        f"{' '.join(arguments)} ended with {each.code}, not {code}: {each.error.strip()}"
        for (code, arguments, _), each in zip(REFUSALS, ended, strict=True)
        if each.code != code or len(each.lines) != 1 or each.cut
    ]
    assert not wrong, f"{len(wrong)} of {len(REFUSALS)}: {'; '.join(wrong)}"
    return f"{len(REFUSALS)} refusals in one line each"


def outputs(bench: Bench) -> str:
    """The GPU computes what the processor does, launched kernel by kernel or replayed."""
    return engines.alike(bench)


def spans(bench: Bench) -> str:
    """Spans are what torch's profiler says of the same calls."""
    found: dict[str, Any] = bench.answer("profiled")
    ratios = {name: pair[0] / pair[1] for name, pair in found.items() if not isinstance(pair, str)}
    unseen = [f"{name}: {why}" for name, why in found.items() if isinstance(why, str)]
    if all(why == BLIND for why in found.values()):
        raise NotRun(BLIND)
    text = ", ".join([*(f"{name}: {ratio:.3f}" for name, ratio in ratios.items()), *unseen])
    apart = any(abs(ratio - 1) > SPANS_APART for ratio in ratios.values())
    assert not (unseen or apart), text
    return f"span over the profiler's {text}"


def modes(bench: Bench) -> str:
    """Eager and graph, hot and cold: all on CUDA, and cold is not faster than hot."""
    with tempfile.TemporaryDirectory() as folder:
        both = (*CUDA, "--mode", "graph,eager", *BRIEF)
        hot = bench.records(Path(folder) / "hot", *SOME, *both)
        cold = bench.records(Path(folder) / "cold", *SOME, *both, "--cache", "cold")
    found = {
        f"{name} {heat}": r for heat, d in (("hot", hot), ("cold", cold)) for name, r in d.items()
    }
    for name, records in found.items():
        assert not failures(records), f"{name}: {failures(records)[0]}"
        for record in records:
            case = f"{name}: {record['case']}"
            assert record.get("latency"), f"{case} has no latency: {record.get('reason')}"
            assert record.get("spans"), f"{case} has no spans"
            assert record["nodes"] == {"CUDAExecutionProvider": sum(record["nodes"].values())}, name
            assert record["spans"]["span_s"] <= record["latency"]["p50_s"] * SPREAD, name
    spans_s = {name: sum(r["spans"]["span_s"] for r in records) for name, records in found.items()}
    unheld = max(r["spans"].get("unheld_share", 0.0) for d in found.values() for r in d)
    waits = {name: sum(r["latency"]["p50_s"] for r in records) for name, records in found.items()}
    saved = waits["cuda-eager hot"] / waits["cuda-graph hot"]
    chill = spans_s["cuda-graph cold"] / spans_s["cuda-graph hot"]
    text = (
        f"eager waits {saved:.2f}x as long as graph; cold spans are {chill:.2f}x hot ones; "
        f"at most {unheld:.0%} of spans unheld"
    )
    for mode in ("cuda-graph", "cuda-eager"):
        assert spans_s[f"{mode} hot"] <= spans_s[f"{mode} cold"] * SPREAD, f"{text}; {spans_s}"
    return text


def neighbour(bench: Bench) -> str:
    """Another process that computes on the GPU is seen by NVML, or felt by the probes."""
    asked = (*SOME, *CUDA, "--quick")
    with tempfile.TemporaryDirectory() as folder:
        quiet = bench.records(Path(folder) / "quiet", *asked)["cuda"]
        with bench.started("-m", "tools.cuda.busy") as busy:
            assert busy.stdout is not None and busy.stderr is not None, "piped"
            if busy.stdout.readline() != "busy\n":
                raise AssertionError(f"the second process did not start: {busy.stderr.read()}")
            shared = bench.records(Path(folder) / "shared", *asked)["cuda"]
    bursts = [burst for record in shared for burst in record["bursts"]]
    counted = [b for b in bursts if b.get("seen", {}).get("gpu_other_processes")]
    told = sum("gpu_shared" in b.get("tags", ()) for b in bursts) / max(1, len(bursts))
    slower = _probed(shared) / _probed(quiet)
    shares = [r["latency"]["quiet_share"] for r in shared if r.get("latency")]
    text = (
        f"NVML counts others in {len(counted)} of {len(bursts)} bursts, {told:.0%} are tagged; "
        f"the probe is {slower:.2f}x as slow; {median(shares or [0]):.0%} of the samples are quiet"
    )
    assert told > 0.5 or slower > SLOWER, f"unnoticed: {text}"
    return text


def _probed(records: Sequence[Mapping[str, Any]]) -> float:
    """The middle reading of the probe in some records, in ns."""
    marks = [ns for r in records for burst in r["bursts"] for _, ns in burst["marks"]]
    assert marks, "no probe was read"
    return float(median(marks))


def spread(bench: Bench) -> str:
    """Five whole runs of three graphs agree."""
    p50s: dict[str, list[float]] = {}
    took_s = 0.0
    for run in range(RUNS):
        if bench.left_s < took_s * 1.2:
            raise TooLong(f"{run} of {RUNS} runs; {_spread(p50s)[1]}")
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = bench.records(Path(folder), *THREE, *CUDA, *BRIEF)["cuda"]
        assert not failures(found), failures(found)[0]
        for record in found:
            if record.get("latency"):
                key = f"{record['spec']}:{record['case']}"
                p50s.setdefault(key, []).append(record["latency"]["p50_s"])
        took_s = time.monotonic() - begin
    worst, text = _spread(p50s)
    assert worst <= SPREAD, text
    return f"{RUNS} runs: {text}"


def _spread(p50s: Mapping[str, Sequence[float]]) -> tuple[float, str]:
    """The largest ratio of two p50s of a case, and that in words."""
    ratios = {case: max(each) / min(each) for case, each in p50s.items()}
    assert ratios, "no case was timed"
    worst = max(ratios, key=lambda case: ratios[case])
    return ratios[worst], (
        f"largest over smallest p50 at most {ratios[worst]:.3f} ({worst}), "
        f"median {median(ratios.values()):.3f} of {len(ratios)} cases"
    )


def ceilings(bench: Bench) -> str:
    """The GPU tells what it is, and its best is measured, by torch and then for good."""
    by_torch = _best(bench, "--provider", "torch")
    return f"{_best(bench)}; by torch {by_torch}"


def _best(bench: Bench, *by: str) -> str:
    ended = bench.run("device", "check", "cuda", *by)
    assert ended.code == 0, ended.said
    print(ended.out, flush=True)
    lines = ended.out.splitlines()
    told = [line for line in lines if line.startswith("GPU") or " best " in line]
    assert len(told) > 1, ended.out
    return "; ".join(" ".join(line.split()) for line in told)


def doctor(bench: Bench) -> str:
    """The GPU is looked at before it is measured on."""
    ended = bench.run("doctor", *CUDA, "--seconds", "3")
    assert ended.code == 0, ended.said
    print(ended.out, flush=True)
    return ended.out.strip().splitlines()[0]


# Before those of every day; what it leaves of the time is theirs.
PREPARING = Check("graphs", kept.graphs, 240)
CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("refusals", refusals, 45),
        Check("ceilings", ceilings, 70),
        Check("doctor", doctor, 30),
        Check("outputs", outputs, 60),
        Check("spans", spans, 80),
        Check("modes", modes, 70),
        Check("neighbour", neighbour, 50),
        Check("guidelines", kept.guidelines, 120),
        Check("networks", kept.networks, 110),
        Check("torch", modules.torch, 70),
        Check("spread", spread, 110),
    )
}
# Only where they are named: each takes some minutes.
LONGER: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("reference", kept.reference, 570),
        Check("all-guidelines", kept.all_guidelines, 560),
        Check("all-networks", kept.all_networks, 560),
        Check("all-torch", kept.all_torch, 560),
        Check("compiled", modules.compiled, 300),
        Check("tensorrt", engines.tensorrt, 400),
    )
}


def shares(checks: Sequence[Check]) -> list[float]:
    """The share of each in the time that is left when it begins: by its limit among those to come.

    What a check does not use is so for all that follow.
    """
    limits = [check.limit_s for check in checks]
    return [limit / sum(limits[at:]) for at, limit in enumerate(limits)]


def chosen(names: Sequence[str]) -> list[Check]:
    """The checks of these names, those of every day where there are none."""
    every = {**CHECKS, **LONGER}
    return [every[name] for name in names] if names else list(CHECKS.values())

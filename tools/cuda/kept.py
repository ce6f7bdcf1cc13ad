"""Runs whose records are kept, with the tables made of them, and set beside the paper's figures."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from tools.cuda.bench import Bench, TooLong, failures, read

NETWORKS = (
    "shufflenetv2_x0_5",
    "shufflenetv2_x1_0",
    "shufflenetv2_x1_5",
    "shufflenetv2_x2_0",
    "mobilenetv2_x1_0",
    "ghostnet_x1_0",
    "ghostnetv2_x1_0",
    "mobilenetv3_large",
)
BOTH = ("--mode", "graph,eager")
TORCH = ("--provider", "torch")
# What is run, how, and its share of the time that is left then; each by as much as is left of it.
REFERENCE: Sequence[tuple[Sequence[str], Sequence[str], float]] = (
    (("all",), BOTH, 0.4),
    (("models",), BOTH, 0.5),
    (("all",), TORCH, 0.5),
    (("models",), TORCH, 0.9),
)
REFERENCE_GRAPHS = (("all", "--channels", "gpu"), ("models",))
PREPARING, MEASURING, LEAST_S = 0.4, 0.6, 5.0
FORMATS = {"csv": ".csv", "markdown": ".md"}
APART = 0.02  # figures that differ by less are alike


def graphs(bench: Bench) -> str:
    """All graphs of the checks of every day are made, on the processors, before the GPU is used."""
    return prepared(bench, (("all", "--channels", "gpu"), (*NETWORKS, "--batch", "1,8")))


def prepared(bench: Bench, every: Sequence[Sequence[str]]) -> str:
    """Make the graphs of each of these selections."""
    for asked in every:
        ended = bench.run("show", *asked)
        if ended.cut:
            raise TooLong(f"not all graphs of {asked[0]} and others are made")
        assert ended.code == 0, ended.said
    return "all graphs are in the cache"


def guidelines(bench: Bench) -> str:
    """`run all --device cuda` as nobody has to ask for more."""
    return _kept(bench, ("all",), "--sessions", "1", "--max-time", "35s")


def networks(bench: Bench) -> str:
    """The networks of the paper's Table 8 and some others, at batch 1 and 8."""
    brief = ("--sessions", "1", "--max-time", "12s")
    return _batches(bench, NETWORKS, *brief)


def all_guidelines(bench: Bench) -> str:
    """`run all`, replayed and eager, each in three processes."""
    return _kept(bench, ("all",), *BOTH, "--sessions", "3", "--max-time", "90s")


def all_networks(bench: Bench) -> str:
    """`run models`, replayed and eager, at batch 1 and 8."""
    return _batches(bench, ("models",), *BOTH, "--sessions", "1", "--max-time", "45s")


def all_torch(bench: Bench) -> str:
    """`run all` by ONNX Runtime and by PyTorch, eager and captured."""
    by = ("--provider", "cuda,torch,torch-cudagraph")
    return _kept(bench, ("all",), *by, "--sessions", "1", "--max-time", "60s")


def reference(bench: Bench) -> str:
    """All that results/reference has of a GPU, in one go; what is cut off stops nothing."""
    said: list[str] = []
    with contextlib.suppress(TooLong):
        prepared(bench.within(bench.left_s * PREPARING), REFERENCE_GRAPHS)
    for names, options, share in REFERENCE:
        own = bench.within(bench.left_s * share)
        time_s = max(LEAST_S, own.left_s * MEASURING)
        try:
            brief = ("--sessions", "1", "--max-time", f"{time_s:.0f}s")
            said.append(_kept(own, names, *options, *brief))
        except (TooLong, AssertionError) as reason:
            said.append(f"{' '.join([*names, *options])} was cut off: {reason}")
    if any("cut off" in each for each in said):
        raise TooLong("; ".join(said))
    return "; ".join(said)


def _batches(bench: Bench, names: Sequence[str], *options: str) -> str:
    said: list[str] = []
    for batch in ("1", "8"):
        half = bench.within(bench.left_s / 2) if batch == "1" else bench
        try:
            said.append(f"batch {batch}: {_kept(half, names, '--batch', batch, *options)}")
        except TooLong as reason:
            said.append(f"batch {batch} was cut off: {reason}")
    if any("cut off" in each for each in said):
        raise TooLong("; ".join(said))
    return "; ".join(said)


def _kept(bench: Bench, names: Sequence[str], *options: str) -> str:
    """Run into the results, make the tables, and return what became of the paper's order."""
    before = set(bench.results.rglob("*.jsonl"))
    ended = bench.run("run", *names, "--device", "cuda", *options, "--results", str(bench.results))
    print(ended.out, flush=True)
    files = sorted(set(bench.results.rglob("*.jsonl")) - before)
    said = "; ".join([f"{file.parent.name}: {_of(file)}" for file in files] or [ended.said])
    for file in files:
        _tables(bench, file)
    if ended.cut:
        raise TooLong(said)
    assert ended.code == 0, f"it ended with {ended.code}; {said}; {ended.said}"
    return said


def _tables(bench: Bench, file: Path) -> None:
    """Write the tables of a run beside it, whatever time is left for them."""
    for kind, suffix in FORMATS.items():
        to = str(file.with_suffix(suffix))
        Bench(bench.results).within(60).run("report", str(file), "--format", kind, "--output", to)


def _of(file: Path) -> str:
    records = read(file)
    timed = [record for record in records if record.get("latency")]
    failed = failures(records)
    parts = [f"{len(timed)} of {len(records)} cases timed", *order(timed)]
    return ", ".join([*parts, *([f"{len(failed)} failed: {failed[0]}"] if failed else [])])


def order(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each spec how many pairs of a group stand as in the paper, by wait and by span."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        if record.get("published"):
            groups.setdefault((record["spec"], record["group"]), []).append(record)
    said = []
    for spec in dict.fromkeys(spec for spec, _ in groups):
        own = [each for key, each in groups.items() if key[0] == spec]
        pairs = [pair for each in own for pair in combinations(each, 2)]
        counts = [f"{_counted(pairs, by)} by {name}" for name, by in SECONDS.items()]
        said.append(f"{spec} {' and '.join(counts)}")
    return said


def _counted(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    seconds: Callable[[Mapping[str, Any]], float],
) -> str:
    """How many pairs are ordered as the paper has them, the other way round, and alike."""
    as_there = turned = 0
    for pair in pairs:
        fast, slow = sorted(pair, key=lambda record: -float(record["published"]))
        as_there += seconds(slow) > seconds(fast) * (1 + APART)
        turned += seconds(fast) > seconds(slow) * (1 + APART)
    return f"{as_there} of {len(pairs)} pairs as the paper, {turned} turned round"


def _wait(record: Mapping[str, Any]) -> float:
    return float(record["latency"]["p50_s"])


def _span(record: Mapping[str, Any]) -> float:
    return float((record.get("spans") or {}).get("span_s") or 0.0)


SECONDS: Mapping[str, Callable[[Mapping[str, Any]], float]] = {"p50": _wait, "GPU": _span}

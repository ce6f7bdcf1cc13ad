"""Verdicts on two graphs: a graph and its copy, and a graph and one with 3% more work.

Always with busy neighbours, and each comparison in a fresh agent.
"""

import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchbox import costs, devices
from benchbox.analysis import samples, stats
from benchbox.analysis.stats import Interval
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent
from tools.bench.common import UNLIMITED, Row, counted
from tools.bench.neighbours import busy

MARGIN = 0.01
PLAN = Plan(precision=0.005, burst_s=0.02, margin=MARGIN)
COPY_S = 3.0  # to measure a graph and its copy; a hundred times
COPIES = 10  # such comparisons per repetition
MORE_S = 18.0  # to measure a graph and one with more work, so that all of it is done in FOUND_S
FOUND_S = 20.0

# Rows of the image, not channels, make the work more: a convolution's latency follows them as its
# multiply-accumulates do, while channels are padded to whole vector registers.
ROWS, MORE_ROWS = 33, 34
SIDE, CHANNELS, KERNEL = 33, 64, 3


def verdicts(repetitions: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, busy():
        base, copy, more = (Path(folder) / f"{name}.onnx" for name in ("base", "copy", "more"))
        base_macs, more_macs = stack(base, ROWS), stack(more, MORE_ROWS)
        shutil.copyfile(base, copy)
        yield from copies(base, copy, COPIES * repetitions)
        work = more_macs / base_macs
        assert 1.03 <= work < 1.031, work
        yield from slower(base, more, repetitions, work)


def copies(base: Path, copy: Path, times: int) -> Iterator[Row]:
    """A/A: a difference said of a graph and its copy is false."""
    said = Counter(
        compare(base, copy, replace(PLAN, max_time_s=COPY_S, seed=seed))
        for seed in counted("verdicts, A/A", times)
    )
    false = said["FASTER"] + said["SLOWER"]
    limit = times * 5 // 100
    yield (
        "A/A with neighbours: FASTER or SLOWER said of a copy",
        f"{false} of {times}",
        f"<= {limit}",
        false <= limit,
    )
    yield "  what was said", told(said), UNLIMITED, True


def slower(base: Path, more: Path, times: int, work: float) -> Iterator[Row]:
    """A/B: more work has to be found, and in time."""
    said: Counter[str] = Counter()
    found = 0
    longest = 0.0
    for seed in counted("verdicts, A/B", times):
        start = time.monotonic()
        word = compare(base, more, replace(PLAN, max_time_s=MORE_S, seed=seed))
        seconds = time.monotonic() - start
        said[word] += 1
        found += word == "SLOWER" and seconds <= FOUND_S
        longest = max(longest, seconds)
    yield (
        f"A/B with neighbours: {work - 1:.1%} more work found in {FOUND_S:.0f} s",
        f"{found} of {times}",
        f">= {0.9:.0%}",
        found >= 0.9 * times,
    )
    yield "  what was said, and the longest", f"{told(said)}; {longest:.1f} s", UNLIMITED, True


def told(said: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in said.most_common())


def compare(base: Path, other: Path, plan: Plan) -> str:
    """The ratio of `other` to `base`, timed in turn in a fresh agent."""
    return stats.verdict(ratio(measured(base, other, plan), other, base), MARGIN)


def measured(base: Path, other: Path, plan: Plan) -> Sampler:
    """The samples of two graphs, timed in turn in a fresh agent."""
    key = base.stem
    subjects = [Subject(key, key), Subject(other.stem, key)]
    sampler = Sampler(subjects, plan)
    with open_agent(devices.resolve("cpu")) as agent:
        for path in (base, other):
            loaded = agent.load(path.stem, str(path), [image(path)], plan.seed)
            sampler.cases[path.stem].latency_s = loaded.first_call_s
        deque(sampler.measure(agent, 0), maxlen=0)
    return sampler


def ratio(sampler: Sampler, other: Path, base: Path) -> Interval | None:
    """The latency of a graph over that of another, None for too few rounds."""
    ours, theirs = (
        samples.round_medians(sampler.cases[path.stem].bursts, sampler.machine.gate, paired=True)
        for path in (other, base)
    )
    return stats.ratio_interval(ours, theirs)


def image(path: Path) -> TensorSpec:
    tensor = onnx.load(path).graph.input[0]
    dims = tensor.type.tensor_type.shape.dim
    return TensorSpec(tensor.name, tuple(dim.dim_value for dim in dims))


def stack(path: Path, rows: int) -> int:
    """Write two convolutions over an image of that many rows; return their multiply-accumulates."""
    shape = (1, CHANNELS, rows, SIDE)
    size = (CHANNELS, CHANNELS, KERNEL, KERNEL)
    generator = np.random.default_rng(0)
    scale = (CHANNELS * KERNEL**2) ** -0.5  # activations stay near unit scale
    weights = [
        numpy_helper.from_array(scale * generator.standard_normal(size, np.float32), name)
        for name in ("w0", "w1")
    ]
    pads = [KERNEL // 2] * 4
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["between"], pads=pads),
            helper.make_node("Conv", ["between", "w1"], ["y"], pads=pads),
        ],
        "stack",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return costs.count(model).macs

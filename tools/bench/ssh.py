"""What the way over ssh costs: this machine through a real sshd beside it without one, in turns."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from benchbox import devices
from benchbox.devices import Device
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, open_agent
from tools.bench.common import UNLIMITED, Row, counted

GRAPH = """\
<ir_version: 9, opset_import: ["" : 18]>
small (float[1,16,32,32] x, float[16,16,3,3] w) => (float[1,16,32,32] y)
{ c = Conv <pads = [1, 1, 1, 1]> (x, w) y = Relu (c) }
"""
INPUTS = [TensorSpec("x", (1, 16, 32, 32)), TensorSpec("w", (16, 16, 3, 3))]
TURNS = 60
CALLS = 50
TRIPS = 300


def ssh() -> Iterator[Row]:
    """The timed call, the protocol's round trip, and the time to a first sample."""
    from tests.board import host_board, why_not

    if reason := why_not():
        yield "over ssh", "not measured", reason, True
        return
    with tempfile.TemporaryDirectory() as folder, host_board() as board:
        path = Path(folder, "small.onnx")
        onnx.save(onnx.parser.parse_model(GRAPH), path)
        with home(Path(folder), board.config.read_text()):
            here, there = devices.resolve("cpu"), devices.resolve("ssh://board")
            first_s = first_sample_s(there, path)
            yield from _steady(here, there, path)
            yield from _starting(here, there, path, first_s)


@contextmanager
def home(folder: Path, config: str) -> Iterator[None]:
    """Be a user whose ssh knows the board, and who has no other files."""
    from tests.board.running import ssh_user

    changed = ssh_user(folder)
    (folder / ".ssh/config").write_text(config)
    before = {name: os.environ.get(name, "") for name in changed}
    os.environ |= changed
    try:
        yield
    finally:
        os.environ |= before


def _steady(here: Device, there: Device, path: Path) -> Iterator[Row]:
    with open_agent(here) as ours, open_agent(there) as theirs:
        for agent in (ours, theirs):
            agent.load("g", str(path), INPUTS, 0)
            p50_ns(agent)
        pairs = []
        for turn in counted("ssh", TURNS):
            # Whichever is first profits or suffers from what was before: they swap.
            order = (ours, theirs) if turn % 2 else (theirs, ours)
            found = {id(agent): p50_ns(agent) for agent in order}
            pairs.append((found[id(ours)], found[id(theirs)]))
        trips = [(round_trip_s(ours), round_trip_s(theirs)) for _ in range(TRIPS)]
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    local = statistics.median(ours for ours, _ in pairs) / 1e3
    text = f"{ratio:.3f}x of {local:.1f} us"
    yield "timed call over ssh beside a local one, p50", text, "within 2%", abs(ratio - 1) <= 0.02
    local, remote = (statistics.median(each) * 1e3 for each in zip(*trips, strict=True))
    text = f"{remote:.2f} ms ({local:.2f} ms local)"
    yield "round trip of the protocol over ssh", text, "<= 2 ms", remote <= 2


def _starting(here: Device, there: Device, path: Path, first_s: float) -> Iterator[Row]:
    pairs = [(first_sample_s(here, path), first_sample_s(there, path)) for _ in range(5)]
    local, remote = (statistics.median(each) for each in zip(*pairs, strict=True))
    yield "first sample on a board that benchbox never saw", f"{first_s:.2f} s", UNLIMITED, True
    text = f"{remote:.2f} s ({local:.2f} s local)"
    yield "first sample of a second run over ssh", text, "<= 2 s", remote <= 2


def first_sample_s(device: Device, path: Path) -> float:
    start = time.perf_counter()
    with open_agent(device) as agent:
        agent.load("g", str(path), INPUTS, 0)
        p50_ns(agent, 1)
        return time.perf_counter() - start


def p50_ns(agent: Agent, calls: int = CALLS) -> float:
    (timed,) = agent.time([("g", calls)], [0.01])
    return statistics.median(timed.latencies_ns)


def round_trip_s(agent: Agent) -> float:
    """Ask for what the agent does not know: it answers at once."""
    start = time.perf_counter()
    agent._send({"op": "nothing"})
    agent._receive(10)
    return time.perf_counter() - start

"""Faults that could file a wrong figure: graphs that change, builders that meddle, mixed files."""

import random

from tests.e2e.faults.bench import QUICK, Bench, fault


@fault("figures", "a graph is replaced between a run and its resume")
def replaced_before_resume(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", rng.randrange(8, 40))
    bench.command("run", "./net.onnx", *QUICK)
    bench.graph("net", rng.randrange(40, 80))
    bench.command("run", "./net.onnx", *QUICK, "--resume")
    assert bench.runs()

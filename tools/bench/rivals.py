"""Other ways to time an ONNX file, as anyone would use them; each a fresh process when asked for.

They get what benchbox gives a graph: one thread, seeded inputs, buffers bound once, and ten untimed
calls. They are not pinned: that is a part of benchbox's method, and of none of theirs.

Run as a program: `python -m tools.bench.rivals METHOD FILE...` prints a JSON list of p50s in ms.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort

Call = Callable[[], object]

WARM_CALLS = 10
LOOP_CALLS = 100
LOADGEN_MS = 3000
LOADGEN_P50 = "result_50.00_percentile_latency_ns"


def p50_ms(method: str, files: Iterable[Path]) -> list[float]:
    """Time graphs one after the other by one method, in a process of its own."""
    argv = [sys.executable, "-m", "tools.bench.rivals", method, *map(str, files)]
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [float(value) for value in json.loads(done.stdout)]


def bound(path: Path) -> Call:
    """Return one inference of a graph, warm, its buffers bound."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    generator = np.random.default_rng(0)
    for tensor in session.get_inputs():
        value = ort.OrtValue.ortvalue_from_numpy(
            generator.standard_normal(tensor.shape, np.float32)
        )
        binding.bind_ortvalue_input(tensor.name, value)
    names = [tensor.name for tensor in session.get_outputs()]
    for name in names:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    values = list(binding.get_outputs())
    binding.clear_binding_outputs()
    for name, value in zip(names, values, strict=True):
        binding.bind_ortvalue_output(name, value)
    call = partial(session.run_with_iobinding, binding)
    for _ in range(WARM_CALLS):
        call()
    return call


def plain_loop(call: Call) -> float:
    """Return the median of 100 calls in a row, in ns."""
    latencies = []
    for _ in range(LOOP_CALLS):
        start = time.perf_counter_ns()
        call()
        latencies.append(time.perf_counter_ns() - start)
    return median(latencies)


def torch_timer(call: Call) -> float:
    """Return the median of torch.utils.benchmark's default measurement, in ns."""
    from torch.utils.benchmark import Timer

    return float(Timer("call()", globals={"call": call}).blocked_autorange().median) * 1e9


def loadgen(call: Call) -> float:
    """Return the p50 that MLPerf LoadGen logs of three seconds of SingleStream, in ns."""
    import mlperf_loadgen

    def issue(queries: Sequence[mlperf_loadgen.QuerySample]) -> None:
        for query in queries:
            call()
            response = mlperf_loadgen.QuerySampleResponse(query.id, 0, 0)
            mlperf_loadgen.QuerySamplesComplete([response])

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = LOADGEN_MS
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        log = mlperf_loadgen.LogSettings()
        log.enable_trace = False
        output = mlperf_loadgen.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        log.log_output = output
        mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log)
        text = (Path(folder) / "mlperf_log_detail.txt").read_text()
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    return logged(text, LOADGEN_P50)


def logged(text: str, key: str) -> float:
    """Return a value of LoadGen's detail log."""
    entries = (json.loads(line.partition(" ")[2]) for line in text.splitlines())
    return next(float(entry["value"]) for entry in entries if entry["key"] == key)


METHODS = {
    "plain loop": plain_loop,
    "torch.utils.benchmark": torch_timer,
    "MLPerf LoadGen": loadgen,
}


def main() -> None:
    method, *files = sys.argv[1:]
    print(json.dumps([METHODS[method](bound(Path(file))) / 1e6 for file in files]))


if __name__ == "__main__":
    main()

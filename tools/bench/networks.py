"""The networks: their export without a cache, a comparison of two, the memory of all together."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, run

from benchbox import records
from tools.bench.common import BENCHBOX, UNLIMITED, Row

# Of each family the one with the most to export.
LARGEST = (
    "shufflenetv2_x2_0",
    "shufflenetv1_g8",
    "ghostnet_x1_3",
    "ghostnetv2_x1_6",
    "ghostnetv3_x1_6_train",
    "mobilenetv3_large",
)
EXPORT_S = 20.0
COMPARE_S = 30.0
MODELS_BYTES = 2 << 30
PAIR = ("ghostnetv2", "shufflenetv2")


def networks() -> Iterator[Row]:
    yield from exports()
    yield from comparison()
    yield from memory()


def exports() -> Iterator[Row]:
    """Each in a process and a cache of its own."""
    times = {}
    for name in LARGEST:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"BENCHBOX_CACHE_DIR": folder}
            argv = [*BENCHBOX, "export", name, "--output", f"{folder}/out"]
            start = time.perf_counter()
            run(argv, env=environment, check=True, stdout=DEVNULL, stderr=DEVNULL)
            times[name] = time.perf_counter() - start
    name, longest = max(times.items(), key=lambda item: item[1])
    yield (
        f"cold export of one network, longest: {name}",
        f"{longest:.1f} s",
        "<= 20 s",
        (longest <= EXPORT_S),
    )


def comparison() -> Iterator[Row]:
    """A whole process, graphs in the cache, to a verdict at 1%."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*BENCHBOX, "compare", *PAIR, "--results", folder, "--export-json", "-"]
        run([*BENCHBOX, "show", *PAIR], check=True, stdout=DEVNULL, stderr=DEVNULL)
        start = time.perf_counter()
        done = run(argv, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        second = json.loads(done.stdout)[1]
    clear = second["verdict"] in ("FASTER", "SLOWER", "SAME")
    yield (
        f"compare {' '.join(PAIR)}, warm, to a verdict",
        f"{seconds:.1f} s",
        "<= 30 s",
        (clear and seconds <= COMPARE_S),
    )
    yield "  what it said", f"{second['verdict']}, {second['relative_latency']}x", UNLIMITED, clear


def memory() -> Iterator[Row]:
    """All networks in one run; the memory is the agent's at its highest."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*BENCHBOX, "run", "models", "--quick", "--results", folder]
        run(argv, check=True, stdout=DEVNULL, stderr=DEVNULL)
        (path,) = Path(folder).glob("*/*.jsonl")
        found = records.read(path).records
    peak = max(record.peak_rss_bytes or 0 for record in found)
    text = f"{peak / 2**30:.2f} GiB, {len(found)} graphs"
    yield "run models: most memory of an agent", text, "< 2 GiB", 0 < peak < MODELS_BYTES

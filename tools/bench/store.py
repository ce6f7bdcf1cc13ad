"""Ten thousand recorded runs: how long it takes to list them, find two, and follow all cases."""

import json
import os
import resource
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.bench.common import BENCHBOX, UNLIMITED, Row
from tools.bench.program import wall

RUNS, TIMES = 10_000, 5
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
DEVICES = ("cpu", "pi", "phone", "cuda")
COMMANDS = {
    "report --list": ["report", "--list"],
    "report --list, of one device and since a day": [
        *("report", "--list", "-d", "pi", "--since", "2026-06-01"),
    ],
    "report A B --diff": ["report", "20200101T000000Z-run0", "run7", "--diff"],
    "report": ["report"],
    "history": ["history"],
}


def store() -> Iterator[Row]:
    """Whole processes, first with the index to be made, then with it."""
    (model,) = Path("results/reference/cpu").glob("*-reparam.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        among = f"among {RUNS} runs of {generate(results, model.read_text()) / 1e9:.1f} GB"
        env = {**os.environ, "BENCHBOX_CACHE_DIR": f"{folder}/cache"}
        env["BENCHBOX_RESULTS"] = str(results)
        first = wall([*BENCHBOX, "report", "--list"], env=env)
        yield f"report --list {among}, index made anew", f"{first:.1f} s", UNLIMITED, True
        for name, options in COMMANDS.items():
            before = spent_s()
            seconds = statistics.median(wall([*BENCHBOX, *options], env=env) for _ in range(TIMES))
            busy = (spent_s() - before) / TIMES  # what there is where others keep a machine busy
            text = f"{seconds:.2f} s, {busy:.2f} s busy"
            yield f"{name} {among}", text, "<= 1 s busy", busy <= 1


def spent_s() -> float:
    """The processor time of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def generate(results: Path, model: str) -> int:
    """Write copies of a run, with names, dates and devices of their own; the number of bytes."""
    for device in DEVICES:
        (results / device).mkdir(parents=True)
    first, _, rest = model.partition("\n")
    context = json.loads(first)
    own = '"run":"{device} {created} {name}"'
    size = 0
    for number in range(RUNS):
        begun = FIRST + timedelta(hours=6 * number)
        made = {
            "device": DEVICES[number % len(DEVICES)],
            "created": f"{begun:%Y-%m-%dT%H:%M:%SZ}",
            "name": f"run{number % 50}",
        }
        head = json.dumps({**context, **made}, separators=(",", ":"))
        records = rest.replace(own.format(**context), own.format(**made))
        path = results / made["device"] / f"{begun:%Y%m%dT%H%M%SZ}-{made['name']}.jsonl"
        size += path.write_text(f"{head}\n{records}")
    return size

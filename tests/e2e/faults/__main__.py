"""Faults by random choices: `python -m tests.e2e.faults --count 1000 --seed 7 [--kind TEXT]`.

Prints each fault that was not held, with the seed that makes it again, and a table of the kinds.
"""

import argparse
import random
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from tests.e2e.faults.bench import Bench, Fault
from tests.e2e.faults.catalogue import FAULTS

MOST_SHOWN = 300  # characters of what did not hold


def tried(fault: Fault, seed: int) -> str:
    """Inject a fault in a folder of its own; what did not hold, empty where all did."""
    with tempfile.TemporaryDirectory(prefix="benchbox-fault-") as folder:
        try:
            fault.inject(Bench(Path(folder)), random.Random(seed))
        except (Exception, pytest.fail.Exception) as error:
            return f"{type(error).__name__}: {error}"[:MOST_SHOWN]
    return ""


def main() -> int:
    # A shell that runs this in the background ignores Ctrl-C, and so would all that are tried.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.faults")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help="only kinds with this text in their name")
    parser.add_argument("--jobs", type=int, default=4, help="at once; most of them wait")
    options = parser.parse_args()
    chosen = [each for name, each in FAULTS.items() if options.kind in name]
    done, failed = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0)
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {}
        for index in range(options.count):
            fault, seed = chosen[index % len(chosen)], options.seed + index
            jobs[pool.submit(tried, fault, seed)] = fault, seed
        for job in as_completed(jobs):
            fault, seed = jobs[job]
            done[fault] += 1
            if problem := job.result():
                failed[fault] += 1
                print(f"--kind {fault.kind!r} --count 1 --seed {seed}: {problem}\n", flush=True)
    for fault in chosen:
        print(f"{fault.family:9} {done[fault]:5} {failed[fault]:5} not held  {fault.kind}")
    print(f"{sum(done.values())} faults, {sum(failed.values())} not held")
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

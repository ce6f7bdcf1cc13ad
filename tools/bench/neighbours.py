"""Busy neighbours: processes that each keep a processor busy for most of the time, or all of it.

Run as a program: `python -m tools.bench.neighbours SEED DUTY` is one of them.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

DUTY = 0.6
PERIOD_S = 0.05
JITTER = 0.2  # of the period, both ways, so that nothing falls into step with it


@contextlib.contextmanager
def busy(count: int = 2, duty: float = DUTY) -> Iterator[None]:
    """Have that many neighbours inside the block, pinned nowhere."""
    with contextlib.ExitStack() as stack:
        for seed in range(count):
            argv = [sys.executable, "-m", "tools.bench.neighbours", str(seed), str(duty)]
            process = stack.enter_context(subprocess.Popen(argv))
            stack.callback(process.terminate)
        yield


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    generator, duty = random.Random(int(sys.argv[1])), float(sys.argv[2])
    parent = os.getppid()
    while os.getppid() == parent:
        period_s = PERIOD_S * generator.uniform(1 - JITTER, 1 + JITTER)
        end = time.perf_counter() + duty * period_s
        while time.perf_counter() < end:
            pass
        time.sleep((1 - duty) * period_s)


if __name__ == "__main__":
    main()

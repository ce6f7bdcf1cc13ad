"""Parts of stand-ins for packages: what they are told, the real ones, an undisturbed processor."""

import builtins
import importlib
import os
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
POWER_NS = 100_000  # of the power of whole numbers that it is watched by: several times what it is


def told(name, key):
    """The second words of the lines with this key in the file that the environment names."""
    path = os.environ.get(name)
    lines = Path(path).read_text().splitlines() if path and Path(path).exists() else []
    return [line.split()[1] for line in lines if line.split()[0] == key]


def real(name):
    """The installed package, in the place of the one that stands in for it."""
    before = list(sys.path)
    sys.path[:] = [each for each in before if Path(each or ".").resolve() != FOLDER]
    del sys.modules[name]
    found = importlib.import_module(name)
    sys.path[:] = before
    return found


def slowness(period_ns):
    """How long the processor takes now, over what it takes else; slow in every other period."""
    return 1 + time.monotonic_ns() // period_ns % 2 if period_ns else 1


def stay_calm(period_ns=lambda: 0):
    """Have such a power take as long, whatever else keeps the processor busy."""
    power = builtins.pow

    def run(*arguments):
        start = time.perf_counter_ns()
        result = power(*arguments)
        while (
            len(arguments) > 2 and time.perf_counter_ns() < start + slowness(period_ns()) * POWER_NS
        ):
            pass
        return result

    builtins.pow = run

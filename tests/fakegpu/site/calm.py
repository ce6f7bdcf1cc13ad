"""A processor beside a stand-in for a GPU that looks as if nothing disturbed it."""

import builtins
import time

POWER_NS = 100_000  # of the power of whole numbers that it is watched by: several times what it is


def slowness(period_ns):
    """How long the processor takes now, over what it takes else; slow in every other period."""
    return 1 + time.monotonic_ns() // period_ns % 2 if period_ns else 1


def keep(period_ns=0):
    """Have such a power take as long, whatever else keeps the processor busy."""
    power = builtins.pow

    def run(*arguments):
        start = time.perf_counter_ns()
        result = power(*arguments)
        while (
            len(arguments) > 2 and time.perf_counter_ns() < start + slowness(period_ns) * POWER_NS
        ):
            pass
        return result

    builtins.pow = run

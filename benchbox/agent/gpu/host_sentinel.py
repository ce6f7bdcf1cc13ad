"""Sentinel of the processor that launches a GPU's work, read together with the GPU's own.

What a caller waits for a small network on a GPU is mostly launching, which is this processor's
work; the GPU's probes, timed on the GPU, show nothing of it. A product of matrices, which
benchbox.agent.timing.sentinel times, is no good measure here: launching has no vectors in it, and
vector units that slept while a call was awaited wake up slowly (the first product then took 47 us,
the second 18, the fourth 13.8).

Seen on a shared two-processor x86 virtual machine, beside 20 calls of a graph of 120 tiny nodes (40
us, 76 in slow states) with waits of up to 0.8 ms between them:

                        rank correlation   readings in    latency of calls beside those, us,
                        with the latency   their state    5% to 95% of them
product of 96x96        0.40 - 0.71        21% - 35%      40 - 43
loop in Python          0.52 - 0.80        20% - 39%      39 - 43
power of whole numbers  0.60               56%            40 - 42
"""

from collections.abc import Callable, Sequence

from benchbox.agent.timing import sentinel

# 11 us, and in digits of 30 bits; a power is multiplications of words, and hardly any memory.
BASE, EXPONENT, MODULUS = 3**100, 2**27 - 1, 10**80 + 7
CALLS = 4  # the first is untimed, of the others the fastest counts


def compute() -> int:
    """Return the nanoseconds of one power of whole numbers, on the processor of the caller."""
    return sentinel.fastest(lambda: pow(BASE, EXPONENT, MODULUS), CALLS)


class PairedProbe:
    """A probe of the GPU, and of the processor right before it."""

    def __init__(self, probe: Callable[[], int], host: Callable[[], int] = compute) -> None:
        self._probe, self._host = probe, host
        self._readings: list[int] = []

    def read(self) -> int:
        """Return a reading of the GPU's probe, taken right after one of the processor's."""
        self._readings.append(self._host())
        return self._probe()

    def marks(self, marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return these marks, which are all that were read, with the processor's readings."""
        pairs = zip(marks, self._readings, strict=True)
        return [(calls, reading) for (calls, _), reading in pairs]

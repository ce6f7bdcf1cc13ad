"""How much slower a graph is when denormal numbers are computed with instead of flushed to zero.

ONNX Runtime is told to flush them, by a mode of the processor that belongs to the calling thread.
An untrained deep net can shrink its activations into denormals; then that mode hides what another
program would pay: 44 times the latency, on a graph made for it. So it is switched off for a few
calls.
"""

import ctypes
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# Of glibc's fenv_t, as 32-bit words: which word holds the mode, and the bits in it that flush.
FENV_WORDS = 8
MODES = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
PAIRS = 3
MOST_PAIRS = 12  # when the first ones differ; the fastest of many is what noise leaves alone
LONGEST_S = 1.0  # after which no further pair is begun
SUSPECT = 1.02


def ratio(call: Callable[[], object]) -> float | None:
    """Return the latency with denormals over that without; below 1.03 it has none to speak of.

    None where this processor's mode cannot be switched from here, or does not flush to begin with.
    """
    environment = _environment()
    if environment is None:
        return None
    end = time.monotonic() + LONGEST_S
    pairs = [_pair(call, environment)]
    while time.monotonic() < end and len(pairs) < (
        MOST_PAIRS if _of_the_fastest(pairs) > SUSPECT else PAIRS
    ):
        pairs.append(_pair(call, environment))
    return _of_the_fastest(pairs)


Environment = tuple[ctypes.CDLL, int, int]


def _environment() -> Environment | None:
    """Return the library that switches modes, and the word and bits of the one that flushes."""
    if platform.machine() not in MODES or platform.libc_ver()[0] != "glibc":
        return None
    word, bits = MODES[platform.machine()]
    try:
        library = ctypes.CDLL("libm.so.6")
    except OSError:
        return None
    return (library, word, bits) if _read(library)[word] & bits == bits else None


def _read(library: ctypes.CDLL) -> "ctypes.Array[ctypes.c_uint32]":
    environment = (ctypes.c_uint32 * FENV_WORDS)()
    library.fegetenv(environment)
    return environment


@contextmanager
def _kept(library: ctypes.CDLL, word: int, bits: int) -> Iterator[None]:
    """Let the calling thread compute with denormals."""
    before = _read(library)
    changed = _read(library)
    changed[word] &= ~bits
    library.fesetenv(changed)
    try:
        yield
    finally:
        library.fesetenv(before)


def _pair(call: Callable[[], object], environment: Environment) -> tuple[int, int]:
    with _kept(*environment):
        with_them = _timed(call)
    return with_them, _timed(call)


def _of_the_fastest(pairs: Sequence[tuple[int, int]]) -> float:
    with_them, without = zip(*pairs, strict=True)
    return float(min(with_them) / max(1, min(without)))


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start

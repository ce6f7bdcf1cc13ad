"""Denormal numbers: a check of how much slower a graph is where they are not flushed to zero.

ONNX Runtime is told to flush them, by a mode of the processor that belongs to the calling thread.
An untrained deep net can shrink its activations into denormals; then that mode hides what another
program would pay: 44 times the latency, on a graph made for it. So the mode is switched off for a
few calls when a graph is loaded.
"""

import ctypes
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of glibc's fenv_t, as 32-bit words: which word holds the mode, and the bits in it that flush.
FENV_WORDS = 8
MODES = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
LONGEST_S = 1.0  # after which no further trial is begun
TRIALS = 3  # which all have to show it
LEAST = 1.1  # a smaller ratio is noise

Call = Callable[[], object]
Environment = tuple[ctypes.CDLL, int, int]


def ratio(call: Call) -> float | None:
    """Latency with denormals over latency without; 1.0 unless every trial shows a difference.

    None where this processor's mode cannot be switched from here or does not flush to begin with.
    """
    environment = _environment()
    if environment is None:
        return None
    end, kept, flushed = time.monotonic() + LONGEST_S, list[int](), [_processor_ns(call)]
    while len(kept) < TRIALS and time.monotonic() < end:
        with _denormals_kept(*environment):
            kept.append(_processor_ns(call))
        flushed.append(_processor_ns(call))
        if kept[-1] < LEAST * max(flushed[-2:]):  # of the calls right before and after it
            return 1.0
    return min(kept) / max(1, min(flushed))


def _environment() -> Environment | None:
    """Library that switches modes, and the word and bits of the one that flushes."""
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
def _denormals_kept(library: ctypes.CDLL, word: int, bits: int) -> Iterator[None]:
    """Have the calling thread compute with denormals."""
    before = _read(library)
    changed = _read(library)
    changed[word] &= ~bits
    library.fesetenv(changed)
    try:
        yield
    finally:
        library.fesetenv(before)


def _processor_ns(call: Call) -> int:
    """Time a call by the processor time of its thread, which leaves other programs' turns out."""
    start = time.thread_time_ns()
    call()
    return time.thread_time_ns() - start

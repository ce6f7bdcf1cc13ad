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

try:
    import resource
except ImportError:  # Windows, whose modes are not switched either
    resource = None  # type: ignore[assignment]

# Of glibc's fenv_t, as 32-bit words: which word holds the mode, and the bits in it that flush.
FENV_WORDS = 8
MODES = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
LONGEST_S = 1.0  # after which no further trial is begun
TRIALS = 5  # which all have to show it
LEAST = 1.1  # a smaller ratio is noise
RETRIES = 4  # of a call that another program disturbed

Call = Callable[[], object]
Environment = tuple[ctypes.CDLL, int, int]


def ratio(call: Call) -> float | None:
    """Latency with denormals over latency without; 1.0 unless every trial shows a difference.

    None where this processor's mode cannot be switched from here or does not flush to begin with,
    and where other programs disturb the calls.
    """
    environment = _environment()
    if environment is None:
        return None
    end, kept, flushed = time.monotonic() + LONGEST_S, list[int](), list[int]()
    while len(kept) < TRIALS and (time.monotonic() < end or not kept):
        with _denormals_kept(*environment):
            slow = _undisturbed_ns(call, end)
        fast = _undisturbed_ns(call, end)
        if slow is None or fast is None:
            return None
        kept.append(slow)
        flushed.append(fast)
        if min(kept) < LEAST * max(flushed):
            return 1.0
    return min(kept) / max(1, min(flushed))


def _undisturbed_ns(call: Call, end: float) -> int | None:
    """The time of a call in a row during which no program took the processor; None without one.

    An untimed call before it brings back what another program has taken of the caches.
    """
    for _ in range(RETRIES):
        before = _switches()
        call()
        found = _processor_ns(call)
        if _switches() == before:
            return found
        if time.monotonic() > end:
            break
    return None


def _switches() -> int:
    """How often this thread had to give its processor to another program."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


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

"""Errors of CUDA, ONNX Runtime's CUDA provider and torch, each reworded as one sentence.

The provider's messages carry the name of the function template that made them, places in its
sources, and the name of the host, which no record may have; torch's the numbers of processes.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from benchbox.agent.gpu.cudart import OUT_OF_MEMORY, CudaError
from benchbox.agent.gpu_errors import GpuFullError, GpuLostError

FAILURE = re.compile(
    r"(?P<library>\w+) failure (?P<code>-?\d+): (?P<meaning>.*?) ; GPU=-?\d+ ; hostname=\S* ;"
    r"(?:.*? expr=(?P<call>\w+))?",
    re.DOTALL,
)
ALLOCATION = re.compile(r"Failed to allocate memory for requested buffer of size (\d+)")
TORCH_ALLOCATION = re.compile(r"CUDA out of memory\. Tried to allocate (\d[\d.]* \w+)")
HOST = re.compile(r"hostname=\S*")
CUBLAS_OUT_OF_MEMORY = 3  # CUBLAS_STATUS_ALLOC_FAILED
# cudaError_t after which "the process must be terminated and relaunched" to use the GPU again.
LOST = frozenset({214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721})


@contextmanager
def translate_errors() -> Iterator[None]:
    """Re-raise a library's error as GpuFullError, GpuLostError or a one-line RuntimeError."""
    try:
        yield
    except CudaError as error:
        if error.code not in LOST:
            raise
        raise GpuLostError(_lost(str(error))) from None
    except Exception as error:  # ONNX Runtime's have no common ancestor but this
        translated = _translate(str(error))
        if translated is None:
            raise
        raise translated from None


def _translate(message: str) -> RuntimeError | None:
    """Translate a message of the provider, None where it needs no change."""
    if size := ALLOCATION.search(message):
        return GpuFullError(_full(f"{int(size[1]):,} bytes more were asked for"))
    if size := TORCH_ALLOCATION.search(message):
        return GpuFullError(_full(f"{size[1]} more were asked for"))
    failure = FAILURE.search(message)
    if failure is None:
        return RuntimeError(HOST.sub("", message)) if HOST.search(message) else None
    library, code = failure["library"], int(failure["code"])
    text = f"{failure['call'] or library}: {failure['meaning']} ({library} error {code})"
    if (library, code) in (("CUDA", OUT_OF_MEMORY), ("CUBLAS", CUBLAS_OUT_OF_MEMORY)):
        return GpuFullError(_full(text))
    return GpuLostError(_lost(text)) if library == "CUDA" and code in LOST else RuntimeError(text)


def _full(why: str) -> str:
    return f"the GPU's memory is full ({why}): use a smaller batch, or end what else runs on it"


def _lost(why: str) -> str:
    return f"{why}; with it this process has lost the GPU, and only a new one can use it"

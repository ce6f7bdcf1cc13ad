"""Types in which the nodes of a graph compute: a provider may have no kernels for float16 or int8.

ONNX Runtime then computes in float32, between conversions, without a word. Its profiler tells the
types of what each node gave, so that one call is made with it, in a session of its own.
"""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchbox.agent.gpu_errors import GpuLostError
from benchbox.agent.ort.trace import Recording

if TYPE_CHECKING:
    import onnxruntime as ort

    from benchbox.agent.runtime import LoadedGraph

Load = Callable[["ort.SessionOptions"], "LoadedGraph"]


def types(
    load: Load, options: "ort.SessionOptions", *, by_operator: bool = False
) -> dict[str, int] | None:
    """Number of nodes by the type of their output, without casts; None where that is unknown."""
    try:
        with Recording() as recording:
            loaded = load(recording.attach(options))
            recording.hide()
            del loaded
            gc.collect()  # the session is gone, and its events are written
            return recording.types(by_operator=by_operator)
    except GpuLostError:
        raise
    except Exception:  # whatever a runtime raised: the graph itself is loaded and can be timed
        return None

"""Entry point of the PyTorch agent; `bye` or a closed stdin ends it."""

import logging
import os
import warnings

from benchbox import host
from benchbox.agent import stdio
from benchbox.agent.__main__ import AgentProgram
from benchbox.export.torch_agent.runtime import TorchRuntime


def main() -> None:
    """Serve on stdin and stdout."""
    # Before torch is imported. One compiling thread: others would stay beside the timed one.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    # The numbers of nvidia-smi, which ONNX Runtime's GPUs have too.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(host.cache_folder() / "inductor")
    # The last line on stderr tells why a process died; a compiler's remarks must not be it.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    stdio.serve(AgentProgram(runtime=TorchRuntime()).replies)


if __name__ == "__main__":
    main()

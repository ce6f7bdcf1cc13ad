"""Reference outputs of a graph by ONNX Runtime, from a process other than the timed one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbox.agent.stdio import Message
from benchbox.errors import CaseError
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.local import python_child

RUN_S = 300.0


class Reference:
    """A process that runs graphs when asked; it ends with this one, whose pipe it reads."""

    def __init__(self) -> None:
        self._channel: ProcessChannel | None = None

    def outputs(
        self, path: str, tensors: Sequence[Message], seed: int
    ) -> list[NDArray[np.generic]]:
        """Return the outputs of the graph at `path`, in order.

        Raises CaseError when it cannot be run, or its outputs are not finite.
        """
        if self._channel is None:
            self._channel = python_child("benchbox.export.worker")
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder) / "outputs.npz"
            request = {
                "op": "outputs",
                "file": path,
                "inputs": tensors,
                "seed": seed,
                "to": str(to),
            }
            try:
                self._channel.send(request)
                reply = self._channel.receive(RUN_S)
            except (ChannelClosed, Timeout) as error:
                self._channel.kill()
                self._channel = None
                what = str(error) or f"no answer for {RUN_S:.0f} s"
                raise CaseError(f"ONNX Runtime gave nothing to compare with: {what}") from None
            if "error" in reply:
                raise CaseError(f"ONNX Runtime gave nothing to compare with: {reply['error']}")
            with np.load(to) as found:
                return [found[name] for name in found.files]

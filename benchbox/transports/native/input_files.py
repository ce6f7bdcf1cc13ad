"""The inputs of a graph as files, for a runner that cannot make them itself."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from benchbox.agent.stdio import Message
from benchbox.specs import TensorSpec


def input_files(inputs: Sequence[TensorSpec], seed: int, folder: Path) -> list[Path]:
    """Write the arrays that benchbox.agent.ort.inputs makes, little-endian and in the order of C.

    A file is named by what is in it and written once. Raises ValueError for an unknown dtype.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_file(each, seed, folder) for each in inputs]


def with_data(message: Message, folder: Path, place: Callable[[Path], str]) -> Message:
    """Return a request as the runner needs it: the inputs of a `load` name files with their data.

    They are written to a folder here; `place` brings one to the device and returns its path there.
    """
    if message.get("op") != "load":
        return message
    tensors = message["inputs"]
    specs = [TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in tensors]
    paths = input_files(specs, message["seed"], folder)
    fed = [each | {"data": place(path)} for each, path in zip(tensors, paths, strict=True)]
    return {**message, "inputs": fed}


def _file(tensor: TensorSpec, seed: int, folder: Path) -> Path:
    identity = json.dumps([tensor.name, tensor.shape, tensor.dtype, seed]).encode()
    path = folder / f"input-{hashlib.sha256(identity).hexdigest()[:16]}.bin"
    if not path.exists():
        from benchbox.agent.ort import inputs

        array = inputs.make(tensor.name, tensor.shape, tensor.dtype, seed)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        unfinished.replace(path)
    return path

"""Selection of the cases that options name, and the name of their run."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from benchbox import specs
from benchbox.api import parsing
from benchbox.api.options import Cases
from benchbox.errors import UsageError
from benchbox.specs import Platform, Selection

NAME_CHARACTERS = 100  # of a run in a file name; file systems end at 255
DIGEST_CHARACTERS = 8


def selection(
    options: Cases, device_channels: Platform, threads: tuple[int, ...] = ()
) -> Selection:
    """The selection that options ask for, with the device's channel set unless they name one."""
    tensors = [specs.shape(text) for text in options.shape or ()]
    names = [tensor.name for tensor in tensors]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"--shape {twice[0]}: given twice")
    return Selection(
        channels=options.channels or device_channels,
        batches=parsing.batches(options.batch),
        scales=tuple(options.scale or ()),
        shapes=tuple(tensors),
        dims=parsing.dims(options.dim or ()),
        values=parsing.values(options.input or ()),
        weights=parsing.weights(options.weights or ()),
        dtypes=parsing.dtypes(options.dtype),
        head=options.head,
        sizes=parsing.sizes(options.size),
        threads=threads,
    )


def run_name(names: Sequence[str]) -> str:
    """The name of a run in the name of its file: `g1+g2`, `g2_groups=8`."""
    parts = []
    for name in names:
        found = specs.find(name)
        narrowed = "".join(f"_{key}={value}" for key, value in found[0].only.items())
        base = specs.split(name)[0]
        own = Path(base).name if specs.is_file(base) else found[0].name
        if specs.is_network(base):
            own = found[0].only["network"]
            narrowed = narrowed.replace(f"_network={own}", "")
        parts.append((base if len(found) > 1 else own) + narrowed)
    return file_name("+".join(parts))


def file_name(text: str) -> str:
    """A text as part of a file name, with a digest where it is too long or has other characters."""
    name = "".join(c if c.isalnum() or c in "+-_.=," else "-" for c in text)
    if name == text and len(name) <= NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]
    return f"{name[: NAME_CHARACTERS - DIGEST_CHARACTERS - 1]}-{digest}"

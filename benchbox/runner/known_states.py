"""Cache of what earlier runs learned of a machine, in the user's cache folder."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from benchbox import host
from benchbox.analysis.machine import Known
from benchbox.analysis.states import STEP, Bases
from benchbox.devices import gpu_options, providers
from benchbox.records import Context

MOST_GRAPHS = 500  # that are kept for a machine

Kept = TypeVar("Kept")


def path(context: Context) -> Path:
    """The file of a run's machine, as the same sentinel reads it.

    On a processor that is the same file whether ONNX Runtime or PyTorch runs the graphs.
    """
    gpu = context.host.get("gpu")
    if gpu is None:
        return _file(_processor_run(context))
    return _file([STEP, "gpu", *gpu_options.identity(gpu, context.provider, context.versions)])


def host_path(context: Context) -> Path | None:
    """The file of the processor that drives the GPU of a run, None without a GPU."""
    if context.host.get("gpu") is None:
        return None
    python = context.versions.get("python")
    return _file([STEP, "host", list(context.cpus), python, *_processor(context)])


def _file(parts: list[object]) -> Path:
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return _folder() / f"{digest[:32]}.json"


def _folder() -> Path:
    return host.cache_folder() / "states"


def _processor_run(context: Context) -> list[object]:
    device = providers.without_provider(
        context.device, context.provider, context.plugin.get("name", "")
    )
    numpy = context.versions.get("numpy")
    threads = context.plan.get("threads") or context.threads  # several read otherwise than one
    # "refill": what was learned without that sentinel is of no use.
    where = [device, threads, list(context.cpus), numpy, *_processor(context)]
    return [STEP, "refill", *where]


def _processor(context: Context) -> list[object]:
    keys = ("machine", "cpu", "cpus", "virtual")
    return [context.host.get(key) for key in keys]


def load(file: Path, host_file: Path | None = None) -> Known:
    """What earlier runs learned, of a GPU's host from a file of its own.

    Nothing where there is no file, or one that makes no sense.
    """
    known = _read(file)
    if host_file is None:
        return known
    return replace(known, bases=replace(known.bases, host=_read(host_file).bases.compute))


def _read(file: Path) -> Known:
    try:
        return _adapter().validate_python(host.read_json(file))
    except ValueError:
        return Known()


@cache
def _adapter() -> TypeAdapter[Known]:
    return TypeAdapter(Known)


def save(file: Path, known: Known, host_file: Path | None = None) -> None:
    """Write what was learned for `load` to read.

    Atomically; in a folder that cannot be written nothing is kept.
    """
    _write(file, replace(known, bases=replace(known.bases, host=None)))
    if host_file:
        _write(host_file, Known(Bases(known.bases.host)))


def _write(file: Path, known: Known) -> None:
    newest = replace(known, slopes=_newest(known.slopes), centers=_newest(known.centers))
    with contextlib.suppress(OSError):
        host.write(file, _adapter().dump_json(newest).decode())


def _newest(graphs: Mapping[str, Kept]) -> dict[str, Kept]:
    return dict(list(graphs.items())[-MOST_GRAPHS:])


def forget() -> int:
    """Delete what is known of every machine; return how many files there were."""
    files = list(_folder().glob("*.json"))
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)

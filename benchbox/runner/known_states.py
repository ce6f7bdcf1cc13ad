"""Cache of a machine's states from earlier runs, in the user's cache folder."""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.analysis.states import STEP, Histogram, Known
from benchbox.devices import gpu_options, providers
from benchbox.records import Context

NEGLIGIBLE = 1e-4  # of all readings: bins below are dropped
MAX_WEIGHT = 1e9  # readings in a bin
HIGHEST_BIN = 10_000  # a reading of e^50 ns


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
    return host.cache_folder() / "states" / f"{digest[:32]}.json"


def _processor_run(context: Context) -> list[object]:
    device = providers.without_provider(context.device, context.provider)
    numpy = context.versions.get("numpy")
    return [STEP, device, context.threads, list(context.cpus), numpy, *_processor(context)]


def _processor(context: Context) -> list[object]:
    keys = ("machine", "cpu", "cpus", "virtual")
    return [context.host.get(key) for key in keys]


def load(file: Path, host_file: Path | None = None) -> Known:
    """Read the histograms of earlier runs, those of a GPU's host from a file of its own.

    They are empty where there is no file, or one that makes no sense.
    """
    return replace(_read(file), host=_read(host_file).compute) if host_file else _read(file)


def _read(file: Path) -> Known:
    data: Any = host.read_json(file)
    try:
        return Known(_from_json(data["compute"]), _from_json(data["stream"]))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return Known()


def save(file: Path, known: Known, host_file: Path | None = None) -> None:
    """Write histograms for `load` to read.

    Atomically; in a folder that cannot be written nothing is kept.
    """
    _write(file, known)
    if host_file:
        _write(host_file, Known(known.host))


def _write(file: Path, known: Known) -> None:
    data = {"compute": _to_json(known.compute), "stream": _to_json(known.stream)}
    with contextlib.suppress(OSError):
        host.write(file, json.dumps(data))


def _to_json(histogram: Histogram) -> dict[str, object]:
    least = NEGLIGIBLE * histogram.total
    bins = {str(i): round(n, 6) for i, n in sorted(histogram.bins.items()) if n > least}
    return {"bins": bins, "base_ns": histogram.base_ns}


def _from_json(data: Mapping[str, Any]) -> Histogram:
    bins = {int(index): float(weight) for index, weight in data["bins"].items()}
    base_ns = None if data["base_ns"] is None else float(data["base_ns"])
    sane = all(0 <= i <= HIGHEST_BIN and 0 < n <= MAX_WEIGHT for i, n in bins.items())
    if not sane or not 0 < (1.0 if base_ns is None else base_ns) < math.exp(STEP * HIGHEST_BIN):
        raise ValueError("no histogram")
    return Histogram(bins, base_ns)

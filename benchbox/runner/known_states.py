"""What earlier runs saw of a machine's states, kept in the user's cache folder between runs."""

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
MOST = 1e9  # readings in a bin
HIGHEST_BIN = 10_000  # a reading of e^50 ns


def path(context: Context) -> Path:
    """Return the file that knows the machine of a run, as the same probe sees it.

    On a processor whatever runs the graphs: beside ONNX Runtime and PyTorch it reads the same.
    """
    gpu = context.host.get("gpu")
    if gpu is None:
        return _file(_processors(context))
    return _file([STEP, "gpu", *gpu_options.identity(gpu, context.provider, context.versions)])


def beside(context: Context) -> Path | None:
    """Return the file that knows the processor beside the GPU of a run, None where it has none."""
    if context.host.get("gpu") is None:
        return None
    python = context.versions.get("python")
    return _file([STEP, "host", list(context.cpus), python, *_processor(context)])


def _file(parts: list[object]) -> Path:
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return host.cache_folder() / "states" / f"{digest[:32]}.json"


def _processors(context: Context) -> list[object]:
    device = providers.without_provider(context.device, context.provider)
    numpy = context.versions.get("numpy")
    return [STEP, device, context.threads, list(context.cpus), numpy, *_processor(context)]


def _processor(context: Context) -> list[object]:
    keys = ("machine", "cpu", "cpus", "virtual")
    return [context.host.get(key) for key in keys]


def load(file: Path, beside: Path | None = None) -> Known:
    """Return what is known, also of the processor beside a GPU, which has a file of its own.

    Nothing where there is no file, or one that makes no sense.
    """
    return replace(_read(file), host=_read(beside).compute) if beside else _read(file)


def _read(file: Path) -> Known:
    try:
        data = json.loads(file.read_bytes())
        return Known(_histogram(data["compute"]), _histogram(data["stream"]))
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return Known()
    except RecursionError:  # brackets without end
        return Known()


def save(file: Path, known: Known, beside: Path | None = None) -> None:
    """Keep what is known, as `load` finds it.

    At once or not at all; a folder that cannot be written keeps nothing.
    """
    _write(file, known)
    if beside:
        _write(beside, Known(known.host))


def _write(file: Path, known: Known) -> None:
    data = {"compute": _plain(known.compute), "stream": _plain(known.stream)}
    with contextlib.suppress(OSError):
        host.write(file, json.dumps(data))


def _plain(histogram: Histogram) -> dict[str, object]:
    least = NEGLIGIBLE * histogram.total
    bins = {str(i): round(n, 6) for i, n in sorted(histogram.bins.items()) if n > least}
    return {"bins": bins, "base_ns": histogram.base_ns}


def _histogram(data: Mapping[str, Any]) -> Histogram:
    bins = {int(index): float(weight) for index, weight in data["bins"].items()}
    base_ns = None if data["base_ns"] is None else float(data["base_ns"])
    sane = all(0 <= i <= HIGHEST_BIN and 0 < n <= MOST for i, n in bins.items())
    if not sane or not 0 < (1.0 if base_ns is None else base_ns) < math.exp(STEP * HIGHEST_BIN):
        raise ValueError("no histogram")
    return Histogram(bins, base_ns)

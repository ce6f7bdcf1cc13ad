"""Latency benchmarks of networks and their blocks: what they cost on paper and on a device."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "read"]

PUBLIC = {"read": "benchbox.report.frame"}  # loaded when first asked for: pandas takes a second


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)

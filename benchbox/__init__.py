"""Latency benchmarks of networks and their blocks: what they cost on paper and on a device."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
# Each is loaded when first asked for: pandas takes a second, and a device has the agent alone.
# Their types are in __init__.pyi.
PUBLIC = {
    "Result": "benchbox.api.result",
    "Step": "benchbox.api.python",
    "compare": "benchbox.api.python",
    "read": "benchbox.report.frame",
    "run": "benchbox.api.python",
}
__all__ = ["Result", "Step", "__version__", "compare", "errors", "read", "run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    if name == "errors":
        return import_module("benchbox.errors")
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC, "errors"]

"""One run: prepare, measure on every device, record; also profiles."""

from benchbox.runner.one_device import (
    Outcome,
    Prepared,
    Request,
    Watcher,
    measure,
    prepare,
    prepared,
    run,
    unfold,
)

__all__ = [
    "Outcome",
    "Prepared",
    "Request",
    "Watcher",
    "measure",
    "prepare",
    "prepared",
    "run",
    "unfold",
]

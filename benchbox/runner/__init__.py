"""Run of cases: prepare, measure on every device, record; also profiles."""

from benchbox.runner.prepare import prepare, unfold
from benchbox.runner.request import Outcome, Request, Watcher
from benchbox.runner.several_devices import run

__all__ = ["Outcome", "Request", "Watcher", "prepare", "run", "unfold"]

"""Every kind of fault, by name; importing the families registers theirs."""

import importlib
import pkgutil
from pathlib import Path

from tests.e2e.faults.bench import FAULTS

__all__ = ["FAULTS"]

for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if module.name not in ("__main__", "broken_entry", "catalogue", "test_faults"):
        importlib.import_module(f"tests.e2e.faults.{module.name}")

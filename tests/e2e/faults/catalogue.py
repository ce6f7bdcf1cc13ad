"""Every kind of fault, by name; importing the families registers theirs."""

from tests.e2e.faults import (
    builders,
    hostile,
    identity,
    losses,
    mistakes,
    output,
    terminal,
)
from tests.e2e.faults.bench import FAULTS

__all__ = [
    "FAULTS",
    "builders",
    "hostile",
    "identity",
    "losses",
    "mistakes",
    "output",
    "terminal",
]

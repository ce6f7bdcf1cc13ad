"""Every kind of fault, by name; importing the families registers theirs."""

from tests.e2e.faults import figures, hostile, losses, mistakes, output
from tests.e2e.faults.bench import FAULTS

__all__ = ["FAULTS", "figures", "hostile", "losses", "mistakes", "output"]

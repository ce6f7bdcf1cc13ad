"""`make bench`: what benchbox costs, and how well its figures repeat."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # where pytest finds the tests' own helpers

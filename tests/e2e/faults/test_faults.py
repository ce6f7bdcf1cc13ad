"""A fixed choice of the faults that `make faults` injects by the thousand; every kind is there."""

import random
from pathlib import Path

import pytest

from tests.e2e.faults.bench import Bench, Fault
from tests.e2e.faults.catalogue import FAULTS

LEAST = 60
CHOSEN = [
    pytest.param(fault, seed, id=f"{fault.kind}-{seed}")
    for seed in range(-(-LEAST // len(FAULTS)))
    for fault in FAULTS.values()
]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), CHOSEN)
def test_a_fault_harms_nothing(fault: Fault, seed: int, tmp_path: Path) -> None:
    fault.inject(Bench(tmp_path), random.Random(seed))

"""Input arrays: seeded, the same everywhere, and never zeros."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox.agent.ort import inputs
from benchbox.transports.local import ROOT


@settings(deadline=None)
@given(
    st.text(max_size=5),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(inputs.DTYPES),
    st.integers(0, 2**32),
)
def test_inputs_are_as_asked_for_finite_never_all_zero_and_always_the_same(
    name: str, shape: list[int], dtype: str, seed: int
) -> None:
    array = inputs.make(name, shape, dtype, seed)
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype.name) == (tuple(shape), dtype)
    assert np.isfinite(array.astype(np.float64)).all()
    assert array.any()
    assert np.array_equal(array, inputs.make(name, shape, dtype, seed))


def test_inputs_differ_by_name_and_by_seed_and_span_the_range_of_their_type() -> None:
    arrays = [inputs.make(name, (8,), "float32", seed) for name in "ab" for seed in (0, 1)]
    assert len({array.tobytes() for array in arrays}) == 4
    assert set(inputs.make("x", (99,), "int64", 0)) == {0, 1}  # valid indices
    assert set(inputs.make("x", (9999,), "uint8", 0)) == set(range(256))
    with pytest.raises(ValueError, match="'x' is of type complex64; benchbox can fill float16"):
        inputs.make("x", (1,), "complex64", 0)


def test_inputs_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from benchbox.agent.ort import inputs; h = hashlib.sha256()\n"
        "for d in inputs.DTYPES: h.update(inputs.make('x', (3, 5), d, 7).tobytes())\n"
        "print(h.hexdigest())"
    )
    digests = set()
    for seed in ("123", "124"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1

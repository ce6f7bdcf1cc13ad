"""The checks of `make test-cuda`, as far as pytest is to run them: only where there is a GPU."""

from pathlib import Path

import pytest

from tests.cuda import checks, needs
from tests.cuda.bench import Bench, NotRun


@pytest.fixture(scope="module")
def gpu() -> None:
    if missing := needs.missing():
        pytest.skip(f"no GPU to test on: {missing}")


@pytest.mark.cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", checks.CHECKS)
def test_the_gpu_passes_a_check(name: str, tmp_path: Path) -> None:
    try:
        check = checks.CHECKS[name]
        assert check.make(Bench(tmp_path).within(check.limit_s))
    except NotRun as reason:
        pytest.skip(str(reason))

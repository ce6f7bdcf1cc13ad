"""The plan of a run, made of the options and of the cases."""

import pytest

from benchbox.api.options import Cases, JobOptions
from benchbox.api.plan import plan
from tests.specs.conftest import cases_of


@pytest.mark.parametrize(
    ("name", "seconds", "on_gpu"),
    [
        ("models", 30 * 3.4, 30 * 5.5),
        ("g2:groups=1,scale=1", 45.0, 60.0),
        ("detectors", 18 * 3.4 * 7, 18 * 5.5),
    ],
)
def test_a_run_has_time_for_its_cases_and_on_processors_for_the_size_of_their_images(
    name: str, seconds: float, on_gpu: float
) -> None:
    options = JobOptions(cases=Cases([name]))
    for is_gpu, expected in ((False, seconds), (True, on_gpu)):
        found = plan(options, cases_of(name), is_gpu=is_gpu)
        assert found.max_time_s == pytest.approx(expected)

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.errors import RecordError, UsageError
from benchbox.records import Run, SpecFacts, resume
from tests.helpers.record_files import context, record, write


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "2030-01-01T00:00:00Z", "benchbox": "0.2"},
        {"host": {**context().host, "memory_bytes": 6}},
        {"plan": {**context().plan, "precision": 0.05}},
    ],
)
def test_a_run_is_resumed_by_a_context_that_differs_in_nothing_that_counts(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = write(tmp_path, record())
    run = resume.previous(tmp_path, context(**changes))
    assert isinstance(run, Run)
    assert (run.path, len(run.records)) == (path, 1)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: .*cpu holds no run of g2; run it first"):
        resume.previous(tmp_path, context())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threads": 4}, "threads was 1 and is 4 now"),
        ({"provider": "CUDA"}, "provider was 'CPUExecutionProvider' and is 'CUDA' now"),
        ({"channels": "gpu"}, "channels was 'arm' and is 'gpu' now"),
        ({"seed": 7}, "seed was 0 and is 7 now"),
        ({"versions": {"onnxruntime": "9"}}, "versions was onnxruntime 1.22 and is onnxruntime 9"),
        ({"specs": [SpecFacts("g2", "G2", "cd" * 32)]}, "spec g2 was 'abab"),
        ({"plan": {"batch": 8, "shapes": []}}, "batch was none and is 8 now"),
        ({"plan": {"batch": None, "shapes": ["x=1"]}}, "shapes was none and is ['x=1'] now"),
        ({"plan": {"weights": {"n": "ab" * 32}}}, "weights was none and is n abababababab now"),
        ({"host": {"machine": "aarch64"}}, "machine was 'x86_64' and is 'aarch64' now; cpu was"),
    ],
)
def test_another_run_is_not_resumed_and_the_difference_is_said(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write(tmp_path, record())
    with pytest.raises(RecordError, match=re.escape(f"{path}: cannot be resumed: {sentence}")):
        resume.previous(tmp_path, context(**changes))


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        ({}, "none"),
        ({"n": "cd"}, "n cd"),
        ({"m": "ab"}, "m ab"),
        ({"n": "ab", "m": "ab"}, "n ab, m ab"),
    ],
)
def test_a_run_with_other_weights_is_not_resumed(
    tmp_path: Path, now: dict[str, str], shown: str
) -> None:
    plan = context().plan
    before = context(plan={**plan, "weights": {"n": "ab"}})
    write(tmp_path, record(), of=before)
    assert resume.previous(tmp_path, before)
    with pytest.raises(RecordError, match=f"resumed: weights was n ab and is {shown} now$"):
        resume.previous(tmp_path, replace(before, plan={**plan, "weights": now}))

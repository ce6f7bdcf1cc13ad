"""Specs by name and in files, unfolded into cases or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox import specs
from benchbox.errors import UsageError
from benchbox.specs import Case, Selection, TensorSpec

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a spec to mine.toml."""

    def to_file(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return to_file


def shaped(*shape: int, name: str = "x", dtype: str = "float32", batch: int = 0) -> Selection:
    """A selection of one shape, and of a batch unless that is 0."""
    return Selection(shapes=(TensorSpec(name, shape, dtype),), batches=(batch,) if batch else ())


def cases_of(name: str | Path, selection: Selection | None = None) -> list[Case]:
    (spec,) = specs.find(str(name))
    return spec.cases(selection or Selection())


def only(name: str | Path, selection: Selection | None = None) -> Case:
    (case,) = cases_of(name, selection)
    return case


def refusal(
    name: str | Path, selection: Selection | None = None, kind: type[UsageError] = UsageError
) -> str:
    with pytest.raises(kind) as caught:
        cases_of(name, selection)
    return str(caught.value)

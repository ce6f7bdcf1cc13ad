"""Reference runs: complete, anonymous, explained, and with the tables that their records give."""

import re
import socket
from pathlib import Path

import pytest

from benchbox import records
from benchbox.report import files, frame
from tests.helpers import explained

ROOT = Path(__file__).parents[2]
RUNS = sorted((ROOT / "results" / "reference").glob("*/*.jsonl"))


def test_there_is_a_reference_run_of_every_guideline_and_of_the_networks() -> None:
    specs = {spec.name for path in RUNS for spec in records.read(path).context.specs}
    assert specs >= {"g1", "g2", "g3", "g4", "models", "dfc", "attention", "reparam", "compare"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_tables_beside_a_record_are_made_of_it(path: Path) -> None:
    run = records.read(path)
    assert run.warnings == []
    assert path.with_suffix(".csv").read_text() == files.to_csv(frame.to_frame([run]))
    assert path.with_suffix(".md").read_text() == files.to_markdown([run])


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_record_names_no_folder_user_or_host(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"(?<![\w.])/\w+/", text) is None
    assert socket.gethostname() not in text


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_field_of_a_record_is_explained_beside_it(path: Path) -> None:
    assert explained.unexplained(path) == set()

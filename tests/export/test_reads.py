"""Files that count as read by a builder."""

from pathlib import Path

import pytest

from benchbox.export import reads
from benchbox.specs import Builder


def test_benchbox_is_no_file_of_a_builder_though_it_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(reads.__file__)
    monkeypatch.chdir(own.parents[2])
    (tmp_path / "data.txt").write_text("a")
    with reads.recorded(Builder("net.py:build", tmp_path / "net.py")) as found:
        own.read_bytes()
        (tmp_path / "data.txt").read_bytes()
    assert {folder: list(files) for folder, files in found.items()} == {"builder": ["data.txt"]}

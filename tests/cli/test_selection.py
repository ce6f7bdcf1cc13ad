"""Names and titles of runs."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.cli import compare as cli
from benchbox.cli import selection
from benchbox.cli.options import CaseOptions
from benchbox.networks import catalogue
from tests.conftest import Files

# what a run is called


LONG = "a-network-with-a-name-that-does-not-end-"


@given(st.text(max_size=300))
def test_a_file_name_is_short_and_has_no_odd_characters(text: str) -> None:
    name = selection.file_name(text)
    assert len(name) <= selection.NAME_CHARACTERS
    assert selection.file_name(text) == name
    assert all(each.isalnum() or each in "+-_.=," for each in name)


@pytest.mark.parametrize("length", [1, 99, 100])
def test_a_name_that_fits_stays_as_it_is(length: int) -> None:
    assert selection.file_name("n" * length) == "n" * length


def test_a_long_name_ends_in_a_digest_of_all_of_it() -> None:
    texts = [LONG * 5 + end for end in ("a", "b", "a+b", "a:b", "a/b")]
    names = [selection.file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for text, name in zip(texts, names, strict=True):
        assert len(name) == selection.NAME_CHARACTERS
        digest = hashlib.sha256(text.encode()).hexdigest()
        start, _, end = name.rpartition("-")
        assert digest.startswith(end)
        assert len(end) == 8
        assert text.startswith(start)


def test_runs_of_many_networks_that_differ_in_the_last_have_names_of_their_own() -> None:
    families = ("ghostnetv2", "ghostnetv3", "mobilenetv2", "mobilenetv3_small", "shufflenetv2")
    first = [name for family in families for name in catalogue.NETWORKS if name.startswith(family)]
    runs = [selection.run_name([*first[:9], last]) for last in first[9:]]
    assert len(set(runs)) == len(runs) > 1
    assert all(len(name) == selection.NAME_CHARACTERS for name in runs)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["deep/down/a.onnx", "ghostnetv2"], "a against ghostnetv2_x1_0"),
        (["{tmp}/deep/down/a.onnx", "b.onnx"], "a against b"),
        (["b.onnx", "ghostnetv2", "g2:groups=8,scale=1"], "b against ghostnetv2_x1_0 and {g2}"),
        (["deep/mine.toml:c=2", "deep/mine.toml:c=1"], "mine:c=2 against mine:c=1"),
    ],
)
def test_a_title_has_no_folders(
    files: Files, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], title: str
) -> None:
    files("deep/down/a.onnx", "b.onnx")
    (in_tmp / "deep/mine.toml").write_text(
        'title = "Mine"\nbuilder = "json:dumps"\ninput = [1]\n'
        "[[cases]]\nargs = { c = 1 }\n[[cases]]\nargs = { c = 2 }\n"
    )
    made: list[str] = []
    monkeypatch.setattr(cli, "measure", lambda _, found, *__: made.append(found[0].title))
    spelled = [name.format(tmp=in_tmp) for name in names]
    cli.compare(SimpleNamespace(cases=CaseOptions(spelled)))  # type: ignore[arg-type]
    assert made == [title.format(g2="g2:groups=8,scale=1")]

"""What a builder of a git revision imports and reads: that revision's, not what is newer."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from benchbox.export import checkout, reads, source_digest
from benchbox.export.user_builder import own_modules
from benchbox.specs import Builder, Checkout

BOTH = ["src/r_net.py", "src/r_pkg/__init__.py", "src/r_pkg/part.py", "lib/r_tool/__init__.py"]
BOTH += ["src/r_space/inner.py", "data.txt"]
NEW = ["src/r_added.py", "src/r_pkg/added.py", "src/r_bare/inner.py"]
IGNORED = ["src/r_pkg/built.py", "gen/r_made.py"]
INSTALLED = "venv/lib/python3/site-packages/r_third.py"


class Editable:
    """The finder of an editable install, as setuptools writes it."""

    def __init__(self, top: Path) -> None:
        self.folder = top / "lib/r_tool"

    def find_spec(self, name: str, _: Sequence[str] | None, __: object) -> ModuleSpec | None:
        if name != "r_tool":
            return None
        return spec_from_file_location(
            name, self.folder / "__init__.py", submodule_search_locations=[str(self.folder)]
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout that lies in the repository itself, which Python's path names."""
    top, folder = tmp_path / "repo", tmp_path / "repo/cache/old"
    files = {top: [*BOTH, *NEW, *IGNORED, INSTALLED], folder: [*BOTH, "src/r_gone.py"]}
    for where, names in files.items():
        for name in names:
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_text(f"WORD = {where.name!r}\n")
    (top / ".git").mkdir()
    monkeypatch.chdir(top)
    installed = [str((top / INSTALLED).parent)]
    monkeypatch.setattr(sys, "path", [*sys.path, *installed, str(top / "src"), str(top / "gen")])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable(top)])
    return Checkout(top, folder, "c0ffee", frozenset({*IGNORED[:1], "gen", "cache"}))


def word(name: str) -> str:
    return str(import_module(name).WORD)


def test_a_builder_of_a_checkout_imports_from_there(place: Checkout) -> None:
    before = list(sys.meta_path)
    with own_modules(), checkout.within(place):
        old = ["r_net", "r_pkg", "r_pkg.part", "r_tool", "r_space.inner", "r_gone"]
        assert {word(name) for name in old} == {"old"}
        for name in ("r_added", "r_pkg.added", "r_bare.inner"):
            with pytest.raises(ModuleNotFoundError):
                word(name)
        assert [word(name) for name in ("r_pkg.built", "r_made", "r_third")] == ["repo"] * 3
        assert "old" in Path("data.txt").read_text()
        import_module("statistics")
    assert (Path.cwd(), sys.meta_path) == (place.top, before)
    with own_modules():
        assert [word(name) for name in ("r_net", "r_tool", "r_added")] == ["repo"] * 3


def test_the_graph_of_a_checkout_is_that_of_its_commit(place: Checkout) -> None:
    own = Builder("net.py:build", place.folder / "src/r_net.py")
    named = Builder("r_net:build", checkout=place)
    there = Builder("net.py:build", place.folder / "src/r_net.py", checkout=place)
    later = Checkout(place.top, place.folder, "decade", place.ignored)
    others = [Builder("net.py:build", own.path, checkout=later), own]
    digests = list(map(source_digest.digest, [there, named, *others]))
    assert digests[0] == digests[1] and len({*digests}) == 3
    assert source_digest.place(named)[0] == place.folder / "src/r_net.py"
    for where, own in ((place.folder, place), (place.top, None)):
        tool = source_digest.place(Builder("r_tool:build", checkout=own))
        assert tool == (where / "lib/r_tool/__init__.py", where / "lib", "r_tool")
    told = checkout.of(checkout.message(place))
    assert told == place and checkout.of(checkout.message(None)) is None


def test_files_anywhere_in_the_repository_of_a_builder_count(
    place: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.top / "bench").mkdir()
    (place.top / "bench/net.py").touch()
    monkeypatch.chdir(place.top / "bench")
    with reads.recorded(Builder("net.py:build", place.top / "bench/net.py")) as found:
        (place.top / "src/r_net.py").read_text()
    assert [*found] == ["repository"] and [*found["repository"]] == ["src/r_net.py"]

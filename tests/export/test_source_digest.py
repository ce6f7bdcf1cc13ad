from pathlib import Path

import pytest

from benchbox.errors import SpecError
from benchbox.export import source_digest
from benchbox.specs import Builder

BUILD = "def build(): ...\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def of_file(folder: Path, name: str = "mine.py") -> str:
    return source_digest.digest(Builder(f"{name}:build", folder / name))


FILES = {
    "mine.py": "import beside\nfrom pack import inner\nimport os, torch\n" + BUILD,
    "beside.py": "from further import thing\n",
    "further.py": "thing = 1\n",
    "pack/__init__.py": "",
    "pack/inner.py": "from . import leaf\nfrom .deep import low\n",
    "pack/leaf.py": "",
    "pack/deep/__init__.py": "",
    "pack/deep/low.py": "from .. import root\nfrom ..cousin import x\n",
    "pack/root.py": "",
    "pack/cousin.py": "x = 1\n",
    "pack/unused.py": "",
    "unrelated.py": "",
    "torch/nn.py": "",
}
USED = [name for name in FILES if name not in ("pack/unused.py", "unrelated.py", "torch/nn.py")]


@pytest.mark.parametrize("name", FILES)
def test_the_digest_changes_with_what_the_file_imports_from_beside_it_only(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, FILES)
    before = of_file(tmp_path)
    write(tmp_path, {name: FILES[name] + "# changed\n"})
    assert (of_file(tmp_path) != before) == (name in USED)


MODULES = {
    "family/__init__.py": "from family.registry import names\n",
    "family/registry.py": "names = []\n",
    "family/nets/__init__.py": "",
    "family/nets/small.py": "from ..layers import conv\nimport helper\n" + BUILD,
    "family/layers.py": "conv = 1\n",
    "family/other.py": "",
    "helper.py": "",
    "plain.py": "import helper\n" + BUILD,
}
FAMILY = {name for name in MODULES if name.startswith("family")} - {"family/other.py"}


@pytest.mark.parametrize(
    ("reference", "used"),
    [
        (
            "family.nets.small:build",
            FAMILY,
        ),
        ("family:build", {"family/__init__.py", "family/registry.py"}),
        ("plain:build", {"plain.py", "helper.py"}),
    ],
)
@pytest.mark.parametrize("name", MODULES)
def test_the_digest_changes_with_what_a_module_imports_from_its_own_package(
    in_tmp: Path, reference: str, used: set[str], name: str
) -> None:
    write(in_tmp, MODULES)
    before = source_digest.digest(Builder(reference))
    write(in_tmp, {name: MODULES[name] + "# changed\n"})
    assert (source_digest.digest(Builder(reference)) != before) == (name in used)


def test_a_digest_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        write(folder, FILES)
    assert of_file(tmp_path / "one") == of_file(tmp_path / "two")


def test_files_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "import other", "other.py": "import mine"})
    assert of_file(tmp_path) == of_file(tmp_path)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nowhere:build", "there is no module 'nowhere'"),
        ("family.nowhere:build", "there is no module 'family.nowhere'"),
        ("plain.nowhere:build", "there is no module 'plain.nowhere'"),
        ("sys:exit", "there is no module 'sys'"),
        ("empty:build", "'empty' is not a Python source file"),
    ],
)
def test_a_module_that_has_no_source_is_refused(
    in_tmp: Path, reference: str, sentence: str
) -> None:
    write(in_tmp, MODULES)
    (in_tmp / "empty").mkdir()
    with pytest.raises(SpecError) as caught:
        source_digest.digest(Builder(reference))
    assert str(caught.value) == f"builder {reference!r}: {sentence}"
    assert len(source_digest.digest(Builder("benchbox.networks.guidelines:fragments"))) == 64


def test_no_module_is_run_to_find_its_source(in_tmp: Path) -> None:
    bomb = "from pathlib import Path\nPath('it_ran').touch()\n"
    write(
        in_tmp,
        {"loud/__init__.py": bomb, "loud/net.py": bomb + BUILD, "mine.py": "import loud\n" + bomb},
    )
    source_digest.digest(Builder("loud.net:build"))
    of_file(in_tmp)
    assert not (in_tmp / "it_ran").exists()


@pytest.mark.parametrize(
    ("changed", "texts"),
    [
        *(
            ("mine.py", {"mine.py": text})
            for text in ("def build(:\n", "x = '\0'\n", "# coding: nonsense\n", "\ufeff")
        ),
        ("beside.py", {"mine.py": "import beside\nx = '\\d'\n", "beside.py": ""}),
    ],
)
def test_a_file_that_does_not_parse_or_that_python_warns_of_has_a_digest(
    tmp_path: Path, changed: str, texts: dict[str, str]
) -> None:
    write(tmp_path, texts)
    before = of_file(tmp_path)
    write(tmp_path, {changed: texts[changed] + "# changed\n"})
    assert of_file(tmp_path) != before


def test_moving_text_from_one_file_to_another_changes_the_digest(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "import a, b", "a.py": "x = 1\n", "b.py": ""})
    before = of_file(tmp_path)
    write(tmp_path, {"a.py": "", "b.py": "x = 1\n"})
    assert of_file(tmp_path) != before

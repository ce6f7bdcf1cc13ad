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
    "further.py": "import mine\nthing = 1\n",
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
        ("family.nets.small:build", FAMILY),
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


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nowhere:build", "there is no module 'nowhere'"),
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
    loud = {"loud/__init__.py": bomb, "loud/net.py": bomb + BUILD}
    write(in_tmp, loud | {"mine.py": "import loud\n" + bomb})
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


def test_the_digest_depends_on_the_files_of_the_text_and_not_on_their_folder(
    tmp_path: Path,
) -> None:
    texts = {"mine.py": "import a, b", "a.py": "x = 1\n", "b.py": ""}
    for folder in ("one", "two"):
        write(tmp_path / folder, texts)
    before = of_file(tmp_path / "one")
    assert of_file(tmp_path / "two") == before
    write(tmp_path / "two", {"a.py": "", "b.py": "x = 1\n"})
    assert of_file(tmp_path / "two") != before

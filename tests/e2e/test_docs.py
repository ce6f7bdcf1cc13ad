"""README and docs: generated parts are current, links and paths exist, commands work."""

import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from benchbox import records
from benchbox.cli.app import app
from benchbox.report import files, frame
from tests.conftest import WriteOnnx
from tests.helpers import explained
from tests.helpers.command import invoke
from tools.docs import pages

PAGES = pages.pages()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(pages.ROOT))
)


def fenced(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCED.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    """A page without what is generated from the program's own help, and without blocks of code."""
    return FENCED.sub("", page.read_text().partition(pages.COMMANDS)[0])


def lines(page: Path) -> Iterator[list[str]]:
    """The command lines in the blocks of a page."""
    for block in fenced(page, "sh", "console"):
        for line in block.splitlines():
            if line.removeprefix("$ ").startswith("benchbox "):
                yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


def inline(page: Path) -> Iterator[list[str]]:
    """The commands with at least one argument that stand in the text of a page."""
    for text in re.findall(r"`benchbox ([^`]+)`", prose(page)):
        words = text.split()
        if "|" not in text and len(words) > 1 and words[0] != "device":
            yield words


def parsed(words: list[str]) -> dict[str, Any]:
    """What the program makes of a command line, without running it; raises for a wrong one."""
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return dict(command.make_context(words[0], rest).params)


def test_generated_parts_are_current() -> None:
    old = [path for path, text in pages.generated().items() if path.read_text() != text]
    assert old == [], "run `make docs`"


def test_the_readme_is_short() -> None:
    assert len((pages.ROOT / "README.md").read_text().splitlines()) <= 150


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        slugs = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
        assert not anchor or anchor in slugs, link


@each_page
def test_paths_of_the_source_exist(page: Path) -> None:
    """A path is below the root of the repository or, in tables of modules, below benchbox/."""
    if page.name == "CHANGELOG.md":
        return  # tells of what was
    for path in re.findall(r"`((?:[\w-]+/)+[\w.-]*)(?:[:#][^`]*)?`", prose(page)):
        below = [pages.ROOT / path, pages.ROOT / "benchbox" / path, page.parent / path]
        assert any(each.exists() for each in below), path


@each_page
def test_command_lines_are_accepted(page: Path) -> None:
    for words in [*lines(page), *inline(page)]:
        assert parsed(words), words


@pytest.mark.slow
@pytest.mark.usefixtures("shared_cache")
def test_commands_on_graphs_of_ones_own_work(
    in_tmp: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands of the pages that take .onnx files, the worked example, or runs alone."""
    for name, value in {"PRECISION": "50%", "MAX_TIME": "0.3s", "SESSIONS": "1"}.items():
        monkeypatch.setenv(f"BENCHBOX_{name}", value)
    for name in ("model", "other"):
        write_onnx(name)
    (example,) = [page for page in PAGES if page.parent.name == "blocks"]
    for language, name in {"python": "mine.py", "toml": "mine.toml"}.items():
        (in_tmp / name).write_text(fenced(example, language)[0])
    (in_tmp / "results").mkdir()
    (in_tmp / "results" / "reference").symlink_to(pages.ROOT / "results" / "reference")
    own = [tuple(words) for page in PAGES for words in lines(page) if is_own(words)]
    commands = dict.fromkeys(own)  # each once
    assert {"run", "compare", "show", "export", "profile", "report", "list", "device"} <= {
        words[0] for words in commands
    }
    for words in sorted(commands, key=lambda words: words[0] == "report"):
        found = [sorted(map(str, Path().glob(w))) if "*" in w else [w] for w in words]
        result = invoke(*(word for each in found for word in each))
        # The verdict on two graphs that are equal is for the machine to say.
        said = {"--strict": (4, 5), "--fail-on": (3,)}
        codes = [0, *(code for option, ends in said.items() if option in words for code in ends)]
        assert result.exit_code in codes, result.output


def is_own(words: list[str]) -> bool:
    if words[0] in ("list", "report"):
        return True
    values = parsed(words)
    if words[0] == "device":
        return words[1] == "add" and not values["install"]
    return all(re.match(r"\./(\w+\.onnx|mine\.toml)", name) for name in values.get("names", [""]))


ROOT = Path(__file__).parents[2]
RUNS = sorted((ROOT / "results" / "reference").glob("*/*.jsonl"))


def test_there_is_a_reference_run_of_every_guideline_and_of_the_networks() -> None:
    specs = {spec.name for path in RUNS for spec in records.read(path).context.specs}
    assert specs >= {"g1", "g2", "g3", "g4", "models", "dfc", "attention", "reparam", "compare"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_record_gives_its_tables_is_explained_and_names_no_folder_user_or_host(
    path: Path,
) -> None:
    run = records.read(path)
    assert run.warnings == []
    assert path.with_suffix(".csv").read_text() == files.to_csv(frame.to_frame([run]))
    assert path.with_suffix(".md").read_text() == files.to_markdown([run])
    assert explained.unexplained(path) == set()
    text = path.read_text()
    assert re.search(r"(?<![\w.])/\w+/", text) is None
    assert socket.gethostname() not in text

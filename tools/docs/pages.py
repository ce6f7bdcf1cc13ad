"""Generated files of the documentation, and the tables in README and pages that records give."""

import os
import re
from pathlib import Path

from tools.docs import commands, picture

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "cpu"
# From the line with the file, and what the title of its table begins with, to `<!-- end -->`.
TABLE = re.compile(
    r"(<!-- table of (?P<file>\S+)(?: (?P<title>[^>]+?))? -->\n).*?(<!-- end -->)", re.DOTALL
)

COMMANDS = "<!-- written by `make docs` from here on -->\n"


def generated() -> dict[Path, str]:
    """What each generated file, and each page with tables of records, must hold."""
    (models,) = REFERENCE.glob("*-models.jsonl")
    return {
        ROOT / "docs" / "networks.svg": picture.draw(models),
        ROOT / "docs" / "cli.md": _with_reference((ROOT / "docs" / "cli.md").read_text()),
        **{path: _filled(path) for path in pages() if TABLE.search(path.read_text())},
    }


def pages() -> list[Path]:
    """README and all other pages for readers of the project."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "blocks" / "README.md",
        ROOT / "results" / "README.md",
    ]


def _with_reference(page: str) -> str:
    """The page of commands; what stands above the marker is written by hand."""
    written, marker, _ = page.partition(COMMANDS)
    return f"{written}{marker}\n{commands.reference()}"


def _filled(page: Path) -> str:
    def fill(found: re.Match[str]) -> str:
        (path,) = REFERENCE.glob(f"*-{found['file']}.md")
        link = Path(os.path.relpath(path, page.parent)).as_posix()
        links = f"([notes]({link}), [samples]({link.removesuffix('.md')}.jsonl))"
        return f"{found[1]}{_table(path, found['title'] or '', links)}\n{found[4]}"

    return TABLE.sub(fill, page.read_text())


def _table(path: Path, title: str, links: str) -> str:
    """A table of a run's Markdown with its title and sentences, without the notes below."""
    _, *sections = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(title)]
    heading, text = section.split("\n", 1)
    without_notes = re.split(r"^- ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return f"**{heading}** {links}\n{without_notes.rstrip()}"

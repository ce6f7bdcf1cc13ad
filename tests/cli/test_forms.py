"""`benchbox report` in its formats, and `benchbox open`."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.command import invoke

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "cpu"
(COMPARED,) = REFERENCE.glob("*-compare-*.jsonl")


@pytest.fixture
def run(in_tmp: Path) -> Path:
    """The record of a comparison as the newest run."""
    assert in_tmp == Path.cwd()
    folder = Path("results", "cpu")
    folder.mkdir(parents=True)
    return Path(shutil.copy(COMPARED, folder / "20261129T000000Z-compare.jsonl"))


BEGINNINGS = {
    "t.csv": b"spec,case",
    "t.md": b"## ghostnetv2",
    "t.json": b"[\n",
    "t.tex": b"% in the preamble",
    "t.bib": b"@software{benchbox",
    "T.SVG": b"<svg",
    "t.pdf": b"%PDF",
    "t.png": b"\x89PNG",
    "t.html": b"<!doctype html>",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.usefixtures("run")
def test_the_ending_of_a_file_says_its_format(name: str) -> None:
    result = invoke("report", "-o", name)
    assert (result.exit_code, result.output) == (0, "")
    assert Path(name).read_bytes().startswith(BEGINNINGS[name])


@pytest.mark.usefixtures("run")
def test_parquet_has_the_rows_and_columns_of_csv() -> None:
    pytest.importorskip("pyarrow")
    assert invoke("report", "-o", "t.parquet").exit_code == 0
    assert invoke("report", "-o", "t.csv").exit_code == 0
    table, text = pd.read_parquet("t.parquet"), pd.read_csv("t.csv")
    assert [*table.columns] == [*text.columns]
    assert [*table["case"]] == [*text["case"]]


def test_parquet_without_pyarrow_is_one_line_before_runs_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = invoke("report", "-o", "t.parquet")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: Parquet is written by pyarrow: pip install pyarrow\n",
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--format csv -o t.svg", "--format csv --output t.svg: its ending is that of svg"),
        ("--cite -o t.csv", "--cite --output t.csv: its ending is that of csv"),
        ("--cite --format csv", "--cite: it has no --format csv"),
        ("--figure pareto", "--figure: it needs --format svg, pdf or png, or such a file"),
        ("--wide -o t.html", "--wide: it needs --format svg, pdf or png"),
        ("--with-profile p.json --cite", "--with-profile: it needs --format"),
        ("-o t.txt", "--output t.txt: it needs --format csv, markdown, json"),
        ("-f svg --figure profile", "--figure profile: there is no profile; time"),
        ("-o t.svg --with-profile none.json", "--with-profile none.json: cannot be read"),
    ],
)
@pytest.mark.usefixtures("run")
def test_what_does_not_fit_together_is_refused(words: str, error: str) -> None:
    result = invoke("report", *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {error}")
    assert result.stderr.count("\n") == 1
    assert not [*Path().glob("t.*")]


@pytest.mark.usefixtures("run")
def test_a_typed_file_prevails_over_a_default_format() -> None:
    Path("benchbox.toml").write_text('[report]\nformat = "csv"\nfigure = "pareto"\n')
    assert invoke("report", "-o", "t.md").exit_code == 0
    assert Path("t.md").read_text().startswith("## ")
    assert invoke("report").stdout.startswith("spec,case")


@pytest.mark.usefixtures("run")
def test_cite_prints_the_setup_and_bibtex() -> None:
    result = invoke("report", "--cite")
    assert "(cpu, CPUExecutionProvider, 1 thread, " in result.stdout.splitlines()[0]
    assert "@inproceedings{tang2022ghostnetv2," in result.stdout


@pytest.mark.slow
def test_open_makes_the_page_once_and_shows_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: not shown.append(url))
    page = run.with_suffix(".html")
    first = invoke("open")
    assert (first.exit_code, first.stdout, first.stderr) == (0, f"{page}\n", "")
    assert page.read_text().startswith("<!doctype html>")
    os.utime(page, ns=(2**62, 2**62))  # newer than the record
    assert invoke("open").exit_code == 0
    assert page.stat().st_mtime_ns == 2**62
    assert shown == [(Path.cwd() / page).as_uri()] * 2
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert "no browser could be started" in invoke("open", "compare").stderr
    assert invoke("open", "nothing").exit_code == 2

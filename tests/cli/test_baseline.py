"""Baselines: kept, listed and removed; runs beside their figures, graphs and git revisions."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchbox import records
from benchbox.api import revision
from benchbox.api.baseline import Against
from benchbox.errors import StorageError, UsageError
from benchbox.specs import Builder, Selection, TensorSpec
from tests.cli.conftest import product, write
from tests.helpers import tables
from tests.helpers.command import CalmCommand, invoke, only_run

SHORT = ["--quick", "--precision", "90%", "--max-time", "4s"]
TWO = ["small.onnx", "twin.onnx"]
SLOWER = ["--fail-on", "slower>900%"]
KEPT = Path("baselines/main.jsonl")
IDENTITY = ["-c", "user.name=n", "-c", "user.email=a@b.c"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


def slow() -> str:
    """A graph with the inputs of the small one and 200 times its work."""
    steps = "".join(f"t{n} = MatMul(t{n - 1}, x) " for n in range(1, 200))
    tensor = "float[16,16]"
    return f"g ({tensor} x) => ({tensor} y) {{ t0 = MatMul(x, x) {steps} y = MatMul(t199, x) }}"


@pytest.fixture
def main(bench: CalmCommand) -> Path:
    """A baseline of two graphs."""
    bench.run(*TWO, *SHORT)
    bench("baseline", "set", "main", "small.onnx+twin.onnx")
    return KEPT


@pytest.fixture
def repository(bench: CalmCommand) -> str:
    """A commit of the graphs, and of one that cannot be run."""
    assert bench
    Path(".gitignore").write_text("results\n")
    for words in (["init", "-q"], ["add", "."], [*IDENTITY, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], check=True)  # noqa: S607
    return git("rev-parse", "HEAD")


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_a_baseline_has_figures_and_graphs_of_each_machine_and_no_samples(
    bench: CalmCommand, main: Path
) -> None:
    (run,) = records.read_all(main)
    assert [record.sha256 for record in run.records] == [r.sha256 for r in only_run().records]
    assert not any(record.bursts for record in run.records)
    assert main.stat().st_size < 10_000
    other = main.with_name("other.jsonl")
    other.write_text(main.read_text().replace('"machine":"', '"machine":"not-'))
    again = bench("baseline", "set", "other", "small.onnx+twin.onnx")
    assert "2 cases of results/cpu/" in again.stdout
    assert "In place of" not in again.stdout
    again = bench("baseline", "set", "other", "small.onnx+twin.onnx")
    assert f"In place of 2 cases of {run.context.name}, {run.context.created[:10]}" in again.stdout
    assert len(records.read_all(other)) == 2
    assert bench("baseline", "list").stdout.count("2 cases") == 3
    bench("baseline", "remove", "other")
    assert not other.exists()
    assert "p50 (ms)" in bench("report", str(main)).stdout


def test_a_run_is_judged_by_its_baseline_and_what_one_alone_has_is_said(
    bench: CalmCommand, main: Path
) -> None:
    assert main.exists()
    kept = bench.run(*TWO, *SHORT, "--baseline", "main", *SLOWER)
    assert "Within limits: slower>900% (2 cases)" in kept.stderr
    assert "(B) over main (A)" in kept.stdout
    alone = bench.run("small.onnx", "large.onnx", *SHORT, "--baseline", "main", *SLOWER, code=1)
    for line in ("large: not in baseline main", "twin: only in baseline main"):
        assert f"Not set beside its baseline: {line}" in alone.stderr
    write("small", slow())
    failed = bench.run(*TWO, *SHORT, "--baseline", str(main), *SLOWER, code=3)
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("Failed: ")]
    assert " the latency of baseline main on cpu, over the limit of 10.0" in line


def test_what_of_a_baseline_cannot_be_used_is_one_line(bench: CalmCommand, main: Path) -> None:
    text, timed = main.read_text(), bench.bursts
    main.write_text(text.replace('"machine":"', '"machine":"not-'))
    refused = bench.run(*TWO, *SHORT, "--baseline", "main", code=2)
    assert "it is of another machine" in refused.stderr
    assert "--baseline-rev REV or --baseline-graphs DIR" in refused.stderr
    assert bench.bursts == timed
    for damaged, why in (
        (text[: len(text) // 2] + "\n" + text, "not JSON"),
        (text[:-20], "the last line is truncated"),
        (text.replace('"schema":"1', '"schema":"9'), "use the benchbox that wrote it"),
    ):
        main.write_text(damaged)
        for limit, code in (("flops>1k", 3), ("flops>1G", 1)):
            done = bench.run(*TWO, *SHORT, "--baseline", "main", "--fail-on", limit, code=code)
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("Not set")]
            assert why in line
    main.with_name("two.jsonl").write_text("{}\n")
    listed = invoke("baseline", "list")
    assert (listed.exit_code, listed.stderr.count("\n")) == (1, 2)
    assert all(line.startswith("Error: baselines/") for line in listed.stderr.splitlines())


def test_files_are_timed_beside_those_of_a_revision(bench: CalmCommand, repository: str) -> None:
    write("small", slow())
    write("new", product(16))
    write("bad", product(16))
    names = ["small.onnx", "twin.onnx", "new.onnx", "bad.onnx"]
    before = git("status", "--porcelain"), git("for-each-ref"), git("worktree", "list")
    failed = bench.run(*names, *SHORT, "--baseline-rev", repository[:10], *SLOWER, code=3)
    assert before == (git("status", "--porcelain"), git("for-each-ref"), git("worktree", "list"))
    assert f"the latency of small@{repository[:10]} on cpu, over the limit" in failed.stderr
    wrong = [line for line in failed.stderr.splitlines() if line.startswith("Not set")]
    assert [line.split(": ")[1] for line in wrong] == ["new.onnx", "bad"]
    assert ": new.onnx: in " in wrong[0] and ": there is no such file" in wrong[0]
    assert "The same graph in both: twin\n" in failed.stderr
    assert "Blorp" in wrong[1]
    judged = {record.case: record.relative is not None for record in only_run().records}
    assert (judged["small"], judged["twin"], judged["new"], judged["bad"]) == (1, 1, 0, 0)
    alone = bench.run("new.onnx", *SHORT, "--baseline-rev", "HEAD", *SLOWER, code=1)
    assert "new.onnx: in HEAD: there is no such file" in alone.stderr


def test_a_baseline_of_other_cases_or_another_setting_judges_nothing(
    bench: CalmCommand, main: Path
) -> None:
    timed = bench.bursts
    limits = ["--baseline", "main", *SLOWER]
    refused = bench.run(*TWO, *SHORT, "--dtype", "fp16", *limits, code=2)
    assert "--baseline main: it is of another setting (inputs" in refused.stderr
    refused = bench.run("large.onnx", *SHORT, *limits, code=2)
    assert "--baseline main: it has none of these cases, but small and twin; time" in refused.stderr
    assert bench.bursts == timed
    lines = main.read_text().splitlines()
    lines[1] = lines[1].replace("x=16x16", "x=32x32", 1)
    main.write_text("\n".join(lines) + "\n")
    done = bench.run(*TWO, *SHORT, *limits, code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Not set")]
    assert line.endswith("small: baseline main is of another setting: inputs 32x32 -> 16x16")
    assert "(1 case)" in done.stderr


def test_a_builder_that_raises_in_the_revision_is_one_that_does_not_build(
    bench: CalmCommand, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repository
    net = "from torch import nn\ndef build() -> nn.Module:\n    {}\n    return nn.ReLU()\n"
    Path("net.py").write_text(net.format("raise ValueError('no')"))
    git("add", "net.py")
    git(*IDENTITY, "commit", "-qm", "two")
    Path("net.py").write_text(net.format("pass"))
    names = ["net.py:build", "--shape", "x=1x64", *SHORT, "--baseline-rev", "HEAD", *SLOWER]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    done = bench.run(*names, "--export-junit", "t.xml", code=1)
    (line,) = [line for line in done.stderr.splitlines() if "Not set beside" in line]
    assert line.startswith("::error title=benchbox::Not set beside its baseline: ")
    assert "in HEAD: " in line and "ValueError" in line
    assert "Not set beside its baseline" in Path("summary.md").read_text()
    suites = ElementTree.parse("t.xml").getroot()  # noqa: S314 - its own
    assert (suites.attrib["errors"], suites[-1].attrib["name"]) == ("1", "baseline")


def test_no_limit_is_about_the_old_graphs() -> None:
    usual = {"spec": "compare", "reference": "a@main"}
    old, new = (tables.record({}, case=name, **usual) for name in ("a@main", "a"))
    alone = tables.record({}, case="b", spec="compare", reference="b")
    swept = {"spec": "compare", "reference": "a@main,threads=1"}
    several = [tables.record({}, case=f"{n},threads=1", **swept) for n in ("a@main", "a")]
    run = tables.run_of([old, new, alone, *several])
    (judged,) = Against(None, label="main").new([run])  # type: ignore[arg-type]
    assert [record.case for record in judged.records] == ["a", "b", "a,threads=1"]


def test_what_git_tells_a_hook_is_not_for_the_checkout(
    bench: CalmCommand, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench
    write("small", slow())
    git("add", "small.onnx")
    index, here = Path(".git/index").absolute(), Path.cwd()
    before = index.read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    monkeypatch.setenv("GIT_DIR", str(here / ".git"))
    with revision.checkout(repository) as place:
        assert (place.folder / "small.onnx").read_bytes() != Path("small.onnx").read_bytes()
    assert index.read_bytes() == before
    monkeypatch.chdir("/")
    with revision.checkout("HEAD", [str(here / "small.onnx")]) as place:
        assert place.top == here


def test_a_checkout_has_its_submodules_and_knows_what_git_ignores(
    bench: CalmCommand, repository: str
) -> None:
    assert bench and repository
    git("init", "-q", "lib")
    for text in ("old", "new"):
        Path("lib/part.py").write_text(text)
        git("-C", "lib", "add", ".")
        git("-C", "lib", *IDENTITY, "commit", "-qm", text)
        git("add", "lib")
        git(*IDENTITY, "commit", "-qm", text)
    Path("results").mkdir()
    Path("lib/.git/info/exclude").write_text("made")
    for ignored in ("results/some.txt", "lib/made"):
        Path(ignored).touch()
    before = git("-C", "lib", "worktree", "list")
    with revision.checkout("HEAD~1", ["small.onnx"]) as place:
        assert (place.folder / "lib/part.py").read_text() == "old"
        assert place.ignored == {"results", "lib/made"}
    assert Path("lib/part.py").read_text() == "new"
    assert before == git("-C", "lib", "worktree", "list")


def test_a_module_of_the_repository_is_one_of_the_revision(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repository
    Path("nets_here.py").write_text("")
    with revision.checkout("HEAD") as place:
        assert revision.name_in(place, "nets_here:build:x=1x64") == "nets_here:build:x=1x64"
        (spec,) = revision.found_in(place, "nets_here:build")
        (case,) = spec.cases(Selection(shapes=(TensorSpec("x", (1, 64)),)))
        assert isinstance(case.source, Builder) and case.source.checkout == place
        for other in ("torch.nn:ReLU", "nowhere:build"):
            with pytest.raises(UsageError, match="of this repository"):
                revision.name_in(place, other)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: Refused())
    with pytest.raises(UsageError, match="HEAD: detected dubious ownership in 'x'; git config"):
        revision._git("HEAD", Path(), "status")
    full = "error: unable to write x: No space left on device\nfatal: Could not reset index"
    monkeypatch.setattr(Refused, "stderr", full)
    with pytest.raises(StorageError, match="No space left"):
        revision._git("HEAD", Path(), "status")


class Refused:
    """What git says in a container of a folder that is another user's."""

    returncode, stdout = 128, ""
    stderr = "fatal: detected dubious ownership in 'x'\nTo add it:\n\n\tgit config --global x\n"


def test_a_checkout_that_a_killed_run_left_is_removed_by_the_next_one(
    bench: CalmCommand, repository: str, tmp_path: Path
) -> None:
    assert bench
    own = git("worktree", "list")
    git("worktree", "add", "-q", "--detach", str(tmp_path / "the-users"), repository)
    shutil.rmtree(tmp_path / "the-users")  # on a disk that is not mounted now
    before = git("worktree", "list", "--porcelain")
    code = (
        "import os, signal; from benchbox.api.revision import checkout\n"
        "with checkout('HEAD'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with revision.checkout("HEAD") as first:
        assert git("worktree", "list").count("\n") == own.count("\n") + 2, "that of a killed run"
        with revision.checkout("HEAD") as second:
            assert first.folder.is_dir() and second.folder != first.folder
    assert before == git("worktree", "list", "--porcelain")
    assert list(first.folder.parent.iterdir()) == []


def test_files_are_timed_beside_exported_graphs(bench: CalmCommand, main: Path) -> None:
    bench("export", *TWO, "--output", "old")
    write("small", slow())
    write("new", product(16))
    graphs = ["--baseline-graphs", "old"]
    graphs += ["--export-junit", "t.xml"]
    failed = bench.run(*TWO, *SHORT, *graphs, "--baseline", "main", *SLOWER, code=3)
    assert "the latency of small@main on cpu, over the limit" in failed.stderr
    cases = [*ElementTree.parse("t.xml").getroot().iter("testcase")]  # noqa: S314 - its own
    assert [(case.attrib["name"], len(case)) for case in cases] == [("small", 1), ("twin", 0)]
    lacking = bench.run("twin.onnx", "new.onnx", *SHORT, *graphs, code=1)
    assert "its baseline: new: not in old" in lacking.stderr
    assert main.exists()
    (damaged,) = Path("old").glob("*twin*")
    damaged.write_bytes(damaged.read_bytes()[:50])
    Path("old/manifest.json").write_text(json.dumps({"graphs": 5}))
    failed = bench.run(*TWO, *SHORT, *graphs, *SLOWER, code=3)
    wrong = [line for line in failed.stderr.splitlines() if line.startswith("Not set beside")]
    assert "old/manifest.json is damaged" in wrong[0] and ": twin: in old: " in wrong[1]
    assert len(wrong) == 2 and "Unclear" not in failed.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run small.onnx --baseline ''", "name it with letters, digits"),
        ("baseline set .hid none", "no dot first"),
        ("run small.onnx --baseline none", "no such file (there is none); `benchbox baseline set"),
        ("run small.onnx --baseline a/b", "name it with letters, digits"),
        ("run small.onnx --baseline-graphs none", "there is no such folder"),
        ("run small.onnx --baseline-graphs . --baseline-rev HEAD", "choose one"),
        ("run small.onnx --baseline-rev HEAD", "not a git repository"),
        ("run g2 --baseline-rev HEAD", "not a git repository"),
        ("run small.onnx --baseline none --arrival 5/s", "not with --arrival"),
        ("baseline set main none", "no run of 'none' here"),
        ("baseline set main s.onnx", "no run of 's.onnx' here; one of that file is called s"),
        ("baseline remove none", "no such file"),
    ],
)
def test_a_baseline_that_is_none_is_one_line(words: str, message: str) -> None:
    refused = invoke(*shlex.split(words))
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert message in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run small.onnx --baseline-rev ''", "name a revision, such as origin/main"),
        ("run small.onnx --baseline-rev none", "none: there is no such revision here"),
        ("run small.onnx --baseline-rev --help", "--help: there is no such revision here"),
        ("run g2 --baseline-rev HEAD", "module:callable of this repository"),
    ],
)
def test_a_revision_or_name_without_files_is_one_line(
    repository: str, words: str, message: str
) -> None:
    assert repository
    refused = invoke(*shlex.split(words))
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert message in refused.stderr

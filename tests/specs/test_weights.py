"""Checkpoints: which network each file of --weights is for, and what its case then says."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.api import parsing
from benchbox.errors import SpecError, UsageError
from benchbox.export import cache
from benchbox.runner import record as runner_record
from benchbox.specs import Builder, Case, with_weights
from benchbox.specs.find import OF_NETWORKS
from tests.specs.conftest import Write, cases_of, only

TITLE = 'title = "Mine"\n'
NETWORK = '[[cases]]\nnetwork = "ghostnetv2"\n'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file of weights, beside an other.pth."""
    path = tmp_path / "best.pth"
    path.write_bytes(b"weights")
    path.with_name("other.pth").write_bytes(b"others")
    return path


def source_of(case: Case) -> Builder:
    assert isinstance(case.source, Builder)
    return case.source


def weighed(names: list[str], weights: dict[str, Path]) -> dict[str, Case]:
    cases = [case for name in names for case in cases_of(name)]
    return {case.name: case for case in with_weights(cases, weights)}


@pytest.mark.parametrize(
    ("texts", "files"),
    [
        ("best.pth", {"": "best.pth"}),
        ("ghostnetv2=best.pth", {"ghostnetv2": "best.pth"}),
        ("./lr=1/best.pth", {"": "./lr=1/best.pth"}),
        ("ghostnetv2=a.pth b.pth", {"ghostnetv2": "a.pth", "": "b.pth"}),
        ("", {}),
    ],
)
def test_weights_are_typed_with_a_name_or_without(texts: str, files: dict[str, str]) -> None:
    assert parsing.weights(texts.split()) == {name: Path(file) for name, file in files.items()}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("a.pth b.pth", "b.pth: a second file for the network"),
        ("ghostnetv2=a.pth ghostnetv2=b.pth", "ghostnetv2=b.pth: a second file for ghostnet"),
        ("ghostnetv2=", "ghostnetv2=: write FILE, or NETWORK=FILE"),
    ],
)
def test_weights_need_one_file_for_each_name(texts: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"^--weights {says}"):
        parsing.weights(texts.split())


@pytest.mark.parametrize(
    "names", [("", "ghostnetv2"), ("ghostnetv2", ""), ("ghostnetv2", "ghostnetv2_x1_0")]
)
def test_two_files_for_one_network_are_refused_however_it_is_named(
    names: tuple[str, str], checkpoint: Path
) -> None:
    other = checkpoint.with_name("other.pth")
    files = dict(zip(names, (checkpoint, other), strict=True))
    with pytest.raises(UsageError) as caught:
        with_weights([only("ghostnetv2")], files)
    said = f"--weights {other}: a second file for ghostnetv2_x1_0; give one"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["ghostnetv2"], ""),
        (["ghostnetv2"], "ghostnetv2"),
        (["ghostnetv2", "shufflenetv2"], "ghostnetv2"),
        ([OF_NETWORKS[0]], "ghostnetv2_x1_0"),
    ],
)
def test_a_checkpoint_goes_to_its_network_and_to_no_other(
    names: list[str], named: str, checkpoint: Path
) -> None:
    found = weighed(names, {named: checkpoint})
    sha = hashlib.sha256(b"weights").hexdigest()
    before = {case.name: case for name in names for case in cases_of(name)}
    plain = before["ghostnetv2_x1_0"]
    assert found["ghostnetv2_x1_0"] == replace(
        plain,
        note=f"weights of best.pth, sha256 {sha[:12]}",
        source=replace(
            source_of(plain), network="ghostnetv2_x1_0", weights=checkpoint, weights_sha256=sha
        ),
    )
    others = before.keys() - {"ghostnetv2_x1_0"}
    assert {name: found[name] for name in others} == {name: before[name] for name in others}


def test_every_case_of_a_network_has_its_weights_by_the_path_that_was_typed(
    write: Write, in_tmp: Path
) -> None:
    (in_tmp / "here.pth").write_bytes(b"weights")
    cases = cases_of(write(TITLE + "".join(f"{NETWORK}labels = {{ n = {n} }}\n" for n in (1, 2))))
    found = with_weights([replace(case, note="first") for case in cases], {"": Path("here.pth")})
    assert [source_of(case).weights for case in found] == [Path("here.pth")] * 2
    assert all(each.note.startswith("first; weights of here.pth, sha256 ") for each in found)
    assert str(in_tmp) not in repr(runner_record.record(0, found[0], None))


@pytest.mark.parametrize(
    ("names", "named", "says"),
    [
        (["ghostnetv2", "shufflenetv2"], "", "{file}: there are several networks; write --weights"),
        (["g2"], "", "{file}: none of them is a network; write --weights NAME={file}"),
        (["ghostnetv2"], "shufflenetv2", "shufflenetv2={file}: shufflenetv2_x1_0 is not among"),
        (["ghostnetv2"], "ghostnetv9", "ghostnetv9={file}: unknown network 'ghostnetv9' (did you"),
        (["ghostnetv2"], "mobilenetv3", "mobilenetv3={file}: 'mobilenetv3' may be 'mobilenetv3_s"),
    ],
)
def test_weights_that_belong_to_nothing_say_so(
    names: list[str], named: str, says: str, checkpoint: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        weighed(names, {named: checkpoint})
    assert str(caught.value).startswith(f"--weights {says.format(file=checkpoint)}")


@pytest.mark.parametrize(
    ("file", "why"), [("no.pth", "is not there"), ("", "is not a file"), ("pipe", "is not a file")]
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, file: str, why: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / file
    with pytest.raises(SpecError, match=f"^--weights {path} {why}; give a .pth file$"):
        weighed(["ghostnetv2"], {"": path})


def test_the_key_of_a_graph_follows_the_content_of_its_weights_and_not_their_path(
    checkpoint: Path,
) -> None:
    def key(path: Path | None, network: str = "ghostnetv2") -> str:
        weights = {} if path is None else {"": path}
        (case,) = with_weights(cases_of(network), weights)
        return cache.key(case)

    same, other = checkpoint.with_name("copy.pth"), checkpoint.with_name("other.pth")
    same.write_bytes(checkpoint.read_bytes())
    before = key(checkpoint)
    assert key(same) == before
    assert before not in (key(other), key(None), key(checkpoint, "ghostnetv2_x1_3"))
    checkpoint.write_bytes(b"others")
    assert key(checkpoint) == key(other) != before

"""Networks by name: in the catalogue, on the command line, in a TOML file, with a checkpoint."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchbox import specs
from benchbox.cli import parsing
from benchbox.cli.app import app
from benchbox.errors import SpecError, UsageError
from benchbox.export import cache
from benchbox.networks import catalogue
from benchbox.networks.catalogue import Paper
from benchbox.report.frame import to_frame
from benchbox.runner import record as runner_record
from benchbox.specs import Builder, Case, Selection, TensorSpec, with_weights
from benchbox.specs.find import MODELS
from tests.conftest import WriteOnnx
from tests.helpers.tables import record, run_of

Write = Callable[[str], Path]
NONE = (
    *("", "g2", "models", "all", "x1_0", "_train", "shufflenet", "shufflenetv2_train"),
    *("ghostnetv3_training", "ghostnetv3_x1_0_trained", "ghostnetv3_train_train"),
    *("ghostnetv3_x1_0train", "ghostnetv3_train_x1_0", "ghostnetv2_train"),
    *("ghostnetv2_", "ghostnetv2_x", "ghostnetv2_x1.0", "ghostnetv9", "GhostNetV2"),
)
NETWORK = '[[cases]]\nnetwork = "ghostnetv2"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(f'title = "Mine"\n{text}')
        return path

    return to_file


def cases_of(name: str | Path, selection: Selection | None = None) -> list[Case]:
    (spec,) = specs.find(str(name))
    return spec.cases(selection or Selection())


def only(name: str | Path, selection: Selection | None = None) -> Case:
    (case,) = cases_of(name, selection)
    return case


def refusal(name: str | Path, selection: Selection | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        cases_of(name, selection)
    return str(caught.value)


# the catalogue


@pytest.mark.parametrize(
    ("name", "means"),
    [
        *((name, name) for name in catalogue.NETWORKS),
        ("shufflenetv2", "shufflenetv2_x1_0"),
        ("shufflenetv2_tv", "shufflenetv2_tv_x1_0"),
        ("ghostnet", "ghostnet_x1_0"),
        ("ghostnetv2", "ghostnetv2_x1_0"),
        ("ghostnetv3", "ghostnetv3_x1_0"),
        ("ghostnetv3_train", "ghostnetv3_x1_0_train"),
        ("mobilenetv2", "mobilenetv2_x1_0"),
    ],
)
def test_a_name_means_one_network_and_a_bare_family_its_x1_0(name: str, means: str) -> None:
    found = catalogue.find(name)
    assert found is not None
    assert found.name == catalogue.named(name).name == means


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("mobilenetv3", "'mobilenetv3_small' or 'mobilenetv3_large'"),
        (
            "shufflenetv1",
            "'shufflenetv1_g1', 'shufflenetv1_g2', 'shufflenetv1_g3', 'shufflenetv1_g4' "
            "or 'shufflenetv1_g8'",
        ),
        ("ghostnet_x1", "'ghostnet_x1_0' or 'ghostnet_x1_3'"),
        ("ghostnetv3_x0", "'ghostnetv3_x0_5' or 'ghostnetv3_x0_5_train'"),
    ],
)
def test_a_family_without_an_x1_0_is_ambiguous_and_names_its_members(
    name: str, members: str
) -> None:
    for look in (catalogue.find, catalogue.named, specs.find):
        with pytest.raises(SpecError) as caught:
            look(name)
        assert str(caught.value) == f"{name!r} may be {members}; name one of them"


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_networks_name_is_none(name: str) -> None:
    assert catalogue.find(name) is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ghostnetv9", "(did you mean 'ghostnetv3' or 'ghostnetv2'?)"),
        ("shufflenetv2_x3_0", "(did you mean 'shufflenetv2_x2_0' or 'shufflenetv2_x1_0'?)"),
        ("mobilenetv3_smal", "(did you mean 'mobilenetv3_small' or 'mobilenetv3_large'?)"),
        ("zzzzzz", ""),
    ],
)
def test_a_near_miss_is_told_what_may_have_been_meant(name: str, nearest: str) -> None:
    with pytest.raises(SpecError) as caught:
        catalogue.named(name)
    missed = f"{name!r} {nearest}".rstrip()
    assert str(caught.value) == f"unknown network {missed}; `benchbox list networks` shows them"
    assert refusal(name).startswith(f"unknown name {missed}; `benchbox list` shows")


def test_the_bare_names_are_those_of_the_families_with_an_x1_0() -> None:
    families = catalogue.families()
    assert {"shufflenetv2", "ghostnetv2", "ghostnetv3_train", "mobilenetv2"} <= set(families)
    assert not {"mobilenetv3", "shufflenetv1"} & set(families)
    for family in families:
        found = catalogue.find(family)
        assert found is not None
        assert "_x1_0" in found.name
        assert family not in catalogue.NETWORKS


def test_every_figure_has_a_source_and_no_source_is_without_a_figure() -> None:
    for network in catalogue.NETWORKS.values():
        paper = network.paper
        figures = (paper.params_m, paper.macs_m, paper.top1_percent)
        assert bool(paper.source) == any(figure is not None for figure in figures), network.name
        assert all(figure is None or figure > 0 for figure in figures)


# on the command line


@pytest.mark.parametrize("name", catalogue.NETWORKS)
def test_every_network_can_be_named_and_stands_among_the_models(name: str) -> None:
    case = only(name)
    assert (case.spec, case.name, case.network) == (MODELS, name, name)
    assert isinstance(case.source, Builder)
    assert case.source.reference == catalogue.NETWORKS[name].builder
    assert case.args == catalogue.NETWORKS[name].args
    assert [str(tensor) for tensor in case.inputs] == ["x=1x3x224x224"]
    assert case.paper == catalogue.NETWORKS[name].paper
    assert only(f"{MODELS}:network={name}") == case


def test_the_models_are_all_networks_once() -> None:
    assert sorted(case.name for case in cases_of(MODELS)) == sorted(catalogue.NETWORKS)


def test_a_bare_name_finds_what_the_full_one_does() -> None:
    assert only("ghostnetv2") == only("ghostnetv2_x1_0")
    assert only(f"{MODELS}:network=ghostnetv2") == only("ghostnetv2_x1_0")
    assert specs.is_network("ghostnetv2")


@pytest.mark.parametrize("name", ["g2", MODELS, "all", "a.onnx", "./ghostnetv2", "a:b", "nothing"])
def test_other_names_are_not_those_of_networks(name: str) -> None:
    assert not specs.is_network(name)


def test_a_file_of_a_networks_name_is_found_by_its_path_alone(in_tmp: Path) -> None:
    (in_tmp / "ghostnetv2.toml").write_text(f'title = "Other"\n{NETWORK}')
    assert specs.find("ghostnetv2")[0].name == MODELS
    assert specs.find("./ghostnetv2.toml")[0].title == "Other"


def test_a_selection_that_no_network_has_leaves_nothing() -> None:
    assert refusal("ghostnetv2:width=2").startswith("models: no case has network=ghostnetv2_x1_0,")
    assert refusal("ghostnetv2", Selection(scales=("1",))).startswith("models: no case has network")
    assert refusal(f"{MODELS}:network=nothing").startswith(
        "models: no case has network=nothing; network is shufflenetv2_x0_5, "
    )


# in a file


def test_a_case_of_a_file_can_be_a_network(write: Write) -> None:
    case = only(write(NETWORK))
    assert case == replace(
        only("ghostnetv2"), spec="mine", channels=None, reference="ghostnetv2_x1_0"
    )
    assert case.labels == {"network": "ghostnetv2_x1_0"}


def test_labels_name_a_network_otherwise_and_let_it_stand_twice(write: Write) -> None:
    text = (
        'group_by = "kind"\n[[cases]]\nnetwork = "ghostnetv2"\nlabels = { kind = "new", n = 2 }\n'
        '[[cases]]\nnetwork = "ghostnetv2"\nlabels = { kind = "new", n = 1 }\n'
    )
    cases = cases_of(write(text))
    assert [case.name for case in cases] == ["kind=new,n=2", "kind=new,n=1"]
    assert {case.group for case in cases} == {"kind=new"}
    assert {case.network for case in cases} == {"ghostnetv2_x1_0"}


def test_a_file_prints_its_own_paper_or_else_the_catalogues(write: Write) -> None:
    own = '[[cases]]\nnetwork = "ghostnetv2"\npaper = { top1_percent = 70.5, source = "T" }\n'
    other = '[[cases]]\nnetwork = "shufflenetv2"\n'
    papers = [case.paper for case in cases_of(write(own + other))]
    assert papers == [
        Paper(None, None, 70.5, "T"),
        catalogue.NETWORKS["shufflenetv2_x1_0"].paper,
    ]


def test_a_case_with_a_builder_can_have_a_paper_too(write: Write) -> None:
    text = 'builder = "json:dumps"\ninput = [1]\n[[cases]]\nargs = { c = 1 }\n'
    case = only(write(f"{text}paper = {{ params_m = 2.5 }}\n"))
    assert (case.paper, case.network) == (Paper(2.5), "")


def test_published_speeds_and_claims_go_by_the_full_name(write: Write) -> None:
    published = (
        '[[published]]\nplatform = "arm"\nunit = "images_per_s"\ndevice = "D"\nsource = "T"\n'
        "[published.figures]\nghostnetv2_x1_0 = 24.5\n"
    )
    claim = (
        '[claim]\nslower = { network = "ghostnetv2_x1_0" }\n'
        'than = { network = "shufflenetv2_x1_0" }\nsubject = "s"\nthan_subject = "t"\n'
    )
    text = f'{NETWORK}[[cases]]\nnetwork = "shufflenetv2"\n{published}{claim}'
    assert [case.published for case in cases_of(write(text))] == [24.5, None]
    wrong = published.replace("ghostnetv2_x1_0", "ghostnetv2")
    assert "no case is named 'ghostnetv2'" in refusal(write(NETWORK + wrong))


KNOWN = (
    "cases[1]: network: it brings its builder, arguments and input; "
    "leave builder, args, gpu, arm, input and inputs out"
)

BUILT = 'builder = "json:dumps"\n[[cases]]\nargs = { c = 1 }\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[cases]]\nnetwork = "nothing"\n', "cases[1]: network: unknown network 'nothing'"),
        ('[[cases]]\nnetwork = ""\n', "cases[1]: network: unknown network ''"),
        ("[[cases]]\nnetwork = 2\n", "cases[1].network: expected string, got 2"),
        (
            '[[cases]]\nnetwork = "mobilenetv3"\n',
            "cases[1]: network: 'mobilenetv3' may be 'mobilenetv3_small' or 'mobilenetv3_large'",
        ),
        (f"{NETWORK}args = {{ width = 2 }}\n", KNOWN),
        (f"{NETWORK}gpu = {{ width = 2 }}\n", KNOWN),
        (f"{NETWORK}arm = {{ width = 2 }}\n", KNOWN),
        (f'builder = "json:dumps"\n{NETWORK}', KNOWN),
        (f"{NETWORK}[[cases]]\nargs = {{ c = 1 }}\n", "builder: missing"),
        (f"{NETWORK}{NETWORK}", "cases[2]: a second case 'ghostnetv2_x1_0'; name its labels"),
        (
            f'{NETWORK}[[cases]]\nnetwork = "ghostnetv2_x1_0"\n',
            "cases[2]: a second case 'ghostnetv2_x1_0'; name its labels",
        ),
        (
            f'input = [3]\n{BUILT}[[inputs]]\nname = "x"\nshape = [3]\n',
            "give either input = [...] or [[inputs]], one of the two",
        ),
        (f"input = [3]\n{NETWORK}", KNOWN),
        (f'{NETWORK}[[inputs]]\nname = "x"\nshape = [3]\n', KNOWN),
        (f"args = {{ width = 2 }}\n{NETWORK}", KNOWN),
        (f"input = [3]\n{BUILT}{NETWORK}", KNOWN.replace("1", "2")),
        (f"{NETWORK}paper = {{ params_m = 0 }}\n", "cases[1].paper.params_m: expected greater"),
        (f"{NETWORK}paper = {{ macs_m = -1 }}\n", "cases[1].paper.macs_m: expected greater"),
        (f"{NETWORK}paper = {{ macs_m = inf }}\n", "cases[1].paper.macs_m: expected "),
        (f'{NETWORK}paper = {{ macs_m = "1" }}\n', "cases[1].paper.macs_m: expected "),
        (f"{NETWORK}paper = {{ top5_percent = 9 }}\n", "cases[1].paper.top5_percent: unknown key"),
        (f"{NETWORK}paper = {{ source = 1 }}\n", "cases[1].paper.source: expected string, got 1"),
        (f"{NETWORK}paper = 1\n", "cases[1].paper: expected "),
        (f'group_by = "kind"\n{NETWORK}', "group_by: case 'ghostnetv2_x1_0' has no 'kind'"),
        (f"{NETWORK}netwerk = 1\n", "cases[1].netwerk: unknown key"),
    ],
)
def test_what_does_not_go_with_a_network_is_refused_by_file_and_key(
    write: Write, text: str, sentence: str
) -> None:
    path = write(text)
    assert refusal(path).startswith(f"{path}: {sentence}")


# what goes in


def shaped(*shape: int, name: str = "x", dtype: str = "float32", **changes: Any) -> Selection:
    return Selection(shapes=(TensorSpec(name, shape, dtype),), **changes)


@pytest.mark.parametrize(
    ("selection", "shape"),
    [
        (Selection(), (1, 3, 224, 224)),
        (Selection(batches=(8,)), (8, 3, 224, 224)),
        (shaped(1, 3, 192, 160), (1, 3, 192, 160)),
        (shaped(4, 3, 32, 32), (4, 3, 32, 32)),
        (shaped(4, 3, 32, 32, batches=(2,)), (2, 3, 32, 32)),
        (shaped(1, 3, 224, 224, batches=(16,)), (16, 3, 224, 224)),
    ],
)
def test_the_image_is_the_one_asked_for(selection: Selection, shape: tuple[int, ...]) -> None:
    case = only("ghostnetv2", selection)
    assert case.inputs == (TensorSpec("x", shape),)
    assert (case.batch, case.dtype) == (shape[0], "float32")


SUCH = "the input of a network is float32 images of 3 channels, such as x=1x3x224x224"
STRIDE = "height and width must be multiples of 32, the stride of a network"


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (shaped(1, 4, 224, 224), f"--shape x=1x4x224x224: {SUCH}"),
        (shaped(3, 224, 224), f"--shape x=3x224x224: {SUCH}"),
        (shaped(1, 3, 8, 224, 224), f"--shape x=1x3x8x224x224: {SUCH}"),
        (shaped(), f"--shape x=scalar: {SUCH}"),
        (shaped(1, 3, 224, 224, dtype="float16"), f"--shape x=1x3x224x224:float16: {SUCH}"),
        (shaped(1, 3, 224, 224, dtype="int64"), f"--shape x=1x3x224x224:int64: {SUCH}"),
        (shaped(1, 3, 100, 224), f"--shape x=1x3x100x224: {STRIDE}"),
        (shaped(1, 3, 224, 223), f"--shape x=1x3x224x223: {STRIDE}"),
        (shaped(1, 3, 16, 16), f"--shape x=1x3x16x16: {STRIDE}"),
        (shaped(1, 3, 224, 224, name="input"), "--shape input: the input of a network is x"),
        (
            Selection(shapes=(TensorSpec("x", (1, 3, 32, 32)), TensorSpec("y", (1,)))),
            "--shape y: the input of a network is x",
        ),
    ],
)
def test_a_shape_that_no_network_takes_says_what_would_do(selection: Selection, says: str) -> None:
    for name in ("ghostnetv2", MODELS):
        assert refusal(name, selection).endswith(says)


def test_a_file_of_networks_takes_a_shape_and_one_with_a_builder_does_not(write: Write) -> None:
    assert only(write(NETWORK), shaped(1, 3, 64, 64)).inputs[0].shape == (1, 3, 64, 64)
    built = 'builder = "json:dumps"\ninput = [1]\n[[cases]]\nargs = { c = 1 }\n'
    assert "--shape is for networks, " in refusal(write(built), shaped(1, 3, 64, 64))


def test_figures_for_another_image_are_none_of_this_one(write: Write) -> None:
    case = only("shufflenetv2", shaped(1, 3, 64, 64))
    assert (case.paper, case.published) == (Paper(), None)
    assert only("shufflenetv2").published == 24.4
    text = f"{NETWORK}paper = {{ params_m = 2.5 }}\n"
    assert only(write(text), shaped(1, 3, 64, 64)).paper == Paper()


# checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.pth"
    path.write_bytes(b"weights")
    return path


def weighed(names: list[str], weights: dict[str, Path]) -> dict[str, Case]:
    cases = [case for name in names for case in cases_of(name)]
    return {case.name: case for case in with_weights(cases, weights)}


@pytest.mark.parametrize(
    ("texts", "files"),
    [
        (["best.pth"], {"": "best.pth"}),
        (["ghostnetv2=best.pth"], {"ghostnetv2": "best.pth"}),
        (["ghostnetv2=a=b.pth"], {"ghostnetv2": "a=b.pth"}),
        (["./lr=1/best.pth"], {"": "./lr=1/best.pth"}),
        (["ghostnetv2=a.pth", "b.pth"], {"ghostnetv2": "a.pth", "": "b.pth"}),
        ([], {}),
    ],
)
def test_weights_are_typed_with_a_name_or_without(texts: list[str], files: dict[str, str]) -> None:
    assert parsing.weights(texts) == {name: Path(file) for name, file in files.items()}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["a.pth", "b.pth"], "b.pth: a second file for the network"),
        (["ghostnetv2=a.pth", "ghostnetv2=b.pth"], "ghostnetv2=b.pth: a second file for ghostnet"),
        ([""], ": write FILE, or NETWORK=FILE"),
        (["ghostnetv2="], "ghostnetv2=: write FILE, or NETWORK=FILE"),
    ],
)
def test_weights_need_one_file_for_each_name(texts: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=f"^--weights {says}"):
        parsing.weights(texts)


@pytest.mark.parametrize(
    "names", [("", "ghostnetv2"), ("ghostnetv2", ""), ("ghostnetv2", "ghostnetv2_x1_0")]
)
def test_two_files_for_one_network_are_refused_however_it_is_named(
    names: tuple[str, str], checkpoint: Path
) -> None:
    other = checkpoint.with_name("other.pth")
    other.write_bytes(b"others")
    files = dict(zip(names, (checkpoint, other), strict=True))
    with pytest.raises(UsageError) as caught:
        with_weights([only("ghostnetv2")], files)
    said = f"--weights {other}: a second file for ghostnetv2_x1_0; give one"
    assert str(caught.value) == said


def source_of(case: Case) -> Builder:
    assert isinstance(case.source, Builder)
    return case.source


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["ghostnetv2"], ""),
        (["ghostnetv2"], "ghostnetv2"),
        (["ghostnetv2"], "ghostnetv2_x1_0"),
        (["ghostnetv2", "shufflenetv2"], "ghostnetv2"),
        (["g2", "ghostnetv2"], ""),
        ([MODELS], "ghostnetv2"),
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


def test_several_networks_each_have_theirs(checkpoint: Path) -> None:
    other = checkpoint.with_name("other.pth")
    other.write_bytes(b"others")
    files = {"ghostnetv2": checkpoint, "shufflenetv2": other}
    assert with_weights(cases_of(MODELS), {}) == cases_of(MODELS)
    found = weighed(["shufflenetv2", "ghostnetv2", "mobilenetv2"], files)
    weights = {name: source_of(case).weights for name, case in found.items()}
    assert weights == {
        "shufflenetv2_x1_0": other,
        "ghostnetv2_x1_0": checkpoint,
        "mobilenetv2_x1_0": None,
    }


def test_every_case_of_a_network_has_its_weights_by_the_path_that_was_typed(
    write: Write, in_tmp: Path
) -> None:
    (in_tmp / "here.pth").write_bytes(b"weights")
    text = f"{NETWORK}labels = {{ n = 1 }}\n{NETWORK}labels = {{ n = 2 }}\n"
    found = with_weights(cases_of(write(text)), {"": Path("here.pth")})
    assert [source_of(case).weights for case in found] == [Path("here.pth")] * 2


def test_a_note_of_the_case_stays_before_that_of_its_weights(checkpoint: Path) -> None:
    case = replace(only("ghostnetv2"), note="first of two")
    (found,) = with_weights([case], {"": checkpoint})
    assert found.note.startswith("first of two; weights of best.pth, sha256 ")


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize(
    ("names", "named", "says"),
    [
        (["ghostnetv2", "shufflenetv2"], "", "{file}: there are several networks; write --weights"),
        (["g2"], "", "{file}: none of them is a network; write --weights NAME={file}"),
        (["ghostnetv2"], "shufflenetv2", "shufflenetv2={file}: shufflenetv2_x1_0 is not among"),
        (["tiny.onnx"], "", "{file}: none of them is a network; write --weights NAME={file}"),
        (["g2"], "ghostnetv2", "ghostnetv2={file}: ghostnetv2_x1_0 is not among what is asked"),
        (["ghostnetv2"], "ghostnetv9", "ghostnetv9={file}: unknown network 'ghostnetv9' (did you"),
        (["ghostnetv2"], "mobilenetv3", "mobilenetv3={file}: 'mobilenetv3' may be 'mobilenetv3_s"),
    ],
)
def test_weights_that_belong_to_nothing_say_so(
    names: list[str], named: str, says: str, checkpoint: Path, write_onnx: WriteOnnx
) -> None:
    write_onnx()
    with pytest.raises(UsageError) as caught:
        weighed(names, {named: checkpoint})
    assert str(caught.value).startswith(f"--weights {says.format(file=checkpoint)}")


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("missing.pth", "is not there"),
        ("", "is not a file"),
        ("pipe", "is not a file"),
        ("/dev/zero", "is not a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, file: str, why: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / file
    with pytest.raises(SpecError) as caught:
        weighed(["ghostnetv2"], {"": path})
    assert str(caught.value) == f"--weights {path} {why}; give a .pth file"


def test_the_key_of_a_graph_follows_the_content_of_its_weights_and_not_their_path(
    checkpoint: Path,
) -> None:
    def key(path: Path | None, network: str = "ghostnetv2") -> str:
        weights = {} if path is None else {"": path}
        (case,) = with_weights(cases_of(network), weights)
        return cache.key(case)

    same, other = checkpoint.with_name("copy.pth"), checkpoint.with_name("other.pth")
    same.write_bytes(checkpoint.read_bytes())
    other.write_bytes(b"others")
    before = key(checkpoint)
    assert key(same) == before
    assert key(other) != before
    assert key(None) != before
    assert key(checkpoint, "ghostnetv2_x1_3") != before
    checkpoint.write_bytes(b"others")
    assert key(checkpoint) == key(other) != before


def test_a_record_names_the_weights_and_not_their_folder(checkpoint: Path) -> None:
    (case,) = with_weights(cases_of("ghostnetv2"), {"": checkpoint})
    made = runner_record.record(0, case, None)
    assert made.note.startswith("weights of best.pth, sha256 ")
    assert str(checkpoint.parent) not in repr(made)


# what is printed of them


def test_a_record_keeps_the_figures_that_there_are() -> None:
    assert runner_record.record(0, only("ghostnetv2"), None).paper == {
        "macs_m": 167,
        "top1_percent": 75.3,
        "source": "GhostNetV2, arXiv 2211.12905, abstract and Figure 1",
    }
    assert runner_record.record(0, only("ghostnetv3_x0_5"), None).paper == {}


COLUMNS = ["published_params_m", "published_macs_m", "published_top1_percent"]


def test_networks_have_columns_of_their_own_in_files() -> None:
    networks = [runner_record.record(0, only(n), None) for n in ("ghostnetv2", "ghostnetv3_x0_5")]
    frame = to_frame([run_of([*networks, record({"groups": 1})])])
    assert list(frame.columns[-3:]) == COLUMNS
    assert [str(frame[name].dtype) for name in COLUMNS] == ["Float64"] * 3
    assert [frame.iloc[i][COLUMNS].dropna().to_dict() for i in range(3)] == [
        {"published_macs_m": 167.0, "published_top1_percent": 75.3},
        {},
        {},
    ]
    assert not set(COLUMNS) & set(to_frame([run_of(networks[1:])]).columns)


def test_the_list_has_every_network_in_order_with_dashes_for_what_papers_do_not_print() -> None:
    result = CliRunner().invoke(app, ["list", "networks"], prog_name="benchbox")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert [name for name in rows if name in catalogue.NETWORKS] == list(catalogue.NETWORKS)
    assert rows["ghostnetv3_x1_0"][:3] == ["6.1", "170", "77.1"]
    assert rows["ghostnetv2_x1_0"][:3] == ["-", "167", "75.3"]
    assert rows["shufflenetv2_x2_0"][:3] == ["7.4", "591", "74.9"]
    assert rows["ghostnetv3_x0_5"] == ["-", "-", "-"]

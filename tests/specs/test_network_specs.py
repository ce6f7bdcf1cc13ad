"""Networks by name: in the catalogue, on the command line, in a TOML file, with a checkpoint."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import specs
from benchbox.cli import parsing
from benchbox.errors import SpecError, UsageError
from benchbox.export import cache
from benchbox.networks import catalogue
from benchbox.networks.catalogue import Paper
from benchbox.report.frame import to_frame
from benchbox.runner import record as runner_record
from benchbox.specs import Builder, Case, Selection, TensorSpec, with_weights
from benchbox.specs.find import MODELS
from tests.conftest import WriteOnnx
from tests.helpers.command import invoke
from tests.helpers.tables import record, run_of
from tests.specs.conftest import Write, cases_of, only, refusal, shaped

NONE = (
    *("", "g2", "models", "all", "x1_0", "_train", "shufflenet", "shufflenetv2_train"),
    *("ghostnetv3_training", "ghostnetv3_x1_0_trained", "ghostnetv3_train_train"),
    *("ghostnetv3_x1_0train", "ghostnetv3_train_x1_0", "ghostnetv2_train"),
    *("ghostnetv2_", "ghostnetv2_x", "ghostnetv2_x1.0", "ghostnetv9", "GhostNetV2"),
)
BARE = [
    *((name, "") for name in ("shufflenetv2", "shufflenetv2_tv", "ghostnet", "ghostnetv2")),
    *(("ghostnetv3", ""), ("ghostnetv3", "_train"), ("mobilenetv2", "")),
]
TITLE = 'title = "Mine"\n'
NETWORK = '[[cases]]\nnetwork = "ghostnetv2"\n'
SHUFFLE = NETWORK.replace("ghost", "shuffle")
BUILT = 'builder = "json:dumps"\ninput = [1]\n[[cases]]\nargs = { c = 1 }\n'


# the catalogue


@pytest.mark.parametrize(
    ("name", "means"),
    [
        *((name, name) for name in catalogue.NETWORKS),
        *((f"{family}{end}", f"{family}_x1_0{end}") for family, end in BARE),
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
            ", ".join(f"'shufflenetv1_g{n}'" for n in (1, 2, 3, 4)) + " or 'shufflenetv1_g8'",
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
    assert only(f"{MODELS}:network=ghostnetv2") == only("ghostnetv2") == only("ghostnetv2_x1_0")
    assert specs.is_network("ghostnetv2")
    for other in ("g2", MODELS, "all", "a.onnx", "./ghostnetv2", "a:b", "nothing"):
        assert not specs.is_network(other)


def test_a_file_of_a_networks_name_is_found_by_its_path_alone(in_tmp: Path) -> None:
    (in_tmp / "ghostnetv2.toml").write_text(TITLE + NETWORK)
    assert specs.find("ghostnetv2")[0].name == MODELS
    assert specs.find("./ghostnetv2.toml")[0].title == "Mine"


@pytest.mark.parametrize(
    ("name", "selection", "says"),
    [
        ("ghostnetv2:width=2", Selection(), "network=ghostnetv2_x1_0,"),
        ("ghostnetv2", Selection(scales=("1",)), "network"),
        (f"{MODELS}:network=nothing", Selection(), "network=nothing; network is shufflenetv2_x0_5"),
    ],
)
def test_a_selection_that_no_network_has_leaves_nothing(
    name: str, selection: Selection, says: str
) -> None:
    assert refusal(name, selection).startswith(f"models: no case has {says}")


# in a file


def test_a_case_of_a_file_can_be_a_network(write: Write) -> None:
    case = only(write(TITLE + NETWORK))
    name = "ghostnetv2_x1_0"
    assert case == replace(only("ghostnetv2"), spec="mine", channels=None, reference=name)
    assert case.labels == {"network": name}


def test_labels_name_a_network_otherwise_and_let_it_stand_twice(write: Write) -> None:
    named = [f'{NETWORK}labels = {{ kind = "new", n = {n} }}\n' for n in (2, 1)]
    cases = cases_of(write(f'{TITLE}group_by = "kind"\n{"".join(named)}'))
    assert [case.name for case in cases] == ["kind=new,n=2", "kind=new,n=1"]
    assert {case.group for case in cases} == {"kind=new"}
    assert {case.network for case in cases} == {"ghostnetv2_x1_0"}


def test_a_file_prints_its_own_paper_or_else_the_catalogues(write: Write) -> None:
    own = f'{NETWORK}paper = {{ top1_percent = 70.5, source = "T" }}\n'
    papers = [case.paper for case in cases_of(write(TITLE + own + SHUFFLE))]
    assert papers == [
        Paper(None, None, 70.5, "T"),
        catalogue.NETWORKS["shufflenetv2_x1_0"].paper,
    ]
    case = only(write(f"{TITLE}{BUILT}paper = {{ params_m = 2.5 }}\n"))
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
    text = TITLE + NETWORK + SHUFFLE + published + claim
    assert [case.published for case in cases_of(write(text))] == [24.5, None]
    wrong = published.replace("ghostnetv2_x1_0", "ghostnetv2")
    assert "no case is named 'ghostnetv2'" in refusal(write(TITLE + NETWORK + wrong))


KNOWN = (
    "cases[1]: network: it brings its builder, arguments and input; "
    "leave builder, args, gpu, arm, input and inputs out"
)

SECOND = "cases[2]: a second case 'ghostnetv2_x1_0'; name its labels"
PAPER = "cases[1].paper"
NO_INPUT = BUILT.replace("input = [1]\n", "")
ONE_INPUT = '[[inputs]]\nname = "x"\nshape = [3]\n'


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
        *((f"{NETWORK}{key} = {{ width = 2 }}\n", KNOWN) for key in ("args", "gpu", "arm")),
        (f'builder = "json:dumps"\n{NETWORK}', KNOWN),
        (f"{NETWORK}[[cases]]\nargs = {{ c = 1 }}\n", "builder: missing"),
        (NETWORK + NETWORK, SECOND),
        (NETWORK + NETWORK.replace("netv2", "netv2_x1_0"), SECOND),
        (f"input = [3]\n{NO_INPUT}{ONE_INPUT}", "give either input = [...] or [[inputs]], one of"),
        (f"input = [3]\n{NETWORK}", KNOWN),
        (NETWORK + ONE_INPUT, KNOWN),
        (f"args = {{ width = 2 }}\n{NETWORK}", KNOWN),
        (BUILT + NETWORK, KNOWN.replace("1", "2")),
        (f"{NETWORK}paper = {{ params_m = 0 }}\n", f"{PAPER}.params_m: expected greater"),
        (f"{NETWORK}paper = {{ macs_m = -1 }}\n", f"{PAPER}.macs_m: expected greater"),
        (f"{NETWORK}paper = {{ macs_m = inf }}\n", f"{PAPER}.macs_m: expected "),
        (f'{NETWORK}paper = {{ macs_m = "1" }}\n', f"{PAPER}.macs_m: expected "),
        (f"{NETWORK}paper = {{ top5_percent = 9 }}\n", f"{PAPER}.top5_percent: unknown key"),
        (f"{NETWORK}paper = {{ source = 1 }}\n", f"{PAPER}.source: expected string, got 1"),
        (f"{NETWORK}paper = 1\n", f"{PAPER}: expected "),
        (f'group_by = "kind"\n{NETWORK}', "group_by: case 'ghostnetv2_x1_0' has no 'kind'"),
        (f"{NETWORK}netwerk = 1\n", "cases[1].netwerk: unknown key"),
    ],
)
def test_what_does_not_go_with_a_network_is_refused_by_file_and_key(
    write: Write, text: str, sentence: str
) -> None:
    path = write(TITLE + text)
    assert refusal(path).startswith(f"{path}: {sentence}")


# what goes in


@pytest.mark.parametrize(
    ("selection", "shape"),
    [
        (Selection(), (1, 3, 224, 224)),
        (Selection(batches=(8,)), (8, 3, 224, 224)),
        (shaped(1, 3, 192, 160), (1, 3, 192, 160)),
        (shaped(4, 3, 32, 32), (4, 3, 32, 32)),
        (shaped(4, 3, 32, 32, batch=2), (2, 3, 32, 32)),
        (shaped(1, 3, 224, 224, batch=16), (16, 3, 224, 224)),
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
    small = shaped(1, 3, 64, 64)
    case = only(write(f"{TITLE}{NETWORK}paper = {{ params_m = 2.5 }}\n"), small)
    assert (case.inputs[0].shape, case.paper) == ((1, 3, 64, 64), Paper())
    assert "--shape is for networks, " in refusal(write(TITLE + BUILT), small)


def test_figures_for_another_image_are_none_of_this_one() -> None:
    case = only("shufflenetv2", shaped(1, 3, 64, 64))
    assert (case.paper, case.published) == (Paper(), None)
    assert only("shufflenetv2").published == 24.4


# checkpoints


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
    assert with_weights(cases_of(MODELS), {}) == cases_of(MODELS)
    names = ["shufflenetv2", "ghostnetv2", "mobilenetv2"]
    found = weighed(names, {"ghostnetv2": checkpoint, "shufflenetv2": other})
    assert {name: source_of(case).weights for name, case in found.items()} == {
        "shufflenetv2_x1_0": other,
        "ghostnetv2_x1_0": checkpoint,
        "mobilenetv2_x1_0": None,
    }


def test_every_case_of_a_network_has_its_weights_by_the_path_that_was_typed(
    write: Write, in_tmp: Path
) -> None:
    (in_tmp / "here.pth").write_bytes(b"weights")
    cases = cases_of(write(TITLE + "".join(f"{NETWORK}labels = {{ n = {n} }}\n" for n in (1, 2))))
    found = with_weights([replace(case, note="first") for case in cases], {"": Path("here.pth")})
    assert [source_of(case).weights for case in found] == [Path("here.pth")] * 2
    assert all(each.note.startswith("first; weights of here.pth, sha256 ") for each in found)


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
        *((file, "is not a file") for file in ("", "pipe", "/dev/zero")),
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
    before = key(checkpoint)
    assert key(same) == before
    assert before not in (key(other), key(None), key(checkpoint, "ghostnetv2_x1_3"))
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
    result = invoke("list", "networks")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert [name for name in rows if name in catalogue.NETWORKS] == list(catalogue.NETWORKS)
    assert rows["ghostnetv3_x1_0"][:3] == ["6.1", "170", "77.1"]
    assert rows["ghostnetv2_x1_0"][:3] == ["-", "167", "75.3"]
    assert rows["shufflenetv2_x2_0"][:3] == ["7.4", "591", "74.9"]
    assert rows["ghostnetv3_x0_5"] == ["-", "-", "-"]

"""Networks by name: in the catalogue, on the command line, in a TOML file."""

from dataclasses import asdict, replace

import pytest

from benchbox import specs
from benchbox.errors import SpecError, UsageError
from benchbox.networks import catalogue
from benchbox.networks.catalogue import Paper
from benchbox.report import published
from benchbox.runner import record as runner_record
from benchbox.specs import Builder, Selection
from benchbox.specs.find import OF_NETWORKS
from tests.helpers.command import invoke
from tests.specs.conftest import Write, cases_of, only, refusal, shaped

MODELS, DETECTORS = OF_NETWORKS
OTHERS = (
    *("g2", *OF_NETWORKS, "./ghostnetv2", "a:b", "", "_train", "shufflenetv2_train"),
    *("ghostnetv3_train_train", "ghostnetv3_x1_0train", "ghostnetv2_x", "GhostNetV2"),
)
BARE = [
    *((name, "") for name in ("shufflenetv2", "shufflenetv2_tv", "ghostnet", "ghostnetv2")),
    *(("ghostnetv3", ""), ("ghostnetv3", "_train"), ("mobilenetv2", "")),
]
TITLE = 'title = "Mine"\n'
NETWORK = '[[cases]]\nnetwork = "ghostnetv2"\n'
SHUFFLE = NETWORK.replace("ghost", "shuffle")
BUILT = 'builder = "nets:dumps"\ninput = [1]\n[[cases]]\nargs = { c = 1 }\n'


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
    assert (name in catalogue.families()) == (name not in catalogue.NETWORKS)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("mobilenetv3", "'mobilenetv3_small' or 'mobilenetv3_large'"),
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


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ghostnetv9", "(did you mean 'ghostnetv3' or 'ghostnetv2'?)"),
        ("shufflenetv2_x3_0", "(did you mean 'shufflenetv2_x2_0' or 'shufflenetv2_x1_0'?)"),
        ("zzzzzz", ""),
    ],
)
def test_a_near_miss_is_told_what_may_have_been_meant(name: str, nearest: str) -> None:
    with pytest.raises(SpecError) as caught:
        catalogue.named(name)
    assert catalogue.find(name) is None
    missed = f"{name!r} {nearest}".rstrip()
    assert str(caught.value) == f"unknown network {missed}; `benchbox list networks` shows them"
    assert refusal(name).startswith(f"unknown name {missed}; `benchbox list` shows")


def test_every_figure_has_a_source_and_no_source_is_without_a_figure() -> None:
    for network in catalogue.NETWORKS.values():
        paper = network.paper
        figures = [value for name, value in asdict(paper).items() if name != "source"]
        assert bool(paper.source) == any(figure is not None for figure in figures), network.name
        assert all(figure is None or figure > 0 for figure in figures)


# on the command line


@pytest.mark.parametrize("name", catalogue.NETWORKS)
def test_every_network_can_be_named_and_stands_among_the_models(name: str) -> None:
    case, network = only(name), catalogue.NETWORKS[name]
    spec, size = (DETECTORS, 640) if network.heads else (MODELS, 224)
    assert (case.spec, case.name, case.network) == (spec, name, name)
    assert isinstance(case.source, Builder)
    assert case.source.reference == network.builder
    assert case.args == network.args
    assert [str(tensor) for tensor in case.inputs] == [f"x=1x3x{size}x{size}"]
    assert case.paper == network.paper
    assert only(f"{spec}:network={name}") == case


def test_the_models_are_all_networks_once() -> None:
    found = [case.name for spec in OF_NETWORKS for case in cases_of(spec)]
    assert sorted(found) == sorted(catalogue.NETWORKS)
    assert only(f"{MODELS}:network=ghostnetv2") == only("ghostnetv2") == only("ghostnetv2_x1_0")
    assert specs.is_network("ghostnetv2")
    assert not any(specs.is_network(other) for other in OTHERS)
    said = refusal(f"{MODELS}:network=nothing")
    assert said.startswith("models: no case has network=nothing; network is shufflenetv2_x0_5, ")


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
    assert papers == [Paper(None, None, 70.5, "T"), catalogue.NETWORKS["shufflenetv2_x1_0"].paper]
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
        *((f"{NETWORK}{key} = {{ width = 2 }}\n", KNOWN) for key in ("args", "gpu", "arm")),
        (f'builder = "nets:dumps"\n{NETWORK}', KNOWN),
        (f"{NETWORK}[[cases]]\nargs = {{ c = 1 }}\n", "builder: missing"),
        (NETWORK + NETWORK.replace("netv2", "netv2_x1_0"), SECOND),
        (f"input = [3]\n{NO_INPUT}{ONE_INPUT}", "give either input = [...] or [[inputs]], one of"),
        (f"input = [3]\n{NETWORK}", KNOWN),
        (BUILT + NETWORK, KNOWN.replace("1", "2")),
        (f"{NETWORK}paper = {{ params_m = 0 }}\n", f"{PAPER}.params_m: expected greater"),
        (f"{NETWORK}paper = {{ macs_m = inf }}\n", f"{PAPER}.macs_m: expected "),
        (f"{NETWORK}paper = {{ top5_percent = 9 }}\n", f"{PAPER}.top5_percent: unknown key"),
        (f"{BUILT}image = [32, 32]\n", "cases[1]: image: it is for a network; a builder has input"),
        (f"{NETWORK}image = [32]\n", "cases[1].image: expected height and width, such as"),
        (f"{NETWORK}image = 32\n", "cases[1].image: expected height and width, such as"),
        (f"{NETWORK}image = [32, 33]\n", "cases[1]: image: height and width must be multiples of"),
        (f'group_by = "kind"\n{NETWORK}', "group_by: case 'ghostnetv2_x1_0' has no 'kind'"),
    ],
)
def test_what_does_not_go_with_a_network_is_refused_by_file_and_key(
    write: Write, text: str, sentence: str
) -> None:
    path = write(TITLE + text)
    assert refusal(path).startswith(f"{path}: {sentence}")


# what goes in


SUCH = "the input of a network is float32 images of 3 channels, such as x=1x3x224x224"
STRIDE = "height and width must be multiples of 32, the stride of a network, such as"


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (shaped(1, 4, 224, 224), f"--shape x=1x4x224x224: {SUCH}"),
        (shaped(3, 224, 224), f"--shape x=3x224x224: {SUCH}"),
        (shaped(1, 3, 224, 224, dtype="float16"), f"--shape x=1x3x224x224:float16: {SUCH}"),
        (shaped(1, 3, 100, 224), f"--shape x=1x3x100x224: {STRIDE} 96x224"),
        (shaped(1, 3, 7, 223), f"--shape x=1x3x7x223: {STRIDE} 32x224"),
    ],
)
def test_a_shape_that_no_network_takes_says_what_would_do(selection: Selection, says: str) -> None:
    for name in ("ghostnetv2", MODELS):
        assert refusal(name, selection).endswith(says)


@pytest.mark.parametrize("head", ["raw", "decoded", "detections"])
def test_a_head_is_an_argument_of_the_detectors_that_have_it_and_a_note(head: str) -> None:
    (case,) = specs.with_head([only("yolov10s")], head)
    assert (case.args, case.note) == ({"scale": "s", "head": head}, f"head {head}")
    assert specs.with_head([case], None) == [case]


NO_DETECTOR = "is no detector by name, as yolov8n is; leave --head out"


@pytest.mark.parametrize(
    ("name", "head", "says"),
    [
        ("yolov8n_ghost", "detections", "yolov8n_ghost has the heads raw and decoded"),
        (DETECTORS, "detections", "yolov8n has the heads raw and decoded"),
        ("ghostnetv2", "raw", f"ghostnetv2_x1_0 {NO_DETECTOR}"),
        ("g2:groups=1,scale=1", "raw", f"groups=1,scale=1 {NO_DETECTOR}"),
        ("backbones", "raw", f"part=yolov8n backbone,backbone=own {NO_DETECTOR}"),
    ],
)
def test_a_head_that_a_case_does_not_have_is_refused_with_those_it_has(
    name: str, head: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        specs.with_head(cases_of(name), head)
    assert str(caught.value) == f"--head {head}: {says}"


def test_a_file_of_networks_takes_a_shape_and_one_with_a_builder_does_not(write: Write) -> None:
    small = shaped(1, 3, 64, 64)
    case = only(write(f"{TITLE}{NETWORK}paper = {{ params_m = 2.5 }}\n"), small)
    assert (case.inputs[0].shape, case.paper) == ((1, 3, 64, 64), Paper())
    assert "--shape is for networks, " in refusal(write(TITLE + BUILT), small)
    assert [only("shufflenetv2", each).published for each in (small, None)] == [None, 24.4]


def test_a_file_may_give_a_network_another_image_which_no_paper_is_of(write: Write) -> None:
    path = write(f"{TITLE}{NETWORK}image = [64, 96]\n{SHUFFLE}")
    one, other = cases_of(path, Selection(batches=(2,)))
    assert [case.inputs[0].shape for case in (one, other)] == [(2, 3, 64, 96), (2, 3, 224, 224)]
    assert (one.paper, bool(other.paper.macs_m)) == (Paper(), True)
    assert "a TOML has its input" in refusal(path, shaped(1, 3, 64, 64))


def test_published_latencies_are_of_one_image_in_float32_alone() -> None:
    (half,) = specs.with_dtype([only("yolo11n")], "fp16")
    for paper in (half.paper, only("yolo11n", Selection(batches=(8,))).paper):
        assert paper == replace(only("yolo11n").paper, cpu_onnx_ms=None, t4_tensorrt_ms=None)
        assert paper.map_percent == 39.5


# what is printed of them


def test_a_record_keeps_the_figures_that_there_are() -> None:
    assert runner_record.record(0, only("ghostnetv2"), None).paper == {
        "macs_m": 167,
        "top1_percent": 75.3,
        "source": "GhostNetV2, arXiv 2211.12905, abstract and Figure 1",
    }
    assert runner_record.record(0, only("ghostnetv3_x0_5"), None).paper == {}
    host = runner_record.record(0, only("yolov8n"), None)
    assert (host.paper["cpu_onnx_ms"], host.paper["t4_tensorrt_ms"]) == (80.4, 1.47)
    assert [published.cells(host)[name] for name in published.COLUMNS] == [
        3.2,
        4350,
        None,
        37.3,
        80.4,
        1.47,
    ]


def test_the_list_has_every_network_in_order_with_dashes_for_what_papers_do_not_print() -> None:
    result = invoke("list", "networks")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert [name for name in rows if name in catalogue.NETWORKS] == list(catalogue.NETWORKS)
    assert rows["ghostnetv3_x1_0"][:3] == ["6.1", "170", "77.1"]
    assert rows["ghostnetv2_x1_0"][:3] == ["-", "167", "75.3"]
    assert rows["shufflenetv2_x2_0"][:3] == ["7.4", "591", "74.9"]
    assert rows["ghostnetv3_x0_5"] == ["-", "-", "-"]

"""Cases of `benchbox compare`: their names, what is refused, what comes from the specs."""

from pathlib import Path

import pytest

from benchbox import specs
from benchbox.errors import UsageError
from benchbox.specs import BlockSpec, Builder, Case, OnnxFile, Selection
from tests.conftest import MATMUL, Files
from tests.specs.conftest import shaped

ARM = Selection(channels="arm")
IMAGE = shaped(1, 3, 8, 8)
TWO_G2 = ["g2:groups=1,scale=1", "g2:groups=8,scale=1"]


def comparison(*names: str, title: str = "T") -> BlockSpec:
    return specs.comparison([spec for name in names for spec in specs.find(name)], title)


def compared(*names: str, selection: Selection = ARM) -> list[Case]:
    return comparison(*names).cases(selection)


def refusal(*names: str, selection: Selection = ARM) -> str:
    with pytest.raises(UsageError) as caught:
        compared(*names, selection=selection)
    return str(caught.value)


# the cases and their names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ghostnetv2", "shufflenetv2"], ["ghostnetv2_x1_0", "shufflenetv2_x1_0"]),
        (["ghostnetv2_x1_3", "mobilenetv3_small"], ["ghostnetv2_x1_3", "mobilenetv3_small"]),
        ([TWO_G2[1], "g1:ratio=1:1,scale=1"], [TWO_G2[1], "g1:ratio=1:1,scale=1"]),
        (["ghostnetv2", "g2:groups=8,scale=1"], ["ghostnetv2_x1_0", "g2:groups=8,scale=1"]),
        (["g2:scale=1"], [f"g2:groups={n},scale=1" for n in (1, 2, 4, 8)]),
        (["a.onnx", "deep/down/b.onnx"], ["a", "b"]),
        (["a.onnx", "ghostnetv2"], ["a", "ghostnetv2_x1_0"]),
        (["old/m.onnx", "new/m.onnx", "other/b.onnx"], ["old/m", "new/m", "b"]),
        (["old/ghostnetv2_x1_0.onnx", "ghostnetv2"], ["old/ghostnetv2_x1_0", "ghostnetv2_x1_0"]),
        (["x/run/m.onnx", "y/run/m.onnx"], ["run/m#1", "run/m#2"]),
        (["a.onnx", "x/run/m.onnx", "y/run/m.onnx"], ["a", "run/m#2", "run/m#3"]),
    ],
)
def test_every_case_has_a_name_that_no_other_has_and_that_is_short(
    files: Files, names: list[str], expected: list[str]
) -> None:
    files(*(name for name in names if name.endswith(".onnx")))
    assert [case.name for case in compared(*names)] == expected


def test_builders_of_one_name_are_told_apart(in_tmp: Path) -> None:
    for name in ("one.py", "two.py"):
        (in_tmp / name).write_text("def build(): ...")
    names = [case.name for case in compared("one.py:build", "two.py:build", selection=IMAGE)]
    assert len(set(names)) == 2
    assert all(name.startswith("build") for name in names)


def test_all_cases_stand_beside_the_first_whatever_their_groups_were() -> None:
    cases = compared("g2")
    assert len(cases) == 12
    assert {case.group for case in cases} == {""}
    assert {case.reference for case in cases} == {"g2:groups=1,scale=1"}
    assert {case.spec for case in cases} == {specs.COMPARE}
    assert [case.is_reference for case in cases] == [True] + [False] * 11


def test_the_order_is_the_one_that_was_typed(files: Files) -> None:
    names = files("c.onnx", "a.onnx", "b.onnx")
    assert [case.name for case in compared(*names)] == ["c", "a", "b"]
    assert [case.reference for case in compared(*reversed(names))] == ["b"] * 3


def test_a_case_is_built_as_it_is_in_its_own_spec(files: Files) -> None:
    names = [*files("a.onnx"), "ghostnetv2", "g4:relu=no,shortcut=no,scale=1"]
    alone = [case for name in names for spec in specs.find(name) for case in spec.cases(ARM)]
    for ours, own in zip(compared(*names), alone, strict=True):
        for field in ("labels", "args", "inputs", "batch", "source", "network", "dtype", "paper"):
            assert getattr(ours, field) == getattr(own, field), field


def test_of_several_batches_each_has_a_comparison_of_its_own() -> None:
    cases = compared("ghostnetv2", "shufflenetv2", selection=Selection(batches=(1, 4)))
    first, second = "ghostnetv2_x1_0", "shufflenetv2_x1_0"
    assert [(case.name, case.reference, case.group) for case in cases] == [
        (f"{name},batch={batch}", f"{first},batch={batch}", f"batch={batch}")
        for batch in (1, 4)
        for name in (first, second)
    ]


def test_a_selection_is_for_all_cases() -> None:
    cases = compared("ghostnetv2", "g2:groups=8,scale=1", selection=Selection(batches=(4,)))
    assert {case.inputs[0].shape[0] for case in cases} == {case.batch for case in cases} == {4}
    names = [case.name for case in compared("g2", "g3", selection=Selection(scales=("4",)))]
    assert names[0] == "g2:groups=1,scale=4"
    assert all(name.endswith("scale=4") for name in names)


# what is refused


@pytest.mark.parametrize(
    "names",
    [
        ["a.onnx", "a.onnx"],
        ["./a.onnx", "a.onnx"],
        ["a.onnx", "folder/../a.onnx"],
        ["a.onnx", "b.onnx", "{tmp}/a.onnx"],
        ["a.onnx", "link.onnx"],
        ["ghostnetv2", "ghostnetv2"],
        ["ghostnetv2", "ghostnetv2_x1_0"],
        ["ghostnetv3_train", "ghostnetv3_x1_0_train"],
        ["ghostnetv2", "models:network=ghostnetv2_x1_0"],
        ["a.onnx", "ghostnetv2", "g2:scale=1", "g2:groups=8"],
        ["mine.py:build", "./mine.py:build"],
    ],
)
def test_a_case_is_not_compared_with_itself_however_it_is_spelled(
    files: Files, in_tmp: Path, names: list[str]
) -> None:
    files("a.onnx", "b.onnx", "folder/c.onnx")
    (in_tmp / "link.onnx").symlink_to("a.onnx")
    (in_tmp / "mine.py").write_text("def build(): ...")
    is_builder = names[0].startswith("mine")
    spelled = [name.format(tmp=in_tmp) for name in names]
    said = refusal(*spelled, selection=IMAGE if is_builder else ARM)
    assert said.endswith("is compared with itself; name two different cases")


@pytest.mark.parametrize(
    "names",
    [
        ["a.onnx", "copy.onnx"],
        ["shufflenetv2", "shufflenetv2_tv"],
        ["ghostnetv3", "ghostnetv3_train"],
        ["mobilenetv3_small", "mobilenetv3_large"],
        ["g2:groups=1,scale=1", "g2:groups=1,scale=2"],
    ],
)
def test_what_merely_looks_alike_can_be_compared(files: Files, names: list[str]) -> None:
    files("a.onnx", "copy.onnx")
    assert len(compared(*names)) == 2


@pytest.mark.parametrize(
    ("name", "selection", "said"),
    [
        ("a.onnx", ARM, "a: a comparison needs two cases; name another one"),
        ("ghostnetv2", ARM, "ghostnetv2_x1_0: a comparison needs two cases; name another one"),
        (TWO_G2[1], ARM, f"{TWO_G2[1]}: a comparison needs two cases; name another"),
        ("g2:groups=8", Selection(scales=("4",)), "g2:groups=8,scale=4: a comparison needs two"),
    ],
)
def test_one_case_is_too_few(files: Files, name: str, selection: Selection, said: str) -> None:
    files("a.onnx")
    assert refusal(name, selection=selection).startswith(said)


def test_what_does_not_fit_one_of_the_cases_is_refused() -> None:
    said = refusal("ghostnetv2", "shufflenetv2", selection=shaped(1, 3, 100, 100))
    assert "height and width must be multiples of 32" in said


# what comes from the specs


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (TWO_G2, [40.0, 27.8]),
        (["shufflenetv2", "mobilenetv2"], [24.4, 8.9]),
        (["ghostnetv2", "shufflenetv2"], [None, 24.4]),
        (["g2:groups=1,scale=1", "g1:ratio=1:1,scale=1"], [None, None]),
        (["shufflenetv2", "g2:groups=1,scale=1"], [None, None]),
        (["shufflenetv2", "a.onnx"], [None, None]),
    ],
)
def test_published_speeds_are_kept_only_where_one_spec_has_them_all(
    files: Files, names: list[str], expected: list[float | None]
) -> None:
    files("a.onnx")
    spec = comparison(*names)
    cases = spec.cases(ARM)
    assert [case.published for case in cases] == expected
    has_any = any(figure is not None for figure in expected)
    assert bool(spec.published) == bool(spec.source) == has_any
    assert {case.channels for case in cases} == {"arm" if has_any else None}


def test_the_sha_follows_every_file_and_their_order(files: Files) -> None:
    names = files("a.onnx", "b.onnx")
    files("b.onnx", text=MATMUL.replace("32,32", "16,16"))
    first = comparison(*names).sha256
    assert comparison(*names).sha256 == first
    assert len(first) == 64
    assert comparison(*reversed(names)).sha256 != first
    files("b.onnx", text=MATMUL.replace("32,32", "8,8"))
    assert comparison(*names).sha256 != first


def test_it_has_a_title_and_claims_nothing() -> None:
    spec = comparison("g2", title="this against that")
    assert (spec.name, spec.title) == ("compare", "this against that")
    assert (spec.claim, spec.match, spec.guideline, spec.group_by) == (None, None, "", "")


def test_what_a_file_is_made_of_is_not_read_before_it_is_unfolded(files: Files) -> None:
    spec = comparison(*files("a.onnx", "b.onnx"))
    Path("b.onnx").write_text("no graph")
    with pytest.raises(UsageError, match=r"b\.onnx: not an ONNX file"):
        spec.cases(ARM)


def test_a_case_keeps_its_source_and_what_papers_print_of_it(files: Files) -> None:
    file, network = compared(*files("a.onnx"), "ghostnetv2")
    assert isinstance(file.source, OnnxFile)
    assert isinstance(network.source, Builder)
    assert (file.paper.top1_percent, network.paper.top1_percent) == (None, 75.3)

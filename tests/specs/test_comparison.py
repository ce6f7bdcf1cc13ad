"""Cases of `benchbox compare`: their names, what is refused, what comes from the specs."""

from pathlib import Path
from typing import Any

import pytest

from benchbox import runner, specs
from benchbox.errors import UsageError
from benchbox.specs import BlockSpec, Case, Selection
from tests.conftest import MATMUL, Files
from tests.specs.conftest import shaped

ARM = Selection(channels="arm")
IMAGE = shaped(1, 3, 8, 8)
TWO_G2 = ["g2:groups=1,scale=1", "g2:groups=8,scale=1"]


def comparison(*names: str, title: str = "T") -> BlockSpec:
    return specs.comparison(specs.find_all(names), title)


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
        (["mobilenetv3_small", "ghostnetv2_x1_3"], ["mobilenetv3_small", "ghostnetv2_x1_3"]),
        (["ghostnetv2", "g2:groups=8,scale=1"], ["ghostnetv2_x1_0", "g2:groups=8,scale=1"]),
        (["g2:scale=1"], [f"g2:groups={n},scale=1" for n in (1, 2, 4, 8)]),
        (["a.onnx", "deep/down/b.onnx"], ["a", "b"]),
        (["one.py:build", "two.py:build"], ["build#1", "build#2"]),
        (["base/one.py:build", "new/one.py:build"], ["base/build", "new/build"]),
        (["old/m.onnx", "new/m.onnx", "other/b.onnx"], ["old/m", "new/m", "b"]),
        (["old/ghostnetv2_x1_0.onnx", "ghostnetv2"], ["old/ghostnetv2_x1_0", "ghostnetv2_x1_0"]),
        (["a.onnx", "x/run/m.onnx", "y/run/m.onnx"], ["a", "x/run/m", "y/run/m"]),
        (["a.onnx", "copy.onnx"], ["a", "copy"]),
        (["shufflenetv2", "shufflenetv2_tv"], ["shufflenetv2_x1_0", "shufflenetv2_tv_x1_0"]),
    ],
)
def test_every_case_has_a_name_that_no_other_has_and_that_is_short(
    files: Files, in_tmp: Path, names: list[str], expected: list[str]
) -> None:
    files(*(name for name in names if name.endswith(".onnx")))
    for name in ("one.py", "two.py", "base/one.py", "new/one.py"):
        (in_tmp / name).parent.mkdir(exist_ok=True)
        (in_tmp / name).write_text("def build(): ...")
    selection = IMAGE if names[0].endswith(":build") else ARM
    assert [case.name for case in compared(*names, selection=selection)] == expected


def test_all_cases_stand_beside_the_first_whatever_their_groups_were() -> None:
    spec = comparison("g2", title="this against that")
    assert (spec.name, spec.title) == ("compare", "this against that")
    assert (spec.claim, spec.match, spec.guideline, spec.group_by) == (None, None, "", "")
    cases = spec.cases(ARM)
    assert len(cases) == 12
    assert {(case.group, case.spec) for case in cases} == {("", specs.COMPARE)}
    assert {case.reference for case in cases} == {"g2:groups=1,scale=1"}
    assert [case.is_reference for case in cases] == [True] + [False] * 11


def test_a_case_is_built_as_it_is_in_its_own_spec(files: Files) -> None:
    names = [*files("a.onnx"), "ghostnetv2", "g4:relu=no,shortcut=no,scale=1"]
    alone = [case for name in names for spec in specs.find(name) for case in spec.cases(ARM)]
    for ours, own in zip(compared(*names), alone, strict=True):
        for field in ("labels", "args", "inputs", "batch", "source", "network", "dtype", "paper"):
            assert getattr(ours, field) == getattr(own, field), field


def test_a_selection_is_for_all_cases() -> None:
    cases = compared("ghostnetv2", "g2:groups=8,scale=1", selection=Selection(batches=(4,)))
    assert {case.inputs[0].shape[0] for case in cases} == {case.batch for case in cases} == {4}
    names = [case.name for case in compared("g2", "g3", selection=Selection(scales=("4",)))]
    assert names[0] == "g2:groups=1,scale=4"
    assert all(name.endswith("scale=4") for name in names)


@pytest.mark.parametrize(
    ("swept", "groups", "references"),
    [
        ({"dtypes": ("fp32", "int8")}, [""], ["dtype=fp32"]),
        ({"threads": (1, 2)}, [""], ["threads=1"]),
        ({"sizes": (160, 192)}, [""], ["size=160"]),
        (
            {"batches": (1, 8), "dtypes": ("fp32", "fp16")},
            ["batch=1", "batch=8"],
            ["batch=1,dtype=fp32", "batch=8,dtype=fp32"],
        ),
    ],
)
def test_a_case_alone_is_compared_with_itself_at_other_places(
    swept: dict[str, Any], groups: list[str], references: list[str]
) -> None:
    cases = runner.unfold([comparison("ghostnetv2")], Selection(**swept))
    assert list(dict.fromkeys(case.group for case in cases)) == groups
    named = [f"ghostnetv2_x1_0,{place}" for place in references]
    assert list(dict.fromkeys(case.reference for case in cases)) == named


def test_several_cases_are_compared_with_each_other_at_each_place() -> None:
    cases = runner.unfold([comparison(*TWO_G2)], Selection(dtypes=("fp32", "int8")))
    assert [case.is_reference for case in cases] == [True, False] * 2


# what is refused


@pytest.mark.parametrize(
    "names",
    [
        ["./a.onnx", "a.onnx"],
        ["a.onnx", "b.onnx", "{tmp}/a.onnx"],
        ["a.onnx", "link.onnx"],
        ["ghostnetv2", "ghostnetv2_x1_0"],
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


# what comes from the specs


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (TWO_G2, [40.0, 27.8]),
        (["shufflenetv2", "mobilenetv2"], [24.4, 8.9]),
        (["g2:groups=1,scale=1", "g1:ratio=1:1,scale=1"], [None, None]),
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

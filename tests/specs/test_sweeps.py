"""Sweeps: grids of a TOML, sizes of images, batches, types and threads as axes of one run."""

from functools import partial
from itertools import product

import pytest

from benchbox import runner, specs
from benchbox.errors import SpecError, UsageError
from benchbox.specs import Selection, TensorSpec
from benchbox.specs.schema import MOST_CASES
from tests.specs import conftest
from tests.specs.conftest import Write, cases_of, only, refusal, shaped

HEAD = 'title = "Mine"\nbuilder = "nets:dumps"\ninput = ["c", 8, 8]\ngroup_by = "c"\n'
GRID = HEAD + 'grid = { op = ["conv", "dw+pw"], c = [96, 192] }\n'
not_valid = partial(conftest.refusal, kind=SpecError)


def test_a_grid_unfolds_into_cases_with_groups_and_references(write: Write) -> None:
    cases = cases_of(write(GRID))
    assert [case.name for case in cases] == [
        f"op={op},c={c}" for op, c in product(("conv", "dw+pw"), (96, 192))
    ]
    assert [case.args for case in cases] == [case.labels for case in cases]
    assert {case.reference for case in cases if case.group == "c=96"} == {"op=conv,c=96"}
    assert cases[1].inputs == (TensorSpec("x", (1, 192, 8, 8)),)


def test_cases_beside_a_grid_are_each_at_all_of_its_points(write: Write) -> None:
    text = HEAD.replace("8, 8", '"hw", "hw"') + 'grid = { op = ["a", "b"] }\n'
    pairs = "".join(
        f"[[cases]]\nargs = {{ c = {c}, hw = {hw} }}\n" for c, hw in ((8, 56), (16, 28))
    )
    cases = cases_of(write(text + pairs))
    assert [case.name for case in cases] == [
        f"c={c},hw={hw},op={op}" for c, hw in ((8, 56), (16, 28)) for op in "ab"
    ]
    assert [case.is_reference for case in cases] == [True, False] * 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[96, 192]", "96", "grid.c: expected list"),
        ("[96, 192]", "[]", "grid.c: expected "),
        ("[96, 192]", "[96, 96]", "cases[2]: a second case 'op=conv,c=96'"),
        ("[96, 192]", "[[96]]", "grid.c[1]: expected "),
        (
            '"c", 8, 8',
            '"c", "hw", 8',
            "cases[1]: input: 'hw' is no argument with a positive whole ",
        ),
        ("grid =", "[[cases]]\nargs = { c = 1 }\n[x]\ngrid =", "x: unknown key"),
        (
            "c = [96, 192]",
            f"c = {list(range(1, MOST_CASES))}",
            f"{2 * (MOST_CASES - 1)} cases, of ",
        ),
    ],
)
def test_a_wrong_grid_is_named(write: Write, old: str, new: str, sentence: str) -> None:
    path = write(GRID.replace(old, new))
    assert not_valid(path).startswith(f"{path}: {sentence}")


def test_a_mark_of_byte_order_is_no_part_of_a_spec(write: Write) -> None:
    assert len(cases_of(write("\ufeff" + GRID))) == 4


def test_an_argument_is_in_the_case_or_in_the_grid(write: Write) -> None:
    path = write(GRID + "[[cases]]\nargs = { c = 1 }\n")
    assert not_valid(path) == f"{path}: cases[1]: 'c' is in the grid, too"


def test_cases_have_inputs_of_their_own_and_a_batch_where_it_belongs(write: Write) -> None:
    text = HEAD.replace('"c", 8, 8', '"c"').replace('group_by = "c"\n', "") + "args = { c = 4 }\n"
    text += '[[cases]]\nlabels = { at = "last" }\nbatch_axis = 1\n'
    text += '[[cases]]\nlabels = { at = "first" }\ninput = [3, "c"]\n'
    cases = cases_of(write(text), Selection(batches=(2,)))
    assert [str(case.inputs[0]) for case in cases] == ["x=4x2", "x=2x3x4"]
    assert [case.batch for case in cases] == [2, 2]
    path = write(text.replace("batch_axis = 1", "batch_axis = 2"))
    assert not_valid(path).endswith("batch_axis: x has no axis 2 to have it at")
    several = HEAD.replace('input = ["c", 8, 8]\ngroup_by = "c"\n', "[[cases]]\n")
    table = '[[inputs]]\nname = "t"\nshape = [9]\nbatch_axis = false\n'
    x = '[[inputs]]\nname = "x"\nshape = [3]\n'
    (case,) = cases_of(write(several + table + x), Selection(batches=(2,)))
    assert [str(tensor) for tensor in case.inputs] == ["t=9", "x=2x3"]
    assert refusal(write(several + table), Selection(batches=(2,))).endswith(
        "--batch 2: no input of it has a batch"
    )


def test_sizes_are_sides_of_images_of_networks_and_builders() -> None:
    both = cases_of("ghostnetv2", Selection(sizes=(160, 224)))
    assert [case.name for case in both] == [f"ghostnetv2_x1_0,size={n}" for n in (160, 224)]
    assert [case.inputs[0].shape[2:] for case in both] == [(160, 160), (224, 224)]
    assert {case.paper.params_m for case in both} == {None}
    one = only("nets:dumps", Selection(sizes=(24,), batches=(4,)))
    assert (one.name, str(one.inputs[0]), one.batch) == ("dumps", "x=4x3x24x24", 4)


@pytest.mark.parametrize(
    ("name", "selection", "sentence"),
    [
        ("ghostnetv2", Selection(sizes=(100,)), "--size 100: height and width must be multiples"),
        ("g2", Selection(sizes=(56,)), "g2: --size is for networks, .onnx files and builders"),
        (
            "ghostnetv2",
            Selection(shapes=shaped(1, 3, 32, 32).shapes, sizes=(32,)),
            "--size 32: x=1x3x32x32 is given",
        ),
        (
            "nets:dumps",
            Selection(),
            "nets:dumps: say what goes in, e.g. --shape x=1x3x224x224, or ",
        ),
        (
            "nets:dumps",
            shaped(100, 1, 64, batch=8),
            "--batch 8: x=100x1x64 begins with 100, which ",
        ),
        ("nets:dumps", shaped(batch=8), "--batch 8: x=scalar has no batch"),
    ],
)
def test_a_size_that_does_not_fit_says_what_would(
    name: str, selection: Selection, sentence: str
) -> None:
    assert refusal(name, selection).startswith(sentence)


def test_all_that_is_swept_at_once_has_groups_with_references_of_their_own() -> None:
    selection = Selection(batches=(1, 8), threads=(1, 2))
    cases = runner.unfold(specs.find("g2:scale=1"), selection)
    at = [f"batch={batch},threads={n}" for n in (1, 2) for batch in (1, 8)]
    assert list(dict.fromkeys(case.group for case in cases)) == [f"scale=1,{each}" for each in at]
    assert {case.reference for case in cases} == {f"groups=1,scale=1,{each}" for each in at}
    assert {(case.threads, case.axes["threads"]) for case in cases} == {(1, 1), (2, 2)}
    (one, half) = runner.unfold(specs.find("ghostnetv2"), Selection(dtypes=("fp32", "fp16")))
    assert (one.group, half.group, half.dtype) == ("dtype=fp32", "dtype=fp16", "float16")
    alone = runner.unfold(specs.find("ghostnetv2"), Selection(batches=(8,), threads=(2,)))
    assert [(case.name, case.group, case.axes) for case in alone] == [("ghostnetv2_x1_0", "", {})]


def test_a_batch_replaces_no_size_that_is_none() -> None:
    x, ids, rate = ((n, s) for n, s in (("x", (1, 4)), ("ids", (1, 7)), ("rate", (3,))))
    shapes = tuple(TensorSpec(name, shape) for name, shape in (x, ids, rate))
    case = only("nets:dumps", Selection(shapes=shapes, batches=(8,)))
    assert [str(tensor) for tensor in case.inputs] == ["x=8x4", "ids=8x7", "rate=3"]
    with pytest.raises(UsageError):
        cases_of("nets:dumps", Selection(shapes=shapes[2:], batches=(8,)))

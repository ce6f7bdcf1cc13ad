import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchbox import specs
from benchbox.agent.ort import inputs
from benchbox.errors import SpecError, UsageError
from benchbox.specs import Builder, Case, Platform, Selection, TensorSpec
from benchbox.specs.labels import label_text
from benchbox.specs.model import Scalar
from tests.specs import conftest
from tests.specs.conftest import Write, cases_of, shaped

VALID = """
title = "Mine"
builder = "nets:dumps"
input = ["c", 8, 8]
args = { repeat = 2 }

[[cases]]
labels = { kind = "a", scale = 1 }
args = { c = 4 }

[[cases]]
labels = { kind = "b", scale = 1 }
args = { c = 6 }
"""
PUBLISHED = '[[published]]\nplatform="arm"\nunit="images_per_s"\ndevice="D"\nsource="T"\n'
CLAIM = '[claim]\nsubject="s"\nthan_subject="t"\n'
refusal = partial(conftest.refusal, kind=SpecError)


# A file


def test_an_input_may_have_values(write: Write, in_tmp: Path) -> None:
    np.save(in_tmp / "ids.npy", np.arange(4).reshape(1, 4))
    (in_tmp / "b.py").write_text("def build(): ...")
    table = '[[inputs]]\nname = "{}"\nshape = [4]\ndtype = "int64"\nvalues = {}\n'
    given = {"ids": '"ids.npy"', "sr": "16000"}
    spec = 'title = "T"\nbuilder = "./b.py:build"\n[[cases]]\n'
    path = write(spec + "".join(table.format(*each) for each in given.items()))
    (case,) = cases_of(path)
    arrays = [inputs.of(each.message(), 0).tolist() for each in case.inputs]
    assert arrays == [[[0, 1, 2, 3]], [[16000] * 4]]
    assert [str(each.values)[:7] for each in case.inputs] == ["sha256 ", "16000"]
    for value, why in (('"no.npy"', "there is no such file"), ("0.5", "0.5 is no int64")):
        message = conftest.refusal(write(spec + table.format("ids", value)))
        assert "cases[1]: values of ids: " in message
        assert message.endswith(why)


def test_a_file_unfolds_into_cases(write: Write) -> None:
    path = write(VALID)
    (spec,) = specs.find(str(path))
    first, second = spec.cases(Selection())
    assert (spec.name, spec.title, len(spec.sha256)) == ("mine", "Mine", 64)
    assert first == Case(
        spec="mine",
        name="kind=a,scale=1",
        labels={"kind": "a", "scale": 1},
        args={"repeat": 2, "c": 4},
        inputs=(TensorSpec("x", (1, 4, 8, 8)),),
        batch=1,
        source=Builder("nets:dumps"),
        reference="kind=a,scale=1",
    )
    assert (first.key, first.is_reference) == ("mine:kind=a,scale=1", True)
    assert (second.reference, second.is_reference) == (first.name, False)
    (batched, _) = spec.cases(Selection(batches=(16,)))
    assert (batched.name, batched.batch, batched.inputs[0].shape) == (first.name, 16, (16, 4, 8, 8))
    assert specs.find(str(path))[0].sha256 == spec.sha256
    write(VALID + "# a comment")
    assert specs.find(str(path))[0].sha256 != spec.sha256


def test_a_cases_own_arguments_win_over_the_files_and_its_channels_over_both(write: Write) -> None:
    case = "[[cases]]\nlabels={ n = 1 }\nargs={ b = 2, c = 2 }\narm={ c = 3 }\ngpu={ c = 4 }\n"
    head = 'title="t"\nbuilder="m:f"\ninput=["c"]\nargs={ a = 1, b = 1, c = 1 }\n'
    plain = write(head + "[[cases]]\nargs={ c = 4, wide = true }\n")
    assert [each.name for each in cases_of(plain)] == ["c=4,wide=yes"], "it has no labels"
    path = write(head + case)
    (arm,), (gpu,) = cases_of(path), cases_of(path, Selection(channels="gpu"))
    assert (arm.args, arm.inputs[0].shape) == ({"a": 1, "b": 2, "c": 3}, (1, 3))
    assert (gpu.args, gpu.inputs[0].shape) == ({"a": 1, "b": 2, "c": 4}, (1, 4))


def test_several_inputs_have_names_and_dtypes(write: Write) -> None:
    inputs = (
        '[[inputs]]\nname="x"\nshape=["c", 8]\n[[inputs]]\nname="ids"\nshape=[5]\ndtype="int64"\n'
    )
    text = VALID.replace('input = ["c", 8, 8]', "") + inputs
    first = cases_of(write(text), Selection(batches=(3,)))[0]
    assert [str(tensor) for tensor in first.inputs] == ["x=3x4x8", "ids=3x5:int64"]


def test_several_batches_have_cases_and_references_of_their_own(write: Write) -> None:
    path = write(VALID.replace("title", 'group_by = "scale"\ntitle', 1))
    cases = cases_of(path, Selection(batches=(8, 1)))
    at = [f"scale=1,batch={batch}" for batch in (8, 1)]
    assert [case.name for case in cases] == [f"kind={kind},{b}" for b in at for kind in "ab"]
    assert [case.group for case in cases] == [at[0], at[0], at[1], at[1]]
    assert [case.reference for case in cases] == [f"kind=a,{b}" for b in at for _ in "ab"]
    assert [(case.batch, case.inputs[0].shape[0]) for case in cases] == [(8, 8)] * 2 + [(1, 1)] * 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title =", "titel =", "titel: unknown key; blocks/README.md lists the known ones (and 1 "),
        ('builder = "nets:dumps"', "", "builder: missing"),
        ("args = { c = 6 }", "args = { c = [6] }", "cases[2].args.c: expected "),
        ("args = { c = 6 }", "args = { c = nan }", "cases[2].args.c: expected "),
        ("args = { c = 6 }", "gpu = { c = 6 }", "cases[2] has no 'arm' channels"),
        ('input = ["c", 8, 8]', "input = [0, 8]", "input[1]: expected "),
        ('input = ["c", 8, 8]', "input = [true]", "input[1]: expected "),
        ('input = ["c", 8, 8]', 'input = ["d", 8]', "cases[1]: input: 'd' is no argument with"),
        ("args = { c = 6 }", 'args = { c = "6" }', "cases[2]: input: 'c' is no argument"),
        ('kind = "b"', 'kind = "a"', "cases[2]: a second case 'kind=a,scale=1'; name its labels"),
        (VALID[VALID.index("[[cases]]") :], "cases = []\n", "cases: expected "),
        ('title = "Mine"', "title = ", "not valid TOML: Invalid value (at line 2"),
        ('builder = "nets:dumps"', 'builder = "dumps"', "builder 'dumps': write module:callable"),
        ("args = { repeat = 2 }", 'group_by = "size"', "group_by: case 'kind=a,scale=1' has no"),
    ],
)
def test_what_the_schema_does_not_admit_names_file_and_key(
    write: Write, old: str, new: str, sentence: str
) -> None:
    assert old in VALID
    path = write(VALID.replace(old, new))
    assert refusal(path).startswith(f"{path}: {sentence}")
    path.write_bytes(b"\xff\xfe\x00")
    assert refusal(path).startswith(f"{path}: not valid TOML: ")


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ('[match]\nequal="macs"', "match.within: missing"),
        ('[match]\nequal="macs"\nwithin=1.5', "match.within: expected less than 1, got 1.5"),
        (PUBLISHED + "[published.figures]\n'kind=c' = 1", "published.figures: no case is named 'k"),
        (PUBLISHED + "[published.figures]\n'kind=a,scale=1' = 0", "published[1].figures.kind=a"),
        (CLAIM + "slower={kind='c'}\nthan={kind='a'}", "claim.slower: no case has kind=c"),
        (CLAIM + "slower={kind='b'}\nthan={size='a'}", "claim.than: no case has size=a"),
        ('[[inputs]]\nname="x"\nshape=[1]', "give either input = [...] or [[inputs]], one of the"),
        ("[include]\nfile='g1.toml'", "include: unknown key"),
    ],
)
def test_tables_that_do_not_agree_with_the_cases_are_refused(
    write: Write, tables: str, sentence: str
) -> None:
    path = write(VALID + "\n" + tables)
    assert refusal(path).startswith(f"{path}: {sentence}")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (False, "no"), (0.5, "0.5"), (2.0, "2"), ("1:2", "1:2"), (None, "")],
)
def test_labels_read_as_they_are_typed(value: Scalar | None, text: str) -> None:
    assert label_text(value) == text


# A name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("g5", "unknown name 'g5' (did you mean 'g"),
        ("zzzzzzzz", "unknown name 'zzzzzzzz'; `benchbox list` shows them all"),
        ("./g2", "g2: there is no such file"),
        ("blocks/", "blocks: the folder has no .onnx file"),
        ("folder.onnx", "folder.onnx: the folder has no .onnx file"),
        ("./block.py", "block.py: name the callable in it: block.py:build"),
        ("block.py", "block.py: name the callable in it: block.py:build"),
        ("notes.pt", "notes.pt: weights have no graph; name a callable that builds the module: "),
        ("./notes.TFLite", "notes.TFLite: a graph of TensorFlow; convert it to .onnx"),
        ("notes.onnx.gz", "notes.onnx.gz: a packed file; unpack it"),
        ("folder", "unknown name 'folder' (for the folder write ./folder)"),
        ("./notes.txt", "notes.txt: expected a .toml spec or an .onnx file"),
        ("block.py:1st", "builder 'block.py:1st': write module:callable or ./file.py:callable"),
        ("nowhere.py:build", "builder 'nowhere.py:build': nowhere.py: there is no such file"),
    ],
)
def test_a_name_that_stands_for_nothing_says_what_would(
    in_tmp: Path, name: str, sentence: str
) -> None:
    for folder in ("blocks", "folder", "folder.onnx"):
        (in_tmp / folder).mkdir()
    (in_tmp / "block.py").write_text("def build(): ...")
    for suffix in ("txt", "pt", "TFLite", "onnx.gz"):
        (in_tmp / f"notes.{suffix}").touch()
    assert refusal(name).startswith(sentence)


def test_a_name_and_a_path_never_stand_for_each_other(in_tmp: Path) -> None:
    (in_tmp / "g2.toml").write_text(VALID)
    (in_tmp / "thing.toml").write_text(VALID)
    assert specs.find("g2")[0].title.startswith("G2")
    assert specs.find("./g2.toml")[0].title == specs.find("g2.toml")[0].title == "Mine"
    assert refusal("thing").startswith("unknown name 'thing' (for the file write thing.toml)")


# A selection


@pytest.mark.parametrize(
    ("name", "selection", "expected"),
    [
        ("g2:groups=8,scale=1", Selection(), ["groups=8,scale=1"]),
        ("g2:groups=8", Selection(scales=("1", "4")), ["groups=8,scale=1", "groups=8,scale=4"]),
        ("g2:scale=2", Selection(), [f"groups={n},scale=2" for n in (1, 2, 4, 8)]),
        ("g1:ratio=1:12,scale=1", Selection(), ["ratio=1:12,scale=1"]),
        ("g4:relu=yes,shortcut=no,scale=1", Selection(), ["relu=yes,shortcut=no,scale=1"]),
    ],
)
def test_a_selection_narrows_the_cases(
    name: str, selection: Selection, expected: list[str]
) -> None:
    assert [case.name for case in cases_of(name, selection)] == expected


def test_a_selection_narrows_every_spec_of_all_and_its_first_case_is_the_reference() -> None:
    found = specs.find("all:scale=1")
    assert [len(spec.cases(Selection())) for spec in found] == [4, 4, 5, 4]
    assert [case.is_reference for case in cases_of("g2:groups=8")] == [True, True, True]
    references = {case.reference for case in cases_of("g2") if case.group == "scale=2"}
    assert references == {"groups=1,scale=2"}


@pytest.mark.parametrize(
    ("name", "selection", "sentence"),
    [
        ("g2:groups=3", Selection(), "g2: no case has groups=3; groups is 1, 2, 4, 8"),
        ("g2:group=8", Selection(), "g2: no case has group=8; it has no group, but groups, scale"),
        ("g2:relu=", Selection(), "'g2:relu=': write the selection as key=value,key=value"),
        ("g2:groups=8,", Selection(), "'g2:groups=8,': write the selection as key=value,key="),
        ("g2", Selection(scales=("3", "5")), "g2: no case has scale 3 or 5; scale is 1, 2, 4"),
        ("g2", shaped(1), "g2: --shape is for networks, "),
        *(
            (name, Selection(), "no case has")
            for name in ("g2:groups=8.1", "g2:groups=eight", "g4:relu=1")
        ),
        ("nets:dumps", Selection(), "nets:dumps: say what goes in, e.g. --shape x=1x3x224"),
    ],
)
def test_a_selection_that_leaves_nothing_says_so(
    name: str, selection: Selection, sentence: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        cases_of(name, selection)


def test_a_label_is_matched_by_its_number() -> None:
    for typed in ("8", "8.0", "08", "8e0"):
        assert cases_of(f"g2:groups={typed}") == cases_of("g2:groups=8")


@pytest.mark.parametrize(
    ("name", "platform", "batches", "figures"),
    [
        ("g1:ratio=1:1,scale=1", "gpu", (), [1480]),
        ("g1:ratio=1:1,scale=1", "gpu", (1, 8), [1480, None]),
        ("models:network=shufflenetv2_x1_0", "gpu", (1, 8), [None, 341]),
        ("models:network=shufflenetv2_x1_0", "arm", (1, 8), [24.4, None]),
    ],
)
def test_a_papers_figure_stands_beside_the_batch_that_it_is_of_and_no_other(
    name: str, platform: Platform, batches: tuple[int, ...], figures: list[float | None]
) -> None:
    """Tables 1 to 4 are of single images, Table 8 of 8 on the GPU and of 1 on ARM."""
    found = cases_of(name, Selection(channels=platform, batches=batches))
    assert [case.published for case in found] == figures


# A builder


def test_a_file_beside_the_toml_is_its_builder(in_tmp: Path) -> None:
    beside = in_tmp / "blocks" / "mine.py"
    beside.parent.mkdir()
    beside.write_text("def build(): ...")
    path = beside.with_name("mine.toml")
    path.write_text(VALID.replace("nets:dumps", "./mine.py:build"))
    assert cases_of("blocks/mine.toml")[0].source == Builder("mine.py:build", beside.resolve())


@pytest.mark.parametrize("reference", ["mine.py:build", "./mine.py:build", "/{tmp}/mine.py:build"])
def test_a_file_on_the_command_line_is_a_builder(in_tmp: Path, reference: str) -> None:
    (in_tmp / "mine.py").write_text("raise SystemExit('it ran')")
    before = specs.find("mine.py:build")[0]
    assert before.title == "mine.py:build"
    (in_tmp / "mine.py").write_text("def build(): ...")
    assert specs.find("mine.py:build")[0].sha256 != before.sha256
    (case,) = cases_of(reference.replace("/{tmp}", str(in_tmp)), shaped(2, 3))
    assert case.source == Builder("mine.py:build", (in_tmp / "mine.py").resolve())
    assert (case.key, case.batch, case.is_reference) == ("build:build", 2, True)


def test_shapes_stand_as_typed_and_a_batch_goes_over_the_first_size_of_those_that_share_it() -> (
    None
):
    shapes = (TensorSpec("x", (2, 3, 8, 8)), TensorSpec("k", ()), TensorSpec("n", (5,), "int64"))
    (typed,) = cases_of("nets:dumps", Selection(shapes=shapes))
    assert (typed.inputs, typed.batch) == (shapes, 2)
    (batched,) = cases_of("nets:dumps", Selection(shapes=shapes, batches=(4,)))
    assert [str(tensor) for tensor in batched.inputs] == ["x=4x3x8x8", "k=scalar", "n=5:int64"]
    assert batched.batch == 4

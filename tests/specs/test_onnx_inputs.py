"""Inputs of .onnx files: sizes from the file, the options, and what stands behind a name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchbox import runner, specs
from benchbox.agent import stdio
from benchbox.agent.ort import inputs
from benchbox.api import parsing
from benchbox.errors import GraphError, SpecError, UsageError
from benchbox.export import ort_call
from benchbox.specs import Case, OnnxFile, Selection, TensorSpec
from tests.conftest import Files, WriteOnnx
from tests.specs.conftest import only, refusal
from tests.specs.test_onnx_file import save, tensor

FIXED = "fixed (float[2,3,8,8] x) => (float[2,3,8,8] y) { y = Relu(x) }"
BATCHED = "batched (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"
OPEN = "open (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"
NO_INPUT = "g () => (float[1] y) { y = Constant <value = float[1] {1}> () }"
IDS = "int64[N,7] ids, bool[N,7] mask, float16[4] k, float s"
TWO = f"two ({IDS}) => (int64[N,7] y) {{ y = Neg(ids) }}"
OTHERS = ["mask=1x7:bool", "k=4:float16", "s=scalar"]
SEQ = "seq (float[1,seq] a, float[1,seq] b) => (float[1,seq] y) { y = Add(a, b) }"
UNNAMED = "g (float[1,?] x, float[k,2] z) => (float[1,2] y) { y = MatMul(x, z) }"
GRU = """g (float[%s] x, float[1,12,4] w, float[1,12,4] r) => (float[?,1,?,4] y) {
    a = Relu(x) y = GRU<hidden_size = 4, layout = %d>(a, w, r)
}"""


def selected(
    batch: int | None = None,
    shapes: Sequence[str] = (),
    dims: Sequence[str] = (),
    values: Sequence[str] = (),
) -> Selection:
    return Selection(
        batches=(batch,) if batch else (),
        shapes=tuple(map(specs.shape, shapes)),
        dims=parsing.dims(dims),
        values=parsing.values(values),
    )


def cases_of(names: list[str], selection: Selection) -> list[Case]:
    return runner.unfold(specs.find_all(names), selection)


def texts(case: Case) -> list[str]:
    return list(map(str, case.inputs))


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        (FIXED, selected(), ["x=2x3x8x8"]),
        (BATCHED, selected(), ["x=1x3x8x8"]),
        (BATCHED, selected(16), ["x=16x3x8x8"]),
        (BATCHED, selected(None, ["x=4x3x8x8"]), ["x=4x3x8x8"]),
        (OPEN, selected(None, ["x=2x3x32x64"]), ["x=2x3x32x64"]),
        (OPEN, selected(None, [], ["H=32", "W=64"]), ["x=1x3x32x64"]),
        (OPEN, selected(4, [], ["H=32", "W=64"]), ["x=4x3x32x64"]),
        (NO_INPUT, selected(), []),
        (TWO, selected(), ["ids=1x7:int64", *OTHERS]),
        (TWO, selected(None, ["ids=5x7"]), ["ids=5x7:int64", "mask=5x7:bool", *OTHERS[1:]]),
        (SEQ, selected(None, [], ["seq=9"]), ["a=1x9", "b=1x9"]),
        (SEQ, selected(None, ["b=1x9"]), ["a=1x9", "b=1x9"]),
    ],
)
def test_inputs_come_from_the_file_and_open_sizes_from_the_command_line(
    write_onnx: WriteOnnx, text: str, given: Selection, expected: list[str]
) -> None:
    case = only(write_onnx(text=text), given)
    assert texts(case) == expected
    is_batch = expected and not expected[0].startswith("a")
    assert case.batch == (case.inputs[0].shape[0] if is_batch else 1)


def test_a_file_is_a_spec_of_one_case_by_its_name_and_content(write_onnx: WriteOnnx) -> None:
    path = write_onnx("net", FIXED)
    case = only(path)
    assert (case.key, case.source, case.is_reference) == ("net:net", OnnxFile(path.resolve()), True)
    assert (case.args, case.labels, case.channels) == ({}, {}, None)
    shas = {specs.find(str(write_onnx(text=text)))[0].sha256 for text in (FIXED, BATCHED, FIXED)}
    assert len(shas) == 2


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        (FIXED, selected(4), "--batch 4: the file fixes the batch to 2"),
        (FIXED, selected(None, ["x=4x3x8x8"]), "x=4x3x8x8 does not fit the input x=2x3x8x8"),
        (BATCHED, selected(None, ["x=1x3x8"]), "x=1x3x8 does not fit the input x=Nx3x8x8"),
        (BATCHED, selected(None, ["x=1x3x8x8:int64"]), "the input is of type float32"),
        (BATCHED, selected(8, ["x=4x3x8x8"]), "--batch 8: its batch is 4 here"),
        (SEQ, selected(None, ["a=1x9"], ["seq=8"]), "seq=8: --shape a=1x9 has 9 there"),
        (OPEN, selected(), "x=Nx3xHxW has open sizes: give --dim H=224 --dim W=224"),
        (OPEN, selected(None, [], ["W=8", "h=8"]), "(and none is h): give --dim H=224"),
        (SEQ, selected(), "a=1xseq, b=1xseq have open sizes: give --dim seq=128"),
        (OPEN.replace("N,3,H,W", "?,3,?,?"), selected(), "give --shape x=1x3x224x224"),
        (OPEN.replace("N,3,H,W", "None,3,None,9"), selected(), "give --shape x=1x3x224x9"),
        (UNNAMED, selected(), "x=1x? has open sizes: give --shape x=1x128"),
        (GRU % ("seq,n,4", 0), selected(), "has open sizes: give --dim seq=128 --dim n=1"),
        (NO_INPUT, selected(8), "--batch 8: its batch is 1 here"),
    ],
)
def test_what_does_not_fit_the_file_says_what_to_type(
    write_onnx: WriteOnnx, text: str, given: Selection, sentence: str
) -> None:
    message = refusal(write_onnx(text=text), given)
    assert message.startswith("tiny.onnx: ")
    assert sentence in message


def test_a_name_of_an_input_may_hold_colons_and_slashes(tmp_path: Path) -> None:
    model = onnx.load(save(tmp_path / "tf.onnx", tensor(TensorProto.FLOAT, [None, 4])))
    model.graph.input[0].name = model.graph.node[0].input[0] = "serving/x:0"
    onnx.save(model, tmp_path / "tf.onnx")
    assert texts(only(f"{tmp_path}/tf.onnx:serving/x:0=2x4")) == ["serving/x:0=2x4"]


def test_a_shape_goes_to_the_files_that_have_the_input(files: Files) -> None:
    files("one.onnx", text=OPEN)
    files("two.onnx", text=OPEN.replace(" x", " img").replace("(x", "(img"))
    names = ["one.onnx", "two.onnx"]
    shapes = ["x=1x3x8x8", "img=1x3x9x9"]
    assert [texts(c) for c in cases_of(names, selected(None, shapes))] == [[s] for s in shapes]
    behind = [f"{name}:{shape}" for name, shape in zip(names, shapes, strict=True)]
    assert [texts(c) for c in cases_of(behind, selected())] == [[s] for s in shapes]
    with pytest.raises(UsageError, match=r"one.onnx: x=.*; two.onnx: img=.*give --dim H=224 --dim"):
        cases_of(names, selected())
    with pytest.raises(UsageError, match="--shape z: the inputs are x, img"):
        cases_of(names, selected(None, [*shapes, "z=1"]))
    with pytest.raises(UsageError, match="--dim q: the open sizes are N, H, W"):
        cases_of(names, selected(None, shapes, ["q=1"]))


def test_sizes_behind_a_name_make_cases_of_one_file(files: Files) -> None:
    (name,) = files("seq.onnx", text=SEQ)
    cases = cases_of([f"{name}:seq=8", f"{name}:seq=16"], selected())
    assert [(c.key, texts(c)[0]) for c in cases] == [
        ("seq:seq=8", "a=1x8"),
        ("seq:seq=16", "a=1x16"),
    ]
    for odd, why in (("seq=x", "write a size such as seq=128"), ("z=4", "the inputs are a=1xseq")):
        with pytest.raises(UsageError, match=f"^seq.onnx:{odd}: {why}"):
            cases_of([f"{name}:{odd}"], selected())


def test_files_of_one_name_are_told_apart_by_their_folders(files: Files) -> None:
    names = files("a/x/m.onnx", "b/x/m.onnx", "b/x/n.ONNX", text=FIXED)
    keys = [case.key for case in cases_of(names, selected())]
    assert keys == ["a/x/m:a/x/m", "b/x/m:b/x/m", "n:n"]
    titles = [spec.title for spec in specs.find_all(names)]
    assert titles == ["a/x/m.onnx", "b/x/m.onnx", "n.ONNX"]
    assert [case.key for case in cases_of(["./b/x"], selected())] == ["m:m", "n:n"]
    both = files("c/s.onnx", "d/s.onnx", text=SEQ)
    with pytest.raises(UsageError, match=r"^c/s.onnx: .* have open sizes; d/s.onnx: .*: give --d"):
        cases_of(both, selected())
    with pytest.raises(UsageError, match=r"^c/s.onnx: .* have open sizes; d/s.onnx: .*: give --d"):
        runner.unfold([specs.comparison(specs.find_all(both), "T")], selected())
    Path("n.toml").write_text('title = "N"\n[[cases]]\nnetwork = "ghostnetv2"\n')
    Path("n.onnx").write_bytes(Path("b/x/n.ONNX").read_bytes())
    with pytest.raises(UsageError, match="two different specs are called 'n'"):
        cases_of(["n.toml", "n.onnx"], selected())
    with pytest.raises(UsageError, match="m:m is named twice"):
        cases_of([names[0], f"./{names[0]}"], selected())
    Path("a/old.ort").write_bytes(b"ORTM")
    for name, why in (("./a", "the folder has no .onnx file"), ("a/old.ort", "give the .onnx")):
        with pytest.raises(SpecError, match=why):
            specs.find(name)


@pytest.mark.parametrize(
    ("text", "has_images", "batch"),
    [
        (GRU % ("n,1,4", 0), False, 1),
        (GRU % ("9,1,4", 0), False, 1),
        (GRU % ("n,5,4", 1), True, 8),
        (SEQ.replace("1,seq", "seq,2"), False, 1),
        (BATCHED, True, 8),
        ("g (float[9,4] x) => (float[9,4] y) { y = Relu(x) }", False, 1),
    ],
)
def test_a_first_size_that_is_no_batch_gives_no_images(
    write_onnx: WriteOnnx, text: str, has_images: bool, batch: int
) -> None:
    given = selected(batch if batch > 1 else None, [], ["seq=8"] if "seq," in text else [])
    given = selected(None, ["x=9x1x4"]) if "n,1" in text else given
    case = only(write_onnx(text=text), given)
    assert (case.has_images, case.batch) == (has_images, batch)


# values


def test_values_fix_a_shape_and_are_checked(files: Files) -> None:
    (name,) = files("seq.onnx", text=SEQ)
    np.save("a.npy", np.zeros((1, 5), np.float32))
    np.save("ids.npy", np.zeros((1, 5), np.int64))
    (case,) = cases_of([name], selected(values=["a=a.npy", "b=2.5"]))
    assert texts(case) == ["a=1x5", "b=1x5"]
    messages = [each.message() for each in case.inputs]
    arrays = [inputs.of(each, 0) for each in messages]
    assert [each.tolist() for each in arrays] == [[[0.0] * 5], [[2.5] * 5]]
    Path("text.npy").write_text("1 2 3")
    for values, why in (
        ("a=ids.npy", "ids.npy is of type int64, the input of float32; save it as array.astype"),
        ("a=no.npy", "there is no such file"),
        ("a=text.npy", "not a .npy file of numbers"),
        ("a=b", "'b' is neither a .npy file, as numpy.save writes, nor"),
        ("a=nan", "'nan' is neither"),
        ("a=1e39", "1e\\+39 is no float32"),
        ("z=1", "--input z: no such input; there are a, b"),
    ):
        with pytest.raises(UsageError, match=why):
            cases_of([name], selected(values=[values], dims=["seq=5"]))
    with pytest.raises(UsageError, match=r"a.npy is 1x5, the input 1x6"):
        cases_of([name], selected(shapes=["a=1x6"], values=["a=a.npy"]))


@pytest.mark.parametrize(
    ("value", "fits"), [("1", True), ("true", True), ("2", False), ("0.5", False)]
)
def test_a_number_must_be_of_the_type(write_onnx: WriteOnnx, value: str, fits: bool) -> None:
    name = str(write_onnx(text=TWO))
    given = selected(values=[f"mask={value}"])
    if fits:
        (case,) = cases_of([name], given)
        assert inputs.of(case.inputs[1].message(), 0).all()
        return
    with pytest.raises(UsageError, match=f"--input mask: {value} is no bool"):
        cases_of([name], given)


def test_strings_are_made_or_given_as_text_or_in_a_file(write_onnx: WriteOnnx) -> None:
    path = write_onnx(text="g (string[1,2] x) => (string[1,2] y) { y = Identity(x) }")
    words = path.with_name("words.npy")
    np.save(words, np.array([["a", "é" * 200]]))
    for values, expected in (
        ([], [["480", "801"]]),
        (["x=hello"], [["hello"] * 2]),
        (["x=1.50"], [["1.50"] * 2]),
        ([f"x={words}"], [["a", "é" * 200]]),
    ):
        (case,) = cases_of([str(path)], selected(values=values))
        array = inputs.of(case.inputs[0].message(), 0)
        (given,) = ort_call.run(path, {"x": array})
        assert given.tolist() == array.tolist() == expected
    with pytest.raises(UsageError, match=r"words.npy is of type string, the input of float32"):
        cases_of([str(write_onnx(text=SEQ))], selected(dims=["seq=2"], values=[f"a={words}"]))


# what is declared


def test_constants_that_are_listed_as_inputs_are_not_fed(write_onnx: WriteOnnx) -> None:
    text = "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    assert [each.name for each in only(write_onnx(text=text)).inputs] == ["x"]


def test_an_input_without_a_rank_takes_its_shape_from_the_command_line(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", tensor(TensorProto.FLOAT, None))
    assert "x of any shape has open sizes: give --shape x=1x3x224x224" in refusal(path)
    given = TensorSpec("x", (2, 5))
    assert only(path, Selection(shapes=(given,))).inputs == (given,)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1]),
            "input 'x' is of sequence type; only tensors can be made",
        ),
        (tensor(0, [1]), "input 'x' has the unknown type 0"),
        (tensor(1, [0, 3]), r"input x=0x3 has a size of 0, .*dim\[0\].dim_param = 'N'; onnx.save"),
    ],
)
def test_an_input_that_cannot_be_made_is_refused(
    tmp_path: Path, value: onnx.ValueInfoProto, sentence: str
) -> None:
    with pytest.raises(GraphError, match=f"^odd.onnx: {sentence}"):
        only(save(tmp_path / "odd.onnx", value))


def test_a_dtype_that_cannot_be_filled_is_refused_by_name_when_it_is_to_be_filled(
    tmp_path: Path,
) -> None:
    value = tensor(TensorProto.BFLOAT16, [1])
    (x,) = only(save(tmp_path / "odd.onnx", value)).inputs
    with pytest.raises(stdio.Refusal, match=f"input 'x' is of type {x.dtype}; benchbox can fill"):
        inputs.make(x.name, x.shape, x.dtype, 0)


def test_only_an_open_size_or_an_image_tells_the_batch(tmp_path: Path) -> None:
    for dims, batch in (([8, 64], 1), ([8, 3, 4, 4], 8), (["n", 64], 1), ([-1, 4], 1)):
        path = save(tmp_path / "g.onnx", tensor(TensorProto.FLOAT, dims))
        assert only(path).batch == batch
    assert str(only(path, selected(4)).inputs[0]) == "x=4x4", "a negative size is open"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPEN, "x=1x3x32x32"),
        (OPEN.replace("N,3,H,W", "N,H,W,3"), "x=1x32x32x3"),
        (OPEN.replace("H,W", "H,16"), "x=1x3x32x16"),
        (OPEN.replace("H,W", "?,?"), "x=1x3x32x32"),
        (FIXED, "fixed.onnx: --size 32: the file fixes x=2x3x8x8; leave it out"),
        (FIXED.replace("8,8", "32,32"), "x=2x3x32x32"),
        (TWO, "fixed.onnx: --size 32: no input of it is of images; leave it out"),
    ],
)
def test_the_side_of_images_fills_what_is_open(
    write_onnx: WriteOnnx, text: str, expected: str
) -> None:
    try:
        found = str(only(write_onnx("fixed", text), Selection(sizes=(32,))).inputs[0])
    except UsageError as error:
        found = str(error)
    assert found == expected


def test_several_sizes_of_a_symbol_are_cases_and_groups(write_onnx: WriteOnnx) -> None:
    (spec,) = specs.find(str(write_onnx("seq", SEQ)))
    cases = spec.cases(Selection(dims={"seq": (8, 16)}, batches=(1,)))
    assert [(c.name, c.group, c.inputs[0].shape) for c in cases] == [
        (f"seq,seq={size}", f"seq={size}", (1, size)) for size in (8, 16)
    ]


def test_a_side_and_a_shape_of_one_input_exclude_each_other(write_onnx: WriteOnnx) -> None:
    path = write_onnx("open", OPEN)
    both = replace(selected(shapes=["x=1x3x8x8"]), sizes=(32,))
    assert refusal(path, both) == (
        "open.onnx: --size 32: x=1x3x8x8 is given, too; give one of them"
    )

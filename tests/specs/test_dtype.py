"""--dtype: which graphs are made float16, what comes of it, and where it is not what computed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox.agent.ort.runtime import OnnxRuntime
from benchbox.errors import CaseError, UsageError
from benchbox.export import Graph, cache, worker
from benchbox.export.prepare import _request
from benchbox.export.verify import half_difference
from benchbox.report import conditions
from benchbox.report.frame import to_frame
from benchbox.report.tables import setting
from benchbox.specs import Case, with_dtype
from benchbox.specs.dtype import computes_in_float32
from tests.conftest import WriteOnnx
from tests.helpers.tables import record, run_of
from tests.specs.conftest import only

NET = (
    "g (float[N,3,16,16] x, int64[4] s) => (float[N,3,A,B] y) "
    "<float lo={0.0}, float hi={3.4e38}, float[3] c={1.0,2.0,0.5}, float[3] m={0.1,0.2,0.3}, "
    "float[3] v={1.0,2.0,3.0}, float[4] z={1.0,1.0,2.0,2.0}> "
    "{ a = Clip(x, lo, hi)  b = BatchNormalization(a, c, m, m, v)  r = Resize(b, , z) "
    "k = Max(r, lo)  q = Cast<to=1>(s)  t = ReduceSum<keepdims=0>(q)  y = Mul(k, t) }"
)
BOXES = "g (float[1,6,4] b, float[1,1,6] s) => (int64[M,3] y) { y = NonMaxSuppression(b, s) }"
LARGE = "g (float[1,64] x) => (float[1,64] y) <float k={60000.0}> { y = Mul(x, k) }"
RELU = "g (float[4] x) => (float[4] y) { a = Relu(x) b = Cast<to=11>(a) y = CastLike(b, x) }"
X = {"name": "x", "shape": [4], "dtype": "float32"}
LOADING = {"provider": "CPUExecutionProvider", "seed": 0, "types": True}


def case_of(path: Path, dtype: Any = "fp16") -> Case:
    (case,) = with_dtype([only(path)], dtype)
    return case


def inspected(case: Case) -> Graph:
    worker.inspect(_request(cache.key(case), case))
    graph = cache.lookup(cache.key(case), case)
    assert graph is not None
    return graph


# which cases


def test_floats_become_halves_and_other_inputs_stay() -> None:
    plain = only("g2:groups=1,scale=1")
    (half,) = with_dtype([plain], "fp16")
    assert [str(tensor) for tensor in half.inputs] == ["x=1x64x56x56:float16"]
    assert (half.dtype, half.conversion, half.name) == ("float16", "fp16", plain.name)
    assert (plain.published, half.published) == (40.0, None), "the paper's speed is of float32"
    assert with_dtype([plain], None) == with_dtype([plain], "fp32") == [plain]
    for asked in ("fp32", "int8"):
        with pytest.raises(UsageError, match=rf"--dtype {asked}: its input is x=.*:float16"):
            with_dtype([half], asked)


@pytest.mark.parametrize("asked", ["int8", "int8-dynamic"])
def test_a_quantised_case_keeps_its_inputs_and_says_that_it_has_no_accuracy(asked: Any) -> None:
    plain = only("g2:groups=1,scale=1")
    (quantised,) = with_dtype([plain], asked)
    assert quantised.inputs == plain.inputs
    assert (quantised.dtype, quantised.conversion, quantised.published) == (asked, asked, None)
    assert cache.key(quantised) != cache.key(plain)
    network = only("models:network=mobilenetv2_x1_0")
    (quantised,) = with_dtype([network], asked)
    assert (network.paper.top1_percent, quantised.paper.top1_percent) == (72.0, None)
    assert quantised.paper.macs_m == network.paper.macs_m


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("(float16[2] x) => (float16[2] y) { y = Relu(x) }", "fp16", "it holds float16 already"),
        ("(float16[2] x) => (float16[2] y) { y = Relu(x) }", "fp32", "it holds float16; leave"),
        ("(int64[2] x) => (int64[2] y) { y = Neg(x) }", "fp16", "it holds no floats; leave"),
        ("(double[2] x) => (double[2] y) { y = Relu(x) }", "fp16", "it holds float64; leave"),
        ("(float[2] x) => (float16[2] y) { y = Cast<to=10>(x) }", "fp16", "float32 and float16"),
        (
            "(float[2] x) => (uint8[2] y) <float s={0.1}> { y = QuantizeLinear(x, s) }",
            "fp16",
            r"it is quantised \(QuantizeLinear\); leave --dtype out",
        ),
        (
            "(float[2] x) => (float[2] y) <float s={0.1}, int8[2] w={1,2}> "
            "{ d = DequantizeLinear(w, s) y = Add(x, d) }",
            "int8",
            r"it is quantised \(DequantizeLinear\); leave --dtype out",
        ),
        ("(float16[2] x) => (float16[2] y) { y = Relu(x) }", "int8", "it holds float16; leave"),
    ],
)
def test_a_file_in_another_precision_is_told_of_and_left_alone(
    write_onnx: WriteOnnx, text: str, asked: str, sentence: str
) -> None:
    path = write_onnx("mine", f"g {text}")
    assert not computes_in_float32(path)
    with pytest.raises(UsageError, match=f"mine.onnx: --dtype {asked}: .*{sentence}"):
        case_of(path, asked)


# what comes of it


@pytest.mark.usefixtures("shared_cache")
def test_a_file_becomes_a_graph_of_halves_without_a_cast(write_onnx: WriteOnnx) -> None:
    path = write_onnx("net", NET)
    assert computes_in_float32(path)
    before = path.read_bytes()
    case = case_of(path)
    graph = inspected(case)
    model = onnx.load(graph.path)
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    types = {end.name: end.type.tensor_type.elem_type for end in ends}
    half = onnx.TensorProto.FLOAT16
    assert types == {"x": half, "s": onnx.TensorProto.INT64, "y": half}
    weights = {each.name: each.data_type for each in model.graph.initializer}
    assert weights.pop("z") == onnx.TensorProto.FLOAT  # scales of Resize are defined as such
    assert set(weights.values()) == {half}
    operators = [node.op_type for node in model.graph.node]
    assert operators == [node.op_type for node in onnx.load(path).graph.node]
    assert path.read_bytes() == before
    assert graph.max_abs_error is not None
    assert 0 < graph.max_abs_error < 0.01
    assert graph.sha256 == cache.digest(graph.path) != cache.digest(path)
    single = inspected(case_of(path, None))
    assert single.path == path
    assert single.cost.known_macs == graph.cost.known_macs
    assert (graph.cost.params, single.cost.params) == (6, 6)


@pytest.mark.usefixtures("shared_cache")
def test_what_onnx_has_for_float32_only_stays_between_casts(write_onnx: WriteOnnx) -> None:
    model = onnx.load(inspected(case_of(write_onnx("boxes", BOXES))).path)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Cast", "NonMaxSuppression"]


@pytest.mark.usefixtures("shared_cache")
def test_values_beyond_float16_fail_the_case(write_onnx: WriteOnnx) -> None:
    case = case_of(write_onnx("large", LARGE))
    with pytest.raises(CaseError, match="output 1 is not finite in float16, which ends at 65504"):
        inspected(case)
    assert cache.lookup(cache.key(case), case) is None


def test_halves_may_be_rounded_and_no_more() -> None:
    single = np.linspace(-4, 4, 101, dtype=np.float32)
    assert 0 < half_difference([single], [single.astype(np.float16)]) < 0.002
    with pytest.raises(CaseError, match="output 1 in float16 is 25% off that in float32"):
        half_difference([single], [(single * 1.25).astype(np.float16)])
    with pytest.raises(CaseError, match="output 1 in float16 is 100% off"):
        half_difference([np.zeros(3)], [np.ones(3)])
    assert half_difference([np.zeros(3), np.zeros(0)], [np.zeros(3), np.zeros(0)]) == 0.0


# what computed


def test_the_agent_tells_in_which_types_nodes_computed(write_onnx: WriteOnnx) -> None:
    single = LOADING | {"path": str(write_onnx("single", RELU)), "inputs": [X]}
    assert OnnxRuntime().types(single) == {"float": 1}
    path = write_onnx("half", RELU.replace("float", "float16"))
    half = LOADING | {"path": str(path), "inputs": [{**X, "dtype": "float16"}]}
    types = OnnxRuntime().types(half)
    assert types is not None
    assert types.keys() <= {"float", "float16"}
    assert sum(types.values()) == 1  # the casts of the file and of ONNX Runtime are no arithmetic
    assert OnnxRuntime().types(single | {"path": "gone.onnx"}) is None


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([{"float16": 5}], ""),
        ([{"float": 5}], "all nodes computed in float32, between casts, for want of float16 kern"),
        ([{"float": 1, "float16": 4}], "1 of 5 nodes computed in float32, "),
        ([None], "whether float16 or float32 kernels computed it is not told here"),
        ([{"float": n, "float16": 10 - n} for n in (0, 2, 9, 4, 5)], "4 of 5 cases compute in"),
    ],
)
def test_a_float16_figure_says_what_computed_it(types: list[Any], said: str) -> None:
    groups = range(len(types))
    found = [record({"groups": n, "scale": 1}, dtype="float16", types=types[n]) for n in groups]
    run = run_of(found)
    notes = [
        note.removeprefix("groups=0,scale=1: ") for note in conditions.notes(run.context, found)
    ]
    assert [note[: len(said)] for note in notes] == [said] * bool(said)
    assert ("groups=2,scale=1: 9 of 10 nodes" in "".join(notes)) == (len(types) == 5)
    reason = to_frame([run]).reason[0]
    assert said in reason or len(types) == 5
    assert ("no latency of fp16" in reason) == said.startswith("all")
    single = [replace(each, dtype="float32") for each in found]
    without = [replace(each, latency=None) for each in found]
    assert conditions.notes(run.context, single) == conditions.notes(run.context, without) == []
    assert setting(run.context, found).endswith("batch 1, fp16")
    torch = replace(run.context, provider="torch")
    assert not any("float" in note for note in conditions.notes(torch, found))

"""Calibration networks, and the operators that are read from optimised graphs."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from benchbox.errors import CaseError
from benchbox.insight.predict import operators, work
from benchbox.insight.predict.calibration_networks import MOTIFS, network
from benchbox.insight.predict.operators import Operator
from benchbox.insight.predict.optimise import Optimiser
from benchbox.insight.predict.writer import INPUT, GraphWriter

SMALL = (5, 6, 20)  # seeds of networks that are opened in little time


def test_a_seed_is_a_network_and_few_of_them_have_every_motif() -> None:
    assert network(5).model == network(5).model != network(6).model
    assert {network(seed).motifs[0] for seed in range(len(MOTIFS))} == {*MOTIFS}


@pytest.mark.parametrize("motif", MOTIFS)
def test_every_motif_makes_a_graph_whose_operators_are_known(motif: str) -> None:
    seed = [*MOTIFS].index(motif)
    with Optimiser() as optimiser:
        found = optimiser.operators(onnx.load_from_string(network(seed).model))
    assert len(found) > 5
    assert all(shape is not None for each in found for shape in each.outputs)


@pytest.mark.parametrize("seed", SMALL)
def test_operators_without_weights_are_those_with_weights(seed: int, tmp_path: Path) -> None:
    made = network(seed)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "whole.onnx")
    ort.InferenceSession(made.model, options, providers=["CPUExecutionProvider"])
    whole = operators.read(onnx.load(tmp_path / "whole.onnx"))
    with Optimiser() as optimiser:
        light = optimiser.operators(onnx.load_from_string(made.model))
    assert _works(light) == _works(whole)


def _works(found: list[Operator]) -> Counter[object]:
    return Counter((each.type, each.is_blocked, each.inputs, each.outputs) for each in found)


def test_inferred_shapes_are_those_of_a_run() -> None:
    made = network(17)  # attention
    model = onnx.load_from_string(made.model)
    with Optimiser(is_blocked=False) as optimiser:
        found = optimiser.operators(model)
    assert not any(each.is_blocked for each in found)
    image = np.zeros((1, 3, made.size, made.size), np.float32)
    session = ort.InferenceSession(made.model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {INPUT: image})
    assert found[-1].result == scores.shape


def test_an_operator_survives_json() -> None:
    with Optimiser() as optimiser:
        found = optimiser.operators(onnx.load_from_string(network(6).model))
    assert [Operator.from_json(each.to_json()) for each in found] == found


def test_a_graph_that_does_not_open_is_an_error_in_one_line() -> None:
    writer = GraphWriter(0)
    model = onnx.load_from_string(writer.model(writer.one("NoSuchOperator", INPUT), 1, 8))
    with Optimiser() as optimiser, pytest.raises(CaseError, match="NoSuchOperator") as caught:
        optimiser.operators(model)
    assert "\n" not in str(caught.value)


def test_weights_that_are_computed_have_no_shape_that_decides_others() -> None:
    writer = GraphWriter(0)
    sizes = writer.one("Shape", writer.one("NonZero", INPUT))  # known only once it runs
    weights = writer.one(
        "Expand", writer.weights(1, 3, 1, 1), writer.one("Concat", sizes, sizes, axis=0)
    )
    model = onnx.load_from_string(writer.model(writer.one("Conv", INPUT, weights), 1, 8))
    with Optimiser() as optimiser:
        found = {each.type: each for each in optimiser.operators(model)}
    assert work.of(found["Conv"]).kind == "Conv of unknown shape"


def test_an_operator_that_runs_a_graph_of_its_own_is_refused() -> None:
    writer = GraphWriter(0)
    body = helper.make_graph(
        [
            helper.make_node("Relu", ["state"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    looped = writer.one("Loop", writer.constant([3]), "", INPUT, body=body)
    with Optimiser() as optimiser, pytest.raises(CaseError, match="Loop runs a graph of its own"):
        optimiser.operators(onnx.load_from_string(writer.model(looped, 1, 8)))

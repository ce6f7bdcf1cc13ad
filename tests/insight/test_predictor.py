"""Predictions of many graphs, here and side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import onnx
import pytest

from benchbox.errors import CaseError
from benchbox.insight.predict import predictor
from benchbox.insight.predict.model import LatencyModel, Prediction
from benchbox.insight.predict.optimise import LightGraph, lighten
from benchbox.insight.predict.predictor import Predictor
from benchbox.insight.predict.writer import INPUT, FeatureMap, GraphWriter

MODEL = LatencyModel({}, "physics", 1.0, (), [1.0, 0.0, 1.0], 0.0)
Graphs = list[tuple[int, LightGraph | CaseError]]


def graph(channels: int) -> LightGraph:
    writer = GraphWriter(0)
    made = writer.conv(FeatureMap(INPUT, 3, 8), channels)
    return lighten(onnx.load_from_string(writer.model(made.name, 1, 8)))


@pytest.fixture
def graphs() -> Graphs:
    """Graphs that move the more, the later they come, and one that cannot be had."""
    found: Graphs = [(channels, graph(channels)) for channels in range(1, 9)]
    found[5] = (6, CaseError("not to be had"))
    return found


def test_graphs_are_predicted_in_their_order_with_what_is_wrong(graphs: Graphs) -> None:
    with Predictor(MODEL, is_blocked=True) as here:
        found = [each for _, each in here.several(graphs)]
    assert isinstance(found[5], CaseError) and str(found[5]) == "not to be had"
    latencies = [each.latency_s for each in found if isinstance(each, Prediction)]
    assert latencies == sorted(latencies) and len(latencies) == 7


def test_several_processes_say_what_one_does(
    graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Predictor(MODEL, is_blocked=True) as here:
        alone = [*here.several(graphs)]
    monkeypatch.setattr(predictor, "BATCH", 2)
    monkeypatch.setattr(predictor, "FEW", 2)
    monkeypatch.setattr("benchbox.host.usable_cpus", lambda: [0, 1, 2])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # for no thread but the first
    started = []

    def threads(self: Predictor) -> ThreadPoolExecutor:
        started.append(self)
        return ThreadPoolExecutor(1, initializer=predictor._start, initargs=(MODEL, True, 1.0))

    monkeypatch.setattr(Predictor, "_started", threads)
    with Predictor(MODEL, is_blocked=True) as several:
        assert [str(each) for each in several.several(graphs)] == [str(each) for each in alone]
    assert len(started) == 1


def test_what_comes_before_an_error_is_predicted(graphs: Graphs) -> None:
    def failing() -> Iterator[tuple[int, LightGraph | CaseError]]:
        yield from graphs[:2]
        raise CaseError("no more")

    with Predictor(MODEL, is_blocked=True) as here:
        found = here.several(failing())
        assert [next(found)[0], next(found)[0]] == [1, 2]
        with pytest.raises(CaseError, match="no more"):
            next(found)


def test_a_small_weight_beside_the_file_is_not_needed() -> None:
    model = onnx.load_from_string(graph(4).content)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "elsewhere"), ("length", "48")):
        weight.external_data.add(key=key, value=value)
    with Predictor(MODEL, is_blocked=True) as here:
        ((_, found),) = here.several([(0, lighten(model))])
    assert cast("Prediction", found).latency_s > 0

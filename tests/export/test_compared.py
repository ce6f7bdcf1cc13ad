"""Boxes and scores that detections are chosen from, and the choice, in a graph and its module."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from benchbox.errors import CaseError
from benchbox.export import compared, float16, worker
from benchbox.export.verify import difference, half_difference
from benchbox.networks.detector import Best

FEEDS = {"x": np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)}


class Certain(nn.Module):
    """A detector whose scores all round to 1, so that any detections are the best."""

    output_kind, chooser = "detections", "best"

    def __init__(self) -> None:
        super().__init__()
        self.boxes, self.classes, self.best = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), Best()

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.sigmoid(40 + self.classes(x)).flatten(2)
        found: Tensor = self.best(100 * self.boxes(x).flatten(2), scores)
        return found


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Certain().eval()


@pytest.fixture(scope="module")
def graph(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certain") / "model.onnx"
    worker._export(module, FEEDS, path)
    return path


@pytest.fixture
def changed(graph: Path, tmp_path: Path) -> Callable[[Callable[[onnx.GraphProto], None]], Path]:
    def change(by: Callable[[onnx.GraphProto], None]) -> Path:
        model = onnx.load(graph)
        by(model.graph)
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return change


def move_boxes(graph: onnx.GraphProto) -> None:
    (bias,) = (each for each in graph.initializer if each.name == "boxes.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(3), bias.name))


def choose_another_class(graph: onnx.GraphProto) -> None:
    (output,) = (node for node in graph.node if "best/Concat" in node.name and len(node.input) == 3)
    graph.node.add(op_type="Neg", input=[output.input[2]], output=["negative"], name="best/Neg")
    moved = graph.node.pop()
    output.input[2] = "negative"
    graph.node.insert([*graph.node].index(output), moved)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch itself
def test_a_graph_that_chooses_among_equals_gives_the_modules_boxes_and_scores(
    module: nn.Module, graph: Path, tmp_path: Path
) -> None:
    expected = compared.of_module(module, [*FEEDS.values()])
    assert [each.shape for each in expected] == [(2, 4, 1024), (2, 6, 1024)]
    assert (expected[1] == 1).all()
    actual = compared.of_graph(graph, FEEDS, compared.chooser(module))
    assert difference(expected, actual) < 1e-3
    float16.halve(graph, tmp_path / "half.onnx")
    half = {"x": FEEDS["x"].astype(np.float16)}
    assert half_difference(actual, compared.of_graph(tmp_path / "half.onnx", half, "best")) < 2


@pytest.mark.slow
def test_boxes_moved_by_300_pixels_are_found_though_all_scores_are_equal(
    module: nn.Module, changed: Callable[[Callable[[onnx.GraphProto], None]], Path]
) -> None:
    actual = compared.of_graph(changed(move_boxes), FEEDS, "best")
    with pytest.raises(CaseError, match="output 1: ONNX Runtime differs from torch by 3e\\+02"):
        difference(compared.of_module(module, [*FEEDS.values()]), actual)


@pytest.mark.slow
def test_other_detections_than_the_best_are_refused(
    changed: Callable[[Callable[[onnx.GraphProto], None]], Path],
) -> None:
    with pytest.raises(CaseError, match="are not the best of the boxes and scores"):
        compared.of_graph(changed(choose_another_class), FEEDS, "best")


@pytest.mark.parametrize("column", range(6))
def test_a_row_that_is_of_no_place_or_there_twice_is_refused(column: int) -> None:
    boxes = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    scores = np.array([[[0.9, 0.8], [0.1, 0.9]]], np.float32)
    rows = np.array([[[0, 2, 4, 6, 0.9, 0], [1, 3, 5, 7, 0.9, 1]]], np.float32)
    compared._require_best(rows, boxes, scores)
    compared._require_best(rows[:, ::-1], boxes, scores)
    wrong = rows.copy()
    wrong[0, 1, column] += 1
    for other in (wrong, rows[:, [0, 0]]):
        with pytest.raises(CaseError, match="not the best"):
            compared._require_best(other, boxes, scores)

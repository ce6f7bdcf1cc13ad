"""Models of calibrations, kept until their code is another one, and graphs that are refused."""

from pathlib import Path

import pytest
from onnx import TensorProto

from benchbox.export import source_digest
from benchbox.insight.predict import amounts, calibration
from benchbox.insight.predict.calibration import Calibration, Identity
from benchbox.insight.predict.model import LatencyModel
from benchbox.runner import predict
from tests.helpers import onnx_models

KNOWN = Calibration(
    *(Identity("Stand-in", "x86_64", "", "1.0", "", "CPUExecutionProvider", 1), True),
    *("2026-11-29T00:00:00Z", "cpu", ()),
)
MODEL = LatencyModel({}, "physics", 1.0, [0.1], [1.0, 0.0, 0.0], 0.0)


def test_a_model_is_fitted_once_by_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []

    def fit(_: object) -> LatencyModel:
        fits.append(1)
        return MODEL

    fit.__module__ = predict.fit.__module__
    monkeypatch.setattr(calibration, "folder", lambda: tmp_path)
    monkeypatch.setattr(predict, "examples", lambda _: ())
    monkeypatch.setattr(predict, "fit", fit)
    assert predict.model_of(KNOWN) == predict.model_of(KNOWN)
    assert len(fits) == 1
    own = Path(amounts.__file__)
    real = source_digest._read
    monkeypatch.setattr(source_digest, "_read", lambda p: real(p) + b"#" * (p == own))
    predict.model_of(KNOWN)
    assert len(fits) == 2


@pytest.mark.parametrize(
    ("dtype", "shape", "reason"),
    [
        (TensorProto.FLOAT, (1, 9), ""),
        (TensorProto.FLOAT, (2, 9), "the first size of input 'x' is 2"),
        (TensorProto.FLOAT, (0, 9), "input 'x' has open sizes"),
        *((each, (1, 9), "no float32") for each in (TensorProto.DOUBLE, TensorProto.FLOAT16)),
    ],
)
def test_a_graph_of_another_type_or_batch_is_refused(
    dtype: int, shape: tuple[int, ...], reason: str
) -> None:
    weight = onnx_models.weight("w", 9, 9, dtype=dtype)
    graph = onnx_models.text("g (float[1,9] x) => (float[1,9] y) { y = MatMul(x, w) }", weight)
    (found,) = predict.predicted([predict.Asked("a", lambda: graph, {"x": shape})], KNOWN, MODEL)
    assert reason in found.reason and (found.prediction is None) == bool(reason)

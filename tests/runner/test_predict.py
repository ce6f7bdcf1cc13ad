"""Models of calibrations: kept, and fitted anew once their code is another one."""

from pathlib import Path

import pytest

from benchbox.export import source_digest
from benchbox.insight.predict import amounts, calibration
from benchbox.insight.predict.calibration import Calibration, Identity
from benchbox.insight.predict.model import LatencyModel
from benchbox.runner import predict

KNOWN = Calibration(
    *(Identity("Stand-in", "x86_64", "", "1.0", "", "CPUExecutionProvider", 1), True),
    *("2026-11-29T00:00:00Z", "cpu", ()),
)


def test_a_model_is_fitted_once_by_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []

    def fit(_: object) -> LatencyModel:
        fits.append(1)
        return LatencyModel({}, "physics", 1.0, [0.1], [1.0, 0.0, 0.0], 0.0)

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

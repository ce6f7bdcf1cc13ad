"""Predictions as a table, CSV, Markdown and JSON: the fastest first, with their intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from benchbox import __version__
from benchbox.insight.predict.calibration import Calibration
from benchbox.insight.predict.model import LEVEL, MOST_EXTRAPOLATED, LatencyModel
from benchbox.report import files, formatting
from benchbox.report.formatting import MILLI, UNKNOWN
from benchbox.report.table import Column, Table
from benchbox.runner.predict import Predicted

COLUMNS = {
    "network": "string",
    "macs": "Int64",
    "predicted_ms": "Float64",
    "predicted_low_ms": "Float64",
    "predicted_high_ms": "Float64",
    "extrapolated_share": "Float64",
    "unknown_operators": "string",
    "accuracy": "Float64",
    "pareto": "boolean",
    "status": "string",
    "reason": "string",
}


@dataclass(frozen=True)
class PredictReport:
    """Predictions of a command, with what they are made from.

    `shift` is what the `anchored` cases of a run took over what was predicted of them.
    """

    predicted: Sequence[Predicted]
    calibration: Calibration
    model: LatencyModel
    device: str
    created: str
    shift: float = 1.0
    anchored: int = 0

    @cached_property
    def sorted(self) -> list[Predicted]:
        """The predictions, the fastest first, and then those that there are none of."""
        return sorted(
            self.predicted,
            key=lambda each: each.prediction.latency_s if each.prediction else float("inf"),
        )

    @cached_property
    def front(self) -> set[int]:
        """Places among the sorted that no faster one equals in accuracy; empty without any."""
        best, found = float("-inf"), set()
        for at, each in enumerate(self.sorted):
            if each.prediction and each.accuracy is not None and each.accuracy > best:
                best = each.accuracy
                found.add(at)
        return found


def tables(report: PredictReport) -> list[Table]:
    """The table of all predictions."""
    good = [each for each in report.sorted if each.prediction]
    columns = [
        Column("network", tuple(each.name for each in good), text=True),
        Column("FLOPs (M)", tuple(formatting.millions(each.macs) for each in good), drop=2),
        Column("predicted (ms)", tuple(_latency(each) for each in good)),
        Column(f"{LEVEL:.0%} interval (ms)", tuple(_interval(each) for each in good)),
        Column("extrapolated", tuple(_extrapolated(each) for each in good), drop=3),
        Column("accuracy (%)", tuple(formatting.accuracy(each.accuracy) for each in good), drop=1),
    ]
    if report.front:
        marks = ("*" if at in report.front else "" for at in range(len(good)))
        columns.append(Column("Pareto", tuple(marks)))
    return [
        Table(
            title="Predicted latency, nothing timed",
            about=(_about(report),),
            columns=tuple(c for c in columns if c.known and any(c.cells)) if good else (),
            failures=tuple(
                f"{each.name}: {each.reason}" for each in report.sorted if not each.prediction
            ),
            notes=tuple(_notes(report)),
        )
    ]


def _latency(each: Predicted) -> str:
    assert each.prediction, "sorted out"
    return formatting.significant(each.prediction.latency_s * MILLI)


def _interval(each: Predicted) -> str:
    assert each.prediction, "sorted out"
    low, high = each.prediction.low_s, each.prediction.high_s
    if low is None or high is None:
        return "none"
    return " to ".join(formatting.significant(end * MILLI) for end in (low, high))


def _extrapolated(each: Predicted) -> str:
    share = each.prediction.extrapolated if each.prediction else 0.0
    return f"{share:.0%}" if share >= 0.005 else UNKNOWN


def _about(report: PredictReport) -> str:
    known, found = report.calibration.identity, report.model
    wide = found.half_width(0.0)
    return (
        f"{report.device}, {known.processor}, ONNX Runtime {known.onnxruntime}, "
        f"{formatting.threads(known.threads)}; by {len(report.calibration.networks)} networks of "
        f"{report.calibration.created[:10]}, {found.method}"
        + (f", of those left out {LEVEL:.0%} are within {wide:.0%}" if wide is not None else "")
    )


def _notes(report: PredictReport) -> list[str]:
    notes = []
    if report.anchored:
        several = "case takes" if report.anchored == 1 else "cases take"
        notes.append(
            f"shifted by {report.shift:.2f}x, as what the anchor's {report.anchored} {several}"
        )
    if report.model.method == "physics":
        notes.append("by physics alone, which networks that were left out fit at least as well")
    if report.front:
        notes.append("*: no faster one of these is as accurate")
    unknown = Counter(
        kind for each in report.sorted if each.prediction for kind in each.prediction.unknown
    )
    if unknown:
        named = ", ".join(name for name, _ in unknown.most_common())
        notes.append(f"never calibrated, and guessed from their MACs and bytes: {named}")
    if any(each.prediction and each.prediction.low_s is None for each in report.sorted):
        notes.append(
            f"no interval: more than {MOST_EXTRAPOLATED:.0%} of the time is of kinds or sizes that "
            "were not calibrated"
        )
    return notes


def to_csv(report: PredictReport) -> str:
    """A row for each graph."""
    import pandas as pd

    frame = pd.DataFrame(_rows(report), columns=list(COLUMNS), dtype=object)
    return files.to_csv(frame.astype(COLUMNS))


def to_json(report: PredictReport) -> str:
    """Every prediction with its time by kind of kernel, and what it is made from."""
    known = report.calibration.identity
    rows = zip(report.sorted, _rows(report), strict=True)
    document = {
        "benchbox": __version__,
        "created": report.created,
        "device": report.device,
        "processor": known.processor,
        "onnxruntime": known.onnxruntime,
        "threads": known.threads,
        "calibrated": report.calibration.created,
        "networks": len(report.calibration.networks),
        "method": report.model.method,
        "shift": report.shift,
        "anchored": report.anchored,
        "level": LEVEL,
        "predicted": [
            {
                **row,
                "parts_ms": {
                    kind: seconds * MILLI for kind, seconds in each.prediction.parts.items()
                }
                if each.prediction
                else None,
            }
            for each, row in rows
        ],
    }
    return files.json_text(document)


def _rows(report: PredictReport) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for at, each in enumerate(report.sorted):
        found = each.prediction
        ends = (found.latency_s, found.low_s, found.high_s) if found else (None, None, None)
        latency, low, high = (None if end is None else end * MILLI for end in ends)
        rows.append(
            {
                "network": each.name,
                "macs": each.macs,
                "predicted_ms": latency,
                "predicted_low_ms": low,
                "predicted_high_ms": high,
                "extrapolated_share": found.extrapolated if found else None,
                "unknown_operators": ", ".join(found.unknown) or None if found else None,
                "accuracy": each.accuracy,
                "pareto": at in report.front if each.accuracy is not None else None,
                "status": "ok" if found else "failed",
                "reason": each.reason or None,
            }
        )
    return rows

"""Predictions of cases and of graphs that a generator yields, for a device that is calibrated."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchbox import host
from benchbox.analysis.latency import GOOD
from benchbox.devices import Device
from benchbox.errors import BenchboxError, CaseError, DeviceError
from benchbox.export import Graph, source_digest
from benchbox.insight.predict import calibration
from benchbox.insight.predict.calibration import LEAST_NETWORKS, Calibration, Identity
from benchbox.insight.predict.model import LatencyModel, Prediction, examples, fit
from benchbox.insight.predict.optimise import LightGraph, lighten
from benchbox.insight.predict.predictor import Predictor
from benchbox.records import Record, Run
from benchbox.runner.calibrate import identity, identity_of, require_same_version
from benchbox.runner.generated import Generated
from benchbox.specs import Builder, Case
from benchbox.transports import Agent

if TYPE_CHECKING:
    import onnx

OTHERS = {2, 3, 10, 11, 16}  # TensorProto.DataTypes: integers of a byte, other floats


@dataclass(frozen=True, slots=True)
class Predicted:
    """A graph with its prediction, or why there is none.

    `macs` are those of the file, None where they were not counted; `accuracy` is in percent.
    """

    name: str
    prediction: Prediction | None
    macs: int | None = None
    accuracy: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A graph to predict."""

    name: str
    model: "Callable[[], onnx.ModelProto]"
    shapes: Mapping[str, Sequence[int]]
    macs: int | None = None
    accuracy: float | None = None


def calibration_of(device: Device, open_agent: Callable[[Device], Agent]) -> Calibration:
    """The calibration of a device as it is now; raises DeviceError where there is none."""
    with open_agent(device) as agent:
        found = identity(agent, device)
    require_same_version(found)
    file = calibration.path(found)
    known = calibration.read(file) if file.exists() else None
    if known and known.identity == found and len(known.networks) >= LEAST_NETWORKS:
        return known
    calibration.require_idle(file)
    if known is None or known.identity != found:  # a file that was renamed
        raise DeviceError(
            f"device {device.name!r} is not calibrated{_as_it_was(device, found)}: "
            f"benchbox calibrate -d {device.command_name} (some minutes)"
        )
    raise DeviceError(
        f"device {device.name!r}: its calibration was cut short after {len(known.networks)} "
        f"networks; benchbox calibrate -d {device.command_name} goes on"
    )


def _as_it_was(device: Device, now: Identity) -> str:
    """What is another one than when the device was calibrated last, empty where it never was."""
    for file in sorted(calibration.folder().glob("*.jsonl")):
        try:
            known = calibration.read(file)
        except DeviceError:
            continue
        if known.device == device.command_name:
            return f" as it is ({', '.join(known.identity.differences(now))})"
    return ""


def model_of(known: Calibration) -> LatencyModel:
    """The model of a calibration, fitted to it or as the same source files fitted it before."""
    code = source_digest.digest(Builder(f"{fit.__module__}:{fit.__name__}"))
    file = calibration.folder() / f"{known.digest[:24]}-{code[:12]}.json"
    kept = host.read_json(file)
    try:
        if isinstance(kept, dict):
            return LatencyModel.from_json(kept)
    except (KeyError, TypeError, ValueError):
        pass  # damaged: it is fitted anew
    found = fit(examples(known.networks))
    try:
        host.write(file, json.dumps(found.to_json()))
    except OSError:
        return found  # fitted anew each time
    return found


def of_cases(cases: Sequence[Case], graphs: Mapping[str, Graph | CaseError]) -> Iterator[Asked]:
    """The graphs of cases; raises CaseError for one without."""
    for case in cases:
        graph, name = graphs[case.key], _name(case)
        shapes = {tensor.name: tensor.shape for tensor in case.inputs}
        accuracy = case.paper.top1_percent or case.paper.map_percent
        if isinstance(graph, CaseError):
            yield Asked(name, _failing(graph), shapes)
        else:
            yield Asked(name, _loader(graph.path), shapes, graph.cost.known_macs, accuracy)


def _name(case: Case) -> str:
    """The name of a case; a file with one alone is called as it is."""
    return case.spec if case.spec.rpartition("/")[2] == case.name else case.key


def _failing(error: CaseError) -> "Callable[[], onnx.ModelProto]":
    def fail() -> "onnx.ModelProto":
        raise error

    return fail


def _loader(path: Path) -> "Callable[[], onnx.ModelProto]":
    def load() -> "onnx.ModelProto":
        import onnx

        return onnx.load(str(path), load_external_data=False)

    return load


def of_generated(items: Iterable[Generated]) -> Iterator[Asked]:
    """The graphs that a generator yields."""
    for each in items:
        yield Asked(each.name, each.load, {}, accuracy=each.accuracy)


def predicted(
    asked: Iterable[Asked], known: Calibration, model: LatencyModel, shift: float = 1.0
) -> Iterator[Predicted]:
    """Predict each graph as it comes, several at once; those before an error come before it."""
    with Predictor(model, is_blocked=known.is_blocked, shift=shift) as predictor:
        for each, found in predictor.several((each, _light(each)) for each in asked):
            if isinstance(found, CaseError):
                yield Predicted(each.name, None, each.macs, each.accuracy, str(found))
            else:
                yield Predicted(each.name, found, each.macs, each.accuracy)


def _light(each: Asked) -> LightGraph | CaseError:
    """A graph without its weights, or why it is none that a calibration is about."""
    try:
        model = each.model()
        _require_single(model, each.shapes)
        return lighten(model, each.shapes)
    except CaseError as error:
        return error
    except BenchboxError as error:
        return CaseError(str(error))
    except Exception as error:  # protobuf's and the system's, of a file that is none
        return CaseError(f"no ONNX model: {' '.join(str(error).split())[:200]}")


def _require_single(model: "onnx.ModelProto", shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise CaseError for a graph of another type or batch than was calibrated."""
    kinds = {weight.data_type for weight in model.graph.initializer if math.prod(weight.dims) > 64}
    if kinds & OTHERS:
        raise CaseError("its weights are no float32, which alone is calibrated")
    for value in model.graph.input:
        dims = [each.dim_value for each in value.type.tensor_type.shape.dim]
        shape = list(shapes.get(value.name, dims))
        if len(shape) > 1 and shape[0] not in (0, 1):
            raise CaseError(
                f"the first size of input {value.name!r} is {shape[0]}; batch 1 alone is calibrated"
            )
        if 0 in shape:
            raise CaseError(f"input {value.name!r} has open sizes; give them with --shape or --dim")


def shift_by(
    run: Run,
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    known: Calibration,
    model: LatencyModel,
) -> tuple[float, int]:
    """What a run's cases took over what is predicted of them, and how many there are.

    Those count whose graph and inputs are those that were timed, by itself, in quiet rounds. Raises
    CaseError where there are none, and for a run on another processor or with other software.
    """
    _require_alike(run, known)
    timed = {each.key: each for each in run.records if _is_quiet(each)}
    same = [
        case
        for case in cases
        if isinstance(graph := graphs[case.key], Graph)
        and (own := timed.get(case.key))
        and own.sha256 == graph.sha256
        and [*own.inputs] == [str(each) for each in case.inputs]
        and (own.threads or run.context.threads) == known.identity.threads
    ]
    ratios = [
        latency.p50_s / found.prediction.latency_s
        for case, found in zip(same, predicted(of_cases(same, graphs), known, model), strict=True)
        if found.prediction and (latency := timed[case.key].latency)
    ]
    if not ratios:
        raise CaseError("none of its cases was timed in quiet rounds as it can be predicted")
    return median(ratios), len(ratios)


def _require_alike(run: Run, known: Calibration) -> None:
    """Raise CaseError for a run of another setting than was calibrated."""
    of, own = run.context, known.identity
    threads = {each.threads or of.threads for each in run.records}
    facts = {"cpus": of.cpus, "host": of.host, "versions": of.versions, "build": own.build}
    found = identity_of(facts, of.provider, own.threads if own.threads in threads else of.threads)
    if differing := own.differences(found):
        raise CaseError(f"it was timed with {', '.join(differing)}")


def _is_quiet(record: Record) -> bool:
    """Whether a latency is that of calls one after the other, undisturbed, with an interval."""
    latency = record.latency
    is_quiet = latency is not None and latency.basis in GOOD and latency.interval is not None
    return is_quiet and not record.arrival and not record.sustained

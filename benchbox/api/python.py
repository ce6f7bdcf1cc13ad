"""Python functions: `benchbox.run` and `benchbox.compare`, with the options of the command line."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from benchbox import host
from benchbox.analysis.quantities import LARGEST
from benchbox.api import job, parsing, profiles
from benchbox.api.job import Job
from benchbox.api.options import Cases, JobOptions, OnGpu, UnderLoad
from benchbox.api.result import Result
from benchbox.devices.gpu_options import CACHES, SEARCHES
from benchbox.errors import BenchboxError, UsageError
from benchbox.records import Record, Run
from benchbox.runner import Outcome
from benchbox.runner.profile import ProfileOutcome, outcomes
from benchbox.sampling.sampler import Sampler

Names = str | Path | Sequence[str | Path]
Several = str | int | Sequence[int]
PAUSE_S = 0.25  # between two steps while cases are timed
CHOICES: Mapping[str, Sequence[str]] = {
    "channels": ("gpu", "arm"),
    "head": ("raw", "decoded", "detections"),
    "cache": CACHES,
    "conv_search": SEARCHES,
}
REPEATED = ("device", "scale", "shape", "dim", "input", "weights")
FLAGS = ("allow_emulated", "profile", "quick", "resume", "tf32")
WHOLE = {"sessions": (1, 100), "seed": (0, LARGEST - 1)}


class Keywords(TypedDict, total=False):
    """The options of `benchbox run` and `compare`, as `benchbox run -h` explains them.

    Times are seconds or text such as "5m", shares are numbers or text such as "3%".
    """

    channels: Literal["gpu", "arm"]
    batch: Several
    size: Several
    dtype: str | Sequence[str]
    scale: str | Sequence[str]
    shape: str | Sequence[str]
    dim: str | Sequence[str] | Mapping[str, Several]
    input: str | Sequence[str] | Mapping[str, str | float | Path]
    weights: str | Path | Sequence[str] | Mapping[str, str | Path]
    head: Literal["raw", "decoded", "detections"]
    device: str | Sequence[str]
    threads: Several
    cpus: Several
    provider: str | Sequence[str]
    allow_emulated: bool
    precision: str | float
    max_time: str | float
    sessions: int
    quick: bool
    percentiles: str | float | Sequence[float]
    cooldown: str | float
    seed: int
    resume: bool
    mode: str | Sequence[str]
    cache: Literal["hot", "cold"]
    tf32: bool
    conv_search: Literal["exhaustive", "heuristic", "default"]
    profile: bool
    results: str | Path


@dataclass(frozen=True, slots=True)
class Step:
    """What a run has come to on one device: `done` of `total` graphs, bytes or cases."""

    device: str
    what: Literal["exporting", "sending", "loading", "cooling", "timing", "finished", "profiling"]
    done: int
    total: int
    case: str = ""

    def __str__(self) -> str:
        at = f" {self.case}" if self.case else ""
        return f"{self.device}: {self.what}{at}, {self.done} of {self.total}"


def run(
    names: Names,
    *,
    arrival: str | None = None,
    sustained: str | float | None = None,
    progress: Callable[[Step], object] | None = None,
    **options: Unpack[Keywords],
) -> Result:
    """Time cases, as `benchbox run` does, into the same records.

    `names` is what stands on the command line: blocks, networks, .toml and .onnx files, builders.
    `progress` is called with each Step, in a thread of its own for each of several devices.
    Raises a `benchbox.errors.BenchboxError` of one line, KeyboardInterrupt once the samples so far
    are recorded, and nothing for a case that fails: its row says why.
    """
    load = {"arrival": arrival, "sustained": sustained}
    return _result(job.of_run(_plain(names, dict(options), load)), progress)


def compare(
    *names: str | Path,
    margin: str | float = 0.01,
    progress: Callable[[Step], object] | None = None,
    **options: Unpack[Keywords],
) -> Result:
    """Tell which case is faster, as `benchbox compare` does: all are paired with the first.

    A smaller difference than `margin` counts as the same. Progress and errors are those of `run`.
    """
    asked = _plain(names, dict(options), {}, margin=_text(margin))
    return _result(job.of_comparison(asked), progress)


def _plain(
    names: Names, given: Mapping[str, Any], load: Mapping[str, Any], margin: str | None = None
) -> JobOptions:
    """The options in plain types; raises UsageError for what is none."""
    given = {name: value for name, value in given.items() if value is not None}
    folder = given.pop("results", host.results_folder())
    if unknown := sorted(given.keys() - Keywords.__annotations__.keys()):
        known = ", ".join(Keywords.__annotations__)
        raise UsageError(f"{unknown[0]}: no such option; choose from {known}")
    found = [names] if isinstance(names, (str, Path)) else list(names)
    if not found or not all(isinstance(name, (str, Path)) for name in found):
        raise UsageError("names: name one thing to run or several, such as 'g2' or './net.onnx'")
    plain: dict[str, Any] = {name: _option(name, value) for name, value in given.items()}
    loads = {name: _text(value) for name, value in load.items() if value is not None}
    return JobOptions(
        cases=Cases(list(map(str, found)), **_taken(Cases, plain)),
        gpu=OnGpu(**_taken(OnGpu, plain)),
        load=UnderLoad(**loads),
        margin=margin,
        typed=frozenset([*given, *loads]),
        results=parsing.path(_text(folder), "--results"),
        **plain,
    )


def _taken(group: Any, plain: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """The options of a group, which are taken out of all."""
    return {name: plain.pop(name) for name in group.__dataclass_fields__ if name in plain}


def _option(name: str, value: object) -> object:
    """An option in its plain type, as the command line would have it."""
    flag = f"--{name.replace('_', '-')}"
    if name in FLAGS:
        if not isinstance(value, bool):
            raise UsageError(f"{flag} {value!r}: write True or False")
        return value
    if name in WHOLE:
        least, most = WHOLE[name]
        if type(value) is not int or not least <= value <= most:
            raise UsageError(f"{flag} {value!r}: write a whole number from {least} to {most}")
        return value
    if name in CHOICES and value not in CHOICES[name]:
        raise UsageError(f"{flag} {value}: choose from {', '.join(CHOICES[name])}")
    return _texts(value) if name in REPEATED else _text(value)


def _texts(value: object) -> list[str]:
    """The words of an option that is repeated."""
    if isinstance(value, Mapping):
        return [f"{name}={_text(each)}" for name, each in value.items()]
    return list(map(_text, value)) if isinstance(value, (list, tuple)) else [_text(value)]


def _text(value: object) -> str:
    """A value as it is typed, a list with commas and a number without an exponent."""
    if isinstance(value, (list, tuple, range)):
        return ",".join(map(_text, value))
    if not isinstance(value, Real):
        return str(value)
    number = float(value)
    return f"{number:.12f}".rstrip("0").rstrip(".") if math.isfinite(number) else str(number)


class _Teller:
    """Calls back for one device as its run goes on."""

    def __init__(self, tell: Callable[[Step], object], device: str, total: int) -> None:
        self._tell, self._device, self._total = tell, device, total
        self._finished: set[str] = set()
        self._told_at = 0.0

    def exporting(self, done: int, total: int, name: str) -> None:
        self._tell(Step(self._device, "exporting", done, total, name))

    def starting(self) -> None:
        pass

    def greeted(self, seen: Mapping[str, float]) -> None:
        pass

    def sending(self, name: str, sent: int, size: int | None) -> None:
        self._tell(Step(self._device, "sending", sent, size or 0, name))

    def loading(self, done: int, total: int) -> None:
        self._tell(Step(self._device, "loading", done, total))

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:  # noqa: ARG002
        self._tell(Step(self._device, "cooling", len(self._finished), self._total))

    def measuring(self, sampler: Sampler) -> None:  # noqa: ARG002
        if time.monotonic() - self._told_at >= PAUSE_S:
            self._told_at = time.monotonic()
            self._tell(Step(self._device, "timing", len(self._finished), self._total))

    def finished(self, record: Record) -> None:
        self._finished.add(record.key)
        done = len(self._finished)
        self._tell(Step(self._device, "finished", done, self._total, record.key))


def _result(asked: Job, progress: Callable[[Step], object] | None) -> Result:
    """Do a job; warn of what is worth it."""
    tell = progress or (lambda _: None)
    devices = [request.device.name for request in asked.requests]
    ends = asked.run([_Teller(tell, device, len(asked.cases)) for device in devices])
    if ends.interrupted:
        raise KeyboardInterrupt
    for bug in ends.bugs.values():
        raise bug
    failures = [ends.failures[index] for index in sorted(ends.failures)]
    if failures and not ends.outcomes:
        raise failures[0]
    outcomes = [ends.outcomes[index] for index in sorted(ends.outcomes)]
    lines = [line for outcome in outcomes for line in (*outcome.run.warnings, outcome.lost)]
    runs = [outcome.run for outcome in outcomes]
    if asked.profiles:
        runs = [
            _profiled(asked, index, ends.outcomes[index], tell, lines)
            for index in sorted(ends.outcomes)
        ]
    for line in [*map(str, failures), *filter(None, lines)]:
        warnings.warn(line, stacklevel=3)
    return Result(runs)


def _profiled(
    asked: Job, index: int, outcome: Outcome, tell: Callable[[Step], object], lines: list[str]
) -> Run:
    """The run of an outcome with profiles of its cases; what went wrong is added to `lines`."""
    cases, graphs = profiles.missing(asked, index, outcome.run)
    request, done = asked.requests[index], list[ProfileOutcome]()
    try:
        for each in outcomes(cases, graphs, request.device, request.open):
            done.append(each)
            tell(Step(request.device.name, "profiling", len(done), len(cases), each.case.key))
        lines += [
            f"{each.case.key} was not profiled: {each.reason}" for each in done if each.reason
        ]
        return (
            profiles.keep(outcome.run, done, graphs) if done and not outcome.lost else outcome.run
        )
    except BenchboxError as error:
        lines.append(f"not profiled: {error}")
        return outcome.run

"""Task of a fleet: a comparison group to be timed on one device, as JSON; and the reply to it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from benchbox import __version__
from benchbox.analysis.quantities import Some, wrong_field
from benchbox.errors import CaseError, UsageError
from benchbox.export import Graph
from benchbox.export.graph import MODEL
from benchbox.sampling.plan import Plan
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from benchbox.specs.model import Platform

T = TypeVar("T")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_CASES = 10_000
LOAD_S = 20.0  # of a case, in each of its processes
PATIENCE, SPARE_S = 3.0, 600.0  # of what a task may take, before it counts as hung
Word = Annotated[str, Field(pattern=r"^[\w+.,=~-]{1,120}$")]
Text = Annotated[str, Field(max_length=4000)]


@dataclass(frozen=True, slots=True)
class Task:
    """Cases that one device is to time, with their graphs or the reasons why they have none.

    No path of the submitter is in it: files are named by their sha256, and the host that times them
    has its own. With `is_kept` a device that rests times it, too; `before` has the lines of what it
    measured before it was cut short.
    """

    device: Word
    run: Word
    cases: Sequence[Case]
    graphs: Mapping[str, Graph | Text]
    plan: Plan
    channels: Platform
    threads: Some | None = None
    allow_emulated: bool = False
    is_kept: bool = False
    before: str = ""
    topic: Word = "benchbox"
    key: Word = "task"
    benchbox: Word = __version__

    @property
    def most_s(self) -> float:
        """The seconds after which its device counts as hung."""
        plan = self.plan
        process_s = plan.cooldown_s + LOAD_S * len(self.cases)
        return PATIENCE * (plan.max_time_s + plan.sessions * process_s) + SPARE_S


@dataclass(frozen=True, slots=True)
class Reply:
    """The lines of a run's file that a device made of a task; or why it fails, or rests now.

    With a `refusal` the task is at fault, for any device. One that `is_cut_short` was ended.
    """

    lines: str = ""
    failure: Text = ""
    refusal: Text = ""
    rests: Text = ""
    is_cut_short: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """A file and those beside it, by a digest of all."""

    path: Path
    beside: Sequence[str] = ()


def files(cases: Sequence[Case], graphs: Mapping[str, Graph | CaseError]) -> dict[str, Files]:
    """The files that cases need on their device, by sha256."""
    found = [each for case in cases if isinstance(each := graphs[case.key], Graph)]
    values = [tensor.values for case in cases for tensor in case.inputs if tensor.values]
    return {graph.sha256: Files(graph.path, graph.beside) for graph in found} | {
        each.sha256: Files(each.file) for each in values if each.file
    }


def bare(case: Case) -> Case:
    """The case without the paths of this machine."""
    source: Builder | OnnxFile = OnnxFile(Path(MODEL))
    if isinstance(case.source, Builder):
        source = replace(case.source, path=None, weights=None, checkout=None)
    return replace(case, source=source, inputs=_at(case.inputs, lambda _: Path(MODEL)))


def require_text(cases: Sequence[Case]) -> None:
    """Raise UsageError for a name, or a value, of bytes that are no text: no task can have it."""
    for case in cases:
        try:
            dump(bare(case))
        except PydanticSerializationError:
            raise UsageError(f"{case.key!a}: not UTF-8, which a fleet needs; rename it") from None


def placed(task: Task, place: Any) -> tuple[list[Case], dict[str, Graph | CaseError]]:  # noqa: ANN401
    """The cases and graphs of a task with the paths of this host, which `place` has by sha256."""
    cases = [replace(each, inputs=_at(each.inputs, place)) for each in task.cases]
    graphs = {
        key: replace(each, path=place(each.sha256)) if isinstance(each, Graph) else CaseError(each)
        for key, each in task.graphs.items()
    }
    return cases, graphs


def _at(inputs: Sequence[TensorSpec], place: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401
    """The inputs with the files of their values at a place."""
    return tuple(
        replace(each, values=replace(each.values, file=place(each.values.sha256)))
        if each.values and each.values.file
        else each
        for each in inputs
    )


def sent(graph: Graph | CaseError) -> Graph | str:
    """A graph as a task has it."""
    if isinstance(graph, Graph):
        return replace(graph, path=Path(MODEL))
    return str(graph).encode(errors="backslashreplace").decode()[:4000]


def dump(value: object) -> str:
    """A message of the fleet as JSON."""
    adapter: TypeAdapter[Any] = _adapter(type(value))  # type: ignore[arg-type]
    return adapter.dump_json(value).decode()


def parse_task(text: str) -> Task:
    """Parse a task; raises UsageError with the first part that is missing or wrong."""
    task = parse(Task, text)
    require_version(task.benchbox)
    graphs = [each for each in task.graphs.values() if isinstance(each, Graph)]
    values = [tensor.values for case in task.cases for tensor in case.inputs if tensor.values]
    digests = [g.sha256 for g in graphs] + [each.sha256 for each in values if each.file]
    checks = {
        "cases": 0 < len(task.cases) <= MOST_CASES,
        "graphs": {case.key for case in task.cases} == task.graphs.keys(),
        "graphs.sha256": all(map(SHA256.fullmatch, digests)),
        "graphs.beside": all(is_inside(name) for graph in graphs for name in graph.beside),
        "plan.arrival_per_s": task.plan.arrival_per_s is None,
        "plan.sustained_s": task.plan.sustained_s is None,
    }
    for name, holds in checks.items():
        if not holds:
            raise UsageError(f"a task that is wrong: {name!r}")
    return task


def parse_reply(text: str) -> Reply:
    """Parse a reply; raises UsageError with the first part that is missing or wrong."""
    return parse(Reply, text)


def is_inside(name: str) -> bool:
    """Whether a name of a file leads out of no folder."""
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
    )


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def require_version(version: str) -> None:
    """Raise UsageError for what another version of benchbox sent."""
    if version != __version__:
        raise UsageError(f"a task of benchbox {version}; this is {__version__}: use one")


def parse(kind: type[T], text: str) -> T:
    """Parse a message of the fleet; raises UsageError with the first part that is wrong."""
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        what = kind.__name__.lower()
        raise UsageError(f"a {what} that is wrong: {wrong_field(error) or 'the whole'!r}") from None

"""Trace of ONNX Runtime's profiler: every node of every call of a session.

Seen with ONNX Runtime 1.31: a JSON list of events, each written when it ends, with its start and
duration in whole microseconds. A node is `<name>_kernel_time`, or `<operator>_<index>_kernel_time`
where it has no name; a call ends with `model_run`. A body of an If, Loop or Scan ends with a
`SequentialExecutor::Execute` of its own, before the node that holds it. The file is opened with the
session and written when that is closed.
"""

import json
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    import onnxruntime as ort

PREFIX = "benchbox-profile-"
ABANDONED_S = 3600.0  # a folder this old belongs to an agent that was killed as it opened a graph
SUFFIX = "_kernel_time"
BETWEEN_EVENTS = re.compile(r"[\s,]*")

Key = tuple[str, str]  # a node's name and index: names need not be there, nor differ


@dataclass(slots=True)
class TracedRun:
    """One call: what it took, and each node of it with how often it ran."""

    us: int = 0
    nodes: dict[Key, tuple[int, int]] = field(default_factory=dict)

    def add(self, event: Message, inner_us: int) -> None:
        """Add a node that has run, of which its bodies' nodes took `inner_us`."""
        us, count = self.nodes.get(_key(event), (0, 0))
        self.nodes[_key(event)] = us + max(0, event["dur"] - inner_us), count + 1


class Recording:
    """A profile in a file that has no name for longer than it must.

    It is unlinked as soon as ONNX Runtime has opened it, so that nothing is left of it however this
    process ends. Where open files cannot be unlinked it goes when everything is read.
    """

    def __init__(self) -> None:
        _sweep()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self._file: TextIO | None = None
        self._first: dict[Key, Message] = {}

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        self._folder.cleanup()

    def attach(self, options: "ort.SessionOptions") -> "ort.SessionOptions":
        """Return the options with the profiler switched on."""
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        return options

    def hide(self) -> None:
        """Unlink the file, which the session has open by now."""
        (path,) = Path(self._folder.name).iterdir()
        self._file = path.open(encoding="utf-8", errors="replace")
        self._folder.cleanup()

    def runs(self) -> list[TracedRun]:
        """Return all calls of the session, which is closed.

        Raises RuntimeError where the disk was too full for them, or they cannot be read.
        """
        assert self._file is not None, "hidden"
        text = self._file.read()
        try:
            return list(self._read(_events(text)))
        except ValueError:
            raise RuntimeError(
                f"the profile is cut off after {len(text)} characters: "
                f"is {tempfile.gettempdir()} full? TMPDIR names another folder"
            ) from None

    def nodes(self, runs: Sequence[TracedRun]) -> list[dict[str, object]]:
        """Return the nodes of these runs in the order in which they ran.

        `us` is what each took in every run, in microseconds and without its bodies, 0 where a
        branch left it out; `count` is how often it ran in one, on average.
        """
        seen = {key for run in runs for key in run.nodes}
        return [
            _facts(event)
            | {
                "count": sum(run.nodes.get(key, (0, 0))[1] for run in runs) / len(runs),
                "us": [run.nodes.get(key, (0, 0))[0] for run in runs],
            }
            for key, event in self._first.items()
            if key in seen
        ]

    def types(self, *, by_operator: bool = False) -> dict[str, int]:
        """Number of nodes by the type of their first output, as ONNX Runtime names it; no casts.

        `by_operator` they are told apart: `QLinearConv:uint8`. Raises RuntimeError as `runs` does.
        """
        self.runs()
        counts: Counter[str] = Counter()
        for event in self._first.values():
            given = event["args"].get("output_type_shape") or [{}]
            operator = event["args"].get("op_name")
            if operator != "Cast":
                kinds = list(given[0])[:1]
                counts.update([f"{operator}:{kind}" for kind in kinds] if by_operator else kinds)
        return dict(counts)

    def _read(self, events: Iterable[Message]) -> Iterator[TracedRun]:
        run, bodies = TracedRun(), list[tuple[int, int]]()
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(SUFFIX):
                self._first.setdefault(_key(event), event)
                run.add(event, _within(bodies, event["ts"]))
            elif event["name"] == "SequentialExecutor::Execute":
                bodies.append((event["ts"], event["dur"]))
            elif event["name"] == "model_run":
                run.us = event["dur"]
                yield run
                run, bodies = TracedRun(), []


def _key(event: Message) -> Key:
    return event["name"], event["args"].get("node_index", "")


def _within(bodies: list[tuple[int, int]], start: int) -> int:
    """Remove the bodies that ran since `start`, and return the time that they took."""
    taken = 0
    while bodies and bodies[-1][0] >= start:
        taken += bodies.pop()[1]
    return taken


def _facts(event: Message) -> dict[str, object]:
    args = event["args"]
    return {
        "name": event["name"].removesuffix(SUFFIX),
        "op": args.get("op_name", ""),
        "provider": args.get("provider", ""),
        "inputs": _shapes(args.get("input_type_shape")),
        "outputs": _shapes(args.get("output_type_shape")),
    }


def _shapes(tensors: object) -> list[list[int]]:
    """Return the shapes of `[{"float": [1, 3]}, ...]`."""
    if not isinstance(tensors, list):
        return []
    return [shape for tensor in tensors for shape in tensor.values()]


def _events(text: str) -> Iterator[Message]:
    """Yield one event after the other: all of them as objects would take ten times the text."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while True:
        between = BETWEEN_EVENTS.match(text, at)
        at = between.end() if between else at
        if text.startswith("]", at):
            return
        event, at = decoder.raw_decode(text, at)
        yield event


def _sweep() -> None:
    """Remove what agents left that were killed while they opened a graph."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)

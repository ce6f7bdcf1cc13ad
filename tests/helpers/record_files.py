"""Small runs on disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbox import records
from benchbox.analysis.latency import Latency
from benchbox.records import Context, Record, SpecFacts

CREATED = "2026-11-21T22:00:07Z"


LATENCY = Latency(0.002, 0.0019, 0.0021, 0.003, None, 0.002, 0.001, 64, 0.9, 20)
CLAIM = {"slower": {"groups": 8}, "than": {"groups": 1}, "subject": "8", "than_subject": "1"}


def context(name: str = "g2", **changes: Any) -> Context:
    base = Context(
        name=name,
        created=CREATED,
        benchbox="0.1",
        device="cpu",
        provider="CPUExecutionProvider",
        threads=1,
        channels="arm",
        seed=0,
        plan={"precision": 0.01, "batch": None, "shapes": []},
        specs=[SpecFacts("g2", "G2", "ab" * 32, claim=CLAIM)],
        host={"machine": "x86_64", "cpu": "C", "cpus": 2, "kernel": "6.1", "memory_bytes": 5},
        versions={"onnxruntime": "1.22"},
        cpus=[0],
        affinity=["0"],
    )
    return replace(base, **changes)


def record(index: int = 0, case: str = "groups=1", **changes: Any) -> Record:
    base = Record(
        index=index,
        spec="g2",
        case=case,
        labels={"groups": 1},
        args={"c": 64},
        group="scale=1",
        reference="groups=1",
        batch=1,
        dtype="float32",
        inputs=["x=1x64x56x56"],
        status="ok",
        bursts=[],
    )
    return replace(base, **changes)


def write(folder: Path, *written: Record, of: Context | None = None) -> Path:
    with records.create(folder, of or context()) as writer:
        for each in written:
            writer.append(each)
        return writer.path


def edit(path: Path, line: int, **changes: object) -> Path:
    """Change fields of a line, numbered from 0."""
    lines = path.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    path.write_text("\n".join(lines) + "\n")
    return path


def cut(path: Path, characters: int) -> Path:
    """Take so many characters off the end."""
    path.write_bytes(path.read_bytes()[:-characters])
    return path


def cases(path: Path) -> list[str]:
    """The names of the cases that a reader finds."""
    return [each.case for each in records.read(path).records]

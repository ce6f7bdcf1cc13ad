"""Options of a run in plain types, as the command line and Python both fill them in."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbox.specs import Platform


@dataclass(frozen=True, slots=True)
class Cases:
    """The names of what to run, and what of it; the text of an option is as it is typed."""

    names: Sequence[str]
    channels: "Platform | None" = None
    batch: str | None = None
    size: str | None = None
    dtype: str | None = None
    scale: Sequence[str] | None = None
    shape: Sequence[str] | None = None
    dim: Sequence[str] | None = None
    input: Sequence[str] | None = None
    weights: Sequence[str] | None = None
    head: str | None = None


@dataclass(frozen=True, slots=True)
class OnGpu:
    """The way in which calls are made on a GPU; None, or False, is the default."""

    mode: str | None = None
    cache: str | None = None
    tf32: bool = False
    conv_search: str | None = None


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """A load that is not one call right after the other."""

    arrival: str | None = None
    sustained: str | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline of a run: figures kept under a name, graphs of a folder or a revision."""

    name: str | None = None
    graphs: Path | None = None
    rev: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """All options of a run, in plain types.

    With a `margin` it is a comparison, with a `scheduler` it is done by the devices of a fleet.
    `typed` names the options that somebody chose for this run; the rest are defaults, which may be
    meant for others.
    """

    cases: Cases
    device: Sequence[str] | None = None
    threads: str | None = None
    cpus: str | None = None
    provider: str | None = None
    allow_emulated: bool = False
    precision: str | None = None
    max_time: str | None = None
    sessions: int | None = None
    quick: bool = False
    percentiles: str | None = None
    cooldown: str | None = None
    seed: int = 0
    resume: bool = False
    gpu: OnGpu = OnGpu()
    load: UnderLoad = UnderLoad()
    profile: bool = False
    margin: str | None = None
    against: Baseline = Baseline()
    fail_on: str | None = None
    results: Path = Path("results")
    scheduler: str | None = None
    priority: int = 0
    typed: Set[str] = frozenset()

"""Records that are broken in any part, and all that is done with what can still be read."""

import contextlib
import io
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from benchbox import records
from benchbox.analysis import arrival, gpu_time, latency, samples
from benchbox.analysis.adjusted import UNKNOWN, Adjustment, Widths
from benchbox.analysis.arrival import Arrival
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State
from benchbox.analysis.stats import Interval
from benchbox.analysis.sustained import Sustained, Window
from benchbox.cli.report import render
from benchbox.devices.gpu_options import Driving
from benchbox.errors import RecordError, UsageError
from benchbox.records import Run, choice, diff, merge, resume
from benchbox.records.choice import Budget
from benchbox.records.cooldown import Cooldown
from benchbox.report import choice as choice_text
from benchbox.report import claims, files, merged
from benchbox.report import diff as diff_text
from benchbox.report.console import show_tables
from benchbox.report.multi_device import tables_of
from benchbox.runner import record as case_record
from benchbox.runner.state import RunState
from tests.e2e.faults.bench import Bench, fault
from tests.e2e.faults.mutations import mutated
from tests.helpers import tables

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
TRIES = 8
FEW = 4  # bursts of a case: with more a mutation would meet little else
STATE = State(12_000.0, 11_000.0, 13_000.0)
COOLED = tuple(Cooldown(n, 1.5 * n, 40.0, 45.0, 40.5 + n) for n in range(3))
ON_GPU = Burst(
    0,
    0,
    (2_000_000, 2_100_000),
    marks=((0, 12_000), (2, 12_100)),
    stream_ns=(300_000, 301_000),
    seen={"gpu_sm_clock_mhz": 1700, "temperature_c": 50.0},
    spans_ns=(1_500_000, 1_600_000),
    enqueues_ns=(1_000, 1_100),
    copies_ns=(2_500_000,),
    unheld=1,
    host_marks=((0, 12_000), (2, 12_100)),
    setting={"governor": "powersave"},
)
HOT = {"clock_khz": 2e6, "temperature_c": 50.0, "throttled_bits": 4, "steal_s": 0.1}
LOADS: tuple[dict[str, Any], ...] = (
    {"adjustment": Adjustment(UNKNOWN, 1.2e4, 3e5, 0.05, 0.01, 0.004, Widths(0.01, 0.001, 0.005))},
    {"arrival": Arrival(5.0, tables.latency(1.0), tables.ratio(1.4), 0.02)},
    {
        "sustained": Sustained(
            60.0,
            [
                Window(n * 1.0, 1.0, 0.001 + n / 1e5, 0.002, 0.001, 99, 90, 12_000, HOT)
                for n in range(9)
            ],
            0.001,
            4.0,
            Interval(0.0014, 0.0013, 0.0015),
            5.0,
            0.1,
        )
    },
    {"cooldowns": COOLED},
)
CEILINGS = {"fp32_macs_per_s": 1e13, "bytes_per_s": 1e12, "measured": "2026-01-01"}
GPU = {"name": "H200", "driver": "570", "runtime": "12.8", "power_limit_w": 700.0}


@cache
def _files() -> tuple[tuple[str, ...], ...]:
    """Whole runs: those for reference, shortened, and one of each kind that is not among them."""
    found = [_short(path.read_text()) for path in sorted(REFERENCE.glob("*/*.jsonl"))]
    plain = tables.run_of(tables.g2_records())
    for load in LOADS:
        own = [replace(record, **load) for record in plain.records]
        found.append(_written(replace(plain, records=own)))
    gpu = [
        replace(
            record,
            bursts=[ON_GPU],
            latency=latency.estimate([ON_GPU]),
            spans=Spans(0.0015, 0.0014, 0.0016, 0.0025, 0.3, 0.1),
            gate=Gate(STATE, STATE, STATE),
            state_shift=1.05,
            host_shift=0.9,
            dtype="float16",
            types={"float": 3, "float16": 9},
            nodes={"CUDA": 3, "CPU": 1},
        )
        for record in plain.records
    ]
    context = replace(
        plain.context,
        device="cuda",
        plan=Driving().plan(),
        host={"gpu": {**GPU, "ceilings": CEILINGS}, "clusters": [{"cpus": [0], "core": "A"}]},
    )
    return (*found, _written(Run(plain.path, context, gpu)))


def _short(text: str) -> tuple[str, ...]:
    context, *lines = map(json.loads, text.splitlines()[:6])
    for line in lines:
        bursts = line["bursts"]
        ends = [pick(bursts, key=lambda b: pick(b["latencies_ns"])) for pick in (min, max)]
        line["bursts"] = [*bursts[: FEW - 2], *ends]
    return tuple(map(json.dumps, (context, *lines)))


def _written(run: Run) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        with records.create(Path(folder), run.context) as writer:
            for index, record in enumerate(run.records):
                writer.append(replace(record, index=index))
        return tuple(writer.path.read_text().splitlines())


def broken(lines: Sequence[str], rng: random.Random) -> bytes:
    """A run's file with something wrong in it."""
    changed = [*lines]
    at = rng.randrange(len(changed)) if rng.random() < 0.7 else 0
    if rng.random() < 0.85:
        value = json.loads(changed[at])
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            value = mutated(value, rng) or value
        changed[at] = json.dumps(value)
        return "\n".join([*changed, ""]).encode()
    return _damaged(changed, at, rng)


def _damaged(lines: list[str], at: int, rng: random.Random) -> bytes:
    """The file cut, shuffled, or written in another way."""
    text = "\n".join([*lines, ""])
    cut = rng.randrange(len(text))
    first = next(iter(json.loads(lines[at])))
    return rng.choice(
        (
            lambda: text[:cut].encode(),
            lambda: text[:cut].encode() + bytes(rng.randrange(256) for _ in range(9)),
            lambda: (text[:cut] + "\n" + text[cut:]).encode(),
            lambda: "\n".join(rng.sample(lines, len(lines))).encode(),
            lambda: "\n".join([*lines, lines[at], ""]).encode(),
            lambda: text.removesuffix("\n").encode(),
            lambda: text.encode() + b"\n" * rng.randrange(1, 4),
            lambda: text.replace("\n", "\n\n").encode(),
            lambda: text.replace("\n", "\r\n").encode(),
            lambda: text.encode("utf-8-sig"),
            lambda: text.encode("utf-16"),
            lambda: text.replace("{", f'{{"{first}":[],', 1).encode(),
            lambda: text.replace("\n", ' {"x":1}\n', 1).encode(),
            lambda: bytes(rng.randrange(256) for _ in range(99)) + b"\n",
        )
    )()


def use(runs: Sequence[Run]) -> None:
    """Everything that is done with runs that were read, but for the timing."""
    for width in (40, 200):
        for verbose in (False, True):
            console = Console(file=io.StringIO(), width=width, force_terminal=width < 100)
            show_tables(tables_of(runs, verbose=verbose), console)
    for format_ in ("csv", "markdown", "json"):
        render(runs, format_)
    set_side_by_side(runs)
    for run in runs:
        claims.is_unclear(run)
        state = RunState((), {}, run, adjusts=True)
        for record in run.records:
            case_record.loaded(record)
            case, machine = state.adjusted(record.key), state.machine
            estimate = latency.estimate(record.bursts, record.gate, case, machine.tau)
            if case:
                machine.compare(record.key, case, case)
                latency.ratio((), (), record.gate, (case, case), tau=machine.ratio_tau)
                machine.adjustment(case)
            gpu_time.estimate(record.bursts, record.gate, estimate.p50_s if estimate else None)
            samples.tagged(record.bursts, record.gate)
            samples.tag_shares(record.bursts, record.gate)
            arrival.estimate(record.bursts, 5.0)


@fault("mistakes", "records are broken in any part")
def broken_anywhere(bench: Bench, rng: random.Random) -> None:
    for _ in range(TRIES):
        lines = rng.choice(_files())
        whole = bench.folder / "whole.jsonl"
        whole.write_text("\n".join([*lines, ""]))
        path = bench.folder / "cpu" / "20261122T030625Z-g2.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(broken(lines, rng))
        try_all(path, records.read(whole))


def try_all(path: Path, other: Run) -> None:
    """Read, show and compare a file: it is as good as any, or is refused in one line."""
    try:
        runs = records.read_all(path)
    except RecordError as error:
        assert str(error).startswith(f"{path}: ") and str(error).isprintable(), str(error)
        return
    other = replace(other, context=replace(other.context, device="other"))
    use(runs)
    use([*runs, other])
    with contextlib.suppress(RecordError, UsageError):
        resume.previous(path.parents[1], replace(other.context, device="cpu", name="g2"))


def set_side_by_side(runs: Sequence[Run]) -> None:
    """Set each run beside the first, merge them, and choose from them."""
    shown = []
    for run in runs:
        found = diff.diff(runs[0], run, 0.01)
        shown.append(([diff_text.table(found)], diff_text.rows(found)))
        for budget in (Budget(0.01), Budget(0.01, per_image=True, percentile=90.0)):
            chosen = choice.choose(run, budget)
            shown.append((choice_text.tables(chosen, "flops"), choice_text.rows(chosen, "flops")))
    with contextlib.suppress(RecordError):
        together = merge.merge(runs)
        shown += [(merged.tables(together), [])] if together.runs else []  # as the command has it
    for text, rows in shown:
        show_tables(text, Console(file=io.StringIO(), width=60, force_terminal=True))
        for format_ in ("csv", "markdown", "json", "html", "latex"):
            files.of_rows(format_, text, rows)

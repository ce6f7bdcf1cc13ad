"""Summaries of samples: tables are made of them as of the samples, in the memory of a few."""

import gzip
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import records
from benchbox.analysis.samples import Burst
from benchbox.records.summary import Summarised, Summary
from benchbox.report import files
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from tests.helpers.record_files import LATENCY, context, record, write

NS = [1_000_000, 2_000_000, 3_000_000, 2_500_000] * 8
FACTS = {"setting": {"governor": "powersave"}, "tags": ("gpu_power",)}
BUSY = Burst(0, 0, tuple(NS), (1, 0, 0, 0) * 8, **FACTS)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["", "cpu/20261129T192416Z-all.jsonl"])
def test_tables_are_the_same_without_samples(tmp_path: Path, path: str) -> None:
    asked = context(plan={"percentiles": [50.0, 75.0], "precision": 0.01})
    timed = record(latency=replace(LATENCY, basis="all"), bursts=[BUSY])
    later = record(latency=LATENCY, graph={"sha256": "ab"})
    place = Path("results/reference", path) if path else write(tmp_path, timed, later, of=asked)
    whole, few = (records.read_all(place, with_samples=each) for each in (True, False))
    assert tables_of(few, verbose=True) == tables_of(whole, verbose=True)
    assert files.to_csv(to_frame(few)) == files.to_csv(to_frame(whole))
    assert not any(each.bursts for run in few for each in (*run.records, *run.earlier))


def test_what_tables_say_of_samples_is_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        record(latency=replace(LATENCY, basis="all"), bursts=[BUSY]),
        of=context(plan={"percentiles": [50.0, 75.0]}),
    )
    (read,) = records.read(path, with_samples=False).records
    assert isinstance(read, Summarised)
    shares = {"gpu_power": 1.0}
    assert read.summary == Summary(
        {"governor": ["powersave"]}, shares, {75.0: 0.002625}, 0.5, 2_750_000 * 1e-9
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_samples_are_in_memory_one_record_at_a_time(tmp_path: Path, pack: object) -> None:
    rng = random.Random(0)
    bursts = [Burst(0, at, tuple(rng.choices(range(10**6, 3 * 10**6), k=400))) for at in range(10)]
    path = write(tmp_path, *(record(at, str(at), bursts=bursts) for at in range(40)))
    packed = path.with_suffix(".jsonl.gz" if pack is gzip.compress else ".jsonl")
    packed.write_bytes(pack(path.read_bytes()))  # type: ignore[operator]
    records.read_all(packed, with_samples=False)  # which prepares how fields are checked
    tracemalloc.start()
    try:
        (run,) = records.read_all(packed, with_samples=False)
        assert len(run.records) == 40
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()

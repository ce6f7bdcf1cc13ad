"""What a call takes on a GPU, what is left of its latency, and the ceilings beside it."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.analysis import disturbance_text, gpu_time, samples
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.latency import Latency
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State
from benchbox.devices import ceilings, gpu_options
from benchbox.records import Context, Record
from benchbox.report import conditions
from benchbox.report import gpu as report_gpu
from benchbox.runner.known_states import path as history

GPU = {"name": "A", "driver": "1", "power_limit_w": 300.0}
VERSIONS = {"onnxruntime": "1", "torch": "2"}
COPIES_S = 130_000 * 1e-9  # as it is computed
GATE = Gate(compute=State(100, 98, 102), host=State(50, 49, 51))
RATES = ("fp32_macs_per_s", "tf32_macs_per_s", "fp16_macs_per_s", "bytes_per_s")
KNOWN = dict(zip(RATES, (1e12, 4e12, 2e12, 1e11), strict=True))


def identity(**facts: object) -> list[object]:
    return gpu_options.identity({**GPU, **facts}, "p", VERSIONS)


def burst(number: int, span_ns: int = 40_000, **more: object) -> Burst:
    timed = Burst(0, number, (100_000,) * 4, (0,) * 4, spans_ns=(span_ns,) * 4)
    return replace(timed, **{"copies_ns": (130_000,), **more})  # type: ignore[arg-type]


def record(name: str = "a", launch: float = 0.2, group: str = "", **more: object) -> Record:
    found = Record(0, "s", name, {}, {}, group, "a", 1, "float32", (), "ok")
    figures = Spans(1e-3, launch_share=launch)
    return replace(found, **{"spans": figures, **more})  # type: ignore[arg-type]


def context(**plan: object) -> Context:
    driven = {**gpu_options.Driving().plan(), **plan}
    host = {"gpu": {**GPU, "ceilings": {**KNOWN, "measured": "2026-11-22T08:00:00Z"}}}
    return Context("n", "now", "0", "cuda", "p", 1, "gpu", 0, driven, (), host)


def test_a_span_is_the_median_of_its_rounds_and_launch_is_the_rest() -> None:
    found = gpu_time.estimate([burst(i, 40_000 + 100 * i) for i in range(7)], latency_s=100e-6)
    assert found is not None
    assert (found.span_s, found.copies_s) == pytest.approx((40.3e-6, 130e-6))
    assert found.interval is not None
    assert found.launch_share == pytest.approx(1 - 0.403)
    assert gpu_time.estimate([Burst(0, 0, (1, 2))]) is None  # on a processor there is none


GAPPY = burst(9, 90_000, unheld=4)
SLOWED_DOWN = replace(burst(0), marks=((0, 100), (1, 100), (4, 200)), spans_ns=(40_000, 9, 9, 9))
STEADY = burst(0, host_marks=((0, 50), (4, 50)))
SLOW_COPY = burst(1, host_marks=((0, 50), (1, 50), (4, 100)), copies_ns=(260_000,))
PREEMPTED = replace(burst(0), switches=(1, 1, 1, 1))


@pytest.mark.parametrize(
    ("bursts", "gate", "spans", "quiet"),
    [
        ([burst(0), GAPPY], samples.OPEN, Spans(40e-6, copies_s=COPIES_S, unheld_share=0.5), 8),
        ([GAPPY], samples.OPEN, Spans(90e-6, copies_s=COPIES_S, unheld_share=1.0), 4),
        ([SLOWED_DOWN], GATE, Spans(40e-6), 1),  # nor do the copies at the end count
        ([STEADY, SLOW_COPY], GATE, Spans(40e-6, copies_s=COPIES_S), 5),
        ([PREEMPTED], samples.OPEN, Spans(40e-6, copies_s=COPIES_S), 0),  # the span after it counts
    ],
)
def test_spans_count_where_the_gpu_was_quiet_and_without_gaps_if_there_are_such(
    bursts: list[Burst], gate: Gate, spans: Spans, quiet: int
) -> None:
    assert gpu_time.estimate(bursts, gate) == spans
    assert sum(len(each.quiet_ns(gate)) for each in bursts) == quiet


SLOW_GPU = {"marks": ((0, 200), (4, 200))}
SLOW_HOST = {"host_marks": ((0, 100), (4, 100))}
HELD = {"gpu_throttle_bits": 0x8 | 0x4, "gpu_sm_clock_mhz": 1000.0, "gpu_other_processes": 2}
FREE = {"gpu_throttle_bits": 0x1, "gpu_sm_clock_mhz": 1500.0, "gpu_other_processes": 0}


def test_a_slow_gpu_a_slow_processor_and_what_holds_a_gpu_down_are_causes_of_their_own() -> None:
    causes = [
        (burst(0, **SLOW_GPU, **SLOW_HOST), ("slow", "gpu_slow")),
        (burst(0, **SLOW_GPU), ("gpu_slow",)),
        (burst(0, **SLOW_HOST), ("slow",)),
        (burst(0, seen=HELD), ("gpu_hardware", "gpu_power", "gpu_shared", "gpu_clock")),
        (burst(1, seen=FREE), ()),
        (burst(0, unheld=1), ("unheld",)),
    ]
    tagged = samples.tagged([each for each, _ in causes], GATE)
    assert [each.tags for each in tagged] == [tags for _, tags in causes]
    assert disturbance_text.summary({"unheld": 1.0}) == ("", "")  # no interval is wide for it


def under(name: str, *shared: int, **more: object) -> Record:
    """A record of bursts in which so many other processes computed on the GPU."""
    bursts = [burst(i, seen={"gpu_other_processes": n}) for i, n in enumerate(shared)]
    return record(name, bursts=samples.tagged(bursts, GATE), gate=GATE, **more)


SHARED = "of the bursts that count other processes computed on the GPU; "
SHARED += "end those (nvidia-smi lists them)"


SLOWED = under("a", 1, 0)
SLOWED = replace(SLOWED, bursts=[replace(SLOWED.bursts[0], **SLOW_GPU), SLOWED.bursts[1]])


@pytest.mark.parametrize(
    ("records", "notes"),
    [
        ([under("a", 1, 1), under("b", 2, 2, status="imprecise")], ["all cases: in 100%"]),
        (
            [under(str(i), *[1] * i, *[0] * (9 - i)) for i in range(6)],
            ["5 of 6 cases: in 11% to 56%"],
        ),
        ([under("a", 1, *[0] * 19)], ["a: in 5%"]),
        ([under("a", 1, *[0] * 24)], []),
        ([SLOWED], []),  # a burst that does not count
    ],
)
def test_what_a_gpu_was_under_is_said_where_it_was_so_in_many_bursts(
    records: list[Record], notes: list[str]
) -> None:
    assert conditions.notes(context(), records) == [f"{note} {SHARED}" for note in notes]


def test_other_processes_are_counted_and_not_named() -> None:
    hot_and_shared = {"gpu_other_processes": 1, "gpu_throttle_bits": 0x40}
    assert disturbance_text.of_gpu(hot_and_shared) == [
        "the GPU was too hot for its clock; let it cool down",
        "1 other process computed on the GPU; end it (nvidia-smi lists it)",
    ]
    assert disturbance_text.of_gpu({"gpu_other_processes": 0, "gpu_throttle_bits": 0x1}) == []


COMPUTING = {"macs": 500_000_000, "memory_access_bytes": 10_000_000}
MOVING = {"macs": 100_000_000, "memory_access_bytes": 60_000_000}


@pytest.mark.parametrize(
    ("cost", "tf32", "dtype", "ceiling"),
    [
        (COMPUTING, False, "float32", report_gpu.Ceiling("arithmetic", 0.5)),
        (MOVING, False, "float32", report_gpu.Ceiling("memory", 0.6)),
        (COMPUTING, True, "float32", report_gpu.Ceiling("arithmetic", 0.125)),
        (COMPUTING, True, "float16", report_gpu.Ceiling("arithmetic", 0.25)),
        (None, False, "float32", None),
    ],
)
def test_the_ceiling_is_what_binds_the_case(
    cost: object, tf32: bool, dtype: str, ceiling: report_gpu.Ceiling | None
) -> None:
    assert report_gpu.ceiling(context(tf32=tf32), record(cost=cost, dtype=dtype)) == ceiling


LATENCY = Latency(1e-3, None, None, None, None, 1e-3, 1e-3, 1, None, 1)
CPU_KNOWN = {"fp32_macs_per_s": 1e12, "int8_macs_per_s": 4e12, "copy_1_bytes_per_s": 2e10}


@pytest.mark.parametrize(
    ("dtype", "cost", "threads", "ceiling"),
    [
        ("float32", COMPUTING, None, report_gpu.Ceiling("arithmetic", 0.5)),
        ("int8", COMPUTING, 1, report_gpu.Ceiling("arithmetic", 0.125)),
        ("float32", MOVING, None, report_gpu.Ceiling("memory", 0.75)),
        ("float32", COMPUTING, 2, None),  # whose ceilings are others
        ("float16", COMPUTING, None, None),  # that were not measured
    ],
)
def test_a_processor_has_ceilings_of_its_fastest_copy_and_its_threads(
    dtype: str, cost: object, threads: int | None, ceiling: report_gpu.Ceiling | None
) -> None:
    host = {"ceilings": {**CPU_KNOWN, "copy_2_bytes_per_s": 8e10, "measured": "2026"}}
    on_cpu = replace(context(), host=host)
    found = record(cost=cost, dtype=dtype, threads=threads, spans=None, latency=LATENCY)
    assert report_gpu.ceiling(on_cpu, found) == ceiling


@pytest.mark.parametrize(
    ("cache", "cost", "said"),
    [
        ("hot", (1, 2e8), "; beyond 100% its cache gave what the memory did not have to"),
        ("cold", (1, 2e8), "; beyond 100% its cache, empty when a call began, kept tensors"),
        ("cold", (1, 1e7), "over its GPU time"),
        ("hot", (2e9, 1), "; beyond 100% of arithmetic it did with fewer multiplications"),
    ],
)
def test_what_is_beyond_a_ceiling_is_explained_by_what_bound_it(
    cache: str, cost: tuple[float, float], said: str
) -> None:
    macs, accessed = map(int, cost)
    beyond = record(cost={"macs": macs, "memory_access_bytes": accessed})
    (note,) = (n for n in report_gpu.notes(context(cache=cache), [beyond]) if "of ceiling" in n)
    assert said in note
    assert note.count("beyond") == ("beyond" in said)


def test_a_group_that_is_launch_bound_is_said_to_be() -> None:
    first = [record("a", 0.83, "scale=1"), record("b", 0.6, "scale=1")]
    other = [record("c", 0.7, "scale=2"), record("d", 0.1, "scale=2")]
    said = report_gpu.notes(context(), [*first, *other])
    assert "at scale 1 launch-bound: 60% to 83% of the host's latency is launch" in said
    assert "c launch-bound: 70% of the host's latency is launch" in said
    assert not any("bound" in note for note in report_gpu.notes(context(), [record()]))


def test_files_have_the_columns_of_a_gpu_with_how_it_was_driven() -> None:
    cells = report_gpu.cells(context(mode="eager"), record())
    assert list(cells) == list(report_gpu.COLUMNS)
    assert (cells["gpu_p50_ms"], cells["mode"], cells["tf32"]) == (1.0, "eager", "false")


def test_a_disturbed_measurement_lowers_no_ceiling_of_a_processor() -> None:
    hello = {"cpus": [0], "host": {"cpu": "x"}, "versions": {"onnxruntime": "1"}}
    first, second = {"fp32_macs_per_s": 9.0, "node_s": 3.0}, {"fp32_macs_per_s": 8.0, "node_s": 2.0}
    assert ceilings.best(first, second) == {"fp32_macs_per_s": 9.0, "node_s": 2.0}
    others = [{**hello, "host": {"cpu": "y"}}, {**hello, "versions": {"onnxruntime": "2"}}]
    big = {"cpus": [0], "core": "A76"}
    others.append({**hello, "host": {"cpu": "x", "clusters": [big, {"cpus": [4]}]}})
    kinds = [ceilings.of_processor(each, 1) for each in (hello, *others)]
    assert len({*map(str, [*kinds, ceilings.of_processor(hello, 2)])}) == 5


def test_ceilings_are_kept_by_what_decides_them(cache_dir: Path) -> None:
    assert ceilings.save(identity(), KNOWN, "now")
    assert cache_dir in ceilings.path(identity()).parents
    kept = {**KNOWN, "measured": "now"}
    of = gpu_options.identity
    assert ceilings.load(identity(mig=False)) == kept
    assert ceilings.load(of(GPU, "p", {**VERSIONS, "torch": "3"})) == kept
    assert ceilings.load(of(GPU, "p", {**VERSIONS, "onnxruntime": "2"})) == {}
    assert ceilings.load(of(GPU, "torch", VERSIONS)) == {}


@pytest.mark.parametrize("fact", gpu_options.IDENTITY)
def test_another_gpu_or_a_part_of_it_has_ceilings_and_states_of_its_own(fact: str) -> None:
    ceilings.save(identity(), KNOWN, "now")
    assert ceilings.load(identity(**{fact: "another"})) == {}
    part = replace(context(), host={"gpu": {**GPU, fact: "another"}})
    assert history(part) != history(context())
    eager = replace(context(mode="eager"), device="cuda-eager")
    assert history(eager) == history(context())


def test_a_file_that_makes_no_sense_holds_no_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ceilings.path(identity())
    path.parent.mkdir(parents=True)
    for text in ("", "[]", '{"fp32_macs_per_s": -1}', '{"bytes_per_s": "x"}'):
        path.write_text(text)
        assert ceilings.load(identity()) == {}
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", "/proc/nope")
    assert not ceilings.save(identity(), KNOWN, "now")

"""Energy: what it is read from on fake trees, idle power, and blocks of calls."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread

import pytest

from benchbox import records
from benchbox.agent.host import energy
from benchbox.agent.host.counters import Counters
from benchbox.agent.host.energy import EnergyMeter, SensorMeter, Source
from benchbox.analysis import energy as analysis
from benchbox.analysis.energy import Energy
from benchbox.analysis.samples import Burst
from benchbox.analysis.sustained import window
from benchbox.devices.host_schema import Host, wrong
from benchbox.report import energy as report
from benchbox.report.frame import to_frame
from benchbox.runner import context as run_context
from tests.agent.test_agent import Client
from tests.board.files import plant
from tests.conftest import WriteOnnx
from tests.helpers import tables
from tests.helpers.machine import Inside, program
from tests.helpers.record_files import context, record, write

pytestmark = pytest.mark.usefixtures("programs")

RAPL = "sys/class/powercap/intel-rapl"
INA = "sys/class/hwmon/hwmon3"
OLDER = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
ADC = """     3V7_WL_SW_A current(0)=0.50000000A
   VDD_CORE_A current(7)=2.00000000A
     3V7_WL_SW_V volt(8)=4.00000000V
   VDD_CORE_V volt(15)=1.50000000V
   EXT5V_V volt(24)=5.10000000V
"""


class World:
    """A clock that goes on with each look at it, and with it what a device uses."""

    def __init__(self, step_s: float = 0.0001) -> None:
        self.now_s, self.step_s = 0.0, step_s
        self.moves: list[Callable[[float], object]] = []

    def clock(self) -> float:
        self.sleep(self.step_s)
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for move in self.moves:
            move(self.now_s)

    def meter(self, root: Path, gpu: Callable[[], Counters] | None = None) -> EnergyMeter:
        return energy.meter(root / "sys", [0], gpu, self.clock, self.sleep)


def zone(index: str, name: str = "package-0", uj: int = 0, most: int = 10**9) -> dict[str, str]:
    folder = f"{RAPL}:{index}"
    values = {"name": name, "energy_uj": uj, "max_energy_range_uj": most}
    return {f"{folder}/{file}": f"{value}\n" for file, value in values.items()}


def counting(root: Path, watts: Callable[[float], float], most: int = 10**9) -> World:
    """A package that moves each millisecond and begins anew at its highest value."""
    plant(root, zone("0", most=most))
    world, file = World(), root / f"{RAPL}:0/energy_uj"
    world.moves.append(
        lambda now_s: file.write_text(f"{int(int(now_s * 1000) * 1000 * watts(now_s)) % most}\n")
    )
    return world


@pytest.mark.parametrize("most", [10**9, 11_000_000], ids=["whole", "wraps"])
def test_a_counter_gives_a_block_its_energy_and_the_idle_power(tmp_path: Path, most: int) -> None:
    world = counting(tmp_path, lambda _: 10.0, most)
    meter = world.meter(tmp_path)
    facts = meter.facts()
    assert facts["source"] == "RAPL, processor package"
    assert (facts["idle_w"], facts["step_s"]) == pytest.approx((10, 0.001), rel=0.15)
    assert facts["idle_s"] == pytest.approx(energy.IDLE_S, rel=0.1)
    for _ in range(3):  # past its highest value
        mark = meter.mark()
        world.sleep(0.5)
        block = meter.since(mark, "g")
        assert block["energy_mj"] == pytest.approx(5000, rel=0.01)
        assert block["energy_ns"] == pytest.approx(5e8, rel=0.01)
    mark = meter.mark()
    world.sleep(0.01)
    assert meter.since(mark, "g") == {}, "too few of its steps"
    mark = meter.mark()
    world.moves.clear()
    world.sleep(0.5)
    for text in ("", "garbage", "-7"):
        (tmp_path / f"{RAPL}:0/energy_uj").write_text(text)
        assert meter.since(mark, "g") == {}


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    plant(tmp_path, zone("0", uj=1) | zone("1", "package-1", 2) | zone("0:0", "core", 5))
    plant(tmp_path, zone("2", "psys", 7))
    source = energy.find(tmp_path / "sys")
    assert (source.name, source.read()) == ("RAPL, 2 processor packages", 0)
    plant(tmp_path, zone("0", uj=3001) | zone("1", "package-1", 1002) | zone("0:0", "core", 9999))
    assert source.read() == 4


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "none: no counter or sensor of power that benchbox knows"),
        (zone("0"), "none: RAPL, processor package: the counter stands still"),
        (zone("0") | {f"{RAPL}:0/energy_uj": "?"}, "none: RAPL, processor package: no figure"),
        ({f"{RAPL}:0/name": "package-0"}, "none: RAPL, intel-rapl:0: no figure can be read"),
        ({f"{INA}/name": "ina3221", f"{INA}/in1_input": "5000"}, energy.NONE),
    ],
)
def test_what_gives_no_energy_says_why(
    tmp_path: Path, files: Mapping[str, str], reason: str
) -> None:
    plant(tmp_path, files)
    meter = World(0.01).meter(tmp_path)
    assert str(meter.facts()["missing"]).startswith(reason)
    assert meter.since(meter.mark(), "g") == {}


def test_a_counter_for_root_alone_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuse(path: Path, *how: str, **named: str) -> object:  # root may read any file
        if path.name == "energy_uj":
            raise PermissionError
        return opened(path, *how, **named)  # type: ignore[call-overload]

    plant(tmp_path, zone("0"))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LookupError, match="sudo chmod a\\+r"):
        energy.find(tmp_path / "sys")


def test_a_card_is_read_by_its_driver(tmp_path: Path) -> None:
    world = World(0.001)
    meter = world.meter(tmp_path, lambda: {"gpu_energy_mj": int(world.now_s / 0.1) * 7000})
    assert meter.facts()["source"] == "NVML, the whole card"
    assert meter.facts()["idle_w"] == pytest.approx(70, rel=0.02)
    mark = meter.mark()
    world.sleep(1.0)
    assert meter.since(mark, "g") == {}, "a tenth of a second of ten may be the neighbour's"
    world.sleep(2.0)
    assert meter.since(mark, "g")["energy_mj"] == pytest.approx(210_000, rel=0.05)
    assert "no figure" in str(world.meter(tmp_path, dict).facts()["missing"])


@pytest.mark.parametrize(
    ("between_s", "names", "found"),
    [
        (0.003, ["g"], 2),
        (0.02, ["g"], 0),  # too much of something else
        (0.003, ["g", "h"], 0),  # the neighbour's
        (0.003, [""], 0),  # calls at a rate, each block with pauses of its own
    ],
)
def test_blocks_in_a_row_have_energy_by_a_counter_that_moves_rarely(
    tmp_path: Path, between_s: float, names: list[str], found: int
) -> None:
    world = World(0.0001)
    meter = world.meter(tmp_path, lambda: {"gpu_energy_mj": int(world.now_s / 0.1) * 7000})
    blocks = []
    for number in range(70):
        mark = meter.mark()
        world.sleep(0.06)
        blocks.append(meter.since(mark, names[number % len(names)]))
        world.sleep(between_s)
    known = [each for each in blocks if each]
    assert len(known) == found
    for each in known:
        assert each["energy_ns"] == pytest.approx(2e9, rel=0.05)
        assert each["energy_mj"] == pytest.approx(140_000, rel=0.05)


@pytest.mark.parametrize(
    ("files", "name", "watts"),
    [
        (
            {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1200"}
            | {"in2_label": "VDD_CPU", "in2_input": "5000", "curr2_input": "400"},
            "INA3221, VDD_IN",
            6.0,
        ),
        (
            {"in1_label": "GPU", "in1_input": "5000", "curr1_input": "400"}
            | {"in2_label": "CPU", "in2_input": "5000", "curr2_input": "-8"}
            | {"in3_label": "NC", "in3_input": "5000", "curr3_input": "9"},
            "INA3221, GPU, CPU",
            2.0,
        ),
    ],
)
def test_a_jetson_has_rails(
    tmp_path: Path, files: Mapping[str, str], name: str, watts: float
) -> None:
    plant(tmp_path, {f"{INA}/{file}": text for file, text in {**files, "name": "ina3221"}.items()})
    source = energy.find(tmp_path / "sys")
    assert (source.name, source.read()) == (name, pytest.approx(watts))
    assert source.lag_s == energy.UNKNOWN_LAG_S
    plant(tmp_path, {f"{INA}/update_interval": "105"})
    assert energy.find(tmp_path / "sys").lag_s == 0.105


def test_an_older_jetson_has_them_elsewhere(tmp_path: Path) -> None:
    texts = {"in_power0_input": "4200", "rail_name_0": "POM_5V_IN", "in_power1_input": "900"}
    plant(tmp_path, {f"{OLDER}/{file}": text for file, text in texts.items()})
    source = energy.find(tmp_path / "sys")
    assert (source.name, source.read()) == ("INA3221, POM_5V_IN", 4.2)


def test_a_raspberry_pi_5_has_rails_of_its_power_chip(tmp_path: Path, programs: Path) -> None:
    program(programs, "vcgencmd", ADC)
    source = energy.find(tmp_path / "sys")
    assert (source.name, source.read()) == ("the power chip of the Raspberry Pi", 5.0)
    program(programs, "vcgencmd", 'error=1 error_msg="Command not registered"\n')
    assert source.read() is None
    with pytest.raises(LookupError):
        energy.find(tmp_path / "sys")


@pytest.mark.parametrize("idle_w", [3.0, 0.0])
def test_a_sensor_gives_a_block_the_mean_of_its_readings(
    idle_w: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Thread, "start", lambda _: None)  # its readings are taken here
    world, shown = World(), [idle_w]
    source = Source("S", lambda: shown[0], is_counter=False, lag_s=0.02)
    meter = SensorMeter(source, world.clock, world.sleep, [0])
    assert meter.facts()["idle_w"] == idle_w
    mark = meter.mark()
    meter.take()
    assert meter.since(mark, "g") == {}, "still of what was before"
    for shown[0] in (5.0, 7.0):
        world.sleep(0.05)
        meter.take()
    block = meter.since(mark, "g")
    assert block["energy_mj"] / (block["energy_ns"] * 1e-6) == pytest.approx(6.0)
    assert block["idle_w"] == idle_w
    later = meter.mark()
    world.sleep(0.05)
    shown[0] = None  # type: ignore[call-overload]
    meter.take()
    assert meter.since(later, "g") == {}


class Stub(EnergyMeter):
    def since(self, mark: energy.Mark, what: str) -> Counters:
        assert (mark, what) == ((0, None), "g")
        return {"energy_mj": 1.5, "energy_ns": 10, "idle_w": 0.5}


def test_an_agent_tells_the_energy_of_a_block_and_where_it_has_none(
    tmp_path: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "meter", lambda *_: Stub("none: x"))
    channel = Inside(tmp_path)
    client = Client(channel)  # type: ignore[arg-type]
    assert client.hello()["host"]["energy"] == {"missing": "none: x"}
    client.load("g", write_onnx())
    (burst,) = client.time(("g", 2))
    channel.close()
    assert burst["seen"].items() >= {"energy_mj": 1.5, "energy_ns": 10, "idle_w": 0.5}.items()


def block(number: int, mj: float = 600.0, **changes: object) -> Burst:
    """Ten calls of 5 ms and another 10 ms, at 10 W of which 4 are idle."""
    used = {"energy_mj": mj, "energy_ns": 60_000_000, "idle_w": 4.0}
    found = Burst(0, number, (5_000_000,) * 10, seen=used)
    return replace(found, **changes)  # type: ignore[arg-type]


def test_a_call_has_its_share_of_the_blocks_above_idle() -> None:
    found = analysis.estimate([block(i, 600 + i) for i in range(9)])
    assert found is not None and found.low_mj is not None
    assert found.mj == pytest.approx(30, rel=0.02) and found.low_mj < found.mj
    assert (found.power_w, found.idle_w, found.rounds) == (pytest.approx(10, rel=0.02), 4, 9)
    few = analysis.estimate([block(0), block(0, 660), block(1, seen={"energy_mj": 1})])
    assert few is not None and (few.rounds, few.low_mj) == (1, None)
    paced = analysis.estimate([block(0, kind="paced")])
    assert paced is not None and paced.mj == pytest.approx(36), "of all of the block"
    none = [{}, {"energy_mj": 0, "energy_ns": 9**9, "idle_w": 1}]
    none += [{"energy_mj": 5, "energy_ns": ns, "idle_w": 1} for ns in (-1, 0, 49_000_000)]
    assert analysis.estimate([block(0, seen=seen) for seen in none]) is None


def test_a_load_that_lasts_has_the_energy_of_its_windows() -> None:
    bursts = [block(i) for i in range(3)]
    windows = [window(bursts, at_s, 0.2) for at_s in range(8)]
    assert windows[0].seen["idle_w"] == 4
    found = analysis.of_windows([*windows, window([block(0, seen={})], 9, 0.2)])
    assert found is not None
    assert (found.mj, found.low_mj) == (pytest.approx(30), pytest.approx(30))
    assert (found.power_w, found.idle_w, found.rounds) == (pytest.approx(10), 4, 8)


FOUND = Energy(12.34, 12.1, 12.6, 10.0, 4.0, 20)
HOST = {"source": "RAPL, processor package", "idle_s": 1.0}


def test_records_tables_and_files_have_what_was_read(tmp_path: Path) -> None:
    path = write(tmp_path, record(energy=FOUND), of=context(host={"energy": HOST}))
    run = records.read(path)
    assert run.records[0].energy == FOUND
    row = to_frame([run]).iloc[0]
    assert (row["energy_mj"], row["energy_ci_low_mj"], row["idle_power_w"]) == (12.34, 12.1, 4)
    assert row["energy_source"] == HOST["source"]
    assert report.cell(run.records[0]) == "12.3 ± 0.3"
    (note,) = report.notes(run.context, run.records)
    assert "less the 4.00 W of when it was idle, read over 1.0 s beforehand" in note
    assert report.cell(record(energy=replace(FOUND, mj=-0.2))) == "none above idle"
    lines = path.read_text().splitlines()
    without = {name: v for name, v in json.loads(lines[1]).items() if name != "energy"}
    path.write_text("\n".join([lines[0], json.dumps(without)]) + "\n")
    assert records.read(path).records[0].energy is None
    bare = tables.run_of(tables.g2_records())
    assert report.notes(bare.context, bare.records) == [] and not report.has(bare.records)


def test_a_record_names_a_source_and_no_lack_of_one() -> None:
    told = {"source": "S", "idle_s": 1.0, "idle_w": 2.5, "step_s": 0.1}
    assert run_context._shareable({"energy": told}) == {"energy": {"source": "S", "idle_s": 1.0}}
    assert run_context._shareable({"energy": {"missing": "none"}}) == {}
    assert report.source({"energy": told}) == "S, every 100 ms; 2.50 W while idle"
    assert report.source({"energy": {"missing": "none: x"}}) == "none: x"
    assert wrong(Host, {"energy": {"source": 5}}) == "energy.source"
    assert asdict(FOUND)["rounds"] == 20

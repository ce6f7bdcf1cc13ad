"""Energy meters: RAPL by powercap, NVML, Jetson's INA3221, and the PMIC of a Raspberry Pi 5.

They are of a processor package, a card or a board, never of one program. A counter is read at both
ends of a block of calls. One that lasts for few of its steps has no energy, as those would be the
neighbour's, unless blocks of the same graph in a row last long enough together. A sensor gives the
power of a moment: a thread reads it, on other processors than those measured and for less than 1%
of one's time. Idle power is read beforehand, with nothing loaded.
"""

import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

from benchbox.agent.host import health
from benchbox.agent.host.counters import Counters, number
from benchbox.agent.host.machine import contents

IDLE_S = 1.0
LONGEST_S = 1.0  # that a counter may stand still
STEPS = 6  # of a counter, by which it is known how long one takes
BLOCK = 20  # steps that a block lasts at least, so that its ends are 5% of it
GAPS = 0.1  # of the time of blocks in a row; at less power than theirs, which the mean is low by
EVERY_S = 0.1  # from one reading of a sensor to the next, or what reading it took over SHARE
RAREST_S = 2.0
SHARE = 0.01
IDLE_READINGS = 3
KEPT = 1000  # readings
MILLI, NS = 1e-3, 1e-9
UNKNOWN_LAG_S = 0.02  # of a sensor that does not tell over what time it averages

NONE = "none: no counter or sensor of power that benchbox knows"
HIDDEN = "none: {} is for root alone; sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
STILL = "none: {}: the counter stands still"
UNREADABLE = "none: {}: no figure can be read"

PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's have that name too; further colons are parts of it
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")  # rails of the Jetsons that feed all others
UNCONNECTED = "NC"
ADC = re.compile(r"^\s*(\w+)_([AV]) +(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)

Read = Callable[[], float | None]
Mark = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Source:
    """Something to read: a counter's mJ, or a sensor's W over the last `lag_s`."""

    name: str
    read: Read
    is_counter: bool
    lag_s: float = 0.0


class EnergyMeter:
    """No meter: every block is without energy. Others read something."""

    def __init__(self, missing: str) -> None:
        self._missing = missing

    def facts(self) -> dict[str, object]:
        """The source, and how it was read while idle; or the reason why there is none."""
        return {"missing": self._missing}

    def mark(self) -> Mark:
        """Begin a block."""
        return 0.0, None

    def since(self, mark: Mark, what: str) -> Counters:  # noqa: ARG002 - of one that reads something
        """The energy of the block that began there, how long it lasted, and the idle power.

        It is of `what`, as are blocks beside it that may count with it; of nothing else if empty.
        """
        return {}


class _Meter(EnergyMeter):
    """A source with its idle power; raises LookupError where it gives none."""

    def __init__(
        self, source: Source, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._source, self._clock, self._sleep = source, clock, sleep
        self.step_s = 0.0
        began_s = clock()
        self.idle_w = self._idle_w()
        self._idle_s = clock() - began_s

    def facts(self) -> dict[str, object]:
        found = {"idle_w": self.idle_w, "idle_s": self._idle_s, "step_s": self.step_s}
        return {"source": self._source.name, **found}

    def _idle_w(self) -> float:
        raise NotImplementedError

    def _read(self) -> float:
        if (value := self._source.read()) is None:
            raise LookupError(UNREADABLE.format(self._source.name))
        return value

    def _block(self, mj: float, lasted_s: float) -> Counters:
        return {"energy_mj": mj, "energy_ns": round(lasted_s / NS), "idle_w": self.idle_w}


class CounterMeter(_Meter):
    """A counter of energy."""

    # The blocks in a row that have no energy yet: of what, since when, and how long without gaps.
    _what, _calls_s = "", 0.0
    _first: Mark = (0.0, None)

    def _idle_w(self) -> float:
        moves = [self._move() for _ in range(STEPS)]
        self.step_s = sorted(now[0] - before[0] for before, now in pairwise(moves))[STEPS // 2 - 1]
        began_s, before = moves[-1]
        self._sleep(IDLE_S)
        ended_s, after = self._move()
        return max(0.0, after - before) * MILLI / (ended_s - began_s)

    def _move(self) -> tuple[float, float]:
        """Wait until the counter moves: when that was, and what it shows then."""
        first, until = self._read(), self._clock() + LONGEST_S
        while (now := self._read()) == first:
            if self._clock() > until:
                raise LookupError(STILL.format(self._source.name))
        return self._clock(), now

    def mark(self) -> Mark:
        """The moment, and what the counter shows."""
        return self._clock(), self._source.read()

    def since(self, mark: Mark, what: str) -> Counters:
        """What it has counted, with the blocks before if of few steps; those have nothing then."""
        own_s, after, now_s = mark[0], self._source.read(), self._clock()
        if what != self._what or not what or mark[1] is None:
            self._first, self._calls_s = mark, 0.0
        self._what, self._calls_s = what, self._calls_s + now_s - own_s
        began_s, before = self._first
        lasted_s = now_s - began_s
        if after is not None and lasted_s < BLOCK * self.step_s:
            return {}
        self._what = ""
        if before is None or after is None or after <= before:
            return {}
        if lasted_s - self._calls_s > GAPS * lasted_s:
            return {}
        return self._block(after - before, lasted_s)


class SensorMeter(_Meter):
    """A sensor of power, and the thread that reads it."""

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        cpus: Sequence[int],
    ) -> None:
        self._readings: deque[tuple[float, float, float]] = deque(maxlen=KEPT)
        super().__init__(source, clock, sleep)
        self._cpus = cpus
        threading.Thread(target=self._watch, daemon=True, name="power").start()

    def _idle_w(self) -> float:
        began_s = self._clock()
        self._read()
        took_s = self._clock() - began_s
        self.step_s = min(max(EVERY_S, took_s / SHARE), RAREST_S)
        readings: list[float] = []
        while self._clock() < began_s + IDLE_S or len(readings) < IDLE_READINGS:
            self._sleep(self.step_s)
            readings.append(self._read())
        return sum(readings) / len(readings)

    def _watch(self) -> None:
        health.leave(self._cpus)
        while True:
            self._sleep(self.step_s)
            self.take()

    def take(self) -> None:
        """Read the sensor once."""
        began_s, watts = self._clock(), self._source.read()
        if watts is not None:
            self._readings.append((began_s, self._clock(), watts))

    def mark(self) -> Mark:
        """The moment."""
        return self._clock(), None

    def since(self, mark: Mark, what: str) -> Counters:  # noqa: ARG002 - each block has readings
        """The mean of its readings meanwhile, for as long as that was."""
        first_s, now_s = mark[0] + self._source.lag_s, self._clock()
        found = tuple(self._readings)
        watts = [power for begun, ended, power in found if first_s <= begun <= ended <= now_s]
        lasted_s = now_s - mark[0]
        if not watts or not any(watts):
            return {}
        return self._block(sum(watts) / len(watts) * lasted_s / MILLI, lasted_s)


def meter(
    system: Path,
    cpus: Sequence[int],
    gpu: Callable[[], Mapping[str, float]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> EnergyMeter:
    """The meter of this device, of a GPU by its driver's counters; it has read the idle power."""
    try:
        source = find(system, gpu)
        if source.is_counter:
            return CounterMeter(source, clock, sleep)
        return SensorMeter(source, clock, sleep, cpus)
    except LookupError as error:
        return EnergyMeter(str(error.args[0]))


def find(system: Path, gpu: Callable[[], Mapping[str, float]] | None = None) -> Source:
    """What this device's energy is read from; raises LookupError with a reason."""
    if gpu is not None:
        return Source("NVML, the whole card", lambda: gpu().get("gpu_energy_mj"), is_counter=True)
    found = _rapl(system) or _ina3221(system) or _pmic()
    if found is None:
        raise LookupError(NONE)
    return found


def _rapl(system: Path) -> Source | None:
    """The processor packages' counters together."""
    zones = [
        zone
        for zone in sorted((system / "class/powercap").glob("intel-rapl:*"))
        if PACKAGE.fullmatch(zone.name) and contents(zone / "name").startswith(b"package")
    ]
    for zone in zones:
        try:
            (zone / "energy_uj").open("rb").close()
        except PermissionError:
            raise LookupError(HIDDEN.format(f"/sys/class/powercap/{zone.name}/energy_uj")) from None
        except OSError:
            raise LookupError(UNREADABLE.format(f"RAPL, {zone.name}")) from None
    counters = [_Wrapping(zone) for zone in zones]
    packages = "processor package" if len(zones) == 1 else f"{len(zones)} processor packages"
    total = _together([each.read for each in counters])
    return Source(f"RAPL, {packages}", total, is_counter=True) if zones else None


class _Wrapping:
    """A counter that begins anew at its highest value, which Linux has in another file."""

    def __init__(self, zone: Path) -> None:
        self._file = zone / "energy_uj"
        self._range = number(contents(zone / "max_energy_range_uj"))
        self._last_uj: int | None = None
        self._total_uj = 0

    def read(self) -> float | None:
        """What was counted since the first reading, in mJ."""
        now = number(contents(self._file))
        if now is None:
            return None
        gained = 0 if self._last_uj is None else now - self._last_uj
        self._last_uj = now
        if gained < 0:
            if not self._range or self._range < -gained:
                return None
            gained += self._range
        self._total_uj += gained
        return self._total_uj * MILLI


def _ina3221(system: Path) -> Source | None:
    """The rail of a Jetson that feeds its board, else all of its rails together."""
    rails: dict[str, Read] = {}
    lags = [0.0]
    for folder in sorted((system / "class/hwmon").glob("hwmon*")):
        if contents(folder / "name").strip() == b"ina3221":
            rails |= _hwmon(folder)
            lag = number(contents(folder / "update_interval"))
            lags.append(UNKNOWN_LAG_S if lag is None else lag * MILLI)
    for file in sorted((system / "bus/i2c/drivers/ina3221x").glob("*/iio:device*/in_power*_input")):
        place = file.name.removeprefix("in_power").removesuffix("_input")
        rails[_label(file.parent / f"rail_name_{place}", str(file))] = _watts(file)
        lags.append(UNKNOWN_LAG_S)
    readable = {name: read for name, read in rails.items() if read() is not None}
    whole = {name: read for name, read in readable.items() if name in WHOLE_BOARD} or readable
    if not whole:
        return None
    name = f"INA3221, {', '.join(whole)}"
    return Source(name, _together(whole.values()), is_counter=False, lag_s=max(lags))


def _hwmon(folder: Path) -> Iterator[tuple[str, Read]]:
    for place in (1, 2, 3):
        label = _label(folder / f"in{place}_label", f"{folder.name}.{place}")
        if label != UNCONNECTED:
            yield label, _watts(folder / f"in{place}_input", folder / f"curr{place}_input")


def _label(file: Path, otherwise: str) -> str:
    text = contents(file).decode(errors="replace").strip()
    return text if text.isprintable() and text else otherwise


def _milli(file: Path) -> int | None:
    """A number of thousandths; of what flows backwards, as around 0 it may seem to, 0."""
    text = contents(file).strip()
    value = number(text.removeprefix(b"-"))
    return 0 if value is not None and text.startswith(b"-") else value


def _watts(*files: Path) -> Read:
    """The product of what files have in thousandths: volts and amperes, or watts alone."""

    def watts() -> float | None:
        values = [value * MILLI for file in files if (value := _milli(file)) is not None]
        return prod(values) if len(values) == len(files) else None

    return watts


def _pmic() -> Source | None:
    """The rails of a Raspberry Pi 5's power chip together, by the firmware's program."""
    program = shutil.which("vcgencmd", path=health.search_path())
    if program is None:
        return None

    def watts() -> float | None:
        output = health.run(program, "pmic_read_adc") or b""
        rails: dict[str, dict[str, float]] = {}
        for name, unit, value in ADC.findall(output.decode(errors="replace")):
            rails.setdefault(name, {})[unit] = float(value)
        known = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == len("AV")]
        return sum(known) if known else None

    if watts() is None:
        return None
    return Source("the power chip of the Raspberry Pi", watts, is_counter=False)


def _together(reads: Iterable[Read]) -> Read:
    every = list(reads)

    def total() -> float | None:
        values = [read() for read in every]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return total

"""Health of a board: governor, limits, power mode, temperature, and throttling by firmware.

It is read between requests, never beside timed calls. What starts a process is asked only once in a
while.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchbox.agent.host import counters, disturbances, machine
from benchbox.agent.host.disturbances import SYS

EVERY_S = 5.0  # a program is started; they take milliseconds, and tens of them on a Jetson
LONGEST_S = 2.0  # that one may take
# A shell that ssh starts may have no folders of the system's own programs.
PLACES = ("/usr/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/opt/vc/bin")
BITS = (  # of get_throttled, as the Raspberry Pi's documentation of vcgencmd has them
    (0, "under-voltage now"),
    (1, "clock capped now"),
    (2, "throttled now"),
    (3, "near its heat limit now"),
    (16, "under-voltage since it was started"),
    (17, "clock capped since it was started"),
    (18, "throttled since it was started"),
    (19, "near its heat limit since it was started"),
)
NOTHING = "none"
POWER_MODE = re.compile(r"^NV Power Mode:\s*(\S+)\s+(\d+)\s*$", re.MULTILINE)
CLOCKS = re.compile(r"^(?:cpu\d+|GPU)\b.*?MinFreq=(\d+)\s+MaxFreq=(\d+)", re.MULTILINE)
MHZ = 1000  # kHz

Parse = Callable[[str], str | None]


class HealthReader:
    """Settings and temperature of a board, some of whose processors are used."""

    def __init__(
        self, cpus: Sequence[int], sys: Path = SYS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cpus, self._sys = cpus, sys
        self._sensors = disturbances.sensors(sys / "class/thermal")
        self._firmware = disturbances.firmware(sys)
        asked = {
            "throttled": ("vcgencmd", "get_throttled", _throttled),
            "nvpmodel": ("nvpmodel", "-q", power_mode),
            "jetson_clocks": ("jetson_clocks", "--show", clocks),
        }
        if self._firmware:
            del asked["throttled"]
        self._programs = {
            name: _Program(program, argument, parse, clock, cpus)
            for name, (program, argument, parse) in asked.items()
        }

    def setting(self) -> dict[str, str]:
        """Settings of the board, and its firmware's words on supply and clock.

        governor, limit      of the processors used, and the highest clock that they may have
        throttled            the words for the bits of get_throttled, `none` without any
        nvpmodel             the power mode's name and number
        jetson_clocks        whether clocks are `locked`; only root can ask
        What is not known is absent.
        """
        known = {name: program.answer() for name, program in self._programs.items()}
        if self._firmware:
            text = b"".join(map(machine.contents, self._firmware))
            known["throttled"] = _throttled(text.decode(errors="replace"))
        found = {name: text for name, text in known.items() if text is not None}
        return policy(self._cpus, self._sys) | found

    def temperature_c(self) -> float | None:
        """Reading of the hottest sensor, None without one."""
        texts = [machine.contents(path) for path in self._sensors]
        return counters.temperature(texts).get("temperature_c")


def policy(cpus: Sequence[int], sys: Path = SYS) -> dict[str, str]:
    """Return the governor and the limit of processors; several of them where they differ."""
    folders = [sys / f"devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    governors = [machine.contents(f / "scaling_governor").decode(errors="replace") for f in folders]
    limits = [counters.number(machine.contents(f / "scaling_max_freq")) for f in folders]
    found = {
        "governor": [text.strip() for text in governors],
        "limit": [f"{khz / MHZ:.0f} MHz" if khz else "" for khz in limits],
    }
    return {name: text for name, each in found.items() if (text := _distinct(each))}


def clock_khz(cpus: Sequence[int], sys: Path = SYS) -> float | None:
    """Return the lowest clock of processors, None where it cannot be read."""
    files = [sys / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus]
    return counters.clock([machine.contents(file) for file in files]).get("clock_khz")


def words(bits: int) -> str:
    """Meaning of the bits of get_throttled."""
    return ", ".join(text for bit, text in BITS if bits >> bit & 1) or NOTHING


def power_mode(text: str) -> str | None:
    """The power mode, `MAXN (0)`, from the output of `nvpmodel -q`."""
    match = POWER_MODE.search(text)
    return f"{match[1]} ({match[2]})" if match else None


def clocks(text: str) -> str | None:
    """Whether clocks can change, from the output of `jetson_clocks --show`."""
    pairs = CLOCKS.findall(text)
    if not pairs:
        return None
    return "locked" if all(low == high for low, high in pairs) else "not locked"


def _throttled(text: str) -> str | None:
    bits = counters.throttled([text.encode()]).get("throttled_bits")
    return None if bits is None else words(int(bits))


def _distinct(texts: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


class _Program:
    """A program that reports on the board; one that fails at first is not run again."""

    def __init__(
        self,
        name: str,
        argument: str,
        parse: Parse,
        clock: Callable[[], float],
        measured: Sequence[int],
    ) -> None:
        self._measured = measured
        self._program = shutil.which(name, path=search_path())
        self._argument, self._parse, self._clock = argument, parse, clock
        self._answer: str | None = None
        self._asked_s: float | None = None

    def answer(self) -> str | None:
        """Its answer now or a moment ago; None without the program."""
        now_s = self._clock()
        if self._program and (self._asked_s is None or now_s - self._asked_s >= EVERY_S):
            self._answer = self._ask(self._program)
            if self._answer is None and self._asked_s is None:
                self._program = None
            self._asked_s = now_s
        return self._answer

    def _ask(self, program: str) -> str | None:
        """Run it from a thread of its own, whose processors it inherits: not those measured."""
        from concurrent.futures import ThreadPoolExecutor  # most boards have no such program

        with ThreadPoolExecutor(1, initializer=leave, initargs=(self._measured,)) as asking:
            output = asking.submit(run, program, self._argument).result()
        return None if output is None else self._parse(output.decode(errors="replace"))


def search_path() -> str:
    """Where the system's own programs may be."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *PLACES])


def leave(cpus: Sequence[int]) -> None:
    """Have the calling thread run on other processors than these, where there are some."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - set(cpus))


def run(program: str, argument: str) -> bytes | None:
    """What a program prints, None where it does not run or takes too long."""
    try:
        return subprocess.run(
            [program, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_S,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None

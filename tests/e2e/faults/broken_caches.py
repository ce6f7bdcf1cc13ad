"""Files of the cache that are wrong, hostile or of another kind: they are as if they were not."""

import json
import random
import threading
from pathlib import Path
from unittest.mock import patch

from benchbox import host
from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import Slopes
from benchbox.analysis.levels import Usual
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Bases
from benchbox.devices import ceilings, last_seen
from benchbox.runner import known_states
from tests.e2e.faults.bench import Bench, fault
from tests.e2e.faults.mutations import mutated, odd

TRIES = 20
ALONE = threading.Lock()  # the folder is patched for all threads
URL = "ssh://pi@board"
USUAL = Usual(12_000.0, 300_000.0)
SLOPES = {"ab" * 32: Slopes(0.9, 0.1, 0.2, 0.05)}
STATES = Known(Bases(12_000.0, 300_000.0), USUAL, SLOPES, (1e-4,), (1e-4,))
RATES = {"bytes_per_s": 1e12, "fp32_macs_per_s": 1e13}


@fault("mistakes", "what is kept between runs is wrong in any part")
def broken_cache(bench: Bench, rng: random.Random) -> None:
    with ALONE, patch.object(host, "cache_folder", lambda: bench.folder):
        for number in range(TRIES):
            states = bench.folder / f"states-{number}.json"
            known_states.save(states, STATES)
            ceilings.save(["H200", number], RATES, "2026-01-01T00:00:00Z")
            last_seen.note(URL, "a board")
            _spoil(states, rng)
            _spoil(ceilings.path(["H200", number]), rng)
            _spoil(bench.folder / "devices.json", rng)
            _use(states, number)


def _use(states: Path, number: int) -> None:
    machine = Machine(known_states.load(states), adjusts=True)
    marks = ((0, 12_000), (1, 12_100))
    bursts = [Burst(0, n, (1000 + n,), marks=marks, stream_ns=(300_000,)) for n in range(20)]
    for burst in bursts:
        machine.add(burst)
    machine.update()
    assert machine.gate.compute is not None
    case = machine.adjust("a", "ab" * 32, bursts)
    found = adjusted.interval(case, machine.tau) if case else None
    assert found is None or 0 < found[0].low <= found[0].high < 1
    known_states.save(states, machine.after())
    assert known_states.load(states).slopes == machine.after().slopes
    known = ceilings.load(["H200", number])
    assert all(rate >= 1e-12 for name, rate in known.items() if name != "measured")
    assert last_seen.last(URL).at.__class__ is str
    last_seen.note(URL, "a board")


def _spoil(path: Path, rng: random.Random) -> None:
    """Change a file's value or its bytes."""
    value, data = json.loads(path.read_bytes()), path.read_bytes()

    rng.choice(
        (
            *(lambda: path.write_text(json.dumps(mutated(value, rng))),) * 12,
            lambda: path.write_text(json.dumps(odd(rng))),
            lambda: path.write_bytes(data[: rng.randrange(len(data))]),
            lambda: path.write_bytes(b"[" * 200_000),
            lambda: path.write_bytes(b"\xff\xfe" + data),
            lambda: path.write_text(data.decode().replace("1", "9" * 5000)),
        )
    )()

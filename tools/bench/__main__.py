"""`make bench`: what benchbox costs, and how well its figures repeat, one row per figure.

`make bench ARGS="startup overhead"` runs only those sections. Absolute figures depend on the
machine; what counts is the column "limit". All ratios come from one run.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial

from benchbox.agent.host import machine
from tools.bench import (
    estimators,
    explained,
    fleet,
    gate,
    networks,
    predicted,
    program,
    repeating,
    simulated,
    ssh,
    steps,
    store,
    tables,
    verdicts,
)
from tools.bench.common import Row

SECTIONS = {
    "startup": program.startup,
    "overhead": program.overhead,
    "idle": program.idle,
    "parent": program.parent,
    "cold": program.cold,
    "warm": program.warm,
    "networks": networks.networks,
    "ssh": ssh.ssh,
    "store": store.store,
    "steps": steps.found,
    "simulated": simulated.simulated,
    "estimators": estimators.estimators,
    "explain": explained.explain,
    "predict": predicted.predict,
    "fleet": fleet.fleet,
}
REPEATED = {
    "tables": tables.tables,
    "repeat": repeating.repeat,
    "neighbours": repeating.neighbours,
    "verdicts": verdicts.verdicts,
    "gate": gate.gate,
}
NAMES = (*SECTIONS, *REPEATED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--json", action="store_true", help="print rows as JSON Lines instead")
    parser.add_argument(
        "--repetitions",
        type=int,
        default=10,
        metavar="N",
        help=f"of each measurement in {', '.join(REPEATED)}; below 10 for a first look",
    )
    chosen = parser.parse_args()
    unknown = set(chosen.sections) - set(NAMES)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}")
    if chosen.repetitions < 1:
        parser.error("--repetitions: 1 or more")
    load = os.getloadavg()[0]
    print(f"{machine.cpu_model()}, {os.cpu_count()} processors, load {load:.1f} before\n")
    held = True
    for name in chosen.sections or NAMES:
        for row in section(name, chosen.repetitions)():
            held &= row[-1]
            show(row, as_json=chosen.json)
    return 0 if held else 1


def section(name: str, repetitions: int) -> Callable[[], Iterator[Row]]:
    return SECTIONS[name] if name in SECTIONS else partial(REPEATED[name], repetitions)


def show(row: Row, *, as_json: bool) -> None:
    what, measured, limit, ok = row
    if as_json:
        line = json.dumps({"what": what, "measured": measured, "limit": limit, "held": ok})
    else:
        line = f"{'ok  ' if ok else 'MISS'} {what:62} {measured:24} {limit}"
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

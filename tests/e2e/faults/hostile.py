"""Hostile input: graphs, specs, configuration, names and texts that aim at memory or terminal."""

import random
import sys

from tests.e2e.faults.bench import Bench, fault


@fault("hostile", "a cache entry is broken, of another key, a pipe, a link or another user's")
def broken_entry(bench: Bench, rng: random.Random) -> None:
    whose = rng.choice(["of this user", "of another user"])
    (bench.folder / "cache").mkdir()
    program = (sys.executable, "-m", "tests.e2e.faults.broken_entry")
    bench.folder.chmod(0o755)
    done = bench.command(whose, str(rng.randrange(1 << 30)), program=program)
    assert not done.stdout + done.stderr, done.stderr.decode()

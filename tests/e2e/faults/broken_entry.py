"""Heals a cache entry, as another user where that is possible; argv: the damage, and a seed.

Prints nothing where the entry was healed, in the folder that BENCHBOX_CACHE_DIR names.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchbox.costs import Cost
from benchbox.export import cache, entries
from benchbox.export.graph import MODEL, Graph
from benchbox.specs import Builder, Case

COST = Cost(1, 2, 3, 4, None, {"Relu": 1}, ("DFT",))
KEY = "0" * 64
CASE = Case("c", "c", {}, {}, (), 1, Builder("m:f"))
OTHERS = 65534  # a user id that owns nothing
rng = random.Random()


def fill(key: str) -> None:
    with cache.new_entry(key) as folder:
        path = folder / MODEL
        path.write_bytes(b"graph")
        graph = Graph(path, cache.digest(path), COST, 5, 18, "none", 0.0, {"onnx": "1"}, [])
        cache.write_facts(folder, key, graph)


def scramble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    path.write_bytes(data)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


def retyped(path: Path) -> None:
    """Change one fact to another type or value."""
    kept = json.loads(path.read_text())
    facts = kept["facts"]
    place = rng.choice([facts, facts["cost"]])
    place[rng.choice(sorted(place))] = rng.choice([None, "x", -1, 1e400, [[]], {"a": 1}, True, 7])
    path.write_text(json.dumps(kept))


KINDS: tuple[Callable[[Path], object], ...] = (
    Path.mkdir,
    Path.touch,
    os.mkfifo,
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to(path),
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.write_bytes(b"[" * 100_000),
    lambda path: path.write_bytes(b'{"sha256": ' + b"9" * 5000 + b"}"),
    lambda path: path.write_bytes(rng.randbytes(rng.randrange(99))),
    lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 36),
)


def damage(entry: Path) -> None:
    part = rng.choice([entry, entry / MODEL, entry / cache.FACTS])
    choice = rng.randrange(4)
    if choice == 0 or part == entry:
        replace(part, rng.choice(KINDS))
    elif choice == 1:
        scramble(part)
    elif choice == 2:
        retyped(entry / cache.FACTS)
    else:
        other = entry.with_name("1" * 64)  # a whole entry of another key
        fill(other.name)
        shutil.rmtree(entry)
        other.rename(entry)


def main() -> None:
    fill(KEY)
    assert cache.lookup(KEY, CASE), "a whole entry is not found"
    damage(entries.graphs() / KEY)
    if sys.argv[1] == "of another user" and os.getuid() == 0:
        entries.graphs().chmod(0o1777)  # others may add, but not take away
        os.setuid(OTHERS)
    intact = cache.lookup(KEY, CASE)
    if intact:  # only a link that leads to the same bytes is
        assert intact.path.read_bytes() == b"graph"
        assert intact.facts()["cost"] == COST.to_json()
    fill(KEY)
    healed = cache.lookup(KEY, CASE)
    assert healed, "the entry is not healed"
    assert healed.path.read_bytes() == b"graph"
    left = [path.name for path in entries.graphs().glob("new-*")]
    assert os.getuid() or not left, left


if __name__ == "__main__":
    rng.seed(int(sys.argv[2]))
    main()

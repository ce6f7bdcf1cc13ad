"""Runs every check on the GPU and prints a table of them last; exits 6 where there is no GPU.

python -m tests.cuda [--results FOLDER] [CHECK...]
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from tests.cuda import checks, needs
from tests.cuda.bench import Bench, NotRun

UNUSABLE, FAILED = 6, 1
LIMIT_S = 480.0  # after which no further check is begun


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cuda", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(checks.CHECKS))
    options = parser.parse_args()
    if missing := needs.missing():
        print(f"Error: {missing}", file=sys.stderr)
        return UNUSABLE
    chosen = [name for name in checks.CHECKS if not options.checks or name in options.checks]
    bench, start = Bench(options.results), time.monotonic()
    rows = [_row(name, bench, start) for name in chosen]
    print(f"\n{'check':<12} {'result':<8} {'time':>6}  what was seen")
    for name, result, took_s, seen in rows:
        print(f"{name:<12} {result:<8} {took_s:>4.0f} s  {seen}")
    print(f"{time.monotonic() - start:.0f} s together")
    return FAILED if any(result != "ok" for _, result, _, _ in rows) else 0


def _row(name: str, bench: Bench, start: float) -> tuple[str, str, float, str]:
    begin = time.monotonic()
    if begin - start > LIMIT_S:
        return name, "not run", 0.0, f"{LIMIT_S:.0f} s were over"
    print(f"{name} ...", flush=True)
    try:
        result, seen = "ok", checks.CHECKS[name](bench)
    except NotRun as reason:
        result, seen = "not run", str(reason)
    except AssertionError as error:
        result, seen = "FAILED", str(error) or traceback.format_exc(limit=-1)
    except Exception as error:  # the other checks are of use all the same
        result, seen = "FAILED", f"{type(error).__name__}: {error}"
    return name, result, time.monotonic() - begin, " ".join(seen.split())


if __name__ == "__main__":
    sys.exit(main())

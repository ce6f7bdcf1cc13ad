"""Runs every check on the GPU and prints a table of them last; exits 6 where there is no GPU.

A check that fails, or whose time is over, stops no other.
"""

import argparse
import importlib.metadata
import platform
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tools.cuda import checks, needs
from tools.cuda.bench import Bench, NotRun, TooLong
from tools.cuda.checks import Check

UNUSABLE, FAILED, INTERRUPTED = 6, 1, 130
LIMIT_S = 450.0
ENOUGH_S = 10.0  # that must be left for a check to be begun
LONGEST_TEXT = 800


@dataclass(frozen=True)
class Row:
    name: str
    result: str
    took_s: float
    seen: str


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if missing := needs.missing():
        print(f"Error: {missing}", file=sys.stderr)
        return UNUSABLE
    signal.signal(signal.SIGTERM, _interrupt)
    start = time.monotonic()
    bench = Bench(options.results, start + options.limit)
    print(_versions(), flush=True)
    rows: list[Row] = []
    try:
        for check, alone in _begun(bench, options.checks):
            print(f"{check.name} ...", flush=True)
            rows.append(result(check, alone))
    except KeyboardInterrupt:
        rows.append(Row("-", "not run", 0.0, "interrupted"))
    _print(rows, time.monotonic() - start)
    if any(row.seen == "interrupted" for row in rows):
        return INTERRUPTED
    return FAILED if any(row.result != "ok" for row in rows) else 0


def _begun(bench: Bench, names: Sequence[str]) -> Iterator[tuple[Check, Bench]]:
    """Yield each check with the time that it has; where none is named, they share it."""
    chosen = checks.chosen(names)
    if names:
        yield from ((check, bench) for check in chosen)
        return
    yield checks.PREPARING, bench.within(checks.PREPARING.limit_s)
    for check, share in zip(chosen, checks.shares(chosen), strict=True):
        yield check, bench.within(min(check.limit_s, bench.left_s * share))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.cuda", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/reference"))
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for all together")
    names = [*checks.CHECKS, *checks.LONGER]
    parser.add_argument(
        "checks",
        nargs="*",
        metavar="CHECK",
        help=f"{', '.join(names)}; the first {len(checks.CHECKS)} where none is named",
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.checks if name not in names]:
        parser.error(f"no check {unknown[0]!r}; choose {', '.join(names)}")
    return options


def result(check: Check, bench: Bench) -> Row:
    """Make one check, whatever comes of it."""
    begin, given_s = time.monotonic(), bench.left_s
    if given_s < ENOUGH_S:
        return Row(check.name, "not run", 0.0, "no time was left for it")
    try:
        said, seen = "ok", check.make(bench)
    except NotRun as reason:
        said, seen = "not run", str(reason)
    except TooLong as reason:
        said, seen = "cut off", f"{reason}; it had {given_s:.0f} of {check.limit_s:.0f} s"
    except AssertionError as error:
        said, seen = "FAILED", str(error) or _place(error)
    except Exception as error:  # the other checks are of use all the same
        said, seen = "FAILED", f"{type(error).__name__}: {error} ({_place(error)})"
    return Row(check.name, said, time.monotonic() - begin, seen)


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"


def _versions() -> str:
    """What the checks run with, as far as it is installed as a distribution."""
    found = [f"Python {platform.python_version()}"]
    for name in ("torch", "numpy", "onnxruntime-gpu", "onnxruntime", "onnx", "nvidia-ml-py"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _print(rows: Sequence[Row], took_s: float) -> None:
    print(f"\n{'check':<15} {'result':<8} {'time':>6}  what was seen")
    for row in rows:
        seen = " ".join(row.seen.split())
        print(f"{row.name:<15} {row.result:<8} {row.took_s:>4.0f} s  {seen[:LONGEST_TEXT]}")
    print(f"{took_s:.0f} s together", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""Live table of the cases that are being timed: p50 and width so far, as lines of text."""

import math
from collections.abc import Collection, Sequence
from statistics import median

from rich.cells import cell_len, set_cell_size

from benchbox.lines import one_line
from benchbox.report import formatting
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import Sampler

Row = tuple[float, list[str]]  # the half-width so far, and the cells


def lines(sampler: Sampler, total: int, height: int, width: int) -> list[str]:
    """The cases of a sampler in at most so many lines: those in work, the widest first to stay.

    `total` is the number of cases of the run.
    """
    cases = list(sampler.cases.values())
    is_compared = sampler.plan.margin is not None
    names = _names(sampler.cases)
    rows = {
        key: _row(sampler, case, names[key], is_compared) for key, case in sampler.cases.items()
    }
    room = max(0, height - (2 if total > height - 1 else 1))
    urgent = sorted(cases, key=lambda each: (each.finished, -rows[each.subject.key][0]))
    kept = {case.subject.key for case in urgent[:room]}
    if not kept:
        return []
    header = ["case", "p50 (ms)", *(["relative"] if is_compared else []), "±", ""]
    text = _aligned([header, *(cells for key, (_, cells) in rows.items() if key in kept)], width)
    more = total - len(kept)
    return [*text, *([f"… and {more} more"] if more > 0 else [])]


def _names(keys: Collection[str]) -> dict[str, str]:
    """The keys without the spec, where all are of one."""
    specs = {key.partition(":")[0] for key in keys}
    return {key: key.partition(":")[2] if len(specs) == 1 else key for key in keys}


def _row(sampler: Sampler, case: Progress, name: str, is_compared: bool) -> Row:
    interval = sampler.interval(case)
    half = interval.half_width if interval else math.inf
    cells = [one_line(name), _p50(case, None if is_compared or not interval else interval.value)]
    if is_compared:
        cells.append(formatting.ratio(interval.value) if interval else formatting.UNKNOWN)
    cells.append(f"{half:.1%}" if math.isfinite(half) else formatting.UNKNOWN)
    return half, [*cells, _state(case)]


def _p50(case: Progress, value_s: float | None) -> str:
    """The value, else the median of its rounds; marked before there is a round that counts."""
    if value_s or case.rounds:
        return formatting.milliseconds(value_s or median(case.rounds.values()))
    return f"~{formatting.milliseconds(case.latency_s)}" if case.bursts else formatting.UNKNOWN


def _state(case: Progress) -> str:
    if case.failure:
        return "failed"
    if case.finished:
        return "done"
    return "enough for now" if case.resting else ""


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Rows with their first cell to the left and all between that and the last to the right."""
    first, *between, last = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    # A name gives way, so that its figures can be seen.
    first = max(1, min(first, width - sum(between) - last - 2 * (len(between) + 1)))
    return [
        "  ".join(
            [
                set_cell_size(cells[0], first),
                *(cell.rjust(w) for cell, w in zip(cells[1:-1], between, strict=True)),
                cells[-1],
            ]
        ).rstrip()
        for cells in rows
    ]

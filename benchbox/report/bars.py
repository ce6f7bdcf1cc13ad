"""Bars of ratios in the cells of a table, each with a mark at 1."""

from collections.abc import Iterator, Sequence

CELLS = 8
HEADER = "┼ = 1.0"
FULL, HALF, REST = "━", "╾", "─"


def to_one(values: Sequence[float | None]) -> Iterator[str]:
    """A bar for each value on one linear scale from 0, nothing for one that is not known."""
    scale = max([2.0, *(value for value in values if value is not None)]) / CELLS
    mark = min(CELLS - 1, int(1 / scale))
    for value in values:
        yield "" if value is None else _bar(value / scale, mark)


def _bar(length: float, mark: int) -> str:
    halves = round(2 * length)
    cells = [FULL] * (halves // 2) + [HALF] * (halves % 2)
    cells += [REST] * (CELLS - len(cells))
    cells[mark] = {FULL: "┿", HALF: "┽", REST: "┼"}[cells[mark]]
    return "".join(cells)

"""Pools in words: which board timed a case, what boards differ by, and which one is odd."""

from collections.abc import Sequence

from benchbox.analysis.adjusted import Z95
from benchbox.analysis.between_boards import APART
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run
from benchbox.report import formatting
from benchbox.report.table import Column
from benchbox.report.text import listed

MIDDLE = 2  # boards at most of which none is the middle one


def columns(run: Run, records: Sequence[Record]) -> list[Column]:
    """The column of the boards that timed each case, of a run that is those of several."""
    if run.pool is None:
        return []
    names = [run.pool.holders[record.key] for record in records]
    cells = (each[0] if len(each) == 1 else f"{len(each)} boards" for each in names)
    return [Column("board", tuple(cells), text=True, drop=3)]


def sentences(run: Run) -> list[str]:
    """A sentence on each board that differs from the others for sure."""
    if run.pool is None:
        return []
    boards = run.pool.boards
    other = f"the middle one of {len(boards.effects)} boards"
    if len(boards.effects) <= MIDDLE:
        other = min(boards.effects, key=lambda name: boards.effects[name].value, default="")
    return [
        f"{name} takes {_times(effect)} the time of {other}: it differs by more than {APART:.0%}."
        for name, effect in boards.apart.items()
    ]


def _times(effect: Interval) -> str:
    ratio = formatting.ratio(effect.value, formatting.width(effect))
    return f"{ratio} ({formatting.bounds(effect)})"


def notes(run: Run) -> list[str]:
    """The note on what boards of the kind differ by, which intervals have in them."""
    if run.pool is None:
        return []
    boards = run.pool.boards
    wider = f"each interval has ±{Z95 * boards.sd:.1%} for what boards of this kind differ by"
    if odd := [*boards.apart]:
        wider += f", ±{Z95 * boards.odd_sd:.1%} where it is of {listed(odd)}"
    if not boards.cases:
        return [f"{wider}, by experience: no case has an interval on two of them"]
    cases = f"{boards.cases} case{'' if boards.cases == 1 else 's'}"
    ratios = sorted(effect.value for effect in boards.effects.values())
    ends = " to ".join(dict.fromkeys(formatting.ratio(each) for each in (ratios[0], ratios[-1])))
    return [f"{len(ratios)} boards timed {cases} in common, and took {ends}: {wider}"]

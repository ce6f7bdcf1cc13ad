"""Check of a spec's `[match]`: equal multiply-accumulates, before anything is timed."""

from collections.abc import Mapping, Sequence

from benchbox.errors import SpecError
from benchbox.export import Graph
from benchbox.specs import BlockSpec, Case

SHOWN = 3
ROUNDING = 1 + 1e-9  # 1100 is within 10% of 1000, though 1100 / 1000 - 1 > 0.1 in floats


def verify(spec: BlockSpec, cases: Sequence[Case], graphs: Mapping[str, Graph]) -> None:
    """Raise SpecError, with the cases and by how much, unless the spec's `[match]` holds.

    Within each group, multiply-accumulates are compared with those of the first case that has a
    graph; a case whose operators cannot all be counted cannot be compared, which is an error too.
    """
    if spec.match is None:
        return
    first: dict[str, tuple[str, int]] = {}
    wrong = []
    for case in cases:
        if case.key not in graphs:
            continue
        macs = graphs[case.key].cost.known_macs
        if macs is None:
            raise SpecError(
                f"{spec.name}: [match]: {case.name} has operators that cannot be counted"
            )
        name, expected = first.setdefault(case.group, (case.name, macs))
        apart = macs / expected - 1 if expected else float(macs != expected)
        if abs(apart) > spec.match.within * ROUNDING:
            more_or_less = "more" if apart > 0 else "fewer"
            wrong.append(
                f"{case.name} has {abs(apart):.2%} {more_or_less} multiply-accumulates than {name}"
            )
    if wrong:
        more = f" (and {len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
        raise SpecError(
            f"{spec.name}: [match] allows {spec.match.within:.2%}: {'; '.join(wrong[:SHOWN])}{more}"
        )

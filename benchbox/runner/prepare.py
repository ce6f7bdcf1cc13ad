"""Cases and graphs of a run: specs unfolded, exported, and held to their `[match]`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchbox import export
from benchbox.errors import CaseError, UsageError
from benchbox.export import Graph
from benchbox.runner import match
from benchbox.specs import (
    COMPARE,
    BlockSpec,
    Case,
    Selection,
    unfolded,
    with_dtype,
    with_head,
    with_references,
    with_values,
    with_weights,
)
from benchbox.specs.labels import case_name


def unfold(specs: Sequence[BlockSpec], selection: Selection) -> list[Case]:
    """The cases of all specs, each with the first of its group named as its reference.

    Raises UsageError when two of them, or two specs, have one name.
    """
    named: dict[str, BlockSpec] = {}
    for spec in specs:
        if named.setdefault(spec.name, spec).sha256 != spec.sha256:
            raise UsageError(
                f"two different specs are called {spec.name!r}; rename one, or set files beside "
                "each other by benchbox compare"
            )
    cases = unfolded(specs, selection)
    cases = with_head(with_weights(cases, selection.weights), selection.head)
    _require_known(cases, selection)
    dtypes, threads = selection.dtypes, selection.threads
    cases = [
        case.at({"dtype": dtype} if dtype and len(dtypes) > 1 else {})
        for dtype in dtypes or (None,)
        for case in with_dtype(cases, dtype)
    ]
    cases = with_values(cases, selection.values)
    if len(threads) > 1:
        cases = [replace(c, threads=n).at({"threads": n}) for n in threads for c in cases]
    names: set[str] = set()
    for case in cases:
        if case.key in names:
            raise UsageError(f"{case.key} is named twice; give each spec and file once")
        names.add(case.key)
    cases = _compared(cases)
    wanted = [case for case in cases if not selection.keys or case.key in selection.keys]
    return with_references(wanted)  # a run may name one spec twice, narrowed in two ways


def _compared(cases: list[Case]) -> list[Case]:
    """The cases; where a comparison is of one alone, its places on one axis beside each other.

    Raises UsageError for a comparison of a single case.
    """
    if any(case.spec != COMPARE for case in cases) or len({c.group for c in cases}) < len(cases):
        return cases
    axes = list(cases[0].axes)
    if not axes:
        raise UsageError(
            f"{cases[0].name}: a comparison needs two cases; name another one, or several of "
            "--dtype, --threads, --batch, --size or --dim"
        )
    axis = next((each for each in ("dtype", "threads") if each in axes), axes[-1])
    return [
        replace(c, group=case_name({n: at for n, at in c.axes.items() if n != axis})) for c in cases
    ]


def _require_known(cases: Sequence[Case], selection: Selection) -> None:
    """Raise UsageError for a shape of an input that no case has, and for a size of no symbol."""
    inputs = dict.fromkeys(tensor.name for case in cases for tensor in case.inputs)
    for tensor in selection.shapes:
        if tensor.name not in inputs:
            raise UsageError(f"--shape {tensor.name}: the inputs are {', '.join(inputs)}")
    symbols = dict.fromkeys(symbol for case in cases for symbol in case.symbols)
    for name in selection.dims:
        if name not in symbols:
            known = f"the open sizes are {', '.join(symbols)}" if symbols else "no size is open"
            raise UsageError(f"--dim {name}: {known}")


def prepare(
    specs: Sequence[BlockSpec],
    cases: Sequence[Case],
    progress: Callable[[int, int, str], None] = lambda *_: None,
    *,
    timed: bool = True,
) -> dict[str, Graph | CaseError]:
    """Export each case's graph, by case key, or the reason why it has none; every `[match]` holds.

    Raises SpecError for a builder that cannot work, and for a `[match]` that does not hold.
    """
    return matched(specs, cases, export.prepare(cases, progress, timed=timed))


def matched(
    specs: Sequence[BlockSpec], cases: Sequence[Case], outcomes: dict[str, Graph | CaseError]
) -> dict[str, Graph | CaseError]:
    """The outcomes of exports; raises SpecError for a `[match]` that does not hold."""
    graphs = {key: graph for key, graph in outcomes.items() if isinstance(graph, Graph)}
    for spec in once(specs):
        match.verify(spec, [case for case in cases if case.spec == spec.name], graphs)
    return outcomes


def once(specs: Sequence[BlockSpec]) -> list[BlockSpec]:
    """Each spec once: a run may name one twice, narrowed in two ways."""
    return list({spec.name: spec for spec in specs}.values())

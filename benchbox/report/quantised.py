"""Footnotes on quantised graphs: nodes that stayed float32, and cases that int8 made slower."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchbox.analysis.latency import Latency
from benchbox.records import Record
from benchbox.report.formatting import ratio
from benchbox.report.text import by_range
from benchbox.specs import QUANTISED
from benchbox.specs.dtype import QUANTISED_OPERATOR

# They lead from one type to the other, and are named as what they cost.
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
FLOATS = frozenset({"float", "float16", "double"})
BYTES = frozenset({"int8", "uint8"})
FEW = 3  # footnotes of one kind that stand one by one
MOST = 6  # operators that a footnote names
DTYPE = re.compile(r"(?:^|,)dtype=[\w-]+")


def is_quantised(record: Record) -> bool:
    """Whether benchbox quantised the graph of a record."""
    return record.dtype in QUANTISED


def float_nodes(types: Mapping[str, int]) -> Counter[str]:
    """How many nodes of each operator computed in float, in a graph's `operator:type` counts."""
    counts: Counter[str] = Counter()
    for operator, kind, count in _nodes(types):
        if kind in FLOATS and not QUANTISED_OPERATOR.search(operator):
            counts[operator] += count
    return counts


def share_float(record: Record) -> float:
    """The share of a quantised graph's nodes that computed in float."""
    single = float_nodes(record.types or {}).total()
    return single / max(1, single + _integer_nodes(record.types or {}))


def kernels(record: Record) -> str:
    """The note on what computed a quantised graph; empty where all of it are integer kernels."""
    if record.types is None:
        return "whether int8 kernels computed it is not told here"
    floats, integers = float_nodes(record.types), _integer_nodes(record.types)
    if not floats:
        return ""
    names = [f"{name} x {n}" if n > 1 else name for name, n in floats.most_common(MOST)]
    named = ", ".join(names + ["…"] * (len(floats) > MOST))
    if not integers:
        return f"no node ran an int8 kernel, so this is no latency of int8; float32: {named}"
    total = floats.total() + integers
    return f"{integers} of {total} nodes ran int8 kernels; these stayed float32: {named}"


def about(dtypes: Iterable[str]) -> list[str]:
    """A line for each way of quantising among the types of cases."""
    kinds = set(dtypes)
    return [text for dtype, text in QUANTISED.items() if dtype in kinds]


def slower(records: Sequence[Record]) -> list[str]:
    """Lines on quantised cases that take longer than the same case in float32."""
    single = {_bare(each): each.latency for each in records if each.dtype == "float32"}
    times = {}
    for record in filter(is_quantised, records):
        before, after = single.get(_bare(record)), record.latency
        if before and after and _low(after) > (before.ci_high_s or before.p50_s):
            times[record.case] = after.p50_s / before.p50_s
    if len(times) <= FEW:
        slower = {n: f"slower here than float32, {ratio(x)} its p50" for n, x in times.items()}
        names = [record.case for record in records]
        return by_range(names, [slower.get(name, "") for name in names])
    most = max(times, key=times.__getitem__)
    return [
        f"{len(times)} quantised cases are slower here than float32; most of all {most}: "
        f"{ratio(times[most])} its p50"
    ]


def _low(latency: Latency) -> float:
    return latency.ci_low_s or latency.p50_s


def _bare(record: Record) -> tuple[str, str]:
    return record.spec, DTYPE.sub("", record.case)


def _integer_nodes(types: Mapping[str, int]) -> int:
    return sum(
        count
        for operator, kind, count in _nodes(types)
        if operator not in CONVERSIONS and (kind in BYTES or QUANTISED_OPERATOR.search(operator))
    )


def _nodes(types: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    for name, count in types.items():
        operator, _, kind = name.rpartition(":")
        yield operator, kind, count

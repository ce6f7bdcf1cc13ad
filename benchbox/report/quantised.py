"""Footnotes on quantised graphs: nodes that stayed float32, and cases that int8 made slower."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from benchbox.records import Record
from benchbox.report.formatting import ratio
from benchbox.specs import QUANTISED
from benchbox.specs.dtype import QUANTISED_OPERATOR

# They lead from one type to the other, and are named as what they cost.
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
FLOATS = frozenset({"float", "float16", "double"})
BYTES = frozenset({"int8", "uint8"})
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


def slower(records: Sequence[Record]) -> Iterator[str]:
    """A line for every quantised case that takes longer than the same case in float32."""
    single = {_bare(each): each.latency for each in records if each.dtype == "float32"}
    for record in filter(is_quantised, records):
        before, after = single.get(_bare(record)), record.latency
        if before and after and after.p50_s > before.p50_s:
            times = ratio(after.p50_s / before.p50_s)
            yield f"{record.case}: {record.dtype} is slower here, {times} the p50 of float32"


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

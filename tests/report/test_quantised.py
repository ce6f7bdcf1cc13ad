"""Footnotes on what computed a quantised graph, and on cases that int8 made slower."""

from typing import Any

import pytest

from benchbox.report import conditions
from benchbox.report.frame import to_frame
from benchbox.report.tables import setting
from tests.helpers.tables import record, run_of

ALL = {"QuantizeLinear:uint8": 1, "QLinearConv:uint8": 5, "QGemm:float": 1, "Shape:int64": 2}


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (ALL, ""),
        (
            ALL | {"Resize:float": 2, "Softmax:float": 1, "DequantizeLinear:float": 3},
            "6 of 9 nodes ran int8 kernels; these stayed float32: Resize x 2, Softmax",
        ),
        ({"Conv:float": 3}, "no node ran an int8 kernel, so this is no latency of int8; float32: "),
        ({f"Op{n}:float": 1 for n in range(9)} | ALL, "6 of 15 nodes ran int8 kernels; these"),
        (None, "whether int8 kernels computed it is not told here"),
    ],
)
def test_an_int8_figure_names_what_stayed_float32(types: Any, said: str) -> None:
    found = [record({"groups": 1, "scale": 1}, dtype="int8", types=types)]
    run = run_of(found)
    about, *notes = conditions.notes(run.context, found)
    note = notes[0] if notes else ""
    assert about.endswith("so a latency without an accuracy")
    assert note.removeprefix("groups=1,scale=1: ").startswith(said)
    assert note.endswith("…") == (types is not None and len(types) > 10)
    assert said in to_frame([run]).reason[0]
    assert setting(run.context, found).endswith("batch 1, int8")


def test_of_many_cases_the_one_with_the_most_float_nodes_is_named() -> None:
    found = [
        record({"groups": n, "scale": 1}, dtype="int8", types=ALL | {"Resize:float": n + 1})
        for n in range(5)
    ]
    _, note = conditions.notes(run_of(found).context, found)
    assert note.startswith("5 of 5 cases have nodes that stayed float32; most of all groups=4,sc")


NONE: list[str] = []
SLOW = "{},dtype=int8: slower here than float32, 1.50x its p50"


@pytest.mark.parametrize(
    ("times_ms", "notes"),
    [
        ([3.0], [SLOW.format("groups=0")]),
        ([1.0], NONE),
        ([2.004], NONE),  # within the intervals
        ([3.0, 1.0, 3.0], [SLOW.format("groups=0,dtype=int8 and groups=2")]),
        ([3.0, 4.0], [SLOW.format("groups=0,dtype=int8 and groups=1").replace("x", "x to 2.00x")]),
        ([3.0, 5.0, 3.0, 3.0], ["4 quantised cases are slower here than float32; most of all "
                                "groups=1,dtype=int8: 2.50x its p50"]),
    ],
)  # fmt: skip
def test_cases_that_int8_made_slower_are_named(times_ms: list[float], notes: list[str]) -> None:
    found = [
        record({"groups": n, "dtype": dtype}, dtype=type_, types=ALL, p50_ms=ms)
        for n, time_ms in enumerate(times_ms)
        for dtype, type_, ms in (("fp32", "float32", 2.0), ("int8", "int8", time_ms))
    ]
    assert conditions.notes(run_of(found).context, found)[1:] == notes

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox import specs
from benchbox.agent.ort.inputs import DTYPES
from benchbox.api import parsing
from benchbox.errors import UsageError
from benchbox.specs import TensorSpec
from benchbox.specs.model import DType

Parse = Callable[[Any], Any]


def dims(text: str) -> object:
    return parsing.dims([text])


def values(text: str) -> object:
    return parsing.values([text])


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./:=]{0,12}", fullmatch=True)
GOOD: list[tuple[Parse, dict[str | None, Any]]] = [
    (parsing.share, {"1%": 0.01, " 0.5 % ": 0.005, "0.01": 0.01, ".05": 0.05, "99%": 0.99}),
    (parsing.percentiles, {None: (), "99": (99.0,), "99.9, 50,90": (50.0, 90.0, 99.9)}),
    (parsing.batches, {None: (), "8": (8,), "1,8": (1, 8), " 8, 1 ": (8, 1)}),
    (parsing.seconds, {"90s": 90, "90": 90, "5m": 300, "1.5h": 5400, "250ms": 0.25, " .5 m ": 30}),
    (parsing.budget, {"33ms": 0.033, " 1.5 s ": 1.5, ".5ms": 0.0005}),
    (parsing.since, {"2026-11-01": datetime(2026, 11, 1, tzinfo=UTC)}),
    (parsing.since, {"2026-11-01T02:00+02:00": datetime(2026, 11, 1, tzinfo=UTC)}),
    (parsing.cpus, {"0": (0,), "3,1": (3, 1), "4-5,0-1": (4, 5, 0, 1), " 0 , 7-7 ": (0, 7)}),
    (parsing.processors, {None: [()], "0,2-3": [(0, 2, 3)], "big": ["big"]}),
    (parsing.processors, {" little , middle,big": ["little", "middle", "big"]}),
    (parsing.one_choice, {None: (), "little": "little", "1": (1,)}),
    (
        specs.shape,
        {
            "ids=1x128:int64": TensorSpec("ids", (1, 128), "int64"),
            "k=scalar": TensorSpec("k", ()),
            "k=scalar:bool": TensorSpec("k", (), "bool"),
            "serving:0=1x2": TensorSpec("serving:0", (1, 2)),
            "a=b=1x2": TensorSpec("a=b", (1, 2)),
            " x=1 ": TensorSpec("x", (1,)),
        },
    ),
    (dims, {"seq=128": {"seq": (128,)}, "a=b = 1,8": {"a=b": (1, 8)}}),
]
SHARE = "--precision {}: write a share such as 1%"
PERCENTILES = "--percentiles {}: write each once, from 50 to 99.9, as in 90,99"
BATCH = "--batch {}: write images in one call"
SECONDS = "--max-time {}: write it as 90s, 5m or 1h"
BUDGET = "--budget {}: write it as 33ms or 1.5s"
SINCE = "--since {}: write it as 12h, 30d, 8w or 2026-11-01"
CPUS = "--cpus {}: write processors as 0,1 or 0-3"
MIXED = "--cpus {}: write clusters as big,little or processors as 0,1"
SHAPE = "--shape {}: write name=1x3x224x224"
BAD: list[tuple[Parse, str, list[str]]] = [
    (parsing.share, SHARE, ["", "%", "0%", "100%", "1", "-1%", "1%%", "nan", "1,5%", "9" * 400]),
    (parsing.percentiles, PERCENTILES, ["", "0", "49.9", "100", "99.99", "p99", "99%", "90,90"]),
    (parsing.budget, BUDGET, ["", "33", "ms", "-1ms", "1m", "1e3ms", "33 msec", "inf"]),
    (parsing.since, SINCE, ["", "30", "d", "-1d", "1y", "2026-13-01", "yesterday", "9" * 9 + "h"]),
    (parsing.batches, BATCH, ["", "0", "1,", ",1", "1,,8", "-1", "1.5", "1 8", "x", "9" * 99]),
    (parsing.batches, "--batch {}: name each batch once", ["1,1", "8,1,08"]),
    (parsing.seconds, SECONDS, ["", "s", "0s", "-5s", "5 minutes", "1d", "1h30m", "inf"]),
    (parsing.cpus, CPUS, ["", ",", "0,", "a", "-1", "0-", "0..3", "1.5", "0 1", "1-2-3", "²"]),
    (parsing.cpus, CPUS, ["99999", "0x1"]),
    (parsing.cpus, "--cpus {}: name each processor once", ["0,0", "0-3,2"]),
    (parsing.cpus, "--cpus {}: write 3-1 the other way", ["3-1", "0,3-1", " 3-1 ,0"]),
    (parsing.processors, MIXED, ["big,0", "0,big", "big,big", "big,", "big little,big", "big,BIG"]),
    (parsing.processors, CPUS + ", or big, middle or little", ["bigg", "Big", "gold,silver"]),
    (parsing.one_choice, "--cpus {}: choose one cluster here", ["big,little"]),
    (specs.shape, SHAPE, ["", "x", "x=", "=1x3", "1x3", "x=1x", "x=ax3", "x=-1x3", "x=1 x 3"]),
    (specs.shape, SHAPE, ["x=1,3", "x=1x3:"]),
    (specs.shape, "--shape {}: a size must be positive", ["x=1x0x3"]),
    (dims, "--dim {}: write NAME=SIZE", ["", "seq", "seq=", "=8", "seq=0", "seq=a", "seq=1,"]),
    (dims, "--dim {}: name each", ["seq=8,8"]),
    (values, "--input {}: write NAME=FILE.npy, or NAME=NUMBER", ["", "x", "x=", "=1"]),
    (specs.shape, "--shape {}: flaot32 is none of float16, float32", ["x=1x3:flaot32"]),
]


@pytest.mark.parametrize(("parse", "values"), GOOD)
def test_text_becomes_a_value(parse: Parse, values: dict[str | None, Any]) -> None:
    for text, value in values.items():
        found = parse(text)
        assert found == (pytest.approx(value) if isinstance(value, float | int) else value), text


@pytest.mark.parametrize(("parse", "message", "texts"), BAD)
def test_wrong_text_is_refused_with_advice(parse: Parse, message: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(UsageError, match="^" + re.escape(message.format(text))):
            parse(text)


@given(st.lists(st.integers(0, 9999), min_size=1, max_size=9, unique=True))
def test_a_printed_list_of_processors_is_read_back(numbers: list[int]) -> None:
    assert parsing.cpus(",".join(map(str, numbers))) == tuple(numbers)


@given(names, st.lists(st.integers(1, 10**6), max_size=5), st.sampled_from(DTYPES))
def test_a_printed_input_is_read_back(name: str, sizes: list[int], dtype: str) -> None:
    tensor = TensorSpec(name, tuple(sizes), dtype)
    assert specs.shape(str(tensor)) == tensor


@pytest.mark.parametrize(
    "parse",
    [
        *(parsing.share, parsing.seconds, specs.shape, parsing.cpus, parsing.processors),
        *(parsing.since, parsing.budget),
    ],
)
@given(text=st.text(max_size=12))
def test_any_other_text_is_a_usage_error(parse: Parse, text: str) -> None:
    try:
        parse(text)
    except UsageError as error:
        assert error.exit_code == 2


def test_every_type_that_may_be_asked_for_can_be_filled_by_the_agent() -> None:
    assert sorted(get_args(DType)) == sorted(DTYPES)


def test_sizes_of_a_symbol_add_up() -> None:
    assert parsing.dims(["seq=64", "n=1", "seq=128,256"]) == {"seq": (64, 128, 256), "n": (1,)}
    with pytest.raises(UsageError, match="name each size of a symbol once"):
        parsing.dims(["seq=64", "seq=64"])

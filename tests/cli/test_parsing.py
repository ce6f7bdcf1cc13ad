import re
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.agent.ort.inputs import DTYPES
from benchbox.cli import parsing
from benchbox.devices.registry import Processors
from benchbox.errors import UsageError
from benchbox.specs import TensorSpec
from benchbox.specs.model import DType

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./:=]{0,12}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1%", 0.01), ("0.5%", 0.005), (" 2 % ", 0.02), ("0.01", 0.01), (".05", 0.05), ("99%", 0.99)],
)
def test_a_share_is_a_percentage_or_a_fraction(text: str, value: float) -> None:
    assert parsing.share(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "%", "0", "0%", "100%", "1", "1.5", "-1%", "1%%", "one", "nan", "1,5%", "9" * 400]
)
def test_what_is_no_share_says_how_to_write_one(text: str) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"--precision {text}: write a share such as 1%")
    ):
        parsing.share(text)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, ()), ("8", (8,)), ("1,8", (1, 8)), (" 8, 1 ", (8, 1))]
)
def test_batches_are_numbers_in_the_order_given(text: str | None, expected: object) -> None:
    assert parsing.batches(text) == expected


@pytest.mark.parametrize("text", ["", "0", "1,", ",1", "1,,8", "-1", "1.5", "1 8", "x", "9" * 99])
def test_what_is_no_batch_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--batch {text}: write images in one call")):
        parsing.batches(text)


@pytest.mark.parametrize("text", ["1,1", "8,1,08"])
def test_each_batch_is_named_once(text: str) -> None:
    with pytest.raises(UsageError, match="name each batch once"):
        parsing.batches(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", 90),
        ("90", 90),
        ("5m", 300),
        ("1h", 3600),
        ("1.5h", 5400),
        ("250ms", 0.25),
        (" 2 s ", 2),
        (".5m", 30),
    ],
)
def test_a_time_has_a_unit_or_is_in_seconds(text: str, value: float) -> None:
    assert parsing.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-5s", "5 minutes", "1d", "1h30m", "inf"])
def test_what_is_no_time_says_how_to_write_one(text: str) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"--max-time {text}: write it as 90s, 5m or 1h")
    ):
        parsing.seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0,)),
        ("0,1", (0, 1)),
        ("3,1", (3, 1)),
        ("0-3", (0, 1, 2, 3)),
        ("0,2-3", (0, 2, 3)),
        ("4-5,0-1", (4, 5, 0, 1)),
        (" 0 , 2 ", (0, 2)),
        ("7-7", (7,)),
        ("4095", (4095,)),
    ],
)
def test_processors_are_numbers_and_ranges_in_the_order_given(
    text: str, expected: tuple[int, ...]
) -> None:
    assert parsing.cpus(text) == expected


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "a", "-1", "0-", "0..3", "1.5", "0 1", "0x1", "1-2-3", "99999", "²"]
)
def test_what_is_no_list_of_processors_says_how_to_write_one(text: str) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"--cpus {text}: write processors as 0,1 or 0-3")
    ):
        parsing.cpus(text)


@pytest.mark.parametrize("text", ["0,0", "0-3,2", "1-1,1"])
def test_each_processor_is_named_once(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--cpus {text}: name each processor once")):
        parsing.cpus(text)


@pytest.mark.parametrize("text", ["3-1", "0,3-1", " 3-1 ,0"])
def test_a_range_that_runs_backwards_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--cpus {text}: write 3-1 the other way")):
        parsing.cpus(text)


@given(st.lists(st.integers(0, 9999), min_size=1, max_size=9, unique=True))
def test_processors_are_read_back_from_a_list(numbers: list[int]) -> None:
    assert parsing.cpus(",".join(map(str, numbers))) == tuple(numbers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [()]),
        ("0,2-3", [(0, 2, 3)]),
        ("big", ["big"]),
        ("big,little", ["big", "little"]),
        (" little , middle,big", ["little", "middle", "big"]),
    ],
)
def test_processors_are_asked_for_at_once_and_clusters_one_after_the_other(
    text: str | None, expected: list[Processors]
) -> None:
    assert parsing.processors(text) == expected


@pytest.mark.parametrize("text", ["big,0", "0,big", "big,big", "big,", "big little,big", "big,BIG"])
def test_clusters_are_named_once_and_not_beside_processors(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsing.processors(text)
    assert str(caught.value) == (
        f"--cpus {text}: write clusters as big,little or processors as 0,1"
    )


@pytest.mark.parametrize("text", ["bigg", "Big", "medium", "first", "all", "gold,silver"])
def test_what_is_no_cluster_says_which_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsing.processors(text)
    assert str(caught.value) == (
        f"--cpus {text}: write processors as 0,1 or 0-3, or big, middle or little"
    )


@pytest.mark.parametrize(("text", "expected"), [(None, ()), ("little", "little"), ("1", (1,))])
def test_where_there_is_one_run_only_one_cluster_is_asked_for(
    text: str | None, expected: Processors
) -> None:
    assert parsing.one_choice(text) == expected
    with pytest.raises(UsageError, match=r"^--cpus big,little: choose one cluster here$"):
        parsing.one_choice("big,little")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=1x3x224x224", TensorSpec("x", (1, 3, 224, 224))),
        ("ids=1x128:int64", TensorSpec("ids", (1, 128), "int64")),
        ("n=7", TensorSpec("n", (7,))),
        ("k=scalar", TensorSpec("k", ())),
        ("k=scalar:bool", TensorSpec("k", (), "bool")),
        ("serving:0=1x2", TensorSpec("serving:0", (1, 2))),
        ("a=b=1x2", TensorSpec("a=b", (1, 2))),
        (" x=1 ", TensorSpec("x", (1,))),
    ],
)
def test_a_shape_names_an_input_its_sizes_and_its_dtype(text: str, expected: TensorSpec) -> None:
    assert parsing.shape(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "x=", "=1x3", "1x3", "x=1x", "x=ax3", "x=1,3", "x=-1x3", "x=1x3:", "x=1 x 3"]
)
def test_what_is_no_shape_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--shape {text}: write name=1x3x224x224")):
        parsing.shape(text)


def test_a_size_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--shape x=1x0x3: a size must be positive$"):
        parsing.shape("x=1x0x3")


@given(names, st.lists(st.integers(1, 10**6), max_size=5), st.sampled_from(DTYPES))
def test_an_input_is_read_back_from_how_it_is_printed(
    name: str, sizes: list[int], dtype: str
) -> None:
    tensor = TensorSpec(name, tuple(sizes), dtype)
    assert parsing.shape(str(tensor)) == tensor


@pytest.mark.parametrize(
    "parse",
    [parsing.share, parsing.seconds, parsing.shape, parsing.cpus, parsing.processors],
)
@given(text=st.text(max_size=12))
def test_any_other_text_is_a_usage_error(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except UsageError as error:
        assert error.exit_code == 2


def test_the_types_that_may_be_asked_for_are_those_the_agent_can_fill() -> None:
    assert sorted(get_args(DType)) == sorted(DTYPES)


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="flaot32 is none of float16, float32"):
        parsing.shape("x=1x3:flaot32")

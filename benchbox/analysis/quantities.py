"""Quantities of records and replies: finite numbers within what anything measured can be."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from pydantic import ValidationError

Schema = dict[str, object]
LARGEST = (1 << 63) - 1  # fits the 64 bits in which comparing is fast
SMALLEST, YEAR_S = 1e-9, 366 * 86_400.0  # share and time that can be asked for


class Limits:
    """Limits of a value, for pydantic to ask for: whoever reads nothing starts without that."""

    def __init__(self, **limits: float | str) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, kind: type, schema: Callable[[type], Schema]) -> Schema:
        """What pydantic checks a value by."""
        return {**schema(kind), "strict": True, **self.limits}


Count = Annotated[int, Limits(ge=0, lt=LARGEST)]
Whole = Annotated[int, Limits()]  # of many: whoever has them checks their limits
Some = Annotated[int, Limits(ge=1, lt=1 << 31)]
Change = Annotated[int, Limits(gt=-LARGEST, lt=LARGEST)]
Number = Annotated[float, Limits(gt=-LARGEST, lt=LARGEST)]
Amount = Annotated[float, Limits(ge=0, lt=LARGEST)]
Ratio = Annotated[float, Limits(ge=1e-12, lt=LARGEST)]  # what may be divided by
Share = Annotated[float, Limits(ge=0, le=1)]
Seconds = Annotated[float, Limits(ge=1e-12, lt=1e8)]  # three years
Nanoseconds = Annotated[int, Limits(ge=1, lt=10**17)]
Flag = Annotated[bool, Limits()]
Reading = Change | Number  # of a counter
LONGEST_NAME = 100  # characters
# What pydantic adds to a location for each branch of a union.
BRANCHES = ("constrained-int", "constrained-float", "int", "float", "str", "bool", "list", "dict")


def wrong_field(error: "ValidationError") -> str:
    """The name of the first field that is missing or wrong, empty where the whole is."""
    first = error.errors(include_url=False, include_input=False)[0]
    # A check of a whole, as of `Burst`, raises the name of the part.
    part = [first["ctx"]["error"]] if first["type"] == "value_error" else []
    names = [str(each) for each in (*first["loc"], *part) if each not in BRANCHES]
    return ".".join(names)[:LONGEST_NAME]

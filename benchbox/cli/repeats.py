"""Options that are repeated: one with a list adds to it; of any other the last one counts."""

from collections.abc import Sequence
from typing import Any


def add_up(parser: Any) -> Any:  # noqa: ANN401 - the type is Typer's own vendored one
    """Have a parser of options add `--batch 1 --batch 8` up to `--batch 1,8`.

    An option takes a list if the word for its value has a comma.
    """
    for option in parser._long_opt.values():
        if option.action == "store":
            option.action = "append"
    parse = parser.parse_args

    def parse_args(args: list[str]) -> tuple[dict[str, Any], list[str], list[Any]]:
        values, rest, order = parse(args)
        for option in {id(each): each for each in order}.values():
            if option.param_type_name == "option" and not (option.multiple or option.is_flag):
                values[option.name] = _one(option, values[option.name])
        return values, rest, order

    parser.parse_args = parse_args
    return parser


def _one(option: Any, values: Sequence[Any]) -> Any:  # noqa: ANN401
    """The value of an option by what was typed for it, in order."""
    return ",".join(values) if "," in (option.metavar or "") else values[-1]

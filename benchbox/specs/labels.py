"""Labels of cases: as they are typed, printed, and listed in messages."""

from collections.abc import Mapping, Sequence

from benchbox.networks.catalogue import Scalar

SHOWN = 8  # values of a label in a message


def label_text(value: Scalar | None) -> str:
    """Format a label as it is printed and typed: yes and no for booleans, as in the papers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "" if value is None else str(value)


def case_name(labels: Mapping[str, Scalar]) -> str:
    """Return the name that labels give a case: `groups=8,scale=1`."""
    return ",".join(f"{key}={label_text(value)}" for key, value in labels.items())


def is_typed(value: Scalar | None, text: str) -> bool:
    """Whether a label equals the typed text: 1 is 1.0."""
    if label_text(value) == text:
        return True
    try:
        return not isinstance(value, str | bool | None) and float(value) == float(text)
    except ValueError:
        return False


def available(found: Sequence[Mapping[str, Scalar]], keys: Sequence[str]) -> str:
    """List the values of the labels `keys`, or all labels where one of `keys` is none."""
    names = list(dict.fromkeys(name for labels in found for name in labels))
    if unknown := [key for key in keys if key not in names]:
        return f"it has no {unknown[0]}, but {', '.join(names) or 'no labels'}"
    parts = []
    for key in keys:
        values = list(dict.fromkeys(label_text(labels.get(key)) for labels in found))
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        parts.append(f"{key} is {', '.join(values[:SHOWN])}{more}")
    return "; ".join(parts)


def requested(wanted: Mapping[str, str], scales: tuple[str, ...]) -> str:
    """Format a selection: `groups=8, scale 1 or 2`."""
    parts = [f"{key}={text}" for key, text in wanted.items()]
    if scales:
        parts.append(f"scale {' or '.join(scales)}")
    return ", ".join(parts) or "anything to time"

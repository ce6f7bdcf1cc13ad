"""Line of text from outside, as a terminal may show it: nothing in it moves, hides or ends it."""

import re
from collections.abc import Callable

# Nothing to see, though `str.isprintable` takes them for characters like others.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0]"
)


def one_line(words: str) -> str:
    """The text as one line: breaks become spaces, other control characters are spelled."""
    if words.isascii() and words.isprintable() and "  " not in words and words.strip() == words:
        return words  # as most are, of the ten thousand in a list
    return visible(" ".join(words.split()))


def visible(text: str, spell: Callable[[str], str] = ascii) -> str:
    """The text with control characters spelled, those for directions and widths too.

    `spell` writes one character, in quotes.
    """
    if text.isprintable() and not INVISIBLE.search(text):
        return text
    return "".join(c if _is_visible(c) else spell(c)[1:-1] for c in text)


def _is_visible(character: str) -> bool:
    return character == "\n" or (character.isprintable() and not INVISIBLE.match(character))

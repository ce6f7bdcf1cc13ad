"""Cause of an error in a user's module: what was raised first, with the file and line it is of."""

import re
import traceback
from pathlib import Path

from benchbox.agent import stdio
from benchbox.agent.ort import messages
from benchbox.export.source_digest import is_library

LONGEST = 300  # characters; what an exporter adds on how to export fills pages
PLACE = re.compile(r'File "([^"]+)", line (\d+)')


def cause(error: BaseException) -> str:
    """An error as one line, by the one that caused it.

    An exporter wraps what a module raised in advice of its own, and traces it by copies of its
    code, whose messages name the lines that they were made of.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    first = re.split(r"\n\s*\n", str(error).strip(), maxsplit=1)[0]
    if "[ONNXRuntimeError]" in first:
        return stdio.sentence(error)
    text = f"{type(error).__name__}: {messages.plain(first)}"
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [*frames, *PLACE.findall(str(error))]
    own = [f"{Path(file).name}:{line}" for file, line in places if _is_users(Path(file))]
    return f"{text} ({own[-1]})" if own and not isinstance(error, SyntaxError) else text


def _is_users(file: Path) -> bool:
    return file.is_file() and not is_library(file)

"""Errors that benchbox raises on purpose, and the exit code of each.

BenchboxError          one line: what is wrong, where, what to do
+-- UsageError         2   the command line or a file it names is wrong
|   +-- SpecError      2   a spec: unknown name, bad TOML, broken builder, [match] violated
|   +-- GraphError     2   an .onnx file that is corrupt or cannot be fed
|   +-- OpenSizesError 2   inputs whose sizes nobody gave
|   +-- RecordError    2   a record file that is broken, in use, or of a newer schema
+-- CaseError          1   one case cannot be exported, loaded or timed; it becomes a failed row
|   +-- AgentError     1   the agent process died, hung or spoke nonsense while it worked on a case
|   +-- FullError      1   a GPU's memory is full; alone the case may fit
+-- DeviceError        6   the device is not there, or not what it is said to be
+-- StorageError       1   results or cache cannot be written
"""

from collections.abc import Sequence
from typing import ClassVar


class BenchboxError(Exception):
    """One line that says what is wrong, where, and what to do; `exit_code` ends the command."""

    exit_code: ClassVar[int] = 1


class UsageError(BenchboxError):
    """The command line, or a file that it names, is wrong."""

    exit_code = 2


class SpecError(UsageError):
    """A spec that cannot be found, read or built, or whose `[match]` does not hold."""


class GraphError(UsageError):
    """An .onnx file that is corrupt, or whose inputs cannot be made."""


class OpenSizesError(UsageError):
    """Inputs whose sizes nobody gave, in `what`, and the `options` that would give them."""

    def __init__(self, what: Sequence[str], options: Sequence[str]) -> None:
        self.what, self.options = list(what), list(dict.fromkeys(options))
        super().__init__(f"{'; '.join(self.what)}: give {' '.join(self.options)}")


class RecordError(UsageError):
    """Runs that are not there, in use, or not what is asked for."""


class BrokenRecordError(RecordError):
    """A record file that is damaged, or of a newer schema: no fault of the command line."""

    exit_code = 1


class CaseError(BenchboxError):
    """One case cannot be exported, loaded or timed; the others go on."""


class AgentError(CaseError):
    """The agent process died, hung or spoke nonsense."""


class FullError(CaseError):
    """A GPU's memory is full of what is loaded there, and of this case."""


class DeviceError(BenchboxError):
    """The device is not there, or not what it is said to be."""

    exit_code = 6


class TooMuchError(DeviceError):
    """More is asked of a device than it has."""

    exit_code = 2


class StorageError(BenchboxError):
    """Results or cache cannot be written."""

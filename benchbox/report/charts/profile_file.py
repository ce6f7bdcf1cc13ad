"""Profile as `benchbox profile --export-json` wrote it: what charts need of it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from benchbox import host
from benchbox.analysis.quantities import Share
from benchbox.errors import UsageError

OPTION = "--with-profile"


class SavedPart(BaseModel):
    """A part of a graph, by one of three names, with its shares; None where not known."""

    category: str = ""
    module: str = ""
    operator: str = ""
    time_share: Share | None
    macs_share: Share | None
    memory_share: Share | None


class SavedCase(BaseModel):
    """A profiled case; one that failed has no parts."""

    case: str
    categories: list[SavedPart] = []
    modules: list[SavedPart] = []
    operators: list[SavedPart] = []


class SavedProfile(BaseModel):
    """The profiled cases of a command."""

    profiles: list[SavedCase]

    @property
    def by(self) -> Literal["module", "operator", "category"]:
        """What it was divided by beside the categories, which it always has."""
        if any(case.modules for case in self.profiles):
            return "module"
        return "operator" if any(case.operators for case in self.profiles) else "category"


def read(path: Path) -> SavedProfile:
    """Read a profile; raises UsageError for another file."""
    try:
        return TypeAdapter(SavedProfile).validate_json(host.read_file(path))
    except OSError as error:
        raise UsageError(f"{OPTION} {path}: cannot be read: {error.strerror}") from None
    except ValidationError:
        what = "`benchbox profile --export-json` writes one"
        raise UsageError(f"{OPTION} {path}: not a profile; {what}") from None

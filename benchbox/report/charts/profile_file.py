"""Profile as `benchbox profile --export-json` wrote it: what charts need of it."""

from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from benchbox import host
from benchbox.errors import UsageError
from benchbox.records.profile import CaseProfile

OPTION = "--with-profile"


class SavedProfile(BaseModel):
    """The profiled cases of a command."""

    profiles: list[CaseProfile]


def read(path: Path) -> SavedProfile:
    """Read a profile; raises UsageError for another file."""
    try:
        return TypeAdapter(SavedProfile).validate_json(host.read_file(path))
    except OSError as error:
        raise UsageError(f"{OPTION} {path}: cannot be read: {error.strerror}") from None
    except ValidationError:
        what = "`benchbox profile --export-json` writes one"
        raise UsageError(f"{OPTION} {path}: not a profile; {what}") from None

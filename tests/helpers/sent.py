"""Programs that boards are sent, with one of their constants changed."""

import pytest

from benchbox.transports.board import commands


def change(monkeypatch: pytest.MonkeyPatch, program: str, old: str, new: str) -> None:
    """Have `program` sent with `new` in the place of `old`, which it must have once."""
    script = commands.script
    assert script(program).count(old.encode()) == 1, f"{program} has no {old!r}"

    def changed(name: str) -> bytes:
        text = script(name)
        return text.replace(old.encode(), new.encode()) if name == program else text

    monkeypatch.setattr(commands, "script", changed)

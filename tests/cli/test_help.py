"""The help of the commands, and the options that commands share."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from benchbox.cli.app import app
from tests.helpers.command import invoke

PANELS = ["What to run", "Where", "How long", "GPU", "Output", "Examples"]


def commands(
    group: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in (group or typer.main.get_command(app)).commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


ALL = dict(commands())


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_fits_two_screens_and_names_every_option(
    monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) <= 58  # 29 on each
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(" ".join(["Usage: benchbox", *path, "[OPTIONS]"]))
    for parameter in ALL[path].params if path else ():
        assert parameter.help or parameter.name == "name", parameter.name
        assert all(
            f"{option} " in result.stdout for option in parameter.opts[:1] if option[0] == "-"
        )


@pytest.mark.parametrize("name", ["run", "compare"])
def test_options_stand_in_panels_with_examples_variables_and_exit_codes(name: str) -> None:
    lines = invoke(name, "--help").stdout.splitlines()
    assert [line.split(" ─")[0] for line in lines if "──" in line] == PANELS
    assert sum(line.startswith(f"  benchbox {name} ") for line in lines) == 3
    assert lines[-1].startswith("Exit codes: ")
    assert "BENCHBOX_RESULTS" in invoke("report", "--help").stdout


def test_run_and_compare_share_all_options_but_their_own() -> None:
    run, compare = ({p.name: p for p in ALL[name,].params} for name in ("run", "compare"))
    assert run.keys() - compare.keys() == {
        *("arrival", "sustained", "baseline", "baseline_graphs", "baseline_rev")
    }
    assert compare.keys() - run.keys() == {"margin"}
    for name in run.keys() & compare.keys():
        of_both = [(p.opts, p.default, p.envvar, p.help) for p in (run[name], compare[name])]
        assert of_both[0] == of_both[1], name

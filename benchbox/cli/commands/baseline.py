"""Commands of `benchbox baseline`: figures of runs under names that a repository can hold."""

from pathlib import Path
from typing import Annotated

import typer

from benchbox.cli.choices import complete_baselines, complete_runs
from benchbox.cli.help import HelpCommand, HelpGroup
from benchbox.cli.options.recorded import Results

app = typer.Typer(
    cls=HelpGroup, no_args_is_help=True, help="Keep figures that `run --baseline` is set beside."
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="such as main, or a .jsonl file", autocompletion=complete_baselines
    ),
]


@app.command("set", cls=HelpCommand)
def set_(
    name: Name,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="name or file of a recorded run", autocompletion=complete_runs
        ),
    ],
    results: Results = Path("results"),
) -> None:
    """Keep the figures of a run in baselines/NAME.jsonl, beside those of other machines."""
    from benchbox.cli import baseline_actions

    baseline_actions.keep(name, run, results)


@app.command("list", cls=HelpCommand)
def list_() -> None:
    """List the baselines: what they hold, of which machines and when."""
    from benchbox.cli import baseline_actions

    baseline_actions.show()


@app.command("remove", cls=HelpCommand)
def remove(name: Name) -> None:
    """Remove a baseline's file."""
    from benchbox.cli import baseline_actions

    baseline_actions.remove(name)

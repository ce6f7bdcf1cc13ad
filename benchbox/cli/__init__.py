"""The `benchbox` command: the only place that reads arguments, prints, or ends the process."""

from benchbox.cli.exits import INTERRUPTED


def main() -> None:
    """Run the command line."""
    try:
        from benchbox.cli.app import app
    except KeyboardInterrupt:  # while modules load, before any command handles it
        raise SystemExit(INTERRUPTED) from None
    app(prog_name="benchbox")

"""The `benchbox` command: the only place that reads arguments, prints, or ends the process."""


def main() -> None:
    """Run the command line."""
    from benchbox.cli.app import app

    app(prog_name="benchbox")

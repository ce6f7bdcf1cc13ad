"""`python -m benchbox` is the `benchbox` command."""

from benchbox.cli import main

main()

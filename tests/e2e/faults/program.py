"""The command as a process, with agents whose figures tell which bytes were timed."""

from benchbox.cli import main, run
from tests.e2e.faults import truth

if __name__ == "__main__":
    run.open_agent = truth.open_agent  # type: ignore[assignment]  # it takes any progress
    main()

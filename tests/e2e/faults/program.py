"""The command as a process, with agents whose figures tell which bytes were timed."""

from benchbox.api import job
from benchbox.cli import main
from tests.e2e.faults import truth

if __name__ == "__main__":
    job.open_agent = truth.open_agent  # type: ignore[assignment]  # it takes any progress
    main()

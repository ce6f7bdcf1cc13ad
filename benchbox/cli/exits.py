"""Exit codes of the commands; usage errors (2) and devices (6) carry theirs in `errors`."""

CASE_FAILED = 1
OVER_LIMIT = 3  # of --fail-on
UNCLEAR = 4  # only with --strict
IMPRECISE = 5  # only with --strict
INTERRUPTED = 130
READER_GONE = 141  # where all else went well

"""The lock on who times on a phone without Python, as scripts for its shell."""

BUSY_S = 5  # that the lock of a link which was lost, or of a run between two runners, may stay
# Shells keep what `exec` opens from their programs unless it is handed on; a phone may lack flock.
LOCKED = "{ ! command -v flock >/dev/null || flock -n 9 9<&9; }"


def holding(folder: str) -> str:
    """Return a script that holds the lock on a folder until its input ends.

    It says `{"held": true}` once it has it, or false where another keeps it for BUSY_S. Who has it
    is alone there, and removes what a program that was killed has left; without flock nobody is.
    """
    refused = "{ echo '{\"held\": false}'; exit; }"
    waiting = f"until {LOCKED}; do [ $n -lt {BUSY_S} ] || {refused}; n=$((n + 1)); sleep 1; done"
    swept = f"! command -v flock >/dev/null || rm -rf {folder}/new-* {folder}/agent-*"
    kept = f"{swept}; echo '{{\"held\": true}}'; while read -r n; do :; done"
    return f"exec 9< {folder}; n=0; {waiting}; {kept}"


def asking(folder: str) -> str:
    """Return a script that prints something where another has the lock on a folder."""
    return f"exec 9< {folder} || exit 0; {LOCKED} || echo busy"

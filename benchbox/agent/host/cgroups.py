"""Control groups of this process, as folders."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

PLACES = ("", "unified")  # of the second version's tree, alone and beside the first version's


def folders(proc: Path, system: Path) -> list[Path]:
    """Return the folders that limit this process's processor time, its own first, then outwards.

    In a container the tree may begin at the container's own group, whatever its path is outside;
    then that is the only one. Empty where there are no control groups.
    """
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text(errors="replace").splitlines():
            number, _, rest = line.partition(":")
            controllers, colon, path = rest.partition(":")
            if colon:
                for root in _roots(system / "fs/cgroup", number, controllers):
                    found += _upwards(root, path)
    return list(dict.fromkeys(found))


def _roots(mount: Path, number: str, controllers: str) -> list[Path]:
    if number == "0" and not controllers:
        return [mount / place for place in PLACES]
    return [mount / controllers] if "cpu" in controllers.split(",") else []


def _upwards(root: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    own = root.joinpath(*parts)
    if ".." in parts or not own.is_dir():
        own = root
    for folder in (own, *own.parents):
        if (folder / "cpu.stat").is_file():
            yield folder
        if folder == root:
            return

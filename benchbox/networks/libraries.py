"""Names of torchvision's and timm's networks, where these are installed: `timm:resnet18`.

A library is asked once for each of its versions, in a process of its own: it takes seconds to
import. Nothing here imports torch.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

import benchbox
from benchbox import host
from benchbox.errors import SpecError
from benchbox.networks import catalogue
from benchbox.networks.catalogue import Image, Network

NAMES = ("torchvision", "timm")
MODELS = "benchbox.networks.library_models"
ASKED_S = 300.0
CUTOFF = 0.6  # of a name that is like another one


def find(name: str) -> Network | None:
    """Return the network that `timm:resnet18` means, None for a name that is of no library.

    Raises SpecError for a library that is not installed, and for a name that it does not have.
    """
    library, _, own = name.partition(":")
    if library not in NAMES or not own:
        return None
    if own not in names(library):
        meant = catalogue.meant(near(own) or near(own, 0.4))
        raise SpecError(f"unknown network {name!r}{meant}")
    return Network(name, f"{MODELS}:{library}", {"name": own}, image=_image(library, own), stride=1)


def names(library: str) -> list[str]:
    """Return the names that an installed library has; raises SpecError for one that is not."""
    return [str(name) for name in _asked(library)]


def near(name: str, cutoff: float = CUTOFF) -> list[str]:
    """Return the names of installed libraries that are most like this one."""
    found = []
    for library in filter(is_installed, NAMES):
        close = get_close_matches(name, names(library), n=1, cutoff=cutoff)
        found += [f"{library}:{each}" for each in close]
    return found


def complete(begun: str) -> Iterator[str]:
    """Yield the names that begin so; only the libraries' own until one of them is typed."""
    library, colon, own = begun.partition(":")
    if not colon:
        yield from (f"{each}:" for each in NAMES if each.startswith(begun) and is_installed(each))
    elif library in NAMES and is_installed(library):
        yield from (f"{library}:{each}" for each in names(library) if each.startswith(own))


def is_installed(library: str) -> bool:
    """Whether a library can be imported, as far as can be known without doing it."""
    return _origin(library) is not None


def identity(library: str) -> str:
    """Return what tells one version of a library from another."""
    origin = _origin(library)
    if origin is None:
        raise SpecError(f"{library} is not installed: pip install {library}")
    try:
        return f"{origin} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return f"{origin} {host.sha256(origin)}"


def _origin(library: str) -> Path | None:
    spec = PathFinder.find_spec(library, [*sys.path, str(Path.cwd())])
    return Path(spec.origin) if spec and spec.origin else None


def _image(library: str, name: str) -> Image:
    """Return the size that a network's own default configuration names."""
    return tuple(int(size) for size in _asked(library, name))


def _asked(library: str, *name: str) -> Sequence[str | int]:
    """Return what a library said of its names, or of the image of one: now, or once before."""
    digest = hashlib.sha256(json.dumps([identity(library), name]).encode()).hexdigest()
    kept = host.cache_folder() / "libraries" / f"{digest[:32]}.json"
    try:
        found = json.loads(host.read_file(kept, host.CACHED_MB))
    except (OSError, ValueError):
        found = _ask(library, *name)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            host.write(kept, json.dumps(found))
        except OSError:
            pass  # it is asked again the next time
    return found if isinstance(found, list) else []


def _ask(*words: str) -> Sequence[str | int]:
    root = str(Path(benchbox.__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, sys.path), str(Path.cwd())])
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-m", MODELS, *words],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=ASKED_S,
            check=True,
        )
        found: Sequence[str | int] = json.loads(answer.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise SpecError(f"{words[0]} does not import within {ASKED_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["it ended"])[-1]
        raise SpecError(f"{':'.join(words)}: {said}") from None
    return found

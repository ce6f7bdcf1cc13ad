"""Checkpoints of the reference implementations, read without running code that a file may hold.

Tensors belong to those of a network by name, for the networks name theirs as the references do.
Detectors do not: their tensors go by order.
"""

import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from benchbox.errors import SpecError
from benchbox.networks.build import build, fuse, names
from benchbox.networks.catalogue import NETWORKS, Scalar
from benchbox.networks.detector import Detector

LIMIT = 1 << 30  # bytes, unpacked; the largest of the networks is 70 MB, optimizers keep two more
WRAPPERS = ("state_dict", "model")
ANEW = "save it anew by torch.save(model.state_dict(), path)"
# Of a file that holds a detector itself, as those of ultralytics do.
DETECTOR = (
    "where ultralytics is installed, save its state_dict: torch.save(torch.load('{0}.pt', "
    "weights_only=False)['model'].state_dict(), '{0}-state.pth')"
)
MEAN = "running_mean"  # of a batch norm
COUNTER = "num_batches_tracked"  # of batches seen in training; some files lack it, none needs it

# In the names of a detector's checkpoint: the bins of distances, and YOLOv10's deployed head.
BINS, ONE_TO_ONE = ".dfl.", "one2one_"
OWN_BINS = "head.bins"

State = dict[str, Tensor]
Args = Mapping[str, Scalar]

# Arguments of detectors on GhostNets, as public code has them.
WIDTHS = (0.5, 1.0, 1.3, 1.6)
ENDINGS: Sequence[Args] = (
    {"last_conv": True},
    {"last_conv": False},
    {"taps": "first", "last_conv": False},
)


def load(module: nn.Module, path: Path, name: str, args: Args | None = None) -> None:
    """Give `module`, the network `name` built with `args`, the weights of a file of torch.save.

    The file holds a state_dict, alone or as "state_dict" or "model" of a dict, its keys with or
    without "module." before each, of any floating type. A network that is deployed in another form
    than it is trained in takes either. Raises SpecError for a file that cannot be read, that holds
    something else, or whose tensors are not those of the network or not finite.
    """
    held = _without_prefix(_tensors(path, _read(path)))
    state = _named_as(module, held)
    differences, args = _differences(state, module), args or {}
    if not differences:
        _copy(path, state, module)
    elif trained := _training_form(held, name, args):
        _copy(path, _named_as(trained, held), trained)
        _copy(path, fuse(trained).state_dict(), module)
    else:
        what = f"{path} is no checkpoint of {_words(name, args)}"
        raise SpecError(f"{what}: {differences}; {_fitting(held, name)}")


def _read(path: Path) -> object:
    """Load the file's content; only tensors and plain Python types are ever built."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "is not there"
        raise SpecError(f"checkpoint {path} {what}; give a .pth file of the network's authors")
    try:
        _check(path)
        # What a training script was called with stands in many files: names and plain values.
        with torch.serialization.safe_globals([Namespace]):
            held: object = torch.load(path, map_location="cpu", weights_only=True)
        return held
    except OSError as error:
        raise SpecError(f"checkpoint {path} cannot be read: {error.strerror or error}") from None
    except SpecError:
        raise
    except Exception as error:  # a file of any bytes may make torch raise anything
        raise SpecError(f"{path} {_reason(path, error)}") from None


def _check(path: Path) -> None:
    """Raise SpecError for a program, and for what would fill the memory, as it is or unpacked."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        size = max(size, sum(member.file_size for member in members))
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise SpecError(f"{path} is a TorchScript archive, which is a program; {ANEW}")
    if size > LIMIT:
        raise SpecError(
            f"{path} holds {size / 1e6:.0f} MB, more than any network of benchbox needs; {ANEW}"
        )


def _reason(path: Path, error: Exception) -> str:
    """Explain why torch refused the file, and what to do."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused and isinstance(error, pickle.UnpicklingError):
        is_detector = refused[1].startswith("ultralytics.")
        anew = DETECTOR.format(path.stem) if is_detector else ANEW
        return f"holds {_quoted(refused[1])}, which is code and is never run here; {anew}"
    return "is no checkpoint that torch.save wrote, or it is damaged; get it again"


def _tensors(path: Path, held: object) -> State:
    """Return the tensors by name; what else stands beside them, such as an epoch, is left out."""
    if isinstance(held, Mapping):
        inner = [held[key] for key in WRAPPERS if isinstance(held.get(key), Mapping)]
        state = {
            key: value
            for key, value in (inner or [held])[0].items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if state:
            return state
    raise SpecError(f"{path} holds no tensors by name, but a {type(held).__name__}; {ANEW}")


def _without_prefix(state: State) -> State:
    """Return the state without the prefix that a model trained in parallel has on every key."""
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _named_as(module: nn.Module, state: State) -> State:
    """The state of a detector under the names that `module` has for its tensors, by their order.

    The bins of distances are the same in all, and the heads of YOLOv10 that are never deployed go.
    A state whose shapes are not those of `module`, or that has its names, is left as it is.
    """
    if not isinstance(module, Detector):
        return state
    theirs, ours = _in_order(state, module)
    own = module.state_dict()
    if [_form(state[key]) for key in theirs] != [_shape(own[key]) for key in ours]:
        return state
    found = {key: state[other] for key, other in zip(ours, theirs, strict=True)}
    bins = own[OWN_BINS].shape
    return found | {OWN_BINS: torch.arange(float(bins.numel())).view(bins)}


def _in_order(state: State, module: Detector) -> tuple[list[str], list[str]]:
    """The names of a detector's tensors in a state and in `module`, which match in their order."""
    deployed = {key.partition(ONE_TO_ONE)[0] for key in state if ONE_TO_ONE in key}
    unused = tuple(owner + branch for owner in deployed for branch in ("cv2.", "cv3."))
    theirs = [
        key
        for key in state
        if not (_is_counter(key) or BINS in key or (unused and key.startswith(unused)))
    ]
    own = module.state_dict()
    return theirs, [key for key in own if not _is_counter(key) and key != OWN_BINS]


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == COUNTER


def _differences(state: State, module: nn.Module) -> str:
    """Summary of missing, unexpected and misshapen tensors; empty where there are none."""
    own = module.state_dict()
    if isinstance(module, Detector) and not state.keys() & own.keys():
        return _first_difference(state, module)
    wanted = {k: _shape(v) for k, v in own.items() if not _is_counter(k)}
    found = {key: _form(value) for key, value in state.items() if not _is_counter(key)}
    other = [
        f"{_quoted(key)}: {found[key]} in place of {shape}"
        for key, shape in wanted.items()
        if found.get(key, shape) != shape
    ]
    groups = {
        "missing": [_quoted(key) for key in wanted if key not in found],
        "unexpected": [_quoted(key) for key in found if key not in wanted],
        "of another shape": other,
    }
    summary = [f"{len(each)} {what} (first {each[0]})" for what, each in groups.items() if each]
    return ", ".join(summary)


def _first_difference(state: State, module: Detector) -> str:
    """What a state under other names lacks, by the order of its tensors."""
    theirs, ours = _in_order(state, module)
    if any(key.endswith(MEAN) for key in ours) and not any(key.endswith(MEAN) for key in theirs):
        return "its batch norms are folded; save its state_dict before that"
    own = module.state_dict()
    for number, (key, wanted) in enumerate(zip(theirs, ours, strict=False), 1):
        if _form(state[key]) != _shape(own[wanted]):
            where = f"its tensor {number} of {len(theirs)}, {_quoted(key)}"
            return f"{where}, is {_form(state[key])} in place of {_shape(own[wanted])}"
    same = len(theirs) == len(ours)
    return "" if same else f"it has {len(theirs)} tensors in place of {len(ours)}"


def _quoted(key: str) -> str:
    return repr(key[:80])


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _form(tensor: Tensor) -> str:
    """Describe a tensor: the bare shape of a dense floating one, else type and layout as well."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_floating_point() and tensor.layout is torch.strided and not tensor.is_meta:
        return _shape(tensor)
    return f"{_shape(tensor)} of {tensor.dtype}, {tensor.layout}, {tensor.device}"


def _copy(path: Path, state: State, module: nn.Module) -> None:
    """Copy the values, of the module's shapes, into it; raises SpecError unless all are finite."""
    values = {k: value.to(torch.float32) for k, value in state.items() if not _is_counter(k)}
    bad = [key for key, value in values.items() if not value.isfinite().all()]
    if bad:
        raise SpecError(
            f"{path}: {len(bad)} of {len(values)} tensors hold NaN or infinite values "
            f"(first {_quoted(bad[0])}); take another checkpoint"
        )
    module.load_state_dict(values, strict=False)


def _training_form(state: State, name: str, args: Args) -> nn.Module | None:
    """Return the network's training form without values, if the state fits it."""
    trained = f"{name}_train"
    if trained not in names():
        return None
    module = _outline(trained, args)
    return None if _differences(_named_as(module, state), module) else build(trained, **args)


def _fitting(state: State, name: str) -> str:
    """The network that a state fits, or the form of `name` by its arguments."""
    plain: Iterable[tuple[str, Args]] = ((each, {}) for each in names())
    forms = chain(plain, _forms(state, name), _forms(state, f"{name}_train"))
    outlines = ((each, args, _outline(each, args)) for each, args in forms)
    fitting = (
        _words(each, args)
        for each, args, module in outlines
        if not _differences(_named_as(module, state), module)
    )
    words = next(fitting, None)
    return f"it fits {words}" if words else "it fits no network of benchbox"


def _forms(state: State, name: str) -> Iterator[tuple[str, Args]]:
    """A detector on a GhostNet with every width, and those endings that have as many tensors."""
    network = NETWORKS.get(name)
    for ending in ENDINGS if network and network.heads and "ghostnet" in name else ():
        module = _outline(name, ending)
        assert isinstance(module, Detector), "it has heads"
        theirs, ours = _in_order(state, module)
        if len(theirs) == len(ours):
            yield from ((name, {"width": width, **ending}) for width in WIDTHS)


def _words(name: str, args: Args) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in args.items())
    return f"{name} with {given}" if given else name


def _outline(name: str, args: Args) -> nn.Module:
    """Build the network on the meta device: names and shapes without values."""
    with torch.device("meta"):
        return build(name, **args)

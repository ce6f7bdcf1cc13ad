"""Checkpoints: what is read, what is told apart, and that nothing in a file is ever run."""

import os
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchbox import networks
from benchbox.errors import SpecError
from benchbox.networks import catalogue, checkpoints

NAME = "mobilenetv3_small"
GHOSTNETV3 = "ghostnetv3_x0_5"
State = dict[str, Tensor]


@cache
def created(name: str = NAME) -> nn.Module:
    """A network that no test may change."""
    return networks.create(name)


@cache
def trained(name: str = NAME) -> nn.Module:
    """A network with weights of its own, which no test may change."""
    module = deepcopy(created(name))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def state_of(name: str = NAME) -> State:
    return {key: value.clone() for key, value in trained(name).state_dict().items()}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(held: object, **options: Any) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(held, path, **options)
        return path

    return write


Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def candidates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks among which the one that a checkpoint fits is looked for: a few, for speed."""
    found = [NAME, "mobilenetv3_large", "shufflenetv2_x0_5", "shufflenetv2_tv_x0_5"]
    monkeypatch.setattr(checkpoints, "names", lambda: found)
    return found


def loaded(path: Path, name: str = NAME) -> nn.Module:
    """A network with the weights of that file."""
    module = deepcopy(created(name))
    checkpoints.load(module, path, name)
    return module


def logits(module: nn.Module, size: int = 64) -> Tensor:
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return module(image)


def refusal(path: Path, name: str = NAME) -> str:
    """The one line that says why a file is not taken, without the path."""
    with pytest.raises(SpecError) as caught:
        checkpoints.load(created(name), path, name)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "FILE")


def prefixed(state: State) -> State:
    return {f"module.{key}": value for key, value in state.items()}


def without_counters(state: State) -> State:
    return {key: value for key, value in state.items() if "num_batches_tracked" not in key}


FORMS: dict[str, Callable[[State], object]] = {
    "bare": lambda state: state,
    "in any order": lambda state: dict(reversed(state.items())),
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "args": Namespace(lr=0.1)},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "groups": [1, 2]}},
    "parallel": prefixed,
    "parallel in a dict": lambda state: {"state_dict": prefixed(state), "best_acc1": 74.0},
    "without counters": without_counters,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_taken_in_each_of_its_usual_forms(form: str, save: Save) -> None:
    module = loaded(save(FORMS[form](state_of())))
    assert torch.equal(logits(module), logits(trained()))
    assert not any(layer.training for layer in module.modules())


def test_a_network_is_created_with_the_weights_of_a_file(save: Save) -> None:
    module = networks.create(NAME, save(state_of()))
    assert torch.equal(logits(module), logits(trained()))
    assert not torch.equal(logits(module), logits(created()))


def test_a_file_of_torch_before_1_6_is_taken(save: Save) -> None:
    path = save(state_of(), _use_new_zipfile_serialization=False)
    assert torch.equal(logits(loaded(path)), logits(trained()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_cast(dtype: torch.dtype, save: Save) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state_of().items()}
    module = loaded(save(state))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    key = "features.0.0.weight"
    assert torch.equal(module.get_parameter(key), state[key].float())


def test_the_form_that_is_trained_is_fused_for_the_one_that_is_deployed(
    candidates: list[str], save: Save
) -> None:
    candidates += [GHOSTNETV3, f"{GHOSTNETV3}_train"]
    donor = trained(f"{GHOSTNETV3}_train")
    module = networks.fuse(created(f"{GHOSTNETV3}_train"))
    keys = module.state_dict().keys()
    checkpoints.load(module, save(prefixed(donor.state_dict())), GHOSTNETV3)
    expected = logits(donor)
    assert module.state_dict().keys() == keys
    assert float((logits(module) - expected).abs().max()) < 1e-3 * float(expected.std())


def test_the_form_that_is_deployed_is_not_taken_for_the_one_that_is_trained(
    candidates: list[str], save: Save
) -> None:
    candidates += [GHOSTNETV3, f"{GHOSTNETV3}_train"]
    path = save(networks.fuse(created(f"{GHOSTNETV3}_train")).state_dict())
    assert refusal(path, f"{GHOSTNETV3}_train").endswith(f"; it fits {GHOSTNETV3}")


def test_every_family_has_an_outline_to_compare_with() -> None:
    families = {name.partition("_x")[0]: name for name in catalogue.NETWORKS}
    for name in families.values():
        outline = checkpoints._outline(name)
        assert all(value.is_meta for value in outline.state_dict().values()), name


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("shufflenetv2_tv_x0_5", "shufflenetv2_x0_5"),
        ("shufflenetv2_x0_5", "shufflenetv2_tv_x0_5"),
        ("mobilenetv3_small", "mobilenetv3_large"),
    ],
)
def test_the_network_that_a_checkpoint_fits_is_named(given: str, wanted: str, save: Save) -> None:
    told = refusal(save(state_of(given)), wanted)
    assert told.startswith(f"FILE is no checkpoint of {wanted}: ")
    assert told.endswith(f"; it fits {given}")


def test_what_differs_is_counted_and_the_first_of_each_named(save: Save) -> None:
    state = state_of()
    del state["features.0.0.weight"], state["classifier.3.bias"]
    state["extra"] = torch.zeros(3)
    state["classifier.0.weight"] = torch.zeros(3, 4)
    assert refusal(save(state)) == (
        f"FILE is no checkpoint of {NAME}: 2 missing (first 'features.0.0.weight'), "
        "1 unexpected (first 'extra'), 1 of another shape (first 'classifier.0.weight': (3, 4) in "
        "place of (1024, 576)); it fits no network of benchbox"
    )


def test_one_key_without_the_prefix_leaves_it_on_the_others(save: Save) -> None:
    told = refusal(save(prefixed(state_of()) | {"extra": torch.zeros(1)}))
    assert "210 missing (first 'features.0.0.weight')" in told


def broken(key: str, value: Tensor | float) -> State:
    """The state with one value, or one tensor, replaced."""
    state = state_of()
    if isinstance(value, Tensor):
        return state | {key: value}
    state[key][0] = value
    return state


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), torch.full((1000,), 1e300, dtype=torch.float64)]
)
def test_values_that_are_not_finite_in_float32_are_refused(
    value: Tensor | float, save: Save
) -> None:
    assert refusal(save(broken("classifier.3.bias", value))) == (
        "FILE: 1 of 210 tensors hold NaN or infinite values (first 'classifier.3.bias'); "
        "take another checkpoint"
    )


@pytest.mark.parametrize(
    ("make", "described"),
    [
        (lambda: torch.zeros(1000, dtype=torch.int8), "(1000,) of torch.int8"),
        (lambda: torch.zeros(1000, dtype=torch.complex64), "(1000,) of torch.complex64"),
        (lambda: torch.zeros(1000).to_sparse(), "(1000,) of torch.float32, torch.sparse_coo"),
        (lambda: torch.zeros(1000, device="meta"), "torch.strided, meta"),
        (lambda: torch.zeros(1).expand(1 << 20, 1 << 20), "(1048576, 1048576) in place"),
    ],
    ids=["integers", "complex", "sparse", "meta", "huge"],
)
def test_a_tensor_of_another_kind_is_described(
    make: Callable[[], Tensor], described: str, save: Save
) -> None:
    text = refusal(save(broken("classifier.3.bias", make())))
    assert "1 of another shape (first 'classifier.3.bias': " in text
    assert described in text


def test_a_hostile_name_stays_on_its_line(save: Save) -> None:
    told = refusal(save({"a\nb\x1b[2J" + "c" * 500: torch.zeros(1)}))
    assert len(told) < 400
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("held", "kind"),
    [([1, 2], "list"), ({"epoch": 3}, "dict"), ({}, "dict"), (torch.zeros(3), "Tensor")],
)
def test_a_file_without_tensors_by_name_is_refused(held: object, kind: str, save: Save) -> None:
    told = refusal(save(held))
    assert told.startswith(f"FILE holds no tensors by name, but a {kind}; save it anew by ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    advice = "; give a .pth file of the network's authors"
    assert refusal(tmp_path / "none.pth") == f"checkpoint FILE is not there{advice}"
    assert refusal(tmp_path) == f"checkpoint FILE is not a file{advice}"


DAMAGED = "FILE is no checkpoint that torch.save wrote, or it is damaged; get it again"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x00", b"weights of a network\n", b"PK\x03\x04", b"\x80\x02}q\x00."),
        b'\x08\x09:\x10\n\x0c\n\x01x\x12\x01y"\x04Relu',  # an ONNX graph
    ],
)
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert refusal(path) == DAMAGED


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_download_that_was_cut_short_is_refused(is_zip: bool, save: Save) -> None:
    path = save(state_of(), _use_new_zipfile_serialization=is_zip)
    os.truncate(path, path.stat().st_size // 2)
    assert refusal(path) == DAMAGED


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is being retired
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(path))
    told = refusal(path)
    assert told.startswith("FILE is a TorchScript archive, which is a program; save it anew by ")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_whole_pickled_module_is_refused(is_zip: bool, save: Save) -> None:
    told = refusal(save(nn.Linear(2, 2), _use_new_zipfile_serialization=is_zip))
    assert told.startswith("FILE holds 'torch.nn.modules.linear.Linear', which is code and is")


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_never_run(is_zip: bool, save: Save, tmp_path: Path) -> None:
    made = tmp_path / "made"
    held = {"state_dict": state_of(), "extra": Hostile(made)}
    told = refusal(save(held, _use_new_zipfile_serialization=is_zip))
    assert ".mkdir', which is code and is never run here; save it anew by torch.save(" in told
    assert not made.exists()


def test_a_file_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.touch()
    os.truncate(path, 3 << 30)  # without blocks on the disk
    assert refusal(path).startswith("FILE holds 3221 MB, more than any network of benchbox needs")


def test_a_file_that_would_fill_the_memory_unpacked_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LIMIT", 1 << 20)
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", bytes(2 << 20))
    assert path.stat().st_size < 10_000
    assert refusal(path).startswith("FILE holds 2 MB, more than any")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    folder = tmp_path_factory.mktemp("damaged")
    module = nn.Sequential(nn.Linear(2, 3))
    torch.save(module.state_dict(), folder / "zip.pth")
    torch.save(module.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder, module


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["zip", "old"]),
    place=st.floats(0, 1, exclude_max=True),
    content=st.binary(min_size=1, max_size=6),
)
def test_a_damaged_file_is_read_or_refused_but_nothing_else_happens(
    tiny: tuple[Path, nn.Module], form: str, place: float, content: bytes
) -> None:
    folder, module = tiny
    whole = (folder / f"{form}.pth").read_bytes()
    start = int(place * len(whole))
    path = folder / "damaged.pth"
    path.write_bytes(whole[:start] + content + whole[start + len(content) :])
    try:
        checkpoints.load(module, path, "tiny")
    except SpecError as error:
        assert "\n" not in str(error)

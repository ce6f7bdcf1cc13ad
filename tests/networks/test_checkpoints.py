"""Checkpoints: forms that are read, networks told apart, and that nothing in a file is ever run."""

import io
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
from benchbox.networks import checkpoints
from tests.helpers import parity
from tests.helpers.parity import created, random_images

NAME = "mobilenetv3_small"
GHOSTNETV3, TRAINED = "ghostnetv3_x0_5", "ghostnetv3_x0_5_train"
DAMAGED = "FILE is no checkpoint that torch.save wrote, or it is damaged; get it again"
State = dict[str, Tensor]
Save = Callable[..., Path]
each_format = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])


@cache
def trained(name: str = NAME) -> nn.Module:
    """A network with weights of its own, which no test may change."""
    module = deepcopy(created(name))
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def state_of(name: str = NAME) -> State:
    return {key: value.clone() for key, value in trained(name).state_dict().items()}


def saved(held: object, is_zip: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(held, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write bytes, or what torch.save makes of anything else, to a file."""

    def write(held: object, is_zip: bool = True) -> Path:
        path = tmp_path / "weights.pth"
        path.write_bytes(held if isinstance(held, bytes) else saved(held, is_zip))
        return path

    return write


@pytest.fixture(autouse=True)
def candidates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks among which the one that a checkpoint fits is looked for: a few, for speed."""
    found = [NAME]
    monkeypatch.setattr(checkpoints, "names", lambda: found)
    return found


def logits(module: nn.Module) -> Tensor:
    result: Tensor = module(random_images(64, 64))
    return result


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
    "in any order": lambda state: dict(reversed(state.items())),
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "args": Namespace(lr=0.1)},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "groups": [1, 2]}},
    "parallel": prefixed,
    "parallel in a dict": lambda state: {"state_dict": prefixed(state), "best_acc1": 74.0},
    "without counters": without_counters,
}


@pytest.mark.parametrize(
    ("form", "is_zip"), [*((form, True) for form in FORMS), ("state_dict", False)]
)
def test_a_checkpoint_is_taken_in_each_of_its_usual_forms(
    form: str, is_zip: bool, save: Save
) -> None:
    module = networks.create(NAME, save(FORMS[form](state_of()), is_zip))
    assert parity.equal(module.state_dict(), trained().state_dict())
    assert not any(layer.training for layer in module.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_floating_types_are_cast(dtype: torch.dtype, save: Save) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state_of().items()}
    module = networks.create(NAME, save(state))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    key = "features.0.0.weight"
    assert torch.equal(module.get_parameter(key), state[key].float())


def test_the_form_that_is_trained_is_fused_for_the_one_that_is_deployed(
    candidates: list[str], save: Save
) -> None:
    candidates += [TRAINED]
    donor = trained(TRAINED)
    module = networks.fuse(created(TRAINED))
    keys = module.state_dict().keys()
    checkpoints.load(module, save(prefixed(donor.state_dict())), GHOSTNETV3)
    expected = logits(donor)
    assert module.state_dict().keys() == keys
    assert float((logits(module) - expected).abs().max()) < 1e-3 * float(expected.std())


def as_published(state: State, *, both_heads: bool = False) -> State:
    """A detector's state under other names, with what its authors' files hold besides."""
    deployed = "model.23.one2one_cv" if both_heads else "model.23.cv"
    found: State = {}
    for key, value in state.items():
        kind = "2" if ".box." in key else "3"
        if key == "head.bins":
            found["model.23.dfl.conv.weight"] = value
        elif not key.startswith("head."):
            found[f"model.{len(found)}.{key.rpartition('.')[2]}"] = value
        else:
            found[f"{deployed}{kind}.{len(found)}.{key.rpartition('.')[2]}"] = value
            if both_heads:
                found[f"model.23.cv{kind}.{len(found)}.weight"] = value + 1
    return found


@pytest.mark.parametrize("name", ["yolov8n", "yolov10n", "yolo11n_ghostnetv3"])
def test_a_detectors_tensors_go_by_their_order(
    name: str, candidates: list[str], save: Save
) -> None:
    candidates += ["yolo11n_ghostnetv3_x1_0_train"]
    donor = trained(name if "ghost" not in name else f"{name}_train")
    published = as_published(donor.state_dict(), both_heads="v10" in name)
    module = networks.create(name, save(published), head="raw")
    donor.get_submodule("head").output = "raw"  # type: ignore[assignment]
    x = random_images(64, 96)
    expected = donor(x)
    assert float((module(x) - expected).abs().max()) < 1e-3 * float(expected.std())


@pytest.mark.parametrize(
    ("held", "wanted"),
    [("yolov8s", "yolov8n"), ("yolov10n", "yolov10s"), ("yolo11n", "yolov8n_ghost")],
)
def test_a_detectors_checkpoint_of_another_one_is_told_what_it_fits(
    held: str, wanted: str, candidates: list[str], save: Save
) -> None:
    candidates += [wanted, held]
    state = as_published(created(held).state_dict(), both_heads="v10" in held)
    text = refusal(save(state), wanted)
    assert text.startswith(f"FILE is no checkpoint of {wanted}: ")
    assert text.endswith(f"; it fits {held}")


@pytest.mark.parametrize(
    ("held", "args"),
    [
        ("yolov8n_ghostnetv2_x1_0", {"width": 0.5, "last_conv": True}),
        ("yolov10s_ghostnet_x1_0", {"width": 1.3, "taps": "first", "last_conv": False}),
    ],
)
def test_a_detectors_checkpoint_of_another_backbone_is_told_its_arguments(
    held: str, args: dict[str, Any], candidates: list[str], save: Save
) -> None:
    candidates += [held]
    donor = parity.filled(parity.on_meta(networks.create, held, **args), [(0, 1.0)])
    path = save(as_published(donor.state_dict()))
    words = ", ".join(f"{key}={value!r}" for key, value in args.items())
    assert refusal(path, held).endswith(f"; it fits {held} with {words}")
    networks.create(held, path, **args)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda key, value: value[:2] if ".cv3." in key and value.dim() else value,
            "in place of (80,",
        ),
        (lambda key, value: None if "running" in key else value, "its batch norms are folded"),
        (lambda key, value: None if ".cv3." in key else value, "tensors in place of"),
    ],
    ids=["classes", "folded", "no classes"],
)
def test_a_detectors_checkpoint_is_told_where_it_first_differs(
    change: Callable[[str, Tensor], Tensor | None], said: str, candidates: list[str], save: Save
) -> None:
    candidates += ["yolov8n"]
    state = as_published(created("yolov8n").state_dict())
    changed = {key: new for key, value in state.items() if (new := change(key, value)) is not None}
    assert said in refusal(save(changed), "yolov8n")


@pytest.mark.parametrize(
    ("held", "wanted"),
    [("shufflenetv2_tv_x0_5", "shufflenetv2_x0_5"), ("mobilenetv3_small", "mobilenetv3_large")],
)
def test_the_network_that_a_checkpoint_fits_is_named(
    held: str, wanted: str, candidates: list[str], save: Save
) -> None:
    candidates += [wanted, held]
    text = refusal(save(created(held).state_dict()), wanted)
    assert text.startswith(f"FILE is no checkpoint of {wanted}: ")
    assert text.endswith(f"; it fits {held}")


def test_what_differs_is_counted_and_the_first_of_each_named(save: Save) -> None:
    state = state_of()
    del state["features.0.0.weight"], state["classifier.3.bias"]
    state["a\nb\x1b[2J"] = torch.zeros(3)
    state["classifier.0.weight"] = torch.zeros(3, 4)
    assert refusal(save(state)) == (
        f"FILE is no checkpoint of {NAME}: 2 missing (first 'features.0.0.weight'), "
        "1 unexpected (first 'a\\nb\\x1b[2J'), 1 of another shape (first 'classifier.0.weight': "
        "(3, 4) in place of (1024, 576)); it fits no network of benchbox"
    )


@pytest.mark.parametrize("value", [float("nan"), 1e300])
def test_values_that_are_not_finite_in_float32_are_refused(value: float, save: Save) -> None:
    bias = torch.zeros(1000, dtype=torch.float64)
    bias[0] = value
    assert refusal(save(state_of() | {"classifier.3.bias": bias})) == (
        "FILE: 1 of 210 tensors hold NaN or infinite values (first 'classifier.3.bias'); "
        "take another checkpoint"
    )


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (torch.zeros(1000, dtype=torch.int8), "(1000,) of torch.int8"),
        (torch.zeros(1000).to_sparse(), "(1000,) of torch.float32, torch.sparse_coo"),
        (torch.zeros(1000, device="meta"), "torch.strided, meta"),
        (torch.zeros(1).expand(1 << 20, 1 << 20), "(1048576, 1048576) in place"),
    ],
    ids=["integers", "sparse", "meta", "huge"],
)
def test_a_tensor_of_another_kind_is_described(value: Tensor, described: str, save: Save) -> None:
    text = refusal(save(state_of() | {"classifier.3.bias": value}))
    assert "1 of another shape (first 'classifier.3.bias': " in text
    assert described in text


@each_format
@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ([1, 2], "no tensors by name, but a list; save it anew by "),
        ({}, "no tensors by name, but a dict; save it anew by "),
        (nn.Linear(2, 2), "'torch.nn.modules.linear.Linear', which is code and is never run here"),
    ],
    ids=["list", "empty", "module"],
)
def test_a_file_without_tensors_by_name_is_refused(
    held: object, reason: str, is_zip: bool, save: Save
) -> None:
    assert refusal(save(held, is_zip)).startswith(f"FILE holds {reason}")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"weights of a network\n", b"PK\x03\x04", b"\x80\x02}q\x00."),
        *(saved({"weight": torch.zeros(1024)}, is_zip)[:2048] for is_zip in (True, False)),
    ],
)
def test_a_file_of_something_else_or_cut_short_is_refused(content: bytes, save: Save) -> None:
    path = save(content)
    assert refusal(path) == DAMAGED
    for other, why in ((path.with_name("none"), "is not there"), (path.parent, "is not a file")):
        assert refusal(other) == f"checkpoint FILE {why}; give a .pth file of the network's authors"


def test_a_torchscript_archive_is_refused(save: Save) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is being retired
        script = torch.jit.script(nn.Linear(2, 2)).save_to_buffer()
    text = refusal(save(script))
    assert text.startswith("FILE is a TorchScript archive, which is a program; save it anew by ")


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@each_format
def test_code_in_a_file_is_never_run(is_zip: bool, save: Save, tmp_path: Path) -> None:
    made = tmp_path / "made"
    text = refusal(save({"state_dict": {"w": torch.zeros(1)}, "extra": Hostile(made)}, is_zip))
    assert ".mkdir', which is code and is never run here; save it anew by torch.save(" in text
    assert not made.exists()


def test_ultralytics_files_are_told_how_to_save_their_state(save: Save) -> None:
    path = save(b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nq\x00.")
    with pytest.raises(SpecError) as caught:
        checkpoints.load(TINY, path, "tiny")
    assert str(caught.value).endswith(
        "'ultralytics.nn.tasks.DetectionModel', which is code and is never run here; where "
        "ultralytics is installed, save its state_dict: torch.save(torch.load('weights.pt', "
        "weights_only=False)['model'].state_dict(), 'weights-state.pth')"
    )


def test_a_file_that_would_fill_the_memory_is_refused_unread(save: Save) -> None:
    path = save(b"")
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


TINY = nn.Sequential(nn.Linear(2, 3))


@each_format
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), content=st.binary(min_size=1, max_size=6))
def test_a_damaged_file_is_read_or_refused_but_nothing_else_happens(
    save: Save, is_zip: bool, place: float, content: bytes
) -> None:
    whole = saved(TINY.state_dict(), is_zip)
    start = int(place * len(whole))
    path = save(whole[:start] + content + whole[start + len(content) :])
    try:
        checkpoints.load(TINY, path, "tiny")
    except SpecError as error:
        assert "\n" not in str(error)

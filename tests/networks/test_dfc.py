"""DFC and self-attention held against the same written out, and against ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbox.networks.dfc import DFC, SelfAttention
from tests.helpers.parity import drawn

C_IN, C_OUT = 8, 12
SIZES = [(8, 6), (7, 7), (5, 9), (2, 1), (1, 1)]
Gate = Callable[..., nn.Module]
each_gate = pytest.mark.parametrize("gate", [DFC, SelfAttention])


def image(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, C_IN, height, width, generator=generator, dtype=torch.float64)


def norm(state: dict[str, Tensor], index: int, y: Tensor) -> Tensor:
    keys = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, var = (state[f"{index}.{key}"][:, None, None] for key in keys)
    return (y - mean) / (var + 1e-5).sqrt() * weight + bias


def along_rows(taps: Tensor, y: Tensor) -> Tensor:
    """Every value of (n, c, h, w) becomes what `taps` (c, k) make of its neighbours in the row."""
    reach, width = taps.shape[1] // 2, y.shape[3]
    padded = functional.pad(y, (reach, reach))
    shifted = [padded[..., k : k + width] * taps[:, k, None, None] for k in range(taps.shape[1])]
    return torch.stack(shifted).sum(0)


def dfc_by_hand(dfc: nn.Module, x: Tensor) -> Tensor:
    """The gate at half size, as GhostNetV2's code has it, tap by tap."""
    state = dfc.state_dict()
    height, width = x.shape[2] // 2, x.shape[3] // 2
    blocks = x[..., : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2))
    y = torch.einsum("oi,nihw->nohw", state["0.weight"][:, :, 0, 0], blocks.mean((3, 5)))
    y = norm(state, 3, along_rows(state["2.weight"][:, 0, 0], norm(state, 1, y)))
    turned = along_rows(state["4.weight"][:, 0, :, 0], y.transpose(2, 3))
    return torch.sigmoid(norm(state, 5, turned.transpose(2, 3)))


def nearest(y: Tensor, height: int, width: int) -> Tensor:
    rows = torch.arange(height) * y.shape[2] // height
    columns = torch.arange(width) * y.shape[3] // width
    return y[:, :, rows][..., columns]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("height", "width"), SIZES[:3])
def test_dfc_is_what_it_is_by_hand(kernel: int, height: int, width: int) -> None:
    dfc, x = drawn(DFC(C_IN, C_OUT, kernel)), image(height, width)
    torch.testing.assert_close(dfc(x), nearest(dfc_by_hand(dfc, x), height, width))


def test_self_attention_is_what_it_is_by_hand() -> None:
    attention, x = drawn(SelfAttention(C_IN, C_OUT)), image(6, 4)
    qkv = attention.qkv(functional.avg_pool2d(x, 2))
    query, key, value = qkv.flatten(2).transpose(1, 2).split(C_IN // 4, dim=2)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    mixed = mixed.transpose(1, 2).unflatten(2, (3, 2))
    expected = torch.sigmoid(attention.expand(mixed))
    torch.testing.assert_close(attention(x), nearest(expected, 6, 4))


@each_gate
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize("pool", ["average", "max"])
def test_a_gate_has_the_size_of_its_input_and_lies_in_0_to_1(
    gate: Gate, height: int, width: int, upsample: str, pool: str
) -> None:
    y = drawn(gate(C_IN, C_OUT, upsample=upsample, pool=pool))(image(height, width))
    assert y.shape == (2, C_OUT, height, width)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1


@each_gate
def test_the_options_are_pooling_upsampling_and_the_place_of_the_sigmoid(gate: Gate) -> None:
    def gated(**options: str) -> Tensor:
        result: Tensor = drawn(gate(C_IN, C_OUT, **options))(image(6, 6))
        return result

    def apart(one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max())

    default, late = gated(), gated(sigmoid="after")
    assert apart(default, late) < 1e-6  # the nearest and a function of single values commute
    assert apart(default, gated(pool="max")) > 0.01
    smooth, late_smooth = gated(upsample="bilinear"), gated(upsample="bilinear", sigmoid="after")
    assert apart(default, smooth) > 0.01
    assert apart(smooth, late_smooth) > 1e-5
    low = torch.logit(default[..., ::2, ::2])  # of which the gate's rounding is a part
    expected = torch.sigmoid(functional.interpolate(low, (6, 6), mode="bilinear"))
    torch.testing.assert_close(late_smooth, expected, atol=1e-3, rtol=0)


@each_gate
@pytest.mark.parametrize("option", ["pool", "upsample", "sigmoid"])
def test_another_option_is_refused(gate: Gate, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 'other'; it must be '"):
        gate(C_IN, C_OUT, **{option: "other"})


@pytest.mark.parametrize("kernel", [1, 4, 9])
def test_another_kernel_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel is {kernel}; it must be 3, 5 or 7"):
        DFC(C_IN, C_OUT, kernel)


class Together(nn.Module):
    """Several gates, each with an input of its own."""

    def __init__(self, gates: list[nn.Module]) -> None:
        super().__init__()
        self.gates = nn.ModuleList(gates)

    def forward(self, *images: Tensor) -> list[Tensor]:
        return [gate(x) for gate, x in zip(self.gates, images, strict=True)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_onnxruntime_resizes_to_odd_sizes_as_torch_does(tmp_path: Path) -> None:
    kinds = [(DFC, "nearest"), (DFC, "bilinear"), (SelfAttention, "nearest")]
    sizes = [(7, 7), (5, 9), (1, 1)]
    gates = [drawn(gate(C_IN, C_OUT, upsample=how)) for gate, how in kinds for _ in sizes]
    images = tuple(image(*size).float() for _ in kinds for size in sizes)
    together, path = Together(gates).float().eval(), tmp_path / "gates.onnx"
    program = torch.onnx.export(
        together, images, dynamo=True, optimize=True, opset_version=18, verbose=False
    )
    assert program is not None
    program.save(str(path))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    found = session.run(None, dict(zip(names, (x.numpy() for x in images), strict=True)))
    for one, other in zip(found, together(*images), strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-5, rtol=1e-5)
    operators = {node.op_type for node in program.model.graph}
    assert "Resize" in operators
    assert not operators & {"Shape", "Gather", "Cast", "Slice", "Expand", "Unsqueeze"}

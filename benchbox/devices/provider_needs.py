"""Needs of execution providers: the hardware of each, and the package or build that brings it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchbox.devices.claims import X86_MACHINES

BUILD = "install a build that has it"


@dataclass(frozen=True, slots=True)
class Need:
    """Requirements of a provider; `how` is what to do, `systems` and `machines` where it helps."""

    hardware: str
    how: str
    systems: Sequence[str] = ()
    machines: Sequence[str] = ()


# By their short names, as ONNX Runtime 1.32's packages on PyPI are.
NEEDS: Mapping[str, Need] = {
    "cpu": Need("any processor", "every ONNX Runtime has it"),
    "openvino": Need(
        "Intel's processors, GPUs and NPUs",
        "pip install onnxruntime-ep-openvino",
        ("Linux", "Windows"),
        X86_MACHINES,
    ),
    "qnn": Need(
        "Snapdragon with a Hexagon NPU; x86 has a simulator",
        "pip install onnxruntime-qnn",
        ("Linux", "Windows"),
    ),
    "directml": Need(
        "GPU with DirectX 12",
        "pip install onnxruntime-directml in place of onnxruntime",
        ("Windows",),
        X86_MACHINES,
    ),
    "coreml": Need("Mac", "onnxruntime for macOS has it", ("Darwin",)),
    "webgpu": Need(
        "GPU with Vulkan, Metal or Direct3D 12",
        "pip install onnxruntime-ep-webgpu",
        ("Linux", "Windows", "Darwin"),
    ),
    "nnapi": Need("Android phone", f"{BUILD}, as Termux's python-onnxruntime for Android"),
    "xnnpack": Need("ARM or x86 processor", f"{BUILD}, as Termux's python-onnxruntime for Android"),
    "acl": Need("ARM processor", f"{BUILD}, of your own with --use_acl; newest ones cannot"),
    "dnnl": Need("x86 processor", f"{BUILD}, of your own with --use_dnnl"),
    "cuda": Need("NVIDIA GPU", "pip install 'benchbox[cuda]'"),
    "tensorrt": Need("NVIDIA GPU", "pip install 'benchbox[cuda]' 'tensorrt-cu13-libs==10.*'"),
}


def advice(short: str, system: str, machine: str) -> str:
    """The advice for a provider that a device lacks; the system is empty where it is not known."""
    need = NEEDS.get(short)
    if need and system and need.systems and short not in dict(fitting(system, machine)):
        return f"no package brings it to {system.split()[0]} on {machine}; leave --provider out"
    return f"{need.how if need else BUILD}, or leave --provider out"


def fitting(system: str, machine: str) -> Iterator[tuple[str, Need]]:
    """Providers that a package brings to such a machine, if it has the hardware."""
    for short, need in NEEDS.items():
        is_there = any(system.startswith(name) for name in need.systems)
        if is_there and (not need.machines or machine.lower() in need.machines):
            yield short, need

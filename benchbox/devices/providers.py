"""Providers: ONNX Runtime's execution providers by short name, and PyTorch in three modes."""

import difflib
from collections.abc import Mapping, Sequence

from benchbox.devices import plugins, provider_needs
from benchbox.errors import DeviceError, UsageError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
SUFFIX = "ExecutionProvider"
# Those that run an unchanged graph on the processor or beside it; what each is for.
NAMES: Mapping[str, str] = {
    "cpu": CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "acl": "ACLExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "directml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
# Those for NVIDIA's GPUs, and others for GPUs, by which nothing is timed.
GPUS: Mapping[str, str] = {"cuda": CUDA, "tensorrt": TENSORRT}
OF_GPUS = ("nvtensorrtrtx", "rocm", "migraphx")
# PyTorch beside ONNX Runtime: as it is called, by torch.compile, and as a captured CUDA graph.
TORCH, TORCH_COMPILE, TORCH_CUDAGRAPH = "torch", "torch-compile", "torch-cudagraph"
MODULES = (TORCH, TORCH_COMPILE, TORCH_CUDAGRAPH)
PLUGIN = "plugin"  # in place of a provider that its library is to name
SHORT = {full: short for short, full in {**NAMES, **GPUS}.items()}


def named(word: str) -> str:
    """Return the provider that `xnnpack`, `XnnpackExecutionProvider` or `torch` stands for.

    Options after it stay, and so does `plugin:PATH`. Raises UsageError for what is neither a name
    known here nor one as ONNX Runtime writes them, and for options that it does not take.
    """
    head = plugins.head(word)
    provider = head if head.startswith(plugins.PREFIX) else _named(head)
    plugins.of(word, provider, short(provider))
    return plugins.plain(word, provider)


def without_options(word: str) -> str:
    """The provider that `named` has given, without its options; `plugin` for one by its path."""
    head = plugins.head(word)
    return PLUGIN if head.startswith(plugins.PREFIX) else head


def plugin(word: str) -> plugins.Plugin | None:
    """The plug-in that a provider of `named` may be."""
    head = plugins.head(word)
    return plugins.of(word, head, short(head))


def _named(text: str) -> str:
    if text.lower() == PLUGIN:
        raise UsageError(f"--provider {text}: write plugin:PATH, of the provider's library")
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    if text.lower() in MODULES:
        return text.lower()
    bare = text.lower().removesuffix(SUFFIX.lower())
    if bare in GPUS:
        return GPUS[bare]
    if bare in OF_GPUS:
        raise UsageError(
            f"--provider {text}: GPUs are timed by cuda, tensorrt or torch; write --device cuda"
        )
    if text.endswith(SUFFIX) and text.isalnum() and text != SUFFIX:
        return text
    if "/" in text or "." in text:
        raise UsageError(f"--provider {text}: write plugin:PATH, without commas, which separate")
    known = [*NAMES, *GPUS, *MODULES]
    close = difflib.get_close_matches(text.lower(), known, n=1)
    near = f" (did you mean {close[0]!r}?)" if close else ""
    raise UsageError(f"--provider {text}: unknown{near}; choose {', '.join(known)}")


def several(text: str) -> list[str]:
    """Return the providers that `cpu,torch` stands for; raises UsageError as `named` does."""
    words = plugins.words(text)
    if "" in words or any(word.startswith(",") for word in words):
        raise UsageError(f"--provider {text}: a name is missing beside a comma")
    found = [named(word) for word in words]
    if twice := [each for each in found if found.count(each) > 1]:
        head = plugins.head(twice[0])
        again = f"{short(head)}{twice[0].removeprefix(head)}"
        raise UsageError(f"--provider {text}: {again} is named twice")
    return found


def runs_modules(provider: str) -> bool:
    """Whether a provider runs the nn.Module itself, not its graph."""
    return provider in MODULES


def rows(there: Sequence[str], system: str, machine: str) -> list[tuple[str, str]]:
    """The providers of a device, and what others a package may bring to such a machine."""
    own = list(dict.fromkeys(map(short, filter(_is_local, there))))
    others = [
        ("others", f"{name} ({need.hardware}): {need.how}")
        for name, need in provider_needs.fitting(system, machine)
        if name not in own
    ]
    return [("providers", ", ".join(own)), *others]


def _is_local(provider: str) -> bool:
    """Whether a provider computes on this device: Azure's calls a service."""
    return provider != "AzureExecutionProvider"


def require_gpu(provider: str) -> None:
    """Raise ValueError for a provider that is for GPUs alone."""
    if provider == TORCH_CUDAGRAPH:
        raise ValueError("CUDA graphs are captured on GPUs only; choose --provider torch here")


def short(provider: str) -> str:
    """Return the short name of a provider, its own where it has none."""
    return SHORT.get(provider, provider)


def with_provider(name: str, provider: str, own: plugins.Plugin | None = None) -> str:
    """A device's name with its provider, which is left out for `cpu`; a plug-in has its own."""
    return name if provider == CPU else f"{name}-{own.name if own else short(provider)}"


def without_provider(name: str, provider: str, own: str = "") -> str:
    """A device's name without what `with_provider` added, of a plug-in its `own` name."""
    return name if provider == CPU else name.removesuffix(f"-{own or short(provider)}")


def require(
    provider: str, available: Sequence[str], device: str, system: str, machine: str
) -> None:
    """Raise DeviceError unless the ONNX Runtime of a device has a provider."""
    if provider not in available:
        there = ", ".join(map(short, filter(_is_local, available)))
        raise DeviceError(
            f"device {device!r}: its ONNX Runtime has no {provider}, only {there}; "
            f"{provider_needs.advice(short(provider), system, machine)}"
        )

"""ONNX Runtime's execution providers: their short names here, and whether a build has one."""

import difflib
from collections.abc import Mapping, Sequence

from benchbox.errors import DeviceError, UsageError

CPU = "CPUExecutionProvider"
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
}
SHORT = {full: short for short, full in NAMES.items()}


def named(text: str) -> str:
    """Return the provider that `xnnpack` or `XnnpackExecutionProvider` stands for.

    Raises UsageError for what is neither a name known here nor one as ONNX Runtime writes them.
    """
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    if text.endswith(SUFFIX) and text.isalnum() and text != SUFFIX:
        return text
    close = difflib.get_close_matches(text.lower(), NAMES, n=1)
    near = f" (did you mean {close[0]!r}?)" if close else ""
    raise UsageError(f"--provider {text}: unknown{near}; choose {', '.join(NAMES)}")


def short(provider: str) -> str:
    """Return the short name of a provider, its own where it has none."""
    return SHORT.get(provider, provider)


def require(provider: str, available: Sequence[str], device: str) -> None:
    """Raise DeviceError unless the ONNX Runtime of a device has a provider."""
    if provider not in available:
        raise DeviceError(
            f"device {device!r}: its ONNX Runtime has no {provider}, only "
            f"{', '.join(map(short, available))}; install a build that has it, or leave "
            "--provider out"
        )

"""What the checks need, and the one thing of it that is missing first."""

import importlib.util

# Of benchbox itself; the GPU's libraries are for benchbox to look for.
MODULES = {
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime-gpu[cuda,cudnn]",
    "onnxscript": "onnxscript",
    "pandas": "pandas",
    "platformdirs": "platformdirs",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "pynvml": "nvidia-ml-py",
    "rich": "rich",
    "torch": "torch",
    "typer": "typer",
}


def missing(provider: str = "") -> str:
    """Return what is missing, in one line with what helps; empty where a GPU can be used by it."""
    lacking = [what for name, what in MODULES.items() if importlib.util.find_spec(name) is None]
    if lacking:
        return f"not installed: pip install {' '.join(repr(what) for what in lacking)}"
    from benchbox import devices, transports
    from benchbox.errors import BenchboxError

    try:
        transports.require_gpu(devices.resolve("cuda", provider=provider))
    except BenchboxError as error:
        return str(error)
    return ""

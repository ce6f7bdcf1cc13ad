"""What ONNX Runtime needs for CUDA, found and loaded; where something is missing, what helps.

ONNX Runtime lists the CUDA provider whenever it was built with it, and a session that cannot have
it runs on the CPU and says so on stderr alone. So everything is looked for before.
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import platform
import re
from pathlib import Path

PROVIDER = "CUDAExecutionProvider"
INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
DRIVER = "libcuda.so.1"
# What the provider is linked with, in CUDA 12 with cuFFT as well; cuDNN it opens when it convolves.
NEEDED = {
    13: ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"),
    12: (
        "libcudart.so.12",
        "libcublasLt.so.12",
        "libcublas.so.12",
        "libcurand.so.10",
        "libcufft.so.11",
    ),
}
CUDNN = "libcudnn.so.9"
FOLDERS = re.compile(r"\S*/(?=\S)")  # which a record must not have
# With the first driver of each that runs it, on Linux.
OLDEST_DRIVERS = {13: "580", 12: "525"}


def prepare() -> int:
    """Load the libraries and return CUDA's major version.

    Raises RuntimeError with the one thing that is missing first, and with what helps.
    """
    if platform.system() != "Linux":
        raise RuntimeError(f"GPUs are timed on Linux, not on {platform.system()}")
    _require_build()
    if reason := _unloadable(DRIVER):
        raise RuntimeError(
            f"there is no NVIDIA driver here ({reason}): install the driver of the GPU; in a "
            "container, start it with --gpus all"
        )
    major = built_for()
    _preload(major)
    for name in (*NEEDED[major], CUDNN):
        if reason := _unloadable(name):
            raise RuntimeError(
                f"a CUDA {major} library of ONNX Runtime is missing ({reason}): {INSTALL}, or put "
                "its folder on LD_LIBRARY_PATH"
            )
    return major


def built_for() -> int:
    """Return the major version of CUDA that ONNX Runtime was built for.

    Raises RuntimeError for one that is not known here.
    """
    import onnxruntime as ort

    told = str(getattr(ort, "cuda_version", ""))
    major = told.partition(".")[0]
    if not major.isdigit() or int(major) not in NEEDED:
        raise RuntimeError(
            f"this ONNX Runtime {ort.__version__} was built for CUDA {told or 'unknown'}, benchbox "
            f"knows CUDA 13 and 12: {INSTALL}"
        )
    return int(major)


def runtime(major: int) -> str:
    """Return the file name of CUDA's runtime library."""
    return f"libcudart.so.{major}"


def _require_build() -> None:
    """Raise RuntimeError unless the ONNX Runtime here is one for CUDA."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeError(f"ONNX Runtime cannot be imported ({error}): {INSTALL}") from None
    if PROVIDER in ort.get_available_providers():
        return
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        raise RuntimeError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            f"pip uninstall onnxruntime onnxruntime-gpu, then {INSTALL}"
        )
    raise RuntimeError(
        f"this ONNX Runtime {ort.__version__} was built without CUDA: "
        f"pip uninstall onnxruntime, then {INSTALL}"
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _preload(major: int) -> None:
    """Load what lies in NVIDIA's wheels; what that prints is told better by the check after it.

    ONNX Runtime looks for them beside itself alone: it may lie in another folder than they do.
    """
    import onnxruntime as ort

    if not hasattr(ort, "preload_dlls"):  # before 1.21
        return
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
        if any(map(_unloadable, (*NEEDED[major], CUDNN))):
            folders = _wheels()
            for folder in folders:
                ort.preload_dlls(directory=str(folder))
            for name in (*NEEDED[major], CUDNN):  # older ones know fewer of them
                for file in (folder / name for folder in folders):
                    if file.exists():
                        _unloadable(str(file))


def _wheels() -> list[Path]:
    """Return the folders of NVIDIA's wheels that have libraries, wherever Python finds those."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations if found else None
    return sorted(folder for place in places or () for folder in Path(place).glob("*/lib"))


def _unloadable(name: str) -> str:
    """Return why a library cannot be loaded, nothing if it can."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return FOLDERS.sub("", str(error))
    return ""

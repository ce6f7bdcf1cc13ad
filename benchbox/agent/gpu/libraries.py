"""Libraries that ONNX Runtime needs for CUDA and TensorRT: found and loaded, or advice if missing.

ONNX Runtime lists a GPU's provider whenever it was built with it, and a session that cannot have
it runs on the CPU and reports that on stderr alone. So everything is checked first.
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from benchbox.agent.gpu import tegra

PROVIDER = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
WORDS = {PROVIDER: "CUDA", TENSORRT: "TensorRT"}
INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
JETPACK = (
    "install JetPack's own onnxruntime-gpu, which NVIDIA's Jetson AI Lab has for each JetPack and "
    "CUDA"
)
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
# What the provider for TensorRT is linked with beside CUDA's; plugins it opens where there are any.
TENSORRT_NEEDED, TENSORRT_PLUGINS = ("nvinfer", "nvonnxparser"), "nvinfer_plugin"
SHARED = "libonnxruntime_providers_shared.so"
PARTS = {
    PROVIDER: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
TENSORRT_WHEEL = "tensorrt_libs"  # the module of its libraries
TF32 = "NVIDIA_TF32_OVERRIDE"  # in the environment, for all of NVIDIA's libraries
LINKED = re.compile(rb"libnvinfer\.so\.(\d+)\0")
FOLDERS = re.compile(r"\S*/(?=\S)")  # which a record must not have
# With the first driver of each that runs it, on Linux.
OLDEST_DRIVERS = {13: "580", 12: "525"}


def prepare(provider: str = PROVIDER) -> int:
    """Load the libraries of a provider for GPUs and return CUDA's major version.

    Raises RuntimeError with the one thing that is missing first, and with what helps.
    """
    if platform.system() != "Linux":
        raise RuntimeError(f"GPUs are timed on Linux, not on {platform.system()}")
    _require_build(provider)
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
                f"a CUDA {major} library of ONNX Runtime is missing ({reason}): {install()}, or "
                "put its folder on LD_LIBRARY_PATH"
            )
    if provider == TENSORRT:
        _prepare_tensorrt(major)
    return major


def install() -> str:
    """What brings an ONNX Runtime with CUDA here."""
    return JETPACK if tegra.is_jetson() else INSTALL


def _prepare_tensorrt(cuda: int) -> None:
    """Load TensorRT's libraries; raises RuntimeError as `prepare`."""
    major = tensorrt_built_for()
    needed = [_tensorrt_library(name, major) for name in TENSORRT_NEEDED]
    folders = _places(TENSORRT_WHEEL)
    if any(map(_unloadable, needed)):
        _load_from(folders, [needed[0], _tensorrt_library(TENSORRT_PLUGINS, major), *needed[1:]])
    for name in needed:
        if reason := _unloadable(name):
            others = {each.name for folder in folders for each in folder.glob("libnvinfer.so.*")}
            there = f"; there is {', '.join(sorted(others))}" if others else ""
            raise RuntimeError(
                f"this ONNX Runtime needs TensorRT {major}, of which a library is missing "
                f"({reason}{there}): pip install 'tensorrt-cu{cuda}-libs=={major}.*', or put its "
                "folder on LD_LIBRARY_PATH"
            )


def choose_tf32(*, on: bool) -> None:
    """Choose whether TensorRT rounds to TF32 in this process; call it before `prepare`.

    It does by default, and ONNX Runtime's provider for it has no option for that.
    """
    if on:
        os.environ.pop(TF32, None)
    else:
        os.environ[TF32] = "0"


def tensorrt_built_for() -> int:
    """Return the major version of TensorRT that ONNX Runtime was linked with.

    Raises RuntimeError where its part for TensorRT is not beside it.
    """
    import onnxruntime as ort

    file = _part(PARTS[TENSORRT])
    linked = LINKED.search(file.read_bytes()) if file.exists() else None
    if linked is None:
        raise RuntimeError(
            f"this ONNX Runtime {ort.__version__} lists TensorRT and lacks its part for it, "
            f"{PARTS[TENSORRT]}: pip uninstall onnxruntime-gpu, then {install()}"
        )
    return int(linked[1])


def tensorrt_version() -> str:
    """Return the version of TensorRT, which is loaded already."""
    library = ctypes.CDLL(_tensorrt_library(TENSORRT_NEEDED[0], tensorrt_built_for()))
    number = int(library.getInferLibVersion())
    unit = 10_000 if number >= 100_000 else 1_000  # of the major version: 101601, before 10 8601
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def require_part(provider: str) -> None:
    """Raise RuntimeError, with why, where ONNX Runtime's own library for a provider cannot be had.

    Comes after ONNX Runtime has tried: it has to be there first, to make itself known to it.
    """
    _unloadable(str(_part(SHARED)), ctypes.RTLD_GLOBAL)
    file = _part(PARTS[provider])
    if file.exists() and (reason := _unloadable(str(file))):
        raise RuntimeError(
            f"ONNX Runtime's part for {WORDS[provider]} cannot be loaded ({reason}): {install()}, "
            "and take folders with other libraries of NVIDIA off LD_LIBRARY_PATH"
        )


def _part(name: str) -> Path:
    """Path of one of ONNX Runtime's own libraries."""
    import onnxruntime as ort

    return Path(ort.__file__).parent / "capi" / name


def _tensorrt_library(name: str, major: int) -> str:
    return f"lib{name}.so.{major}"


def built_for() -> int:
    """Return the major version of CUDA that ONNX Runtime was built for.

    Raises RuntimeError for one that is not known here.
    """
    import onnxruntime as ort

    version = str(getattr(ort, "cuda_version", ""))
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) not in NEEDED:
        raise RuntimeError(
            f"this ONNX Runtime {ort.__version__} was built for CUDA {version or 'unknown'}, "
            f"benchbox knows CUDA 13 and 12: {install()}"
        )
    return int(major)


def runtime(major: int) -> str:
    """Return the file name of CUDA's runtime library."""
    return f"libcudart.so.{major}"


def _require_build(provider: str) -> None:
    """Raise RuntimeError unless the ONNX Runtime here is one for CUDA, and with a provider."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeError(f"ONNX Runtime cannot be imported ({error}): {install()}") from None
    lacking = {PROVIDER, provider} - {*ort.get_available_providers()}
    if not lacking:
        return
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        raise RuntimeError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            f"pip uninstall onnxruntime onnxruntime-gpu, then {install()}"
        )
    wrong = "onnxruntime" if PROVIDER in lacking else "onnxruntime-gpu"
    what = " and ".join(words for name, words in WORDS.items() if name in lacking)
    raise RuntimeError(
        f"this ONNX Runtime {ort.__version__} was built without {what}: "
        f"pip uninstall {wrong}, then {install()}"
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _preload(major: int) -> None:
    """Load the libraries of NVIDIA's wheels, silently: the check that follows words it better.

    ONNX Runtime looks for them beside itself alone: it may lie in another folder than they do.
    """
    import onnxruntime as ort

    if not hasattr(ort, "preload_dlls"):  # before 1.21
        return
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
        if any(map(_unloadable, (*NEEDED[major], CUDNN))):
            folders = sorted(each for place in _places("nvidia") for each in place.glob("*/lib"))
            for folder in folders:
                ort.preload_dlls(directory=str(folder))
            _load_from(folders, (*NEEDED[major], CUDNN))  # older ones know fewer of them


def _load_from(folders: Sequence[Path], names: Sequence[str]) -> None:
    """Load libraries from the folders that have them; who asks for them by name then finds them."""
    for name in names:
        for file in (folder / name for folder in folders):
            if file.exists():
                _unloadable(str(file))


def _places(module: str) -> list[Path]:
    """Return the folders of a module of NVIDIA's wheels, wherever Python finds those."""
    found = importlib.util.find_spec(module)
    return [Path(place) for place in (found.submodule_search_locations if found else None) or ()]


def _unloadable(name: str, mode: int = ctypes.DEFAULT_MODE) -> str:
    """Reason why a library cannot be loaded, empty if it can."""
    try:
        ctypes.CDLL(name, mode)
    except OSError as error:
        return FOLDERS.sub("", str(error))
    return ""

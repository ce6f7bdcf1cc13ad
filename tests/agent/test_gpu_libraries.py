"""Libraries of CUDA and TensorRT, each test with one or a build that really is missing."""

import importlib.metadata
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from benchbox.agent.gpu import libraries
from tests.fakegpu.building import Libraries

# The module of a build for CUDA, of which these names are used; it prints as the real one does.
BUILD = """
import sys, types
ort = types.ModuleType("onnxruntime")
ort.__version__ = "1.31.1"
ort.cuda_version = {version!r}
ort.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
ort.preload_dlls = lambda directory=None: print("Failed to load libcublasLt.so.13")
sys.modules["onnxruntime"] = ort
"""
PREPARE = """
from benchbox.agent.gpu import libraries
try:
    result = libraries.prepare()
except RuntimeError as error:
    result = str(error)
"""


HELP = "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def prepared(fake_gpu: Libraries, *broken: str, version: str = "13.0") -> object:
    """What `prepare` returns or says where some libraries cannot be loaded.

    They are there, as empty files, and so hide those that this machine may have.
    """
    folder = fake_gpu.linked("libraries", without=broken)
    for name in broken:
        (folder / name).touch()
    return fake_gpu.run(BUILD.format(version=version) + PREPARE, folders=[folder])


@pytest.mark.parametrize(
    ("broken", "version", "parts"),
    [
        (
            ["libcuda.so.1", "libcublas.so.13"],
            "13.0",
            ["there is no NVIDIA driver here (libcuda.so.1: file too short)", "--gpus all"],
        ),
        *(
            ([name], "13.0", [f"({name}: file too short)", HELP])
            for name in ("libcudart.so.13", "libcublasLt.so.13", "libcurand.so.10", "libcudnn.so.9")
        ),
        ([], "11.8", ["built for CUDA 11.8"]),
        ([], "13.0", ["13"]),
    ],
)
def test_cuda_s_major_version_or_what_is_missing_first_with_what_helps(
    fake_gpu: Libraries, broken: list[str], version: str, parts: list[str]
) -> None:
    text = str(prepared(fake_gpu, *broken, version=version))
    assert all(part in text for part in parts)
    assert (text == "13") == (parts == ["13"])


def test_a_build_without_cuda_is_told_with_both_commands() -> None:
    assert "CUDAExecutionProvider" not in ort.get_available_providers()
    with pytest.raises(RuntimeError, match=r"built without CUDA: pip uninstall onnxruntime, then"):
        libraries.prepare()


def test_two_builds_in_one_place_are_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.metadata.version("onnxruntime-gpu") == "1.31.1"
    with pytest.raises(RuntimeError, match="both installed and overwrite each other"):
        libraries.prepare()


def test_without_onnxruntime_the_command_is_shown(fake_gpu: Libraries) -> None:
    text = str(fake_gpu.run(f"import sys; sys.modules['onnxruntime'] = None\n{PREPARE}"))
    assert text.startswith("ONNX Runtime cannot be imported")
    assert text.endswith(HELP)


def test_what_the_preloading_prints_is_not_shown(fake_gpu: Libraries) -> None:
    code = f"{BUILD.format(version='13.0')}import contextlib, io\nout = io.StringIO()"
    code += f"\nwith contextlib.redirect_stdout(out):{PREPARE.replace(chr(10), chr(10) + '    ')}"
    assert fake_gpu.run(f"{code}\nresult = out.getvalue()") == ""


@pytest.mark.parametrize("own", ["", "ort.preload_dlls = lambda directory=None: None\n"])
def test_libraries_of_wheels_in_another_folder_than_onnxruntime_s_are_found(
    fake_gpu: Libraries, own: str
) -> None:
    site, driver = fake_gpu.work / "site" / "nvidia", fake_gpu.work / "driver"
    for library in fake_gpu.folder.glob("*.so.*"):
        wheel = site / ("cudnn" if "cudnn" in library.name else "cu13") / "lib"
        folder = driver if "libcuda.so" in library.name else wheel
        folder.mkdir(parents=True, exist_ok=True)
        (folder / library.name).symlink_to(library)
    code = f"""
import sys
sys.path.insert(0, {str(site.parent)!r})
import onnxruntime as ort  # whose own function it is that loads them, unless `own` is another
ort.cuda_version = "13.0"
ort.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
"""
    assert fake_gpu.run(code + own + PREPARE, folders=[driver]) == 13


# TensorRT


PREPARE_TENSORRT = PREPARE.replace("prepare()", "prepare(libraries.TENSORRT)")
BUILD_TENSORRT = """
ort.get_available_providers = lambda: [
    "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
]
ort.__file__ = {home!r} + "/__init__.py"
"""


def prepared_tensorrt(
    fake_gpu: Libraries, *missing: str, home: str = "onnxruntime", wheel: int = 0
) -> object:
    """The same of TensorRT; what is missing is nowhere, so that a wheel may have it."""
    folder = fake_gpu.linked(f"libraries of {home}", without=missing)
    site = fake_gpu.work / "site"
    (site / "tensorrt_libs").mkdir(parents=True, exist_ok=True)
    for name in ("libnvinfer", "libnvonnxparser") if wheel else ():
        library = site / "tensorrt_libs" / f"{name}.so.{wheel}"
        library.symlink_to(fake_gpu.folder / f"{name}.so.10")
    build = BUILD.format(version="13.0") + BUILD_TENSORRT.format(home=str(fake_gpu.folder / home))
    build += f"sys.path.insert(0, {str(site)!r})\n" if wheel else ""
    version = "\nif result == 13: result = libraries.tensorrt_version()\n"
    return fake_gpu.run(build + PREPARE_TENSORRT + version, folders=[folder])


NAMED = "this ONNX Runtime needs TensorRT 10, of which a library is missing ({}: "
WHEEL_OF_10 = "pip install 'tensorrt-cu13-libs==10.*'"
ENGINES, PARSER = "libnvinfer.so.10", "libnvonnxparser.so.10"


@pytest.mark.parametrize(
    ("missing", "more", "parts"),
    [
        ([], {}, ["10.16.1"]),
        ([ENGINES, PARSER], {"wheel": 10}, ["10.16.1"]),
        ([ENGINES], {}, [NAMED.format(ENGINES), WHEEL_OF_10]),
        ([PARSER], {}, [NAMED.format(PARSER), WHEEL_OF_10]),
        (
            *([ENGINES], {"wheel": 11}),
            ["No such file or directory; there is libnvinfer.so.11): pip install"],
        ),
        (
            *([], {"home": "elsewhere"}),
            ["lists TensorRT and lacks its part for it, libonnxruntime_providers_tensorrt.so"],
        ),
    ],
)
def test_tensorrt_has_its_version_or_what_it_lacks_is_named(
    fake_gpu: Libraries, missing: list[str], more: dict[str, Any], parts: list[str]
) -> None:
    text = str(prepared_tensorrt(fake_gpu, *missing, **more))
    assert all(part in text for part in parts)


def test_a_build_without_tensorrt_is_refused_with_both_commands(fake_gpu: Libraries) -> None:
    text = str(fake_gpu.run(BUILD.format(version="13.0") + PREPARE_TENSORRT))
    assert "was built without TensorRT: pip uninstall onnxruntime-gpu, then pip install" in text


@pytest.mark.parametrize(("on", "override"), [(False, "0"), (True, None)])
def test_tensorrt_rounds_to_tf32_only_where_it_is_asked_to(
    fake_gpu: Libraries, override: str | None, *, on: bool
) -> None:
    code = "import os\nfrom benchbox.agent.gpu import libraries\n"
    code += "os.environ['NVIDIA_TF32_OVERRIDE'] = '0' if {on} else '1'\n"
    code += "libraries.choose_tf32(on={on})\nresult = os.environ.get('NVIDIA_TF32_OVERRIDE')"
    assert fake_gpu.run(code.format(on=on)) == override

"""Libraries of CUDA and TensorRT, each test with one or a build that really is missing."""

import ctypes
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbox.agent.gpu import libraries, runtime
from tests.fakegpu.building import ROOT, Libraries

CUDA, TENSORRT = libraries.PROVIDER, libraries.TENSORRT
HELP = r"pip install 'onnxruntime-gpu\[cuda,cudnn\]'"
Build = Callable[..., Path]


@pytest.fixture
def build(fake_gpu: Libraries, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a function that makes a build of ONNX Runtime, and the folder of its libraries.

    Libraries are looked for there and nowhere else.
    """

    def make(
        version: str = "13.0",
        providers: tuple[str, ...] = (CUDA, TENSORRT),
        home: str = "",
        missing: str = "none",
        wheel: str = "none",
    ) -> Path:
        folder = fake_gpu.copy().folder
        (folder / missing).unlink(missing_ok=True)
        (fake_gpu.work / "tensorrt_libs").mkdir()
        (fake_gpu.work / "tensorrt_libs" / wheel).touch()
        monkeypatch.syspath_prepend(str(fake_gpu.work))
        module = SimpleNamespace(
            __version__="1.31.1",
            __file__=str(folder / "onnxruntime" / home / "__init__.py"),
            cuda_version=version,
            get_available_providers=lambda: providers,
            preload_dlls=lambda **_: sys.stdout.write("Failed to load libcublasLt.so.13\n"),
        )
        monkeypatch.setitem(sys.modules, "onnxruntime", module)

        def load(name: str, mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
            return ctypes.CDLL(str(folder / name), mode)

        monkeypatch.setattr(libraries, "ctypes", SimpleNamespace(**vars(ctypes) | {"CDLL": load}))
        return folder

    return make


@pytest.mark.parametrize(
    ("broken", "version", "text"),
    [
        (
            *(["libcuda.so.1", "libcublas.so.13"], "13.0"),
            r"there is no NVIDIA driver here \(libcuda.so.1: file too short\).*--gpus all",
        ),
        *(
            ([name], "13.0", rf"\({name}: file too short\).*{HELP}")
            for name in ("libcudart.so.13", "libcurand.so.10", "libcudnn.so.9")
        ),
        ([], "11.8", "built for CUDA 11.8"),
        ([], "13.0", ""),
    ],
)
def test_cuda_s_major_version_or_what_is_missing_first_with_what_helps(
    build: Build, broken: list[str], version: str, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = build(version)
    for name in broken:
        (folder / name).write_bytes(b"")
    if text:
        with pytest.raises(RuntimeError, match=text):
            libraries.prepare()
    else:
        assert libraries.prepare() == 13
    assert capfd.readouterr() == ("", ""), "what preloading prints is not shown"


@pytest.mark.parametrize(
    ("providers", "text"),
    [
        ((), "built without CUDA and TensorRT: pip uninstall onnxruntime, then pip install"),
        ((CUDA,), "built without TensorRT: pip uninstall onnxruntime-gpu, then pip install"),
    ],
)
def test_a_build_without_a_provider(build: Build, providers: tuple[str, ...], text: str) -> None:
    build(providers=providers)
    with pytest.raises(RuntimeError, match=text):
        libraries.prepare(TENSORRT)


def test_two_builds_or_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.metadata.version("onnxruntime-gpu") == "1.31.1"
    with pytest.raises(RuntimeError, match="both installed and overwrite each other"):
        libraries.prepare()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeError, match=f"^ONNX Runtime cannot be imported .*{HELP}$"):
        libraries.prepare()


NAMED = "this ONNX Runtime needs TensorRT 10, of which a library is missing {}.*{}"
WHEEL_OF_10 = r"pip install 'tensorrt-cu13-libs==10\.\*'"
NO_PART = "lists TensorRT and lacks its part for it, libonnxruntime_providers_tensorrt.so"
ENGINES, PARSER = "libnvinfer.so.10", "libnvonnxparser.so.10"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({}, ""),
        ({"missing": ENGINES}, NAMED.format(rf"\({ENGINES}: ", WHEEL_OF_10)),
        ({"missing": PARSER}, NAMED.format(rf"\({PARSER}: ", WHEEL_OF_10)),
        ({"missing": ENGINES, "wheel": "libnvinfer.so.11"}, r"there is libnvinfer.so.11\): pip"),
        ({"home": "elsewhere"}, NO_PART),
    ],
)
def test_what_tensorrt_lacks(build: Build, how: dict[str, str], text: str) -> None:
    build(**how)
    if text:
        with pytest.raises(RuntimeError, match=text):
            runtime.require(0, TENSORRT)
    else:
        assert (libraries.prepare(TENSORRT), libraries.tensorrt_version()) == (13, "10.16.1")


PREPARE = """
import onnxruntime as ort  # whose own function it is that loads them, unless `own` is another
from benchbox.agent.gpu import libraries
ort.cuda_version, ort.__file__ = "13.0", {file!r}
ort.get_available_providers = lambda: [libraries.PROVIDER, libraries.TENSORRT]
{own}
print(libraries.prepare(libraries.TENSORRT), libraries.tensorrt_version())
"""


@pytest.mark.parametrize("own", ["", "ort.preload_dlls = lambda directory=None: None"])
def test_libraries_of_wheels_in_another_folder_are_found(fake_gpu: Libraries, own: str) -> None:
    site, driver = fake_gpu.work / "site", fake_gpu.work / "driver"
    wheels = {
        "libcuda.so": driver,
        "cudnn": site / "nvidia/cudnn/lib",
        "libnv": site / "tensorrt_libs",
    }
    for library in fake_gpu.folder.glob("*.so.*"):
        found = [folder for part, folder in wheels.items() if part in library.name]
        folder = found[0] if found else site / "nvidia/cu13/lib"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / library.name).symlink_to(library)
    file = fake_gpu.folder / "onnxruntime" / "__init__.py"
    done = subprocess.run(
        [sys.executable, "-c", PREPARE.format(file=str(file), own=own)],
        env={**os.environ, "LD_LIBRARY_PATH": str(driver), "PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "13 10.16.1\n", done.stderr


@pytest.mark.parametrize(("on", "override"), [(False, "0"), (True, None)])
def test_tf32_if_asked(monkeypatch: pytest.MonkeyPatch, override: str | None, *, on: bool) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0" if on else "1")
    libraries.choose_tf32(on=on)
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == override

"""PyPI's packages of execution providers: what they bring is what benchbox says of them.

`make test-wheels` downloads them; they are for other machines, and only QNN's for x86 runs here.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchbox.agent.ort import plugins
from benchbox.devices import providers
from benchbox.records import Record
from tests.cli.conftest import bench, graphs
from tests.helpers.command import CalmCommand, only_run

__all__ = ["bench", "graphs"]

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    os.environ.get("BENCHBOX_TEST_WHEELS") != "required", reason="370 MB: make test-wheels"
)
# What only a build with the provider refers to.
SIGNS = {
    "coreml": b"MLModelConfiguration",
    "directml": b"DirectML.dll",
    "xnnpack": b"xnn_initialize",
    "nnapi": b"ANeuralNetworksModel_create",
    "acl": b"arm_compute",
}


def unpacked(folder: Path, requirement: str, platform: str) -> Path:
    """The files of a wheel for a platform."""
    where = ["--platform", platform, "--python-version", "3.11", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    subprocess.run([*pip, "-q", *where, "-d", str(folder), requirement], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


@pytest.mark.parametrize(
    ("requirement", "platform", "brings"),
    [
        ("onnxruntime==1.32.0", "macosx_14_0_arm64", {"coreml"}),
        ("onnxruntime==1.32.0", "manylinux_2_28_aarch64", set()),
        ("onnxruntime==1.32.0", "win_arm64", set()),
        ("onnxruntime-directml==1.24.4", "win_amd64", {"directml"}),
    ],
)
def test_builds_have_these_providers(
    tmp_path: Path, requirement: str, platform: str, brings: set[str]
) -> None:
    (library,) = unpacked(tmp_path, requirement, platform).glob(
        "onnxruntime/capi/onnxruntime_pybind11_state*"
    )
    content = library.read_bytes()
    assert {name for name, sign in SIGNS.items() if sign in content} == brings
    missing = [
        providers.named(name) for name in brings if providers.named(name).encode() not in content
    ]
    assert not missing


@pytest.mark.parametrize(
    ("short", "requirement", "platform", "said"),
    [
        (
            "qnn",
            "onnxruntime-qnn==2.7.0",
            "manylinux_2_34_aarch64",
            "for another kind of processor",
        ),
        ("qnn", "onnxruntime-qnn==2.7.0", "win_arm64", "invalid ELF header"),
        ("webgpu", "onnxruntime-ep-webgpu==0.4.0", "manylinux_2_28_x86_64", "finds no device here"),
    ],
)
def test_plugins_say_where_their_library_is_and_of_another_machine_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    short: str,
    requirement: str,
    platform: str,
    said: str,
) -> None:
    provider = providers.named(short)
    package = unpacked(tmp_path, requirement, platform) / plugins.PACKAGES[provider]
    loaded = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert loaded is not None and loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    monkeypatch.setitem(sys.modules, package.name, module)
    loaded.loader.exec_module(module)
    assert module.get_ep_names() == [provider]
    found = Path(module.get_library_path())
    library = found if found.exists() else next(package.rglob("onnxruntime_providers_*.dll"))
    with pytest.raises(ValueError, match=said):
        plugins.load({"provider": provider, "library": str(library), "options": {}})


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="it is for Linux on x86"
)
def test_qnn_for_x86_is_told_its_backend_and_its_simulator_is_not_timed(
    bench: CalmCommand, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("qnn")
    unpacked(folder, "onnxruntime-qnn==2.7.0", "manylinux_2_35_x86_64")
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def run(options: str, code: int) -> Record:
        asked = ("--quick", "--max-time", "1s", "--provider", f"qnn{options}", "--allow-emulated")
        bench("run", "small.onnx", *asked, code=code)
        (record,) = only_run(f"cpu-qnn{options.replace(',', '-').replace('=', '-')}").records
        return record

    assert "name one: --provider qnn,backend_type=htp" in run("", 1).reason
    absent = run(",backend_type=cpu", 1).reason  # the wheel has no library of that one
    assert f"none of its nodes runs on {plugins.QNN}" in absent
    simulated = run(",backend_type=htp", 0)
    assert simulated.status == "skipped" and simulated.bursts  # by QNN, or it had failed
    context = only_run("cpu-qnn-backend_type-htp").context
    assert context.host["emulated"] and context.plugin["provider"] == plugins.QNN

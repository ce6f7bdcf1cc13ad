"""Plug-ins as `--provider` names them."""

import os
from pathlib import Path

import pytest

from benchbox import devices
from benchbox.agent.ort.plugins import OPENVINO
from benchbox.devices import provider_needs, providers
from benchbox.devices.plugins import Plugin
from benchbox.errors import DeviceError, UsageError

CONFIG = 'load_config={"CPU":{"A":"1","B":"2"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu,openvino,torch", [providers.CPU, OPENVINO, "torch"]),
        (
            "openvino,precision=fp32, device=cpu,cpu",
            [f"{OPENVINO},precision=fp32,device=cpu", providers.CPU],
        ),
        (f"openvino,{CONFIG},openvino", [f"{OPENVINO},{CONFIG}", OPENVINO]),
        ("plugin:/a=b/x.so,k=v,plugin:y.so", ["plugin:/a=b/x.so,k=v", "plugin:y.so"]),
    ],
)
def test_options_stand_after_their_provider(text: str, expected: list[str]) -> None:
    assert providers.several(text) == expected


def test_a_device_has_the_plugin_with_its_options_in_its_name(in_tmp: Path) -> None:
    (in_tmp / "libonnxruntime_providers_npu_plugin.so.1").touch()
    found = devices.resolve("cpu", provider="plugin:libonnxruntime_providers_npu_plugin.so.1,a=b c")
    library = str(in_tmp / "libonnxruntime_providers_npu_plugin.so.1")
    assert (found.name, found.provider) == ("cpu-npu-a-b-c", "plugin")
    assert found.plugin == Plugin("npu-a-b-c", "", library, (("a", "b c"),))
    devices.require_claims(found, "x86_64")
    own = devices.resolve("ssh://b", provider=providers.named(f"openvino,{CONFIG},precision=fp32"))
    assert own.plugin is not None and own.plugin.provider == own.provider == OPENVINO
    assert own.name.endswith("-openvino-cda6cb-fp32")
    assert providers.without_provider(found.name, "Npu", "npu-a-b-c") == "cpu"
    there = devices.resolve("ssh://b", provider="plugin:/opt/x.so").plugin
    assert there is not None and there.library == "/opt/x.so"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("cpu", "plugin:", "--provider plugin:: write plugin:PATH, of the provider's library"),
        ("ssh://b", "plugin:x.so", "--provider plugin:x.so: write its whole path on the device"),
        ("cpu", "cpu,a=b", "--provider cpu,a=b: cpu takes no options"),
        ("cpu", "cpu,as=b", "--provider cpu,as=b: cpu takes no options"),
        ("cpu", "torch,a=b", "--provider torch,a=b: torch takes no options"),
        ("cpu", "openvino,a=b", f"--provider openvino: a=b: {OPENVINO} takes device, precision"),
        ("cpu", "openvino,precision=8", "precision=8: choose fp32, bf16, fp16"),
        ("cpu", 'openvino,load_config={"CPU":5}', 'load_config={"CPU":5}: write it as {"CPU": {'),
        ("cpu", "openvino,device=cpu,device=gpu", "'device=gpu' is no option, or given twice"),
        ("cpu", "openvino,openvino", "openvino is named twice"),
        ("cpu", "qnn,device=npu,qnn,device=NPU", "qnn,device=npu is named twice"),
        (
            "cpu",
            "openvino,precision=float32,openvino,precision=FP32",
            "openvino,precision=fp32 is named twice",
        ),
        ("cpu", "cpu,,openvino", "--provider cpu,,openvino: a name is missing beside a comma"),
        ("cpu", "plugin", "--provider plugin: write plugin:PATH, of the provider's library"),
        ("cpu", "plugin:/a,b/x.so", "--provider b/x.so: write plugin:PATH, without commas"),
        ("cpu", "cpu,tirch", "did you mean"),
        ("cuda", "openvino", "--provider openvino: not on GPUs; choose cuda, tensorrt or torch"),
    ],
)
def test_what_names_no_plugin_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        for provider in providers.several(text):
            devices.resolve(name, provider=provider)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [("no.so", "no such file"), ("folder.so", "it is a directory"), ("pipe.so", "it is no file")],
)
def test_a_path_that_leads_to_no_library_is_one_line(in_tmp: Path, path: str, said: str) -> None:
    (in_tmp / "folder.so").mkdir()
    os.mkfifo(in_tmp / "pipe.so")
    with pytest.raises(DeviceError, match=f"^--provider plugin:.*{path}: {said}$"):
        devices.resolve("cpu", provider=f"plugin:{path}")


def test_options_of_one_value_have_names_of_their_own() -> None:
    words = ("qnn,device=cpu", "qnn,backend_type=cpu", "qnn,backend_type=htp", "qnn,a=b,as=c")
    found = [devices.resolve("cpu", provider=providers.named(word)).name for word in words]
    assert found == [
        "cpu-qnn-cpu",
        "cpu-qnn-backend_type-cpu",
        "cpu-qnn-backend_type-htp",
        "cpu-c-a-b",
    ]


def test_a_device_has_its_providers_and_hears_of_those_that_fit_its_machine() -> None:
    there = [OPENVINO, providers.CPU, "AzureExecutionProvider"]
    own, *others = providers.rows(there, "Linux", "amd64")
    assert own == ("providers", "openvino, cpu")
    assert [text.split()[0] for _, text in others] == ["qnn", "webgpu"]
    on_arm = providers.rows([providers.CPU], "Linux", "aarch64")[1]
    qnn = "qnn (Snapdragon with a Hexagon NPU; x86 has a simulator): pip install onnxruntime-qnn"
    assert on_arm == ("others", qnn)
    assert providers.rows([], "Darwin", "arm64")[1][1].startswith("coreml (Mac): onnxruntime")
    assert list(dict(providers.rows([providers.CPU], "", "aarch64"))) == ["providers"]
    for short, system, machine in (
        ("openvino", "Linux 6.1", "aarch64"),
        ("directml", "Linux 6.1", "x86_64"),
    ):
        with pytest.raises(DeviceError, match=f"; no package brings it to Linux on {machine}; l"):
            providers.require(providers.named(short), [providers.CPU], "b", system, machine)
    assert {*providers.NAMES, *providers.GPUS} == set(provider_needs.NEEDS)

"""Plug-ins: what is no plug-in, the device and options chosen, and the precision that ran."""

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from benchbox.agent.ort import check_outputs, plugins, session
from benchbox.agent.ort.runtime import OnnxRuntime
from benchbox.agent.stdio import Refusal
from benchbox.devices import Device
from benchbox.devices.plugins import Plugin
from benchbox.errors import DeviceError
from benchbox.transports import connect, open_agent
from benchbox.transports.client import Deadlines
from tests.conftest import WriteOnnx
from tests.fakegpu.building import build, compiler

OPENVINO = plugins.OPENVINO
INPUTS = [{"name": "x", "shape": [32, 32], "dtype": "float32"}]
SOURCE = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct base { const void *const *(*api)(unsigned); const char *(*version)(void); };
typedef void *(*status)(int, const char *);
void *CreateEpFactories(const char *name, const struct base *base, void *log, void **made,
                        size_t room, size_t *count) {
  (void)name, (void)log, (void)made, (void)room;
  if (HOW == 'c') abort();
  while (HOW == 'h') pause();
  if (HOW == 'n' && !base->api(999)) return ((status)base->api(1)[0])(1, "it needs API 999");
  *count = 0;
  return NULL;
}
void *ReleaseEpFactory(void *factory) { return (void)factory, NULL; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that compiles a plug-in that crashes, is too new, or offers nothing."""
    cc = compiler()
    if cc is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "plugin.c").write_text(SOURCE)

    def built(how: str) -> Path:
        path = folder / f"{how}.so"
        build(cc, folder / "plugin.c", path, f"-DHOW='{how[0]}'")
        return path

    return built


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("crashing", "its agent was to load plug-in p: the agent is gone: it was ended by SIGABRT"),
        ("newer", "newer.so is no plug-in for its ONNX Runtime: it needs API 999"),
        ("hanging", "its agent was to load plug-in p: the agent gave no answer for 5 s"),
        ("empty", "empty.so finds no device here that it can run on"),
        ("text", "text.so is no plug-in for its ONNX Runtime: file too short"),
        ("riscv", "riscv.so is no plug-in .*: it is for another kind of processor"),
    ],
)
def test_what_is_no_plugin_is_one_line_of_the_device(
    library: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    said: str,
) -> None:
    monkeypatch.setattr(connect, "_deadlines", lambda _: Deadlines(hello_s=5.0))
    (tmp_path / "text.so").write_text("words")
    riscv = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xf3\x00\x01"
    (tmp_path / "riscv.so").write_bytes(riscv + bytes(4096))
    path = tmp_path / f"{how}.so" if how in ("text", "riscv") else library(how)
    device = Device("cpu-p", "plugin", 1, "arm", plugin=Plugin("p", "", str(path)))
    with pytest.raises(DeviceError, match=f"^device 'cpu-p': {said}") as caught:
        open_agent(device)
    assert "\n" not in str(caught.value)


def test_a_library_without_its_neighbours_says_what_it_needs() -> None:
    said = plugins._unfit(f"libneighbour.so.1: {plugins.ABSENT}")
    assert said.startswith("needs libneighbour.so.1, ") and "is no plug-in" not in said


def offered(kind: str, provider: str = OPENVINO, **metadata: str) -> Any:
    hardware = SimpleNamespace(
        type=SimpleNamespace(name=kind), vendor_id=1, device_id=2, vendor="V", metadata={}
    )
    return SimpleNamespace(ep_name=provider, device=hardware, ep_metadata=metadata)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that has the next library bring devices."""
    there: list[Any] = []
    monkeypatch.setattr(ort, "get_ep_devices", lambda: list(there))

    def bring(*devices: Any) -> None:
        take = lambda _, library: there.extend(devices)  # noqa: ARG005, E731
        monkeypatch.setattr(ort, "register_execution_provider_library", take)

    return bring


class Options(SimpleNamespace):
    intra_op_num_threads = 3

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        (self.device,), self.options = devices, options


def asked(**options: str) -> dict[str, Any]:
    return {"provider": "", "library": __file__, "options": options}


def test_openvino_is_told_its_threads_and_types_and_the_device_is_named(
    register: Callable[..., None], tmp_path: Path
) -> None:
    config = tmp_path / "c.json"
    config.write_text('{"CPU": {"NUM_STREAMS": "1"}}')
    gpu, cpu = offered("GPU", FULL_DEVICE_NAME="Arc"), offered("CPU", version="1.8")
    register(gpu, cpu, offered("CPU", "OpenVINOExecutionProvider.AUTO"))
    found = plugins.load(asked(precision="bf16", load_config=str(config)))
    assert found is not None
    options = found.attach(Options())
    assert options.device is cpu and list(options.options) == ["load_config"]
    assert json.loads(options.options["load_config"]) == {
        "CPU": {
            "INFERENCE_NUM_THREADS": "3",
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": "bf16",
        }
    }
    facts = {
        "provider": OPENVINO,
        "library": Path(__file__).name,
        "device": "CPU",
        "version": "1.8",
    }
    assert found.facts.items() >= {**facts, "hardware": "V"}.items()


def test_the_content_of_a_file_that_an_option_names_is_told(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    told = []
    for text in ('{"CPU": {}}', '{"CPU": {"A": "1"}}'):
        config.write_text(text)
        found = plugins._chosen(
            __file__, [offered("CPU")], {"load_config": str(config), "precision": "fp32"}
        )
        told.append(found.facts["options"])
    (one, other), names = told, {each["precision"] for each in told}
    assert one["load_config"].startswith(f"{config} (") and one != other and names == {"fp32"}


@pytest.mark.parametrize(("machine", "simulator"), [("x86_64", True), ("aarch64", False)])
def test_a_npu_of_qnn_is_a_simulator_on_x86(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch, machine: str, simulator: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    register(offered("CPU", plugins.QNN))
    found = plugins.load(asked(backend_type="htp"))
    assert found is not None and (plugins.SIMULATOR in found.facts) == simulator


@pytest.mark.parametrize(
    ("provider", "file", "expected"),
    [
        ("", "libonnxruntime_providers_qnn.so", plugins.QNN),
        ("", "libonnxruntime_providers_openvino_plugin.so", OPENVINO),
        (plugins.QNN, "x.so", plugins.QNN),
        ("", "libmy_ep.so.1", "my_ep"),
    ],
)
def test_a_library_is_registered_by_the_name_of_its_provider(
    provider: str, file: str, expected: str
) -> None:
    assert plugins._registered(provider, file) == expected


def test_another_device_and_another_providers_options(register: Callable[..., None]) -> None:
    gpu = offered("GPU", FULL_DEVICE_NAME="Arc")
    register(offered("CPU"), gpu)
    found = plugins.load(asked(device="gpu"))
    assert found is not None and found.facts["hardware"] == "Arc"
    assert json.loads(found.attach(Options()).options["load_config"]) == {"GPU": {}}
    register(offered("NPU", "Other"))
    found = plugins.load(asked(precision="int4", load_config="x"))
    assert found is not None and (found.kind, found.precisions) == ("NPU", ())
    assert found.attach(Options()).options == {"precision": "int4", "load_config": "x"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "npu"}, f"{OPENVINO} runs on CPU here, not NPU"),
        ({"device": "tpu"}, "device=tpu: choose cpu, gpu, npu"),
        ({"num_streams": "1"}, f"num_streams=1: {OPENVINO} takes device, precision, load_config"),
        ({"precision": "int4"}, "precision=int4: choose fp32, bf16, fp16"),
        ({"load_config": "no.json"}, "load_config=no.json: no such file"),
        ({"load_config": "/dev/zero"}, "load_config=/dev/zero: it is no file"),
        ({"load_config": ""}, "load_config=: not JSON"),
        ({"load_config": "large.json"}, "load_config=large.json: more than 1 MiB"),
        ({"load_config": "{"}, "load_config={: not JSON"),
        (
            {"load_config": '{"CPU": {"INFERENCE_NUM_THREADS": "2"}}'},
            "load_config: leave INFERENCE_NUM_THREADS out; --threads says how many",
        ),
        (
            {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'},
            "load_config: leave INFERENCE_PRECISION_HINT out; precision= says the type",
        ),
        ({"load_config": '{"GPU": {}}'}, f"'GPU' is unused, as {OPENVINO} runs on CPU here"),
        ({"load_config": '{"CPU": 1}'}, 'write it as {"CPU": {"NAME": "value"}}'),
    ],
)
def test_options_that_a_plugin_does_not_take_are_refused(
    register: Callable[..., None], in_tmp: Path, options: dict[str, str], said: str
) -> None:
    (in_tmp / "large.json").write_bytes(b" " * (plugins.MOST_BYTES + 1))
    register(offered("CPU"))
    with pytest.raises(ValueError) as caught:
        plugins.load(asked(**options))
    assert said in str(caught.value)


@pytest.mark.usefixtures("restored_path")
def test_a_package_is_found_or_the_build_has_the_provider_itself(
    register: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = {"provider": "QNNExecutionProvider", "library": "", "options": {}}
    monkeypatch.setitem(plugins.PACKAGES, "QNNExecutionProvider", "onnxruntime_none_such")
    package = tmp_path / "onnxruntime_none_such"
    assert plugins.load(named) is None
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["QNNExecutionProvider"])
    with pytest.raises(ValueError, match="are for its plug-in: pip install onnxruntime-none-such"):
        plugins.load({**named, "options": {"a": "b"}})
    package.mkdir()
    (package / "__init__.py").write_text("def get_library_path(): return __file__\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    register(offered("NPU", "QNNExecutionProvider"))
    found = plugins.load(named)
    assert found is not None and found.provider == "QNNExecutionProvider"


@pytest.mark.usefixtures("mask")
def test_a_graph_runs_on_a_plugin_and_its_outputs_are_compared(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's own device stands in for that of a library."""
    there: list[Any] = []
    own = list(ort.get_ep_devices())
    monkeypatch.setattr(ort, "get_ep_devices", lambda: list(there))
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *_: there.extend(own))
    runtime = OnnxRuntime()
    runtime.begin({"threads": 1, "plugin": asked()}, [])
    assert runtime.providers()[0] == session.CPU == (runtime.plugin() or {})["provider"]
    load = {"path": str(write_onnx()), "provider": session.CPU, "inputs": INPUTS, "seed": 0}
    loaded = runtime.load(load)
    assert loaded.nodes == {session.CPU: 1}
    same = {"output_error": 0.0, "computed_in": "float32"}
    assert runtime.compare({**load, "compare": "single"}, loaded) == same
    assert runtime.compare({**load, "compare": "quantised"}, loaded) == {"output_error": 0.0}
    with pytest.raises(Refusal, match=r"output 'y' on CPUExecutionProvider is 1\.\d* times its"):
        runtime.compare({**load, "compare": "single", "seed": 1}, loaded)


@pytest.mark.parametrize(
    ("how", "dtype", "expected"),
    [
        (1.0, "float32", "float32"),
        (1 + 1e-6, "float32", "float32"),
        ("half", "float32", check_outputs.LESS),
        (1.01, "bool", None),
    ],
)
def test_precision_is_told_by_what_rounding_of_the_inputs_makes_of_the_outputs(
    write_onnx: WriteOnnx, how: str | float, dtype: str, expected: str | None
) -> None:
    kind = "float" if dtype == "float32" else dtype
    text = f"g ({kind}[32,32] x) => (float[32,32] y) {{ a = Cast<to=1>(x) y = Abs(a) }}"
    request = {
        "path": str(write_onnx("g", text)),
        "seed": 0,
        "inputs": [{**INPUTS[0], "dtype": dtype}],
    }
    reference = check_outputs.CpuReference(request, 1)
    (right,) = reference._outputs
    given = (
        right.astype(np.float16).astype(np.float32) if how == "half" else right * np.float32(how)
    )
    off = check_outputs.require_alike(reference, [given], 1.0, "P")
    assert off is not None and check_outputs.precision(reference, off, "P") == expected


@pytest.mark.parametrize("how", [0.0, 0.4, -1.0])
def test_outputs_that_have_nothing_to_do_with_the_right_ones_are_refused(
    write_onnx: WriteOnnx, how: float
) -> None:
    request = {"path": str(write_onnx()), "seed": 0, "inputs": INPUTS}
    reference = check_outputs.CpuReference(request, 1)
    (right,) = reference._outputs
    given = [right * np.float32(how)]
    with pytest.raises(Refusal, match=r"output 'y' on P is .* more than 0\.5"):
        check_outputs.require_alike(reference, given, check_outputs.LOST, "P")


@pytest.mark.parametrize(("off", "first"), [(1e-7, "float32"), (1e-3, "bfloat16")])
def test_a_plugin_computed_in_the_type_that_gives_the_same_when_it_is_told(
    off: float, first: str
) -> None:
    values = {"float32": 1.0, "bfloat16": 1.25, "float16": 1.125}
    outputs = {name: [np.array([value], np.float32)] for name, value in values.items()}
    runs: list[str] = []

    def run(precision: str) -> list[Any]:
        runs.append(precision)
        return outputs[precision]

    plugin: Any = SimpleNamespace(precisions=tuple(values))
    told = partial(check_outputs.told_precision, plugin, run)
    assert told(outputs[first], off) == first and runs == [first]
    near = told([np.array([1.13], np.float32)], off)
    assert near == f"{check_outputs.NEAREST} float16" and len(runs) == 4

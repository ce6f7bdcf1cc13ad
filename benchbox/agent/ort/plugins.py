"""Plug-ins: execution providers in libraries of their own, which ONNX Runtime loads at run time."""

import hashlib
import importlib
import importlib.util
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from benchbox.agent.ort import messages
from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    import onnxruntime as ort

OPENVINO, QNN = "OpenVINOExecutionProvider", "QNNExecutionProvider"
# Python packages that bring the library of a provider, and say where it is.
PACKAGES = {
    OPENVINO: "onnxruntime_ep_openvino",
    QNN: "onnxruntime_qnn",
    "WebGpuExecutionProvider": "onnxruntime_ep_webgpu",
}
DEVICE, PRECISION, CONFIG = "device", "precision", "load_config"
THREADS, HINT = "INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT"  # of its configuration
SAID_BY = {THREADS: "--threads says how many", HINT: f"{PRECISION}= says the type"}
DEVICES = ("cpu", "gpu", "npu")
# What a provider calls the types that it can be told to compute in.
PRECISIONS = {OPENVINO: {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}}
TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# OpenVINO drops any other option without an error.
OPTIONS = {OPENVINO: (DEVICE, PRECISION, CONFIG)}
UNLOADED = re.compile(r"^Failed to load library .* with error: ")
ABSENT = "cannot open shared object file: No such file or directory"  # of one that is there too
MOST_BYTES = 1 << 20  # of a configuration
DIGITS = 12  # of a file's hash
VERSION = "version"  # in what a plug-in says of itself
SIMULATOR = "simulator"
NAMES = ("FULL_DEVICE_NAME", "Description")  # of the hardware, there or in what the system says


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A provider that was loaded, on one of the devices that it offers.

    `precision` is the type that it is told to compute in, if any; `options` go to the provider,
    `config` is what its `load_config`, where it has one, says of that device.
    """

    provider: str
    device: "ort.OrtEpDevice"
    precision: str
    options: Mapping[str, str]
    config: Mapping[str, Any]
    facts: Mapping[str, object]

    @property
    def kind(self) -> str:
        """CPU, GPU or NPU."""
        return str(self.device.device.type.name)

    @property
    def precisions(self) -> Sequence[str]:
        """The types that it can be told to compute in."""
        return tuple(PRECISIONS.get(self.provider, ()))

    def attach(self, options: "ort.SessionOptions") -> "ort.SessionOptions":
        """Have a session run on it, with as many threads as the session has."""
        own = dict(self.options)
        if self.provider == OPENVINO:
            ours = {THREADS: str(options.intra_op_num_threads)}
            given = {**(ours if self.kind == "CPU" else {}), **self.config}
            if self.precision:
                hint = PRECISIONS[OPENVINO][self.precision]
                given |= {HINT: hint}
            own[CONFIG] = json.dumps({self.kind: given})
        options.add_provider_for_devices([self.device], own)
        return options


def load(asked: Message) -> LoadedPlugin | None:
    """Load the plug-in that a `hello` asks for; None where its package is not there.

    Raises ValueError where it is no plug-in for this ONNX Runtime, or offers no such device.
    """
    import onnxruntime as ort

    library = asked["library"] or _in_package(asked["provider"])
    if library:
        return _chosen(library, _register(library, asked["provider"]), asked["options"])
    if asked["options"] and asked["provider"] in ort.get_available_providers():
        raise ValueError(
            f"options of {asked['provider']} are for its plug-in: "
            f"pip install {PACKAGES[asked['provider']].replace('_', '-')}"
        )
    return None


def _register(library: str, provider: str) -> list["ort.OrtEpDevice"]:
    """Have ONNX Runtime load a library; the devices that it offers."""
    import onnxruntime as ort

    if not hasattr(ort, "register_execution_provider_library"):
        raise ValueError(f"ONNX Runtime {ort.__version__} takes no plug-ins; 1.23 and newer do")
    require_file("plugin:", library)
    there = {_key(each) for each in ort.get_ep_devices()}
    try:
        ort.register_execution_provider_library(_registered(provider, library), library)
    except Exception as error:  # ONNX Runtime's have no common ancestor but this
        why = UNLOADED.sub("", messages.plain(str(error))).replace(f"{library}: ", "")
        raise ValueError(f"{Path(library).name} {_unfit(why)}") from None
    return [each for each in ort.get_ep_devices() if _key(each) not in there]


def _unfit(why: str) -> str:
    """Why a library cannot be loaded, after its name, by what the system's loader says."""
    if why == ABSENT:
        why = "it is for another kind of processor"
    elif why.endswith(ABSENT):
        return f"needs {why.removesuffix(f': {ABSENT}')}, which is not found: put it beside it"
    return f"is no plug-in for its ONNX Runtime: {why}"


def require_file(option: str, path: str) -> None:
    """Raise ValueError unless an option's file is there: a pipe would be waited for."""
    file = Path(path)
    if not file.is_file():
        why = "a directory" if file.is_dir() else "no file" if file.exists() else ""
        raise ValueError(f"{option}{path}: {f'it is {why}' if why else 'no such file'}")


def stem(library: str) -> str:
    """`webgpu` of `libonnxruntime_providers_webgpu.so.1`."""
    name = PurePath(library.replace("\\", "/")).name.partition(".")[0]
    return re.sub(r"^(lib)?(onnxruntime_providers_)?|_plugin$", "", name)


def _registered(provider: str, library: str) -> str:
    """The name to register a library by: some, as QNN's, make it the name of their provider."""
    own = stem(library)
    known = {each.lower(): each for each in PACKAGES}
    return provider or known.get(f"{own.lower()}executionprovider", own)


def installed() -> list[str]:
    """The providers that Python has packages of."""
    return [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]


def _in_package(provider: str) -> str:
    """The library of a provider that Python has a package of, else empty."""
    package = PACKAGES.get(provider, "")
    if not package or importlib.util.find_spec(package) is None:
        return ""
    try:
        return str(importlib.import_module(package).get_library_path())
    except Exception as error:
        raise ValueError(f"Python's {package} is broken: {messages.plain(str(error))}") from None


def _key(device: "ort.OrtEpDevice") -> tuple[str, str, int, int]:
    hardware = device.device
    return (device.ep_name, hardware.type.name, hardware.vendor_id, hardware.device_id)


def _chosen(
    library: str, offered: Sequence["ort.OrtEpDevice"], asked: Mapping[str, str]
) -> LoadedPlugin:
    """The plug-in on the device asked for, else on the processor, else on what it has."""
    if not offered:
        raise ValueError(f"{Path(library).name} finds no device here that it can run on")
    provider = offered[0].ep_name  # others are selections of its own among the same devices
    require_options(provider, asked)
    device = _device(provider, offered, asked.get(DEVICE, ""))
    words = own_options(provider)
    options = {name: value for name, value in asked.items() if name not in words}
    config = _config(asked[CONFIG]) if CONFIG in asked and CONFIG in words else {}
    kind = device.device.type.name
    if others := [each for each in config if each != kind]:
        raise ValueError(f"{CONFIG}: {others[0]!r} is unused, as {provider} runs on {kind} here")
    precision = _type(asked.get(PRECISION, "")) if PRECISION in words else ""
    facts = {
        "provider": provider,
        "library": Path(library).name,
        "sha256": _sha256(library),
        "device": kind,
        "hardware": _hardware(device),
        "options": {name: _with_digest(value) for name, value in asked.items()},
        VERSION: str(device.ep_metadata.get(VERSION, "")),
        **_simulator(provider, asked),
    }
    return LoadedPlugin(provider, device, precision, options, config.get(kind, {}), facts)


def _device(provider: str, offered: Sequence["ort.OrtEpDevice"], asked: str) -> "ort.OrtEpDevice":
    """The device of the kind asked for, else the processor, else the first."""
    own = [each for each in offered if each.ep_name == provider]
    kinds = [each.device.type.name for each in own]
    kind = asked.upper() or ("CPU" if "CPU" in kinds else kinds[0])
    if kind not in kinds:
        there = " and ".join(dict.fromkeys(kinds))
        raise ValueError(f"{provider} runs on {there} here, not {kind}")
    return own[kinds.index(kind)]


def own_options(provider: str) -> Sequence[str]:
    """The options that are read here; a provider gets all others as they are."""
    return OPTIONS.get(provider, (DEVICE,))


def require_options(provider: str, asked: Mapping[str, str]) -> None:
    """Raise ValueError for options that a provider does not take, as far as that is known."""
    takes = OPTIONS.get(provider)
    if takes and (unknown := [name for name in asked if name not in takes]):
        raise ValueError(f"{unknown[0]}={asked[unknown[0]]}: {provider} takes {', '.join(takes)}")
    if DEVICE in asked and asked[DEVICE].lower() not in DEVICES:
        raise ValueError(f"{DEVICE}={asked[DEVICE]}: choose {', '.join(DEVICES)}")
    known = PRECISIONS.get(provider, {})
    if known and PRECISION in asked and _type(asked[PRECISION]) not in known:
        raise ValueError(f"{PRECISION}={asked[PRECISION]}: choose {', '.join(TYPES)}")
    if takes and CONFIG in asked and _is_json(asked[CONFIG]):
        _config(asked[CONFIG])


def _type(name: str) -> str:
    return TYPES.get(name, name)


def _sha256(library: str) -> str:
    with Path(library).open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:DIGITS]


def _with_digest(value: str) -> str:
    """An option's value, with the hash of the file that it names: what is in it decides."""
    try:
        return f"{value} ({_sha256(value)})" if Path(value).is_file() else value
    except (OSError, ValueError):  # longer than a path can be, or not to be read
        return value


def _simulator(provider: str, asked: Mapping[str, str]) -> dict[str, str]:
    """What stands in for the hardware: QNN's library of an NPU computes on x86 processors too."""
    backend = asked.get("backend_type", asked.get("backend_path", ""))
    is_simulated = provider == QNN and "htp" in Path(backend).name.lower()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return {SIMULATOR: "QNN's simulator of an NPU"} if is_simulated and x86 else {}


def _config(text: str) -> Mapping[str, Any]:
    """The value of `load_config`, given as JSON or as a JSON file."""
    try:
        found = json.loads(text if _is_json(text) else _read(text))
    except OSError as error:
        raise ValueError(f"{CONFIG}={text}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{CONFIG}={text}: not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise ValueError(f'{CONFIG}={text}: write it as {{"CPU": {{"NAME": "value"}}}}')
    for name, instead in SAID_BY.items():
        if any(name in each for each in found.values()):
            raise ValueError(f"{CONFIG}: leave {name} out; {instead}")
    return found


def _is_json(text: str) -> bool:
    return not text or text.startswith("{")


def _read(path: str) -> bytes:
    require_file(f"{CONFIG}=", path)
    with Path(path).open("rb") as file:
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"{CONFIG}={path}: more than {MOST_BYTES >> 20} MiB")
    return found


def _hardware(device: "ort.OrtEpDevice") -> str:
    """The device's own name, else its vendor."""
    said = {**device.device.metadata, **device.ep_metadata}
    return str(next((said[name] for name in NAMES if said.get(name)), device.device.vendor))

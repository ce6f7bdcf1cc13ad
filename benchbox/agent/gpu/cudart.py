"""CUDA's runtime library through ctypes: devices, streams, events, and memory on the GPU.

Only what timing needs. Names, arguments and numbers are those of the CUDA Runtime API; a call that
returns anything but success raises CudaError. What is called `device` is CUDA's number of it, which
CUDA_VISIBLE_DEVICES changes.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any

from benchbox.agent.gpu import libraries

OUT_OF_MEMORY = 2
TOO_OLD_A_DRIVER = 35
NON_BLOCKING = 1  # cudaStreamNonBlocking: no waiting for the default stream
DEVICE_TO_DEVICE = 3  # cudaMemcpyDeviceToDevice
# cudaDeviceProp begins with the name; as a whole it takes about 1 KiB, by the version more or less.
NAME_BYTES = 256
PROPERTIES_BYTES = 16_384
BUS_ID_BYTES = 32
NS_PER_MS = 1e6

# Numbers of cudaDeviceAttr.
CLOCK_KHZ, MULTIPROCESSORS, MEMORY_CLOCK_KHZ, MEMORY_BUS_BITS, L2_BYTES = 13, 16, 36, 37, 38
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76

_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaDriverGetVersion": (POINTER(c_int),),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaSetDevice": (c_int,),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaDeviceGetPCIBusId": (c_char_p, c_int, c_int),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMemsetAsync": (c_void_p, c_int, c_size_t, c_void_p),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaLaunchHostFunc": (c_void_p, c_void_p, c_void_p),
    "cudaEventCreate": (POINTER(c_void_p),),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventSynchronize": (c_void_p,),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
}
HELP: Mapping[int, str] = {
    OUT_OF_MEMORY: "use a smaller batch, or end what else runs on the GPU",
    46: "another program has the GPU to itself (nvidia-smi shows its compute mode)",
    100: "nvidia-smi shows which GPUs the driver has; CUDA_VISIBLE_DEVICES may hide them",
    101: "nvidia-smi shows which GPUs the driver has; CUDA_VISIBLE_DEVICES may hide them",
    802: "the driver is still starting; with NVSwitch it waits for nvidia-fabricmanager",
    803: "the driver was updated while it was loaded: reboot, or reload its kernel modules",
    804: "this GPU needs a driver as new as CUDA: update the driver",
}


class CudaError(RuntimeError):
    """A call of CUDA's runtime that did not succeed; `code` is its number."""

    def __init__(self, code: int, doing: str, meaning: str, help_: str) -> None:
        text = f"{doing}: {meaning} (CUDA error {code})"
        super().__init__(f"{text}; {help_}" if help_ else text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Properties:
    """Properties of a GPU model; the clocks are its highest. Two GPUs of a kind have the same."""

    name: str
    capability: str
    memory_bytes: int
    l2_bytes: int
    multiprocessors: int
    clock_khz: int
    memory_clock_khz: int
    memory_bus_bits: int
    runtime: str
    driver_cuda: str


class CudaRuntime:
    """The library, with its functions typed."""

    def __init__(self, name: str) -> None:
        """Open the library by its file name, as the loader finds it.

        Raises RuntimeError when there is none, or when it lacks a function.
        """
        self._name = name
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            message = f"CUDA's runtime library cannot be loaded ({error}): {libraries.install()}"
            raise RuntimeError(message) from None
        self._calls = {each: self._typed(each, taken) for each, taken in _SIGNATURES.items()}
        self._library.cudaGetErrorString.restype = c_char_p

    def _typed(self, name: str, arguments: tuple[Any, ...]) -> Callable[..., int]:
        try:
            function = self._library[name]
        except AttributeError:
            raise RuntimeError(f"{self._name} has no {name}: it is none of CUDA 12 or 13") from None
        function.argtypes = arguments
        function.restype = c_int
        return function

    def call(self, name: str, *arguments: object) -> None:
        """Call a function by name; raises CudaError unless it succeeds."""
        code = self._calls[name](*arguments)
        if code:
            raise CudaError(code, name, self._meaning(code), self._help(code))

    def number(self, name: str, *arguments: object) -> int:
        """Call a function that puts a number where its first argument points; return that."""
        value = c_int()
        self.call(name, byref(value), *arguments)
        return value.value

    def handle(self, name: str, *arguments: object) -> int:
        """Call a function that puts an address where its first argument points; return that."""
        value = c_void_p()
        self.call(name, byref(value), *arguments)
        return value.value or 0

    def count(self) -> int:
        """Number of devices; raises CudaError where there is none."""
        return self.number("cudaGetDeviceCount")

    def require(self, index: int) -> None:
        """Raise RuntimeError unless there is a device `index`; makes no context on it."""
        if index >= (found := self.count()):
            raise RuntimeError(f"there is no GPU {index}: CUDA sees {found}, counted from 0")

    def bus_id(self, index: int) -> str:
        """PCI bus id of a device, by which NVML finds the same one; makes no context."""
        text = ctypes.create_string_buffer(BUS_ID_BYTES)
        self.call("cudaDeviceGetPCIBusId", text, BUS_ID_BYTES, index)
        return text.value.decode()

    def _meaning(self, code: int) -> str:
        text = self._library.cudaGetErrorString(code)
        return text.decode(errors="replace") if text else "unknown error"

    def _help(self, code: int) -> str:
        return self._about_the_driver() if code == TOO_OLD_A_DRIVER else HELP.get(code, "")

    def _about_the_driver(self) -> str:
        supported, needed = self.versions()
        if not supported:
            return "no NVIDIA driver is loaded: install it; in a container, start with --gpus all"
        oldest = libraries.OLDEST_DRIVERS.get(needed // 1000, "a newer one")
        return f"it has CUDA {_version(supported)}: update the driver to {oldest} or newer"

    def versions(self) -> tuple[int, int]:
        """CUDA versions of the driver, 0 without one, and of the runtime: 13000 is 13.0."""
        return self.number("cudaDriverGetVersion"), self.number("cudaRuntimeGetVersion")


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


class CudaDevice:
    """One GPU, made the current one of the calling thread."""

    def __init__(self, runtime: CudaRuntime, index: int = 0) -> None:
        """Choose the device `index`; raises CudaError when there is no such one."""
        self.runtime, self.index = runtime, index
        runtime.require(index)
        self.choose()

    def choose(self) -> None:
        """Make it the current device of the calling thread; from CUDA 12 on with a context."""
        self.runtime.call("cudaSetDevice", self.index)

    def properties(self) -> Properties:
        """Properties of the GPU."""
        driver, runtime = self.runtime.versions()
        capability = [self._attribute(each) for each in (CAPABILITY_MAJOR, CAPABILITY_MINOR)]
        return Properties(
            self._name(),
            ".".join(map(str, capability)),
            self.memory()[1],
            self._attribute(L2_BYTES),
            self._attribute(MULTIPROCESSORS),
            self._attribute(CLOCK_KHZ),
            self._attribute(MEMORY_CLOCK_KHZ),
            self._attribute(MEMORY_BUS_BITS),
            _version(runtime),
            _version(driver),
        )

    def l2_bytes(self) -> int:
        """Return the size of the second-level cache."""
        return self._attribute(L2_BYTES)

    def memory(self) -> tuple[int, int]:
        """Return the free and all bytes of the GPU's memory."""
        free, total = c_size_t(), c_size_t()
        self.runtime.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value, total.value

    def _attribute(self, attribute: int) -> int:
        return self.runtime.number("cudaDeviceGetAttribute", attribute, self.index)

    def _name(self) -> str:
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self.runtime.call("cudaGetDeviceProperties", properties, self.index)
        return ctypes.string_at(properties, NAME_BYTES).partition(b"\0")[0].decode(errors="replace")

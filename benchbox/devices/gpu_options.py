"""GPU options: mode, cache, TF32 and convolution search, and their words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from benchbox.devices import providers

Mode = Literal["graph", "eager", "compiled"]
Cache = Literal["hot", "cold"]
ConvSearch = Literal["exhaustive", "heuristic", "default"]
# The first of each is what nobody has to ask for; nothing of ONNX Runtime's is compiled.
MODES: tuple[Mode, ...] = ("graph", "eager")
CACHES: tuple[Cache, ...] = get_args(Cache)
SEARCHES: tuple[ConvSearch, ...] = get_args(ConvSearch)
OPTIONS = {"mode": "--mode", "cache": "--cache", "tf32": "--tf32", "conv_search": "--conv-search"}
WORDS: Mapping[str, str] = {
    "graph": "CUDA graph",
    "eager": "eager",
    "compiled": "compiled",
    "hot": "cache hot",
    "cold": "cache cold",
}
TORCH_MODES: Mapping[str, Mode] = {
    providers.TORCH: "eager",
    providers.TORCH_COMPILE: "compiled",
    providers.TORCH_CUDAGRAPH: "graph",
}

# What decides how fast a GPU is; of a divided one the parts differ in the last three.
IDENTITY = ("name", "driver", "power_limit_w", "multiprocessors", "l2_bytes", "memory_bytes")


def identity(facts: Mapping[str, Any], provider: str, versions: Mapping[str, str]) -> list[object]:
    """The facts that decide a GPU's sentinel readings and ceilings in any mode.

    They are equal for two equal GPUs. The sentinel is a product by the library that is timed.
    """
    library = "torch" if providers.runs_modules(provider) else "onnxruntime"
    return [*map(facts.get, IDENTITY), library, versions.get(library)]


@dataclass(frozen=True, slots=True)
class Driving:
    """How calls are made: replayed from a CUDA graph or launched kernel by kernel, and so on.

    With a cold `cache` the GPU's second-level cache holds nothing of the graph when a call begins.
    With `tf32` products of float32 numbers are rounded to ten bits where the GPU can. `conv_search`
    is how cuDNN's algorithms are chosen, anew in each process; None for TensorRT, which times its
    own kernels. Where PyTorch makes the calls its provider says the mode, and algorithms are all
    tried or chosen by cuDNN's heuristics.
    """

    mode: Mode = "graph"
    cache: Cache = "hot"
    tf32: bool = False
    conv_search: ConvSearch | None = "exhaustive"

    def by(self, provider: str) -> "Driving":
        """The options without those that a provider ignores or sets itself."""
        if provider in TORCH_MODES:
            tried: ConvSearch = "exhaustive" if self.conv_search == "exhaustive" else "heuristic"
            return Driving(TORCH_MODES[provider], self.cache, False, tried)
        return replace(self, conv_search=None) if provider == providers.TENSORRT else self

    def plan(self) -> dict[str, object]:
        """The options as they stand in the plan of a run."""
        return asdict(self)


def words(plan: Mapping[str, Any]) -> list[str]:
    """The GPU options of a plan in words; empty for a plan without any."""
    if "mode" not in plan:
        return []
    search = plan["conv_search"]
    return [
        WORDS[plan["mode"]],
        WORDS[plan["cache"]],
        "TF32" if plan["tf32"] else "no TF32",
        *([] if search in ("exhaustive", None) else [f"{search} choice of convolutions"]),
    ]

"""Devices by name: registered ones, addresses, clusters of processors, and providers."""

import platform
import re
from pathlib import Path
from typing import Any

import pytest

from benchbox import devices, host, records
from benchbox.agent.host import instructions
from benchbox.devices import CPU_PROVIDER, Device, providers
from benchbox.devices import kernels as device_kernels
from benchbox.devices.providers import GPUS, NAMES
from benchbox.devices.registry import CLUSTERS, Cluster, Processors
from benchbox.errors import BenchboxError, DeviceError, UsageError
from tests.conftest import WriteOnnx
from tests.helpers.command import invoke


def refusal(kind: type[BenchboxError], *asked: Any) -> str:
    with pytest.raises(kind) as caught:
        devices.resolve(*asked)
    return str(caught.value)


def test_cpu_is_this_machine_with_the_channels_of_the_papers_processor() -> None:
    assert devices.resolve("cpu") == Device("cpu", CPU_PROVIDER, 1, "arm")


@pytest.mark.parametrize("machine", ["aarch64", "ARM64", "x86_64", "armv7l"])
def test_arm_is_a_claim_about_the_machine(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if machine.lower() in ("aarch64", "arm64"):
        assert devices.resolve("arm").name == "arm"
        return
    assert f"this machine is {machine}, not an ARM" in refusal(DeviceError, "arm", None, "big")
    assert refusal(DeviceError, "arm") == (
        f"device 'arm': this machine is {machine}, not an ARM one; "
        "run benchbox on the board itself, or `benchbox device add arm ssh://user@host` "
        "(a phone: adb://serial)"
    )


@pytest.mark.parametrize(
    ("name", "meant"), [("cup", " (did you mean 'cpu'?)"), ("kettle9000", ""), ("CPU", "")]
)
def test_an_unknown_device_names_the_known_ones(name: str, meant: str) -> None:
    known = ", ".join(known for known, _ in devices.names())
    added = name if name.islower() else "NAME"
    assert refusal(DeviceError, name) == (
        f"unknown device {name!r}{meant}; benchbox times on: {known}; "
        f"a board gets a name by: benchbox device add {added} ssh://user@host"
    )


def test_what_looks_like_an_address_is_told_how_one_is_written() -> None:
    for name in ("http://pi", "pi@board"):
        assert "write an address as ssh://[user@]host[:port]" in refusal(DeviceError, name)
    for name in ("adb:R58", "adb://$(x)", "adb://-s"):
        assert "write it as adb://serial or adb://host:port" in refusal(UsageError, name)


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processors that this process may use."""
    usable = [0, 2, 4, 6]
    monkeypatch.setattr(host, "usable_cpus", lambda: usable)
    return usable


@pytest.mark.usefixtures("four_cpus")
@pytest.mark.parametrize(
    ("threads", "cpus", "expected"),
    [(None, (), 1), (None, (4,), 1), (None, (4, 0), 2), (2, (4, 0), 2), (3, (), 3)],
)
def test_there_are_as_many_threads_as_processors_named(
    threads: int | None, cpus: tuple[int, ...], expected: int
) -> None:
    device = devices.resolve("cpu", threads, cpus)
    assert (device.threads, device.cpus) == (expected, cpus)


@pytest.mark.usefixtures("four_cpus")
@pytest.mark.parametrize(
    ("threads", "cpus", "sentence"),
    [
        (2, (4,), "--cpus 4: name one processor for each of the 2 threads"),
        (1, (4, 6), "--cpus 4,6: name one processor for the thread"),
        (None, (0, 1), "--cpus 0,1: no processor 1 usable here; choose from 0, 2, 4, 6"),
        (None, (9,), "--cpus 9: no processor 9 usable here; choose from 0, 2, 4, 6"),
        (5, (), "--threads 5: choose 1 to 4, the processors usable here"),
        (5, "big", "--threads 5: choose 1 to 4, the processors usable here"),
        (0, (), "--threads 0: choose 1 to 4, the processors usable here"),
    ],
)
def test_processors_must_be_there_and_as_many_as_threads(
    threads: int | None, cpus: Processors, sentence: str
) -> None:
    assert refusal(UsageError, "cpu", threads, cpus) == sentence


def test_a_missing_runtime_says_which_of_two_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "onnxruntime", raising=False)
    assert "pip install 'benchbox[cpu]' for processors" in refusal(DeviceError, "cpu")


@pytest.fixture
def registered(in_tmp: Path) -> None:
    """Devices of the user, of which some have processors or a cluster."""
    (in_tmp / "config").mkdir()
    (in_tmp / "config/benchbox.toml").write_text(
        '[devices.pi]\nurl = "ssh://me@pi"\npython = "~/py"\nthreads = 2\ncpus = [2, 3]\n'
        '[devices.here]\nurl = "local"\n'
        '[devices.small]\nurl = "adb://R1"\ncpus = "little"\n'
        '[devices.fast]\nurl = "adb://R2"\ncpus = "big"\nthreads = 2\n'
        '[devices.four]\nurl = "adb://R4"\nthreads = 4\n'
        '[devices.arm]\nurl = "ssh://board"\ncpus = "big"\n'
    )


@pytest.mark.usefixtures("registered")
def test_the_command_for_another_python_is_whole() -> None:
    named, unnamed = devices.resolve("pi"), devices.resolve("ssh://me@pi")
    add = "benchbox device add"
    whole = f"{add} pi ssh://me@pi --python PATH --threads 2 --cpus 2,3"
    assert devices.naming_python(named) == whole
    assert devices.naming_python(unnamed) == f"{add} NAME ssh://me@pi --python PATH"
    assert devices.naming_python(named, addressed=False) == f"{add} NAME URL --python PATH"


@pytest.mark.usefixtures("registered")
def test_a_registered_device_brings_what_its_table_says() -> None:
    pi = Device("pi", CPU_PROVIDER, 2, "arm", (2, 3), "ssh://me@pi", "~/py")
    assert devices.resolve("pi") == pi
    assert devices.resolve("here") == Device("here", CPU_PROVIDER, 1, "arm")
    assert devices.resolve("arm").url == dict(devices.names())["arm"] == "ssh://board"
    assert refusal(DeviceError, "box").count(" arm,") == 1


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "threads", "cpus", "expected"),
    [
        ("pi", 4, (), ("pi", 4, ())),
        ("pi", 2, (), ("pi", 2, (2, 3))),
        ("pi", None, (7,), ("pi", 1, (7,))),
        ("pi", None, "big", ("pi-big", 2, "big")),
        ("small", 3, (), ("small", 3, "little")),
        ("small", None, "big", ("small-big", 1, "big")),
        ("small", None, (0,), ("small", 1, (0,))),
        ("fast", None, (), ("fast", 2, "big")),
        ("fast", 1, (), ("fast", 1, "big")),
        ("four", None, (1, 2), ("four", 2, (1, 2))),
    ],
)
def test_what_is_not_asked_for_is_as_it_was_registered(
    name: str, threads: int | None, cpus: Processors, expected: tuple[str, int, Processors]
) -> None:
    device = devices.resolve(name, threads, cpus)
    assert (device.name, device.threads, device.cpus) == expected


@pytest.mark.usefixtures("registered")
def test_a_board_called_arm_is_held_to_be_one_on_each_of_its_clusters() -> None:
    for cpus in ((), *CLUSTERS, (0,)):
        device = devices.resolve("arm", None, cpus)
        devices.require_claims(device, "aarch64")
        with pytest.raises(DeviceError, match="not an ARM one"):
            devices.require_claims(device, "x86_64")
    devices.require_claims(devices.resolve("small", None, "big"), "x86_64")


@pytest.mark.parametrize("url", ["ssh://alice@secret-host:22", "adb://R58"])
def test_an_address_needs_no_registration_and_its_name_tells_nobody(url: str) -> None:
    device = devices.resolve(url)
    assert device.url == url
    assert re.fullmatch(rf"{url[:3]}-[0-9a-f]{{12}}", device.name)
    assert device.name == devices.resolve(url).name


def test_of_another_machine_only_what_was_typed_is_checked() -> None:
    assert devices.resolve("ssh://board", 64).threads == 64
    said = refusal(UsageError, "ssh://board", 2, (1,))
    assert "name one processor for each of the 2 threads" in said
    assert "--threads 0" in refusal(UsageError, "ssh://board", 0)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_device_on_a_cluster_has_its_name_and_one_thread(cluster: Cluster) -> None:
    device = devices.resolve("cpu", None, cluster)
    assert device == Device(f"cpu-{cluster}", CPU_PROVIDER, 1, "arm", cluster)
    unnamed = devices.resolve("ssh://board", 4, cluster)
    assert re.fullmatch(rf"ssh-[0-9a-f]{{12}}-{cluster}", unnamed.name)
    assert (unnamed.threads, unnamed.cpus) == (4, cluster)


# providers


def test_a_provider_has_a_short_name_and_its_own() -> None:
    """A build may have any other: whether it does is for the device to say."""
    for name, full in {**NAMES, **GPUS}.items():
        assert [providers.named(text) for text in (name, name.upper(), full)] == [full] * 3
        assert providers.short(full) == name
    other = "VitisAIExecutionProvider"
    assert providers.named(other) == providers.short(other) == other
    assert devices.resolve("cpu", provider=other).name == f"cpu-{other}"
    assert devices.resolve("cpu", provider=NAMES["nnapi"]).name == "cpu-nnapi"


CHOICES = (
    "choose cpu, xnnpack, acl, nnapi, coreml, qnn, openvino, dnnl, directml, webgpu, cuda, "
    "tensorrt, torch, torch-compile, torch-cudagraph"
)
OTHERS = "GPUs are timed by cuda, tensorrt or torch; write --device cuda"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("XNNPAC", f"unknown (did you mean 'xnnpack'?); {CHOICES}"),
        ("ExecutionProvider", f"unknown; {CHOICES}"),
        ("My-ExecutionProvider", f"unknown; {CHOICES}"),
        ("ROCMExecutionProvider", OTHERS),
        ("migraphx", OTHERS),
    ],
)
def test_what_is_no_provider_names_those_there_are(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        providers.named(text)
    assert str(caught.value) == f"--provider {text}: {said}"


def test_a_device_says_which_providers_its_build_has() -> None:
    providers.require(
        NAMES["xnnpack"], [NAMES["xnnpack"], CPU_PROVIDER], "phone", "Linux", "aarch64"
    )
    there = ["VitisAIExecutionProvider", "AzureExecutionProvider", CPU_PROVIDER]
    with pytest.raises(DeviceError) as caught:
        providers.require(NAMES["xnnpack"], there, "phone", "Linux", "aarch64")
    assert str(caught.value) == (
        "device 'phone': its ONNX Runtime has no XnnpackExecutionProvider, only "
        "VitisAIExecutionProvider, cpu; install a build that has it, as Termux's "
        "python-onnxruntime for Android, or leave --provider out"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp", "shared_cache")
def test_a_provider_that_takes_no_node_is_a_failed_row_and_not_a_figure_of_another(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_onnx()
    monkeypatch.setenv("BENCHBOX_PROVIDER", "AzureExecutionProvider")  # runs no node
    assert invoke("run", "tiny.onnx", "--quick").exit_code == 1
    short = ("--provider", "CPU", "--precision", "90%", "--max-time", "1s")
    assert invoke("run", "tiny.onnx", "--quick", *short).exit_code == 0
    (azure,) = Path().glob("results/cpu-*/*.jsonl")
    (row,) = records.read(azure).records
    assert (row.status, row.latency, row.bursts) == ("failed", None, [])
    assert "nodes runs on AzureExecutionProvider" in row.reason
    (cpu,) = Path().glob("results/cpu/*.jsonl")
    run = records.read(cpu)
    assert (run.context.provider, run.records[0].nodes) == (CPU_PROVIDER, {CPU_PROVIDER: 1})


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "sets", "kernels"),
    [
        (
            "aarch64",
            {"Features": "fp asimd"},
            "none of note; no dotprod, fp16, i8mm, bf16, sve, sme",
            "float32 by NEON, not in blocks of channels (NCHWc); int8 by NEON without dot "
            "products; float16 converted to float32",
        ),
        (
            "aarch64",
            {"Features": "fp asimd asimdhp asimddp sve i8mm bf16"},
            "dotprod, fp16, i8mm, bf16, sve; no sme",
            "float32 by NEON, not in blocks of channels (NCHWc); int8 by 8-bit matrix products "
            "(i8mm); float16 by NEON; KleidiAI for 4-bit weights alone; bf16 unused, as results "
            "would differ",
        ),
        (
            "x86_64",
            {"flags": "fma avx2 avx512f amx_int8 amx_bf16"},  # parts of some, and no tiles
            "avx2; no avx512, avx_vnni, avx512_vnni, amx_int8, amx_bf16",
            "float32 by AVX2 in blocks of 8 channels (NCHWc); int8 by AVX2",
        ),
    ],
)
def test_instruction_sets_and_the_kernels_that_they_switch_on(
    machine: str, cpuinfo: dict[str, str], sets: str, kernels: str
) -> None:
    rows = device_kernels.rows(instructions.read(cpuinfo), machine)
    assert rows[0] == ("instructions", sets)
    assert rows[1:] == [("kernels", each) for each in kernels.split("; ")]
    assert device_kernels.rows(instructions.read({"isa": "rv64imafdc"}), "riscv64") == []

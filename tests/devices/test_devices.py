import platform
import re
from pathlib import Path
from typing import Any

import pytest

from benchbox import devices, host
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.devices.registry import CLUSTERS, Cluster, Processors
from benchbox.errors import BenchboxError, DeviceError, UsageError


def refusal(kind: type[BenchboxError], *asked: Any) -> str:
    with pytest.raises(kind) as caught:
        devices.resolve(*asked)
    return str(caught.value)


def registered(text: str) -> None:
    """Register the devices of this project: a table of TOML per name."""
    Path("benchbox.toml").write_text(text)


def test_cpu_is_this_machine_with_the_channels_of_the_papers_processor() -> None:
    assert devices.resolve("cpu") == Device("cpu", CPU_PROVIDER, 1, "arm")


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ARM64"])
def test_arm_is_this_machine_where_it_is_one(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert devices.resolve("arm").name == "arm"


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "armv7l", "riscv64"])
def test_arm_is_a_claim_about_the_machine(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert f"this machine is {machine}, not an ARM" in refusal(DeviceError, "arm", None, "big")
    assert refusal(DeviceError, "arm") == (
        f"device 'arm': this machine is {machine}, not an ARM one; "
        "run benchbox on the board itself, or `benchbox device add arm ssh://user@host` "
        "(a phone: adb://serial)"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cup", "unknown device 'cup' (did you mean 'cpu'?); benchbox times on: "),
        ("amr", "unknown device 'amr' (did you mean 'arm'?); benchbox times on: "),
        ("tpu9000", "unknown device 'tpu9000'; benchbox times on: "),
        ("CPU", "unknown device 'CPU'; benchbox times on: "),
        ("", "unknown device ''; benchbox times on: "),
    ],
)
def test_an_unknown_device_names_the_known_ones(name: str, sentence: str) -> None:
    known = ", ".join(known for known, _ in devices.names())
    added = name if name.islower() else "NAME"
    assert refusal(DeviceError, name) == (
        f"{sentence}{known}; a board gets a name by: benchbox device add {added} ssh://user@host"
    )
    assert DeviceError("").exit_code == 6


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        (
            ("http://pi", "SSH://pi", "ssh:pi", "pi@board"),
            DeviceError,
            "write an address as ssh://[user@]host[:port]",
        ),
        (
            ("adb:R58", "adb://", "adb://a b", "adb://$(x)", "adb://-s"),
            UsageError,
            "write it as adb://serial or adb://host:port",
        ),
    ],
)
def test_what_looks_like_an_address_is_told_how_one_is_written(
    names: tuple[str, ...], kind: type[BenchboxError], said: str
) -> None:
    for name in names:
        assert said in refusal(kind, name)


@pytest.mark.parametrize("threads", [-1, 0, 10**6])
def test_threads_are_no_more_than_the_processors(threads: int) -> None:
    usable = len(host.usable_cpus())
    assert devices.resolve("cpu", usable).threads == usable
    choose = f"choose 1 to {usable}, the processors usable here"
    assert choose in refusal(UsageError, "cpu", usable + 1, "big")
    assert refusal(UsageError, "cpu", threads) == f"--threads {threads}: {choose}"


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
    ],
)
def test_processors_must_be_there_and_as_many_as_threads(
    threads: int | None, cpus: tuple[int, ...], sentence: str
) -> None:
    assert refusal(UsageError, "cpu", threads, cpus) == sentence


def test_a_missing_runtime_says_which_of_two_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "onnxruntime", raising=False)
    assert "pip install 'benchbox[cpu]' for processors" in refusal(DeviceError, "cpu")


@pytest.fixture
def boards_of_mine() -> None:
    registered(
        '[devices.pi]\nurl = "ssh://me@pi"\npython = "~/py"\nthreads = 2\ncpus = [2, 3]\n'
        '[devices.phone]\nurl = "adb://R58"\n'
        '[devices.arm]\nurl = "ssh://board"\n'
        '[devices.here]\nurl = "local"\n'
    )


@pytest.mark.usefixtures("in_tmp", "boards_of_mine")
def test_the_command_for_another_python_is_whole() -> None:
    named, unnamed = devices.resolve("pi"), devices.resolve("ssh://me@pi")
    add = "benchbox device add"
    whole = f"{add} pi ssh://me@pi --python PATH --threads 2 --cpus 2,3"
    assert devices.naming_python(named) == whole
    assert devices.naming_python(unnamed) == f"{add} NAME ssh://me@pi --python PATH"
    assert devices.naming_python(named, addressed=False) == f"{add} NAME URL --python PATH"


@pytest.mark.usefixtures("in_tmp", "boards_of_mine")
def test_a_registered_device_brings_what_its_table_says() -> None:
    pi = Device("pi", CPU_PROVIDER, 2, "arm", (2, 3), "ssh://me@pi", "~/py")
    assert devices.resolve("pi") == pi
    assert devices.resolve("pi", 4).cpus == ()
    assert devices.resolve("pi", 2).cpus == (2, 3)
    assert devices.resolve("pi", None, (7,)).threads == 1
    assert devices.resolve("here") == Device("here", CPU_PROVIDER, 1, "arm")
    assert devices.resolve("arm").url == dict(devices.names())["arm"] == "ssh://board"
    assert refusal(DeviceError, "box").count(" arm,") == 1
    assert devices.resolve("phone").url == "adb://R58"


@pytest.mark.parametrize("url", ["ssh://alice@secret-host:22", "adb://R58"])
def test_an_address_needs_no_registration_and_its_name_tells_nobody(url: str) -> None:
    device = devices.resolve(url)
    assert device.url == url
    assert re.fullmatch(rf"{url[:3]}-[0-9a-f]{{6}}", device.name)
    assert device.name == devices.resolve(url).name


def test_of_another_machine_only_what_was_typed_is_checked() -> None:
    assert devices.resolve("ssh://board", 64).threads == 64
    said = refusal(UsageError, "ssh://board", 2, (1,))
    assert "name one processor for each of the 2 threads" in said
    assert "--threads 0" in refusal(UsageError, "ssh://board", 0)


# clusters of processors


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_device_on_a_cluster_has_its_name_and_one_thread(cluster: Cluster) -> None:
    device = devices.resolve("cpu", None, cluster)
    assert device == Device(f"cpu-{cluster}", CPU_PROVIDER, 1, "arm", cluster)
    assert devices.resolve("cpu", 2, cluster).threads == 2
    unnamed = devices.resolve("ssh://board", 4, cluster)
    assert re.fullmatch(rf"ssh-[0-9a-f]{{6}}-{cluster}", unnamed.name)
    assert (unnamed.threads, unnamed.cpus) == (4, cluster)


@pytest.fixture
def phones() -> None:
    """Phones of which some are registered with a cluster."""
    registered(
        '[devices.small]\nurl = "adb://R1"\ncpus = "little"\n'
        '[devices.fast]\nurl = "adb://R2"\ncpus = "big"\nthreads = 2\n'
        '[devices.pair]\nurl = "adb://R3"\ncpus = [6, 7]\nthreads = 2\n'
        '[devices.four]\nurl = "adb://R4"\nthreads = 4\n'
        '[devices.arm]\nurl = "ssh://board"\ncpus = "big"\n'
    )


@pytest.mark.usefixtures("in_tmp", "phones")
@pytest.mark.parametrize(
    ("name", "threads", "cpus", "expected"),
    [
        ("small", None, (), ("small", 1, "little")),
        ("small", 3, (), ("small", 3, "little")),
        ("small", None, "big", ("small-big", 1, "big")),
        ("small", None, (0,), ("small", 1, (0,))),
        ("fast", None, (), ("fast", 2, "big")),
        ("fast", 1, (), ("fast", 1, "big")),
        ("fast", None, "little", ("fast-little", 2, "little")),
        ("pair", None, "big", ("pair-big", 2, "big")),
        ("pair", 1, "big", ("pair-big", 1, "big")),
        ("four", None, "big", ("four-big", 4, "big")),
        ("four", None, (1, 2), ("four", 2, (1, 2))),
    ],
)
def test_what_is_not_asked_for_is_as_it_was_registered(
    name: str, threads: int | None, cpus: Processors, expected: tuple[str, int, Processors]
) -> None:
    device = devices.resolve(name, threads, cpus)
    assert (device.name, device.threads, device.cpus) == expected


@pytest.mark.usefixtures("in_tmp", "phones")
def test_a_board_called_arm_is_held_to_be_one_on_each_of_its_clusters() -> None:
    for cpus in ((), *CLUSTERS, (0,)):
        device = devices.resolve("arm", None, cpus)
        devices.require_arm(device, "aarch64")
        with pytest.raises(DeviceError, match="not an ARM one"):
            devices.require_arm(device, "x86_64")
    devices.require_arm(devices.resolve("small", None, "big"), "x86_64")

"""Defaults of options from benchbox.toml and the environment."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import devices
from benchbox.api.defaults import DeviceOptions, fitting
from benchbox.api.gpu_options import in_modes
from benchbox.api.options import OnGpu
from benchbox.devices import providers
from benchbox.devices.gpu_options import Driving
from benchbox.errors import UsageError
from tests.conftest import WriteOnnx
from tests.helpers.command import invoke

pytestmark = pytest.mark.usefixtures("in_tmp")
NO_COMMANDS = "device: its commands take no defaults; write `device` below"


def configure(text: str) -> None:
    Path("benchbox.toml").write_text(text, encoding="utf-8")


def test_what_is_typed_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def folder(*typed: str) -> str:
        return invoke("report", *typed).stderr.removeprefix("Error: ").partition(": no run")[0]

    assert folder() == "results"
    configure('[report]\nresults = "größe"\n')
    assert "report.results in it is ignored" in folder()
    assert "report.results = größe" in invoke("trust").stdout
    assert folder() == "größe"
    monkeypatch.setenv("BENCHBOX_RESULTS", "theirs")
    assert folder() == "theirs"
    assert folder("--results", "here") == "here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run\n", "not valid TOML: "),
        ("\xff", "not valid TOML: "),
        ('[run]\nspeed = "fast"\n', "run.speed: there is no such option"),
        ("[race]\nseed = 1\n", "race: there is no such command to set defaults for"),
        ('run = "cpu"\n', "run: not a table; write [run]"),
        ('device = "cpu"\n', NO_COMMANDS),
        ("[device.add]\nthreads = 3\n", NO_COMMANDS),
    ],
)
def test_an_error_in_the_file_names_file_and_key(text: str, message: str) -> None:
    Path("benchbox.toml").write_bytes(text.encode("latin-1"))
    result = invoke("list")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"Error: benchbox.toml: {message}")


@pytest.mark.parametrize(
    ("table", "command", "message"),
    [
        ('[run]\nmax-time = "soon"', "run g2", "--max-time soon: write it as 90s"),
        ('[run]\nmax_time = "soon"', "run g2", "--max-time soon: write it as 90s"),
        ("[run]\nbatch = 0", "run g2", "--batch 0: write images"),
        ("[run]\nscale = [3]", "run g2", "g2: no case has scale 3; scale is 1, 2, 4"),
        ('[show]\nbatch = ["1", 1]', "show g2", "--batch 1,1: name each batch once"),
        ('[compare]\nmargin = "near"', "compare g1 g2", "--margin near: write a share"),
        ('[compare]\ndevice = "kettle"', "compare g1 g2", "unknown device 'kettle'"),
        ('[compare]\ndevice = ["kettle"]', "compare g1 g2", "unknown device 'kettle'"),
        *(
            (f'[run]\ncpus = {both}\ndevice = ["cpu", "cpu"]', "run g2", "--device cpu-big: ")
            for both in ('"big,little"', '["big", "little"]')
        ),
    ],
)
def test_a_default_is_read_as_if_it_were_typed(table: str, command: str, message: str) -> None:
    configure(table)
    invoke("trust")
    result = invoke(*command.split())
    assert result.exit_code in (2, 6)
    where = "benchbox.toml: " if message.startswith(("--", "invalid")) else ""
    assert result.stderr.startswith(f"Error: {where}{message}")


@pytest.mark.parametrize("names", ['"cpu"', '"arm"', '["cuda:1", "here"]', '"pi"', '["cpu", "pi"]'])
def test_a_file_that_nobody_trusts_chooses_no_board(names: str) -> None:
    for name, url in (("pi", "ssh://pi@board"), ("here", "local")):
        invoke("device", "add", name, url)
    configure(f"[run]\ndevice = {names}\n")
    assert ("run.device in it is ignored" in invoke("run", "nothing").stderr) == ("pi" in names)


def test_an_error_in_what_is_typed_does_not_name_the_file() -> None:
    configure("[run]\nthreads = 998")
    assert invoke("run", "g2", "-t", "999").stderr.startswith("Error: --threads 999: ")


@pytest.mark.parametrize(
    ("name", "command", "message"),
    [
        ("DEVICE", "run g2", "unknown device 'kettle'"),
        ("SESSIONS", "run g2", "invalid value for '--sessions'"),
        ("MAX_TIME", "run g2", "--max-time kettle"),
        ("MARGIN", "compare g2:groups=1,scale=1 g2:groups=2,scale=1", "--margin kettle"),
        ("DEVICE", "doctor", "unknown device 'kettle'"),
    ],
)
def test_the_environment_sets_defaults(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str, message: str
) -> None:
    monkeypatch.setenv(f"BENCHBOX_{name}", "kettle")
    assert message in invoke(*command.split()).stderr


@pytest.mark.parametrize("command", [["doctor"], ["profile", "g1"]])
def test_several_devices_are_too_many_for_a_command_that_takes_one(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("BENCHBOX_DEVICE", "cpu box")
    result = invoke(*command)
    expected = "Error: --device cpu box: this command takes one; name it with --device\n"
    assert (result.exit_code, result.stderr) == (2, expected)


def test_a_typed_option_wins_over_a_cluster_in_the_file() -> None:
    configure('[run]\ncpus = "big"\n')
    for wrong in ("--cpus 4095", "--threads 0"):
        assert invoke("run", "g2", *wrong.split()).stderr.startswith(f"Error: {wrong}")


@pytest.mark.parametrize(
    ("device", "key", "value"),
    [
        ("cpu", "tf32", ""),
        ("cpu", "provider", "torch-cudagraph"),
        ("cuda", "threads", "2"),
        ("cuda", "provider", "xnnpack"),
        ("cuda", "arrival", "5/s"),
        ("cuda", "sustained", "10m"),
    ],
)
def test_a_default_that_does_not_apply_is_left_out_and_a_typed_option_refused(
    write_onnx: WriteOnnx, device: str, key: str, value: str
) -> None:
    write_onnx()
    command = ("run", "tiny.onnx", "-d", device)
    refused = invoke(*command, *filter(None, (f"--{key}", value)))
    assert (refused.exit_code, refused.stdout) in ((2, ""), (6, ""))
    configure(f'[run]\n{key} = "{value}"\n' if value else f"[run]\n{key} = true\n")
    left_out = invoke(*command, "--resume")
    expected = {"cpu": "--resume: results/cpu holds no run", "cuda": "was built without CUDA"}
    assert expected[device] in left_out.stderr
    assert expected[device] not in refused.stderr


def test_defaults_are_narrowed_to_those_that_fit_the_device() -> None:
    xnnpack, cuda = providers.named("xnnpack"), providers.CUDA
    asked = DeviceOptions(2, [(0, 1), "big"], [xnnpack, cuda, "torch"])
    none: frozenset[str] = frozenset()
    assert fitting(asked, "cuda", none) == DeviceOptions(None, ["big"], [cuda, "torch"])
    assert fitting(asked, "cpu", none) == DeviceOptions(2, [(0, 1), "big"], [xnnpack, "torch"])
    assert fitting(asked, "ssh://pi@board", none).providers == [xnnpack]
    several, one = DeviceOptions(2, [(0, 1)], [xnnpack]), DeviceOptions(None, [(3,)], [""])
    assert fitting(several, "cuda", none) == DeviceOptions(None, [()], [""])
    assert fitting(one, "cuda:1", none) == one
    for device in ("cpu", "cuda"):
        assert fitting(asked, device, {"threads", "cpus", "provider"}) == asked


def test_defaults_for_gpus_do_not_concern_a_processor_in_the_same_run() -> None:
    chosen = [devices.resolve("cpu"), devices.resolve("cuda", provider="torch")]
    asked = OnGpu(mode="graph,eager", cache="cold", tf32=True)  # type: ignore[arg-type]
    processor, module = in_modes(chosen, asked, frozenset())
    assert processor == chosen[0]
    assert module.driving == replace(chosen[1].driving or Driving(), cache="cold")
    with pytest.raises(UsageError, match="--cache: only for GPUs"):
        in_modes(chosen, asked, {"cache"})
    with pytest.raises(UsageError, match="--tf32: only for ONNX Runtime on GPUs"):
        in_modes(chosen[1:], asked, {"tf32"})

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchbox import devices
from benchbox.agent.host import clusters, machine
from benchbox.cli.app import app
from benchbox.cli.defaults import DeviceOptions, fitting
from benchbox.cli.gpu_options import in_modes
from benchbox.cli.options import GpuOptions
from benchbox.devices import providers
from benchbox.devices.gpu_options import Driving
from benchbox.errors import UsageError

WriteOnnx = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("in_tmp")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="benchbox")


def configure(text: str) -> None:
    Path("benchbox.toml").write_text(text, encoding="utf-8")


def test_without_a_file_the_defaults_are_the_programs() -> None:
    result = invoke("report")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: results: no run here; name a .jsonl file, or run something first\n",
    )


def test_a_file_sets_the_defaults_of_a_command() -> None:
    configure('[report]\nresults = "mine"\n')
    assert invoke("report").stderr.startswith("Error: mine: no run here")


def test_an_option_of_several_words_is_written_either_way() -> None:
    for key in ("max-time", "max_time"):
        configure(f'[run]\n{key} = "soon"\n')
        assert invoke("run", "g2").stderr.startswith("Error: --max-time soon: write it as 90s")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure('[report]\nresults = "mine"\n')
    monkeypatch.setenv("BENCHBOX_RESULTS", "theirs")
    assert invoke("report").stderr.startswith("Error: theirs: no run here")
    assert invoke("report", "--results", "here").stderr.startswith("Error: here: no run here")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[run\n", "not valid TOML: "),
        ('[run]\nspeed = "fast"\n', "run.speed: there is no such option"),
        ("[race]\nseed = 1\n", "race: there is no such command to set defaults for"),
        ('device = "cpu"\n', "device: its commands take no defaults; write `device` below"),
        ("[device]\nthreads = 3\n", "device: its commands take no defaults; write `device` below"),
        (
            "[device.add]\nthreads = 3\n",
            "device: its commands take no defaults; write `device` below",
        ),
        ('run = "cpu"\n', "run: there is no such command to set defaults for"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_that_names_file_and_key(text: str, sentence: str) -> None:
    configure(text)
    result = invoke("list")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: benchbox.toml: {sentence}")
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_no_text_is_an_error() -> None:
    Path("benchbox.toml").write_bytes(b"\xff")
    assert invoke("list").stderr.startswith("Error: benchbox.toml: not valid TOML: ")


def test_a_file_is_utf_8() -> None:
    configure('[report]\nresults = "größe"\n')
    assert invoke("report").stderr.startswith("Error: größe: no run here")


@pytest.mark.parametrize(
    "text", ['[run]\nthreads = "many"\n', '[run]\nchannels = "tpu"\n', "[run]\nbatch = 0\n"]
)
def test_a_value_of_the_wrong_kind_is_a_usage_error(text: str) -> None:
    configure(text)
    assert invoke("run", "g2").exit_code == 2


@pytest.mark.parametrize("text", ['[run]\nscale = ["3"]\n', "[run]\nscale = [3]\n"])
def test_an_option_that_repeats_takes_a_list(text: str) -> None:
    configure(text)
    assert invoke("run", "g2").stderr == "Error: g2: no case has scale 3; scale is 1, 2, 4\n"


@pytest.mark.parametrize("batch", ["[1, 8]", '"1,8"', '["1", 8]'])
def test_a_list_stands_for_what_is_typed_with_commas(batch: str) -> None:
    configure(f"[show]\nbatch = {batch}\n")
    result = invoke("show", "./none.onnx")
    assert result.stderr == "Error: none.onnx: there is no such file\n"
    configure(f"[show]\nbatch = {batch.replace('8', '1')}\n")
    assert invoke("show", "g2").stderr == "Error: --batch 1,1: name each batch once\n"


def test_a_cluster_may_be_a_default_and_the_command_line_wins(write_onnx: WriteOnnx) -> None:
    """Which of them there are is for the machine to say; that it was asked for is in the name."""
    write_onnx()
    configure('[run]\ncpus = "medium"\n')
    assert invoke("run", "tiny.onnx").stderr.startswith("Error: --cpus medium: write processors as")
    configure('[run]\ncpus = "big"\n')
    assert invoke("run", "tiny.onnx", "--cpus", "4095").stderr.startswith(
        "Error: --cpus 4095: no processor 4095 usable here"
    )
    assert invoke("run", "tiny.onnx", "--threads", "0").stderr.startswith("Error: --threads 0")
    for both in ('"big,little"', '["big", "little"]'):
        configure(f'[run]\ncpus = {both}\ndevice = ["cpu", "cpu"]\n')
        assert invoke("run", "tiny.onnx").stderr == "Error: --device cpu-big: given twice\n"


@pytest.mark.parametrize(
    ("device", "key", "value"),
    [
        ("cpu", "mode", "eager"),
        ("cpu", "cache", "cold"),
        ("cpu", "tf32", ""),
        ("cpu", "conv-search", "heuristic"),
        ("cpu", "provider", "tensorrt"),
        ("cpu", "provider", "torch-cudagraph"),
        ("cuda", "threads", "2"),
        ("cuda", "provider", "xnnpack"),
        ("cuda", "arrival", "5/s"),
        ("cuda", "sustained", "10m"),
    ],
)
def test_a_default_that_a_device_has_no_use_for_is_left_out_and_what_is_typed_is_refused(
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


def test_what_is_left_of_defaults_is_what_fits_the_device() -> None:
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


def test_how_a_gpu_is_driven_by_default_does_not_concern_a_processor_beside_it() -> None:
    places = [devices.resolve("cpu"), devices.resolve("cuda", provider="torch")]
    asked = GpuOptions(mode="graph,eager", cache="cold", tf32=True)
    processor, module = in_modes(places, asked, frozenset())
    assert processor == places[0]
    assert module.driving == replace(places[1].driving or Driving(), cache="cold")
    with pytest.raises(UsageError, match="--cache: only for GPUs"):
        in_modes(places, asked, {"cache"})
    with pytest.raises(UsageError, match="--tf32: only for ONNX Runtime on GPUs"):
        in_modes(places[1:], asked, {"tf32"})


@pytest.mark.slow
def test_among_equal_processors_a_cluster_is_one_line_for_each(write_onnx: WriteOnnx) -> None:
    if len(clusters.read(machine.usable_cpus())) > 1:
        pytest.skip("the processors of this machine differ")
    write_onnx()
    configure('[run]\ncpus = "big,little"\n')
    result = invoke("run", "tiny.onnx", "--quick")
    assert (result.exit_code, result.stdout) == (6, "")
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert [line.partition(":")[2].partition(":")[0] for line in errors] == [
        " device 'cpu-big'",
        " device 'cpu-little'",
    ]
    assert all("--cpus" in line and "has no meaning here" in line for line in errors)
    assert not list(Path().glob("results/*/*.jsonl"))

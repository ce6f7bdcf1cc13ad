"""Execution providers by name: what is asked for, what a device has, and what really ran."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox import records
from benchbox.devices import Device, providers
from benchbox.devices.providers import CPU, GPUS, NAMES
from benchbox.errors import DeviceError, UsageError
from benchbox.records import create
from benchbox.runner import record as runner_record
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, open_agent
from tests.conftest import WriteOnnx
from tests.helpers.command import invoke
from tests.helpers.tables import record, run_of

XNNPACK = NAMES["xnnpack"]


@pytest.mark.parametrize(("name", "full"), [*NAMES.items(), *GPUS.items()])
def test_a_provider_has_a_short_name_and_its_own(name: str, full: str) -> None:
    """A build may have any other: whether it does is for the device to say."""
    other = "VitisAIExecutionProvider"
    assert providers.named(other) == providers.short(other) == other
    assert providers.named(name) == providers.named(name.upper()) == full
    assert providers.named(full) == full
    assert providers.short(full) == name
    assert full.endswith(providers.SUFFIX)


CHOICES = (
    "choose cpu, xnnpack, acl, nnapi, coreml, qnn, openvino, dnnl, cuda, tensorrt, "
    "torch, torch-compile, torch-cudagraph"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, f"unknown (did you mean 'xnnpack'?); {CHOICES}") for text in ("xnpack", "XNNPAC")),
        ("nnap", f"unknown (did you mean 'nnapi'?); {CHOICES}"),
        ("gpu", f"unknown (did you mean 'cpu'?); {CHOICES}"),
        *(
            (text, f"unknown; {CHOICES}")
            for text in (
                *("ExecutionProvider", "XNNPACK ExecutionProvider"),
                *("../ExecutionProvider", "zzz"),
            )
        ),
        *(
            (text, "GPUs are timed by cuda, tensorrt or torch; write --device cuda")
            for text in ("nvtensorrtrtx", "ROCMExecutionProvider", "migraphx")
        ),
    ],
)
def test_what_is_no_provider_names_those_there_are(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        providers.named(text)
    assert str(caught.value) == f"--provider {text}: {said}"


@given(st.text(max_size=40))
def test_any_text_is_a_provider_or_a_usage_error(text: str) -> None:
    try:
        assert providers.named(text).endswith(providers.SUFFIX)
    except UsageError as error:
        assert error.exit_code == 2


def test_a_device_says_which_providers_its_build_has() -> None:
    providers.require(XNNPACK, [XNNPACK, CPU], "phone")
    with pytest.raises(DeviceError) as caught:
        providers.require(XNNPACK, ["VitisAIExecutionProvider", CPU], "phone")
    assert str(caught.value) == (
        "device 'phone': its ONNX Runtime has no XnnpackExecutionProvider, only "
        "VitisAIExecutionProvider, cpu; install a build that has it, or leave --provider out"
    )
    assert caught.value.exit_code == 6


def test_how_many_nodes_each_provider_ran_is_kept_in_the_record(tmp_path: Path) -> None:
    nodes = {XNNPACK: 20, CPU: 4}
    run = run_of([])
    with create(tmp_path, run.context) as writer:
        writer.append(record({"n": 1}, nodes=nodes))
        writer.append(record({"n": 2}))
    kept = records.read(writer.path).records
    assert [each.nodes for each in kept] == [nodes, None]


def test_they_are_part_of_how_a_graph_was_loaded(cpu: Device, write_onnx: WriteOnnx) -> None:
    two = "g (float[4,4] x) => (float[4,4] y) { t = MatMul(x, x)\n y = Softmax(t) }"
    with open_agent(cpu) as agent:
        loaded = agent.load("g", str(write_onnx("g", two)), [TensorSpec("x", (4, 4))], 0)
    assert loaded.nodes == {CPU: 2}
    before = replace(record({"n": 1}), **runner_record.loading(loaded))
    again = runner_record.loaded(before)
    assert again is not None
    assert again.nodes == loaded.nodes


# the command


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_near_miss_is_one_line(write_onnx: WriteOnnx, command: str) -> None:
    names = [write_onnx(name).name for name in ("tiny", "other")]
    result = invoke(command, *names, "--provider", "xnpack")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: --provider xnpack: unknown (did you mean 'xnnpack'?); choose ")


@pytest.mark.usefixtures("in_tmp", "shared_cache")
def test_the_processor_itself_may_be_named(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def refuse(device: Device, **_: object) -> Agent:
        opened.append(device.provider)
        raise DeviceError("it is gone")

    write_onnx()
    monkeypatch.setattr("benchbox.cli.run.open_agent", refuse)
    names = ("cpu", "CPU", CPU)
    runs = [invoke("run", "tiny.onnx", "--quick", "--provider", name) for name in names]
    assert ([run.exit_code for run in runs], opened) == ([6] * 3, [CPU] * 3)


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp", "shared_cache")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("CPUExecutionProvider", "--precision", "90%", "--max-time", "1s"), 0),
        (("AzureExecutionProvider",), 1),
    ],
)
def test_a_provider_that_takes_no_node_is_a_failed_row_and_not_a_figure_of_another(
    write_onnx: WriteOnnx, options: tuple[str, ...], code: int
) -> None:
    write_onnx()
    result = invoke("run", "tiny.onnx", "--quick", "--provider", *options)
    assert result.exit_code == code, result.output
    (path,) = Path().glob("results/*/*.jsonl")
    run = records.read(path)
    (row,) = run.records
    assert run.context.provider == options[0]
    if code:
        assert (row.status, row.latency, row.bursts) == ("failed", None, [])
        assert "nodes runs on AzureExecutionProvider" in row.reason
    else:
        assert row.nodes == {CPU: 1}
        assert "not on" not in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("in_tmp", "shared_cache")
def test_a_build_without_the_provider_is_one_line_before_anything_is_timed(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_onnx()
    monkeypatch.setenv("BENCHBOX_PROVIDER", "nnapi")
    result = invoke("run", "tiny.onnx", "--quick")
    assert (result.exit_code, result.stdout) == (6, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith(
        "Error: device 'cpu-nnapi': its ONNX Runtime has no NnapiExecutionProvider"
    )
    assert not list(Path().glob("results/*/*.jsonl"))

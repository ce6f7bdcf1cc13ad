"""Commands that cannot be run: one line on stderr, an exit code, and nothing left behind."""

import platform
from pathlib import Path

import pytest

from tests.helpers.command import invoke

NETWORKS = "run ghostnetv2 shufflenetv2"
TORCH = "run g2 -d cuda --provider torch"
THREAD = "one thread drives --device cuda; leave it out"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--fast", 2, "no such option: --fast (see benchbox -h)"),
        ("runn g2", 2, "no such command 'runn'. Did you mean 'run'?"),
        # what to run
        ("run", 2, "missing argument 'NAME...' (see benchbox run -h)"),
        ("run g2 g2", 2, "named twice"),
        ("run ./missing.toml", 2, "there is no such file"),
        ("run g2 --dtype int8 --provider torch", 2, "--dtype int8: only for ONNX Runtime on proc"),
        ("run ghostnetv2 --shape input=1x3x32x32", 2, "--shape input: the inputs are x"),
        ("run small.onnx --dim seq=8", 2, "--dim seq: no size is open"),
        ("run small.onnx --weights a.pth", 2, "is a network"),
        (f"{NETWORKS} --weights a.pth", 2, "there are several networks"),
        (f"{NETWORKS} --weights ghostnetv2=no.pth", 2, "no.pth is not"),
        ("show torch.nn:ReLU", 2, "--shape"),
        ("compare", 2, "missing argument 'NAME...' (see benchbox compare -h)"),
        ("compare small.onnx", 2, "small: a comparison needs two cases; name another one"),
        ("compare small.onnx ghostnetv9", 2, "unknown name 'ghostnetv9' (did you mean 'ghostn"),
        ("compare small.onnx broken.onnx", 2, "broken.onnx: not an ONNX file"),
        ("compare small.onnx large.onnx --weights a.pth", 2, "none of them is a network"),
        ("profile small.onnx --top -1", 2, "--top"),
        (f"run small.onnx --seed {1 << 63}", 2, "--seed"),
        # where
        ("run g2 -d cpu -d cpu", 2, "--device cpu: given twice"),
        ("run g2 --provider torch,openvino,as=torch", 2, "openvino and torch would both be cpu-t"),
        ("run g2 -d cpu -d toaster", 6, "unknown device 'toaster'"),
        ("run g2 --threads 4096", 2, "--threads 4096"),
        ("run g2 --cpus 4095", 2, "--cpus 4095: no processor 4095 usable here"),
        ("run g2 --cpus 0 --threads 2", 2, "one processor for each of the 2"),
        ("explain small.onnx --against nope", 2, "nope"),
        ("profile small.onnx --threads 999", 2, "--threads 999"),
        ("doctor --device cuda", 6, "built without CUDA"),
        ("doctor --cpus 9999", 2, "--cpus 9999"),
        # how long, and what is written
        ("run g2 --precision 0", 2, "--precision"),
        ("run g2 --allow-emulated --sustained 1m", 2, "not with --sustained"),
        ("run g2 --sustained 1m --max-time 9s", 2, "leave --max-time out"),
        ("doctor --seconds 0", 2, "--seconds"),
        ("run g2 --results /proc/none", 1, "results cannot be written"),
        ("run g2 --export-csv - --export-json -", 2, "only one export"),
        ("run g2 --export-csv no/such/folder/t.csv", 2, "its folder does not exist"),
        ("run g2 --results ~nosuch/x", 2, "--results ~nosuch/x: there is no such home folder"),
        ("run g2 --export-csv ~nosuch/x", 2, "--export-csv ~nosuch/x: there is no such home"),
        ("run ghostnetv2 --weights ghostnetv2=~nosuch/x", 2, "--weights ~nosuch/x: there is no"),
        ("report --output ~nosuch", 2, "--output ~nosuch: there is no such home folder"),
        ("export small.onnx -o ~nosuch", 2, "--output ~nosuch: there is no such home folder"),
        (f"export small.onnx -o {'x' * 900}/x", 2, "File name too long"),
        ("report nothing", 2, "no run of 'nothing'"),
        # GPUs
        ("run g2 --provider CUDAExecutionProvider", 2, "GPUs are timed by --device cuda"),
        ("run g2 --provider rocm", 2, "write --device cuda"),
        ("run g2 -d ssh://b --provider tensorrt", 2, "device add NAME ssh://b --provider cuda"),
        ("run g2 -d cuda --provider xnnpack", 2, "not on GPUs; choose cuda, tensorrt or torch"),
        ("run g2 --mode eager", 2, "--mode: only for GPUs, and device 'cpu' is none"),
        ("run g2 -d cuda --mode fast", 2, "--mode fast: write graph, eager, or both"),
        ("run g2 -d cuda --mode eager,eager", 2, "write graph, eager, or both"),
        ("run g2 -d cuda --arrival 5/s", 2, "device 'cuda' is a GPU; leave it out"),
        (f"{TORCH} --sustained 1m", 2, "device 'cuda-torch' is a GPU; leave it out"),
        (f"{TORCH} --threads 2", 2, THREAD),
        (f"{TORCH} --mode eager", 2, "only for ONNX Runtime on GPUs, not for --provider torch"),
        (f"{TORCH},cuda --tf32", 2, "--tf32: --provider torch is timed without TF32; leave one"),
        (
            "run g2 -d cuda --provider cuda,tensorrt --conv-search default",
            2,
            "--conv-search: --provider tensorrt times its own kernels; leave one of them out",
        ),
        # devices
        ("device add", 2, "missing argument 'NAME' (see benchbox device add -h)"),
        ("device add cpu ssh://pi", 2, "a name has a-z"),
        ("device add pi ssh://me:pw@pi", 2, "it holds no password"),
        ("device add pi ssh://pi --cpus x", 2, "--cpus x: write processors as"),
        ("device add arm local", 6, "this machine is x86_64, not an ARM one"),
        ("run small.onnx --batch 1 --batch 1", 2, "--batch 1,1: name each batch once"),
        ("run small.onnx --dtype fp32,fp8", 2, "--dtype fp32,fp8: choose from fp32, fp16"),
        ("run small.onnx --threads 1,0", 2, "--threads 1,0: write threads of a call"),
        ("profile small.onnx --threads 1,2", 2, "--threads 1,2: choose one here"),
        ("device add box local --install", 2, "is this machine; --install is for others"),
        ("device add pi-big ssh://pi", 2, "that is what -d pi --cpus big is recorded as"),
        ("device remove pi", 2, "is not registered"),
        ("device check cpu --clean", 2, "--install and --clean are for others"),
        ("device check cpu --provider torch", 2, "only for GPUs, and device 'cpu' is none"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_an_exit_code(
    graphs: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    (graphs / "broken.onnx").write_text("no graph")
    result = invoke(*arguments.split())
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not list(graphs.rglob("*.jsonl"))
    assert not (graphs / "config").exists()

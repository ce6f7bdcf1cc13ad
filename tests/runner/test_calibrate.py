"""Calibration of a device that a stand-in for an agent plays, with made-up times."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchbox import devices, host
from benchbox.errors import DeviceError
from benchbox.insight.predict import calibration
from benchbox.insight.predict.optimise import Optimiser
from benchbox.runner.calibrate import (
    Calibrator,
    Wanted,
    identity,
    networks,
    require_predictable,
)
from benchbox.runner.predict import calibration_of

HELLO = {
    "cpus": [0],
    "host": {"cpu": "Stand-in", "machine": "x86_64"},
    "versions": {"onnxruntime": host.onnxruntime_version()},
    "build": "of a test",
}
DEVICE = devices.resolve("cpu", 1, ())


class StandIn:
    """An agent whose operators are those written here, with or without blocks, 10 us each."""

    def __init__(self, *, is_blocked: bool = True, broken: bool = False, stop: int = 99) -> None:
        self.hello = HELLO
        self._is_blocked, self._broken, self._stop = is_blocked, broken, stop

    def profile(self, path: str, *_: object, **__: object) -> dict[str, Any]:
        if not self._stop:
            raise KeyboardInterrupt
        self._stop -= 1
        with Optimiser(is_blocked=self._is_blocked) as optimiser:
            found = optimiser.operators(onnx.load(path))
        nodes = [
            {
                "name": "chance" if each.type.startswith("Reorder") else each.name,
                "op": "Other" if self._broken else each.type,
                "provider": "CPUExecutionProvider",
                "inputs": [*each.inputs],
                "outputs": [*each.outputs],
                "count": 1,
                "us": [10.0] * 4,
            }
            for each in found
        ]
        times = {name: [int(1e4) * len(found)] * 4 for name in ("default", "profiled")}
        return {
            "nodes": nodes[::-1],
            "latencies_ns": times,
            "unoptimised_error": "",
            "run_us": [10 * len(found)] * 4,
        }


def opening(agent: StandIn) -> Callable[[object], Any]:
    @contextmanager
    def opened(_: object) -> Iterator[StandIn]:
        yield agent

    return opened


def few(*seeds: int) -> Wanted:
    names = [f"c{seed:03d}" for seed in seeds]
    return {name: made for name, made in networks().items() if name in names}


@pytest.mark.parametrize("is_blocked", [True, False])
def test_networks_are_timed_twice_and_kept(tmp_path: Path, is_blocked: bool) -> None:
    file = tmp_path / "kept.jsonl"
    agent = StandIn(is_blocked=is_blocked)
    heard: list[tuple[str, int, int]] = []
    calibrator = Calibrator(DEVICE, opening(agent), file, lambda *each: heard.append(each))
    found = calibrator.calibrate(few(5, 6))
    assert found.is_blocked is is_blocked
    assert [name for name, *_ in heard] == ["c005", "c006", "c006", "c005"]
    assert [(each.name, len(each.timings)) for each in found.networks] == [("c005", 2), ("c006", 2)]
    for each in found.networks:
        assert each.operators_us == [10.0] * len(each.operators)
        assert each.latency_s == pytest.approx(1e-5 * len(each.operators))


def test_what_was_cut_short_goes_on(tmp_path: Path) -> None:
    file, wanted = tmp_path / "kept.jsonl", few(5, 6)
    with pytest.raises(KeyboardInterrupt):
        Calibrator(DEVICE, opening(StandIn(stop=1)), file).calibrate(wanted)
    with file.open("a") as open_file:
        open_file.write('{"kind":"timed","network":"c006","attributes":{}')  # as a crash leaves it
    heard: list[str] = []
    again = Calibrator(DEVICE, opening(StandIn()), file, lambda name, *_: heard.append(name))
    assert len(again.calibrate(wanted).networks) == 2
    assert heard == ["c006", "c006", "c005"]


def test_what_is_begun_anew_counts_once_it_is_whole(tmp_path: Path) -> None:
    file, wanted = tmp_path / "kept.jsonl", few(5, 6)
    Calibrator(DEVICE, opening(StandIn()), file).calibrate(wanted)
    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        Calibrator(DEVICE, opening(StandIn(stop=1)), file, anew=True).calibrate(wanted)
    assert file.read_bytes() == before
    heard: list[str] = []
    Calibrator(DEVICE, opening(StandIn()), file, lambda name, *_: heard.append(name)).calibrate(
        wanted
    )
    assert heard == ["c006", "c006", "c005"]
    assert not file.with_suffix(".again").exists()


@pytest.mark.parametrize(
    "other",
    [
        lambda: Calibrator(DEVICE, opening(StandIn()), anew=True).calibrate(few(5)),
        lambda: calibration_of(DEVICE, opening(StandIn())),
    ],
)
def test_only_one_calibrates_a_device_and_none_predicts_meanwhile(
    other: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "folder", lambda: tmp_path)
    with pytest.raises(DeviceError, match="right now"):
        Calibrator(DEVICE, opening(StandIn()), notify=lambda *_: other()).calibrate(few(5))


def test_a_device_with_other_operators_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="runs other operators"):
        Calibrator(DEVICE, opening(StandIn(broken=True)), tmp_path / "x").calibrate(few(5))
    assert not (tmp_path / "x").exists()


def test_another_version_here_is_refused(tmp_path: Path) -> None:
    agent = StandIn()
    agent.hello = {**HELLO, "versions": {"onnxruntime": "1.0"}}
    with pytest.raises(DeviceError, match=r"install onnxruntime==1\.0 here"):
        Calibrator(DEVICE, opening(agent), tmp_path / "x").calibrate(few(5))


def test_a_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="only processors"):
        require_predictable(devices.resolve("cuda", 1, ()))


def test_a_calibration_of_another_processor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "folder", lambda: tmp_path)
    agent = StandIn()
    Calibrator(DEVICE, opening(agent)).calibrate(few(5))
    (file,) = tmp_path.glob("*.jsonl")
    agent.hello = {**HELLO, "host": {"cpu": "Other", "machine": "x86_64"}}
    for _ in range(2):  # the second time under the other's name
        with pytest.raises(DeviceError, match="processor Other instead of Stand-in"):
            calibration_of(DEVICE, opening(agent))
        calibration.path(identity(agent, DEVICE)).write_bytes(file.read_bytes())


@pytest.mark.parametrize("text", ["", "{}", "nothing\n", '{"schema": 99}\n'])
def test_a_broken_file_is_said_to_be(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(DeviceError, match="calibrat"):
        calibration.read(tmp_path / "x")

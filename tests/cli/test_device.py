from pathlib import Path

import pytest
from typer.testing import Result

from benchbox.cli.device_actions import _cluster, _missing, _rows
from benchbox.devices import CPU_PROVIDER, Device, last_seen, registry
from benchbox.errors import DeviceError
from tests.helpers.command import invoke

pytestmark = pytest.mark.usefixtures("in_tmp")
CLUSTER = {"cpus": [0, 1, 2, 3], "core": "Cortex-A76", "top_khz": 2_400_000, "limit": "2400 MHz"}
FACTS = {
    "model": "Raspberry Pi 5 Model B",
    "machine": "aarch64",
    "system": "Linux 6.6",
    "clusters": [{**CLUSTER, "governor": "ondemand", "khz": 1_500_000}],
    "temperature_c": 76.2,
    "setting": {"throttled": "under-voltage now", "nvpmodel": "MAXN (0)"},
    "versions": {"Python": "3.11.2", "onnxruntime": "1.31.1"},
    "free_bytes": 1 << 30,
}
PI = Device("pi", CPU_PROVIDER, 1, "arm", (), "ssh://pi")


def device(*arguments: str) -> Result:
    return invoke("device", *arguments)


def test_a_device_is_added_changed_listed_and_removed() -> None:
    added = device("add", "pi", "ssh://pi", "--threads", "2", "--cpus", "2-3")
    assert (added.exit_code, added.stderr) == (0, "")
    assert added.stdout.endswith("try it: benchbox device check pi\n")
    changed = device("add", "pi", "ssh://pi", "--python", "~/py/bin/python")
    assert changed.exit_code == 0, changed.output
    assert changed.stderr == (
        "in place of: benchbox device add pi ssh://pi --threads 2 --cpus 2,3\n"
    )
    found = registry.find("pi")
    assert found is not None
    assert (found.python, found.threads, found.cpus) == ("~/py/bin/python", None, ())
    assert device("add", "pi", "ssh://pi", "--python", "~/py/bin/python").stderr == ""
    last_seen.note("ssh://pi", last_seen.describe("Raspberry Pi 5", "aarch64", FACTS["clusters"]))
    last_seen.note("ssh://pi")
    assert "Raspberry Pi 5, aarch64, 4 x Cortex-A76" in " ".join(device("list").stdout.split())
    assert device("remove", "pi").exit_code == 0
    assert "ssh://pi" not in device("list").stdout
    device("add", "pi", "ssh://pi")
    assert "Raspberry" not in device("list").stdout


def test_a_device_that_nothing_could_be_installed_on_stays_registered() -> None:
    added = device("add", "box", "ssh://127.0.0.1:1", "--install")
    assert (added.exit_code, registry.find("box") is not None) == (6, True)
    assert "benchbox device remove box" in added.stderr


def test_a_wrong_table_concerns_its_own_device_alone_and_brackets_are_printed() -> None:
    Path("benchbox.toml").write_text(
        "[devices]\npi = 3\n[devices.bad]\nurl = 3\n[devices.nano]\nurl = 'nope://[/x]'\n"
    )
    ignored = device("list")
    assert "devices.bad, devices.nano in it are ignored" in ignored.stderr
    assert "nope" not in ignored.stdout
    assert "devices.nano = {'url': 'nope://[/x]'}" in invoke("trust").stdout
    for listed in (device("list"), invoke("list", "devices")):
        assert listed.exit_code == 0, listed.output
        assert "not usable: benchbox.toml: devices.bad.url: missing, or no text" in listed.stdout
        assert "write [devices.pi] and url = below it" in listed.stdout
        assert "nope://[/x]" in listed.stdout and "ssh://[user@]host[:port]" in listed.stdout
        assert "cpu " in listed.stdout
    refused = device("check", "bad")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("Error: benchbox.toml: devices.bad.url: missing")
    assert device("remove", "bad").exit_code == 0
    assert "bad" not in device("list").stdout


def test_the_facts_of_a_board_are_rows() -> None:
    rows = dict(_rows(FACTS))
    assert rows["processors"] == (
        "0-3, Cortex-A76, 1500 of 2400 MHz, governor ondemand (performance is steadier)"
    )
    assert rows["heat"] == "76 °C; it may throttle soon"
    assert rows["throttling"] == "under-voltage now"
    assert rows["free space"] == "1024 MB"
    assert rows["power mode"] == "MAXN (0)"
    needed = {"machine", "system", "clusters", "versions", "free_bytes"}
    quiet = dict(_rows({name: FACTS[name] for name in needed}))
    assert quiet["model"] == "not said"
    assert quiet.keys().isdisjoint({"heat", "throttling", "power mode", "clocks"})
    assert _cluster({"cpus": [4]}) == "4"
    assert _cluster({"cpus": [4], "top_khz": 1_800_000}) == "4, 1800 MHz"
    kinds = ([7], "Cortex-X1"), ([4, 5, 6], "Cortex-A78"), ([0, 1, 2, 3], "Cortex-A55")
    unequal = dict(_rows({**FACTS, "clusters": [{"cpus": c, "core": core} for c, core in kinds]}))
    assert [unequal[f"{name} cluster"] for name in ("big", "middle", "little")] == [
        *("CPU 7, Cortex-X1", "CPU 4-6, Cortex-A78", "CPU 0-3, Cortex-A55")
    ]


def test_what_is_missing_on_a_board_comes_with_advice() -> None:
    assert _missing(PI, FACTS, []) == ""
    assert "check pi --install" in _missing(PI, FACTS, ["onnxruntime"])
    assert dict(_rows({**FACTS, "free_bytes": 40 << 20}))["free space"] == (
        "40 MB; large graphs may not fit"
    )
    narrow = {**FACTS, "bits": 32}
    assert _missing(PI, narrow, []) == ""  # with an ONNX Runtime that somebody built for it
    assert _missing(PI, narrow, ["onnxruntime"]).startswith("its Python is 32-bit, and ONNX ")
    assert dict(_rows(narrow))["architecture"].endswith(", 32-bit Python")
    assert "32" not in dict(_rows({**FACTS, "bits": 64}))["architecture"]
    many = Device("pi", CPU_PROVIDER, 5, "arm", (), "ssh://pi")
    assert "it has the processors 0-3" in _missing(many, FACTS, [])
    with pytest.raises(DeviceError, match=r"device 'arm': .*x86_64, not an ARM one"):
        arm = Device("arm", CPU_PROVIDER, 1, "arm", (), "ssh://pi")
        _missing(arm, {**FACTS, "machine": "x86_64"}, [])


@pytest.mark.slow
def test_this_machine_is_checked_under_any_of_its_names() -> None:
    device("add", "here", "local")
    checked = device("check", "here")
    assert checked.exit_code == 0, checked.output
    labels = [line[:14].strip() for line in checked.stdout.splitlines()]
    assert labels[:2] == ["model", "architecture"] and labels.count("software") == 1
    assert {"product best", "copy best", "node best"} <= {*labels}
    assert checked.stdout.endswith("here is ready\n")

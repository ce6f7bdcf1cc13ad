"""Settings that keep a case apart from itself in another run, and its history from another."""

from collections.abc import Mapping

import pytest

from benchbox.records import differences
from tests.helpers.record_files import context, record

BIG, LITTLE = {"cpus": [0, 1], "core": "A76", "capacity": 1024}, {"cpus": [2], "capacity": 400}
BOARD = {"machine": "aarch64", "clusters": [BIG, LITTLE]}
PLUGIN = {"library": "x.so", "device": "CPU", "options": {"streams": "1"}}


@pytest.mark.parametrize(
    ("own", "facts", "text"),
    [
        ({"channels": "gpu", "args": {"c": 128}}, {}, "channels"),
        ({"channels": "gpu"}, {}, ""),  # the same for both platforms
        ({"args": {"c": 80}}, {}, ""),  # a change of the spec, which is what is judged
        ({"inputs": ["x=2x64x56x56"]}, {}, "inputs"),
        ({"inputs": ["y=1x64x56x56"]}, {}, ""),
        ({"args": {"c": 64, "head": "one2one"}}, {}, "head"),
        ({"values": {"x": "3"}}, {}, "values"),
        ({"dtype": "float16"}, {}, "dtype"),
        ({"threads": 2}, {}, "threads"),
        ({}, {"threads": 2}, "threads"),
        ({}, {"provider": "XnnpackExecutionProvider"}, "provider"),
        ({}, {"plugin": {**PLUGIN, "options": {"streams": "2"}}}, "plug-in"),
        ({}, {"plugin": {**PLUGIN, "library": "y.so"}}, ""),
        ({}, {"cpus": [2]}, "processors"),
        ({}, {"cpus": [1]}, ""),
        ({}, {"plan": {"weights": {"net": "ab"}}}, "weights"),
        ({}, {"plan": {"mode": "eager"}}, "mode"),
        ({}, {"plan": {"arrival_per_s": 5.0}}, "arrival_per_s"),
        ({}, {"plan": {"precision": 0.02, "weights": {"other": "ab"}}}, ""),
    ],
)
def test_a_setting_makes_two_figures_of_a_case_figures_of_two_things(
    own: Mapping[str, object], facts: Mapping[str, object], text: str
) -> None:
    of = {"plugin": PLUGIN, "host": BOARD, "cpus": [0]}
    was = record(channels="arm", labels={"network": "net"})
    now = record(**{"channels": "arm", "labels": {"network": "net"}, **own})
    found = differences.of_case(context(**of), was, context(**{**of, **facts}), now)
    assert [each.name for each in found] == ([text] if text else [])


@pytest.mark.parametrize(
    "facts",
    [
        {"plugin": {**PLUGIN, "options": {"streams": "2"}}},
        {"cpus": [2]},
        {"plan": {"head": "one2one"}},
        {"channels": "gpu"},
    ],
)
def test_a_history_is_of_one_setting(facts: Mapping[str, object]) -> None:
    of = {"plugin": PLUGIN, "host": BOARD, "cpus": [0]}
    every = [of, {**of, "cpus": [1]}, {**of, **facts}]
    same, alike, other = (differences.followed(context(**each)) for each in every)
    assert same == alike != other

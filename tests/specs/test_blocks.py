"""The bundled specs held against ShuffleNetV2, arXiv 1807.11164, Tables 1-4 and 1b."""

import csv
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchbox import specs
from benchbox.networks import catalogue, guidelines
from benchbox.specs import BlockSpec, Builder, Case, Platform, Selection

TABLES = Path(__file__).parents[1] / "data" / "shufflenetv2_tables.csv"
with TABLES.open() as file:
    ROWS = list(csv.DictReader(file))
GUIDELINES = ("g1", "g2", "g3", "g4")
HOSTS = ("yolov8", "yolov10", "yolo11")
PLATFORMS: tuple[Platform, ...] = ("gpu", "arm")
TABLES_OF = (*GUIDELINES, "units")
PAIRS = [(name, platform) for name in TABLES_OF for platform in PLATFORMS]


def spec_of(name: str) -> BlockSpec:
    (spec,) = specs.find(name)
    return spec


def of(name: str, platform: Platform) -> list[Case]:
    return spec_of(name).cases(Selection(channels=platform))


def function(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def macs(module: nn.Module) -> int:
    """Those of each pixel, which every weight of a convolution of stride 1 meets once."""
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.stride == (1, 1) for conv in convolutions)
    return sum(conv.weight.numel() for conv in convolutions)


def apart(name: str, platform: Platform) -> list[float]:
    """How far each case's multiply-accumulates are from those of the first of its group."""
    first: dict[str, int] = {}
    found = []
    for case in of(name, platform):
        assert isinstance(case.source, Builder)
        with torch.device("meta"):  # without memory for its weights
            own = macs(function(case.source.reference)(**case.args))
        found.append(abs(own / first.setdefault(case.group, own) - 1))
    return found


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_cases_have_the_channels_and_the_figures_that_the_paper_prints(
    name: str, platform: Platform
) -> None:
    rows = [row for row in ROWS if (row["block"], row["platform"]) == (name, platform)]
    figures = spec_of(name).figures(platform)
    assert figures is not None
    assert len(of(name, platform)) == len(figures.figures) == len(rows)
    assert figures.unit.replace("_per_", "/") == rows[0]["unit"]
    assert figures.source.endswith(f"Table {rows[0]['table']}")
    cases = {case.name: case for case in of(name, platform)}
    for row in rows:
        scale = f",scale={row['scale']}" if row["scale"] else ""
        case = cases[row["case"].replace(";", ",") + scale]
        assert case.published == float(row["published"])
        given = {**case.args, **case.printed}
        for pair in filter(None, row["channels"].split(";")):
            channels, _, width = pair.partition("=")
            if channels != "c(1-fragment)":  # the builder of g3 is given the width of one fragment
                assert given[channels.partition("(")[0]] == int(width)


@pytest.mark.parametrize("name", TABLES_OF)
def test_the_match_holds_and_is_no_wider_than_the_paper_needs(name: str) -> None:
    match = spec_of(name).match
    assert match is not None
    widest = max(max(apart(name, platform)) for platform in PLATFORMS)
    assert match.within - 0.005 <= widest <= match.within


def test_the_one_count_that_cannot_be_built_is_replaced_and_said_so() -> None:
    cases = [case for name in GUIDELINES for p in PLATFORMS for case in of(name, p)]
    (changed,) = [case for case in cases if case.printed or case.note]
    assert (changed.key, changed.channels) == ("g2:groups=8,scale=1", "arm")
    assert (changed.args["c"], changed.printed["c"]) == (184, 180)
    assert "180" in changed.note and "184" in changed.note


def test_every_bundled_case_names_a_builder_that_takes_its_arguments() -> None:
    assert [spec.name for spec in specs.find("all")] == list(GUIDELINES)
    cases = [
        case for name in specs.bundled() for platform in PLATFORMS for case in of(name, platform)
    ]
    named = set()
    for case in cases:
        if isinstance(case.source, Builder):
            inspect.signature(function(case.source.reference)).bind(**case.args)
            named.add(case.source.reference)
    builders = {
        f"{guidelines.__name__}:{name}"
        for name, found in inspect.getmembers(guidelines, inspect.isfunction)
        if found.__module__ == guidelines.__name__ and not name.startswith("_")
    }
    assert builders and builders <= named


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_the_papers_own_figures_bear_the_claim_out(name: str, platform: Platform) -> None:
    claim = spec_of(name).claim
    assert claim is not None
    slower, than = (
        {c.group: c.published or 0 for c in of(name, platform) if side.items() <= c.labels.items()}
        for side in (claim.slower, claim.than)
    )
    groups = {case.group for case in of(name, platform)}
    assert slower.keys() == than.keys() == groups
    for group in groups if name == "units" else {"scale=1"}:
        assert slower[group] < than[group]


@pytest.mark.parametrize(
    ("name", "groups", "first"),
    [
        ("detectors", [*(f"host={host}{n}" for n in "ns" for host in HOSTS)], {"ghost": "none"}),
        (
            "backbones",
            [f"part={host}n {part}" for host in HOSTS for part in ("backbone", "whole")],
            {"backbone": "own"},
        ),
        ("resolution", [f"size={n}" for n in (160, 320, 416, 512, 640)], {"network": "yolov8n"}),
    ],
)
def test_detectors_stand_beside_their_hosts_with_both_sides_of_the_claim(
    name: str, groups: list[str], first: dict[str, str]
) -> None:
    spec, cases = spec_of(name), of(name, "arm")
    assert spec.claim is not None
    assert list(dict.fromkeys(case.group for case in cases)) == groups
    for group in groups:
        members = [case for case in cases if case.group == group]
        assert first.items() <= members[0].labels.items()
        assert {case.reference for case in members} == {members[0].name}
        for side in (spec.claim.slower, spec.claim.than):
            assert [side.items() <= case.labels.items() for case in members].count(True) == 1
    assert {case.group for case in of("detectors:network=yolov8n_ghost", "arm")} == {""}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_case_is_built_as_it_is_labelled(platform: Platform) -> None:
    for case in of("g1", platform):
        narrow, wide = (int(part) for part in str(case.labels["ratio"]).split(":"))
        assert round(int(case.args["c2"]) / int(case.args["c1"])) == wide // narrow
    for case in of("g2", platform):
        assert case.args["groups"] == case.labels["groups"]
    for case in of("g3", platform):
        count, _, order = str(case.labels["structure"]).partition("-fragment")
        assert case.args["count"] == int(count)
        assert case.args["parallel"] == (order == "-parallel")
    for case in of("g4", platform):
        assert all(case.args[name] == case.labels[name] for name in ("relu", "shortcut"))
        assert int(case.args["middle"]) * 8 == int(case.args["c"]) * 3
    for case in of("resolution", platform):
        assert case.inputs[0].shape[2:] == (case.labels["size"],) * 2
        assert case.network == catalogue.named(str(case.labels["network"])).name
    for case in of("backbones", platform):
        assert f"{case.args['host']}n" in str(case.labels["part"])
        is_narrow = case.labels["backbone"] == "ghostnet_x0_5"
        assert case.args.get("width", 1.0) == (0.5 if is_narrow else 1.0)
        assert case.args.get("last_conv") == case.labels.get("last_conv", is_narrow or None)
        assert case.args["alone"] == str(case.labels["part"]).endswith("backbone")
    for case in (case for name in GUIDELINES for case in of(name, platform)):
        assert case.args["repeat"] == 10
        width = case.args.get("c1", case.args.get("c"))
        assert [str(tensor) for tensor in case.inputs] == [f"x=1x{width}x56x56"]

"""The bundled specs held against ShuffleNetV2, arXiv 1807.11164, Tables 1-4."""

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
from benchbox.networks import guidelines
from benchbox.specs import BlockSpec, Builder, Case, Platform, Selection

TABLES = Path(__file__).parents[1] / "data" / "shufflenetv2_tables_1_to_4.csv"
with TABLES.open() as file:
    ROWS = list(csv.DictReader(file))
GUIDELINES = ("g1", "g2", "g3", "g4")
PLATFORMS: tuple[Platform, ...] = ("gpu", "arm")
HEIGHT = WIDTH = 56


PAIRS = [(name, platform) for name in GUIDELINES for platform in PLATFORMS]


def spec_of(name: str) -> BlockSpec:
    (spec,) = specs.find(name)
    return spec


def of(name: str, platform: Platform) -> list[Case]:
    return spec_of(name).cases(Selection(channels=platform))


def function(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def case_named_by(row: dict[str, str]) -> Case:
    platform: Platform = "gpu" if row["platform"] == "gpu" else "arm"
    cases = of(row["block"], platform)
    name = row["case"].replace(";", ",") + f",scale={row['scale']}"
    return next(case for case in cases if case.name == name)


def macs(module: nn.Module) -> int:
    """Each weight of a convolution that keeps the size meets every pixel once."""
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.stride == (1, 1) for conv in convolutions)
    return HEIGHT * WIDTH * sum(conv.weight.numel() for conv in convolutions)


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


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['block']}-{r['platform']}-{r['case']}")
def test_a_case_has_the_channels_and_the_figure_that_the_paper_prints(row: dict[str, str]) -> None:
    case = case_named_by(row)
    channels = dict(pair.split("=") for pair in row["channels"].split(";"))
    if row["block"] == "g3":  # its builder is given the width of one fragment
        channels = {"c": channels["c(fragment)"]}
    given = {**case.args, **case.printed}
    assert {name: int(given[name]) for name in channels} == {k: int(v) for k, v in channels.items()}
    assert case.published == float(row["published"])


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_a_spec_has_as_many_cases_and_figures_as_the_table_has_rows(
    name: str, platform: Platform
) -> None:
    rows = [row for row in ROWS if (row["block"], row["platform"]) == (name, platform)]
    figures = spec_of(name).figures(platform)
    assert figures is not None
    assert len(of(name, platform)) == len(figures.figures) == len(rows)
    assert figures.unit.replace("_per_", "/") == rows[0]["unit"]
    assert figures.source == f"Table {rows[0]['table']}"


@pytest.mark.parametrize("name", GUIDELINES)
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


def test_all_is_the_four_guidelines() -> None:
    found = specs.find("all")
    assert [spec.name for spec in found] == list(GUIDELINES)
    assert specs.bundled() == sorted({*GUIDELINES, *specs.bundled()})
    assert [spec.guideline for spec in found] == ["G1", "G2", "G3", "G4"]
    assert sum(len(spec.cases(Selection())) for spec in found) == 51


def test_every_bundled_case_names_a_builder_that_takes_its_arguments() -> None:
    named = {
        (case.source.reference, tuple(case.args.items()))
        for name in specs.bundled()
        for platform in PLATFORMS
        for case in of(name, platform)
        if isinstance(case.source, Builder)
    }
    for reference, args in named:
        inspect.signature(function(reference)).bind(**dict(args))
    builders = {
        f"{guidelines.__name__}:{name}"
        for name, found in inspect.getmembers(guidelines, inspect.isfunction)
        if found.__module__ == guidelines.__name__ and not name.startswith("_")
    }
    assert f"{guidelines.__name__}:channel_ratio" in builders
    assert builders <= {reference for reference, _ in named}


@pytest.mark.parametrize("name", GUIDELINES)
def test_the_claim_sets_two_cases_beside_each_other_at_every_scale(name: str) -> None:
    spec = spec_of(name)
    claim = spec.claim
    assert claim is not None
    cases = spec.cases(Selection())
    groups = {case.group for case in cases}
    assert groups == {"scale=1", "scale=2", "scale=4"}
    for side in (claim.slower, claim.than):
        assert {c.group for c in cases if side.items() <= c.labels.items()} == groups


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_the_papers_own_figures_bear_its_claim_out_at_scale_1(
    name: str, platform: Platform
) -> None:
    claim = spec_of(name).claim
    assert claim is not None
    slower, than = (
        next(c.published for c in of(name, platform) if side.items() <= c.labels.items())
        for side in (claim.slower, claim.than)
    )
    assert slower is not None and than is not None and slower < than


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
    for case in (case for name in GUIDELINES for case in of(name, platform)):
        assert case.args["repeat"] == 10
        width = case.args.get("c1", case.args.get("c"))
        assert [str(tensor) for tensor in case.inputs] == [f"x=1x{width}x56x56"]

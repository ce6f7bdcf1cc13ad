"""The bundled specs held against ShuffleNetV2, arXiv 1807.11164, Tables 1-4."""

import csv
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch
from torch import nn

from benchbox import networks, specs
from benchbox.networks import guidelines
from benchbox.specs import BlockSpec, Builder, Case, Platform, Selection

TABLES = Path(__file__).parents[1] / "data" / "shufflenetv2_tables_1_to_4.csv"
with TABLES.open() as file:
    ROWS = list(csv.DictReader(file))
GUIDELINES = ("g1", "g2", "g3", "g4")
PLATFORMS: tuple[Platform, ...] = ("gpu", "arm")
HEIGHT = WIDTH = 56


def spec_of(name: str) -> BlockSpec:
    (spec,) = specs.find(name)
    return spec


def case_named_by(row: dict[str, str]) -> Case:
    platform: Platform = "gpu" if row["platform"] == "gpu" else "arm"
    cases = of(row["block"], platform)
    name = row["case"].replace(";", ",") + f",scale={row['scale']}"
    return next(case for case in cases if case.name == name)


def printed_channels(row: dict[str, str]) -> dict[str, int]:
    """What the builder is given for a row; G3's second column is the width of one fragment."""
    pairs = dict(pair.split("=") for pair in row["channels"].split(";"))
    if row["block"] == "g3":
        pairs = {"c": pairs["c(fragment)"]}
    return {name: int(count) for name, count in pairs.items()}


def build(case: Case) -> nn.Module:
    """Build a case without memory for its weights."""
    assert isinstance(case.source, Builder)
    module, _, name = case.source.reference.partition(":")
    builder = getattr(importlib.import_module(module), name)
    with torch.device("meta"):
        built = builder(**case.args)
    assert isinstance(built, nn.Module)
    return built


def macs(module: nn.Module) -> int:
    """Each weight of a convolution that keeps the size meets every pixel once."""
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.stride == (1, 1) for conv in convolutions)
    return HEIGHT * WIDTH * sum(conv.weight.numel() for conv in convolutions)


def of(name: str, platform: Platform) -> list[Case]:
    return spec_of(name).cases(Selection(channels=platform))


def apart(name: str, platform: Platform) -> list[float]:
    """How far each case's multiply-accumulates are from those of the first of its group."""
    first: dict[str, int] = {}
    counted = [(case.group, macs(build(case))) for case in of(name, platform)]
    return [abs(own / first.setdefault(group, own) - 1) for group, own in counted]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['block']}-{r['platform']}-{r['case']}")
def test_a_case_has_the_channels_and_the_figure_that_the_paper_prints(row: dict[str, str]) -> None:
    case = case_named_by(row)
    assert {**case.args, **case.printed}.items() >= printed_channels(row).items()
    assert case.published == float(row["published"])


@pytest.mark.parametrize("name", GUIDELINES)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_spec_has_as_many_cases_and_figures_as_the_table_has_rows(
    name: str, platform: Platform
) -> None:
    rows = [row for row in ROWS if (row["block"], row["platform"]) == (name, platform)]
    figures = spec_of(name).figures(platform)
    assert figures is not None
    assert len(of(name, platform)) == len(rows)
    assert len(figures.figures) == len(rows)
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
    assert "180" in changed.note
    assert "184" in changed.note


def test_all_is_the_four_guidelines() -> None:
    found = specs.find("all")
    assert [spec.name for spec in found] == list(GUIDELINES)
    assert specs.bundled() == sorted({*GUIDELINES, *specs.bundled()})
    assert [spec.guideline for spec in found] == ["G1", "G2", "G3", "G4"]
    assert sum(len(spec.cases(Selection())) for spec in found) == 51


def test_every_builder_is_named_by_some_spec() -> None:
    named = {
        case.source.reference
        for name in specs.bundled()
        for case in spec_of(name).cases(Selection())
        if isinstance(case.source, Builder)
    }
    modules = [info.name for info in pkgutil.iter_modules(networks.__path__, "benchbox.networks.")]
    builders = {
        f"{module}:{name}"
        for module in modules
        for name, found in inspect.getmembers(importlib.import_module(module), inspect.isfunction)
        if found.__module__ == module and not name.startswith("_")
    }
    assert f"{guidelines.__name__}:channel_ratio" in builders
    assert named <= builders
    assert {name for name in builders if name.startswith(f"{guidelines.__name__}:")} <= named


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


@pytest.mark.parametrize("name", GUIDELINES)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_papers_own_figures_bear_its_claim_out_at_scale_1(
    name: str, platform: Platform
) -> None:
    claim = spec_of(name).claim
    assert claim is not None
    slower, than = (
        next(c.published for c in of(name, platform) if side.items() <= c.labels.items())
        for side in (claim.slower, claim.than)
    )
    assert slower is not None
    assert than is not None
    assert slower < than


def test_the_input_is_that_of_the_first_convolution() -> None:
    for name in GUIDELINES:
        for case in of(name, "gpu"):
            width = case.args.get("c1", case.args.get("c"))
            assert [str(tensor) for tensor in case.inputs] == [f"x=1x{width}x56x56"]


@pytest.mark.parametrize("name", specs.bundled())
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_bundled_builder_is_a_callable_that_takes_the_cases_arguments(
    name: str, platform: Platform
) -> None:
    for case in of(name, platform):
        assert isinstance(case.source, Builder)
        module, _, callable_ = case.source.reference.partition(":")
        inspect.signature(getattr(importlib.import_module(module), callable_)).bind(**case.args)


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
        assert (case.args["relu"], case.args["shortcut"]) == (
            case.labels["relu"],
            case.labels["shortcut"],
        )
        assert int(case.args["middle"]) * 8 == int(case.args["c"]) * 3
    for name in GUIDELINES:
        assert all(case.args["repeat"] == 10 for case in of(name, platform))

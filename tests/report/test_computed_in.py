"""A plug-in in tables: its device, the precision that ran, and how far its outputs are off."""

from dataclasses import replace

from benchbox.agent.ort.plugins import OPENVINO
from benchbox.records import Run, differences
from benchbox.report import frame, tables
from tests.helpers.tables import g2_records, run_of

PLUGIN = {"name": "openvino", "provider": OPENVINO, "device": "NPU", "hardware": "AI Boost"}


def run(*told: tuple[str | None, float | None], dtype: str = "float32") -> Run:
    records = g2_records()
    told = told + told[-1:] * (len(records) - len(told))
    own = [
        replace(record, dtype=dtype, computed_in=kind, output_error=error)
        for record, (kind, error) in zip(records, told, strict=True)
    ]
    base = run_of(own)
    where = {"device": "cpu-openvino", "provider": OPENVINO, "plugin": PLUGIN}
    return replace(base, context=replace(base.context, versions={"plugin": "1.8"}, **where))


def notes(*told: tuple[str | None, float | None], dtype: str = "float32") -> list[str]:
    (table,) = tables.run_tables(run(*told, dtype=dtype))
    return [note.removeprefix(f"{OPENVINO} ") for note in table.notes if OPENVINO in note]


def test_the_device_is_named_and_the_precision_that_ran_is_a_note() -> None:
    (table,) = tables.run_tables(run(("bfloat16", 0.0093), ("bfloat16", 0.0179)))
    assert table.about[0].startswith(f"cpu-openvino, {OPENVINO} on NPU, 1 thread, ")
    assert table.about[1].startswith("AI Boost, its plug-in 1.8, ")
    assert notes(("bfloat16", 0.0093), ("bfloat16", 0.0179)) == [
        "computed in bfloat16, not float32: outputs are 0.93% to 1.79% off the CPU provider's"
    ]
    assert notes(("float32", 2e-7)) == [
        "computed in float32: outputs are less than 0.01% off the CPU provider's"
    ]
    (other,) = notes(("a type nearest to bfloat16", 0.01), dtype="float16")
    assert other.startswith("computed in a type nearest to bfloat16, not float16: ")
    assert notes((None, None)) == []


def test_cases_of_other_precisions_have_notes_of_their_own() -> None:
    assert notes(("fewer bits than float32", 0.5), (None, 0.02), (None, None)) == [
        "in 1 of 6 cases computed in fewer bits than float32: outputs are 50.00% off the CPU "
        "provider's",
        "in 1 of 6 cases outputs are 2.00% off the CPU provider's",
    ]


def test_files_have_both() -> None:
    rows = frame.to_frame([run(("float16", 0.001234567), (None, None))])
    assert list(rows["computed_in"])[:1] == ["float16"] and rows["output_error"][0] == 0.00123457
    assert rows["computed_in"].isna().sum() == len(rows) - 1


def test_samples_of_two_libraries_or_options_do_not_mix() -> None:
    old = run((None, None)).context
    new = replace(old, plugin={**PLUGIN, "library": "x.so", "sha256": "ab", "options": {"a": "b"}})
    (found,) = differences.of_samples(old, new)
    assert (found.name, found.now) == ("plug-in", "x.so (ab) on NPU, a=b")
    assert differences.between(old, new) == [found] and not differences.between(old, old)
    assert differences.machine(old)[0] == "cpu"

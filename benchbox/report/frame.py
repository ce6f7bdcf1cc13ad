"""Data frame of runs: FLOPs beside latency, one row per case; every run has the same columns."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchbox import host
from benchbox.analysis.latency import Latency
from benchbox.analysis.stats import Interval
from benchbox.errors import UsageError
from benchbox.records import Context, Record, Run, known_macs, names, pools, uncounted
from benchbox.records.names import Wanted
from benchbox.report import (
    comparison,
    conditions,
    energy,
    gpu,
    load_columns,
    percentiles,
    published,
    scaling,
)
from benchbox.specs.labels import label_text

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 6  # of a figure in a file: more than any latency has, fewer than binary noise shows in

# Column -> pandas dtype; nullable ones, so that unknown stays empty and whole numbers stay whole.
COLUMNS = {
    "spec": "string",
    "case": "string",
    "device": "string",
    "provider": "string",
    "dtype": "string",
    "batch": "Int64",
    "threads": "Int64",
    "macs": "Int64",
    "params": "Int64",
    "memory_access_bytes": "Int64",
    "latency_p50_ms": "Float64",
    "latency_ci_low_ms": "Float64",
    "latency_ci_high_ms": "Float64",
    "latency_p90_ms": "Float64",
    "latency_p99_ms": "Float64",
    "images_per_s": "Float64",
    "batches_per_s": "Float64",
    "relative_latency": "Float64",
    "latency_over_flops": "Float64",
    "published": "Float64",
    "samples": "Int64",
    "quiet_share": "Float64",
    "status": "string",
    "reason": "string",
}
# Those that are NA but for some runs, after the columns of arguments.
FURTHER = {
    **dict.fromkeys((*load_columns.COLUMNS, *published.COLUMNS), "Float64"),
    **comparison.COLUMNS,
    **gpu.COLUMNS,
}
# What tells rows of several files apart, and the rest of what was measured; these stand last.
ORIGIN = {
    "latency_basis": "string",
    "run": "string",
    "utc": "string",
    "benchbox": "string",
    "onnxruntime": "string",
    "processor": "string",
    "device_kind": "string",
    "graph_sha256": "string",
    "group": "string",
    "raw_p50_ms": "Float64",
    "peak_memory_bytes": "Int64",
    "load_ms": "Float64",
    "first_call_ms": "Float64",
    **dict.fromkeys(scaling.COLUMNS.values(), "Float64"),
    "computed_in": "string",
    "output_error": "Float64",
    "relative_basis": "string",
    **energy.COLUMNS,
}


def read(
    paths: str | Path | Iterable[str | Path],
    *,
    results: str | Path | None = None,
    errors: Literal["raise", "warn"] = "raise",
) -> "pd.DataFrame":
    """Read runs into one table with a row per case, in the order of the files.

    `paths` are files, folders, and names or globs of runs in the folder `results`, by default
    $BENCHBOX_RESULTS or *results*, as `benchbox report` takes them: a name is the newest run of it,
    a glob or a folder all, the oldest first.
    Texts are as recorded; a CSV has an apostrophe before those that a spreadsheet would compute.

    Columns, with nullable dtypes; what is not known is NA:

    - `spec`, `case`, `device`, `provider`, `dtype`, `batch`, `threads`: what ran, and where
    - `macs`, `params`: multiply-accumulates (the papers' FLOPs) and parameters of one call;
      `macs` is NA where it is only a lower bound
    - `memory_access_bytes`: every tensor read and written once, with weights
    - `latency_p50_ms`, `latency_ci_low_ms`, `latency_ci_high_ms`: median and its 95% interval
    - `latency_p90_ms`, `latency_p99_ms`: percentiles of all calls
    - `images_per_s`, `batches_per_s`: throughput by p50
    - `relative_latency`: over the reference of the case's group
    - `latency_over_flops`: that over the case's relative FLOPs, 1 where FLOPs alone set the time
    - `published`: the paper's throughput, in the unit of the spec
    - `samples`, `quiet_share`: timed calls, and the share of them that nothing disturbed
    - `status`, `reason`: `ok`, `imprecise`, `failed` or `skipped`, and why
    - `arg_*`: labels and arguments of the case, as numbers where all of a column are
    - `arrival_per_s`, `back_to_back_*_ms`, `back_to_back_ratio*`: calls at a rate, beside calls in
      a row
    - `sustained_s`, `first_p50_ms`, `slower_from_s`, `steady_from_s`, `steady_ratio`: continuous
      load
    - `published_params_m`, `published_macs_m` (millions), `published_top1_percent`,
      `published_map_percent`, `published_cpu_onnx_ms`, `published_t4_tensorrt_ms`: a paper's
    - `relative_ci_low`, `relative_ci_high`: the 95% interval of `relative_latency`
    - `relative_macs`: multiply-accumulates over those of the reference
    - `verdict`, `margin`: of comparisons
    - `gpu_*_ms`, `with_copies_p50_ms`, `launch_share`, `ceiling`, `ceiling_share`: GPUs, and how
      they were driven
    - `latency_p95_ms` and the like: other percentiles, columns that only such runs have
    - `latency_basis`: the calls that p50 is of: `adjusted`, `quiet`, `undisturbed` (not preempted,
      the machine at any speed) or `all`
    - `run`, `utc`, `benchbox`, `onnxruntime`: the run, when it began, and the versions
    - `processor`, `device_kind`: what the device calls itself, and `gpu` or its architecture
    - `graph_sha256`, `group`: the graph, and the cases that it is compared with
    - `raw_p50_ms`: median of all calls, disturbed ones too
    - `peak_memory_bytes`, `load_ms`, `first_call_ms`: of loading the graph
    - `speedup_by_threads`, `speedup_by_dtype`: over the first of several in one run
    - `computed_in`, `output_error`: the type in which another provider than the CPU's computed, and
      by which share of their size its outputs are off
    - `relative_basis`: the calls that `relative_latency` is of, as `latency_basis`
    - `energy_mj`, `energy_ci_low_mj`, `energy_ci_high_mj`, `power_w`, `idle_power_w`,
      `energy_source`: of one call above idle, where the device can be asked

    Warns of a truncated last line. Raises `benchbox.errors.RecordError` for what is no run; with
    `errors="warn"` it warns, and reads the others.
    """
    if errors not in ("raise", "warn"):
        raise UsageError(f"errors {errors!r}: choose from raise, warn")
    named = [paths] if isinstance(paths, (str, Path)) else paths
    folder = Path(results or host.results_folder()).expanduser()
    wanted = Wanted(folder, with_samples=False)
    found, failures, lines = names.readable(map(str, named), wanted)
    if failures and errors == "raise":
        raise failures[0]
    lines += [text for run in found for text in run.warnings]
    for text in [*map(str, failures), *lines]:
        warnings.warn(text, stacklevel=2)
    return to_frame(pools.current(found))


def to_frame(runs: Sequence[Run]) -> "pd.DataFrame":
    """Make a row per record: COLUMNS, an `arg_*` column per label and argument, FURTHER, ORIGIN.

    Percentiles that were asked for stand before ORIGIN. A value that is not known is NA.
    """
    import pandas as pd

    found = [record for run in runs for record in run.records]
    arguments = _arguments(found)
    dtypes = COLUMNS | arguments | FURTHER
    dtypes |= dict.fromkeys(percentiles.file_columns(runs), "Float64") | ORIGIN
    cells = (_row(run, record, arguments) for run in runs for record in run.records)
    rows = [[*map(row.get, dtypes)] for row in cells]
    # As objects first: pandas would make floats of whole numbers beside a missing one.
    return pd.DataFrame(rows, columns=list(dtypes), dtype=object).astype(dtypes)


def relative(record: Record) -> Interval | None:
    """The latency over that of the group's reference, which itself is 1 once measured."""
    if record.case == record.reference:
        return None if record.latency is None else Interval(1.0, 1.0, 1.0)
    return record.relative


def over_flops(run: Run, record: Record) -> Interval | None:
    """The relative latency over the relative FLOPs, None where those are not exact."""
    latency, macs = relative(record), comparison.relative_macs(run, record)
    if latency is None or not macs:
        return None
    return Interval(latency.value / macs, latency.low / macs, latency.high / macs)


def rate(latency: Latency, count: int) -> Interval:
    """`count` per latency, per second; without an interval all three are the value."""
    span = latency.span
    return Interval(count / span.value, count / span.high, count / span.low)


def _arguments(records: Sequence[Record]) -> dict[str, str]:
    """The columns of all labels and then of all other arguments, in the order they appear."""
    values: dict[str, list[Any]] = {}
    swept = [_sizes(record) for record in records]
    for each in [*(r.labels for r in records), *(r.args for r in records), *swept]:
        for name, value in each.items():
            values.setdefault(f"arg_{name}", []).append(value)
    return {name: _kind(found) for name, found in values.items()}


def _sizes(record: Record) -> dict[str, Any]:
    """Its place on what the run sweeps and has no column: sizes."""
    return {name: value for name, value in record.axes.items() if name not in COLUMNS}


def _kind(values: Iterable[object]) -> str:
    """The type of a column of arguments: numbers where all of them are."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds or not kinds <= {int, float}:
        return "string"
    return "Float64" if float in kinds else "Int64"


def _row(run: Run, record: Record, arguments: Mapping[str, str]) -> dict[str, object]:
    context, interval, over = run.context, relative(record), over_flops(run, record)
    further = {
        **load_columns.cells(record),
        **published.cells(record),
        **comparison.cells(run, record),
        **percentiles.file_cells(run, record),
        **scaling.cells(run, record),
    }
    further |= gpu.cells(context, record) | energy.cells(context, record)
    return {
        "spec": record.spec,
        "case": record.case,
        "device": context.device,
        "provider": context.provider,
        "dtype": record.dtype,
        "batch": record.batch,
        "threads": record.threads or context.threads,
        "macs": known_macs(record.cost),
        **_cost(record.cost or {}),
        **({} if record.latency is None else _latency(record)),
        "relative_latency": _rounded(interval.value if interval else None),
        "latency_over_flops": _rounded(over.value if over else None),
        "relative_basis": record.relative_basis if record.relative else None,
        "published": record.published,
        "status": record.status,
        "reason": _reason(context, record),
        **{
            column: label_text(value) if arguments[column] == "string" else value
            for name, value in {**record.args, **record.labels, **_sizes(record)}.items()
            if (column := f"arg_{name}")
        },
        **{name: _rounded(v) if isinstance(v, float) else v for name, v in further.items()},
        **_origin(context, record),
    }


def _origin(context: Context, record: Record) -> dict[str, object]:
    latency = record.latency
    return {
        "run": context.run,
        "utc": context.created,
        "benchbox": context.benchbox,
        "onnxruntime": context.versions.get("onnxruntime"),
        "processor": context.processor or None,
        "device_kind": conditions.kind(context) or None,
        "graph_sha256": record.sha256 or None,
        "group": record.group,
        "raw_p50_ms": _ms(latency.raw_p50_s if latency else None),
        "peak_memory_bytes": record.peak_bytes,
        "load_ms": _ms(record.load_s),
        "first_call_ms": _ms(record.first_call_s),
        "computed_in": record.computed_in,
        "output_error": _rounded(record.output_error),
    }


def _cost(cost: Mapping[str, Any]) -> dict[str, object]:
    return {name: cost.get(name) for name in ("params", "memory_access_bytes")}


def _latency(record: Record) -> dict[str, object]:
    latency = record.latency
    assert latency is not None, "it was timed"
    images = rate(latency, record.batch).value if record.has_images else None
    return {
        "latency_p50_ms": _ms(latency.p50_s),
        "latency_ci_low_ms": _ms(latency.ci_low_s),
        "latency_ci_high_ms": _ms(latency.ci_high_s),
        "latency_p90_ms": _ms(latency.p90_s),
        "latency_p99_ms": _ms(latency.p99_s),
        "images_per_s": _rounded(images),
        "batches_per_s": _rounded(rate(latency, 1).value),
        "samples": latency.samples,
        "quiet_share": _rounded(latency.quiet_share),
        "latency_basis": latency.basis,
    }


def _reason(context: Context, record: Record) -> str:
    operators = uncounted(record.cost)
    missing = f"multiply-accumulates not counted for: {operators}" if operators else ""
    types = conditions.other_types(context, record)
    return "; ".join(text for text in (record.reason, missing, types) if text)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else _rounded(seconds * 1e3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")

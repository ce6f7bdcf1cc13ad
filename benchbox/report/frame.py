"""Data frame of runs: FLOPs beside latency, one row per case."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import records
from benchbox.analysis.latency import GOOD, Latency
from benchbox.analysis.stats import Interval
from benchbox.records import Context, Record, Run, known_macs, uncounted
from benchbox.report import comparison, conditions, gpu, load_columns, percentiles, published
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


def read(paths: str | Path | Iterable[str | Path]) -> "pd.DataFrame":
    """Read runs into one table with a row per case, in the order of the files.

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
    - `arg_*`: labels and arguments of the case, as text

    and, where some run needs them:

    - `arrival_per_s`, `back_to_back_*_ms`, `back_to_back_ratio*`: calls at a rate, beside calls in
      a row
    - `sustained_s`, `first_p50_ms`, `slower_from_s`, `steady_from_s`, `steady_ratio`: continuous
      load
    - `published_params_m`, `published_macs_m` (millions), `published_top1_percent`,
      `published_map_percent`, `published_cpu_onnx_ms`, `published_t4_tensorrt_ms`: a paper's
    - `relative_ci_low`, `relative_ci_high`, `relative_macs`, `verdict`, `margin`: comparisons
    - `latency_p95_ms` and the like: other percentiles, where they were asked for
    - `latency_basis`: the calls that p50 is of where some case had too few quiet ones: `quiet`,
      `undisturbed` (not preempted, the machine at any speed) or `all`
    - `gpu_*_ms`, `with_copies_p50_ms`, `launch_share`, `ceiling`, `ceiling_share`: GPUs, and how
      they were driven

    Raises `benchbox.errors.RecordError` for a file that is no run; warns of a truncated last line.
    """
    several = [paths] if isinstance(paths, (str, Path)) else paths
    runs = [run for path in several for run in records.read_all(Path(path))]
    for text in (text for run in runs for text in run.warnings):
        warnings.warn(text, stacklevel=2)
    return to_frame(runs)


def to_frame(runs: Sequence[Run]) -> "pd.DataFrame":
    """Make a row per record: COLUMNS, then an `arg_*` column per label and argument.

    Runs at a rate or under continuous load, networks of which a paper prints figures, comparisons,
    and runs on a GPU add columns of their own, at the very end. A value that is not known is NA.
    """
    import pandas as pd

    rows = [_row(run, record) for run in runs for record in run.records]
    found = [record for run in runs for record in run.records]
    dtypes = COLUMNS | {f"arg_{name}": "string" for name in _arguments(found)}
    dtypes |= dict.fromkeys([*load_columns.columns(found), *published.columns(found)], "Float64")
    dtypes |= comparison.columns([run.context for run in runs])
    dtypes |= gpu.columns(runs)
    dtypes |= dict.fromkeys(percentiles.file_columns(runs), "Float64")
    if any(record.latency and record.latency.basis not in GOOD for record in found):
        dtypes["latency_basis"] = "string"
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
    span = latency.interval or Interval(latency.p50_s, latency.p50_s, latency.p50_s)
    return Interval(count / span.value, count / span.high, count / span.low)


def _arguments(records: Sequence[Record]) -> list[str]:
    """The names of all labels and then of all other arguments, in the order they appear."""
    labels = [name for record in records for name in record.labels]
    return list(dict.fromkeys([*labels, *(name for record in records for name in record.args)]))


def _row(run: Run, record: Record) -> dict[str, object]:
    context, interval, over = run.context, relative(record), over_flops(run, record)
    further = {
        **load_columns.cells(record),
        **published.cells(record),
        **comparison.cells(run, record),
        **percentiles.file_cells(run, record),
    }
    further |= gpu.cells(context, record)
    return {
        "spec": record.spec,
        "case": record.case,
        "device": context.device,
        "provider": context.provider,
        "dtype": record.dtype,
        "batch": record.batch,
        "threads": context.threads,
        "macs": known_macs(record.cost),
        **_cost(record.cost or {}),
        **({} if record.latency is None else _latency(record)),
        "relative_latency": _rounded(interval.value if interval else None),
        "latency_over_flops": _rounded(over.value if over else None),
        "published": record.published,
        "status": record.status,
        "reason": _reason(context, record),
        **{f"arg_{name}": label_text(v) for name, v in {**record.args, **record.labels}.items()},
        **{name: _rounded(v) if isinstance(v, float) else v for name, v in further.items()},
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

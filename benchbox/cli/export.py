"""The `benchbox export` command: graphs as .onnx files, with a manifest."""

import json
import shutil
from pathlib import Path

import typer

from benchbox import __version__, host
from benchbox.cli.exits import CASE_FAILED
from benchbox.cli.options import CaseOptions
from benchbox.cli.output import console
from benchbox.cli.selection import prepared
from benchbox.errors import StorageError
from benchbox.export import Graph
from benchbox.specs import Case

MANIFEST = "manifest.json"


def export(options: CaseOptions, output: Path) -> None:
    """Write every case's .onnx file and a manifest into `output`; exits 1 when one has none."""
    stderr = console(stderr=True)
    _, cases, graphs = prepared(options, stderr)
    good = [(case, graph) for case in cases if isinstance(graph := graphs[case.key], Graph)]
    try:
        output.mkdir(parents=True, exist_ok=True)
        entries = [_copy(case, graph, output) for case, graph in good]
        manifest = {"benchbox": __version__, "graphs": entries}
        host.write(output / MANIFEST, json.dumps(manifest, indent=2) + "\n", 0o666)
    except OSError as error:
        raise StorageError(f"{output}: cannot be written: {error.strerror or error}") from None
    graphs_are = "1 graph" if len(good) == 1 else f"{len(good)} graphs"
    stderr.print(f"{graphs_are} and {MANIFEST} in {output}")
    for case in cases:
        if not isinstance(graphs[case.key], Graph):
            stderr.print(f"failed: {case.key}: {graphs[case.key]}", style="red")
    if len(good) < len(cases):
        raise typer.Exit(CASE_FAILED)


def _copy(case: Case, graph: Graph, output: Path) -> dict[str, object]:
    """Copy a graph and its external data; return its entry in the manifest."""
    name = f"{case.spec}-{case.name}{'-fp16' if case.halved else ''}"
    stem = "".join(c if c.isalnum() or c in "-_.=," else "-" for c in name)
    # Graphs with external data name it from inside, so they keep their file names in a folder each.
    target = output / stem / graph.path.name if graph.beside else output / f"{stem}.onnx"
    for name in graph.beside:
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(graph.path.parent / name, target.parent / name)
    partial = target.with_suffix(".partial")
    try:
        shutil.copyfile(graph.path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "file": str(target.relative_to(output)),
        "spec": case.spec,
        "case": case.name,
        "args": dict(case.args),
        "inputs": [str(tensor) for tensor in case.inputs],
        **graph.facts(),
    }

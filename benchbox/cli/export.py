"""The `benchbox export` command: graphs as .onnx files, with a manifest."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

import typer

from benchbox import __version__, host
from benchbox.cli.exits import CASE_FAILED
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.output import console
from benchbox.cli.prepared import prepared
from benchbox.errors import StorageError
from benchbox.export import Graph, cache
from benchbox.specs import Case

MANIFEST = "manifest.json"
PREFIX = "benchbox."  # of the names in an exported file's metadata_props
LONGEST = 200  # characters of a file's name; file systems end at 255 bytes


def export(options: CaseOptions, output: Path) -> None:
    """Write every case's .onnx file and a manifest into `output`; exits 1 when one has none."""
    stderr = console(stderr=True)
    _, cases, graphs = prepared(options, stderr)
    good = [(case, graph) for case in cases if isinstance(graph := graphs[case.key], Graph)]
    try:
        output.mkdir(parents=True, exist_ok=True)
        stems = file_stems([case for case, _ in good])
        entries = [_copy(case, graph, output, stems[case.key]) for case, graph in good]
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


def file_stems(cases: Sequence[Case]) -> dict[str, str]:
    """The name of each case's file by case key; no two are one to any file system."""
    kinds = {c.key: "" if "dtype" in c.axes else c.conversion for c in cases}  # or in the name
    names = {c.key: "-".join(filter(None, (c.spec, c.name, kinds[c.key]))) for c in cases}
    stems = {key: re.sub(r"[^\w.=,-]", "-", name)[:LONGEST] for key, name in names.items()}
    folded = {key: normalize("NFKC", stem).casefold() for key, stem in stems.items()}
    counts = Counter(folded.values())
    digests = {key: sha256(key.encode(errors="surrogatepass")).hexdigest()[:8] for key in stems}
    return {k: f"{s}-{digests[k]}" if counts[folded[k]] > 1 else s for k, s in stems.items()}


def _labelled(data: bytes, case: Case, graph: Graph) -> bytes:
    """A graph's bytes with what it is of behind them: `metadata_props`, to any reader of ONNX.

    What was timed is what stands before it, whose sha256 is among these.
    """
    import onnx

    facts = {
        "spec": case.spec,
        "case": case.name,
        "arguments": json.dumps(dict(case.args)),
        "version": __version__,
        "graph_sha256": graph.sha256,
    }
    before = onnx.ModelProto.FromString(data).metadata_props
    if any(entry.key.startswith(PREFIX) for entry in before):  # a file that was exported before
        return data
    labels = onnx.ModelProto()
    for name, value in facts.items():
        text = value.encode(errors="replace").decode()  # a file's name may be no UTF-8
        labels.metadata_props.add(key=f"{PREFIX}{name}", value=text)
    return data + bytes(labels.SerializeToString())


def _copy(case: Case, graph: Graph, output: Path, stem: str) -> dict[str, object]:
    """Copy a graph and its external data; return its entry in the manifest."""
    # Graphs with external data name it from inside, so they keep their file names in a folder each.
    target = output / stem / graph.path.name if graph.beside else output / f"{stem}.onnx"
    for name in graph.beside:
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(graph.path.parent / name, target.parent / name)
    partial = target.with_suffix(".partial")
    try:
        partial.write_bytes(_labelled(graph.path.read_bytes(), case, graph))
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
        "file_sha256": cache.digest(target, graph.beside),  # `sha256` is of what is timed
    }

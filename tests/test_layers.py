"""The order of the layers, read from the source; and what a start of the command line imports."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchbox

ROOT = Path(benchbox.__file__).parent
FLOORS = (
    ("agent", "analysis", "errors", "host", "lines", "memory", "benchbox"),
    ("sampling", "devices", "costs", "networks"),
    ("specs",),
    ("transports",),
    ("export", "records"),
    ("runner", "insight"),
    ("fleet",),
    ("report",),
    ("api",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}
HEAVY = ("torch", "onnxruntime", "onnx", "onnxscript", "pandas", "distributed", "dask")
ON_THE_DEVICE = {"numpy", "onnxruntime", "pynvml"}  # the last where it is installed


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("benchbox", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_bytes())
    return found


FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef


def imports(tree: ast.AST, *, at_start: bool = False) -> Iterator[str]:
    """Yield what is imported anywhere, or only what is when the module itself is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are banned"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else str(node.module)
        elif at_start and (isinstance(node, FUNCTIONS) or for_checkers_only(node)):
            continue
        else:
            yield from imports(node, at_start=at_start)


def for_checkers_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def own(names: Iterator[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "benchbox"}


def part(module: str) -> str:
    """The package or module right below benchbox that a module belongs to."""
    return [*module.split("."), module][1] if "." in module else module


def test_every_module_has_a_layer() -> None:
    assert {part(name) for name in modules()} == LEVEL.keys()


def test_a_lower_layer_never_imports_a_higher_one() -> None:
    wrong = [
        f"{name} (layer {LEVEL[part(name)]}) imports {imported} ({LEVEL[part(imported)]})"
        for name, tree in modules().items()
        for imported in own(imports(tree))
        if LEVEL[part(imported)] > LEVEL[part(name)]
    ]
    assert wrong == []


def with_packages(module: str) -> set[str]:
    """A module and the packages around it, which are imported before it."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports in functions and for type checkers count.

    A package that a module does not name does not count for it: it is found before it is complete.
    """
    pending = {
        name: {
            each
            for imported in own(imports(tree))
            for each in {imported} | (with_packages(imported) - with_packages(name))
        }
        for name, tree in modules().items()
    }
    while ready := [name for name, needed in pending.items() if not needed & pending.keys()]:
        for name in ready:
            del pending[name]
    assert pending == {}


def test_no_two_classes_share_a_name() -> None:
    # The agent's and the host's side of one message; programs that are sent to boards alone.
    mirrors = {"Cluster", "GoneError"}
    names = Counter(
        node.name
        for name, tree in modules().items()
        if part(name) != "networks"  # whose classes have the names of their papers
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == mirrors


def test_the_agent_needs_nothing_but_python_numpy_and_onnxruntime() -> None:
    for name, tree in modules().items():
        if part(name) != "agent":
            continue
        for imported in imports(tree):
            top = imported.partition(".")[0]
            inside = imported.startswith("benchbox.agent")
            assert inside or top in sys.stdlib_module_names | ON_THE_DEVICE, (name, imported)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    light = tuple(f"benchbox.networks{each}" for each in ("", ".build", ".catalogue"))
    lazy = {name for name in modules() if part(name) != "networks" or name in light}
    lazy -= {f"benchbox.agent.{name}" for name in ("ort.session", "gpu.binding", "gpu.session")}
    lazy -= {"benchbox.fleet.worker"}  # a subclass of Dask's; imported when it is started
    for name in lazy:
        tops = {each.partition(".")[0] for each in imports(modules()[name], at_start=True)}
        assert not tops & set(HEAVY), name


def test_nothing_but_an_export_imports_what_builds_networks() -> None:
    """Names are for everybody; the package itself imports torch only when asked to build."""
    for name, tree in modules().items():
        if part(name) == "networks":
            continue
        found = {each for each in own(imports(tree)) if part(each) == "networks"}
        allowed = {"benchbox.networks.catalogue", "benchbox.networks.libraries"}
        assert found <= allowed | ({"benchbox.networks"} if "export" in name else set()), name


@pytest.mark.parametrize(
    "code",
    [
        "import benchbox.cli.app",
        "import benchbox.cli.run, benchbox.cli.show, benchbox.cli.report",
        "from benchbox import specs; [s.cases(specs.Selection()) for s in specs.find('all')]",
    ],
)
def test_the_command_line_starts_without_anything_heavy(code: str) -> None:
    ask = f"import sys; {code}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_start_leaves_out_what_only_checks_records_and_asks_the_machine() -> None:
    ask = "import sys; import benchbox.cli.app; print({'pydantic', 'psutil'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_list_starts_without_anything_heavy() -> None:
    ask = (
        "import sys; from benchbox.cli.app import app; app(['list'], standalone_mode=False);"
        f"print('heavy:', *sorted({set(HEAVY)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert "g1" in done.stdout
    assert done.stdout.endswith("heavy:\n")


def test_only_the_command_line_prints() -> None:
    for name, tree in modules().items():
        if part(name) == "cli":
            continue
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), name


def test_importing_a_module_sets_no_environment() -> None:
    ask = (
        "import os; before = dict(os.environ); import benchbox.runner, benchbox.cli.run;"
        "print(dict(os.environ) == before)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_version_is_printed() -> None:
    from benchbox.cli.app import app

    assert CliRunner().invoke(app, ["--version"]).stdout == f"benchbox {benchbox.__version__}\n"

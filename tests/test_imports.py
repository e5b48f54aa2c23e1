# SPDX-License-Identifier: Apache-2.0
"""The import graph of the repository: its direction, its circles, and the libraries that the checker needs.

The graph is read from the source, so that imports inside functions count and no module has to be importable.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = frozenset({"cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn"})
LIBRARY = frozenset({"harness", "compliance", "rules", "submission_template"})
MAY_IMPORT = {
    "rules": frozenset(),
    "submission_template": frozenset(),
    "compliance": frozenset({"rules", "submission_template"}),
    "harness": LIBRARY,
    **dict.fromkeys(BENCHMARKS, LIBRARY),
    "characterize": LIBRARY | BENCHMARKS,
    "perf": LIBRARY | BENCHMARKS | {"characterize"},
}
CHECKER_NEEDS = {"argcomplete", "msgspec", "jinja2", "markupsafe", "matplotlib", "numpy", "tomlkit"}
"""Libraries of the base installation; the checker runs without PyTorch and on systems other than Linux."""

STILL_CIRCULAR = {
    ("compliance.scoring", "compliance.checks"),
}
"""Arrows that are about to go; each leaves this list with the commit that removes it."""

Graph = Mapping[str, set[str]]


def modules(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """Every module of the packages by its dotted name; a package's name is that of its __init__.py."""
    files = [file for package in packages for file in sorted((root / package).rglob("*.py"))]
    parts = {file: file.relative_to(root).with_suffix("").parts for file in files}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): file for file, name in parts.items()}


def imports(root: Path, packages: Iterable[str]) -> Graph:
    """Imports of each module, wherever in the module they are; modules of ours, else the library's name."""
    known = modules(root, packages)
    return {name: set(_imported(file, known)) - {name} for name, file in known.items()}


def _imported(file: Path, known: Mapping[str, Path]) -> Iterable[str]:
    for node in _run_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import; the repository uses absolute ones"
            names = [_target(node.module, alias.name, known) for alias in node.names]
        else:
            continue
        yield from (name if name in known else name.partition(".")[0] for name in names)


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of the tree, apart from what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _run_nodes(child)


def _target(module: str, name: str, known: Mapping[str, Path]) -> str:
    """`from harness import cli` imports harness.cli; `from harness.run import Run` imports harness.run."""
    return f"{module}.{name}" if f"{module}.{name}" in known else module


def folders(graph: Graph) -> Graph:
    """The graph with each folder inside a package as one node.

    The package's own modules stay nodes of their own, and so do __main__ modules, which are commands on top.
    """
    collapsed: dict[str, set[str]] = {}
    for module, imported in graph.items():
        node = _folder(module)
        collapsed.setdefault(node, set()).update(_folder(name) for name in imported)
    return {node: imported - {node} for node, imported in collapsed.items()}


def _folder(module: str) -> str:
    package, *inner = module.split(".")
    is_folder = inner and (ROOT / package / inner[0]).is_dir()
    return f"{package}.{inner[0]}" if is_folder and inner[-1] != "__main__" else module


def circle(graph: Graph) -> list[str]:
    """The nodes of one circle; empty if there is none."""
    rest = {node: {name for name in imported if (node, name) not in STILL_CIRCULAR} for node, imported in graph.items()}
    try:
        TopologicalSorter(rest).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def graph() -> Graph:
    return imports(ROOT, MAY_IMPORT)


def test_imports_go_one_way(graph):
    wrong = [
        f"{module} imports {name}"
        for module, imported in graph.items()
        for name in imported
        if (package := name.partition(".")[0]) in MAY_IMPORT
        and package not in MAY_IMPORT[module.partition(".")[0]] | {module.partition(".")[0]}
    ]
    assert wrong == []


def test_no_module_imports_itself_through_others(graph):
    assert circle(graph) == []


def test_no_folder_imports_itself_through_others(graph):
    assert circle(folders(graph)) == []


def test_the_checker_needs_no_more_than_the_base_installation(graph):
    checker = {name for module, imported in graph.items() if module.startswith("compliance") for name in imported}
    libraries = {name for name in checker if "." not in name} - sys.stdlib_module_names - MAY_IMPORT.keys()
    assert libraries <= CHECKER_NEEDS


@pytest.mark.parametrize("package", sorted(BENCHMARKS | {"harness", "compliance", "characterize", "perf"}))
def test_the_graph_holds_every_package(graph, package):
    assert any(module.startswith(f"{package}.") and imported for module, imported in graph.items())


def written(root: Path, **sources: str) -> Graph:
    (root / "package").mkdir()
    for name, source in sources.items():
        (root / "package" / f"{name}.py").write_text(source)
    return imports(root, ["package"])


def test_an_import_inside_a_function_counts(tmp_path):
    graph = written(tmp_path, one="def work():\n    from package import two\n", two="import json, package.one\n")
    assert graph == {"package.one": {"package.two"}, "package.two": {"json", "package.one"}}
    assert set(circle(graph)) == {"package.one", "package.two"}


def test_a_name_imported_from_a_module_is_an_import_of_that_module(tmp_path):
    graph = written(tmp_path, one="from package.two import Thing\n", two="class Thing: ...\n")
    assert graph == {"package.one": {"package.two"}, "package.two": set()}
    assert circle(graph) == []


def test_what_only_a_type_checker_reads_is_no_import(tmp_path):
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.two import Thing\n"
    graph = written(tmp_path, one=typed, two="from package import one\n")
    assert graph == {"package.one": {"typing"}, "package.two": {"package.one"}}

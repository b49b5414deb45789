"""The rule of the layout: a package imports only packages that stand above it in the list, and none in a circle."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from comparisons import evaluation, method

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    *("util", "results", "stats", "dataset", "model", "intervention", "engine", "method", "judges", "bench"),
    *(
        "experiment",
        "evaluation",
        "evaluations",
        "report",
        "machine",
        "vectors",
        "paper",
        "interpret",
        "running",
        "api",
        "cli",
    ),
)
"""From the ground up; docs/architecture.md says what each is for."""


def modules() -> dict[str, Path]:
    """Every module of the framework, by name; a package's `__init__` has the package's."""
    found = {}
    for path in sorted((ROOT / "comparisons").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """The framework's modules that a module imports anywhere: at its head, in a function, or for types alone."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ({found if found in MODULES else node.module for found in inner} & MODULES.keys())


def place(name: str) -> int:
    """How high a module stands; the package itself and its program hand on what others do."""
    parts = name.split(".")
    return len(PACKAGES) if len(parts) == 1 or parts[1] == "__main__" else PACKAGES.index(parts[1])


def test_a_package_imports_only_what_stands_above_it() -> None:
    assert [f"{a} -> {b}" for a in MODULES for b in imported(a) if place(b) > place(a)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({name: set(imported(name)) - {name} for name in MODULES}).prepare()


def test_no_module_imports_what_is_not_installed_with_it() -> None:
    outside = ("tests", "checkpoints", "docs")
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [found for found in named if found.split(".")[0] in outside], name


def test_every_package_says_in_a_sentence_what_it_is_for_and_is_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    installed = config["options"]["packages"].split()
    for folder in sorted(path.parent for path in (ROOT / "comparisons").glob("*/__init__.py")):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert said and said.strip().endswith("."), folder
        assert f"comparisons.{folder.name}" in installed, folder


def test_nobody_hangs_state_on_a_model_but_what_it_declares() -> None:
    """What the engine learns of a model has a field; what counts its tokens is no function put in another's place."""
    settable = {"token_budget", "packing", "continuing", "pads", "shares", "plain_head", "injected"}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                owner = getattr(node.value, "id", getattr(node.value, "attr", None))
                assert owner != "lm" or node.attr in settable, f"{name}:{node.lineno}: {node.attr}"


SCREEN_AND_A_HALF = 112


def program_imports(code: str) -> set[str]:
    """What a piece of code imports of the program, as "module.name"."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "comparisons"}


def test_a_method_imports_nothing_of_the_program_but_what_is_for_methods() -> None:
    public = {f"comparisons.method.{name}" for name in method.__all__}
    for path in sorted((ROOT / "methods").glob("*.py")):
        code = path.read_text(encoding="utf-8")
        assert program_imports(code) <= public, path.name
        assert not path.name.startswith("_") or path.name == "__init__.py", f"{path.name} is for comparisons.method"
        assert len(code.splitlines()) <= SCREEN_AND_A_HALF, path.name


@pytest.mark.parametrize("page", ["README.md", "docs/plugins.md", "comparisons/method/templates/method.txt"])
def test_a_plugin_that_is_shown_does_so_too(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.findall(r"```python[^\n]*\n(from .*?)```", text, re.DOTALL) or [text.replace("$class_name", "Shown")]
    public = {f"comparisons.method.{name}" for name in method.__all__}
    public |= {f"comparisons.evaluation.{name}" for name in evaluation.__all__}
    for code in shown:
        assert program_imports(code) <= public, code


def test_all_that_is_for_methods_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference/methods.md").read_text(encoding="utf-8")
    assert [name for name in method.__all__ if name not in reference] == []

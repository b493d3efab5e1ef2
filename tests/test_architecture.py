"""The rules of the architecture; a broken one says how to mend the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = [path for folder in ("harness", "exporters", "runtimes") for path in Path(folder).rglob("*.py")]
LONG = {"harness/model.py": "the words of the project, one list"}


def test_the_arrows_between_packages_hold() -> None:
    """Import-linter's contracts in pyproject.toml."""
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(linter), "--no-cache"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"a module imports what it must not (see DESIGN in ARCHITECTURE.md):\n{done.stdout}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_is_one_room(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    limit = 420 if str(path) in LONG else 330
    assert lines <= limit, f"{path} has {lines} lines: it holds two things; give the second a file of its own"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path}: say in one sentence what the module is"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            named = [n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
            protocol = any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
            assert node.name.startswith("_") or ast.get_docstring(node), f"{path}: class {node.name} has no docstring"
            for function in named:
                documented = protocol or node.name.startswith("_") or ast.get_docstring(function)
                assert documented, f"{path}: {node.name}.{function.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_only_the_command_line_exits_or_prints(path: Path) -> None:
    if "cli" in path.parts or path.name == "__main__.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("sys.exit", "exit", "quit"), (
                f"{path}:{node.lineno}: raise an error of harness.errors instead"
            )

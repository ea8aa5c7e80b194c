"""Rules of the house that no linter knows."""

import ast
import fnmatch
import importlib.util
import tomllib

import pytest

PACKAGES = ("schema", "components", "pipeline")


def code_files(project_root):
    return [file for name in (*PACKAGES, "kubeflow") for file in (project_root / name).rglob("*.py")]


def test_no_module_is_longer_than_300_lines(project_root):
    lengths = {str(file): len(file.read_text().splitlines()) for file in code_files(project_root)}
    assert {file: length for file, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_40_lines_without_its_docstring(project_root):
    too_long = []
    for file in code_files(project_root):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
                too_long += [f"{file}:{node.lineno} {node.name} ({length})"] if length > 40 else []
    assert too_long == []


def test_folders_that_must_not_be_packages_are_none(project_root):
    assert not (project_root / "kubeflow" / "__init__.py").exists()
    assert list((project_root / "tests").rglob("__init__.py")) == []


def test_every_package_is_installed(project_root):
    installed = tomllib.loads((project_root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = [
        ".".join(file.parent.relative_to(project_root).parts)
        for name in PACKAGES
        for file in (project_root / name).rglob("__init__.py")
    ]
    assert sorted(installed) == sorted(present)


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_ours_and_not_another_distribution_s(name, project_root):
    assert importlib.util.find_spec(name).origin == str(project_root / name / "__init__.py")


def test_nothing_is_called_utils(project_root):
    banned = {"utils.py", "common.py", "helpers.py"}
    assert [file for file in code_files(project_root) if file.name in banned] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_that_is_no_module_is_in_the_wheel(project_root, package):
    patterns = tomllib.loads((project_root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [path for path in (project_root / package).rglob("*") if path.is_file()]
    names = [str(path.relative_to(project_root / package)) for path in files if path.suffix not in (".py", ".pyc")]
    assert names
    assert [name for name in names if not any(fnmatch.fnmatch(name, each) for each in patterns[package])] == []

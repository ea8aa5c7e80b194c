"""Fixtures of every test: what the reference problem is made of."""

import importlib.util
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root():
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def reference_csv(project_root):
    return project_root / "schema" / "reference" / "data" / "reference.csv"


@pytest.fixture(scope="session")
def reference_schema_file(project_root):
    return str(project_root / "schema" / "reference" / "schema.pbtxt")


@pytest.fixture(scope="session")
def reference_config_file(project_root):
    return str(project_root / "pipeline" / "configs" / "reference.yaml")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write compiled specs as what is expected")
    parser.addoption("--metadata", choices=("sqlite", "mysql"), default="sqlite", help="where the runs of e2e keep it")
    parser.addoption("--faults", choices=("few", "all", "random"), default="few", help="where runs are killed")
    parser.addoption("--faults-seed", type=int, default=0, help="of the moments at which they are killed")
    parser.addoption("--faults-runs", type=int, default=20, help="how many are killed at random moments")


@pytest.fixture(scope="session")
def report_facts():
    """The module that makes the facts of a report."""
    spec = importlib.util.spec_from_file_location("report_facts", PROJECT_ROOT / "tests" / "report_facts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

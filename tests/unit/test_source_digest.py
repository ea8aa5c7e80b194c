import shutil

import pytest

from components import source_digest as module
from components.source_digest import source_digest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose module file imports a package file, which imports another, one of them inside a function."""
    files = {
        "components/__init__.py": "",
        "components/first.py": "def build():\n    from components.second import WIDTH\n    return WIDTH\n",
        "components/second.py": "WIDTH = 1\n",
        "components/stranger.py": "OTHER = 1\n",
        "tensorflow/__init__.py": "",  # beside an installed project lies all else that is installed
        "module.py": "import tensorflow\nfrom components.first import build\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["module.py", "components/first.py", "components/second.py", "components/__init__.py"])
def test_an_edit_to_a_file_that_is_imported_changes_the_digest(project, name):
    before = source_digest(str(project / "module.py"))
    with (project / name).open("a") as file:
        file.write("EDITED = True\n")
    assert source_digest(str(project / "module.py")) != before


@pytest.mark.parametrize("name", ["components/stranger.py", "tensorflow/__init__.py"])
def test_an_edit_to_a_file_that_is_not_imported_or_not_ours_keeps_the_digest(project, name):
    before = source_digest(str(project / "module.py"))
    (project / name).write_text("OTHER = 2\n")
    assert source_digest(str(project / "module.py")) == before


def test_digest_does_not_depend_on_where_the_files_lie(project, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("z") / "site-packages"
    before = source_digest(str(project / "module.py"), str(project / "components" / "stranger.py"))
    shutil.copytree(project, elsewhere)
    monkeypatch.setattr(module, "PROJECT_ROOT", elsewhere)
    assert source_digest(str(elsewhere / "module.py"), str(elsewhere / "components" / "stranger.py")) == before


def test_transform_does_not_depend_on_the_trainer(project_root):
    digests = {
        name: source_digest(str(project_root / "components" / name))
        for name in ("transform/preprocessing.py", "trainer/module.py")
    }
    assert len(set(digests.values())) == 2

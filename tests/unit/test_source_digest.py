import pytest

from components import source_digest as module
from components.source_digest import source_digest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose module file imports a package file, which imports another, one of them inside a function."""
    files = {
        "parts/__init__.py": "",
        "parts/first.py": "def build():\n    from parts.second import WIDTH\n    return WIDTH\n",
        "parts/second.py": "WIDTH = 1\n",
        "parts/stranger.py": "OTHER = 1\n",
        "module.py": "import tensorflow\nfrom parts.first import build\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["module.py", "parts/first.py", "parts/second.py", "parts/__init__.py"])
def test_an_edit_to_a_file_that_is_imported_changes_the_digest(project, name):
    before = source_digest(str(project / "module.py"))
    with (project / name).open("a") as file:
        file.write("EDITED = True\n")
    assert source_digest(str(project / "module.py")) != before


def test_an_edit_to_a_file_that_is_not_imported_keeps_the_digest(project):
    before = source_digest(str(project / "module.py"))
    (project / "parts" / "stranger.py").write_text("OTHER = 2\n")
    assert source_digest(str(project / "module.py")) == before


def test_transform_does_not_depend_on_the_trainer(project_root):
    digests = {
        name: source_digest(str(project_root / "components" / name))
        for name in ("transform/preprocessing.py", "trainer/module.py")
    }
    assert len(set(digests.values())) == 2

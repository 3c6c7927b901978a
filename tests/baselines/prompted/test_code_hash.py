"""An edit of any file that shapes numbers changes the hash under which they are kept, wherever the file lies."""

import shutil
from pathlib import Path

import pytest

from models_under_pressure.activations.model import PACKAGE, code_fingerprint, source_hash
from models_under_pressure.baselines.prompted.run import _code_hash

HASHES = {
    "activations": (code_fingerprint, ("activations", "core/records.py")),
    "prompted": (_code_hash, ("activations", "core/records.py", "baselines/data.py", "baselines/prompted")),
}


@pytest.fixture
def package(tmp_path):
    """A copy of the source, with a folder inside each room."""
    shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("activations", "baselines/prompted"):
        (tmp_path / "package" / room / "deeper").mkdir()
        (tmp_path / "package" / room / "deeper" / "new.py").write_text("")
    return tmp_path / "package"


@pytest.mark.parametrize("name", HASHES)
def test_an_edit_of_any_file_changes_the_hash(name, package):
    hashed, places = HASHES[name]
    files = [file for place in places for file in (package / place).rglob("*.py")]
    files += [package / place for place in places if place.endswith(".py")]
    seen = {hashed(package)}
    for file in files:
        file.write_text(file.read_text("utf-8") + "# edited\n", "utf-8")
        seen.add(hashed(package))
    assert len(seen) == len(files) + 1 > 6
    assert hashed(package) in seen


def test_a_file_of_another_room_and_a_cache_change_nothing(package):
    before = [hashed(package) for hashed, _ in HASHES.values()]
    (package / "stages" / "extract.py").write_text("")
    (package / "activations" / "cache.pyc").write_text("")
    assert [hashed(package) for hashed, _ in HASHES.values()] == before


def test_a_room_that_moved_is_an_error_and_not_an_empty_hash(tmp_path):
    (tmp_path / "empty").mkdir()
    for gone in (tmp_path / "empty", Path("nowhere")):
        with pytest.raises(FileNotFoundError):
            source_hash(gone)

"""One file to copy: made, compared, and run from an empty folder by the oldest and the newest Python at hand."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, List

import making
import pytest
from conftest import ROOT


def works(python: str) -> bool:
    """Whether a name on PATH is a Python that starts, and no shim for one that is not chosen."""
    return subprocess.call([python, "-c", "pass"], stdout=-3, stderr=-3) == 0


FOUND = filter(None, map(shutil.which, ("python3.8", "python3.13")))
PYTHONS = sorted({sys.executable, *filter(works, FOUND)})


def bundle(folder: Path, *more: Any) -> Path:
    words = [sys.executable, str(ROOT / "tests" / "bundle.py"), str(folder), *map(str, more)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: Any) -> Path:
    return bundle(tmp_path_factory.mktemp("dist"))


def start(words: List[Any], folder: Path) -> Any:
    return subprocess.run(
        list(map(str, words)),
        cwd=str(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )


def test_the_same_bytes_again(dist: Path, tmp_path: Path):
    for path in bundle(tmp_path / "again").iterdir():
        assert path.read_bytes() == (dist / path.name).read_bytes()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_single_file_does_the_main_job_in_an_empty_folder(
    dist: Path, tmp_path: Path, python: str
):
    here = tmp_path / "a l\u00e4ptop"
    making.drive(here / "p", 3)
    shutil.copy(str(dist / "mapillary_tools.pyz"), str(here))
    words = ["process_and_upload", "--import_path", "p", "--user_name", "demo", "--stand_in", "got"]
    done = start([python, "-I", "-S", "mapillary_tools.pyz", *words], here)
    assert done.returncode == 0, done.stderr
    assert len(list((here / "got").glob("*.jpg"))) == 3
    assert start([python, "-I", "-S", "mapillary_tools.pyz", "--version"], here).returncode == 0


@pytest.mark.parametrize("python", PYTHONS)
def test_the_zip_unpacked_runs(dist: Path, tmp_path: Path, python: str):
    zipfile.ZipFile(str(dist / "mapillary_tools.zip")).extractall(str(tmp_path))
    making.drive(tmp_path / "p", 2)
    words = ["process", "--import_path", "p", "--user_name", "demo"]
    done = start([python, "-I", "-S", "mapillary_tools/mapillary_tools.py", *words], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_second_readers_may_be_inside(tmp_path: Path):
    gpxpy = pytest.importorskip("gpxpy")
    exifread = pytest.importorskip("exifread")
    for one in (gpxpy, exifread):
        folder = Path(one.__file__).parent
        shutil.copytree(str(folder), str(tmp_path / "more" / folder.name))
    made = bundle(tmp_path / "dist", "--with", tmp_path / "more")
    names = zipfile.ZipFile(str(made / "mapillary_tools.pyz")).namelist()
    assert "vendor/gpxpy/__init__.py" in names and "vendor/exifread/__init__.py" in names
    making.drive(tmp_path / "p", 2)
    words = ["process", "--import_path", "p", "--user_name", "demo"]
    done = start([sys.executable, "-I", "-S", made / "mapillary_tools.pyz", *words], tmp_path)
    assert done.returncode == 0, done.stderr

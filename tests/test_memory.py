"""Input that is far too large for the memory: one clear line. tests/memory.py measures the same with figures, and more."""

import sys

import making
import mapillary_tools as mt
import pytest
from conftest import EXECUTABLE, images_in, in_process, run

pytest.importorskip("resource")
import memory

pytestmark = pytest.mark.slow
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or bool(EXECUTABLE), reason="limits memory as Linux does"
)


@in_process
@pytest.mark.parametrize("name", ["read_table", "look_below", "carry_out"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_memory_that_is_not_there_is_one_line(name, more, tmp_path, monkeypatch):
    """Symptom: a traceback that ends with MemoryError."""
    making.drive(tmp_path / "p", count=1)
    (tmp_path / "t.csv").write_text("0001.jpg,1.5,2.5\n", encoding="ascii")
    before = images_in(tmp_path / "p")

    def failing(*_, **__):
        raise MemoryError

    monkeypatch.setattr(mt, name, failing)
    columns = ["--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3]
    table = ["--csv_path", tmp_path / "t.csv", *columns]
    ran = run("process_csv", "--import_path", tmp_path / "p", table, more)
    assert ran.code == 12 and "memory" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr and images_in(tmp_path / "p") == before


def sound(row: memory.Row) -> None:
    assert memory.verdict(row) == "", row


@linux
def test_a_track_that_does_not_fit_is_one_line(tmp_path):
    memory.large_gpx(tmp_path / "a.gpx", 40)
    photos = memory._with_one_photo(tmp_path)
    argv = ["process", "--import_path", photos, "--user_name", "demo", "--advanced"]
    argv += ["--geotag_source", "gpx", "--geotag_source_path", tmp_path / "a.gpx"]
    ran = memory.run(110 * memory.MB, tmp_path, *argv)
    sound(memory.Row("gpx", 40, ran, None, 30))
    assert ran.code != 0


@linux
@pytest.mark.parametrize("kind", ["stts", "stsc", "stco", "text"])
def test_a_movie_that_claims_much_is_read_in_bounds(kind, tmp_path):
    """Symptom of the last: all boxes of text of a video were in memory at one time, and once more joined."""
    memory.large_movie(tmp_path / "a.mp4", kind, 10 if kind in ("stts", "stsc") else 256)
    photos = memory._with_one_photo(tmp_path)
    argv = ["process", "--import_path", photos, "--user_name", "demo", "--advanced"]
    argv += ["--geotag_source", "gpx", "--geotag_source_path", tmp_path / "a.mp4"]
    ran = memory.run(1500 * memory.MB, tmp_path, *argv)
    sound(memory.Row(kind, 256, ran, 300 * memory.MB, 30))


@linux
def test_a_large_photo_is_never_whole_in_memory(tmp_path):
    (tmp_path / "p").mkdir()
    memory.large_photo(tmp_path / "p" / "a.jpg", 100)
    process = ["process", "--import_path", tmp_path / "p", "--user_name", "demo"]
    send = ["upload", "--import_path", tmp_path / "p", "--stand_in", tmp_path / "received"]
    # most of the memory that any run needs is that of the compiler, for this one large file
    least = memory.run(1500 * memory.MB, tmp_path, "--version").peak
    for argv in (process, send):
        ran = memory.run(1500 * memory.MB, tmp_path, *argv)
        sound(memory.Row("photo", 100, ran, least + 15 * memory.MB, 10))
        assert ran.code == 0, ran


def test_the_figures_of_this_program_are_true(tmp_path):
    """A run that takes memory is seen to take it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("as Linux counts")
    script = tmp_path / "greedy.py"
    script.write_text("x = bytearray(200 << 20)\nprint('took it')\n", encoding="ascii")
    plain, memory.SCRIPT = memory.SCRIPT, script
    try:
        ran = memory.run(1500 * memory.MB, tmp_path)
        cut = memory.run(100 * memory.MB, tmp_path)
    finally:
        memory.SCRIPT = plain
    assert ran.said == "took it" and 200 < ran.peak / memory.MB < 260
    assert memory.verdict(memory.Row("x", 1, ran, 100 * memory.MB, 9)).startswith("more than")
    assert cut.code == 1 and "traceback" in cut.wrong

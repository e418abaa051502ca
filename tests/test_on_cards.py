"""What else lies on a card: links, thumbnails of clips, pictures with something behind their ending."""

import os
from pathlib import Path
from typing import Any

import making
import pytest
from conftest import as_nobody, run, told, tree

USER = ("--user_name", "demo")
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such links and names")


def card(folder: Path, *names: str, first: int = 0) -> Path:
    for number, name in enumerate(names, first):
        lat, time = 57.7 + number * 1e-4, f"2024:05:06 07:08:{9 + number:02d}"
        making.photo(folder / name, lat=lat, lon=11.97, time=time, pixels=number)
    return folder


# ---- links to photos ----------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A processed folder of two photos, and one with a photo and links to both of those."""
    card(tmp_path / "a", "1.jpg", "2.jpg")
    assert run("process", "--import_path", tmp_path / "a", *USER).code == 0
    card(tmp_path / "b", "3.jpg", first=3)
    for name in ("1.jpg", "2.jpg"):
        os.symlink(str(tmp_path / "a" / name), str(tmp_path / "b" / name))
    return tmp_path / "b"


@posix
def test_an_upload_sends_nothing_that_is_behind_a_link(linked: Path, tmp_path: Path):
    """It sent the photo of another folder, out of the sequence that it belongs to."""
    assert run("process", "--import_path", linked, *USER).code == 0
    received = tmp_path / "received"
    row = told("upload", "--import_path", linked, "--stand_in", received)
    assert row["done"] == 1 and row["skipped"]["link"] == 2, row
    row = told("upload", "--import_path", tmp_path / "a", "--stand_in", received)
    assert row["done"] == 2, row


@posix
def test_restore_writes_through_no_link(linked: Path, tmp_path: Path):
    before = tree(tmp_path / "a")
    row = told("restore", "--import_path", linked)
    assert row["skipped"]["link"] == 2 and row["done"] == 0, row
    assert tree(tmp_path / "a") == before


@posix
@pytest.mark.parametrize("tool", ["process", "status", "upload", "restore"])
def test_every_tool_counts_a_link_as_one(tool: str, linked: Path, tmp_path: Path):
    assert run("process", "--import_path", linked, *USER).code == 0
    more = {"process": USER, "upload": ("--stand_in", tmp_path / "received")}.get(tool, ())
    row = told(tool, "--import_path", linked, *more)
    assert row["skipped"]["link"] == 2 and row["found"] == 3, row


@posix
def test_a_folder_of_links_alone_is_counted_by_run_and_status(linked: Path):
    (linked / "3.jpg").unlink()
    for tool, more in (("process", USER), ("status", ())):
        row = told(tool, "--import_path", linked, *more)
        assert (row["exit_code"], row["found"], row["skipped"]["link"]) == (0, 2, 2), row


# ---- thumbnails, deleted files ------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder",
    [
        *("PRIVATE/M4ROOT/THMBNL", "Thumbnails", "thumbs", "FOUND.002", "Recycle Bin", "Trash"),
        *("card.lrdata", "iPod Photo Cache", "_thumb"),
    ],
)
def test_thumbnails_and_deleted_files_are_not_searched_and_said(folder: str, tmp_path: Path):
    card(tmp_path, "1.jpg", "2.jpg")
    for number in range(5):
        making.photo(tmp_path / folder / f"C{number:04d}T01.JPG", time=None)
    row = told("process", "--import_path", tmp_path, *USER)
    assert (row["done"], row["failed"]) == (2, []), row
    assert [note for note in row["notes"] if Path(folder).name in note], row


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, code",
    [
        ("IMG_0002.JPG;1", "odd_ending"),
        ("IMG.jpg.1", "odd_ending"),
        ("IMG.jpg_large", "odd_ending"),
        ("IMG.jpg ", "odd_ending"),
        ("IMG.jpg.", "odd_ending"),
        ("IMG.jpg-orig", "odd_ending"),
        ("IMG.jpg_exiftool_tmp", "odd_ending"),
        ("IMG.jpg.sync-conflict-20240506", "odd_ending"),
        ("IMG.JPEG (1)", None),
        ("IMG.jpg.tmp", "unfinished"),
        ("IMG.jpg.!qB", "unfinished"),
        ("IMG.jpg.json", None),
        ("IMG.jpg.xmp", None),
        ("IMG.jpg.md5", None),
        ("report.1", None),
        ("2024.05.06 12", None),
    ],
)
@posix
def test_a_picture_with_something_behind_its_ending_is_counted(
    name: str, code: Any, tmp_path: Path
):
    """A card of which nine pictures were named so ended with "1 found", all good."""
    card(tmp_path, "1.jpg", name)
    row = told("process", "--import_path", tmp_path, *USER)
    expected = {code: 1} if code else {}
    assert row["done"] == 1 and row["skipped"] == expected, row


# ---- what may pass ------------------------------------------------------------------------------


@posix
def test_after_what_may_pass_the_next_command_is_the_same():
    """It was one that lists nothing: no journal tells of a photo that the medium did not give."""
    with as_nobody() as folder:
        card(folder / "card", "1.jpg", "2.jpg")
        for name in ("1.jpg", "2.jpg"):
            (folder / "card" / name).chmod(0)
        row = told("process", "--import_path", folder / "card", *USER)
    assert row["done"] == 0 and len(row["failed"]) == 2, row
    assert "status" not in str(row["next"]), row["next"]


def test_after_what_a_journal_tells_the_next_command_lists_it(tmp_path: Path):
    making.photo(tmp_path / "1.jpg", lat=None, lon=None)
    row = told("process", "--import_path", tmp_path, *USER)
    assert row["next"][:1] == ["status"] and row["next"][-2:] == ["--list", "failed"], row["next"]

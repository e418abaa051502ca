"""Photos that are set aside - in an area, by a mark, moved - keep what they carried, and what was asked for them."""

import json
from pathlib import Path
from typing import Any

import making
import pytest
from conftest import in_process, run, told

import mapillary_tools as mt

pytestmark = in_process
USER = ("--user_name", "demo")
AREA = ("--exclude_area", "57.7,11.97,20000")


def card(folder: Path, count: int = 4) -> Path:
    making.drive(folder, count)
    return folder


def carried(folder: Path) -> Any:
    """What each photo carries, but for the room that its EXIF takes."""
    found = {path.name: mt.read_found(path) for path in folder.glob("*.jpg")}
    return {name: one._replace(size=0, mtime=0, digest=None) for name, one in found.items()}


def journal(folder: Path) -> str:
    return (folder / ".mapillary" / "journal.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_a_photo_in_an_area_left_out_later_is_restored(
    twice: bool, compacted: bool, tmp_path: Path
):
    before = carried(card(tmp_path / "p"))
    run("process", "--import_path", tmp_path / "p", *USER, "--offset_time", "10")
    assert carried(tmp_path / "p") != before
    for _ in range(1 + twice):
        row = told("process", "--import_path", tmp_path / "p", *USER, *AREA)
        assert row["skipped"] == {"excluded_area": 4}
    if compacted:
        path = tmp_path / "p" / ".mapillary" / "journal.jsonl"
        last = {
            json.loads(line).get("image", n): line
            for n, line in enumerate(journal(tmp_path / "p").splitlines())
        }
        path.write_text("".join(line + "\n" for line in last.values()), encoding="utf-8")
    row = told("restore", "--import_path", tmp_path / "p")
    assert row["done"] == 4 and carried(tmp_path / "p") == before


def test_the_time_is_right_again_where_an_area_no_longer_counts(tmp_path: Path):
    card(tmp_path / "p")
    folder = ("--import_path", tmp_path / "p")
    run("process", *folder, *USER)
    right = [
        making.description(path.read_bytes()) for path in sorted((tmp_path / "p").glob("*.jpg"))
    ]
    run("process", *folder, *USER, "--offset_time", "10")
    run("process", *folder, *USER, *AREA)
    assert told("process", *folder, *USER)["done"] == 4
    again = [
        making.description(path.read_bytes()) for path in sorted((tmp_path / "p").glob("*.jpg"))
    ]
    assert again == right


def test_nothing_but_restore_tells_what_is_kept_of_a_photo_in_an_area(tmp_path: Path):
    card(tmp_path / "p")
    folder = ("--import_path", tmp_path / "p")
    run("process", *folder, *USER, "--offset_time", "10")
    run("process", *folder, *USER, *AREA)
    said = run("status", *folder, "--image", "0001.jpg")
    assert "57.7" not in said.stdout + said.stderr and "11.97" not in said.stdout + said.stderr
    assert run("export", *folder, "--output_path", tmp_path / "e.csv").code == 3
    assert run("report", *folder, "--output_path", tmp_path / "r.html").code in (0, 3)
    page = tmp_path / "r.html"
    assert not page.exists() or "57.7" not in page.read_text(encoding="utf-8")
    assert not list((tmp_path / "p" / ".mapillary").rglob("*.log"))
    sent = told("upload", *folder, "--stand_in", tmp_path / "received")
    assert sent["done"] == 0 and sent["skipped"] == {"excluded_area": 4}


def test_restore_keeps_the_mark_of_a_photo_that_is_left_out(tmp_path: Path):
    card(tmp_path / "p")
    folder = ("--import_path", tmp_path / "p")
    run("process", *folder, *USER)
    marks = tmp_path / "c.csv"
    marks.write_text("filename,leave_out,turn_by\n0003.jpg,yes,\n", encoding="utf-8")
    run("process_csv", *folder, "--csv_path", marks)
    run("process", *folder, *USER)
    assert told("restore", *folder)["done"] == 4
    row = told("process_and_upload", *folder, *USER, "--stand_in", tmp_path / "received")
    assert row["done"] == 3 and row["skipped"] == {"left_out": 1}


@pytest.mark.parametrize("again", [True, False], ids=["processed there", "only moved"])
def test_a_photo_that_moved_into_another_folder_of_the_run_is_restored(again: bool, tmp_path: Path):
    folder = card(tmp_path / "p")
    card(folder / "best", 1)
    before = carried(folder)
    run("process", "--import_path", folder, *USER, "--offset_time", "10")
    (folder / "0003.jpg").rename(folder / "best" / "0003.jpg")
    if again:
        run("process", "--import_path", folder, *USER, "--offset_time", "10")
    row = told("restore", "--import_path", folder)
    assert row["failed"] == [] and carried(folder / "best")["0003.jpg"] == before["0003.jpg"]
    assert not [
        path for path in folder.rglob("*.jpg") if mt.has_caption_of_ours(mt.read_found(path))
    ]


def test_the_story_of_a_photo_tells_where_its_direction_is_from(tmp_path: Path):
    """A track that stands still has no course; a direction from magnetic north is one, too."""
    for name, ref in (("t.jpg", "T"), ("m.jpg", "M")):
        folder = tmp_path / ref
        making.photo(
            folder / name,
            time="2024:05:06 07:08:09",
            lat=57.7,
            lon=11.97,
            heading=40.0,
            heading_ref=ref,
        )
    still = making.gpx([(1714979280.0 + n, 57.7, 11.97) for n in range(30)], tmp_path / "still.gpx")
    by_track = ("--geotag_source", "gpx", "--geotag_source_path", still, "--offset_angle", "90")
    run("process", "--import_path", tmp_path / "T", *USER, *by_track)
    run("process", "--import_path", tmp_path / "M", *USER)
    turned = run("status", "--import_path", tmp_path / "T", "--image", "t.jpg").stdout
    assert "130.0 degrees, from" in turned and "course of the track" not in turned
    magnetic = run("status", "--import_path", tmp_path / "M", "--image", "m.jpg").stdout
    assert "40.0 degrees from magnetic north" in magnetic


def test_a_photo_that_is_left_out_gives_no_other_its_position(tmp_path: Path):
    for number in range(1, 5):
        place = {} if number == 3 else {"lat": 57.7 + number * 1e-4, "lon": 11.97}
        making.photo(
            tmp_path / "p" / f"{number}.jpg",
            time=f"2024:05:06 07:08:{10 + 3 * number}",
            pixels=number,
            **place,
        )
    marks = tmp_path / "c.csv"
    marks.write_text("filename,leave_out,turn_by\n4.jpg,yes,\n", encoding="utf-8")
    run("process_csv", "--import_path", tmp_path / "p", "--csv_path", marks)
    row = told("process", "--import_path", tmp_path / "p", *USER, "--geotag_source", "exif,photos")
    assert [Path(one["file"]).name for one in row["failed"]] == ["3.jpg"]


def test_what_came_here_with_a_description_of_ours_is_put_back_as_it_came(tmp_path: Path):
    card(tmp_path / "a", 1)
    run("process", "--import_path", tmp_path / "a", *USER)
    (tmp_path / "b").mkdir()
    came = (tmp_path / "a" / "0001.jpg").read_bytes()
    (tmp_path / "b" / "0001.jpg").write_bytes(came)
    run("process", "--import_path", tmp_path / "b", "--user_name", "eve")
    assert told("restore", "--import_path", tmp_path / "b")["done"] == 1
    assert making.description(tmp_path / "b" / "0001.jpg") == making.description(
        tmp_path / "a" / "0001.jpg"
    )


def test_credentials_that_came_later_are_no_other_user(tmp_path: Path, own_home: Path):
    card(tmp_path / "p")
    words = ("--import_path", tmp_path / "p", *USER, "--stand_in", tmp_path / "received")
    run("process_and_upload", *words)
    path = Path(mt.config_path())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[demo]\nMAPSettingsUserKey = 7\nuser_upload_token = t\n", encoding="utf-8")
    assert "for another user" not in run("process_and_upload", *words).stderr
    other = run(
        "process_and_upload",
        "--import_path",
        tmp_path / "p",
        "--user_name",
        "eve",
        "--stand_in",
        tmp_path / "received",
    )
    assert "4 that the service has were processed for another user" in other.stderr

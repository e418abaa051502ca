"""Where positions come from, one source after the other; folders that are one drive."""

import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Tuple

import making
import pytest
from conftest import run
from service import Service

import mapillary_tools as mt

USER = ("--user_name", "demo")
START = 1714979289.0  # 2024-05-06 07:08:09 UTC


def told(*argv: Any, ok: bool = True) -> Dict[str, Any]:
    ran = run(*argv, "--json")
    assert "Traceback" not in ran.stderr
    row = json.loads(ran.stdout)
    assert not ok or row["exit_code"] == 0, row
    return dict(row, said=ran.stderr)


def described(folder: Path) -> List[Dict[str, Any]]:
    return [making.description(path) for path in sorted(folder.rglob("*.jpg"))]


def places(folder: Path) -> List[Tuple[float, float]]:
    return [(row["MAPLatitude"], row["MAPLongitude"]) for row in described(folder)]


def track(path: Path, first: float, last: float, lon: float) -> Path:
    """A point every second, going north like making.drive, on a longitude of its own."""
    seconds = range(int(first), int(last) + 1)
    return making.gpx([(START + s, 57.7 + s * 0.00005, lon) for s in seconds], path)


def without_place(folder: Path, *numbers: int, seconds: int = 2) -> None:
    """Photos of making.drive as a camera without GPS writes them."""
    for number in numbers:
        minutes, rest = divmod(9 + number * seconds, 60)
        time = f"2024:05:06 07:{8 + minutes:02d}:{rest:02d}"
        making.photo(folder / f"{number + 1:04d}.jpg", lat=None, lon=None, time=time)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    making.drive(tmp_path / "card", 10)  # one every 2 s, at longitude 11.97
    return tmp_path / "card"


def process(card: Path, *more: Any, ok: bool = True) -> Dict[str, Any]:
    return told("process", "--import_path", card, *USER, *more, ok=ok)


# ---- sources in order ----------------------------------------------------------------------------


def test_each_photo_is_placed_by_the_first_source_that_knows_it(card: Path, tmp_path: Path):
    gpx = track(tmp_path / "t.gpx", 0, 8, 11.971)
    row = process(card, "--geotag_source", "gpx,exif", "--geotag_source_path", gpx)
    assert [round(lon, 4) for _, lon in places(card)] == [11.971] * 5 + [11.97] * 5
    assert row["done"] == 10 and "positions: 5 from t.gpx, 5 from EXIF" in str(row["notes"])


def test_exif_first_leaves_the_track_to_photos_without_a_position(card: Path, tmp_path: Path):
    making.photo(card / "0004.jpg", lat=None, lon=None, time="2024:05:06 07:08:15")
    gpx = track(tmp_path / "t.gpx", 0, 30, 11.971)
    process(card, "--geotag_source", "exif,gpx", "--geotag_source_path", gpx)
    assert [round(lon, 4) for _, lon in places(card)] == [11.97] * 3 + [11.971] + [11.97] * 6


def test_a_list_with_one_that_is_no_source_is_refused(card: Path, tmp_path: Path):
    row = process(card, "--geotag_source", "gpx,gsp", "--geotag_source_path", tmp_path, ok=False)
    assert row["exit_code"] == 2 and "gsp" in str(row)
    row = process(card, "--geotag_source", "exif,exif", ok=False)
    assert row["exit_code"] == 2 and "twice" in str(row)
    row = process(card, "--geotag_source", "exif,gpx", ok=False)
    assert row["exit_code"] == 2 and "--geotag_source_path" in str(row)


def test_a_photo_that_no_source_knows_fails_by_the_first(card: Path, tmp_path: Path):
    making.photo(card / "0010.jpg", lat=None, lon=None, time="2024:05:06 07:08:27")
    gpx = track(tmp_path / "t.gpx", 0, 8, 11.971)
    row = process(card, "--geotag_source", "gpx,exif", "--geotag_source_path", gpx, ok=False)
    assert [one["code"] for one in row["failed"]] == ["outside_track"] and row["done"] == 9


def test_several_track_files_are_one_track(card: Path, tmp_path: Path):
    one, two = track(tmp_path / "a.gpx", 0, 9, 11.971), track(tmp_path / "b.gpx", 10, 30, 11.972)
    paths = ("--geotag_source_path", one, "--geotag_source_path", two)
    process(card, "--geotag_source", "gpx", *paths)
    assert [round(lon, 4) for _, lon in places(card)] == [11.971] * 5 + [11.972] * 5
    again = process(card, "--geotag_source", "gpx", *paths)
    assert again["done"] == 0 and again["skipped"]
    two.write_text(two.read_text("utf-8").replace("11.972", "11.973"), "utf-8")  # of the same size
    assert process(card, "--geotag_source", "gpx", *paths)["done"] == 10


def test_files_go_to_the_source_of_their_kind(card: Path, tmp_path: Path):
    """The second of two kinds places only what the first does not know."""
    gpx = track(tmp_path / "a.gpx", 4, 8, 11.971)
    nmea = tmp_path / "b.nmea"
    lines = []
    for second in range(0, 13):
        lat = 57.7 + second * 0.00005
        minutes = (lat - 57) * 60
        body = f"GPRMC,0708{9 + second:02d}.00,A,57{minutes:08.5f},N,01158.44000,E,1.0,0.0,060524,,"
        check = 0
        for letter in body:
            check ^= ord(letter)
        lines.append(f"${body}*{check:02X}\r\n")
    nmea.write_bytes("".join(lines).encode("ascii"))
    paths = ("--geotag_source_path", nmea, "--geotag_source_path", gpx)
    row = process(card, "--geotag_source", "gpx,nmea,exif", *paths, "--keep_jumps")
    east = [round(lon, 4) for _, lon in places(card)]
    assert east == [11.974] * 2 + [11.971] * 3 + [11.974] * 2 + [11.97] * 3
    assert "4 from b.nmea" in str(row["notes"]) and "3 from a.gpx" in str(row["notes"])


def test_a_photo_tells_which_source_placed_it(card: Path, tmp_path: Path):
    gpx = track(tmp_path / "t.gpx", 0, 8, 11.971)
    process(card, "--geotag_source", "gpx,exif", "--geotag_source_path", gpx)
    said = [
        run("status", "--import_path", card, "--image", name).stdout
        for name in ("0002.jpg", "0009.jpg")
    ]
    assert "from the track t.gpx" in said[0] and "from EXIF" in said[1]


def test_an_embedding_program_may_give_one_path_or_several(card: Path, tmp_path: Path):
    one, two = track(tmp_path / "a.gpx", 0, 9, 11.971), track(tmp_path / "b.gpx", 10, 30, 11.972)
    for path in (str(one), (str(one), str(two))):
        asked = mt.Geotagging(geotag_source="gpx,exif", geotag_source_path=path)
        report = mt.process(mt.Input(str(card)), mt.User(user_name="demo"), asked)
        assert report.done == 10


# ---- photos that place others ---------------------------------------------------------------------


def test_photos_with_a_position_place_those_between_them(tmp_path: Path):
    """A telephone that has GPS and a camera that has none, on the same drive."""
    making.drive(tmp_path / "phone", 5, seconds=8.0, step=0.0004, make="Phone")
    (tmp_path / "camera").mkdir()
    without_place(tmp_path / "camera", *range(15))
    row = process(tmp_path, "--geotag_source", "photos")
    assert row["done"] == 20 and "positions: " in str(row["notes"])
    for number, (lat, lon) in enumerate(places(tmp_path / "camera")):
        assert (lat, lon) == pytest.approx((57.7 + number * 0.0001, 11.97), abs=2e-6)
    said = run("status", "--import_path", tmp_path / "camera", "--image", "0002.jpg").stdout
    assert "from other photos, between its points" in said
    assert process(tmp_path, "--geotag_source", "photos")["done"] == 0


def test_photos_do_not_reach_across_a_long_pause(tmp_path: Path):
    making.drive(tmp_path, 5, seconds=60.0, step=0.001)
    without_place(tmp_path, 1, 3, seconds=60)
    row = process(tmp_path, "--geotag_source", "photos", ok=False)
    assert [one["code"] for one in row["failed"]] == ["outside_track"] * 2
    row = process(tmp_path, "--geotag_source", "photos", "--max_gap", "200")
    assert row["done"] == 5


def test_a_photo_that_comes_places_those_of_other_folders_again(tmp_path: Path):
    making.drive(tmp_path / "phone", 2, seconds=8.0, step=0.0004)
    (tmp_path / "camera").mkdir()
    without_place(tmp_path / "camera", *range(4))
    process(tmp_path, "--geotag_source", "photos")
    making.photo(
        tmp_path / "phone" / "0003.jpg", lat=57.7002, lon=11.9702, time="2024:05:06 07:08:13"
    )
    assert process(tmp_path, "--geotag_source", "photos")["done"] == 7
    assert places(tmp_path / "camera")[2] == pytest.approx((57.7002, 11.9702), abs=2e-6)


def test_a_photo_in_an_area_that_is_left_out_places_no_other(tmp_path: Path):
    making.drive(tmp_path, 5)
    without_place(tmp_path, 1)
    area = ("--exclude_area", "57.7,11.97,5")  # around the first
    row = process(tmp_path, "--geotag_source", "photos", *area, ok=False)
    assert [one["file"][-8:] for one in row["failed"]] == ["0002.jpg"]
    again = process(tmp_path, "--geotag_source", "photos", *area, "--rerun", ok=False)
    assert [one["file"][-8:] for one in again["failed"]] == ["0002.jpg"]


def test_photos_that_are_uploaded_place_others(tmp_path: Path, service: Service):
    making.drive(tmp_path / "phone", 5, seconds=8.0, step=0.0004, make="Phone")
    assert told("process_and_upload", "--import_path", tmp_path, *USER)["done"] == 5
    (tmp_path / "camera").mkdir()
    without_place(tmp_path / "camera", *range(15))
    row = process(tmp_path, "--geotag_source", "photos")
    assert row["done"] == 15, row
    row = process(tmp_path, "--geotag_source", "photos", "--rerun")
    assert row["done"] == 15, row
    for number, (lat, lon) in enumerate(places(tmp_path / "camera")):
        assert (lat, lon) == pytest.approx((57.7 + number * 0.0001, 11.97), abs=2e-6)


# ---- folders that are one drive -------------------------------------------------------------------


def two_folders(top: Path, names: Tuple[str, str] = ("100GOPRO", "101GOPRO")) -> Path:
    making.drive(top / names[0], 4)
    making.drive(top / names[1], 4, lat=57.7004, start="2024:05:06 07:08:17")
    return top


def ids(folder: Path) -> List[str]:
    return [row["MAPSequenceUUID"] for row in described(folder)]


def test_folders_that_a_camera_opened_by_number_are_one_sequence(tmp_path: Path):
    top = two_folders(tmp_path / "DCIM")
    assert process(top)["sequences"] == 2
    row = process(top, "--merge_folders")
    assert (row["done"], row["sequences"]) == (8, 1) and len(set(ids(top))) == 1
    assert process(top, "--merge_folders")["done"] == 0
    heading = described(top)[3]["MAPCompassHeading"]["TrueHeading"]  # towards the next folder
    assert heading == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    "names", [("100GOPRO", "101CANON"), ("day1", "day2"), ("100GOPRO", "101GOPRO old")]
)
def test_other_folders_stay_apart(tmp_path: Path, names: Tuple[str, str]):
    row = process(two_folders(tmp_path, names), "--merge_folders")
    assert row["sequences"] == 2


def test_ids_of_sequences_in_one_folder_do_not_change(tmp_path: Path):
    making.drive(tmp_path / "100GOPRO", 4)
    process(tmp_path)
    before = ids(tmp_path)
    process(tmp_path, "--merge_folders")
    assert ids(tmp_path) == before


def test_a_folder_of_the_drive_that_is_no_part_of_the_run_is_said(tmp_path: Path):
    top = two_folders(tmp_path)
    row = process(top / "101GOPRO", "--merge_folders")
    assert "100GOPRO beside it may be of the same drive" in str(row["notes"])
    assert "beside it" not in str(process(top, "--merge_folders")["notes"])


def test_a_merged_sequence_goes_up_as_one_and_is_told_in_its_first_folder(tmp_path: Path):
    top, into = two_folders(tmp_path / "DCIM"), tmp_path / "service"
    process(top, "--merge_folders")
    row = told("upload", "--import_path", top, "--stand_in", into)
    assert (row["done"], row["sequences_finished"]) == (8, 1)
    assert len(list((into / "sequences").rglob("*.json"))) == 1
    lines = (top / "100GOPRO" / ".mapillary" / "journal.jsonl").read_text("utf-8")
    assert "../101GOPRO/0001.jpg" in lines
    assert '"sequence":{' not in (top / "101GOPRO" / ".mapillary" / "journal.jsonl").read_text(
        "utf-8"
    )
    again = told("upload", "--import_path", top, "--stand_in", into)
    assert again["done"] == 0 and len(list((into / "sequences").rglob("*.json"))) == 1


def test_status_knows_a_merged_sequence_from_each_of_its_folders(tmp_path: Path, service: Service):
    top = two_folders(tmp_path / "DCIM")
    process(top, "--merge_folders")
    assert told("status", "--import_path", top / "101GOPRO")["safe_to_delete"] is False
    assert told("upload", "--import_path", top)["safe_to_delete"] is True
    for part in (top, top / "100GOPRO", top / "101GOPRO"):
        assert told("status", "--import_path", part)["safe_to_delete"] is True
    assert told("status", "--import_path", top)["sequences"] == 1


def test_part_of_a_merged_sequence_is_not_sent_alone(tmp_path: Path):
    top, into = two_folders(tmp_path / "DCIM"), tmp_path / "service"
    process(top, "--merge_folders")
    for part in ("100GOPRO", "101GOPRO"):
        row = told("upload", "--import_path", top / part, "--stand_in", into, ok=False)
        assert row["done"] == 0 and {one["code"] for one in row["failed"]} == {"apart"}
    row = told("upload", "--import_path", top, "--stand_in", into)
    assert (row["done"], row["sequences_finished"]) == (8, 1)


def test_duplicates_name_the_photo_of_the_other_folder(tmp_path: Path):
    top = two_folders(tmp_path)
    making.photo(
        top / "101GOPRO" / "0001.jpg", lat=57.7003, lon=11.97, time="2024:05:06 07:08:17", pixels=50
    )
    process(top, "--merge_folders", "--flag_duplicates")
    said = run("status", "--import_path", top / "101GOPRO", "--image", "0001.jpg").stdout
    assert "repeats ../100GOPRO/0004.jpg" in said


def test_a_folder_of_the_drive_that_is_renamed_is_processed_again(tmp_path: Path):
    top, into = two_folders(tmp_path / "DCIM"), tmp_path / "service"
    process(top, "--merge_folders")
    (top / "101GOPRO").rename(top / "102GOPRO")
    assert process(top, "--merge_folders")["done"] == 8
    row = told("upload", "--import_path", top, "--stand_in", into)
    assert (row["done"], row["sequences_finished"]) == (8, 1)


@pytest.mark.parametrize("gone", ["100GOPRO", "101GOPRO"])
def test_a_folder_of_the_drive_that_is_deleted_after_the_upload(
    tmp_path: Path, service: Service, gone: str
):
    top = two_folders(tmp_path / "DCIM")
    told("process_and_upload", "--import_path", top, *USER, "--merge_folders")
    shutil.rmtree(top / gone)
    for tool in (("upload",), ("process_and_upload", *USER, "--merge_folders")):
        row = told(*tool, "--import_path", top)
        assert row["done"] == 0 and row["skipped"] == {"already_uploaded": 4}


def test_jumps_are_seen_across_the_folders_of_a_drive(tmp_path: Path):
    making.drive(tmp_path / "100GOPRO", 2)
    making.drive(tmp_path / "101GOPRO", 2, lat=57.7002, start="2024:05:06 07:08:13")
    making.photo(
        tmp_path / "101GOPRO" / "0001.jpg", lat=57.9, lon=11.97, time="2024:05:06 07:08:13"
    )
    row = process(tmp_path, "--merge_folders", ok=False)
    (problem,) = row["failed"]
    assert problem["code"] == "position_jump" and "m from ../100GOPRO/0002.jpg" in problem["value"]


def test_a_journal_cannot_name_folders_elsewhere(tmp_path: Path):
    top, into = two_folders(tmp_path / "DCIM"), tmp_path / "service"
    process(top, "--merge_folders")
    for name in ("100GOPRO", "101GOPRO"):
        journal = top / name / ".mapillary" / "journal.jsonl"
        text = journal.read_text("utf-8")
        assert '"span":["100GOPRO","101GOPRO"]' in text
        journal.write_text(text.replace('"101GOPRO"]', '"../../etc"]'), "utf-8")
    row = told("upload", "--import_path", top, "--stand_in", into)  # by what the photos say
    assert "a damaged line about 0001.jpg is ignored" in row["said"]
    assert not list(tmp_path.rglob("etc"))

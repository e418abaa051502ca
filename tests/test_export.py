"""What is known of photos: one explained, all of them in files for other programs, and all of them put back."""

import csv
import datetime
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import making
import pytest
from conftest import images_in, in_process, run, told
from service import Service

import mapillary_tools as mt

OFFICIAL = os.environ.get("OFFICIAL", "")  # the official tool's program
COLUMNS = "--filename_column 1 --latitude_column 2 --longitude_column 3".split()


def process(folder: Path, *more: Any) -> None:
    ran = run("process", "--import_path", folder, "--user_name", "demo", *more)
    assert ran.code in (0, 1), ran.stderr


def story(folder: Path, name: str) -> str:
    ran = run("status", "--import_path", folder, "--image", name)
    assert ran.code == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Six photos: two sequences, one duplicate."""
    making.drive(tmp_path / "card", 3, make="Acme", model="One")
    same = dict(make="Acme", model="One")
    making.drive(tmp_path / "more", 3, lat=57.8, start="2024:05:06 08:08:09", **same)  # type: ignore
    for n, path in enumerate(sorted((tmp_path / "more").glob("*.jpg"))):
        shutil.move(str(path), str(tmp_path / "card" / f"b{n}.jpg"))
    making.photo(
        tmp_path / "card" / "b3.jpg", lat=57.8002, lon=11.97, time="2024:05:06 08:08:14", **same
    )
    return tmp_path / "card"


# ---- one photo explained -------------------------------------------------------------------------


def test_a_photo_is_explained(card: Path):
    process(card, "--timezone", "+02:00", "--flag_duplicates", "--duplicate_distance", "1")
    said = story(card, "0002.jpg")
    assert (
        "time:        2024-05-06T05:08:11.000Z, from DateTimeOriginal 2024:05:06 07:08:11" in said
    )
    assert "zone +02:00 from --timezone" in said
    assert "place:       57.7001000, 11.9700000, from EXIF" in said
    assert "degrees, from the way to its neighbours" in said
    assert "camera:      Acme One" in said
    assert "number 2 of 3" in said and "written:     into the photo" in said
    assert "sent:        not sent" in said
    assert "(limit 60 s) after 0003.jpg" in story(card, "b0.jpg")
    assert "repeats b2.jpg" in story(card, "b3.jpg")


def test_a_photo_that_a_track_placed_says_between_which_points(card: Path, tmp_path: Path):
    first = datetime.datetime(2024, 5, 6, 7, 8, 0)
    points = "".join(
        f'<trkpt lat="{57.7 + n * 1e-4}" lon="11.9"><time>'
        f"{(first + datetime.timedelta(seconds=5 * n)).isoformat()}Z</time></trkpt>"
        for n in range(9000)
    )
    (tmp_path / "way.gpx").write_text(f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>", "utf-8")
    process(card, "--geotag_source", "gpx", "--geotag_source_path", tmp_path / "way.gpx")
    said = story(card, "0002.jpg")
    between = "between its points of 2024-05-06T07:08:10.000Z and 2024-05-06T07:08:15.000Z"
    assert f"from the track way.gpx, {between}" in said, said
    row = told("status", "--import_path", card, "--image", "0002.jpg")["images"][0]
    assert row["placed_by"] == "the track way.gpx"
    assert row["between"] == ["2024-05-06T07:08:10.000Z", "2024-05-06T07:08:15.000Z"]


def test_what_a_table_gave_is_said(card: Path, tmp_path: Path):
    (tmp_path / "t.csv").write_text("0001.jpg,58.5,12.5\n", "utf-8")
    process(card)
    run("process_csv", "--import_path", card, "--csv_path", tmp_path / "t.csv", *COLUMNS)
    process(card)
    assert "58.5000000, 12.5000000, from process_csv" in story(card, "0001.jpg")


def test_a_photo_that_failed_says_why(card: Path):
    making.photo(card / "lost.jpg", time="2024:05:06 07:08:09")
    process(card)
    said = story(card, "lost.jpg")
    assert "failed: has no position" in said and "place:       none" in said


def test_a_photo_that_nobody_processed_is_explained_by_its_file(card: Path):
    said = story(card, "0002.jpg")
    assert "not processed" in said and "from DateTimeOriginal" in said and "57.7001000" in said


def test_a_photo_is_found_by_its_path_and_in_folders_below(card: Path, tmp_path: Path):
    process(card)
    said = run("status", "--import_path", tmp_path, "--image", card / "0002.jpg").stdout
    assert "number 2 of 3" in said and said.count("state:") == 1


def test_a_name_that_is_not_there_is_answered_with_those_that_are_near(card: Path):
    ran = run("status", "--import_path", card, "--image", "0002.JPEG")
    assert ran.code == 3
    assert "there is no such image here" in ran.stderr and "0002.jpg" in ran.stderr


def test_where_it_went_is_said(card: Path, tmp_path: Path):
    process(card)
    run("upload", "--import_path", card, "--stand_in", tmp_path / "received")
    assert "sent:        to stand-in-" in story(card, "0001.jpg")


# ---- files for other programs --------------------------------------------------------------------


def test_every_image_is_a_point_of_geojson_and_every_sequence_a_line(card: Path, tmp_path: Path):
    process(card)
    row = told("export", "--import_path", card, "--output_path", tmp_path / "a.geojson")
    assert (row["exit_code"], row["done"], row["sequences"]) == (0, 7, 2)
    data = json.loads((tmp_path / "a.geojson").read_text("utf-8"))
    points = [one for one in data["features"] if one["geometry"]["type"] == "Point"]
    lines = [one for one in data["features"] if one["geometry"]["type"] == "LineString"]
    assert (len(points), len(lines)) == (7, 2)
    assert points[0]["geometry"]["coordinates"][:2] == [11.97, 57.7]
    assert points[0]["properties"]["filename"] == "0001.jpg"
    assert points[0]["properties"]["state"] == "waiting"


@pytest.mark.parametrize("east", [True, False])
def test_a_sequence_over_the_antimeridian_is_cut_there(east: bool, tmp_path: Path):
    """Its line went around the globe in most viewers (RFC 7946, 3.1.9)."""
    lons = [179.9998, 179.9999, -179.9999, -179.9998]
    for number, lon in enumerate(lons if east else lons[::-1]):
        time = f"2024:05:06 07:08:{9 + 2 * number:02d}"
        making.photo(tmp_path / f"{number}.jpg", time=time, lat=-17 + number * 1e-4, lon=lon)
    process(tmp_path)
    told("export", "--import_path", tmp_path, "--output_path", tmp_path / "a.geojson")
    data = json.loads((tmp_path / "a.geojson").read_text("utf-8"))
    (way,) = [one["geometry"] for one in data["features"] if one["geometry"]["type"] != "Point"]
    edge = 180.0 if east else -180.0
    assert way["type"] == "MultiLineString"
    first, second = way["coordinates"]
    assert (first[-1], second[0]) == ([edge, -16.99985], [-edge, -16.99985])
    assert [lon for lon, _ in first[:-1] + second[1:]] == (lons if east else lons[::-1])


def test_every_sequence_is_a_track_of_gpx(card: Path, tmp_path: Path):
    gpxpy = pytest.importorskip("gpxpy")
    process(card)
    run("export", "--import_path", card, "--output_path", tmp_path / "a.gpx")
    tracks = gpxpy.parse((tmp_path / "a.gpx").read_text("utf-8")).tracks
    assert [len(track.segments[0].points) for track in tracks] == [3, 4]
    assert tracks[0].segments[0].points[1].latitude == pytest.approx(57.7001)


def test_the_csv_is_read_again_by_process_csv(card: Path, tmp_path: Path):
    process(card)
    run("export", "--import_path", card, "--output_path", tmp_path / "a.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text("utf-8"))))
    assert [row["filename"] for row in rows][:2] == ["0001.jpg", "0002.jpg"] and len(rows) == 7
    words = "--header --filename_column 1 --latitude_column 3 --longitude_column 4".split()
    row = told("process_csv", "--import_path", card, "--csv_path", tmp_path / "a.csv", *words)
    assert (row["exit_code"], row["done"] + sum(row["skipped"].values())) == (0, 7)


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_text(tmp_path: Path):
    folder = tmp_path / "card"
    making.drive(folder, 1)
    (folder / "0001.jpg").rename(folder / "=1+1.jpg")
    process(folder)
    run("export", "--import_path", folder, "--output_path", tmp_path / "a.csv")
    assert "\n'=1+1.jpg," in (tmp_path / "a.csv").read_text("utf-8")


def test_descriptions_are_printed_alone(card: Path):
    process(card)
    ran = run("export", "--import_path", card, "--output_path", "-")
    rows = json.loads(ran.stdout)
    assert len(rows) == 7 and rows[0]["filename"] == str(card / "0001.jpg")
    assert set(rows[0]["MAPCompassHeading"]) == {"TrueHeading", "MagneticHeading"}


def test_duplicates_and_failures_are_not_among_the_descriptions(card: Path):
    making.photo(card / "lost.jpg", time="2024:05:06 07:08:09")
    process(card, "--flag_duplicates", "--duplicate_distance", "1")
    ran = run("export", "--import_path", card, "--output_path", "-")
    assert len(json.loads(ran.stdout)) == 6


@pytest.mark.parametrize("name", ["a.xml", "a", "a.jpg"])
def test_an_export_of_no_known_kind_is_refused(card: Path, tmp_path: Path, name: str):
    process(card)
    ran = run("export", "--import_path", card, "--output_path", tmp_path / name)
    assert ran.code == 2 and ".geojson, .gpx, .csv, .json" in ran.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.geojson", "a.gpx", "a.csv", "a.json"])
def test_an_export_is_written_again_but_over_nothing_else(card: Path, tmp_path: Path, name: str):
    process(card)
    for _ in range(2):
        assert run("export", "--import_path", card, "--output_path", tmp_path / name).code == 0
    (tmp_path / name).write_text("mine", "utf-8")
    ran = run("export", "--import_path", card, "--output_path", tmp_path / name)
    assert ran.code == 11 and (tmp_path / name).read_text("utf-8") == "mine"


def test_nothing_processed_is_nothing_to_export(card: Path, tmp_path: Path):
    ran = run("export", "--import_path", card, "--output_path", tmp_path / "a.csv")
    assert ran.code == 3 and "run process first" in ran.stderr


@pytest.mark.skipif(not OFFICIAL, reason="OFFICIAL does not name the official tool's program")
def test_the_official_tool_uploads_an_export(card: Path, tmp_path: Path):
    process(card)
    run("export", "--import_path", card, "--output_path", tmp_path / "a.json")
    with Service() as service:
        env = dict(os.environ, **service.environment(tmp_path / "config"))
        env.update(MAPILLARY_TOOLS_PROMPT_DISABLED="YES", MAPILLARY_DISABLE_API_LOGGING="YES")
        env.update(MAPILLARY_UPLOAD_HISTORY_PATH=str(tmp_path / "history"))
        env.update(MAPILLARY_TOOLS_UPLOAD_CACHE_DIR=str(tmp_path / "cache"))
        words = [
            "upload",
            "--user_name",
            "demo",
            "--desc_path",
            str(tmp_path / "a.json"),
            str(card),
        ]
        done = subprocess.run([OFFICIAL, *words], env=env, stdout=subprocess.PIPE)
        assert done.returncode == 0
        assert len([key for key in service.received if key.endswith(".jpg")]) == 7
        assert len(service.finished) == 2


# ---- photos as they were found -------------------------------------------------------------------


def meant(content: bytes) -> Any:
    """What a reader sees in a photo's Exif, without where it stands."""
    exif = mt.piexif().load(content)
    for tag in (0x8769, 0x8825):
        exif["0th"].pop(tag, None)
    return {name: dict(tags) if isinstance(tags, dict) else tags for name, tags in exif.items()}


@in_process
def test_photos_are_restored(card: Path):
    making.photo(card / "plain.jpg", exif=None)
    before = images_in(card)
    (card.parent / "t.csv").write_text("0001.jpg,58.5,12.5\nplain.jpg,58.6,12.6\n", "utf-8")
    process(card, "--offset_angle", "90", "--orientation", "90")
    run("process_csv", "--import_path", card, "--csv_path", card.parent / "t.csv", *COLUMNS)
    process(card, "--offset_angle", "90", "--orientation", "90")
    assert all(images_in(card)[name] != before[name] for name in before if name != "plain.jpg")
    row = told("restore", "--import_path", card)
    assert row["exit_code"] == 0 and row["found"] == 8
    for name, content in images_in(card).items():
        assert meant(content) == meant(before[name]), name
        assert making.without_exif(content) == making.without_exif(before[name])
    assert told("status", "--import_path", card)["skipped"] == {"not_processed": 8}
    assert told("restore", "--import_path", card)["done"] == 0
    process(card, "--offset_angle", "90")
    assert "57.7000000, 11.9700000, from EXIF" in story(card, "0001.jpg")


@in_process
def test_a_thumbnail_that_had_to_go_comes_back(tmp_path: Path):
    thumbnail = making.jpeg((64, 64), filler=58000)
    exif = mt.piexif().load(making.jpeg((16, 16), making.exif_tiff(lat=57.7, lon=11.97)))
    exif["Exif"][0x9003] = b"2024:05:06 07:08:09"
    ifd1 = {0x0103: 6, 0x0112: 3, 0x011A: (180, 1), 0x011B: (180, 1), 0x0128: 2}
    exif["1st"], exif["thumbnail"] = ifd1, thumbnail
    block = mt.piexif().dump(exif)
    padding = 65400 - len(block)
    exif["Exif"][0x927C] = b"m" * max(0, padding)
    photo = tmp_path / "card" / "a.jpg"
    making.photo(photo, exif=mt.piexif().dump(exif)[6:])
    before = mt.piexif().load(photo.read_bytes())
    assert before["thumbnail"] == thumbnail
    process(photo.parent)
    assert mt.piexif().load(photo.read_bytes())["thumbnail"] is None
    assert told("restore", "--import_path", photo.parent)["done"] == 1
    after = mt.piexif().load(photo.read_bytes())
    assert after["thumbnail"] == thumbnail
    assert {**after["1st"], 0x0201: 0} == {**before["1st"], 0x0201: 0}  # but where it lies


def test_a_photo_that_somebody_changed_is_not_restored(card: Path):
    process(card)
    path = card / "0001.jpg"
    exif = mt.piexif().load(path.read_bytes())
    exif["0th"][0x013B] = b"somebody"
    mt.piexif().insert(mt.piexif().dump(exif), str(path))
    changed = path.read_bytes()
    row = told("restore", "--import_path", card)
    assert (row["exit_code"], row["done"], len(row["failed"])) == (1, 6, 1)
    assert row["failed"][0]["code"] == "changed" and path.read_bytes() == changed


def test_restoring_says_what_was_sent_and_dry_writes_nothing(card: Path, tmp_path: Path):
    process(card)
    run("upload", "--import_path", card, "--stand_in", tmp_path / "received")
    before = images_in(card)
    row = told("restore", "--import_path", card, "--dry_run")
    assert row["done"] == 7 and images_in(card) == before
    assert "7 of the photos here were sent" in told("restore", "--import_path", card)["said"]


def test_originals_that_were_kept_need_no_restoring(card: Path):
    process(card, "--keep_original")
    assert told("restore", "--import_path", card)["done"] == 0

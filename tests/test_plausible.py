"""What cannot be does not go up in silence, and nothing honest is held back."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Dict, List

import drives
import making
import pytest
from conftest import in_process, run, told
from service import Service

import mapillary_tools as mt

USER = ("--user_name", "demo")


def moved(path: Path, lat: float, lon: float, time: str) -> None:
    making.photo(path, lat=lat, lon=lon, time=time)


# ---- photos that jump ----------------------------------------------------------------------------


@in_process
def test_over_many_drives_nothing_honest_fails_and_nothing_wrong_passes():
    said = drives.figures(400, 11)
    assert said.held_back == 0, said
    wrong, caught = (sum(column) for column in zip(*said.faults.values()))
    assert caught >= 0.99 * wrong > 100, said


def test_a_photo_that_jumps_fails_with_its_numbers_and_the_others_go_on(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card, 9)
    moved(card / "0005.jpg", 57.8, 11.97, "2024:05:06 07:08:17")
    row = told("process", "--import_path", card, *USER)
    assert (row["done"], row["sequences"]) == (8, 1)
    (problem,) = row["failed"]
    assert problem["code"] == "position_jump" and problem["file"].endswith("0005.jpg")
    assert "m from 0004.jpg in 2.0 s" in problem["value"]
    assert "km/h, limit 400 km/h" in problem["value"]
    assert "--keep_jumps" in problem["remedy"]
    said = run("status", "--import_path", card, "--image", "0005.jpg").stdout
    assert "failed: is where nobody gets in the time" in said


def test_jumps_are_kept_when_asked_for(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card, 9)
    moved(card / "0005.jpg", 57.8, 11.97, "2024:05:06 07:08:17")
    for words in (("--keep_jumps",), ("--max_speed", "0")):
        row = told("process", "--import_path", card, *USER, *words)
        assert (row["exit_code"], row["done"]) == (0, 9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_photos_with_the_fix_of_the_last_trip(tmp_path: Path, count: int):
    card = tmp_path / "card"
    making.drive(card, 12)
    for n in range(count):
        moved(card / f"{n + 1:04d}.jpg", 50.0, 8.0, f"2024:05:06 07:08:{9 + 2 * n:02d}")
    row = told("process", "--import_path", card, *USER)
    assert row["done"] == 12 - count and {one["code"] for one in row["failed"]} == {"position_jump"}


def fixes(*rows: Any) -> List[mt.Fix]:
    return [mt.Fix(float(t), 57.7 + north / 111320, 11.97) for t, north in rows]


@in_process
@pytest.mark.parametrize(
    "way",
    [
        [(2 * n, 15 * min(n, 20 - n)) for n in range(21)],  # a U-turn
        [(30 * n, 40 * (n % 2)) for n in range(9)],  # by hand, to and fro
        [(n, 0) for n in range(20)]
        + [(80 + n, 1500 + 20 * n) for n in range(9)],  # behind a tunnel
        [(n / 30, 3 * (n % 2)) for n in range(60)],  # standing with a receiver that crawls
        [(2 * n, 178 * n) for n in range(30)],  # a train at 320 km/h
        [(0, 0), (1, 9)],
        [(0, 0)],
        [],
    ],
)
def test_what_is_honest_stays(way: Any):
    assert mt.jumps_of(fixes(*way), 400.0) == []


# ---- cameras -------------------------------------------------------------------------------------


def two(folder: Path, **second: Any) -> None:
    """Two cameras on one card, taking turns."""
    for n in range(12):
        own = dict(second if n % 2 else {})
        place = dict(lat=57.7 + n * 1e-4, lon=11.97, time=f"2024:05:06 07:08:{10 + n:02d}")
        making.photo(folder / f"{n:04d}.jpg", pixels=n, **place, **own)  # type: ignore


def sequences(folder: Path) -> List[List[str]]:
    found: Dict[str, List[str]] = {}
    for path in sorted(folder.glob("*.jpg")):
        found.setdefault(making.description(path)["MAPSequenceUUID"], []).append(path.name)
    return sorted(found.values())


@pytest.mark.parametrize(
    "second",
    [dict(make="Other"), dict(model="Two"), dict(size=(48, 64))],
    ids=["make", "model", "size"],
)
def test_two_cameras_on_one_card_are_two_sequences(tmp_path: Path, second: Dict[str, Any]):
    two(tmp_path / "card", **second)
    row = told("process", "--import_path", tmp_path / "card", *USER)
    assert (row["cameras"], row["sequences"]) == (2, 2)
    assert [name[:4] for name in sequences(tmp_path / "card")[0]] == [
        "%04d" % n for n in range(0, 12, 2)
    ]


def serial(path: Path, text: str) -> None:
    exif = mt.piexif().load(path.read_bytes())
    exif["Exif"][0xA431] = text.encode()
    mt.piexif().insert(mt.piexif().dump(exif), str(path))


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not on this computer")
@in_process
def test_cameras_of_one_model_are_told_apart_by_serial_number(tmp_path: Path):
    two(tmp_path / "card")
    for n, path in enumerate(sorted((tmp_path / "card").glob("*.jpg"))):
        serial(path, "A-1" if n % 2 else "B 2")
    ran = run("process", "--import_path", tmp_path / "card", *USER)
    assert "2 cameras, 2 sequences" in ran.stdout
    row = making.description(tmp_path / "card" / "0001.jpg")
    assert row["MAPCameraUUID"] == "A1" and row["MAPFilename"] == "0001.jpg"


def test_cameras_that_nothing_tells_apart_are_one(tmp_path: Path):
    two(tmp_path / "card")
    assert told("process", "--import_path", tmp_path / "card", *USER)["sequences"] == 1


def test_a_camera_that_changes_its_photo_size_once_is_one(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card, 12, size=lambda n: (64, 48) if n < 6 else (48, 64))
    assert told("process", "--import_path", card, *USER)["sequences"] == 1


def test_photos_that_name_no_camera_are_of_the_only_one(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(
        card, 6, make=lambda n: "Acme" if n % 2 else None, model=lambda n: "One" if n % 2 else None
    )
    assert told("process", "--import_path", card, *USER)["sequences"] == 1


def test_row_50_a_second_that_two_cameras_share_is_no_tie(tmp_path: Path):
    card = tmp_path / "card"
    for n in range(3):
        time = f"2024:05:06 07:08:{10 + 2 * n:02d}"
        making.photo(card / f"a{n}.jpg", lat=57.7 + n * 1e-4, lon=11.97, time=time, make="Acme")
        making.photo(card / f"b{n}.jpg", lat=57.7 + n * 1e-4, lon=11.97, time=time, make="Other")
    row = told("process", "--import_path", card, *USER)
    assert "capture time of the one before" not in row["said"]
    times = {making.description(path)["MAPCaptureTime"][-6:] for path in card.glob("*.jpg")}
    assert times == {"10_000", "12_000", "14_000"}


# ---- what the service takes ----------------------------------------------------------------------


@in_process
def test_sequences_are_cut_by_pixels_and_bytes():
    def image(n: int, size: int) -> mt.Image:
        found = mt.Found(pixels=(5760, 2880), size=size)
        return mt.Image.at(f"{n}.jpg", mt.Fix(float(n), 0.0, 0.0))._replace(found=found)

    pieces = mt.cut_to_size([image(n, 1000) for n in range(500)])
    assert [len(piece) for piece in pieces] == [361, 139]
    assert 361 * 5760 * 2880 <= mt.SEQUENCE_PIXELS < 362 * 5760 * 2880
    pieces = mt.cut_to_size([image(n, 1 << 30) for n in range(120)])
    assert [len(piece) for piece in pieces] == [110, 10]


# ---- areas left out ------------------------------------------------------------------------------

HOME = "57.7003,11.97,25"  # of nine photos 11 m apart the fourth, and two to each side


def everything(top: Path) -> str:
    """All that a run left below a folder, but for the photos themselves."""
    files = [path for path in top.rglob("*") if path.is_file() and path.suffix != ".jpg"]
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


def shows_home(text: str) -> List[str]:
    """The positions in a text that lie in the area."""
    area = mt.area_of(HOME)
    numbers = [float(one) for one in re.findall(r"5[67]\.\d{3,}", text)]
    return [str(lat) for lat in numbers if area.holds(lat, 11.97)]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    making.drive(tmp_path / "card", 9)
    return tmp_path / "card"


def test_photos_in_an_area_are_left_out_everywhere(card: Path, tmp_path: Path, own_home: Path):
    words = (*USER, "--exclude_area", HOME, "--verbose", "--report", tmp_path / "run.html")
    said = run("process", "--import_path", card, *words)
    row = told("process", "--import_path", card, *USER, "--exclude_area", HOME)
    assert row["skipped"] == {"already_processed": 4, "excluded_area": 5}, row
    (own_home / "config").write_text("[exclude]\nhome = " + HOME + "\n", "utf-8")
    for words in (
        ("upload", "--import_path", card, "--stand_in", tmp_path / "got"),
        ("status", "--import_path", card, "--image", "0004.jpg"),
        ("export", "--import_path", card, "--output_path", tmp_path / "e.geojson"),
        ("export", "--import_path", card, "--output_path", tmp_path / "e.csv"),
        ("report", "--import_path", card, "--output_path", tmp_path / "r.html"),
    ):
        ran = run(*words)
        said = said._replace(stdout=said.stdout + ran.stdout, stderr=said.stderr + ran.stderr)
    assert len(list((tmp_path / "got").glob("*.jpg"))) == 4
    assert "in an area that is left out" in said.stdout
    assert shows_home(everything(tmp_path) + said.stdout + said.stderr) == []
    assert all(not making.description(card / f"{n:04d}.jpg") for n in range(2, 7))


def test_an_area_of_the_configuration_counts_after_processing(
    card: Path, tmp_path: Path, own_home: Path
):
    run("process", "--import_path", card, *USER)
    (own_home / "config").write_text("[exclude]\nhome = " + HOME + "\n", "utf-8")
    row = told("upload", "--import_path", card, "--stand_in", tmp_path / "got")
    assert (row["done"], row["skipped"]) == (4, {"excluded_area": 5})
    row = told("status", "--import_path", card)
    assert row["skipped"]["excluded_area"] == 5
    run("report", "--import_path", card, "--output_path", tmp_path / "r.html")
    run("export", "--import_path", card, "--output_path", tmp_path / "e.gpx")
    said = run("status", "--import_path", card, "--image", "0004.jpg").stdout
    text = said + (tmp_path / "r.html").read_text("utf-8") + (tmp_path / "e.gpx").read_text("utf-8")
    assert shows_home(text) == []


def test_an_area_that_is_taken_back_gives_the_photos_back(card: Path):
    told("process", "--import_path", card, *USER, "--exclude_area", HOME)
    row = told("process", "--import_path", card, *USER)
    assert (row["exit_code"], row["done"] + row["skipped"].get("already_processed", 0)) == (0, 9)
    assert all(making.description(path) for path in card.glob("*.jpg"))


def test_a_track_that_is_written_has_no_point_in_an_area(
    card: Path, tmp_path: Path, own_home: Path
):
    points = "".join(
        f'<trkpt lat="{57.7 + n * 1e-4:.4f}" lon="11.97"><time>2024-05-06T07:08:{10 + n:02d}Z</time></trkpt>'
        for n in range(9)
    )
    (tmp_path / "t.gpx").write_text(f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>", "utf-8")
    (own_home / "config").write_text("[exclude]\nhome = " + HOME + "\n", "utf-8")
    words = ("--geotag_source", "gpx", "--geotag_source_path", tmp_path / "t.gpx")
    out = tmp_path / "out.gpx"
    run("extract_geotag_data", "--import_path", card, *words, "--write_gpx", out)
    assert shows_home(out.read_text("utf-8")) == [] and out.read_text("utf-8").count("<trkpt") == 4


@pytest.mark.parametrize("area", ["1,2", "a,b,c", "91,0,10", "0,181,10", "0,0,0", "0,0,inf", ""])
def test_an_area_that_is_none_is_refused(card: Path, area: str):
    ran = run("process", "--import_path", card, *USER, "--exclude_area", area)
    assert ran.code == 2 and "LAT,LON,METRES" in ran.stderr


def test_an_area_beside_the_photos_changes_nothing(card: Path, tmp_path: Path):
    run("process", "--import_path", card, *USER)
    row = told(
        "upload", "--import_path", card, "--stand_in", tmp_path / "got", "--exclude_area", "1,1,50"
    )
    assert (row["done"], row["skipped"]) == (9, {})


# ---- what stays as it is counts, too ---------------------------------------------------------------


def test_a_jump_beside_photos_that_are_uploaded(tmp_path: Path, service: Service):
    card = tmp_path / "card"
    making.drive(card, 6)
    told("process_and_upload", "--import_path", card, *USER)
    moved(card / "0007.jpg", 57.9, 11.97, "2024:05:06 07:08:21")
    moved(card / "0008.jpg", 57.7007, 11.97, "2024:05:06 07:08:23")
    row = told("process_and_upload", "--import_path", card, *USER)
    assert [Path(one["file"]).name for one in row["failed"]] == ["0007.jpg"]
    assert row["failed"][0]["code"] == "position_jump"


def test_a_jump_at_an_end_names_the_limit_that_decided(tmp_path: Path):
    making.drive(tmp_path, 9, step=0.00002)
    moved(tmp_path / "0001.jpg", 57.71, 11.97, "2024:05:06 07:08:09")
    (problem,) = told("process", "--import_path", tmp_path, *USER)["failed"]
    assert problem["value"].endswith("limit 400 km/h")


def test_a_photo_in_an_area_is_no_neighbour_of_a_jump(tmp_path: Path):
    making.drive(tmp_path, 9)
    moved(tmp_path / "0005.jpg", 57.8, 11.97, "2024:05:06 07:08:17")
    area = ("--exclude_area", "57.7003,11.97,5")  # around 0004.jpg
    for more in ((), ("--rerun",)):
        (problem,) = told("process", "--import_path", tmp_path, *USER, *area, *more)["failed"]
        assert "0004.jpg" not in problem["value"] and "0003.jpg" in problem["value"]


SYNC = ("--sync_point", "2024-05-06T07:08:08Z@0001.jpg")


def test_a_sync_point_counts_for_photos_that_come_later(tmp_path: Path):
    making.drive(tmp_path / "a", 5)
    assert told("process", "--import_path", tmp_path, *USER, *SYNC)["done"] == 5
    row = told("process", "--import_path", tmp_path, *USER, *SYNC)
    assert row["exit_code"] == 0 and row["skipped"] == {"already_processed": 5}
    making.drive(tmp_path / "b", 3, lat=57.701, start="2024:05:06 07:08:29")
    for path in (tmp_path / "b").glob("*.jpg"):
        path.rename(path.with_name("b" + path.name))
    row = told("process", "--import_path", tmp_path, *USER, *SYNC)
    assert row["done"] == 3 and "ahead by +1.0 s" in str(row["notes"])
    assert making.description(tmp_path / "b" / "b0001.jpg")["MAPCaptureTime"].endswith("08_28_000")


@pytest.mark.parametrize(
    "points, wrong",
    [
        (["2024-05-06T07:08:08Z@0001.jpg"], "may mean several images"),
        (["2024-05-06T07:08:08Z@a/0001.jpg", "2024-05-06T07:08:07Z@a/0001.jpg"], "name one image"),
        (["2024-05-06T07:08:08Z@c/timeless.jpg"], "has no time"),
        (["2024-05-06T07:08:08Z@a/9.jpg"], "is not here"),
    ],
)
def test_a_sync_point_that_is_not_clear_is_refused(tmp_path: Path, points: List[str], wrong: str):
    for name in ("a", "b"):
        making.drive(tmp_path / name, 3)
    (tmp_path / "c").mkdir()
    making.photo(tmp_path / "c" / "timeless.jpg", lat=57.7, lon=11.97, time=None)
    words = [word for point in points for word in ("--sync_point", point)]
    row = told("process", "--import_path", tmp_path, *USER, *words)
    assert row["exit_code"] == 2 and wrong in row["stopped"]["wrong"], row["stopped"]
    row = told(
        "process", "--import_path", tmp_path, *USER, "--sync_point", points[0][:20] + "@b/0001.jpg"
    )
    assert row["done"] >= 6


def test_an_area_takes_the_logs_that_tell_of_it(tmp_path: Path):
    making.drive(tmp_path, 5)
    run("process", "--import_path", tmp_path, *USER, "--verbose")
    logs = tmp_path / ".mapillary" / "logs"
    there = {path for path in logs.rglob("*") if path.is_file()}
    (of_first,) = [path for path in there if "0001" in str(path)]
    assert len(there) == 5 and "57.7" in of_first.read_text("utf-8")
    run("process", "--import_path", tmp_path, *USER, "--exclude_area", "57.7,11.97,5")
    assert {path for path in logs.rglob("*") if path.is_file()} == there - {of_first}


def test_an_area_counts_in_tools_that_do_not_look_where_a_photo_is(tmp_path: Path, own_home: Path):
    making.drive(tmp_path / "card", 5)
    (own_home / "config").write_text("[exclude]\nhome = 57.7,11.97,5\n", "utf-8")
    run("extract_user_data", "--import_path", tmp_path / "card", *USER)
    run("extract_sequence_data", "--import_path", tmp_path / "card")
    places = {}
    for line in (
        (tmp_path / "card" / ".mapillary" / "journal.jsonl").read_text("utf-8").splitlines()
    ):
        row = json.loads(line)
        if "image" in row:
            places[row["image"]] = (row.get("found") or {}).get("lat")
    assert len(places) == 5 and places.pop("0001.jpg") is None
    assert None not in places.values()


def test_a_restored_photo_that_is_uploaded_stays_so(tmp_path: Path, service: Service):
    card = tmp_path / "card"
    making.drive(card, 4)
    told("process_and_upload", "--import_path", card, *USER)
    told("restore", "--import_path", card)
    for tool in (("process_and_upload", *USER), ("upload",)):
        row = told(*tool, "--import_path", card)
        assert (row["exit_code"], row["skipped"]) == (0, {"already_uploaded": 4}), row


def test_a_position_that_is_given_inside_an_area_goes_nowhere(tmp_path: Path, own_home: Path):
    """By interpolation, and by a table."""
    card = tmp_path / "card"
    making.drive(card, 5)
    making.photo(card / "0003.jpg", lat=None, lon=None, time="2024:05:06 07:08:13")
    (own_home / "config").write_text("[exclude]\nhome = 57.7002,11.97,5\n", "utf-8")
    row = told("interpolate", "--import_path", card, "--data", "missing_gps")
    assert row["skipped"].get("excluded_area") == 1, row
    making.photo(card / "0005.jpg", lat=57.7004, lon=11.97, time="2024:05:06 07:08:17")
    (tmp_path / "t.csv").write_text("0005.jpg,57.7002,11.97\n", "utf-8")
    words = ("--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3)
    row = told("process_csv", "--import_path", card, "--csv_path", tmp_path / "t.csv", *words)
    assert row["skipped"].get("excluded_area") == 2, row
    told("process", "--import_path", card, *USER)
    journal = (card / ".mapillary" / "journal.jsonl").read_text("utf-8")
    assert "57.7002" not in journal and "57.70020" not in journal
    assert making.place(card / "0003.jpg") is None


def test_three_cameras_in_one_folder_are_three_sequences(tmp_path: Path):
    making.drive(tmp_path, 30, seconds=1.0, make=lambda n: "ABC"[n % 3])
    row = told("process", "--import_path", tmp_path, *USER)
    assert (row["done"], row["sequences"], row["cameras"]) == (30, 3, 3)
    for ids in sequences(tmp_path):
        assert len(set(ids)) == 10

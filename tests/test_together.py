"""What meets in one run: several cameras, receivers, days and folders, and rows of a table for them."""

import json
from pathlib import Path
from typing import Any, Optional

import making
import making_logs as logs
import pytest
from conftest import Ran, in_process, run
from test_tables import NAMED, PLACED, TIMED, give, near

import mapillary_tools as mt

pytestmark = in_process
START = 1714979289.0  # 2024-05-06 07:08:09 UTC


def photo(path: Path, seconds: float, local: float = 0.0, **fields: Any) -> Path:
    """A photo so many seconds after the start, by a clock that is so many hours ahead."""
    text = logs.stamp(START + seconds + local * 3600, "%Y:%m:%d %H:%M:%S")
    return making.photo(path, time=text, pixels=int(seconds) % 251, **fields)


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, "--user_name", "demo", *more)


# ---- rows of a table ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, name",
    [
        ("1.jpg", "11.jpg"),
        ("IMG_1", "IMG_10.jpg"),
        ("DSC0005", "Y_DSC00050.jpg"),
        ("0005.jpg", "10005.jpg"),
        (".jpg", "a.jpg"),
        ("_", "a_b.jpg"),
    ],
)
def test_a_row_gives_nothing_to_a_photo_of_another_number(row: str, name: str, tmp_path: Path):
    """The row of a missing photo went to the one whose name had its number in it."""
    path = making.photo(tmp_path / name, lat=1.0, lon=2.0)
    before = path.read_bytes()
    ran = give(tmp_path, f"{row},5,6\n", *PLACED)
    assert ran.code == 1 and f"names no image: {row}" in ran.stdout and path.read_bytes() == before


@pytest.mark.parametrize(
    "row, name", [("0005", "IMG_0005.jpg"), ("11_1.jp", "a11_1.jpg"), ("1", "11_1.jpg")]
)
def test_a_part_of_a_name_that_is_its_own_number_is_found(row: str, name: str, tmp_path: Path):
    path = making.photo(tmp_path / name, lat=1.0, lon=2.0)
    assert give(tmp_path, f"{row},5,6\n", *PLACED).code == 0
    assert near(making.place(path)[:2], (5.0, 6.0))


@pytest.mark.parametrize(
    "cells, columns, day",
    [
        ("112089", ("--convert_gps_time",), "1980-01-07"),
        ("112089,265", ("--convert_gps_time", "--gps_week_column", 3), "1985-02-04"),
        ("86400", ("--convert_utc_time",), "1970-01-02"),
    ],
)
def test_a_time_before_all_cameras_is_said(cells: str, columns: Any, day: str, tmp_path: Path):
    """A week without its 1024 put 1985 into a photo, without a word."""
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    ran = give(tmp_path, f"a.jpg,{cells}\n", *TIMED, *columns)
    assert f"1 image with times of a time without digital cameras: a.jpg, from {day}" in ran.stderr


@pytest.mark.parametrize(
    "cell, metres", [("1,234", 1234.0), ("1,234.5", 1234.5), ("12,5", 12.5), ("1234.5", 1234.5)]
)
def test_a_comma_between_thousands_is_none_of_decimals(cell: str, metres: float, tmp_path: Path):
    """Of an altitude of 1,234 m one of 1.234 m was made."""
    path = making.photo(tmp_path / "a.jpg")
    ran = give(tmp_path, f'a.jpg,5.5,6.5,"{cell}"\n', *PLACED, "--altitude_column", 4)
    assert ran.code == 0 and near(making.place(path), (5.5, 6.5, metres))


def test_a_decimal_comma_stays_one_where_there_is_no_point(tmp_path: Path):
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    assert give(tmp_path, 'a.jpg,"1,234"\n', *NAMED, "--altitude_column", 2).code == 0
    assert near(making.place(path), (1.0, 2.0, 1.234))


@pytest.mark.parametrize("style", ["%Y-%m-%d %H:%M", "%x %X"])
def test_a_table_whose_times_have_no_room_for_a_fraction_is_refused(style: str, tmp_path: Path):
    """It was written as it was, and counted as interpolated, again and again."""
    cell = logs.stamp(START, style)
    (tmp_path / "t.csv").write_text(f"{cell}\n{cell}\n", "utf-8")
    before = (tmp_path / "t.csv").read_bytes()
    words = ("--data", "identical_timestamps", "--time_format", style)
    ran = run("interpolate", "--file_in_path", tmp_path / "t.csv", *words)
    assert ran.code == 2 and "no fraction of a second" in ran.stderr and style in ran.stderr
    assert (tmp_path / "t.csv").read_bytes() == before


# ---- interpolate --------------------------------------------------------------------------------


def placed(path: Path) -> Optional[float]:
    return making.place(path)[0]


def test_identical_times_of_two_cameras_are_none_of_one(tmp_path: Path):
    """The telephone's photos, alone in their second, were moved by half of it."""
    for number in range(3):
        photo(tmp_path / f"G{number}.jpg", number, make="GoPro", model="H9")
        photo(tmp_path / f"P{number}.jpg", number, make="Phone", model="12")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jpg")}
    ran = run("interpolate", "--import_path", tmp_path, "--data", "identical_timestamps")
    assert ran.code == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jpg")} == before


def test_a_missing_position_is_that_of_the_own_camera(tmp_path: Path):
    for number in range(5):
        own = {} if number == 2 else {"lat": 50.0 + number * 1e-4, "lon": 8.0}
        photo(tmp_path / f"G{number}.jpg", 2 * number, make="GoPro", model="H9", **own)
        photo(tmp_path / f"P{number}.jpg", 2 * number + 1, make="P", model="12", lat=70.0, lon=8.0)
    assert run("interpolate", "--import_path", tmp_path, "--data", "missing_gps").code == 0
    assert placed(tmp_path / "G2.jpg") == pytest.approx(50.0002)


def test_a_camera_without_any_position_takes_those_of_the_other(tmp_path: Path):
    for number in range(3):
        photo(tmp_path / f"P{number}.jpg", 2 * number, make="P", lat=50 + number * 1e-4, lon=8.0)
    photo(tmp_path / "G.jpg", 1, make="GoPro", model="H9")
    assert run("interpolate", "--import_path", tmp_path, "--data", "missing_gps").code == 0
    assert placed(tmp_path / "G.jpg") == pytest.approx(50.00005)


def test_a_position_filled_in_by_a_wild_one_is_mended_with_it(tmp_path: Path):
    """It stayed, as one that the photo had, and failed for good."""
    for number, lat in enumerate((57.0, 57.0001, 10.0, None, 57.0004)):
        own = {} if lat is None else {"lat": lat, "lon": 11.0}
        photo(tmp_path / f"{number}.jpg", 2 * number, offset="+00:00", **own)
    words = ("interpolate", "--import_path", tmp_path, "--data", "missing_gps")
    assert run(*words).code == 0 and placed(tmp_path / "3.jpg") == pytest.approx(33.5002)
    assert process(tmp_path).code == 1
    assert give(tmp_path, "2.jpg,57.0002,11\n", *PLACED).code == 0
    assert run(*words).code == 0 and placed(tmp_path / "3.jpg") == pytest.approx(57.0003)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jpg")}
    again = run(*words)
    assert again.code == 0 and "0 interpolated" in again.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jpg")} == before
    assert process(tmp_path).code == 0


# ---- tracks of several receivers ----------------------------------------------------------------

NORTH = 57.7  # degrees


def log(path: Path, seconds: Any, lat: Any, lon: float = 11.97, alt: float = 10.0) -> Path:
    """A track with a point at each of some seconds after the start."""
    return making.gpx([(START + s, lat(s), lon, alt) for s in seconds], path)


def by_tracks(tmp_path: Path, *more: Any) -> Ran:
    where = ("--geotag_source", "gpx", "--geotag_source_path", tmp_path / "t")
    return process(tmp_path / "card", *where, *more)


def drive_north(second: float) -> float:
    return NORTH + second * 4.5e-5  # 5 m a second


def test_a_track_from_somewhere_else_is_not_woven_in(tmp_path: Path):
    """A telephone at home had the photos placed half-way to it."""
    log(tmp_path / "t" / "mine.gpx", range(900), drive_north)
    log(tmp_path / "t" / "home.gpx", [s + 0.5 for s in range(900)], lambda s: 57.95, 12.2)
    path = photo(tmp_path / "card" / "1.jpg", 100, offset="+00:00")
    before = path.read_bytes()
    ran = by_tracks(tmp_path)
    assert ran.code == 5 and path.read_bytes() == before
    assert "mine.gpx: was not where home.gpx was at the same time" in ran.stderr, ran.stderr
    (tmp_path / "t" / "home.gpx").unlink()
    assert by_tracks(tmp_path).code == 0
    assert placed(path) == pytest.approx(drive_north(100))


def test_a_track_of_somebody_behind_turns_no_photo_around(tmp_path: Path):
    log(tmp_path / "t" / "a.gpx", range(900), drive_north)
    behind = [s + 0.4 for s in range(0, 900, 7)]
    log(tmp_path / "t" / "b.gpx", behind, lambda s: drive_north(s) - 70 / 111000)
    for number in range(20):
        photo(tmp_path / "card" / f"{number:02d}.jpg", 100 + 2 * number, offset="+00:00")
    ran = by_tracks(tmp_path)
    assert ran.code == 0 and "where both have points, those of a.gpx count" in ran.stderr
    for number, path in enumerate(sorted((tmp_path / "card").glob("*.jpg"))):
        assert placed(path) == pytest.approx(drive_north(100 + 2 * number), abs=2e-6)
        assert making.direction(path) == pytest.approx(0.0, abs=0.1)


def test_a_second_track_fills_the_holes_of_the_first(tmp_path: Path):
    seconds = [s for s in range(900) if not 300 < s < 500]
    log(tmp_path / "t" / "a.gpx", seconds, drive_north)
    log(tmp_path / "t" / "b.gpx", range(0, 900, 5), lambda s: drive_north(s) - 30 / 111000)
    for number, second in enumerate((100, 400, 700)):
        photo(tmp_path / "card" / f"{number}.jpg", second, offset="+00:00")
    assert by_tracks(tmp_path).code == 0
    found = [placed(tmp_path / "card" / f"{number}.jpg") for number in range(3)]
    wished = [drive_north(100), drive_north(400) - 30 / 111000, drive_north(700)]
    assert found == pytest.approx(wished, abs=2e-6)


def test_heights_of_two_receivers_do_not_alternate(tmp_path: Path):
    log(tmp_path / "t" / "a.gpx", range(300), drive_north, alt=10.0)
    log(tmp_path / "t" / "b.gpx", [s + 0.5 for s in range(300)], drive_north, alt=57.0)
    for number in range(8):
        photo(tmp_path / "card" / f"{number}.jpg", 100 + number * 1.25, offset="+00:00")
    assert by_tracks(tmp_path).code == 0
    heights = {making.place(path)[2] for path in (tmp_path / "card").glob("*.jpg")}
    assert len(heights) == 1


def test_two_copies_of_one_track_are_one(tmp_path: Path):
    log(tmp_path / "t" / "a.gpx", range(300), drive_north)
    log(tmp_path / "t" / "b.gpx", range(300), drive_north)
    path = photo(tmp_path / "card" / "1.jpg", 100, offset="+00:00")
    ran = by_tracks(tmp_path)
    assert ran.code == 0 and "those of" not in ran.stderr
    assert placed(path) == pytest.approx(drive_north(100))


# ---- zones --------------------------------------------------------------------------------------

DAY = 86400


def morning(folder: Path, day: int = 0, local: float = 2.0, count: int = 10, **fields: Any) -> None:
    """Photos over half an hour of a day, by a clock on local time that does not tell its zone."""
    for number in range(count):
        photo(folder / f"{day}{number:02d}.jpg", day * DAY + 180 * number, local, **fields)


def days(folder: Path, one_file: bool = False, one_segment: bool = False) -> None:
    """The tracks of two days, an hour each."""
    spans = [range(0, 2700, 5), range(DAY, DAY + 2700, 5)]
    if one_segment:
        log(folder / "t.gpx", [s for span in spans for s in span], lambda s: NORTH + s % DAY * 4e-5)
        return
    for number, span in enumerate(spans):
        log(folder / f"{number}.gpx", span, lambda s: NORTH + s % DAY * 4e-5)


@pytest.mark.parametrize("day", [0, 1])
@pytest.mark.parametrize("one_segment", [False, True])
def test_a_zone_by_the_track_is_one_in_which_it_was_recorded(
    day: int, one_segment: bool, tmp_path: Path
):
    """With the tracks of several days every zone between them fitted, and night was taken for day."""
    morning(tmp_path / "card", day)
    days(tmp_path / "t", one_segment=one_segment)
    ran = by_tracks(tmp_path)
    assert ran.code == 0 and "zone +02:00 by the track" in ran.stderr, ran
    for number, path in enumerate(sorted((tmp_path / "card").glob("*.jpg"))):
        assert placed(path) == pytest.approx(NORTH + 180 * number * 4e-5, abs=2e-6)


def test_a_few_photos_in_a_hole_of_the_track_do_not_move_all_to_another_zone(tmp_path: Path):
    """Guard."""
    morning(tmp_path / "card", local=0.0, count=11)
    for number, span in enumerate((range(-9000, 1000, 5), range(1150, 9000, 5))):
        log(tmp_path / "t" / f"{number}.gpx", span, lambda s: NORTH + s * 4e-5)
    ran = by_tracks(tmp_path)
    assert "UTC is taken" in ran.stderr, ran
    assert placed(tmp_path / "card" / "000.jpg") == pytest.approx(NORTH)


def test_an_offset_is_proposed_by_which_photos_meet_a_track_of_several_days(tmp_path: Path):
    morning(tmp_path / "card", 0, local=1.0, count=15, offset="+00:00")
    days(tmp_path / "t")
    ran = by_tracks(tmp_path)
    assert ran.code == 1 and "with --offset_time 3600 they would meet: 15 of 15" in ran.stderr, ran


def test_a_zone_that_another_folder_proves_is_that_of_an_ambiguous_one(tmp_path: Path):
    """It was taken as on UTC: two hours off, and mixed into the other folder's drive."""
    camera = {"make": "GoPro", "model": "H9"}
    seconds = [*range(0, 3 * 3600, 5)]
    log(tmp_path / "t" / "t.gpx", seconds, lambda s: NORTH + s * 4e-5)
    for number in range(5):
        photo(tmp_path / "card" / "100GOPRO" / f"{number}.jpg", 180 * number, 2.0, **camera)
        all_along = 600 + 2400 * number
        photo(tmp_path / "card" / "101GOPRO" / f"{number}.jpg", all_along, 2.0, **camera)
    ran = by_tracks(tmp_path)
    assert ran.code == 0, ran
    for number in range(5):
        first = tmp_path / "card" / "100GOPRO" / f"{number}.jpg"
        assert placed(first) == pytest.approx(NORTH + 180 * number * 4e-5, abs=2e-6)


def test_photos_lead_a_camera_that_does_not_tell_its_zone(tmp_path: Path):
    """All of the camera's failed, two hours outside of the track of the telephone's."""
    for number in range(30):
        place = {"lat": drive_north(10 * number), "lon": 11.97, "offset": "+02:00"}
        photo(tmp_path / f"P{number:02d}.jpg", 10 * number, 2.0, make="P", model="12", **place)
    for number in range(20):
        photo(tmp_path / f"G{number:02d}.jpg", 5 + 10 * number, 2.0, make="GoPro", model="H9")
    ran = process(tmp_path, "--geotag_source", "photos")
    assert ran.code == 0 and "zone +02:00 by the track" in ran.stderr, ran
    for number in range(20):
        wished = drive_north(5 + 10 * number)
        assert placed(tmp_path / f"G{number:02d}.jpg") == pytest.approx(wished, abs=2e-6)


# ---- sync points --------------------------------------------------------------------------------


def taken(path: Path) -> str:
    return str(making.description(path)["MAPCaptureTime"])


@pytest.mark.parametrize("told", ["gps_time", "offset"])
@pytest.mark.parametrize("point", [0, 5])
def test_a_sync_point_holds_for_photos_that_tell_their_zone_and_those_that_do_not(
    told: str, point: int, tmp_path: Path
):
    """One half of the photos moved by the zone."""
    for number in range(10):
        more: Any = {}
        if number >= 5:
            clock = logs.stamp(START + number, "%H:%M:%S")
            gps = {"gps_date": "2024:05:06", "gps_time": clock}
            more = {"offset": "+02:00"} if told == "offset" else gps
        place = {"lat": drive_north(number), "lon": 11.97}
        photo(tmp_path / f"{number}.jpg", number, 2.0, make="A", **place, **more)
    when = logs.stamp(START + point, "%Y-%m-%dT%H:%M:%SZ")
    ran = process(tmp_path, "--sync_point", f"{when}@{point}.jpg")
    assert ran.code == 0, ran
    for number in range(10):
        wished = logs.stamp(START + number, "%Y_%m_%d_%H_%M_%S_000")
        assert taken(tmp_path / f"{number}.jpg") == wished


def test_a_sync_point_of_a_camera_that_tells_its_zone_holds_across_a_border(tmp_path: Path):
    for number in range(6):
        local = 2.0 if number < 3 else 3.0
        place = {"lat": drive_north(number), "lon": 11.97}
        more = {"offset": f"+0{local:.0f}:00", "make": "A"}
        photo(tmp_path / f"{number}.jpg", number + 7, local, **place, **more)
    assert process(tmp_path, "--sync_point", "2024-05-06T07:08:09Z@0.jpg").code == 0
    for number in range(6):
        wished = logs.stamp(START + number, "%Y_%m_%d_%H_%M_%S_000")
        assert taken(tmp_path / f"{number}.jpg") == wished


# ---- folders that are one drive -----------------------------------------------------------------


def test_merged_folders_are_one_line_for_ties_and_starts(tmp_path: Path):
    log(tmp_path / "t" / "t.gpx", range(100), drive_north)
    for number in range(12):
        folder = tmp_path / "card" / ("100GOPRO" if number < 6 else "101GOPRO")
        photo(folder / f"G{number:04d}.jpg", 1000 + number // 4, make="GoPro")
    ran = by_tracks(tmp_path, "--use_gps_start_time", "--merge_folders")
    assert ran.code == 0, ran
    times = [taken(path) for path in sorted((tmp_path / "card").rglob("*.jpg"))]
    assert times == sorted(set(times)) and times[0].endswith("07_08_09_000"), times


# ---- several cameras ----------------------------------------------------------------------------


def sequences(folder: Path) -> Any:
    found: Any = {}
    for path in sorted(folder.rglob("*.jpg")):
        found.setdefault(making.description(path)["MAPSequenceUUID"], []).append(path.name)
    return sorted(found.values())


@pytest.mark.parametrize("named", [False, True])
def test_a_telephone_beside_a_camera_that_shoots_each_second_is_another(
    named: bool, tmp_path: Path
):
    """They were one sequence, and the telephone's times were moved by half a second."""
    phone = {"make": "Apple", "model": "iPhone"}
    own: Any = phone if named else {"make": None, "model": None}
    for second in range(60):
        place = {"lat": drive_north(second), "lon": 11.97, "offset": "+00:00"}
        photo(tmp_path / f"A{second:02d}.jpg", second, **place, **own)
        if second % 10 == 0:
            photo(tmp_path / f"P{second:02d}.jpg", second, size=(48, 32), **place, **phone)
    ran = process(tmp_path)
    assert ran.code == 0 and "2 cameras, 2 sequences" in ran.stdout, ran
    assert [len(names) for names in sequences(tmp_path)] == [60, 6]
    assert taken(tmp_path / "P10.jpg").endswith("_000")


def test_a_telephone_that_is_turned_now_and_then_is_one_camera(tmp_path: Path):
    for second in range(40):
        size = (48, 64) if second % 10 == 5 else (64, 48)
        place = {"lat": drive_north(second), "lon": 11.97, "make": "Apple", "model": "iPhone"}
        photo(tmp_path / f"{second:02d}.jpg", second, size=size, offset="+00:00", **place)
    assert process(tmp_path).code == 0 and len(sequences(tmp_path)) == 1


@pytest.mark.parametrize(
    "one, other",
    [
        ("2024-05-06_07-08-09-front_000001", "2024-05-06_07-08-09-back_000001"),
        ("t-9-left_repeater_000001", "t-9-right_repeater_000001"),
        ("240506_070809_001_FH_000001", "240506_070809_002_RH_000001"),
        ("GPFR0001_000001", "GPBK0001_000001"),
    ],
)
def test_frames_of_two_lenses_are_of_two_cameras(one: str, other: str, tmp_path: Path):
    images = [mt.Image(tmp_path / f"{name}.jpg") for name in (one, other)]
    assert mt.camera_key(images[0]) != mt.camera_key(images[1])


# ---- places where nobody was --------------------------------------------------------------------


def jumpy(folder: Path, count: int, *wrong: int, lat: float = 60.0) -> Ran:
    for number in range(count):
        place = lat if number in wrong else drive_north(2 * number)
        photo(folder / f"{number:02d}.jpg", 2 * number, lat=place, lon=11.97, offset="+00:00")
    return process(folder)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("run_of", [4, 10])
def test_places_that_nobody_can_judge_are_said(end: bool, run_of: int, tmp_path: Path):
    """The place of the last trip, until there was a fix, went up without a word."""
    numbers = range(40 - run_of, 40) if end else range(run_of)
    ran = jumpy(tmp_path, 40, *numbers)
    assert ran.code == 0
    edge = (39 - run_of, 40 - run_of) if end else (run_of - 1, run_of)
    assert f"{edge[1]:02d}.jpg is " in ran.stderr and f"m from {edge[0]:02d}.jpg" in ran.stderr


@pytest.mark.parametrize("wrong", [(0, 12), (0, 1, 15), tuple(range(0, 21, 3)), (5, 12), (30, 39)])
def test_a_wild_first_photo_does_not_cost_the_others(wrong: Any, tmp_path: Path):
    """Eleven honest ones failed, since one more was at the place of the first."""
    ran = jumpy(tmp_path, 40, *wrong)
    found = run("status", "--import_path", tmp_path, "--list", "failed", "--json")
    names = {Path(one["file"]).name for one in json.loads(found.stdout)["failed"]}
    assert names == {f"{number:02d}.jpg" for number in wrong} and ran.code == 1, ran


def test_a_fast_train_is_no_leap(tmp_path: Path):
    for number in range(20):
        place = {"lat": NORTH + number * 0.0016, "lon": 11.97, "offset": "+00:00"}
        photo(tmp_path / f"{number:02d}.jpg", 2 * number, **place)
    ran = process(tmp_path)
    assert ran.code == 0 and "keep_jumps" not in ran.stderr, ran

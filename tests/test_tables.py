"""process_csv and interpolate: what a table gives to images, and what is filled in between them."""

import os
import calendar
import datetime
import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

import making
from conftest import soon, Ran, images_in, in_process, run, tree

NAMED = ("--filename_column", 1)
PLACED = NAMED + ("--latitude_column", 2, "--longitude_column", 3)
TIMED = NAMED + ("--timestamp_column", 2)
STAMP = "2024:05:06 07:08:09"


def utc(*parts: int) -> int:
    """Seconds since 1970 of a date and time in UTC."""
    return calendar.timegm(parts + (0,) * (9 - len(parts)))


START = utc(2024, 5, 6, 7, 8, 9)


def write_table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder.parent / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def give(folder: Path, text: str, *options: Any, encoding: str = "utf-8") -> Ran:
    return run(
        "process_csv",
        "--import_path",
        folder,
        "--csv_path",
        write_table(folder, text, encoding),
        *options,
    )


def process(folder: Path, *options: Any) -> Ran:
    return run("process", "--import_path", folder, "--user_name", "demo", *options)


def taken(path: Any) -> float:
    """The capture time that the EXIF of a photo says, in seconds since 1970 UTC."""
    tags = making.read_exif(path)
    moment = datetime.datetime.strptime(
        tags["DateTimeOriginal"] + tags.get("OffsetTimeOriginal", "+00:00"), "%Y:%m:%d %H:%M:%S%z"
    )
    return moment.timestamp() + float("0." + tags.get("SubSecTimeOriginal", "0"))


def near(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(
        x == y if x is None or y is None else abs(x - y) < 1e-6 for x, y in zip(a, b)
    )


def described_time(row: Dict[str, Any]) -> float:
    """MAPCaptureTime in seconds since 1970 UTC."""
    moment = datetime.datetime.strptime(row["MAPCaptureTime"], "%Y_%m_%d_%H_%M_%S_%f")
    return round(moment.replace(tzinfo=datetime.timezone.utc).timestamp(), 3)


def last_rows(folder: Path) -> Dict[str, Dict[str, Any]]:
    lines = (folder / ".mapillary" / "journal.jsonl").read_text("ascii").splitlines()
    return {row["image"]: row for row in map(json.loads, lines) if "image" in row}


def copy_of(photo: Path) -> Path:
    return photo.parent / ".mapillary" / "process_images" / photo.name


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder with one photo that has a place, a time and a direction of its own."""
    making.photo(tmp_path / "photos" / "a.jpg", lat=1.0, lon=2.0, alt=3.0, heading=4.0)
    return tmp_path / "photos"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Five photos, two seconds apart."""
    making.drive(tmp_path / "drive")
    return tmp_path / "drive"


# ---- process_csv: columns --------------------------------------------------------------------------------------------


def test_position_columns_are_written(one):
    assert give(one, "a.jpg,-57.5,11.25\n", *PLACED).code == 0
    assert near(making.place(one / "a.jpg"), (-57.5, 11.25, 3.0))


def test_altitude_column_is_written(one):
    assert give(one, "a.jpg,-12.5\n", *NAMED, "--altitude_column", 2).code == 0
    assert near(making.place(one / "a.jpg"), (1.0, 2.0, -12.5))


@pytest.mark.parametrize("cell", ["-9999", "-32768", "99999", "65535.0"])
def test_number_that_stands_for_no_altitude_gives_none(cell, one):
    assert give(one, f"a.jpg,{cell}\n", *NAMED, "--altitude_column", 2).code == 0
    assert near(making.place(one / "a.jpg"), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "cell, expected", [("90.5", 90.5), ("-90", 270.0), ("360", 0.0), ("0", 0.0)]
)
def test_heading_column_is_written_as_a_true_direction(cell, expected, one):
    assert give(one, f"a.jpg,{cell}\n", *NAMED, "--heading_column", 2).code == 0
    assert (
        making.direction(one / "a.jpg"),
        making.read_exif(one / "a.jpg")["GPSImgDirectionRef"],
    ) == (expected, "T")


def test_columns_may_stand_in_any_order(one):
    assert (
        give(
            one,
            "5,2024:01:02 03:04:05,7,6,a.jpg\n",
            "--filename_column",
            5,
            "--timestamp_column",
            2,
            "--longitude_column",
            3,
            "--latitude_column",
            4,
            "--altitude_column",
            1,
        ).code
        == 0
    )
    assert near(making.place(one / "a.jpg"), (6.0, 7.0, 5.0)) and taken(one / "a.jpg") == utc(
        2024, 1, 2, 3, 4, 5
    )


def test_given_time_is_written_with_its_zone_and_gps_time(one):
    assert give(one, "a.jpg,2024:05:06 10:11:12.25\n", *TIMED).code == 0
    tags = making.read_exif(one / "a.jpg")
    assert [
        tags[name]
        for name in ("DateTimeOriginal", "SubSecTimeOriginal", "OffsetTimeOriginal", "GPSDateStamp")
    ] == ["2024:05:06 10:11:12", "250", "+00:00", "2024:05:06"]
    assert [round(a / b, 3) for a, b in tags["GPSTimeStamp"]] == [10, 11, 12.25]


@pytest.mark.parametrize(
    "style, cell, expected",
    [
        (None, "2024:01:02 03:04:05", utc(2024, 1, 2, 3, 4, 5)),
        (None, "2024:01:02 03:04:05.75", utc(2024, 1, 2, 3, 4, 5) + 0.75),
        ("%d.%m.%Y %H:%M:%S", "02.01.2024 03:04:05", utc(2024, 1, 2, 3, 4, 5)),
        ("%d.%m.%Y %H:%M:%S", " 02.01.2024 03:04:05 ", utc(2024, 1, 2, 3, 4, 5)),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T03:04:05+02:00", utc(2024, 1, 2, 1, 4, 5)),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T23:04:05-0500", utc(2024, 1, 3, 4, 4, 5)),
        ("%Y-%m-%dT%H:%M:%S.%f%z", "2024-01-02T03:04:05Z", utc(2024, 1, 2, 3, 4, 5)),
        ("%Y-%m-%dT%H:%M:%SZ", "2024-01-02T03:04:05.500Z", utc(2024, 1, 2, 3, 4, 5) + 0.5),
    ],
)
def test_time_format(style, cell, expected, one):
    assert (
        give(one, f"a.jpg,{cell}\n", *TIMED, *(["--time_format", style] if style else [])).code == 0
    )
    assert taken(one / "a.jpg") == expected


@pytest.mark.parametrize(
    "moment, leaps",
    [
        ((1980, 1, 7), 0),
        ((1981, 6, 30, 23, 59, 59), 0),
        ((1981, 7, 1), 1),
        ((1990, 6, 1), 6),
        ((1999, 1, 1), 13),
        ((2005, 12, 31), 13),
        ((2006, 1, 1), 14),
        ((2010, 5, 6), 15),
        ((2012, 7, 1), 16),
        ((2015, 7, 1), 17),
        ((2016, 12, 31, 23, 59, 59), 17),
        ((2017, 1, 1), 18),
        ((2024, 5, 6, 7, 8, 9), 18),
    ],
)
@pytest.mark.parametrize("weeks", [False, True])
def test_gps_seconds_know_the_leap_seconds_of_their_day(weeks, moment, leaps, one):
    seconds = utc(*moment) - utc(1980, 1, 6) + leaps
    text = f"a.jpg,{seconds % 604800},{seconds // 604800}\n" if weeks else f"a.jpg,{seconds}\n"
    assert (
        give(
            one, text, *TIMED, "--convert_gps_time", *(["--gps_week_column", 3] if weeks else [])
        ).code
        == 0
    )
    assert taken(one / "a.jpg") == utc(*moment)


def test_gps_seconds_keep_their_fraction(one):
    give(one, f"a.jpg,{START - utc(1980, 1, 6) + 18}.125\n", *TIMED, "--convert_gps_time")
    assert taken(one / "a.jpg") == START + 0.125


def test_gps_week_column_without_gps_time_is_refused(one):
    before = tree(one)
    ran = give(one, "a.jpg,2024:05:06 07:08:09,2313\n", *TIMED, "--gps_week_column", 3)
    assert ran.code == 2 and "--convert_gps_time" in ran.stderr and tree(one) == before


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("1714979289", START),
        ("1714979289.5", START + 0.5),
        ("1714979289500", START + 0.5),
        ("0", 0),
        ("86400", 86400),
    ],
)
def test_unix_time_in_seconds_or_milliseconds(cell, expected, one):
    assert give(one, f"a.jpg,{cell}\n", *TIMED, "--convert_utc_time").code == 0
    assert taken(one / "a.jpg") == expected


@pytest.mark.parametrize(
    "options, said",
    [
        ((), True),
        (("--time_format", "%Y:%m:%d %H:%M:%S%z"), False),
        (("--convert_utc_time",), False),
    ],
)
def test_assumed_zone_is_said_only_where_it_is_assumed(options, said, one):
    ran = give(one, "a.jpg,2024:05:06 07:08:09\n", *TIMED, *options)
    assert ("taken as UTC" in ran.stderr) == said


# ---- process_csv: meta data ------------------------------------------------------------------------------------------

META = [
    ("string", "Straße 5", "strings", "Straße 5"),
    ("double", "2.5", "doubles", 2.5),
    ("long", "-7", "longs", -7),
    ("date", STAMP, "dates", START * 1000),
    ("date", "1714979289", "dates", START * 1000),
    ("date", "1714979289500", "dates", START * 1000 + 500),
    ("boolean", "TRUE", "booleans", True),
    ("boolean", "0", "booleans", False),
]


def give_meta(folder: Path, kind: str, cell: str, *more: Any) -> Ran:
    return give(
        folder,
        f"a.jpg,{cell}\n",
        *NAMED,
        "--meta_columns",
        2,
        "--meta_names",
        "note",
        "--meta_types",
        kind,
        *more,
    )


@pytest.mark.parametrize("kind, cell, where, value", META)
def test_meta_data_is_stored_in_image_history(kind, cell, where, value, one):
    assert give_meta(one, kind, cell).code == 0
    stored = json.loads(making.read_exif(one / "a.jpg")["ImageHistory"])
    assert stored == [{"type": kind, "key": "note", "value": value}] and type(
        stored[0]["value"]
    ) is type(value)


@pytest.mark.parametrize("kind, cell, where, value", META)
def test_meta_data_is_in_the_description_after_process(kind, cell, where, value, one):
    give_meta(one, kind, cell)
    assert process(one).code == 0
    assert {"key": "note", "value": value} in making.description(one / "a.jpg")["MAPMetaTags"][
        where
    ]


def test_meta_data_is_found_in_a_photo_that_left_its_journal(one, tmp_path):
    give_meta(one, "long", "5")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(str(one / "a.jpg"), str(tmp_path / "elsewhere"))
    process(tmp_path / "elsewhere")
    assert making.description(tmp_path / "elsewhere" / "a.jpg")["MAPMetaTags"]["longs"] == [
        {"key": "note", "value": 5}
    ]


def test_meta_data_of_several_columns(one):
    assert (
        give(
            one,
            "x,a.jpg,y\n",
            "--filename_column",
            2,
            "--meta_columns",
            "3, 1",
            "--meta_names",
            "third, first",
            "--meta_types",
            "string, string",
        ).code
        == 0
    )
    assert [
        row["value"] for row in json.loads(making.read_exif(one / "a.jpg")["ImageHistory"])
    ] == ["y", "x"]


def test_meta_data_is_never_run(one, tmp_path):
    trap = tmp_path / "trap"
    give_meta(one, "string", f"__import__('pathlib').Path({str(trap)!r}).touch()".replace(",", ";"))
    process(one)
    assert not trap.exists()


# ---- process_csv: options that cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, said",
    [
        (("--latitude_column", 2), "--longitude_column"),
        (("--longitude_column", 2), "--latitude_column"),
        ((), "--timestamp_column"),
        (("--timestamp_column", 2, "--convert_gps_time", "--convert_utc_time"), "contradict"),
        (("--altitude_column", 0), "--altitude_column"),
        (("--altitude_column", "x"), "--altitude_column"),
        (("--meta_columns", "2,3", "--meta_names", "a,b", "--meta_types", "long"), "--meta_types"),
        (("--meta_columns", "2", "--meta_names", "a"), "--meta_types"),
        (("--meta_columns", "x", "--meta_names", "a", "--meta_types", "long"), "numbers"),
        (("--meta_columns", "2", "--meta_names", "a", "--meta_types", "float"), "boolean"),
        (("--altitude_column", 2, "--delimiter", "::"), "::"),
    ],
)
def test_options_that_cannot_be_end_in_2_and_touch_nothing(options, said, one):
    before = tree(one)
    ran = give(one, "a.jpg,5,6\n", *NAMED, *options)
    assert (ran.code, tree(one)) == (2, before) and said in ran.stderr, ran.stderr


def test_table_that_is_not_there_ends_in_3(one, tmp_path):
    ran = run("process_csv", "--import_path", one, "--csv_path", tmp_path / "no.csv", *PLACED)
    assert ran.code == 3 and "no.csv" in ran.stderr


# ---- process_csv: which row goes with which image --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "IMG_0042.JPG",
        "img_0042.jpg",
        "IMG_0042",
        "0042",
        "card/day 1/IMG_0042.JPG",
        "D:\\DCIM\\100\\IMG_0042.JPG",
        "./IMG_0042.JPG",
        " IMG_0042.JPG ",
        '"IMG_0042.JPG"',
    ],
)
def test_image_is_found_by_name(name, tmp_path):
    for number in (41, 42, 43):
        making.photo(tmp_path / "card" / f"IMG_{number:04d}.JPG", lat=1.0, lon=2.0)
    assert give(tmp_path / "card", f"{name},5,6\n", *PLACED).code == 0
    assert [making.place(path)[0] for path in sorted((tmp_path / "card").glob("*.JPG"))] == [
        1.0,
        5.0,
        1.0,
    ]


def two_folders(tmp_path: Path) -> Tuple[Path, Path]:
    return tuple(
        making.photo(tmp_path / "card" / name / "a.jpg", lat=1.0, lon=2.0)
        for name in ("left", "right")
    )  # type: ignore


@pytest.mark.parametrize(
    "name",
    [
        "{absolute}",
        "card/right/a.jpg",
        "right/a.jpg",
        "./right/a.jpg",
        "right\\a.jpg",
        "Right/A.JPG",
        "D:\\trip\\card\\right\\a.jpg",
        "/mnt/other/card/right/a.jpg",
        "right/a",
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_same_name_in_two_folders_is_told_apart_by_the_path(relative, name, tmp_path, monkeypatch):
    left, right = two_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path / "card", f"{name.format(absolute=right)},5,6\n")
    ran = run(
        "process_csv",
        "--import_path",
        "card" if relative else tmp_path / "card",
        "--csv_path",
        table,
        *PLACED,
    )
    assert (ran.code, making.place(left)[0], making.place(right)[0]) == (0, 1.0, 5.0), ran.stdout


def test_row_of_another_folder_does_not_take_the_place_of_the_right_one(tmp_path):
    making.photo(tmp_path / "card" / "right" / "a.jpg", lat=1.0, lon=2.0)
    give(tmp_path / "card", "left/a.jpg,3,4\nright/a.jpg,5,6\n", *PLACED)
    assert making.place(tmp_path / "card" / "right" / "a.jpg")[0] == 5.0


def test_whole_name_goes_before_a_name_that_holds_it(tmp_path):
    for name in ("1.jpg", "11.jpg", "x_1.jpg"):
        making.photo(tmp_path / "card" / name, lat=1.0, lon=2.0)
    assert give(tmp_path / "card", "1,5,6\n", *PLACED).code == 0
    assert making.place(tmp_path / "card" / "1.jpg")[0] == 5.0


@pytest.mark.skipif(
    Path(__file__.upper()).exists(), reason="this file system does not tell letter cases apart"
)
def test_names_that_differ_in_letter_case_only_are_told_apart(tmp_path):
    for name in ("a.jpg", "A.JPG"):
        making.photo(tmp_path / "card" / name, lat=1.0, lon=2.0)
    assert give(tmp_path / "card", "A.JPG,5,6\na.jpg,3,4\n", *PLACED).code == 0
    assert [making.place(tmp_path / "card" / name)[0] for name in ("a.jpg", "A.JPG")] == [3.0, 5.0]


@pytest.mark.parametrize(
    "name, said",
    [
        (".jpg", "names no image"),
        ("jpg", "may mean 5 images"),
        ("000", "may mean 5 images"),
        ("0099.jpg", "names no image"),
        ("", "names no image"),
        ("0001.jpg", "repeats"),
    ],
)
def test_row_without_one_clear_image_is_named_and_the_rest_goes_on(name, said, drive):
    ran = give(drive, f"0001.jpg,5,6\n{name},7,8\n0002.jpg,9,10\n", *PLACED)
    assert ran.code == 1 and "line 2 " + said in ran.stdout, ran.stdout
    assert [
        round(making.place(drive / name)[0], 4) for name in ("0001.jpg", "0002.jpg", "0003.jpg")
    ] == [
        5.0,
        9.0,
        57.7002,
    ]


def test_images_without_a_row_are_skipped_and_untouched(drive):
    before = images_in(drive)
    ran = give(drive, "0002.jpg,5,6\n", *PLACED)
    assert (
        ran.code == 0
        and "5 found = 1 written + 4 skipped + 0 failed" in ran.stdout
        and "no row in the table" in ran.stdout
    )
    assert [name for name, content in images_in(drive).items() if content != before[name]] == [
        "0002.jpg"
    ]


def test_rows_without_names_go_with_images_in_natural_order_of_names(tmp_path):
    for name in ("img10.jpg", "img9.jpg", "img1.jpg"):
        making.photo(tmp_path / "card" / name, lat=1.0, lon=2.0)
    assert (
        give(
            tmp_path / "card", "5,6\n7,8\n9,10\n", "--latitude_column", 1, "--longitude_column", 2
        ).code
        == 0
    )
    assert [
        making.place(tmp_path / "card" / name)[0] for name in ("img1.jpg", "img9.jpg", "img10.jpg")
    ] == [
        5.0,
        7.0,
        9.0,
    ]


def test_rows_without_names_go_through_one_folder_after_the_other(tmp_path):
    names = ("day1/1.jpg", "day1/2.jpg", "day2/1.jpg", "day2/2.jpg")
    for name in names:
        making.photo(tmp_path / "card" / name, lat=1.0, lon=2.0)
    assert (
        give(
            tmp_path / "card",
            "5,6\n7,8\n9,10\n11,12\n",
            "--latitude_column",
            1,
            "--longitude_column",
            2,
        ).code
        == 0
    )
    assert [making.place(tmp_path / "card" / name)[0] for name in names] == [5.0, 7.0, 9.0, 11.0]


def test_rows_without_names_in_another_number_end_in_2_and_touch_nothing(drive):
    before = images_in(drive)
    ran = give(drive, "5,6\n7,8\n", "--latitude_column", 1, "--longitude_column", 2)
    assert (
        ran.code == 2
        and "2 rows, 5 images" in ran.stderr
        and "--filename_column" in ran.stderr
        and images_in(drive) == before
    )


def test_row_of_an_image_that_cannot_be_read_does_not_shift_the_others(drive):
    (drive / "0002.jpg").write_bytes(b"")
    ran = give(drive, "1,1\n2,2\n3,3\n4,4\n5,5\n", "--latitude_column", 1, "--longitude_column", 2)
    assert ran.code == 1 and "0002.jpg" in ran.stdout
    assert [round(making.place(drive / f"000{number}.jpg")[0], 4) for number in (1, 3, 4, 5)] == [
        1.0,
        3.0,
        4.0,
        5.0,
    ]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.jpg", "..\\..\\etc\\passwd.jpg", "/etc/passwd.jpg"]
)
def test_path_that_leaves_the_folder_touches_nothing_outside(name, drive, tmp_path):
    outside = making.photo(tmp_path / "etc" / "passwd.jpg", lat=1.0, lon=2.0)
    before, inside = outside.read_bytes(), images_in(drive)
    ran = give(drive, f"{name},5,6\n", *PLACED)
    assert ran.code == 1 and "names no image" in ran.stdout
    assert (
        outside.read_bytes(),
        images_in(drive),
        sorted(path.name for path in outside.parent.iterdir()),
    ) == (before, inside, ["passwd.jpg"])


@in_process
@pytest.mark.slow
def test_long_table_with_other_names_is_matched_in_time():
    import time

    import mapillary_tools as mt

    images = [mt.Image(Path(f"card/IMG_{number:06d}.jpg")) for number in range(20000)]
    rows = [mt.TableRow(number, [f"other_{number:06d}.jpg"]) for number in range(2500)]
    options = mt.CsvColumns(csv_path="t.csv", filename_column=1, altitude_column=2)
    start = time.process_time()
    matched, problems = mt.match_rows(rows, images, options)
    assert (len(matched), len(problems)) == (0, 2500) and soon(time.process_time() - start, 4.0)


# ---- process_csv: rows that do not parse -----------------------------------------------------------------------------

ALL = (
    "--filename_column",
    1,
    "--timestamp_column",
    2,
    "--latitude_column",
    3,
    "--longitude_column",
    4,
    "--heading_column",
    5,
    "--altitude_column",
    6,
    "--meta_columns",
    7,
    "--meta_names",
    "m",
    "--meta_types",
    "boolean",
)


@pytest.mark.parametrize(
    "cells",
    [
        "noon,,,,,",
        f"{STAMP},north,2,,,",
        f"{STAMP},90.1,2,,,",
        f"{STAMP},-91,2,,,",
        f"{STAMP},1,180.1,,,",
        f"{STAMP},1,,,,",
        f"{STAMP},,2,,,",
        f"{STAMP},0,0,,,",
        f"{STAMP},nan,2,,,",
        f"{STAMP},1,inf,,,",
        f"{STAMP},1,2,east,,",
        f"{STAMP},1,2,3,high,",
        f"{STAMP},1,2,3,4,maybe",
        f"{STAMP},1,2",
        f"{STAMP},1,2,3,4",
        "2024:13:01 00:00:00,1,2,,,",
        f"{STAMP},1,2,3,1e12,",
    ],
)
def test_row_that_does_not_parse_is_named_and_the_rest_goes_on(cells, drive):
    before = images_in(drive)
    ran = give(
        drive,
        f"file,time,lat,lon,heading,alt,m\n0002.jpg,{cells}\n0003.jpg,{STAMP},5,6,7,8,yes\n",
        *ALL,
        "--header",
    )
    assert (ran.code, ran.stderr.count("Traceback")) == (1, 0)
    assert "0002.jpg" in ran.stdout and "line 2" in ran.stdout and "list index" not in ran.stdout, (
        ran.stdout
    )
    assert images_in(drive)["0002.jpg"] == before["0002.jpg"] and near(
        making.place(drive / "0003.jpg"), (5.0, 6.0, 8.0)
    )


@pytest.mark.parametrize("cell", ["1e21", "-1e11", "1e300", "-62135596801"])
def test_time_beyond_the_calendar_is_a_row_that_does_not_parse(cell, drive):
    ran = give(drive, f"0001.jpg,{cell}\n0002.jpg,1714979289\n", *TIMED, "--convert_utc_time")
    assert ran.code == 1 and "line 1" in ran.stdout and taken(drive / "0002.jpg") == START


@pytest.mark.parametrize("week", ["", "x"])
def test_gps_week_that_does_not_parse_is_named_with_its_line(week, drive):
    ran = give(
        drive,
        f"0001.jpg,5,{week}\n0002.jpg,5,2313\n",
        *TIMED,
        "--convert_gps_time",
        "--gps_week_column",
        3,
    )
    assert ran.code == 1 and "line 1 " in ran.stdout and "1 written" in ran.stdout


def test_empty_cells_give_nothing_and_leave_what_was_found(one):
    before = (one / "a.jpg").read_bytes()
    assert give(one, "a.jpg,,,,,,yes\n", *ALL).code == 0
    same = ("GPSLatitude", "GPSAltitude", "GPSImgDirection", "DateTimeOriginal")
    assert [making.read_exif(one / "a.jpg")[name] for name in same] == [
        making.read_exif(before)[name] for name in same
    ]


def test_line_numbers_count_the_header_and_blank_lines(drive):
    ran = give(
        drive,
        "name,alt\n\n0001.jpg,5\n\n0002.jpg,high\n",
        *NAMED,
        "--altitude_column",
        2,
        "--header",
    )
    assert "line 5 of" in ran.stdout


def test_quote_that_is_never_closed_costs_its_own_line(drive):
    ran = give(drive, '"0001.jpg,5\n0002.jpg,6\n', *NAMED, "--altitude_column", 2)
    assert "line 1 " in ran.stdout and making.place(drive / "0002.jpg")[2] == 6.0


# ---- process_csv: kinds of tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option, mark",
    [
        (None, ","),
        (",", ","),
        (";", ";"),
        ("\t", "\t"),
        ("tab", "\t"),
        ("\\t", "\t"),
        ("semicolon", ";"),
        ("|", "|"),
    ],
)
def test_delimiter(option, mark, one):
    assert (
        give(
            one,
            mark.join(["a.jpg", "5", "6"]) + "\n",
            *PLACED,
            *(["--delimiter", option] if option else []),
        ).code
        == 0
    )
    assert near(making.place(one / "a.jpg"), (5.0, 6.0, 3.0))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le-mark"])
def test_encoding(encoding, tmp_path):
    making.photo(tmp_path / "card" / "Straße_é.jpg", lat=1.0, lon=2.0)
    text = "Straße_é.jpg,5,6\n"
    ran = give(
        tmp_path / "card",
        "\ufeff" + text if encoding.endswith("mark") else text,
        *PLACED,
        encoding=encoding.replace("-mark", ""),
    )
    assert ran.code == 0 and making.place(tmp_path / "card" / "Straße_é.jpg")[0] == 5.0


@pytest.mark.parametrize(
    "text, option", [("a.jpg;57,5;-11,25\n", ";"), ('a.jpg,"57,5","-11,25"\n', ",")]
)
def test_decimal_commas(text, option, one):
    assert give(one, text, *PLACED, "--delimiter", option).code == 0
    assert near(making.place(one / "a.jpg"), (57.5, -11.25, 3.0))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end, drive):
    assert give(drive, end.join(["0001.jpg,5,6", "0002.jpg,7,8"]), *PLACED).code == 0
    assert making.place(drive / "0002.jpg")[0] == 7.0


def test_first_row_is_a_row_without_header(drive):
    ran = give(drive, "name,lat,lon\n0001.jpg,5,6\n", *PLACED)
    assert ran.code == 1 and "line 1 names no image" in ran.stdout


def test_header_is_left_out(drive):
    assert give(drive, "name,lat,lon\n0001.jpg,5,6\n", *PLACED, "--header").code == 0


# ---- process_csv: found, given, written ------------------------------------------------------------------------------


def test_given_wins_over_found_in_process(one):
    give(one, f"a.jpg,{STAMP}.5,5,6,7,8,yes\n", *ALL)
    process(one)
    row = making.description(one / "a.jpg")
    assert (
        row["MAPLatitude"],
        row["MAPLongitude"],
        row["MAPAltitude"],
        row["MAPCompassHeading"]["TrueHeading"],
        described_time(row),
    ) == (5.0, 6.0, 8.0, 7.0, START + 0.5)


def test_given_time_is_not_moved_by_a_zone(one):
    give(one, "a.jpg,2024:01:02 03:04:05\n", *TIMED)
    process(one, "--timezone", "+02:00")
    assert described_time(making.description(one / "a.jpg")) == utc(2024, 1, 2, 3, 4, 5)


def test_what_was_found_is_kept_in_the_journal_before_the_image_changes(one):
    give(one, "a.jpg,5,6\n", *PLACED)
    row = last_rows(one)["a.jpg"]
    assert (row["found"]["lat"], row["found"]["lon"], row["given"]) == (
        1.0,
        2.0,
        {"lat": 5.0, "lon": 6.0},
    )


def test_values_of_two_tables_add_up(one):
    give(one, "a.jpg,5,6\n", *PLACED)
    give(one, "a.jpg,7\n", *NAMED, "--altitude_column", 2)
    assert near(making.place(one / "a.jpg"), (5.0, 6.0, 7.0))


@pytest.mark.parametrize("keep", [(), ("--keep_original",)])
def test_same_table_twice_gives_the_same_bytes(keep, one):
    give(one, f"a.jpg,{STAMP},5,6,7,8,yes\n", *ALL, *keep)
    before = tree(one, without="journal")
    assert (
        give(one, f"a.jpg,{STAMP},5,6,7,8,yes\n", *ALL, *keep).code == 0
        and tree(one, without="journal") == before
    )


def test_other_table_leaves_nothing_of_the_first_in_what_it_gives(one):
    give(one, "a.jpg,5,6\n", *PLACED)
    give(one, "a.jpg,7,8\n", *PLACED)
    once = making.read_exif(one / "a.jpg")
    making.photo(one / "a.jpg", lat=1.0, lon=2.0, alt=3.0, heading=4.0)
    shutil.rmtree(str(one / ".mapillary"))
    give(one, "a.jpg,7,8\n", *PLACED)
    assert making.read_exif(one / "a.jpg") == once


def test_table_after_process_starts_from_what_was_found(one):
    process(one, "--offset_time", 10, "--offset_angle", 90)
    give(one, "a.jpg,5,6\n", *PLACED)
    process(one, "--offset_time", 10, "--offset_angle", 90)
    row = making.description(one / "a.jpg")
    assert (row["MAPLatitude"], described_time(row), row["MAPCompassHeading"]["TrueHeading"]) == (
        5.0,
        START - 10,
        94.0,
    )


def test_given_values_count_for_process_that_was_done_before(one):
    process(one)
    give(one, "a.jpg,5,6\n", *PLACED)
    ran = process(one)
    assert "1 processed" in ran.stdout and making.description(one / "a.jpg")["MAPLatitude"] == 5.0


def test_process_again_after_a_table_finds_nothing_to_do(one):
    give(one, "a.jpg,5,6\n", *PLACED)
    process(one)
    before = tree(one)
    assert "1 skipped" in process(one).stdout and images_in(one) == {"a.jpg": before["a.jpg"]}


def test_pixels_and_other_tags_stay(one):
    before = (one / "a.jpg").read_bytes()
    give(one, "a.jpg,5,6\n", *PLACED)
    assert making.without_exif((one / "a.jpg").read_bytes()) == making.without_exif(before)
    assert making.read_exif(one / "a.jpg")["Make"] == "Testmaker"


def test_photo_without_exif_gets_the_values(tmp_path):
    making.photo(tmp_path / "card" / "a.jpg", exif=None)
    assert give(tmp_path / "card", f"a.jpg,{STAMP},5,6,7,8,yes\n", *ALL).code == 0
    assert (
        near(making.place(tmp_path / "card" / "a.jpg"), (5.0, 6.0, 8.0))
        and taken(tmp_path / "card" / "a.jpg") == START
    )


def test_keep_original_leaves_the_photo_byte_identical(one):
    before = images_in(one)
    give(one, "a.jpg,5,6\n", *PLACED, "--keep_original")
    assert images_in(one) == before


def test_keep_original_puts_the_values_into_a_copy(one):
    give(one, "a.jpg,5,6\n", *PLACED, "--keep_original")
    assert near(making.place(copy_of(one / "a.jpg")), (5.0, 6.0, 3.0))


def test_process_with_keep_original_starts_from_the_given_values(one):
    before = images_in(one)
    give(one, "a.jpg,5,6\n", *PLACED, "--keep_original")
    process(one, "--keep_original")
    assert (making.description(copy_of(one / "a.jpg"))["MAPLatitude"], images_in(one)) == (
        5.0,
        before,
    )


def test_keep_original_then_without_writes_into_the_photo(one):
    give(one, "a.jpg,5,6\n", *PLACED, "--keep_original")
    give(one, "a.jpg,5,6\n", *PLACED)
    assert near(making.place(one / "a.jpg"), (5.0, 6.0, 3.0))


def test_dry_run_of_a_table_says_what_would_be_and_writes_nothing(one, tmp_path):
    before = tree(tmp_path / "photos")
    ran = give(one, "a.jpg,5,6\n", *PLACED, "--dry_run")
    assert ran.code == 0 and "1 would be written" in ran.stdout and tree(one) == before


@in_process
@pytest.mark.parametrize("keep", [(), ("--keep_original",)])
def test_run_that_was_killed_before_it_wrote_is_made_up_for_by_the_next(keep, one, monkeypatch):
    import mapillary_tools as mt

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mt, "begin_edits", killed)
        assert give(one, "a.jpg,5,6\n", *PLACED, *keep).code == 130
    assert last_rows(one)["a.jpg"]["given"] == {"lat": 5.0, "lon": 6.0}
    assert give(one, "a.jpg,5,6\n", *PLACED, *keep).code == 0
    assert near(making.place(copy_of(one / "a.jpg") if keep else one / "a.jpg"), (5.0, 6.0, 3.0))


def test_summary_of_a_table_as_json(drive):
    ran = give(drive, "0001.jpg,5,6\n0002.jpg,x,6\n0099.jpg,5,6\n", *PLACED, "--json")
    row = json.loads(ran.stdout)
    assert (
        row["found"],
        row["done"],
        sum(row["skipped"].values()),
        len(row["failed"]),
        len(row["trouble"]),
    ) == (
        5,
        1,
        3,
        1,
        1,
    )


def test_image_that_is_no_jpeg_is_skipped_by_name(drive):
    (drive / "0009.png").write_bytes(b"")
    (drive / "0009.tif").write_bytes(b"II*\0")
    ran = give(drive, "0009.tif,5,6\n0001.jpg,5,6\n", *PLACED)
    assert "0009.tif" in ran.stdout and "1 written" in ran.stdout


# ---- interpolate: identical timestamps in images ---------------------------------------------------------------------

SPREAD = ("--data", "identical_timestamps")
FILL = ("--data", "missing_gps")


def interpolate(folder: Any, *options: Any) -> Ran:
    return run("interpolate", "--import_path", folder, *options)


@pytest.fixture
def ties(tmp_path: Path) -> Path:
    """Four photos: two in one second, the next a second later, two five seconds later."""
    making.drive(
        tmp_path / "ties",
        count=5,
        time=lambda number: "2024:05:06 07:08:%02d" % (9, 9, 10, 15, 15)[number],
    )
    return tmp_path / "ties"


def all_taken(folder: Path) -> List[float]:
    return [round(taken(path) - START, 3) for path in sorted(folder.glob("*.jpg"))]


def test_identical_times_of_images_are_spread_up_to_the_next_at_most_a_second(ties):
    assert interpolate(ties, *SPREAD).code == 0
    assert all_taken(ties) == [0, 0.5, 1, 6, 6.5]


def test_identical_times_are_spread_in_natural_order_of_names(tmp_path):
    for name in ("10.jpg", "9.jpg", "1.jpg"):
        making.photo(tmp_path / "ties" / name)
    interpolate(tmp_path / "ties", *SPREAD)
    assert [
        round(taken(tmp_path / "ties" / name) - START, 2) for name in ("1.jpg", "9.jpg", "10.jpg")
    ] == [
        0,
        0.33,
        0.67,
    ]


def test_identical_times_in_two_folders_are_no_ties(tmp_path):
    for name in ("a/1.jpg", "b/1.jpg"):
        making.photo(tmp_path / "two" / name)
    before = images_in(tmp_path / "two")
    ran = interpolate(tmp_path / "two", *SPREAD)
    assert ran.code == 0 and "2 skipped" in ran.stdout and images_in(tmp_path / "two") == before


def test_images_with_a_time_of_their_own_are_untouched(ties):
    before = images_in(ties)
    ran = interpolate(ties, *SPREAD)
    assert "5 found = 2 interpolated + 3 skipped + 0 failed" in ran.stdout
    assert [name for name, content in images_in(ties).items() if content != before[name]] == [
        "0002.jpg",
        "0005.jpg",
    ]


def test_spreading_twice_changes_nothing_more(ties):
    interpolate(ties, *SPREAD)
    before = images_in(ties)
    ran = interpolate(ties, *SPREAD)
    assert "0 interpolated" in ran.stdout and images_in(ties) == before


@pytest.mark.parametrize("options", [(), ("--timezone", "+02:00"), ("--offset_time", "30")])
def test_process_after_spreading_gives_what_process_alone_gives(options, ties, tmp_path):
    shutil.copytree(str(ties), str(tmp_path / "alone"))
    interpolate(ties, *SPREAD)
    process(ties, *options)
    process(tmp_path / "alone", *options)
    times = [
        [described_time(making.description(path)) for path in sorted(folder.glob("*.jpg"))]
        for folder in (ties, tmp_path / "alone")
    ]
    assert times[0] == times[1]


def test_spreading_with_keep_original_leaves_the_photos_and_writes_copies(ties):
    before = images_in(ties)
    assert interpolate(ties, *SPREAD, "--keep_original").code == 0
    assert images_in(ties) == before
    assert {
        path.name: round(taken(path) - START, 3)
        for path in (ties / ".mapillary" / "process_images").iterdir()
    } == {"0002.jpg": 0.5, "0005.jpg": 6.5}


def test_dry_run_of_spreading_writes_nothing(ties):
    before = tree(ties)
    ran = interpolate(ties, *SPREAD, "--dry_run")
    assert ran.code == 0 and "2 would be interpolated" in ran.stdout and tree(ties) == before


def test_image_without_a_time_fails_and_the_rest_is_spread(ties):
    making.photo(ties / "0006.jpg", time=None)
    ran = interpolate(ties, *SPREAD)
    assert ran.code == 1 and "0006.jpg: has no capture time" in ran.stdout
    (ties / "0006.jpg").unlink()
    assert all_taken(ties) == [0, 0.5, 1, 6, 6.5]


def test_times_given_by_a_table_are_spread_too(drive):
    give(drive, f"0001.jpg,{STAMP}\n0002.jpg,{STAMP}\n", *TIMED)
    interpolate(drive, *SPREAD)
    assert all_taken(drive)[:2] == [0, 0.5]


# ---- interpolate: missing positions ----------------------------------------------------------------------------------


def gaps(folder: Path, *places: Optional[Tuple[float, ...]], seconds: float = 2.0) -> Path:
    """A folder of photos, some seconds apart, with these positions (lat, lon[, alt])."""
    for number, spot in enumerate(places):
        moment = datetime.datetime(2024, 5, 6, 7, 8, 9) + datetime.timedelta(
            seconds=number * seconds
        )
        lat, lon, alt = (tuple(spot) + (None,))[:3] if spot else (None, None, None)
        making.photo(
            folder / f"{number + 1:04d}.jpg",
            time=moment.strftime("%Y:%m:%d %H:%M:%S"),
            subsec=f"{moment.microsecond:06d}",
            lat=lat,
            lon=lon,
            alt=alt,
            pixels=number,
        )
    return folder


def places(folder: Path) -> List[Any]:
    found = [making.place(path) for path in sorted(folder.glob("*.jpg"))]
    return [
        place and tuple(part if part is None else round(part, 6) for part in place)
        for place in found
    ]


def test_position_between_two_images_is_filled_in(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0, 10.0), None, None, (1.0003, 2.0006, 40.0))
    assert interpolate(folder, *FILL).code == 0
    assert places(folder)[1:3] == [(1.0001, 2.0002, 20.0), (1.0002, 2.0004, 30.0)]


def test_altitude_is_filled_in_only_between_two_known_ones(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0, 40.0))
    interpolate(folder, *FILL)
    assert places(folder)[1] == (1.0001, 2.0, None)


def test_long_hole_between_images_is_filled_in_whatever_max_time_delta(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0), seconds=600)
    assert interpolate(folder, *FILL, "--max_time_delta", 0).code == 0
    assert places(folder)[1] == (1.0001, 2.0, None)


@pytest.mark.parametrize(
    "limit, filled", [(None, 1), ("0", 0), ("0.5", 0), ("1", 1), ("2", 2), ("2.5", 2)]
)
def test_beyond_the_known_positions_max_time_delta_is_the_limit(limit, filled, tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), (1.0001, 2.0), None, None, seconds=1)
    ran = interpolate(folder, *FILL, *(["--max_time_delta", limit] if limit else []))
    assert [place for place in places(folder)[2:] if place] == [
        (1.0002, 2.0, None),
        (1.0003, 2.0, None),
    ][:filled]
    assert ran.code == (0 if filled == 2 else 1)


def test_before_the_first_known_position_counts_as_beyond_too(tmp_path):
    folder = gaps(tmp_path / "g", None, (1.0001, 2.0), (1.0002, 2.0), seconds=1)
    assert interpolate(folder, *FILL).code == 0 and places(folder)[0] == (1.0, 2.0, None)


def test_image_beyond_the_limit_is_named_with_its_seconds(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), (1.0001, 2.0), None, seconds=3)
    ran = interpolate(folder, *FILL)
    assert "0003.jpg" in ran.stdout and "3.0 s" in ran.stdout and "--max_time_delta" in ran.stdout


@pytest.mark.parametrize("known", [0, 1])
def test_fewer_than_two_known_positions_give_none(known, tmp_path):
    folder = gaps(tmp_path / "g", *[(1.0, 2.0)][:known], None, None)
    before = images_in(folder)
    ran = interpolate(folder, *FILL)
    assert ran.code == 1 and ran.stdout.count("fewer than two") == 2 and images_in(folder) == before


def test_position_across_the_antimeridian_does_not_go_round_the_world(tmp_path):
    folder = gaps(tmp_path / "g", (10.0, 179.9999), None, None, (10.0, -179.9996))
    interpolate(folder, *FILL)
    assert places(folder)[1:3] == [(10.0, -179.999933, None), (10.0, -179.999767, None)]


def test_positions_of_another_folder_do_not_count(tmp_path):
    gaps(tmp_path / "all" / "a", (1.0, 2.0), (1.1, 2.0))
    gaps(tmp_path / "all" / "b", None, None)
    ran = interpolate(tmp_path / "all", *FILL)
    assert ran.code == 1 and places(tmp_path / "all" / "b") == [None, None]


def test_filling_twice_gives_the_same_files_and_does_not_creep_on(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), (1.0001, 2.0), None, None, None, seconds=1)
    interpolate(folder, *FILL)
    before = images_in(folder)
    interpolate(folder, *FILL)
    assert images_in(folder) == before


def test_position_filled_in_before_gives_way_to_a_table(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    interpolate(folder, *FILL)
    give(folder, "0002.jpg,5,6\n", *PLACED)
    interpolate(folder, *FILL)
    assert places(folder)[1] == (5.0, 6.0, None)


def test_images_that_have_a_position_are_untouched(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    before = images_in(folder)
    ran = interpolate(folder, *FILL)
    assert "3 found = 1 interpolated + 2 skipped + 0 failed" in ran.stdout
    assert [name for name, content in images_in(folder).items() if content != before[name]] == [
        "0002.jpg"
    ]


def test_image_with_a_position_but_no_time_has_nothing_missing(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    making.photo(folder / "x.jpg", lat=1.0, lon=2.0, time=None)
    assert interpolate(folder, *FILL).code == 0


def test_image_with_neither_position_nor_time_fails(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    making.photo(folder / "x.jpg", time=None)
    ran = interpolate(folder, *FILL)
    assert (
        ran.code == 1
        and "x.jpg: has no capture time" in ran.stdout
        and places(folder)[1] == (1.0001, 2.0, None)
    )


def test_filled_position_is_in_the_description_after_process(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    interpolate(folder, *FILL)
    assert (
        process(folder).code == 0
        and making.description(folder / "0002.jpg")["MAPLatitude"] == 1.0001
    )


def test_filling_with_keep_original_leaves_the_photos_and_writes_copies(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    before = images_in(folder)
    interpolate(folder, *FILL, "--keep_original")
    assert images_in(folder) == before and near(
        making.place(copy_of(folder / "0002.jpg")), (1.0001, 2.0, None)
    )


def test_dry_run_of_filling_writes_nothing(tmp_path):
    folder = gaps(tmp_path / "g", (1.0, 2.0), None, (1.0002, 2.0))
    before = tree(folder)
    ran = interpolate(folder, *FILL, "--dry_run")
    assert ran.code == 0 and "1 would be interpolated" in ran.stdout and tree(folder) == before


# ---- interpolate: identical timestamps in a table --------------------------------------------------------------------


def spread_table(path: Path, *options: Any) -> Ran:
    return run("interpolate", *SPREAD, "--file_in_path", path, *options)


def table(tmp_path: Path, text: Any, name: str = "times.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


PLAIN = "2024-05-06T07:08:09Z,a\n2024-05-06T07:08:09Z,b\n2024-05-06T07:08:10Z,c\n"
DONE = "2024-05-06T07:08:09Z,a\n2024-05-06T07:08:09.500000Z,b\n2024-05-06T07:08:10Z,c\n"


def test_identical_times_in_a_table_are_spread_in_place(tmp_path):
    path = table(tmp_path, PLAIN)
    ran = spread_table(path)
    assert (ran.code, path.read_text("utf-8")) == (
        0,
        DONE,
    ) and "3 found = 1 interpolated + 2 skipped + 0 failed" in ran.stdout


def test_table_with_keep_original_is_written_beside(tmp_path):
    path = table(tmp_path, PLAIN)
    assert spread_table(path, "--keep_original").code == 0
    assert tree(tmp_path) == {"times.csv": PLAIN.encode(), "times_interpolated.csv": DONE.encode()}


@pytest.mark.parametrize("options", [(), ("--keep_original",)])
def test_table_spread_twice_is_the_same_file(options, tmp_path):
    path = table(tmp_path, PLAIN)
    spread_table(path, *options)
    before = tree(tmp_path)
    assert spread_table(path, *options).code == 0 and tree(tmp_path) == before


def test_dry_run_of_a_table_writes_nothing_at_all(tmp_path):
    path = table(tmp_path, PLAIN)
    ran = spread_table(path, "--dry_run")
    assert "1 would be interpolated" in ran.stdout and tree(tmp_path) == {
        "times.csv": PLAIN.encode()
    }


def test_table_without_identical_times_is_left_alone(tmp_path):
    path = table(tmp_path, b"2024-05-06T07:08:09Z\r\n2024-05-06T07:08:10Z")
    assert (
        spread_table(path).code == 0
        and path.read_bytes() == b"2024-05-06T07:08:09Z\r\n2024-05-06T07:08:10Z"
    )


def test_header_of_a_table_is_kept(tmp_path):
    path = table(tmp_path, "time,name\n" + PLAIN)
    assert (
        spread_table(path, "--header").code == 0 and path.read_text("utf-8") == "time,name\n" + DONE
    )


@pytest.mark.parametrize(
    "style, cell, after",
    [
        ("%Y:%m:%d %H:%M:%S.%f", "2024:05:06 07:08:09.25", "2024:05:06 07:08:09.750000"),
        ("%d.%m.%Y %H:%M:%S", "06.05.2024 07:08:09", "06.05.2024 07:08:09.500000"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-05-06T09:08:09+02:00", "2024-05-06T09:08:09.500000+0200"),
        ("%Y-%m-%d %H:%M:%S %z", "2024-05-06 02:08:09 -0500", "2024-05-06 02:08:09.500000 -0500"),
    ],
)
def test_time_format_of_a_table(style, cell, after, tmp_path):
    path = table(tmp_path, f"{cell}\n{cell}\n")
    assert spread_table(path, "--time_format", style).code == 0
    assert path.read_text("utf-8").replace("+02:00", "+0200") == f"{cell}\n{after}\n".replace(
        "+02:00", "+0200"
    )


@pytest.mark.parametrize(
    "style, cell",
    [
        ("%Y:%m:%d %H:%M:%S.%f", "2024:05:06 07:08:09.25"),
        ("%d.%m.%Y %H:%M:%S", "06.05.2024 07:08:09"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-05-06T09:08:09+02:00"),
    ],
)
def test_table_in_another_format_spread_twice_is_the_same_file(style, cell, tmp_path):
    path = table(tmp_path, f"{cell}\n{cell}\n")
    spread_table(path, "--time_format", style)
    before = path.read_bytes()
    ran = spread_table(path, "--time_format", style)
    assert (ran.code, path.read_bytes()) == (0, before), ran.stdout


@pytest.mark.parametrize(
    "cell, after",
    [
        ("1714979289", "1714979289.500"),
        ("1714979289000", "1714979289500"),
        ("1714979289.25", "1714979289.750"),
        ('"1714979289,25"', '"1714979289,750"'),
    ],
)
def test_unix_times_of_a_table(cell, after, tmp_path):
    path = table(tmp_path, f"{cell},a\n{cell},b\n")
    ran = spread_table(path, "--time_utc")
    assert (ran.code, path.read_text("utf-8")) == (0, f"{cell},a\n{after},b\n")


def test_time_column_counts_from_0(tmp_path):
    path = table(tmp_path, "a,2024-05-06T07:08:09Z\nb,2024-05-06T07:08:09Z\n")
    assert spread_table(path, "--time_column", 1).code == 0
    assert path.read_text("utf-8") == "a,2024-05-06T07:08:09Z\nb,2024-05-06T07:08:09.500000Z\n"


@pytest.mark.parametrize(
    "content",
    [
        b'"2024-05-06T07:08:09Z","say ""hi""", 5 ,"x,y"\n"2024-05-06T07:08:09Z","",007,\n',
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.rstrip("\n").encode(),
        ("\ufeff" + PLAIN).encode(),
        PLAIN.replace(",b", ",Straße").encode("cp1252"),
        PLAIN.encode("utf-16"),
        b"\n" + PLAIN.encode() + b"\n\n",
        b'2024-05-06T07:08:09Z,"two\nlines"\n2024-05-06T07:08:09Z,"and\r\nmore"\n',
    ],
    ids=[
        "quotes",
        "crlf",
        "no last line end",
        "bom",
        "cp1252",
        "utf-16",
        "blank lines",
        "line breaks in cells",
    ],
)
def test_everything_but_the_changed_times_keeps_its_bytes(content, tmp_path):
    path = table(tmp_path, content)
    assert spread_table(path).code == 0
    mark, wide = "2024-05-06T07:08:09", content.startswith(b"\xff\xfe")
    before = mark.encode("utf-16-le" if wide else "ascii")
    first = content.index(before) + len(before)
    second = content.index(before, first) + len(before)
    fraction = ".500000".encode("utf-16-le" if wide else "ascii")
    assert path.read_bytes() == content[:second] + fraction + content[second:]


@pytest.mark.parametrize(
    "option, mark", [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("semicolon", ";"), ("\t", "\t")]
)
def test_delimiter_of_a_table(option, mark, tmp_path):
    path = table(tmp_path, PLAIN.replace(",", mark))
    ran = spread_table(path, "--delimiter", option)
    assert (ran.code, path.read_text("utf-8")) == (0, DONE.replace(",", mark))


def test_rows_out_of_order_keep_their_place(tmp_path):
    path = table(
        tmp_path, "2024-05-06T07:08:10Z,c\n2024-05-06T07:08:09Z,a\n2024-05-06T07:08:09Z,b\n"
    )
    spread_table(path)
    assert (
        path.read_text("utf-8")
        == "2024-05-06T07:08:10Z,c\n2024-05-06T07:08:09Z,a\n2024-05-06T07:08:09.500000Z,b\n"
    )


@pytest.mark.parametrize("cell", ["noon", "", "0001-01-01T00:00:00+14:00"])
def test_row_without_a_timestamp_is_named_kept_and_the_rest_goes_on(cell, tmp_path):
    path = table(tmp_path, f"2024-05-06T07:08:09+00:00,a\n{cell},b\n2024-05-06T07:08:09+00:00,c\n")
    ran = spread_table(path, "--time_format", "%Y-%m-%dT%H:%M:%S%z")
    assert (
        ran.code == 1
        and "line 2" in ran.stdout
        and "3 found = 1 interpolated + 1 skipped + 1 failed" in ran.stdout
    )
    assert path.read_text("utf-8").splitlines()[1] == f"{cell},b" and "09.500000" in path.read_text(
        "utf-8"
    )


@pytest.mark.skipif(os.name == "nt", reason="rights of another kind")
def test_permissions_of_a_table_stay(tmp_path):
    path = table(tmp_path, PLAIN)
    path.chmod(0o640)
    spread_table(path)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "words, said",
    [
        (SPREAD, "--import_path"),
        (SPREAD + ("--import_path", "{folder}", "--file_in_path", "{file}"), "--file_in_path"),
        (FILL + ("--file_in_path", "{file}"), "--import_path"),
        (("--import_path", "{folder}"), "--data"),
        (SPREAD + ("--file_in_path", "{file}", "--file_format", "xml"), "csv"),
        (FILL + ("--import_path", "{folder}", "--max_time_delta", "-1"), "--max_time_delta"),
        (SPREAD + ("--file_in_path", "{file}", "--time_column", "-1"), "--time_column"),
    ],
)
def test_interpolate_options_that_cannot_be_end_in_2_and_touch_nothing(words, said, ties, tmp_path):
    file = table(tmp_path, PLAIN)
    before = tree(tmp_path)
    ran = run("interpolate", [word.format(folder=ties, file=file) for word in words])
    assert (ran.code, tree(tmp_path)) == (2, before) and said in ran.stderr


def test_table_of_times_that_is_not_there_ends_in_3_and_names_its_option(tmp_path):
    ran = spread_table(tmp_path / "no.csv")
    assert ran.code == 3 and "no.csv" in ran.stderr and "--csv_path" not in ran.stderr

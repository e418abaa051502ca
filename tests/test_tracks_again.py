"""Photos and tracks, once more: days at the date line, zones that fit in part, photos and points that are off beside a
pause, starts and offsets, advice, given times, clocks that go back, and headings of tables.
"""

import datetime
from pathlib import Path
from typing import Any, Dict, List, Tuple

import making
import making_logs as logs
import mapillary_tools as mt
import pytest
from conftest import Ran, in_process, run

pytestmark = in_process
USER = ("--user_name", "demo")
START = 1714979281.0  # 2024-05-06 07:08:01 UTC
CAPTURED = "%Y_%m_%d_%H_%M_%S_%f%z"
DEGREE_M = 111200.0  # metres of a degree of latitude


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, *USER, *more)


def shot(path: Path, seconds: float, ahead: float = 0.0, **fields: Any) -> Path:
    """A photo so many seconds after the start, by a clock so many seconds ahead of UTC."""
    text = logs.stamp(START + seconds + ahead, "%Y:%m:%d %H:%M:%S")
    return making.photo(path, time=text, **dict({"pixels": int(path.stem) % 1000}, **fields))


def by_gps(seconds: float) -> Dict[str, Any]:
    """The GPS time of a photo."""
    day, clock = logs.stamp(START + seconds, "%Y:%m:%d %H:%M:%S").split()
    return {"gps_date": day, "gps_time": clock}


def track(path: Path, *spans: Tuple[int, int]) -> List[Any]:
    """Options for a track of these seconds after the start, each a segment, straight to the north."""
    segments = [[(START + n, 57.7 + n * 1e-5, 11.97) for n in range(*span)] for span in spans]
    making.gpx(segments if len(spans) > 1 else segments[0], path)
    return ["--geotag_source", "gpx", "--geotag_source_path", path]


def described(folder: Path) -> Dict[str, Tuple[float, float]]:
    """Seconds after the start, and latitude, of each photo that has a description."""
    found = {}
    for path in sorted(folder.rglob("*.jpg")):
        row = {} if ".mapillary" in path.parts else making.description(path)
        if row:
            when = datetime.datetime.strptime(row["MAPCaptureTime"] + "+0000", CAPTURED)
            found[path.name] = when.timestamp() - START, round(row["MAPLatitude"], 6)
    return found


# -- zones --

PLACES = [
    ("Tonga", 13.0, -21.13, -175.2),
    ("Samoa", 13.0, -13.83, -171.77),
    ("Kiritimati", 14.0, 1.87, -157.4),
    ("Chatham Islands", 13.75, -44.0, -176.5),
    ("Wallis", 12.0, -13.3, -176.2),
    ("American Samoa", -11.0, -14.3, -170.7),
    ("Niue", -11.0, -19.05, -169.9),
    ("Hawaii", -10.0, 21.0, -157.0),
    ("New Zealand", 13.0, -41.0, 175.0),
]


@pytest.mark.parametrize("later", [0, 36000], ids=["of one date", "of two dates"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_day_at_the_date_line_is_that_of_the_gps_date(
    tmp_path: Path, place: Tuple[str, float, float, float], later: int
) -> None:
    """In Tonga, Samoa, Kiribati and Wallis the longitude overruled a right date: all went up a day late."""
    _, zone, lat, lon = place
    for number in range(4):
        seconds = later + 5 * number
        fields = {"lat": lat + number * 1e-4, "lon": lon, **by_gps(seconds)}
        shot(tmp_path / "a" / f"{number}.jpg", seconds, zone * 3600, **fields)
    assert process(tmp_path / "a").code == 0
    assert [when for when, _ in described(tmp_path / "a").values()] == [
        later + 5.0 * number for number in range(4)
    ]


@pytest.mark.parametrize(
    ("zone", "lat", "lon"), [(-10.0, 21.0, -157.0), (13.0, -41.0, 175.0)], ids=["Hawaii", "NZ"]
)
def test_local_date_beside_a_gps_time_is_put_right_by_the_longitude(
    tmp_path: Path, zone: float, lat: float, lon: float
) -> None:
    """A guard: some receivers write the local date."""
    later = 18000 if zone < 0 else 36000
    for number in range(3):
        seconds = later + 5 * number
        day = logs.stamp(START + seconds + zone * 3600, "%Y:%m:%d")
        fields = {"lat": lat + number * 1e-4, "lon": lon, **by_gps(seconds), "gps_date": day}
        shot(tmp_path / "a" / f"{number}.jpg", seconds, zone * 3600, **fields)
    assert process(tmp_path / "a").code == 0
    assert [when for when, _ in described(tmp_path / "a").values()] == [
        later + 5.0 * number for number in range(3)
    ]


def test_zone_that_fits_in_part_is_not_taken_over_two_days(tmp_path: Path) -> None:
    """With a segment of another day a zone counted that put two thirds of the photos on the track, and that was not
    theirs.
    """
    for number in range(91):
        shot(tmp_path / "a" / f"{number}.jpg", 3600 + 60 * number, 3600)
    ran = process(tmp_path / "a", *track(tmp_path / "t.gpx", (0, 3600), (86400, 90000)))
    assert ran.code == 1 and "by the track" not in ran.stderr
    assert "with --timezone +02:00 they would meet: 61 of 91 images" in ran.stderr
    assert not described(tmp_path / "a")


# -- starts, advice, given times --


def test_offset_beside_the_start_of_the_track_counts_from_there(tmp_path: Path) -> None:
    """It cancelled out, and what was said of it was not true."""
    for number in range(3):
        shot(tmp_path / "a" / f"{number}.jpg", 10 * number - 1e8)
    words = track(tmp_path / "t.gpx", (0, 121))
    ran = process(tmp_path / "a", *words, "--use_gps_start_time", "--offset_time", "-30")
    assert ran.code == 0, ran
    assert described(tmp_path / "a") == {
        f"{n}.jpg": (30.0 + 10 * n, round(57.7 + (30 + 10 * n) * 1e-5, 6)) for n in range(3)
    }
    assert "-30 s subtracted: 2024-05-06T07:08:01.000Z becomes 2024-05-06T07:08:31" in ran.stderr


@pytest.mark.parametrize("zone", [None, "+01:00"])
def test_advice_begins_with_the_zone_that_is_in_use(tmp_path: Path, zone: Any) -> None:
    """A quarter hour in which nobody lives was all that was advised, since it met three images more."""
    for number in range(10):
        ahead = 7200 if zone is None else 10800
        shot(tmp_path / "a" / f"{number}.jpg", 60 * number, ahead, offset=zone)
    ran = process(tmp_path / "a", *track(tmp_path / "t.gpx", (170, 3600)))
    first = "--timezone +02:00" if zone is None else "--offset_time 7200"
    advice = [line for line in ran.stderr.splitlines() if "they would meet" in line]
    assert advice == [
        f"with {first} they would meet: 7 of 10 images",
        "with --offset_time 4500 they would meet: 10 of 10 images",
    ]


def given(tmp_path: Path, ahead: int) -> Path:
    """A folder of photos of which process_csv gave the times, so many seconds ahead."""
    rows = ""
    for number in range(3):
        shot(tmp_path / "a" / f"{number}.jpg", 2 * number, lat=57.7 + number * 1e-4, lon=11.97)
        rows += f"{number}.jpg,{logs.stamp(START + 2 * number + ahead, '%Y-%m-%d %H:%M:%S')}\n"
    (tmp_path / "times.csv").write_text(rows, encoding="utf-8")
    words = ("--filename_column", 1, "--timestamp_column", 2, "--time_format", "%Y-%m-%d %H:%M:%S")
    run(
        "process_csv", "--import_path", tmp_path / "a", "--csv_path", tmp_path / "times.csv", *words
    )
    return tmp_path / "a"


GIVEN = "the times of 3 images were given by process_csv or interpolate"


def test_no_offset_is_advised_for_times_that_none_moves(tmp_path: Path) -> None:
    """Who followed the advice was sent on to twice as much, for ever."""
    words = track(tmp_path / "t.gpx", (0, 60))
    for more in ((), ("--offset_time", 7200)):
        ran = process(given(tmp_path, 7200), *words, *more, "--dry_run")
        assert "they would meet" not in ran.stderr and GIVEN in ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--timezone", "+02:00"),
        ("--local_time",),
        ("--offset_time", 7200),
        ("--time_source", "gps"),
        ("--sync_point", "2024-05-06T07:08:09Z@0.jpg"),
    ],
    ids=lambda words: words[0],
)
def test_what_does_not_move_given_times_is_told(tmp_path: Path, words: Tuple[Any, ...]) -> None:
    """It changed nothing, in silence."""
    folder = given(tmp_path, 0)
    assert GIVEN in process(folder, *words, "--dry_run").stderr
    assert GIVEN not in process(folder, "--dry_run").stderr


# -- clocks that are set back --


def at_the_end_of_summer(folder: Path, first: int) -> Path:
    """Photos every five minutes over the end of summer time, numbered from the first on."""
    change = 1729990800.0 - START  # 2024-10-27 01:00 UTC
    for number in range(12):
        seconds = change + 300 * (number - 6)
        ahead = 7200 if number < 6 else 3600
        shot(folder / f"{(first + number - 1) % 9999 + 1:04d}.jpg", seconds, ahead)
    return folder


def test_clock_that_was_set_back_is_told(tmp_path: Path) -> None:
    """Both hours were taken to be one, in silence."""
    ran = process(at_the_end_of_summer(tmp_path / "a", 1), "--dry_run")
    assert "from 0007.jpg on the camera's clock is 55 minutes behind" in ran.stderr
    assert "--timezone" in ran.stderr


def test_counter_that_began_anew_is_no_clock_set_back(tmp_path: Path) -> None:
    """A guard: 9999 is followed by 1, in names before it."""
    for number in range(9):
        shot(tmp_path / "a" / f"{(9995 + number - 1) % 9999 + 1:04d}.jpg", 400 * number)
    assert "behind what it was" not in process(tmp_path / "a", "--dry_run").stderr


# -- tables --


def test_header_that_is_a_row_of_an_image_is_told(tmp_path: Path) -> None:
    """The row of the first photo was left out in silence."""
    for number in range(3):
        shot(tmp_path / "a" / f"{number}.jpg", number)
    path = tmp_path / "t.csv"
    path.write_text("a/0.jpg,1,2\n1.jpg,3,4\n2.jpg,5,6\n", encoding="utf-8")
    words = ["--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3, "--header"]
    words = ["process_csv", "--import_path", tmp_path / "a", "--csv_path", path, *words]
    assert "line 1 of the table names 0.jpg: leave out --header" in run(*words).stderr
    path.write_text("name,lat,lon\n0.jpg,1,2\n1.jpg,3,4\n2.jpg,5,6\n", encoding="utf-8")
    assert "leave out --header" not in run(*words).stderr


def read(tmp_path: Path, text: str) -> mt.Track:
    """A table of points as a track."""
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    return mt.read_track(path, "csv")


def test_local_time_beside_its_offset_is_a_time(tmp_path: Path) -> None:
    """It was refused as a table without times; without its offset it still is."""
    made = read(tmp_path, "Local Time,UTC Offset,lat,lon\n2024-05-06 09:08:01,+02:00,48.1,11.5\n")
    assert [fix.time for fix in made.points] == [START]
    made = read(tmp_path, "Local Time (UTC+2),lat,lon\n2024-05-06 09:08:01,48.1,11.5\n")
    assert [fix.time for fix in made.points] == [START]
    with pytest.raises(mt.BadTrack, match="without a column that is named time"):
        read(tmp_path, "Local Time,lat,lon\n2024-05-06 09:08:01,48.1,11.5\n")


@pytest.mark.parametrize(
    "heading", ["Quota", "Elevação", "Höjd", "Elevación", "Élévation", "Altitudine"]
)
def test_altitude_has_a_heading_in_the_languages_of_the_latitude(
    tmp_path: Path, heading: str
) -> None:
    """The altitude was lost in silence."""
    made = read(tmp_path, f"time;lat;lon;{heading}\n2024-05-06T07:08:01Z;48,1;11,5;519\n")
    assert [fix.alt for fix in made.points] == [519.0]


@pytest.mark.parametrize("letters", ["CEST", "IST", "PDT"])
def test_zone_of_letters_in_a_heading_is_refused(tmp_path: Path, letters: str) -> None:
    """It was taken as UTC in silence."""
    with pytest.raises(mt.BadTrack, match=letters):
        read(tmp_path, f"Time ({letters}),lat,lon\n2024-05-06 09:08:01,48.1,11.5\n")
    made = read(tmp_path, f"Time ({letters}),lat,lon\n2024-05-06 09:08:01+02:00,48.1,11.5\n")
    assert [fix.time for fix in made.points] == [START]


def test_time_that_cannot_be_read_is_quoted_as_it_stands(tmp_path: Path) -> None:
    """Day and time were glued together."""
    with pytest.raises(mt.BadTrack, match="is of 31-May-24 12:00:00 "):
        read(tmp_path, "date,time,lat,lon\n31-May-24,12:00:00,48.1,11.5\n")


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_epoch_of_a_table_is_read_by_its_size(tmp_path: Path, unit: int) -> None:
    """Microseconds were a time that cannot be, while a table of points had them."""
    shot(tmp_path / "a" / "0.jpg", 0, lat=57.7, lon=11.97)
    path = tmp_path / "t.csv"
    path.write_text(f"0.jpg,{int(START + 5) * unit}\n", encoding="utf-8")
    words = ("--filename_column", 1, "--timestamp_column", 2, "--convert_utc_time")
    ran = run("process_csv", "--import_path", tmp_path / "a", "--csv_path", path, *words)
    assert ran.code == 0, ran
    process(tmp_path / "a")
    assert [when for when, _ in described(tmp_path / "a").values()] == [5.0]

"""More kinds of public reports: tracks that contradict themselves, fixes that stand still, places that call themselves wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import making
import making_logs as logs
import making_tracks as tracks
import pytest
from conftest import Ran, in_process, run, told

import mapillary_tools as mt

pytestmark = in_process
START = 1714979289.0  # 2024-05-06 07:08:09 UTC
ERA = 1024 * 7 * 86400


def photo(path: Path, seconds: float, **fields: Any) -> Path:
    text = logs.stamp(START + seconds, "%Y:%m:%d %H:%M:%S")
    fields = dict({"offset": "+00:00", "pixels": int(seconds) % 251}, **fields)
    return making.photo(path, time=text, **fields)


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, "--user_name", "demo", *more)


def by_track(folder: Path, track: Path, *more: Any) -> Ran:
    return process(folder, "--geotag_source", "gpx", "--geotag_source_path", track, *more)


def ride(count: int = 60, first: float = 0.0) -> List[Any]:
    return [(START + first + n, 57.7 + n * 1e-4, 11.97) for n in range(count)]


def lat(path: Path) -> float:
    return round(making.description(path)["MAPLatitude"], 6)


# ---- tracks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [ERA, 2 * ERA, -ERA])
def test_points_of_other_1024_weeks_are_taken_into_those_of_the_others(apart: int, tmp_path: Path):
    """Photos an hour and a month behind the end were placed on the way to a point of 2043."""
    points = ride()
    points[12] = (points[12][0] + apart, *points[12][1:])
    for number, seconds in enumerate((10, 12, 3600, 30 * 86400)):
        photo(tmp_path / "p" / f"{number}.jpg", seconds)
    ran = by_track(tmp_path / "p", making.gpx(points, tmp_path / "t.gpx"))
    assert "2 failed" in ran.stdout and "1 point of t.gpx of another 1024 weeks" in ran.stderr
    assert [lat(tmp_path / "p" / f"{n}.jpg") for n in (0, 1)] == [57.701, 57.7012]


def test_a_receiver_that_learns_the_date_on_its_way_places_all_photos(tmp_path: Path):
    """Those of the first half were put between the two halves."""
    points = [
        (time - ERA, *place) if n < 30 else (time, *place)
        for n, (time, *place) in enumerate(ride())
    ]
    for seconds in (5, 25, 45):
        photo(tmp_path / "p" / f"{seconds}.jpg", seconds)
    assert by_track(tmp_path / "p", making.gpx(points, tmp_path / "t.gpx")).code == 0
    assert [lat(tmp_path / "p" / f"{s}.jpg") for s in (5, 25, 45)] == [57.7005, 57.7025, 57.7045]


def test_a_point_of_another_day_among_those_of_one_is_left_out(tmp_path: Path):
    points = ride()
    points[30] = (points[30][0] + 400 * 86400.0, 58.9, 11.97)
    track = mt.read_track(making.gpx(points, tmp_path / "t.gpx"))
    assert len(track.points) == 59 and track.dropped == {mt.ASTRAY: 1}


def test_honest_days_of_one_file_stay(tmp_path: Path):
    points = ride(20) + ride(20, 3 * 86400.0) + ride(20, 9 * 86400.0)
    assert len(mt.read_track(making.gpx(points, tmp_path / "t.gpx")).points) == 60


def two_rides(apart: float, path: Path) -> Path:
    """One file with two tracks, degrees apart and half a second out of step."""
    other = [(time + 0.5, north + apart, east) for time, north, east in ride()]
    return making.gpx([ride(), other], path)


def test_two_people_in_one_file_stop_the_run(tmp_path: Path):
    """Photos were placed in the middle between them."""
    photo(tmp_path / "p" / "1.jpg", 10)
    ran = by_track(tmp_path / "p", two_rides(0.05, tmp_path / "t.gpx"))
    assert ran.code == 5 and "t.gpx, track 2" in ran.stderr and "m apart" in ran.stderr
    assert making.description(tmp_path / "p" / "1.jpg") == {}


def test_of_two_receivers_in_one_file_that_were_together_one_counts(tmp_path: Path):
    photo(tmp_path / "p" / "1.jpg", 10)
    ran = by_track(tmp_path / "p", two_rides(0.0004, tmp_path / "t.gpx"))
    assert ran.code == 0 and "where both have points" in ran.stderr
    assert lat(tmp_path / "p" / "1.jpg") == 57.701


def test_a_file_beside_a_video_with_two_tracks_says_which_one_counts(tmp_path: Path):
    (tmp_path / "V1.MP4").write_bytes(tracks.movie([b"xxxx"], form=b"avc1", created=START))
    two_rides(0.05, tmp_path / "V1.gpx")
    said: List[str] = []
    own = mt.video_tracks([str(tmp_path / "V1.MP4")], said.append).get(str(tmp_path / "V1.MP4"))
    assert own is not None and len(own.track.points) == 60
    assert any("of its 2 tracks of that time" in note for note in own.track.notes)


def test_thousands_of_segments_of_one_time_are_read_in_time(tmp_path: Path):
    parts = [[(START, 57.7, 11.97), (START + 9 + n, 57.7, 11.97)] for n in range(20000)]
    assert len(mt.read_track(making.gpx(parts, tmp_path / "t.gpx")).points) == 20001


def test_segments_that_follow_each_other_are_one_track(tmp_path: Path):
    halves = [ride(30), ride(30, 30.0)]
    track = mt.read_track(making.gpx(halves, tmp_path / "t.gpx"))
    assert len(track.points) == 60 and not track.beside


@pytest.mark.parametrize("source", ["<src>network</src>", "<src>NETWORK </src>"])
def test_points_of_a_telephone_network_are_left_out(source: str, tmp_path: Path):
    """Photos were placed where a mast stands."""
    body = "".join(
        tracks.trkpt(
            57.7 + n * 1e-4,
            11.97,
            tracks.iso(START + n),
            more=source if n == 5 else "<src>gps</src>",
        )
        for n in range(20)
    )
    (tmp_path / "t.gpx").write_text(tracks.gpx(body), "utf-8")
    track = mt.read_track(tmp_path / "t.gpx")
    assert len(track.points) == 19 and track.dropped == {mt.BY_NETWORK: 1}


@pytest.mark.parametrize(
    "heading, good, bad, reason",
    [
        ("accuracy", "4", "1500", "INACCURATE"),
        ("Horizontal Accuracy (m)", "4.5", "101", "INACCURATE"),
        ("provider", "gps", "network", "BY_NETWORK"),
    ],
)
def test_rows_that_call_themselves_wrong_are_left_out(
    heading: str, good: str, bad: str, reason: str, tmp_path: Path
):
    rows = [f"time,lat,lon,{heading}"]
    rows += [
        f"{tracks.iso(START + n)},57.{n + 10},11.97,{bad if n in (3, 4) else good}"
        for n in range(20)
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", "utf-8")
    track = mt.read_track(tmp_path / "t.csv")
    assert len(track.points) == 18 and track.dropped == {getattr(mt, reason): 2}


@pytest.mark.parametrize("headings", ["time,gps_time", "gps_time,time"])
def test_a_column_of_times_that_is_empty_costs_no_point(headings: str, tmp_path: Path):
    """The empty one counted, and all points were said to be without a time."""
    rows = [f"{headings},lat,lon"]
    for n in range(20):
        when = {"time": tracks.iso(START + n), "gps_time": ""}
        rows.append(
            ",".join([*(when[name] for name in headings.split(",")), f"57.{n + 10}", "11.97"])
        )
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", "utf-8")
    assert len(mt.read_track(tmp_path / "t.csv").points) == 20


@pytest.mark.parametrize(
    "time, zoneless", [("20240506T090809+0200", False), ("20240506T070809", True), ("", False)]
)
def test_a_zone_is_only_missed_where_there_is_none(time: str, zoneless: bool, tmp_path: Path):
    body = "".join(
        tracks.trkpt(57.7 + n * 1e-4, 11.97, tracks.iso(START + n + 9)) for n in range(5)
    )
    body += tracks.trkpt(57.7, 11.97, time or None)
    (tmp_path / "t.gpx").write_text(tracks.gpx(body), "utf-8")
    track = mt.read_track(tmp_path / "t.gpx")
    assert any("without a zone" in note for note in track.notes) == zoneless
    assert (START in [fix.time for fix in track.points]) == bool(time)


# ---- NMEA ---------------------------------------------------------------------------------------


def log(path: Path, *lines: str) -> Path:
    path.write_text("\r\n".join(lines) + "\r\n", "ascii")
    return path


def rmc(n: int, mode: str = "A", clock: str = "") -> str:
    when = clock or f"0708{n:02d}.00"
    return tracks.sentence(f"GPRMC,{when},A,5742.{n:02d}00,N,01158.2000,E,1.0,0.0,060524,,,{mode}")


@pytest.mark.parametrize("mode, reason", [("E", "GUESSED"), ("S", "NO_FIX"), ("M", "NO_FIX")])
def test_places_that_no_satellite_told_are_left_out(mode: str, reason: str, tmp_path: Path):
    lines = [rmc(n, mode if 5 <= n < 8 else "A") for n in range(20)]
    track = mt.read_track(log(tmp_path / "t.nmea", *lines))
    assert len(track.points) == 17 and track.dropped == {getattr(mt, reason): 3}


def test_a_log_of_dead_reckoning_alone_is_read(tmp_path: Path):
    assert (
        len(mt.read_track(log(tmp_path / "t.nmea", *(rmc(n, "E") for n in range(9)))).points) == 9
    )


def test_an_hour_without_its_zero_is_one(tmp_path: Path):
    lines = [rmc(n, clock=f"708{n:02d}.00") for n in range(10, 20)]
    points = mt.read_track(log(tmp_path / "t.nmea", *lines)).points
    assert (len(points), points[0].time) == (10, START + 1)


def test_a_line_that_ends_before_its_checksum_counts_as_cut_off(tmp_path: Path):
    """A ZDA that ended in 20 dated its second to 2020, a GGA gave a tenth of its altitude."""
    whole = [
        tracks.sentence(f"GPGGA,0708{n:02d}.00,5742.{n:02d}00,N,01158.2000,E,1,8,0.9,1250.0,M,,M,,")
        for n in range(20)
    ]
    lines = [line for n in range(20) for line in (rmc(n), whole[n])]
    lines[11] = lines[11].partition("50.0")[0]
    track = mt.read_track(log(tmp_path / "t.nmea", *lines))
    assert track.dropped == {mt.CUT_LINES: 1}
    assert {fix.alt for fix in track.points} == {1250.0, None}


def test_a_log_without_checksums_is_read(tmp_path: Path):
    lines = [rmc(n).partition("*")[0] for n in range(20)]
    assert len(mt.read_track(log(tmp_path / "t.nmea", *lines)).points) == 20


def test_the_altitude_of_a_second_is_that_of_all_its_tenths(tmp_path: Path):
    lines = [tracks.sentence("GPGGA,070810.00,5742.0000,N,01158.2000,E,1,8,0.9,80.0,M,,M,,")]
    lines += [rmc(n, clock=f"070810.{n}0") for n in range(9)]
    assert {fix.alt for fix in mt.read_track(log(tmp_path / "t.nmea", *lines)).points} == {80.0}


# ---- photos -------------------------------------------------------------------------------------


def stamped(path: Path, seconds: float, gps_seconds: float, **fields: Any) -> Path:
    gps = logs.stamp(START + gps_seconds, "%H:%M:%S")
    place = {"lat": 57.7 + gps_seconds * 1e-5, "lon": 11.97}
    return photo(path, seconds, gps_date="2024:05:06", gps_time=gps, **{**place, **fields})


def frozen(folder: Path) -> Path:
    """20 photos, 20 s apart; the GPS stands still in ten of them."""
    for n in range(20):
        stamped(folder / f"{n:02d}.jpg", n * 20, (4 if 5 <= n < 15 else n) * 20)
    return folder


def test_a_fix_that_stands_still_is_said(tmp_path: Path):
    ran = process(frozen(tmp_path / "p"))
    assert (
        "stood still: 7 images with the fix of one up to 3.3 minutes before, 08.jpg" in ran.stderr
    )


def test_by_gps_times_the_clock_counts_where_they_stand_still(tmp_path: Path):
    """All ten were pressed into the second of the last fix."""
    ran = process(frozen(tmp_path / "p"), "--time_source", "gps")
    assert "repeat that of one before" in ran.stderr and "ahead by +0.0 s" in ran.stderr
    times = [making.description(tmp_path / "p" / f"{n:02d}.jpg")["MAPCaptureTime"] for n in (5, 14)]
    assert times == ["2024_05_06_07_09_49_000", "2024_05_06_07_12_49_000"]


def test_a_clock_that_stands_still_while_gps_times_go_on_is_said(tmp_path: Path):
    """The places were called wrong, and a table proposed."""
    for n in range(10):
        stamped(tmp_path / "p" / f"{n}.jpg", 0, n * 20, pixels=n)
    ran = process(tmp_path / "p")
    assert "in 10 images whose GPS times go on for 3.0 minutes" in ran.stderr
    assert "--time_source gps mends it" in ran.stderr


def test_a_clock_that_is_off_in_a_part_of_the_photos_is_said(tmp_path: Path):
    for n in range(12):
        stamped(tmp_path / "p" / f"{n:02d}.jpg", n * 20 + (3600 if n < 5 else 0), n * 20)
    assert (
        "is up to 60.0 minutes away from the GPS times in 5 images"
        in process(tmp_path / "p").stderr
    )


@pytest.mark.parametrize(
    "tags, words",
    [
        ({0x12: (2, "TOKYO")}, "its GPSMapDatum is TOKYO, not WGS-84"),
        ({0x0B: (5, (99, 1))}, "its GPSDOP is 99"),
        ({0x1F: (5, (5000, 1))}, "its GPSHPositioningError is 5000 m"),
        ({0x1B: (7, b"ASCII\0\0\0CELLID")}, "its GPSProcessingMethod is CELLID"),
        (
            {
                0x12: (2, "WGS-84"),
                0x0B: (5, (2, 1)),
                0x1F: (5, (4, 1)),
                0x1B: (7, b"ASCII\0\0\0GPS"),
            },
            "",
        ),
    ],
)
def test_a_position_that_calls_itself_wrong_is_said(tags: Any, words: str, tmp_path: Path):
    photo(tmp_path / "p" / "a.jpg", 0, lat=57.7, lon=11.97, more={"GPS": tags})
    ran = process(tmp_path / "p")
    assert ran.code == 0 and (f"a.jpg ({words})" in ran.stderr) == bool(words)
    assert ("may be far off" in ran.stderr) == bool(words)


def test_an_altitude_with_all_bits_set_is_none(tmp_path: Path):
    unknown = {0x05: (1, 0), 0x06: (5, (0xFFFFFFFF, 0xFFFFFFFF))}
    path = photo(tmp_path / "p" / "a.jpg", 0, lat=57.7, lon=11.97, more={"GPS": unknown})
    assert process(tmp_path / "p").code == 0 and "MAPAltitude" not in making.description(path)


@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp", "a.jpg.supplemental-metadata.json"])
def test_a_file_beside_a_photo_that_may_tell_its_position_is_named(name: str, tmp_path: Path):
    photo(tmp_path / "p" / "a.jpg", 0)
    (tmp_path / "p" / name).write_text("{}", "utf-8")
    ran = process(tmp_path / "p")
    assert ran.code == 1 and "is not read: a.jpg; write it into the photos" in ran.stderr


@pytest.mark.parametrize(
    "name, millis",
    [
        ("2024_0506_070818_999.jpg", 0),
        ("2024_0506_070818_998A.jpg", 0),
        ("20240506_070818999.jpg", 999),
    ],
)
def test_the_number_of_a_dashcam_file_is_no_fraction(name: str, millis: int, tmp_path: Path):
    path = making.photo(tmp_path / "p" / name, time=None, lat=57.7, lon=11.97)
    assert process(tmp_path / "p", "--timezone", "+00:00", "--time_source", "name").code == 0
    assert making.description(path)["MAPCaptureTime"] == f"2024_05_06_07_08_18_{millis:03d}"


# ---- copies of a photo beside it ----------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for n in range(4):
        photo(tmp_path / "p" / f"IMG_{n}.JPG", n * 5, lat=57.7 + n * 1e-3, lon=11.97)
    shutil.copy(str(tmp_path / "p" / "IMG_1.JPG"), str(tmp_path / "p" / "IMG_1 (1).JPG"))
    shutil.copy(str(tmp_path / "p" / "IMG_2.JPG"), str(tmp_path / "p" / "IMG_2 - Copy.JPG"))
    return tmp_path / "p"


def test_a_copy_beside_its_photo_is_no_picture_of_its_own(copied: Path, tmp_path: Path):
    """It got a time and a place of its own, and both went up."""
    ran = process(copied)
    assert ran.code == 0 and "4 processed + 2 skipped" in ran.stdout
    assert "IMG_1 (1).JPG of IMG_1.JPG" in ran.stderr and "spread evenly" not in ran.stderr
    assert making.description(copied / "IMG_1.JPG")["MAPCaptureTime"].endswith("07_08_14_000")
    row = told("upload", "--import_path", copied, "--stand_in", tmp_path / "received")
    assert (row["done"], row["exit_code"], row["skipped"]) == (4, 0, {"duplicate": 2})


def test_a_second_run_knows_the_copies_and_status_waits_for_none(copied: Path):
    process(copied)
    before = {path.name: path.read_bytes() for path in copied.glob("*.JPG")}
    row = told("process", "--import_path", copied, "--user_name", "demo")
    assert row["skipped"] == {"already_processed": 4, "duplicate": 2} and row["exit_code"] == 0
    assert {path.name: path.read_bytes() for path in copied.glob("*.JPG")} == before
    assert told("status", "--import_path", copied)["skipped"].get("not_processed", 0) == 0


def test_once_the_photo_is_gone_its_copy_takes_its_place(copied: Path):
    process(copied)
    (copied / "IMG_1.JPG").unlink()
    assert process(copied).code == 0
    assert making.description(copied / "IMG_1 (1).JPG")["MAPCaptureTime"].endswith("07_08_14_000")


def test_photos_of_one_second_with_other_pixels_are_no_copies(tmp_path: Path):
    for n in range(3):
        making.photo(tmp_path / "p" / f"{n}.jpg", lat=57.7, lon=11.97, pixels=n)
    assert process(tmp_path / "p").stdout.startswith("process: 3 found = 3 processed")


# ---- advice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, 3600, 7200, -900])
def test_the_offset_that_is_proposed_counts_the_one_that_was_given(given: int, tmp_path: Path):
    """It was the rest alone: who followed it was sent to and fro."""
    for n in range(5):
        photo(tmp_path / "p" / f"{n}.jpg", n * 5 + 1800)
    track = making.gpx(ride(), tmp_path / "t.gpx")
    words = ("--offset_time", given, "--dry_run")
    ran = by_track(tmp_path / "p", track, *words)
    assert "with --offset_time 1800 they would meet: 5 of 5 images" in ran.stderr
    for n in range(5):
        photo(tmp_path / "q" / f"{n}.jpg", n * 5)
    said = by_track(tmp_path / "q", track, *words).stderr
    assert ("without --offset_time they would meet" in said) == (given != 0)


@pytest.mark.parametrize("option", ["--import_path", "--timezone", "--geotag_source_path"])
def test_an_option_whose_value_is_an_empty_variable_is_named(option: str, tmp_path: Path):
    """The option behind it was taken for the value, and its value for a stray word."""
    making.drive(tmp_path / "p", 1)
    words = [] if option == "--import_path" else ["--import_path", tmp_path / "p"]
    ran = run("process", *words, option, "--user_name", "demo")
    assert ran.code == 2 and f"{option} has no value" in ran.stderr and "empty" in ran.stderr


# ---- subtitles, side files ----------------------------------------------------------------------


def cues(path: Path, *lines: str) -> Path:
    text = ""
    for n, line in enumerate(lines):
        date = logs.stamp(START + n, "%Y-%m-%d %H:%M:%S")
        text += f"{n + 1}\n00:00:{n:02d},000 --> 00:00:{n + 1:02d},000\n{date}\n{line}\n\n"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    "line, place",
    [
        ("GPS(40.4168,-3.7038,69.800) BAROMETER(91.2)", (40.4168, -3.7038, 69.8)),
        ("GPS(-3.7038,40.4168,19) BAROMETER:91.2", (40.4168, -3.7038, None)),
        ("GPS(39.9062,116.3913,12)", (39.9062, 116.3913, 12.0)),
        ("GPS(116.3913,39.9062,12)", (39.9062, 116.3913, 12.0)),
        ("GPS (40.4168, -3.7038, 12.0M)", (40.4168, -3.7038, 12.0)),
        ("GPS(W: -3.7038, N: 40.4168, 400)", (40.4168, -3.7038, 400.0)),
    ],
)
def test_latitude_and_longitude_of_a_drone_are_told_apart(line: str, place: Any, tmp_path: Path):
    """Madrid was in Kenya."""
    first = mt.read_track(cues(tmp_path / "DJI_1.SRT", line, line)).points[0]
    assert (first.lat, first.lon, first.alt) == pytest.approx(place)


@pytest.mark.parametrize("name", ["V1.gpx", "V1.MP4.gpx", "v1.mp4.GPX"])
def test_a_track_beside_a_video_is_found_by_its_whole_name_too(name: str, tmp_path: Path):
    (tmp_path / "V1.MP4").write_bytes(b"")
    making.gpx(ride(), tmp_path / name)
    assert [path.name for path in mt.side_files(tmp_path / "V1.MP4")] == [name]


# ---- CAMM ---------------------------------------------------------------------------------------


def camm(path: Path, samples: Any, created: float = START) -> mt.Track:
    media = tracks.movie(samples, b"camm", created=created)
    path.write_bytes(media)
    return mt.read_track(path)


def camm6(n: int, time: float) -> bytes:
    return tracks.camm6(time, 57.7 + n * 1e-4, 11.97, 10.0)


@pytest.mark.parametrize("created", [START, 1483228800.0, 1514764800.0])
def test_a_time_before_the_format_counts_from_1980(created: float, tmp_path: Path):
    """With the clock of a file of 2017 to 2019 it was taken for one of 2014."""
    times = [START + n - 315964800 + 18 for n in range(9)]
    track = camm(tmp_path / "v.mp4", [camm6(n, time) for n, time in enumerate(times)], created)
    assert [fix.time for fix in track.points] == [START + n for n in range(9)]


def test_places_without_a_time_beside_timed_ones_are_placed_by_the_video(tmp_path: Path):
    """All of them vanished, uncounted."""
    timed = [camm6(n, START + n) for n in range(6)]
    untimed = [tracks.camm5(57.7 + n * 1e-4, 11.97, 10.0) for n in range(6, 12)]
    track = camm(tmp_path / "v.mp4", timed + untimed)
    assert [fix.time - START for fix in track.points] == pytest.approx(list(range(12)))


@pytest.mark.parametrize("wrong", [0.0, 500000.0])
def test_a_time_field_that_tells_none_leaves_the_camera_clock(wrong: float, tmp_path: Path):
    """They were called an export without times, or of 1980."""
    track = camm(tmp_path / "v.mp4", [camm6(n, wrong + (n if wrong else 0)) for n in range(9)])
    assert track.clock == mt.CAMERA_CLOCK
    assert [fix.time for fix in track.points] == [START + n for n in range(9)]


# ---- folders ------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="a POSIX link stands for what a mount would show")
def test_a_folder_with_two_names_is_searched_once(tmp_path: Path, monkeypatch: Any):
    """Every run ended with 75, as if another one were at work there."""
    making.drive(tmp_path / "card" / "a", 3)
    making.drive(tmp_path / "card" / "b", 3)
    real = mt.folder_id
    monkeypatch.setattr(mt, "folder_id", lambda path: real(path.replace("card/b", "card/a")))
    found = mt.look_below(tmp_path / "card")
    assert len(found.images) == 3 and [Path(one).name for one in found.closed] == ["b"]


def test_others_of_a_folder_that_is_given_twice_count_once(tmp_path: Path):
    making.drive(tmp_path / "a", 3)
    (tmp_path / "a" / "x.heic").write_bytes(b"heic")
    found = mt.look_below_all([str(tmp_path / "a"), str(tmp_path / "a") + os.sep])
    assert len(found.images) == 3 and list(map(len, found.others.values())) == [1]


def test_what_cannot_be_read_is_not_promised_to_status(tmp_path: Path):
    one = mt.Problem(mt.UNREADABLE, "cannot be read")
    other = mt.Problem("no_position", "has no position")
    for problem, words in ((one, "; --verbose names all"), (other, "status --list failed")):
        problems = [problem._replace(file=f"{n}.jpg") for n in range(9)]
        assert words in mt.cause_lines(problems, False)[-1], json.dumps(words)


# ---- clocks of videos ---------------------------------------------------------------------------


def gpmf(path: Path, kind: int, clock: Any, count: int = 32) -> mt.Track:
    """A GoPro video of so many seconds whose GPS clock shows clock(second)."""
    payloads = []
    for n in range(count):
        rows = [(57.7 + (n + k / 10) * 1e-4, 11.97, 10.0) for k in range(10)]
        if kind == 9:
            stream = tracks.gps9([(clock(n) + k / 10, *row, 1.5, 3) for k, row in enumerate(rows)])
        else:
            stream = tracks.gps5(rows, clock(n))
        payloads.append(tracks.device(stream))
    path.write_bytes(tracks.movie(payloads, created=START))
    return mt.read_track(path)


@pytest.mark.parametrize("kind", [5, 9])
@pytest.mark.parametrize("pause", [30, 600])
def test_each_part_of_joined_recordings_keeps_its_times(kind: int, pause: int, tmp_path: Path):
    """Those of the first were late by the whole pause."""

    def truth(second: float) -> float:
        return START + second + (pause if second >= 12 else 0)

    track = gpmf(tmp_path / "v.mp4", kind, truth)
    for second in (0, 5, 11, 12, 20, 31):
        fix = min(track.points, key=lambda one: abs(one.lat - 57.7 - second * 1e-4))
        assert abs(fix.time - truth(second)) < 0.3, second
        assert abs((mt.at_video(track, second) or 0.0) - truth(second)) < 0.3
    assert any("is joined of 2 recordings" in note for note in track.notes)


@pytest.mark.parametrize("wrong", [2.0, -18.0, 40 * 86400.0])
@pytest.mark.parametrize("first", [4, 8, 16, 25])
def test_a_clock_that_is_put_right_on_its_way_counts_from_then_on(
    wrong: float, first: int, tmp_path: Path
):
    """A leap second was within the tolerance, and late ones made the right points wrong."""
    track = gpmf(tmp_path / "v.mp4", 9, lambda n: START + n + (wrong if n < first else 0))
    assert len(track.points) == 320
    for fix in track.points:
        assert abs(fix.time - START - (fix.lat - 57.7) * 1e4) < 0.3


def test_a_track_with_a_sample_for_each_value_of_a_gyroscope_is_read_to_its_end(
    tmp_path: Path, monkeypatch: Any
):
    """It was cut behind 262,144 samples, without a word."""
    monkeypatch.setattr(mt, "MAX_SAMPLES", 50)
    samples = [tracks.camm_gyro() if n % 10 else camm6(n, START + n) for n in range(200)]
    assert len(camm(tmp_path / "v.mp4", samples).points) == 20
    monkeypatch.setattr(mt, "_MOST_SAMPLES", 100)
    track = camm(tmp_path / "v.mp4", samples)
    assert any("100 of 200 telemetry payloads" in note for note in track.notes)


# ---- values and tables --------------------------------------------------------------------------


def test_a_turn_the_other_way_round_is_proposed_as_one(tmp_path: Path):
    """For -90 the opposite turn was meant to be meant."""
    ran = process(tmp_path, "--orientation", "-90")
    assert ran.code == 2 and "did you mean 270?" in ran.stderr
    assert "did you mean" not in process(tmp_path, "--orientation", "45").stderr


def table_of(folder: Path, text: str, *words: Any) -> Ran:
    (folder / "t.csv").write_text(text, "utf-8")
    start = ("process_csv", "--import_path", folder / "p", "--csv_path", folder / "t.csv")
    return run(*start, "--filename_column", 1, *words)


@pytest.mark.parametrize("header", [(), ("--header",)])
def test_the_line_of_a_spreadsheet_about_its_mark_is_no_row(header: Any, tmp_path: Path):
    path = photo(tmp_path / "p" / "a.jpg", 0)
    text = "sep=;\n" + ("name;north;east\n" if header else "") + "a.jpg;57.1;11.2\n"
    words = ("--latitude_column", 2, "--longitude_column", 3, "--delimiter", ";", *header)
    ran = table_of(tmp_path, text, *words)
    assert ran.code == 0 and making.place(path)[:2] == pytest.approx((57.1, 11.2))


def test_one_column_is_not_both_latitude_and_longitude(tmp_path: Path):
    """57.1 north, 57.1 east was written."""
    path = photo(tmp_path / "p" / "a.jpg", 0)
    words = ("--latitude_column", 2, "--longitude_column", 2)
    ran = table_of(tmp_path, "a.jpg,57.1,11.2\n", *words)
    assert ran.code == 2 and "one and the same: 2" in ran.stderr and making.place(path) is None


@pytest.mark.parametrize("name", ["mapillary_tools.py", "mly.py", "mapillary_tools.pyz"])
def test_the_next_command_names_what_was_started(name: str, tmp_path: Path):
    """It named a file that was not there."""
    making.drive(tmp_path / "p", 2)
    root = Path(mt.__file__).resolve().parent
    if name.endswith("z"):
        bundle = [sys.executable, str(root / "tests" / "bundle.py"), str(tmp_path / "dist")]
        subprocess.run(bundle, check=True, stdout=subprocess.DEVNULL, timeout=60)
        program = tmp_path / "dist" / name
    else:
        program = tmp_path / name
        shutil.copy(str(root / "mapillary_tools.py"), str(program))
        shutil.copytree(str(root / "vendor"), str(tmp_path / "vendor"))
    words = ["process", "--import_path", str(tmp_path / "p"), "--user_name", "demo"]
    ran = subprocess.run(
        [sys.executable, str(program), *words], stdout=subprocess.PIPE, timeout=60, check=True
    )
    (following,) = [one for one in ran.stdout.decode().splitlines() if one.startswith("next: ")]
    assert name in following


@pytest.mark.parametrize("unset", [1, 3, 9])
def test_the_first_lines_of_a_receiver_without_the_date_do_not_begin_a_video(
    unset: int, tmp_path: Path
):
    """The mean of both clocks, or 1980, was when it began."""
    lines = []
    for n in range(12):
        day = "060180" if n < unset else "060524"
        body = f"GPRMC,0708{n + 9:02d}.00,A,5742.{n:02d}00,N,01158.2000,E,1.0,0.0,{day},,,A"
        lines.append(f"[{(int(START) + n) * 1000}]{tracks.sentence(body)}")
    content = "\r\n".join(lines).encode("ascii")
    boxes = tracks.box(b"free", tracks.box(b"gps ", content))
    (tmp_path / "v.mp4").write_bytes(tracks.movie(after=boxes))
    track = mt.read_track(tmp_path / "v.mp4")
    assert track.zero == START and len(track.points) == 12 - unset


@pytest.mark.parametrize("names", ["number", "name"])
def test_a_device_whose_name_changes_loses_no_point(names: str, tmp_path: Path):
    """Those behind the change were not there, and not counted."""
    payloads = []
    for n in range(20):
        rows = [(57.7 + (n + k / 10) * 1e-4, 11.97, 10.0) for k in range(10)]
        late = n >= 10
        other: Any = (
            {"number": 2 if late else 1} if names == "number" else {"name": "B" * late or "A"}
        )
        payloads.append(tracks.device(tracks.gps5(rows, START + n), **other))
    (tmp_path / "v.mp4").write_bytes(tracks.movie(payloads, created=START))
    assert len(mt.read_track(tmp_path / "v.mp4").points) == 200


@pytest.mark.parametrize("form", ["camm", "gpmd"])
def test_a_fragmented_video_says_so(form: str, tmp_path: Path):
    """Frames behind its index were said to have had no fix."""
    samples = [camm6(n, START + n) for n in range(4)]
    if form == "gpmd":
        samples = [
            tracks.device(tracks.gps5([(57.7 + n, 11.97, 1.0)], START + n)) for n in range(4)
        ]
    content = tracks.movie(samples, form.encode("ascii"), created=START)
    at = content.index(b"moov") - 4
    size = int.from_bytes(content[at : at + 4], "big")
    inner = content[at + 8 : at + size] + tracks.box(b"mvex", bytes(8))
    (tmp_path / "v.mp4").write_bytes(
        content[:at] + tracks.box(b"moov", inner) + content[at + size :]
    )
    notes = mt.read_track(tmp_path / "v.mp4").notes
    assert any("is fragmented" in note and "WHOLE.mov" in note for note in notes), notes


def test_timed_waypoints_count_where_the_track_beside_them_tells_no_time(tmp_path: Path):
    photo(tmp_path / "p" / "1.jpg", 10)
    bare = "".join(f'<trkpt lat="{10 + n}" lon="20"/>' for n in range(3))
    timed = "".join(
        f'<rtept lat="{lat_}" lon="{lon}"><time>{logs.stamp(when, "%Y-%m-%dT%H:%M:%SZ")}</time></rtept>'
        for when, lat_, lon in ride()
    )
    text = f"<gpx><trk><trkseg>{bare}</trkseg></trk><rte>{timed}</rte></gpx>"
    track = tmp_path / "t.gpx"
    track.write_text(text, encoding="utf-8")
    assert by_track(tmp_path / "p", track).code == 0
    assert lat(tmp_path / "p" / "1.jpg") == 57.701


# ---- words that do nothing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, said",
    [
        ("--duplicate_distance 3", "--duplicate_distance does nothing without --flag_duplicates"),
        ("--duplicate_distance 3 --flag_duplicates", None),
        ("--duplicate_distance 0.1", None),
        (
            "--skip_EXIF_insert --keep_original",
            "--keep_original does nothing with --skip_EXIF_insert",
        ),
        (
            "--video_start_time 1700000000000",
            "--video_start_time does nothing without --videos sample",
        ),
        ("--video_start_time 1700000000000 --videos upload", None),
        ("--video_sample_interval 1 --videos upload", "--video_sample_interval does nothing"),
        ("--video_sample_interval 1 --videos sample", None),
    ],
)
def test_an_option_that_does_nothing_beside_the_others_is_said(
    words: str, said: Any, tmp_path: Path
):
    making.drive(tmp_path / "p", 3)
    ran = process(tmp_path / "p", "--dry_run", *words.split())
    assert ran.code == 0
    assert (said or "does nothing") in ran.stderr or said is None
    assert said is not None or "does nothing" not in ran.stderr


def test_an_option_that_does_nothing_is_a_note_of_an_embedded_run(tmp_path: Path):
    making.drive(tmp_path / "p", 3)
    report = mt.process(
        mt.Input(str(tmp_path / "p")),
        mt.User("demo"),
        mt.SequenceOptions(duplicate_angle=1.0),
        mt.Dry(dry_run=True),
    )
    assert "--duplicate_angle does nothing" in report.notes[0]


@pytest.mark.parametrize(
    "content, header", [("", False), ("\n\n", False), ("a,b,c\n", True), ("sep=,\n", False)]
)
def test_a_table_without_a_row_is_an_error(content: str, header: bool, tmp_path: Path):
    making.drive(tmp_path / "p", 3)
    table = tmp_path / "t.csv"
    table.write_text(content, encoding="utf-8")
    columns = "--filename_column 1 --latitude_column 2 --longitude_column 3".split()
    ran = run(
        "process_csv",
        "--import_path",
        tmp_path / "p",
        "--csv_path",
        table,
        *columns,
        *["--header"] * header,
    )
    assert ran.code == 5 and "t.csv: has no row" in ran.stderr


def test_a_video_that_would_be_left_out_by_a_second_one_is_refused(tmp_path: Path):
    words = ("--import_path", tmp_path, "--video_path", "one.mp4", "--video_path")
    ran = run("sample_video", *words, "two.mp4")
    assert (
        ran.code == 2
        and "--video_path is given twice, and can be but one: one.mp4, two.mp4" in ran.stderr
    )
    assert "given twice" not in run("sample_video", *words, "one.mp4").stderr


def test_a_page_is_not_printed(tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    making.drive(tmp_path / "p", 3)
    assert process(tmp_path / "p").code == 0
    assert run("report", "--import_path", tmp_path / "p", "--output_path", "-").code == 2
    assert process(tmp_path / "p", "--report", "-").code == 2
    assert os.listdir(tmp_path) == ["p"]

"""Tracks as receivers, loggers and spreadsheets leave them: odd days and zones, parts of another
era, rows without reception, courses while standing.
"""

import random
import re
import time
from pathlib import Path
from typing import Any, Callable, List, Tuple

import making
import making_logs as logs
import making_videos as videos
import pytest
from conftest import in_process, run
from making_tracks import CLIP_SECONDS, device, gps9, gpx, iso, rmc, sentence, trkpt
from test_recordings import blackvue, needs_ffmpeg, sampled
from test_tracks import put, times

import mapillary_tools as mt

pytestmark = in_process
ERA = 1024 * 7 * 86400
MIDNIGHT = (CLIP_SECONDS // 86400 + 1) * 86400
POINTS = "".join(trkpt(45 + n * 1e-4, 7, iso(CLIP_SECONDS + n)) for n in range(9))


def csv(folder: Path, headings: str, *rows: str) -> mt.Track:
    """The track of a table."""
    return mt.read_track(put(folder, "t.csv", "\n".join([headings, *rows, ""])))


def placed(folder: Path, headings: str, *cells: str) -> mt.Track:
    """The track of a table of times, each row on another place."""
    rows = (f"{cell},45.{1000 + n},7.2" for n, cell in enumerate(cells))
    return csv(folder, headings + ",lat,lon", *rows)


def shots(folder: Path, *seconds: float, **fields: Any) -> Path:
    """A folder of photos without places, so many seconds after the begin of the recordings."""
    for number, when in enumerate(seconds):
        text = logs.stamp(CLIP_SECONDS + when, "%Y:%m:%d %H:%M:%S")
        name = f"{fields.get('make', '')}{number:02d}.jpg"
        making.photo(folder / name, pixels=number, time=text, offset="+00:00", **fields)
    return folder


def processed(photos: Path, kind: str, track: Path, *more: str) -> Tuple[List[Any], str]:
    """The latitude of each photo by a track, None where it has none, and what is said."""
    where = ("--geotag_source", kind, "--geotag_source_path", track)
    ran = run("process", "--import_path", photos, "--user_name", "demo", *where, *more)
    rows = (making.description(path) for path in sorted(photos.glob("*.jpg")))
    return [row.get("MAPLatitude") for row in rows], ran.stdout + ran.stderr


# ---- a video's own track ------------------------------------------------------------------------


def resting(seconds: float, noise: random.Random) -> Tuple[float, float]:
    """A ride north for 4 s; a rest until 9 s, with a receiver's noise; then east."""
    if seconds < 4:
        return 47 + 9e-5 * seconds, 8.0
    if seconds < 9:
        return 47 + 36e-5 + noise.uniform(-4e-7, 4e-7), 8 + noise.uniform(-4e-7, 4e-7)
    return 47 + 36e-5, 8 + 13e-5 * (seconds - 9)


def gopro(
    path: Path, seconds: int, place: Callable[[float], Any], fixed: Callable[[int], bool]
) -> None:
    """A film with a place at each tenth of a second, a fix in those seconds that have one."""
    payloads = []
    for second in range(seconds):
        whens = [second + n / 10 for n in range(10)]
        fix = 3 if fixed(second) else 0
        rows = [(CLIP_SECONDS + when, *place(when), 400.0, 1.5, fix) for when in whens]
        payloads.append(device(gps9(rows)))
    path.write_bytes(videos.film(path, seconds=seconds).add(payloads, b"gpmd").content())


def rest_of_a_gopro(path: Path) -> None:
    noise = random.Random(3)
    gopro(path, 12, lambda when: resting(when, noise), lambda second: True)


def rest_of_a_blackvue(path: Path) -> None:
    noise, lines = random.Random(3), []
    for n, course in enumerate([0, 0, 0, 0, 123.4, 222.2, 10.1, 310, 77.7, 90, 90, 90]):
        when = CLIP_SECONDS + n
        lines.append(f"[{when * 1000:.0f}]{rmc(when, *resting(n, noise), course=str(course))}")
    blackvue(path, lines, seconds=12)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "card").mkdir()
    return tmp_path / "card"


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("make", [rest_of_a_gopro, rest_of_a_blackvue], ids=["GoPro", "BlackVue"])
def test_frames_of_a_rest_have_the_last_course_of_the_ride(make, card):
    make(card / "a.mp4")
    sampled(card.parent)
    rows = [making.description(path) for path in sorted(card.parent.glob("frames/*.jpg"))]
    headings = [row["MAPCompassHeading"]["TrueHeading"] for row in rows]
    assert [round((heading + 180) % 360 - 180) for heading in headings[5:9]] == [0] * 4
    assert headings[10] == pytest.approx(90, abs=1)


@needs_ffmpeg
@pytest.mark.slow
def test_what_a_video_s_own_track_lacks_is_said(card):
    def place(when: float) -> Tuple[float, float]:
        return 49.0 if 90 <= when < 91 else 47 + 9e-5 * when, 8.0

    gopro(card / "a.mp4", 100, place, lambda second: not 10 <= second < 85)
    notes = sampled(card.parent, every=30.0)["said"]
    wanted = ("750 points left out: " + mt.NO_FIX, "10 points left out: " + mt.WILD, "1 hole of")
    assert [words for words in wanted if words not in notes] == [], notes


# ---- clocks of photos ---------------------------------------------------------------------------


SYNC = (f"{mt.format_time(CLIP_SECONDS + 9.4)}@00.jpg",)
CLOCKS = [({"offset_time": 0.6}, 0.6), ({"offset_time": -0.3}, -0.3), ({"sync_point": SYNC}, 0.6)]


@pytest.mark.parametrize("options, ahead", CLOCKS, ids=["ahead", "behind", "sync point"])
def test_evenly_spaced_shots_stay_in_the_seconds_that_the_camera_wrote(options, ahead, tmp_path):
    written = [int(10.7 + 0.75 * n) for n in range(12)]
    shots(tmp_path, *written, lat=45.0, lon=7.0)
    geotagging = mt.Geotagging(sub_second_interval=0.75, **options)
    report = mt.process(mt.Input(str(tmp_path)), mt.User("demo"), geotagging=geotagging)
    whens = sorted(image.time - CLIP_SECONDS + ahead for image in report.images)
    assert [int(when + 0.001) for when in whens] == written
    assert [b - a for a, b in zip(whens, whens[1:])] == pytest.approx([0.75] * 11, abs=0.002)


def test_each_camera_of_a_folder_starts_where_the_track_does(tmp_path):
    photos = shots(tmp_path / "p", 10, 12, 14, make="A")
    shots(photos, 10810, 10812, 10814, make="B")
    track = put(tmp_path, "a.gpx", gpx(POINTS))
    lats, _ = processed(photos, "gpx", track, "--use_gps_start_time")
    assert lats == pytest.approx([45, 45.0002, 45.0004] * 2, abs=2e-6)


ODD = "2024-05-31T15:00:00+15:00"
START = ("video_process", "--video_path", "a.mp4", "--video_start_time", ODD)
SYNCED = ("process", "--sync_point", ODD + "@00.jpg")


@pytest.mark.parametrize("words", [START, SYNCED], ids=["video_start_time", "sync_point"])
def test_a_time_whose_zone_cannot_be_is_refused(words, tmp_path):
    photos = shots(tmp_path, 0, lat=45.0, lon=7.0)
    ran = run(words, "--import_path", photos, "--user_name", "demo", "--advanced")
    assert ran.code == 2 and ODD in ran.stderr, ran


def test_a_point_whose_zone_cannot_be_is_left_out(tmp_path):
    track = mt.read_track(put(tmp_path, "a.gpx", gpx(POINTS + trkpt(45, 7, ODD))))
    assert times(track) == list(range(9)) and track.dropped == {mt.ODD_TIME: 1}


# ---- logs of receivers --------------------------------------------------------------------------


def sentences(seconds: Any, back: float = 0.0, lat: float = 45.0) -> List[str]:
    """A ride north, with a clock that is so many seconds back."""
    return [rmc(CLIP_SECONDS - back + n, lat + n * 1e-4, 7) for n in seconds]


def nmea(folder: Path, *parts: List[str], name: str = "a.nmea") -> Path:
    return put(folder, name, "\r\n".join(sum(parts, [])) + "\r\n")


@pytest.mark.parametrize(
    "seconds, lats",
    [((5, 10, 3605, 3610), [45.0005, 45.001, 46.0005, 46.001]), ((3605,), [46.0005])],
    ids=["of both", "of the second alone"],
)
def test_a_log_1024_weeks_back_beside_one_of_today_is_taken_later(seconds, lats, tmp_path):
    (tmp_path / "logs").mkdir()
    nmea(tmp_path / "logs", sentences(range(30)))
    nmea(tmp_path / "logs", sentences(range(30), ERA - 3600, 46.0), name="b.nmea")
    found, told = processed(shots(tmp_path / "p", *seconds), "nmea", tmp_path / "logs")
    assert found == pytest.approx(lats, abs=2e-6)
    assert "1024 weeks before the others" in told


@pytest.mark.parametrize(
    "wrong, odd",
    [(range(10), ERA), (range(10, 11), 365 * 86400)],
    ids=["the first sentences 1024 weeks back", "a single wrong year"],
)
def test_sentences_of_another_day_are_taken_as_those_around_them(wrong, odd, tmp_path):
    lines = [sentences([n], odd if n in wrong else 0.0) for n in range(30)]
    track = mt.read_track(nmea(tmp_path, *lines))
    assert times(track) == list(range(30))
    assert f"the date of {mt.plural(len(wrong), 'sentence')} is not" in "".join(track.notes)


def test_a_date_that_changes_late_at_midnight_places_no_photo_of_the_day_before(tmp_path):
    late = sentence("GPRMC,000000.00,A,4500.012,N,00700.000,E,10,84,310524,,,A")
    seconds = [int(MIDNIGHT - CLIP_SECONDS) + n for n in range(-2, 4)]
    log = nmea(tmp_path, sentences(seconds[:2]), [late], sentences(seconds[3:]))
    assert times(mt.read_track(log)) == seconds
    (before, at_log), _ = processed(shots(tmp_path / "p", 600, seconds[1]), "nmea", log)
    assert before is None and at_log is not None


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lat, lon, place",
    [
        ("51 28.700", "-0 12.500", (51.4783333, -0.2083333)),
        ("-0 28.700", "0 12.500", (-0.4783333, 0.2083333)),
        ("-0°06'00.5\"", "-0°12'00.5\"", (-0.1001389, -0.2001389)),
    ],
    ids=["west of Greenwich", "south of the equator", "seconds"],
)
def test_minus_zero_degrees_and_some_minutes(lat, lon, place, tmp_path):
    (point,) = csv(tmp_path, "time\tlat\tlon", f"2024-05-31T12:00:00Z\t{lat}\t{lon}").points
    assert (point.lat, point.lon) == pytest.approx(place, abs=1e-7)


@pytest.mark.parametrize("side, lat", [("N", None), ("S", -33.1)])
def test_minus_and_north_is_no_place(side, lat, tmp_path):
    """South is a guard."""
    rows = (f"2024-05-31T12:00:0{n}Z,{text},7.2" for n, text in enumerate(("-33.1,%s", "33.2,N")))
    track = csv(tmp_path, "time,lat,ns,lon", *(row.replace("%s", side) for row in rows))
    assert [fix.lat for fix in track.points] == [*([] if lat is None else [lat]), 33.2]
    assert list(track.dropped) == ["with a place that cannot be read"] * (lat is None)


@pytest.mark.parametrize(
    "heading, cell, alt, course",
    [
        ("altitudeFeet", "1000", 304.8, None),
        ("ALTITUDE_FT", "1000", 304.8, None),
        ("altitude (km)", "0.5", 500.0, None),
        ("altitude (cm)", "50000", 500.0, None),
        ("course (rad)", "1.5707963", None, 90.0),
    ],
)
def test_units_of_headings(heading, cell, alt, course, tmp_path):
    """ALTITUDE_FT is a guard."""
    (point,) = csv(tmp_path, "time,lat,lon," + heading, "2024-05-31T12:00:00Z,45,7," + cell).points
    found = {"alt": point.alt, "course": point.course}
    assert found == pytest.approx({"alt": alt, "course": course}, abs=1e-4)


@pytest.mark.parametrize(
    "heading, bad, good, reason",
    [
        ("fix", "0", "3", mt.NO_FIX),
        ("satellites", "0", "9", mt.NO_SATELLITES),
        ("satellites", "2", "9", mt.BAD_RECEPTION),
        ("hdop", "99", "0.9", mt.BAD_RECEPTION),
        ("status", "V", "A", mt.NO_FIX),
    ],
)
def test_rows_without_reception_are_left_out(heading, bad, good, reason, tmp_path):
    rows = (f"2024-05-31T12:00:0{n}Z,45.{n},7,{bad if n < 3 else good}" for n in range(6))
    track = csv(tmp_path, "time,lat,lon," + heading, *rows)
    assert times(track) == [3, 4, 5] and track.dropped == {reason: 3}


def test_a_logger_that_always_writes_no_satellites_is_kept(tmp_path):
    """A guard."""
    rows = (f"2024-05-31T12:00:0{n}Z,45.{n},7,0" for n in range(6))
    track = csv(tmp_path, "time,lat,lon,satellites", *rows)
    assert times(track) == list(range(6)) and not track.dropped


ZONES = ["(UTC+2)", "UTC+02:00", "[-05:00]", "(Europe/Berlin)", "(UTC)"]


@pytest.mark.parametrize("zone, hour", list(zip(ZONES, [14, 14, 7, 14, 12])))
def test_zone_in_a_heading(zone, hour, tmp_path):
    """UTC is a guard."""
    if "Berlin" in zone and not pytest.importorskip("zoneinfo").available_timezones():
        pytest.skip("zoneinfo has no data here")
    track = placed(tmp_path, "time " + zone, *(f"2024-05-31 {hour:02d}:00:0{n}" for n in range(3)))
    assert times(track) == [0, 1, 2]


OFFSETS = [(("0", "0", "1", "1", "2", "2"), 12), (("+02:00",) * 6, 14)]


@pytest.mark.parametrize("zones, hour", OFFSETS, ids=["numbers", "zones"])
def test_a_column_called_offset_is_one_of_zones_where_it_may_be(zones, hour, tmp_path):
    """The zones are a guard."""
    rows = (f"2024-05-31 {hour}:00:0{n},{zone}" for n, zone in enumerate(zones))
    assert times(placed(tmp_path, "time,offset", *rows)) == list(range(6))


@pytest.mark.parametrize(
    "heading, days, first, noted",
    [
        ("date (ddmmyy)", ("120524",), "2024-05-12", False),
        ("date", ("290524", "300524", "310524", "010624"), "2024-05-29", False),
        ("date", ("010524",), "2024-05-01", False),
        ("date", ("120524",), "2012-05-24", True),
        ("date", ("240531",), "2024-05-31", False),
    ],
    ids=["by the heading", "by the other days", "by the year", "either way", "year first"],
)
def test_days_of_six_digits(heading, days, first, noted, tmp_path):
    """The year first is a guard."""
    track = placed(tmp_path, heading + ",time", *(f"{day},12:00:00" for day in days))
    begin = mt.parse_time(first + "T12:00:00Z")
    assert [fix.time for fix in track.points] == [begin + 86400 * n for n in range(len(days))]
    assert any("days of six digits" in note for note in track.notes) == noted


@pytest.mark.parametrize(
    "headings, cells, seconds",
    [
        ("time,ms", ("2024-05-31 12:00:00,250", "2024-05-31 12:00:01,0"), [0.25, 1]),
        ("time,milliseconds", ("2024-05-31 12:00:00,7", "2024-05-31 12:00:01,990"), [0.007, 1.99]),
        ("date,time", ("2024-05-31,43200.5", "2024-05-31,43261.5"), [0.5, 61.5]),
        ("time", ("12:00:00 31/05/2024", "12:00:01 31/05/2024"), [0, 1]),
    ],
    ids=["ms", "milliseconds", "seconds of the day", "the day behind"],
)
def test_times_in_parts(headings, cells, seconds, tmp_path):
    assert times(placed(tmp_path, headings, *cells)) == pytest.approx(seconds, abs=0.001)


def test_a_track_that_counts_from_1980_is_moved_to_meet_the_images(tmp_path):
    begin = int(CLIP_SECONDS) - 315964800 + 18  # as GPS counts, in 2024
    rows = [f"{begin + n},{45 + n * 1e-4:.4f},7.0" for n in range(30)]
    put(tmp_path, "t.csv", "\n".join(["gpstime,lat,lon", *rows, ""]))
    lats, told = processed(shots(tmp_path / "p", 5, 20), "csv", tmp_path / "t.csv")
    assert lats == pytest.approx([45.0005, 45.002], abs=2e-6) and "count from 1980" in told


# ---- XML ----------------------------------------------------------------------------------------


def test_points_of_gpx_with_a_prefix_that_the_root_declares(tmp_path):
    root = ' xmlns="urn:x" xmlns:g="http://www.topografix.com/GPX/1/1"'
    text = re.sub(r"<(/?)(trk\w*|time)", r"<\1g:\2", gpx(POINTS, namespace=root))
    assert times(mt.read_track(put(tmp_path, "a.gpx", text))) == list(range(9))


def test_coordinates_of_kml_with_blanks_behind_commas(tmp_path):
    points = [(CLIP_SECONDS + n, 45 + n / 4, 7.25, 100.0 + n) for n in range(3)]
    marks = "".join(map(logs.point_mark, points)).replace(",", ", ")
    track = mt.read_track(put(tmp_path, "a.kml", logs.kml(marks)))
    assert [fix[:4] for fix in track.points] == points


def cost(path: Path) -> float:
    """The least of three, in seconds of the processor, that it takes to read the nine points."""
    spent = []
    for _ in range(3):
        begin = time.process_time()
        assert times(mt.read_track(path)) == list(range(9))
        spent.append(time.process_time() - begin)
    return min(spent)


def test_names_that_are_not_closed_cost_no_more_than_those_that_are(tmp_path):
    """The other file is not closed once, so that both are read as often."""
    many = put(tmp_path, "many.gpx", gpx(POINTS, tail="<name>" * 80000))
    once = put(tmp_path, "once.gpx", gpx(POINTS, tail="<name>" + "<name></name>" * 80000))
    spent = cost(many), cost(once)
    assert spent[0] < 1.7 * spent[1], spent

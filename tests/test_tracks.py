"""Floor 7: what track files and videos say, held against gpxpy, pynmea2, exiftool and readers written here."""

import re
import shutil
import struct
import subprocess
import time
from pathlib import Path

import mapillary_tools as mt
import pytest
from conftest import soon
from making_tracks import (
    CLIP_SECONDS,
    accelerations,
    box,
    camm5,
    camm6,
    camm_gyro,
    device,
    gga,
    gll,
    gps5,
    gps9,
    gpx,
    hero5_style,
    iso,
    judge_camm,
    judge_gopro,
    klv,
    movie,
    nest,
    ride,
    rmc,
    sentence,
    text,
    trkpt,
    words,
    zda,
)


SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)
POINT = trkpt(45.0, 7.0, "2024-05-31T12:00:00Z", 200)


def video_start(path):
    """UTC seconds of video time 0 and the name of the clock, None where no telemetry with GPS time tells it."""
    track = mt.movie_track(path)
    return None if track is None or track.gps_zero is None else (track.gps_zero, track.clock)


def put(folder, name, content):
    """Write a file and give its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def times(track):
    """Times of a track counted from the made recordings' begin."""
    return [round(fix.time - CLIP_SECONDS, 3) for fix in track.points]


def problem(error):
    """The Problem of a raised ToolError."""
    return error.value.problem


def close(mine, judge, within=1e-6):
    """Whether two lists of rows hold the same numbers; None is like None only."""
    mine, judge = [list(row) for row in mine], [list(row) for row in judge]
    return [len(row) for row in mine] == [len(row) for row in judge] and all(
        a is b or (a is not None and b is not None and abs(a - b) <= within)
        for row, other in zip(mine, judge)
        for a, b in zip(row, other)
    )


def refused(path, kind="auto"):
    """The Problem with which a file is refused."""
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path, kind)
    assert problem(error).file == str(path) and problem(error).remedy
    return problem(error)


# GPX


def test_gpx_gives_points_with_altitude_and_segments(tmp_path):
    path = put(
        tmp_path,
        "a.gpx",
        gpx(
            POINT + trkpt(45.1, 7.1, "2024-05-31T12:00:01.5Z"),
            "",
            trkpt(45.2, -7.2, "2024-05-31T12:01:00Z", -3.5),
        ),
    )
    track = mt.read_track(path)
    assert track.points == [
        mt.Fix(CLIP_SECONDS, 45.0, 7.0, 200.0),
        mt.Fix(CLIP_SECONDS + 1.5, 45.1, 7.1),
        mt.Fix(CLIP_SECONDS + 60, 45.2, -7.2, -3.5),
    ]
    assert (track.starts, track.clock, track.dropped, track.notes) == ([0, 2], "GPX", {}, [])


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="http://www.topografix.com/GPX/1/0"', ' xmlns="x:y" xmlns:g="z"']
)
def test_gpx_namespace_does_not_matter(tmp_path, namespace):
    assert len(mt.read_track(put(tmp_path, "a.gpx", gpx(POINT, namespace=namespace))).points) == 1


def test_gpx_with_prefixed_names_is_read(tmp_path):
    body = re.sub(r"<(/?)(\w+)", r"<\1g:\2", gpx(POINT).split("\n", 1)[1]).replace(
        "xmlns=", "xmlns:g="
    )
    assert mt.read_track(put(tmp_path, "a.gpx", body)).points == [
        mt.Fix(CLIP_SECONDS, 45.0, 7.0, 200.0)
    ]


def test_gpx_takes_direct_children_only(tmp_path):
    more = "<extensions><time>1999-01-01T00:00:00Z</time><e><ele>9</ele></e></extensions>"
    body = gpx(f'<trkpt lat="1" lon="2">{more}<time>2024-05-31T12:00:00Z</time>{more}</trkpt>')
    assert mt.read_track(put(tmp_path, "a.gpx", body)).points == [mt.Fix(CLIP_SECONDS, 1.0, 2.0)]


def test_gpx_course_of_version_1_0_is_kept(tmp_path):
    body = gpx(
        "".join(
            trkpt(1, 2 + i, iso(CLIP_SECONDS + i), more=f"<course>{course}</course>")
            for i, course in enumerate(["0", "359.5", "360", "-1", "x", "NaN"])
        )
    )
    assert [fix.course for fix in mt.read_track(put(tmp_path, "a.gpx", body)).points] == [
        0.0,
        359.5,
        0.0,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    "written, seconds",
    [
        ("2024-05-31T12:00:00Z", 0),
        ("2024-05-31t12:00:00z", 0),
        ("\n 2024-05-31T12:00:00Z \n", 0),
        ("2024-05-31T12:00:00", 0),
        ("2024-05-31T14:00:00+02:00", 0),
        ("2024-05-31T04:00:00-0800", 0),
        ("2024-05-31T17:30:00+05:30", 0),
        ("2024-05-31T12:00:00.1234567Z", 0.123),
        ("2024-05-31T12:00:00,5Z", 0.5),
        ("2024-05-31T12:00:00.999999999+00:00", 1.0),
        ("2024-05-31T12:00Z", 0),
        ("2024-05-30T24:00:00Z", -43200),
        ("2024-05-31T11:59:60Z", 0),
        ("2024-05-31T13:00:00+01", 0),
        ("2024-05-31 12:00:00Z", 0),
    ],
)
def test_gpx_time_of_every_form_is_understood(tmp_path, written, seconds):
    assert times(mt.read_track(put(tmp_path, "a.gpx", gpx(trkpt(1, 2, written))))) == [seconds]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "noon",
        "2024-05-31",
        "2024-W22-5T12:00:00Z",
        "2024-13-31T12:00:00Z",
        "2024-02-30T12:00:00Z",
        "2024-05-31T25:00:00Z",
        "2024-05-31T12:61:00Z",
        "2024-05-31T12:00:99Z",
        "2024-05-31T12:00:00ZZ",
        "9999-12-31T23:59:59Z",
    ],
)
def test_gpx_time_that_is_none_drops_the_point(tmp_path, written):
    track = mt.read_track(put(tmp_path, "a.gpx", gpx(POINT + trkpt(1, 2, written))))
    reason = "with times that cannot be" if written else "without a time"
    assert times(track) == [0] and track.dropped == {reason: 1}
    assert not written or written in track.notes[-1]


@pytest.mark.parametrize(
    "lat, lon, reason",
    [
        ("abc", "7", "with a place that cannot be read"),
        ("", "7", "with a place that cannot be read"),
        ("1,5", "7", "with a place that cannot be read"),
        ("NaN", "7", "with a place that cannot be read"),
        ("91", "7", "outside the range of latitude and longitude"),
        ("7", "190", "outside the range of latitude and longitude"),
        ("0", "0", "at exactly 0,0"),
        ("0.000", "-0.0", "at exactly 0,0"),
    ],
)
def test_gpx_place_that_is_none_drops_the_point_with_its_reason(tmp_path, lat, lon, reason):
    track = mt.read_track(
        put(tmp_path, "a.gpx", gpx(POINT + trkpt(lat, lon, "2024-05-31T12:00:05Z")))
    )
    assert times(track) == [0] and track.dropped == {reason: 1}


def test_gpx_equator_and_greenwich_are_places(tmp_path):
    body = gpx(
        trkpt("0", "7", iso(CLIP_SECONDS))
        + trkpt("51", "0", iso(CLIP_SECONDS + 1))
        + trkpt("90", "-180", iso(CLIP_SECONDS + 2))
    )
    assert len(mt.read_track(put(tmp_path, "a.gpx", body)).points) == 3


def test_gpx_altitude_that_is_none_keeps_the_place_and_is_said(tmp_path):
    track = mt.read_track(
        put(
            tmp_path,
            "a.gpx",
            gpx(
                trkpt(1, 2, "2024-05-31T12:00:00Z", "12,3")
                + trkpt(1, 2, "2024-05-31T12:00:01Z", "NaN")
                + trkpt(1, 2, "2024-05-31T12:00:02Z", 0)
            ),
        )
    )
    assert [fix.alt for fix in track.points] == [None, None, 0.0] and track.notes == [
        "2 altitudes in a.gpx cannot be read and were left out"
    ]


def test_gpx_out_of_order_is_sorted_and_said(tmp_path):
    body = gpx(
        "".join(
            trkpt(1, 2 + i, iso(CLIP_SECONDS + second)) for i, second in enumerate([5, 3, 4, 3])
        )
    )
    track = mt.read_track(put(tmp_path, "a.gpx", body))
    assert times(track) == [3, 4, 5] and track.points[0].lon == 3.0, (
        "of two points at one time the first stays"
    )
    assert track.notes == ["points of a.gpx were out of order and have been sorted by time"]
    assert track.dropped == {"at the time of another point": 1}


def test_gpx_waypoints_and_routes_count_only_without_a_track(tmp_path):
    wpt, rtept = (
        trkpt(3, 3, iso(CLIP_SECONDS + 3), kind="wpt"),
        trkpt(4, 4, iso(CLIP_SECONDS + 4), kind="rtept"),
    )
    tail = f"{wpt}<rte>{rtept}</rte>"
    assert times(mt.read_track(put(tmp_path, "a.gpx", gpx(POINT, tail=tail)))) == [0]
    assert times(mt.read_track(put(tmp_path, "b.gpx", gpx(tail=tail)))) == [3, 4]


@pytest.mark.parametrize(
    "encoding, mark",
    [("utf-8", b"\xef\xbb\xbf"), ("utf-16", b""), ("iso-8859-1", b""), ("windows-1252", b"")],
)
def test_gpx_encoding_is_understood(tmp_path, encoding, mark):
    body = (
        gpx(POINT)
        .replace('<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{encoding}"?>')
        .replace("made", "Mäde")
    )
    assert len(mt.read_track(put(tmp_path, "a.gpx", mark + body.encode(encoding))).points) == 1


def test_gpx_entities_are_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><gpx><trk>&b;</trk></gpx>'
    assert refused(put(tmp_path, "bomb.gpx", bomb)).code == "track_entities"
    outside = '<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a SYSTEM "file:///etc/passwd">]><gpx>&a;</gpx>'
    assert refused(put(tmp_path, "outside.gpx", outside)).code == "track_entities"


def test_gpx_that_is_no_xml_advises_nothing_that_does_not_help(tmp_path, monkeypatch):
    monkeypatch.setattr(mt, "second_reader", lambda name: None)
    said = refused(put(tmp_path, "odd.gpx", "<gpx version=1>"))
    assert said.wrong == "is not XML that can be read" and "pip" not in said.remedy


def test_gpx_that_is_no_xml_and_refused_by_gpxpy_too_is_an_error(tmp_path):
    pytest.importorskip("gpxpy")
    assert "gpxpy neither" in refused(put(tmp_path, "odd.gpx", "<gpx version=1>")).wrong


def test_gpx_that_expat_refuses_is_read_with_gpxpy_and_said(tmp_path, monkeypatch):
    gpxpy = pytest.importorskip("gpxpy")

    class Forgiving:
        gpx = gpxpy.gpx

        @staticmethod
        def parse(content):
            return gpxpy.parse(content.replace(b"<broken x=1>", b""))

    monkeypatch.setattr(mt, "second_reader", lambda name: Forgiving)
    track = mt.read_track(
        put(
            tmp_path,
            "odd.gpx",
            gpx(
                POINT + trkpt(95, 7, "2024-05-31T12:00:01Z"),
                POINT.replace("12:00", "12:05"),
                head="<broken x=1>",
            ),
        )
    )
    assert times(track) == [0, 300] and track.starts == [0, 1] and "gpxpy" in track.notes[0]
    assert track.dropped == {"outside the range of latitude and longitude": 1}


def test_gpx_without_usable_points_says_how_many_and_why(tmp_path):
    said = refused(
        put(tmp_path, "a.gpx", gpx(trkpt(1, 2) * 3 + trkpt(0, 0, "2024-05-31T12:00:00Z")))
    )
    assert (
        said.wrong == "none of its 4 points can be used"
        and said.value == "3 without a time, 1 at exactly 0,0"
    )


def test_empty_gpx_and_other_xml_are_refused_in_their_own_words(tmp_path):
    assert refused(put(tmp_path, "a.gpx", gpx(""))).wrong == "holds no track points"
    assert (
        refused(put(tmp_path, "a.osm", "<?xml version='1.0'?><osm><node/></osm>")).value == "<osm>"
    )


@needs_shared
@pytest.mark.parametrize("name", ["exiftool_Geotag.gpx", "sf_30km_h.gpx"])
def test_gpx_of_the_field_agrees_with_gpxpy(name):
    gpxpy = pytest.importorskip("gpxpy")
    judge = {}
    for part in (
        segment
        for track in gpxpy.parse((SHARED / "tracks" / name).read_bytes()).tracks
        for segment in track.segments
    ):
        for point in part.points:
            judge.setdefault(
                point.time.timestamp(), (point.latitude, point.longitude, point.elevation)
            )
    assert [tuple(fix[:4]) for fix in mt.read_track(SHARED / "tracks" / name).points] == [
        (when, *judge[when]) for when in sorted(judge)
    ]


@pytest.mark.slow
def test_gpx_of_any_shape_agrees_with_gpxpy(tmp_path):
    pytest.importorskip("hypothesis")
    gpxpy = pytest.importorskip("gpxpy")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    number = st.floats(-89, 89).map(lambda value: f"{value:.7f}").filter(float)
    moment = st.builds(
        lambda second, form: iso(CLIP_SECONDS + second)[:-1] + form,
        st.integers(-(10**9), 10**9),
        st.sampled_from(["Z", "", ".25Z", ".123456Z", "+02:00", "-09:30"]),
    )
    point = st.builds(
        trkpt,
        number,
        number,
        st.one_of(st.none(), moment),
        st.one_of(st.none(), st.integers(-400, 8000)),
    )
    shape = st.lists(st.lists(point, max_size=5), max_size=4)

    @settings(derandomize=True, deadline=None, max_examples=120)
    @given(shape)
    def agree(segments):
        body = gpx(*("".join(points) for points in segments))
        judge = {}
        for points in (
            segment.points for track in gpxpy.parse(body).tracks for segment in track.segments
        ):
            for one in points:
                if one.time is not None:
                    when = (
                        one.time
                        if one.time.tzinfo
                        else one.time.replace(tzinfo=gpxpy.gpxfield.SimpleTZ())
                    )
                    judge.setdefault(
                        round(when.timestamp(), 5), (one.latitude, one.longitude, one.elevation)
                    )
        path = put(tmp_path, "any.gpx", body)
        points = sum(
            len(segment.points) for track in gpxpy.parse(body).tracks for segment in track.segments
        )
        alike = len(judge) == 1 and body.count("<time>") > 2 and points > 2
        if not judge or alike:
            refused(path)
            return
        assert {round(fix.time, 5): tuple(fix[1:4]) for fix in mt.read_track(path).points} == judge

    agree()


def test_written_gpx_reads_back_the_same_here_and_in_gpxpy(tmp_path):
    points = [
        mt.Fix(CLIP_SECONDS + i * 0.125, 45 + i * 1e-7, -7 - i * 1e-7, None if i % 2 else -1.5 * i)
        for i in range(10)
    ]
    path = tmp_path / "out.gpx"
    mt.write_gpx(mt.Track(points, [0, 4], {}, "GPS9"), path)
    again = mt.read_track(path)
    assert again.starts == [0, 4] and close(again.points, points)
    gpxpy = pytest.importorskip("gpxpy")
    parts = gpxpy.parse(path.read_text("utf-8")).tracks[0].segments
    assert [len(part.points) for part in parts] == [4, 6] and parts[0].points[
        1
    ].time.microsecond == 125000


# NMEA


def log(tmp_path, *lines, ending="\r\n"):
    """The track of a log of these lines."""
    return mt.read_track(put(tmp_path, "a.log", ending.join(lines) + ending))


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "GA", "GB"])
def test_nmea_talker_does_not_matter(tmp_path, talker):
    track = log(
        tmp_path,
        rmc(CLIP_SECONDS, 45.5, -7.25, talker=talker),
        gga(CLIP_SECONDS, 45.5, -7.25, 12.5, talker=talker),
    )
    assert close(track.points, [(CLIP_SECONDS, 45.5, -7.25, 12.5, 84.4)])
    assert track.clock == "RMC"


def test_nmea_place_is_of_rmc_and_altitude_of_gga_of_the_same_time_in_any_order(tmp_path):
    lines = [
        gga(CLIP_SECONDS + 1, 9.0, 9.0, 55),
        rmc(CLIP_SECONDS, 1.0, 2.0),
        rmc(CLIP_SECONDS + 1, 1.5, 2.5),
        gga(CLIP_SECONDS, 8.0, 8.0, 44),
    ]
    assert [(fix.lat, fix.alt) for fix in log(tmp_path, *lines).points] == [
        (1.0, 44.0),
        (1.5, 55.0),
    ]


def test_nmea_wrong_checksum_drops_the_line_and_a_missing_one_does_not(tmp_path):
    good, bad, bare = (
        rmc(CLIP_SECONDS, 1, 2),
        rmc(CLIP_SECONDS + 1, 1, 2)[:-2] + "00",
        rmc(CLIP_SECONDS + 2, 1, 2)[:-3],
    )
    track = log(
        tmp_path,
        good,
        bad,
        bare,
        rmc(CLIP_SECONDS + 3, 1, 2).lower().upper(),
        rmc(CLIP_SECONDS + 4, 1, 2)[:-1],
    )
    assert times(track) == [0, 2, 3] and track.dropped == {"in lines with a wrong checksum": 2}


def test_nmea_lower_case_checksum_is_accepted(tmp_path):
    line = next(
        line
        for line in (rmc(CLIP_SECONDS + i, 1, 2) for i in range(99))
        if line[-2:] != line[-2:].lower()
    )
    assert len(log(tmp_path, line[:-2] + line[-2:].lower()).points) == 1


def test_nmea_void_sentences_are_dropped_and_counted(tmp_path):
    track = log(
        tmp_path,
        rmc(CLIP_SECONDS, 1, 2),
        rmc(CLIP_SECONDS + 1, 1, 2, status="V"),
        gga(CLIP_SECONDS + 2, 1, 2, quality=0),
        gll(CLIP_SECONDS + 3, 1, 2, status="V"),
        sentence("GPRMC,120004.00,A,0100.0,N,00200.0,E,0,0,310524,,,N"),
        sentence("GPRMC,,V,,,,,,,,,,N"),
    )
    assert times(track) == [0] and track.dropped == {"without a GPS fix": 5}


def test_nmea_rmc_counts_though_gga_of_the_same_second_has_quality_0(tmp_path):
    assert [
        fix.alt
        for fix in log(
            tmp_path, rmc(CLIP_SECONDS, 1, 2), gga(CLIP_SECONDS, 1, 2, 77, quality=0)
        ).points
    ] == [None]


def test_nmea_empty_place_is_never_null_island(tmp_path):
    track = log(
        tmp_path,
        rmc(CLIP_SECONDS, 1, 2),
        sentence("GPRMC,120001.00,A,,,,,0,0,310524,,,A"),
        sentence("GPRMC,120002.00,A,0.0000,N,0.0000,E,0,0,310524,,,A"),
    )
    assert times(track) == [0] and track.dropped == {
        "with a place that cannot be read": 1,
        "at exactly 0,0": 1,
    }


@pytest.mark.parametrize(
    "lat, lon, place",
    [
        ("4415.163,N", "07631.126,W", (44.252716667, -76.518766667)),
        ("4415,N", "07631,W", (44.25, -76.516666667)),
        ("5.5,S", "0.5,E", (-0.091666667, 0.008333333)),
        (" 4415.163 ,N", "07631.126,W", (44.252716667, -76.518766667)),
    ],
)
def test_nmea_degrees_and_minutes(tmp_path, lat, lon, place):
    fix = log(tmp_path, sentence(f"GPRMC,120000,A,{lat},{lon},0,0,310524,,")).points[0]
    assert close([fix[1:3]], [place])


@pytest.mark.parametrize(
    "lat", ["4460.000,N", "4415.163,E", "4415.163,", "44x5.163,N", "-4415.163,N", "44151.63.2,N"]
)
def test_nmea_place_that_is_none_drops_the_sentence(tmp_path, lat):
    assert times(
        log(
            tmp_path,
            rmc(CLIP_SECONDS, 1, 2),
            sentence(f"GPRMC,120001,A,{lat},07631.126,W,0,0,310524,,"),
        )
    ) == [0]


@pytest.mark.parametrize("written", ["120000", "120000.", "120000.x", " 120000.00 ", "120000.000"])
def test_nmea_time_of_every_form_is_understood(tmp_path, written):
    assert times(log(tmp_path, sentence(f"GPRMC,{written},A,0100.0,N,00200.0,E,0,0,310524,,"))) == [
        0
    ]


@pytest.mark.parametrize(
    "date, year", [("010170", 1970), ("311299", 1999), ("010100", 2000), ("311269", 2069)]
)
def test_nmea_two_digit_years_turn_at_70(tmp_path, date, year):
    path = put(tmp_path, "a.log", sentence(f"GPRMC,120000,A,0100.0,N,00200.0,E,0,0,{date},,"))
    assert 1970 + mt.read_track(path).points[0].time / 31556952 == pytest.approx(
        year + 0.5, abs=0.51
    )


MIDNIGHT = CLIP_SECONDS + 43200  # the first of June


@pytest.mark.parametrize(
    "lines",
    [
        [rmc(MIDNIGHT - 1, 1, 2), gga(MIDNIGHT, 1, 2), gga(MIDNIGHT + 1, 1, 2)],
        [gga(MIDNIGHT - 1, 1, 2), gga(MIDNIGHT, 1, 2), rmc(MIDNIGHT + 1, 1, 2)],
        [gga(MIDNIGHT - 1, 1, 2), gga(MIDNIGHT, 1, 2), gga(MIDNIGHT + 1, 1, 2), zda(MIDNIGHT + 1)],
        [zda(MIDNIGHT - 1), gga(MIDNIGHT - 1, 1, 2), gga(MIDNIGHT, 1, 2), gga(MIDNIGHT + 1, 1, 2)],
        [
            gga(MIDNIGHT, 1, 2),
            rmc(MIDNIGHT - 1, 1, 2),
            gga(MIDNIGHT + 1, 1, 2),
            rmc(MIDNIGHT, 1, 2),
        ],
    ],
    ids=["date before", "date after", "ZDA last", "ZDA first", "GGA a second ahead of RMC"],
)
def test_nmea_midnight_with_the_date_before_or_after(tmp_path, lines):
    assert times(log(tmp_path, *lines)) == [43199, 43200, 43201]


def test_nmea_gga_before_rmc_after_a_pause_of_two_days(tmp_path):
    later = CLIP_SECONDS + 2 * 86400 - 7200
    track = log(
        tmp_path,
        gga(CLIP_SECONDS, 1, 2, 10),
        rmc(CLIP_SECONDS, 1, 2),
        gga(later, 1, 2, 20),
        rmc(later, 1, 2),
        gga(later + 1, 1, 2, 30),
        rmc(later + 1, 1, 2),
    )
    assert times(track) == [0, 165600, 165601] and [fix.alt for fix in track.points] == [10, 20, 30]


def test_nmea_many_days_counted_from_one_date(tmp_path):
    lines = [gga(CLIP_SECONDS + hour * 3600, 1, 2) for hour in range(0, 120, 6)]
    assert times(log(tmp_path, *lines, rmc(CLIP_SECONDS + 114 * 3600, 1, 2))) == [
        hour * 3600 for hour in range(0, 120, 6)
    ]


def test_nmea_without_any_date_is_refused_with_the_line_that_helps(tmp_path):
    said = refused(
        put(tmp_path, "a.log", gga(CLIP_SECONDS, 1, 2) + "\n" + gga(CLIP_SECONDS + 1, 1, 2))
    )
    assert "2 without a date" in said.value and "$GPZDA" in said.remedy
    line = re.search(r"\$GPZDA\S+", said.remedy).group()
    assert times(log(tmp_path, line, gga(CLIP_SECONDS, 1, 2))) == [0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_nmea_encoding_and_junk_before_the_sentence(tmp_path, encoding):
    body = "Log of my GPS, 5 DM\r\n" + "\r\n\r\n".join(
        "12:34 junk " + rmc(CLIP_SECONDS + i, 1, 2) for i in range(3)
    )
    assert times(mt.read_track(put(tmp_path, "a.txt", body.encode(encoding)))) == [0, 1, 2]


def test_nmea_several_a_second_are_all_kept(tmp_path):
    assert times(log(tmp_path, *(rmc(CLIP_SECONDS + i / 4, 1, 2) for i in range(8)))) == [
        i / 4 for i in range(8)
    ]


def test_nmea_line_without_end_does_not_fill_the_memory(tmp_path):
    path = put(
        tmp_path,
        "a.log",
        rmc(CLIP_SECONDS, 1, 2) + "\n" + "x" * 3_000_000 + "\n" + rmc(CLIP_SECONDS + 1, 1, 2),
    )
    assert times(mt.read_track(path)) == [0, 1]


def test_nmea_sentences_agree_with_pynmea2(tmp_path):
    pytest.importorskip("hypothesis")
    pynmea2 = pytest.importorskip("pynmea2")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    coordinate = st.tuples(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9)).filter(
        lambda place: abs(place[0]) > 0.01
    )

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(coordinate, st.integers(0, 10**9), st.floats(-400, 8000), st.booleans())
    def agree(place, second, alt, gga_first):
        when = float(second)
        lines = [rmc(when, *place), gga(when, *place, alt=f"{alt:.1f}")]
        judge, height = pynmea2.parse(lines[0]), pynmea2.parse(lines[1])
        fix = log(tmp_path, *(lines[::-1] if gga_first else lines)).points[0]
        assert close(
            [fix[:4]],
            [(judge.datetime.timestamp(), judge.latitude, judge.longitude, height.altitude)],
        )

    agree()


@needs_shared
def test_nmea_garmin_log_of_exiftool_agrees_with_exiftools_facts():
    track = mt.read_track(SHARED / "tracks" / "exiftool_Geotag.log")
    assert len(track.points) == 12 and close(
        track.points[:1], [(1238756913.53, 44 + 15.163 / 60, -76 - 31.126 / 60, 95.0, None)]
    )


# GoPro


def clip(tmp_path, payloads, name="GX010001.MP4", **options):
    """A made GoPro video."""
    return put(tmp_path, name, movie(payloads, **options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"moov_first": True},
        {"co64": True},
        {"version": 1},
        {"chunk": 3},
        {"chunk": [1, 3, 3, 2]},
        {"handler": b"text"},
        {"timescale": 90000, "delta": 90000, "duration": 10000},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_gopro_points_agree_with_the_other_reader_whatever_the_layout(tmp_path, options):
    path = clip(tmp_path, hero5_style(), **options)
    track = mt.read_track(path)
    kind, judge = judge_gopro(path.read_bytes())
    assert kind == "GPS5" and len(judge) == 180 and track.clock == "GPSU fitted"
    assert close(
        (fix[:4] for fix in track.points), [(CLIP_SECONDS + row[0], *row[2:5]) for row in judge]
    )


def test_gopro_time_is_one_offset_fitted_without_the_early_first_payload(tmp_path):
    payloads = [
        device(gps5(places, CLIP_SECONDS + i + [-1.4, 0.03, -0.02, 0.0, 0.01][i]))
        for i, places in enumerate(ride(5))
    ]
    path = clip(tmp_path, payloads)
    start, clock = video_start(path)
    assert clock == "GPSU fitted" and start == pytest.approx(CLIP_SECONDS + 0.005, abs=1e-3)
    steps = [
        after - before
        for before, after in zip(times(mt.read_track(path)), times(mt.read_track(path))[1:])
    ]
    assert max(steps) - min(steps) < 0.003, "no jump between payloads"


def test_gopro_only_payload_is_fitted_to_itself(tmp_path):
    assert times(mt.read_track(clip(tmp_path, hero5_style(1, early=0))))[0] == 0


@pytest.mark.parametrize("kind, wide", [("U", True), ("c", False), ("c", True)])
def test_gopro_time_text_of_every_type_is_read(tmp_path, kind, wide):
    payloads = [
        device(gps5(places, None, extra=text(b"GPSU", f"2405311200{i:02d}.000", kind, wide)))
        for i, places in enumerate(ride(3))
    ]
    assert times(mt.read_track(clip(tmp_path, payloads, created=None)))[0] == 0


def test_gopro_unlocked_and_imprecise_payloads_are_dropped_and_counted(tmp_path):
    seconds = ride(5)
    payloads = [
        device(gps5(seconds[0], CLIP_SECONDS - 900, fix=0, dop=9999)),
        device(gps5(seconds[1], CLIP_SECONDS + 1, fix=3, dop=1001)),
        device(gps5(seconds[2], CLIP_SECONDS + 2, fix=2, dop=1000)),
        device(gps5(seconds[3], CLIP_SECONDS + 3, fix=None, dop=None)),
        device(gps5(seconds[4], CLIP_SECONDS + 4, fix=3)),
    ]
    track = mt.read_track(clip(tmp_path, payloads))
    assert times(track)[0] == 2 and len(track.points) == 54
    assert track.dropped == {"without a GPS fix": 18, "with a DOP over 10": 18}


def test_gopro_without_any_lock_says_how_many_samples_there_were(tmp_path):
    said = refused(clip(tmp_path, hero5_style(fix=0)))
    assert (
        said.wrong == "none of its 180 points can be used" and said.value == "180 without a GPS fix"
    )


def test_gopro_time_that_is_none_is_left_out_of_the_fit(tmp_path):
    payloads = [
        device(gps5(places, "5509100082240400" if i == 2 else CLIP_SECONDS + i))
        for i, places in enumerate(ride(4))
    ]
    assert times(mt.read_track(clip(tmp_path, payloads)))[0] == 0


def test_gopro_without_gps_time_uses_the_camera_clock_and_says_so(tmp_path):
    path = clip(tmp_path, [device(gps5(places, None)) for places in ride(3)])
    track = mt.read_track(path)
    assert (
        track.clock == "camera clock" and times(track)[0] == 0 and "camera clock" in track.notes[0]
    )
    assert video_start(path) is None
    assert (
        "54 without a time"
        in refused(
            clip(
                tmp_path,
                [device(gps5(places, None)) for places in ride(3)],
                name="b.mp4",
                created=None,
            )
        ).value
    )


def nine(seconds, first=CLIP_SECONDS, fix=3):
    """Payloads with GPS9 at 10 Hz."""
    return [
        gps9([(first + i + n / 10, *place, 1.5, fix) for n, place in enumerate(places)])
        for i, places in enumerate(ride(seconds, 10, lat=50))
    ]


def test_gopro_gps9_carries_its_own_time_and_wins_over_gps5(tmp_path):
    payloads = [
        device(gps5(places, CLIP_SECONDS + 1.4 + i), new)
        for i, (places, new) in enumerate(zip(ride(4), nine(4)))
    ]
    path = clip(tmp_path, payloads)
    track = mt.read_track(path)
    assert track.clock == "GPS9" and len(track.points) == 40 and track.points[0].lat == 50
    kind, judge = judge_gopro(path.read_bytes())
    assert kind == "GPS9" and close((fix[:4] for fix in track.points), [row[1:5] for row in judge])
    assert video_start(path) == (pytest.approx(CLIP_SECONDS, abs=0.001), "GPS9")


def test_gopro_gps9_without_fix_is_dropped_sample_by_sample(tmp_path):
    payload = gps9(
        [
            (
                CLIP_SECONDS + n / 10,
                50 + n * 1e-5,
                7,
                0,
                [1, 10, 11, 99.99][n % 4],
                [3, 2, 3, 0][n % 4],
            )
            for n in range(20)
        ]
    )
    track = mt.read_track(clip(tmp_path, [device(payload)]))
    assert len(track.points) == 10 and track.dropped == {
        "with a DOP over 10": 5,
        "without a GPS fix": 5,
    }


def test_gopro_first_device_with_usable_points_is_taken(tmp_path):
    payloads = [
        device(gps5(places, CLIP_SECONDS + i, fix=0), number=1)
        + device(
            gps5([(p[0] + 1, *p[1:]) for p in places], CLIP_SECONDS + i), number=2, name="Second"
        )
        for i, places in enumerate(ride(3))
    ]
    track = mt.read_track(clip(tmp_path, payloads))
    assert len(track.points) == 54 and track.points[0].lat == 46


def test_gopro_scale_of_another_stream_does_not_leak_and_altitude_has_its_own(tmp_path):
    stream = gps5([(45.0, 7.0, 10.0)], CLIP_SECONDS, scale=(10000000, 10000000, 1000, 500, 100))
    assert (
        mt.read_track(clip(tmp_path, [device(accelerations(), stream, accelerations())]))
        .points[0]
        .alt
        == 10.0
    )


def test_gopro_long_entries_and_filler_words_are_stepped_over(tmp_path):
    payload = bytes(8) + device(gps5([(45.0, 7.0, 1.0), (46.0, 7.0, 1.0)], CLIP_SECONDS)) + bytes(4)
    wide = klv(b"ACCL", "B", [bytes([1]) * 255] * 40000, 255)  # both counts are unsigned
    assert len(mt.read_track(clip(tmp_path, [wide + payload])).points) == 2


def test_gopro_empty_gps5_counts_for_the_fit_and_gives_no_points(tmp_path):
    payloads = [
        device(gps5([], CLIP_SECONDS + i) if i < 2 else gps5(places, CLIP_SECONDS + i))
        for i, places in enumerate(ride(4))
    ]
    assert times(mt.read_track(clip(tmp_path, payloads)))[0] == 2


def test_gopro_last_payload_is_clipped_to_the_movie(tmp_path):
    track = mt.read_track(clip(tmp_path, hero5_style(3), duration=2500))
    assert times(track)[-1] == pytest.approx(2 + 0.5 * 17 / 18, abs=0.001)


def test_gopro_short_time_table_goes_on_with_its_last_duration(tmp_path):
    assert times(mt.read_track(clip(tmp_path, hero5_style(5), stts=[(2, 1000)])))[
        -1
    ] == pytest.approx(4 + 17 / 18, abs=0.001)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda payload: payload[:40] + b"\xff" * (len(payload) - 40),
        lambda payload: payload[:4] + b"\0\1\xff\xff" + payload[8:],
        lambda payload: payload.replace(struct.pack(">i", 10000000), bytes(4)),
        lambda payload: payload.replace(b"GPS5l\x14", b"GPS5l\x13"),
        lambda payload: payload.replace(b"GPS5l", b"GPS5G"),
    ],
    ids=["garbage", "too long", "scale 0", "odd width", "no numbers"],
)
def test_gopro_damaged_payload_costs_itself_and_one_warning(tmp_path, break_it):
    payloads = hero5_style(6)
    payloads[3] = break_it(payloads[3])
    track = mt.read_track(clip(tmp_path, payloads))
    assert len(track.points) == 5 * 18 and track.notes == [
        "payload 4 of GX010001.MP4 is damaged and left out"
    ]


def test_gopro_many_damaged_payloads_are_one_warning(tmp_path):
    payloads = [
        b"\xff" * 64 if 3 <= i < 12 else payload for i, payload in enumerate(hero5_style(20))
    ]
    assert mt.read_track(clip(tmp_path, payloads)).notes == [
        "payloads 4, 5, 6, 7, 8 and 4 more of GX010001.MP4 are damaged and left out"
    ]


def test_gpmd_track_of_another_maker_is_no_gopro_track(tmp_path):
    assert refused(clip(tmp_path, [b"\0\0\0\0" * 8 for _ in range(3)])).code == "track_none"


def test_truncated_video_gives_what_its_index_still_reaches(tmp_path):
    whole = movie(hero5_style(10), moov_first=True)
    track = mt.read_track(put(tmp_path, "cut.mp4", whole[:-3000]))
    assert 0 < len(track.points) < 180 and track.notes == [
        f"{10 - len(track.points) // 18} of 10 telemetry payloads lie past the end of cut.mp4, "
        "which is cut off or damaged"
    ]


def test_video_without_index_is_called_damaged(tmp_path):
    said = refused(put(tmp_path, "cut.mp4", movie(hero5_style(10))[:5000]))
    assert "damaged" in said.wrong and said.code == "track_damaged"


def test_video_without_gps_says_so(tmp_path):
    assert (
        refused(put(tmp_path, "a.mp4", movie([b"xxxx"], form=b"avc1"))).wrong
        == "holds no GPS track that can be read"
    )


@pytest.mark.parametrize("kind", ["auto", "gpx", "nmea", "gopro_video", "blackvue", "camm"])
def test_source_name_does_not_matter_for_a_video(tmp_path, kind):
    assert len(mt.read_track(clip(tmp_path, hero5_style(2), name="odd.gpx"), kind).points) == 36


def test_source_that_is_no_source_is_refused(tmp_path):
    with pytest.raises(mt.ToolError):
        mt.read_track(clip(tmp_path, hero5_style(1)), "gps")


@needs_shared
def test_karma_gives_its_47_drone_points_at_the_measured_times():
    track = mt.read_track(SHARED / "videos" / "karma.mp4")
    assert len(track.points) == 47 and track.clock == "GLPI"
    assert close(
        track.points[:1], [(1492457277.52602, 33.1253688, -117.3310668, 15.711, None)], 1e-5
    )
    assert close(
        track.points[-1:], [(1492457289.11929, 33.1260123, -117.3314792, 16.223, None)], 1e-5
    )


@needs_shared
def test_sample_video_without_telemetry_is_refused():
    assert refused(SHARED / "videos" / "sample-5s.mp4").code == "track_none"


# Judged by exiftool


def exiftool(path):
    """(date texts, (lat, lon) places) that exiftool finds, in its order."""
    command = [
        "exiftool",
        "-ee",
        "-n",
        "-s",
        "-a",
        "-GPSDateTime",
        "-GPSLatitude",
        "-GPSLongitude",
        str(path),
    ]
    found = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    ).stdout.decode()
    dates, lats, lons = (
        re.findall(rf"^{name} *: (.*)", found, re.MULTILINE)
        for name in ("GPSDateTime", "GPSLatitude", "GPSLongitude")
    )
    return [date.split(".")[0].rstrip("Z") for date in dates], list(
        zip(map(float, lats), map(float, lons))
    )


def as_exiftool(seconds):
    """Seconds UTC as exiftool shows them, without a fraction."""
    return iso(seconds).replace("-", ":").replace("T", " ").rstrip("Z")


@needs_exiftool
@needs_shared
@pytest.mark.slow
def test_karma_places_agree_with_exiftool():
    dates, places = exiftool(SHARED / "videos" / "karma.mp4")
    points = mt.read_track(SHARED / "videos" / "karma.mp4").points
    assert len(places) == 47 and close((fix[1:3] for fix in points), places)
    assert [as_exiftool(fix.time) for fix in points] == dates


@needs_exiftool
def test_gopro_gps5_places_agree_with_exiftool(tmp_path):
    path = clip(tmp_path, hero5_style(4))
    places = exiftool(path)[1]
    assert len(places) == 72 and close((fix[1:3] for fix in mt.read_track(path).points), places)


@needs_exiftool
def test_blackvue_places_and_times_agree_with_exiftool(tmp_path):
    path = put(tmp_path, "a.mp4", blackvue([blackvue_text(5)]))
    (dates, places), points = (
        exiftool(path),
        mt.read_track(path).points[:5],
    )  # the last, of GGA only, exiftool leaves out
    assert (
        close((fix[1:3] for fix in points), places)
        and [as_exiftool(fix.time) for fix in points] == dates
    )


@needs_exiftool
def test_camm_places_and_times_agree_with_exiftool(tmp_path):
    path = put(
        tmp_path,
        "a.mp4",
        movie([camm6(CLIP_SECONDS + i, 45 + i, 7 + i, 100 + i) for i in range(4)], form=b"camm"),
    )
    (dates, places), points = exiftool(path), mt.read_track(path).points
    assert len(places) == 4 and close((fix[1:3] for fix in points), places)
    assert [as_exiftool(fix.time) for fix in points] == dates


# BlackVue


def blackvue_text(seconds, stamp=3602.4, first=0, more=""):
    """The text of a `gps ` box: RMC a second behind GGA, the camera clock `stamp` seconds ahead."""
    lines = []
    for i in range(seconds):
        ms = round((CLIP_SECONDS + first + i + stamp) * 1000)
        lines += [
            f"[{ms}]{gga(CLIP_SECONDS + first + i + 1, 45 + (i + 1) * 1e-4, 7, 50 + i + 1)}",
            f"[{ms}]{rmc(CLIP_SECONDS + first + i, 45 + i * 1e-4, 7)}{more}",
            "",
        ]
    return "\r\n".join(lines).encode() + bytes(64)


def blackvue(texts, extra=b"", **options):
    """An MP4 with a free box for each text."""
    boxes = b"".join(box(b"free", box(b"ptnm", b"x"), box(b"gps ", part)) for part in texts)
    return movie([b"xxxx"], form=b"avc1", before=extra + boxes, **options)


def test_blackvue_utc_is_of_the_line_and_altitude_of_gga_of_the_same_second(tmp_path):
    track = mt.read_track(put(tmp_path, "a.mp4", blackvue([blackvue_text(5)])))
    assert times(track)[:5] == [0, 1, 2, 3, 4] and track.clock == "RMC"
    assert [fix.alt for fix in track.points][:5] == [None, 51, 52, 53, 54]


def test_blackvue_every_free_box_is_searched(tmp_path):
    path = put(
        tmp_path,
        "a.mp4",
        blackvue(
            [b"", blackvue_text(3), blackvue_text(3, first=3)], extra=box(b"free", bytes(5000))
        ),
    )
    assert times(mt.read_track(path)) == [0, 1, 2, 3, 4, 5, 6]


def test_blackvue_line_that_ends_in_a_second_stamp_is_kept(tmp_path):
    track = mt.read_track(
        put(tmp_path, "a.mp4", blackvue([blackvue_text(3, more="[1717156800999]")]))
    )
    assert len(track.points) == 4 and not track.dropped


def test_blackvue_start_is_found_through_the_camera_clock(tmp_path):
    path = put(tmp_path, "a.mp4", blackvue([blackvue_text(5)]))
    assert video_start(path) == (pytest.approx(CLIP_SECONDS, abs=0.01), "RMC")
    begin = box(
        b"free", box(b"sttm", struct.pack(">Q", round((CLIP_SECONDS + 3602.4 - 2.5) * 1000)))
    )
    assert video_start(put(tmp_path, "b.mp4", blackvue([blackvue_text(5)], extra=begin)))[
        0
    ] == pytest.approx(CLIP_SECONDS - 2.5, abs=0.01)


def test_blackvue_without_dates_takes_the_day_of_the_camera_clock(tmp_path):
    lines = "\n".join(
        f"[{round((CLIP_SECONDS + i + 3600) * 1000)}]{gga(CLIP_SECONDS + i, 1, 2)}"
        for i in range(3)
    )
    track = mt.read_track(put(tmp_path, "a.mp4", blackvue([lines.encode()])))
    assert times(track) == [0, 1, 2] and "camera clock" in track.clock


def test_blackvue_rear_video_without_gps_takes_the_front_one(tmp_path):
    put(tmp_path, "20240531_120000_NF.mp4", blackvue([blackvue_text(3)]))
    rear = put(tmp_path, "20240531_120000_NR.mp4", blackvue([]))
    track = mt.read_track(rear, "blackvue")
    assert len(track.points) == 4 and "20240531_120000_NF.mp4" in track.notes[0]


def test_blackvue_side_file_is_read_by_itself_and_for_its_video(tmp_path):
    side = put(tmp_path, "20240531_120000_N.gps", blackvue_text(3))
    assert len(mt.read_track(side).points) == 4
    assert len(mt.read_track(put(tmp_path, "20240531_120000_NR.mp4", blackvue([]))).points) == 4


# CAMM


def camm(tmp_path, samples, name="a.mp4", **options):
    """A made CAMM video, ten samples a second."""
    return put(tmp_path, name, movie(samples, form=b"camm", **{"delta": 100, **options}))


def test_camm_agrees_with_the_other_reader(tmp_path):
    samples = [
        camm_gyro() + camm6(CLIP_SECONDS + 3 + i / 10, 45 + i * 1e-5, 7, 100 + i) + camm5(1, 2, 3)
        for i in range(20)
    ]
    path = camm(tmp_path, samples)
    judge = [row for row in judge_camm(path.read_bytes()) if row[1] == 6]
    track = mt.read_track(path)
    assert close((fix[:4] for fix in track.points), [(row[2][0], *row[2][2:]) for row in judge])
    assert track.points[0].course == pytest.approx(36.87, abs=0.01)
    assert video_start(path) == (pytest.approx(CLIP_SECONDS + 3, abs=1e-3), "CAMM")


def test_camm_gps_time_is_told_from_unix_time_and_leap_seconds_are_taken_off(tmp_path):
    gps = CLIP_SECONDS - 315964800 + 18
    for created in (CLIP_SECONDS, None, 100.0):
        track = mt.read_track(
            camm(tmp_path, [camm6(gps + i, 45, 7, 1) for i in range(3)], created=created)
        )
        assert times(track) == [0, 1, 2]


def test_camm_without_time_goes_by_the_camera_clock_and_the_edit_list(tmp_path):
    samples = [camm5(45, 7 + i, -1.0 if i else 5.0) for i in range(3)]
    track = mt.read_track(camm(tmp_path, samples))
    assert (
        times(track) == [0, 0.1, 0.2]
        and track.clock == "camera clock"
        and [fix.alt for fix in track.points] == [5.0, None, None]
    )
    assert times(mt.read_track(camm(tmp_path, samples, edits=[(2000, -1), (300, 0)]))) == [
        2,
        2.1,
        2.2,
    ]
    assert video_start(camm(tmp_path, samples)) is None


def test_camm_without_fix_is_dropped_and_counted(tmp_path):
    track = mt.read_track(
        camm(tmp_path, [camm6(CLIP_SECONDS + i, 45, 7, 1, fix=[0, 2, 3][i]) for i in range(3)])
    )
    assert times(track) == [1, 2] and track.dropped == {"without a GPS fix": 1}


def test_camm_damaged_sample_costs_itself(tmp_path):
    track = mt.read_track(
        camm(
            tmp_path, [camm6(CLIP_SECONDS + i, 45, 7, 1)[: 30 if i == 1 else 60] for i in range(3)]
        )
    )
    assert times(track) == [0, 2] and track.notes == ["payload 2 of a.mp4 is damaged and left out"]


def test_camm_that_holds_sentences_is_read(tmp_path):
    track = mt.read_track(
        camm(
            tmp_path,
            [b"X0.1Y0.2Z9.8G1.0" + rmc(CLIP_SECONDS + i, 45, 7).encode() for i in range(3)],
        )
    )
    assert times(track) == [0, 1, 2]


# Files of any content


def test_4_gigabyte_video_is_read_without_its_pictures(tmp_path):
    head, tail = movie(hero5_style(10), gap=4 << 30, co64=True)
    path = tmp_path / "big.mp4"
    with open(path, "wb") as handle:
        handle.write(head)
        handle.seek((4 << 30) + len(head))
        handle.write(tail)
    counter = Path("/proc/self/io")
    before = (
        int(re.search(r"rchar: (\d+)", counter.read_text("utf-8")).group(1))
        if counter.exists()
        else 0
    )
    begin = time.perf_counter()
    assert len(mt.read_track(path).points) == 180 and mt.read_movie(path).duration == 10.0
    assert soon(time.perf_counter() - begin, 2.0)
    if counter.exists():
        assert (
            int(re.search(r"rchar: (\d+)", counter.read_text("utf-8")).group(1)) - before
            < 4_000_000
        )


def test_declared_counts_beyond_the_file_allocate_nothing(tmp_path):
    whole = movie(hero5_style(3))
    for kind, at in ((b"stsz", 12), (b"stco", 8), (b"stts", 8), (b"stsc", 8)):
        place = whole.index(kind) + at
        path = put(tmp_path, "a.mp4", whole[:place] + b"\xff\xff\xff\xff" + whole[place + 4 :])
        begin = time.perf_counter()
        mt.read_track(path)
        assert soon(time.perf_counter() - begin, 1.0)
    place = whole.index(b"stsz") + 8  # every sample as long as said here, and four billion of them
    for size in (1, 0xFFFFFFFF):
        path = put(tmp_path, "a.mp4", whole[:place] + words(size, 0xFFFFFFFF) + whole[place + 8 :])
        with pytest.raises(mt.BadTrack):
            mt.read_track(path)


@pytest.mark.slow
def test_damaged_and_hostile_files_give_a_track_or_bad_track(tmp_path):
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    seeds = [
        movie(hero5_style(3), edits=[(10, -1), (3, 0)]),
        movie([device(stream) for stream in nine(3)], co64=True, chunk=2),
        blackvue([blackvue_text(3)]),
        movie([camm6(CLIP_SECONDS + i, 45, 7, 1) + camm5(1, 2, 3) for i in range(3)], form=b"camm"),
        gpx(POINT, POINT).encode(),
        "\r\n".join([rmc(CLIP_SECONDS, 1, 2), gga(CLIP_SECONDS, 1, 2), zda(CLIP_SECONDS)]).encode(),
    ]
    patch = st.tuples(
        st.floats(0, 1),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from(
                [
                    b"\xff\xff\xff\xff",
                    b"\0\0\0\0",
                    b"\x7f\xff\xff\xff",
                    b"\0\0\0\1",
                    b"\x7f\xf8\0\0\0\0\0\0",
                ]
            ),
        ),
    )

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(st.sampled_from(seeds), st.lists(patch, max_size=6), st.floats(0, 1), st.booleans())
    def survive(seed, patches, end, cut):
        content = bytearray(seed)
        for where, what in patches:
            place = int(where * max(len(content) - len(what), 0))
            content[place : place + len(what)] = what
        path = put(tmp_path, "any", bytes(content[: int(end * len(content))] if cut else content))
        begin = time.perf_counter()
        try:
            track = mt.read_track(path)
            assert (
                track.points
                and track.starts[0] == 0
                and all(a.time < b.time for a, b in zip(track.points, track.points[1:]))
            )
            assert all(
                -90 <= fix.lat <= 90 and -180 <= fix.lon <= 180 and fix[1:3] != (0, 0)
                for fix in track.points
            )
        except mt.BadTrack as error:
            assert error.problem.file == str(path)
        mt.read_movie(path)
        video_start(path)
        assert soon(time.perf_counter() - begin, 2.0)

    survive()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"hello",
        b"\xff\xd8\xff\xe0 no track",
        b"<",
        b"$",
        b"\0\0\0\x08moov",
        b"\0\0\0\x01moov\0\0\0\0\0\0\0\1",
    ],
)
def test_file_that_is_no_track_is_refused(tmp_path, content):
    refused(put(tmp_path, "a.gpx", content))


def test_missing_path_is_not_found(tmp_path):
    with pytest.raises(mt.NotFound):
        mt.read_track(tmp_path / "nothing.gpx")


# Several files


def part(first, count, lat=45.0, step=1.0):
    """A GPX of some seconds."""
    return gpx(
        "".join(
            trkpt(lat, 7 + i * 1e-4, iso(CLIP_SECONDS + first + i * step)) for i in range(count)
        )
    )


def test_folder_is_joined_by_time_with_a_segment_a_file(tmp_path):
    put(tmp_path, "b.gpx", part(0, 5))
    put(tmp_path, "a.gpx", part(100, 5))
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub", "c.log", rmc(CLIP_SECONDS + 50, 45, 7))
    (tmp_path / ".mapillary").mkdir()
    put(tmp_path / ".mapillary", "d.gpx", part(1000, 5))
    put(tmp_path, "notes.txt", "no track")
    put(tmp_path, "img.jpg", b"\xff\xd8")
    track = mt.read_track(tmp_path)
    assert times(track) == [0, 1, 2, 3, 4, 50, 100, 101, 102, 103, 104]
    assert track.starts == [0, 5, 6] and track.clock == "GPX and RMC" and not track.notes


def test_files_that_touch_are_one_segment(tmp_path):
    put(tmp_path, "a.gpx", part(0, 5))
    put(tmp_path, "b.gpx", part(6, 5))
    assert mt.read_track(tmp_path).starts == [0] and mt.read_track(tmp_path, max_gap=1).starts == [
        0,
        5,
    ]


def test_overlapping_files_are_sorted_into_one_segment_first_wins(tmp_path):
    put(tmp_path, "a.gpx", part(0, 10, lat=1))
    put(tmp_path, "b.gpx", part(4.0, 12, lat=2))
    track = mt.read_track(tmp_path)
    assert (
        times(track) == list(range(16))
        and track.starts == [0]
        and [fix.lat for fix in track.points] == [1] * 10 + [2] * 6
    )
    assert track.dropped == {"at the time of another point": 6}


def test_segment_gaps_inside_a_file_stay_gaps_when_joined(tmp_path):
    put(tmp_path, "a.gpx", gpx(POINT, trkpt(45, 7, iso(CLIP_SECONDS + 1))))
    put(tmp_path, "b.gpx", part(100, 2))
    assert mt.read_track(tmp_path).starts == [0, 1, 2]


def test_segment_gap_is_closed_where_another_file_runs_on(tmp_path):
    put(tmp_path, "a.gpx", gpx(POINT, trkpt(45, 7, iso(CLIP_SECONDS + 5))))
    put(tmp_path, "b.gpx", part(1, 3, step=3))
    assert mt.read_track(tmp_path, max_gap=1).starts == [0]


def test_unreadable_file_among_several_becomes_a_note(tmp_path):
    put(tmp_path, "a.gpx", part(0, 5))
    put(tmp_path, "b.gpx", gpx(trkpt(1, 2)))
    put(tmp_path, "c.mp4", movie([b"xxxx"], form=b"avc1"))
    track = mt.read_track(tmp_path)
    assert (
        len(track.points) == 5
        and len(track.notes) == 2
        and "b.gpx" in track.notes[0]
        and "c.mp4" in track.notes[1]
    )


def test_folder_without_usable_file_is_bad(tmp_path):
    put(tmp_path, "b.gpx", gpx(trkpt(1, 2)))
    put(tmp_path, "c.gpx", gpx(trkpt(1, 2)))
    assert refused(tmp_path).wrong == "none of its 2 track files can be used"


# Movies


def user_data(kind, value, plain=False):
    """An entry of udta with length and language."""
    raw = value.encode()
    return box(kind, raw if plain else struct.pack(">HH", len(raw), 0x15C7) + raw)


@pytest.mark.parametrize(
    "inner, make, model",
    [
        (user_data(b"\xa9mak", "Canon") + user_data(b"\xa9mod", "EOS R5"), "Canon", "EOS R5"),
        (
            box(b"manu", bytes(4) + b"\x15\xc7Samsung\0")
            + box(b"modl", bytes(4) + b"\x15\xc7GT-S8530\0"),
            "Samsung",
            "GT-S8530",
        ),
        (
            user_data(b"@mak", "RICOH", plain=True) + user_data(b"@mod", "THETA Z1"),
            "RICOH",
            "THETA Z1",
        ),
        (
            box(
                b"GPMF",
                nest(b"DEVC", text(b"DVNM", "Video Global Settings"), text(b"MINF", "HERO6 Black")),
            ),
            "GoPro",
            "HERO6 Black",
        ),
        (b"", None, None),
    ],
    ids=["QuickTime", "3GP", "Ricoh", "GoPro", "none"],
)
def test_movie_tells_make_and_model(tmp_path, inner, make, model):
    found = mt.read_movie(
        put(tmp_path, "a.mp4", movie([b"xxxx"], form=b"avc1", udta=box(b"udta", inner, bytes(4))))
    )
    assert (found.make, found.model) == (make, model)


@pytest.mark.parametrize(
    "value, model",
    [
        (b'{"model":"DR900X Plus","ver":1.0}\0', "DR900X Plus"),
        (b"Pittasoft Co., Ltd.;DR900S-1CH;1.008;English;1;D90SS1HAE00661;T69694;\0", "DR900S-1CH"),
    ],
)
def test_movie_tells_a_blackvue_model(tmp_path, value, model):
    found = mt.read_movie(
        put(
            tmp_path, "a.mp4", blackvue([blackvue_text(1)], extra=box(b"free", box(b"cprt", value)))
        )
    )
    assert (found.make, found.model) == ("BlackVue", model)


@pytest.mark.parametrize("version", [0, 1])
def test_movie_tells_creation_time_and_duration(tmp_path, version):
    found = mt.read_movie(clip(tmp_path, hero5_style(3), version=version))
    assert found == mt.Movie(CLIP_SECONDS, 3.0, "GoPro", "Hero9 Black")


def test_movie_creation_time_0_and_other_files_are_unknown(tmp_path):
    assert mt.read_movie(clip(tmp_path, hero5_style(1), created=None)).creation_time is None
    assert mt.read_movie(put(tmp_path, "a.avi", b"RIFF....AVI LIST")) == mt.Movie()


@needs_shared
def test_movie_facts_of_karma():
    found = mt.read_movie(SHARED / "videos" / "karma.mp4")
    assert (found.creation_time, round(found.duration, 2), found.make) == (
        1492457277.0,
        12.08,
        "GoPro",
    )


# Tables


def test_table_rows_come_with_line_numbers_and_without_blanks(tmp_path):
    path = put(tmp_path, "a.csv", 'name,lat\r\n\r\n"a, b.jpg","4""5"\r\n , \r\nc.jpg,46')
    assert mt.read_table(path) == [
        (1, ["name", "lat"]),
        (3, ["a, b.jpg", '4"5']),
        (5, ["c.jpg", "46"]),
    ]
    assert mt.read_table(path, header=True)[0] == (3, ["a, b.jpg", '4"5'])


@pytest.mark.parametrize(
    "delimiter, mark",
    [
        ("tab", "\t"),
        ("\\t", "\t"),
        ("\t", "\t"),
        (";", ";"),
        ("semicolon", ";"),
        (",", ","),
        ("|", "|"),
    ],
)
def test_table_delimiters(tmp_path, delimiter, mark):
    assert mt.read_table(put(tmp_path, "a.csv", mark.join(["a b", "c"])), delimiter) == [
        (1, ["a b", "c"])
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_table_encodings(tmp_path, encoding):
    assert mt.read_table(put(tmp_path, "a.csv", "Größe–ä.jpg,1\n".encode(encoding))) == [
        (1, ["Größe–ä.jpg", "1"])
    ]


def test_table_cell_over_two_lines_counts_both(tmp_path):
    assert mt.read_table(put(tmp_path, "a.csv", '"a\nb",1\nc,2\n')) == [
        (1, ["a\nb", "1"]),
        (3, ["c", "2"]),
    ]


@pytest.mark.slow
def test_table_quote_that_is_never_closed_costs_its_line_only(tmp_path):
    assert mt.read_table(put(tmp_path, "a.csv", 'a,1\n"b,2\nc,3\n')) == [
        (1, ["a", "1"]),
        (2, ['"b', "2"]),
        (3, ["c", "3"]),
    ]
    rows = mt.read_table(put(tmp_path, "b.csv", '"b,2\n' + "c,3\n" * 60000))
    assert len(rows) == 60001 and rows[-1] == (60001, ["c", "3"])


def test_table_errors_are_told(tmp_path):
    with pytest.raises(mt.NotFound):
        mt.read_table(tmp_path / "no.csv")
    with pytest.raises(mt.ToolError):
        mt.read_table(put(tmp_path, "a.csv", "a"), "::")


# Laws


def test_errors_are_of_one_argument_and_pickle(tmp_path):
    import pickle

    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(put(tmp_path, "a.gpx", gpx("")))
    assert pickle.loads(pickle.dumps(error.value)).args == error.value.args


def test_gopro_without_gps_streams_says_so(tmp_path):
    assert "no GPS data" in refused(clip(tmp_path, [device(accelerations())] * 3)).wrong


def test_gopro_cut_off_before_any_telemetry_says_so(tmp_path):
    whole = movie(hero5_style(3), moov_first=True)
    said = refused(put(tmp_path, "cut.mp4", whole[: whole.index(b"mdat") + 12]))
    assert said.code == "track_damaged" and "past the end of cut.mp4" in said.value


def test_hostile_type_text_does_not_fill_the_memory(tmp_path):
    stream = nest(
        b"STRM", klv(b"TYPE", "c", [b"l[999]" * 10000], 1), klv(b"GPS9", "?", [bytes(32)], 32)
    )
    begin = time.perf_counter()
    refused(clip(tmp_path, [device(stream)]))
    assert soon(time.perf_counter() - begin, 1.0)


def test_nmea_year_of_twenty_digits_is_no_date(tmp_path):
    assert times(
        log(tmp_path, "$GPZDA,120000,31,05," + "9" * 20 + ",00,00", rmc(CLIP_SECONDS, 1, 2))
    ) == [0]


def test_samples_that_all_lie_at_one_place_are_not_read_again_and_again(tmp_path):
    block = klv(b"ACCL", "B", [bytes(250)] * 4000, 250) + device(accelerations())
    whole = movie([block] + [b""] * 3999)
    sizes, places = whole.index(b"stsz") + 16, whole.index(b"stco") + 12
    whole = whole[:sizes] + words(*[len(block)] * 4000) + whole[sizes + 16000 :]
    whole = whole[:places] + whole[places : places + 4] * 4000 + whole[places + 16000 :]
    assert "and 3994 more of a.mp4 are damaged" in refused(put(tmp_path, "a.mp4", whole)).value


def test_sample_count_beyond_the_file_does_not_hang(tmp_path):
    whole = movie(hero5_style(3))
    sizes, runs = whole.index(b"stsz") + 8, whole.index(b"stsc") + 12
    whole = whole[:sizes] + words(1, 0xFFFFFFFF) + whole[sizes + 8 :]
    whole = whole[:runs] + words(1, 0xFFFFFFFF) + whole[runs + 8 :]
    begin = time.perf_counter()
    refused(put(tmp_path, "a.mp4", whole))
    assert soon(time.perf_counter() - begin, 1.0)


def test_stamps_of_a_folder_of_tracks_tell_every_file_that_is_read(tmp_path):
    """Frames are made anew when a track below a subfolder changes."""
    (tmp_path / "day").mkdir()
    track = put(tmp_path / "day", "a.gpx", b"<gpx/>")
    before = mt.track_stamps([str(tmp_path)])
    track.write_bytes(b"<gpx></gpx>")
    assert before and mt.track_stamps([str(tmp_path)]) != before

"""Floor 7: logs of cameras and receivers (FIT, KML, TCX, DJI .srt, CSV, Insta360, Novatek), held against their makers and
against gpsbabel, fitdecode and exiftool.
"""

import random
import re
import shutil
import struct
import subprocess

import mapillary_tools as mt
import pytest
from making_logs import (
    BYTES,
    EVENT,
    F64,
    FIT_EPOCH,
    FIT_FIELDS,
    GPS_METADATA,
    RECORD,
    RIDE,
    S32,
    STRING,
    TIME,
    U8,
    U16,
    U32,
    U64,
    VIRB_FIELDS,
    Fit,
    columbus,
    csv_log,
    fit,
    fit_started,
    fit_values,
    fit_virb,
    free_gps,
    gx_track,
    insta360,
    insta360_row,
    insta360_trailer,
    kml,
    kmz,
    line_string,
    moved,
    multi_track,
    novatek,
    placemark,
    point_mark,
    semicircles,
    srt_brackets,
    srt_gps,
    srt_latitude_first,
    srt_undated,
    stamp,
    subtitles,
    table,
    tcx,
    trackpoint,
)
from making_tracks import CLIP_SECONDS, gpx, iso, movie, trkpt

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)
needs_gpsbabel = pytest.mark.skipif(
    shutil.which("gpsbabel") is None, reason="gpsbabel is not installed"
)
QUARTERS = pytest.mark.parametrize("lat, lon", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
BASE = round(CLIP_SECONDS) - FIT_EPOCH
NO_FIX = "without a GPS fix"


def put(folder, name, content):
    """Write a file and give its path."""
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def read(folder, name, content, kind="auto"):
    """The Track of a file with this content."""
    return mt.read_track(put(folder, name, content), kind)


def refused(folder, name, content, kind="auto"):
    """The Problem with which a file of this content is refused."""
    path = put(folder, name, content)
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path, kind)
    problem = error.value.problem
    assert problem.file == str(path) and problem.wrong and problem.remedy
    return problem


def times(track):
    """Times of a track counted from the made recordings' begin."""
    return [round(fix.time - CLIP_SECONDS, 3) for fix in track.points]


def near(mine, other, within):
    """Whether two numbers are as close as that; None is like None only."""
    if mine is None or other is None:
        return mine is other
    return abs(mine - other) <= within


def agree(track, points, place=1e-7, alt=0.101, course=0.01, time=0.0005):
    """Hold a Track against points, each number as closely as its format writes it; alt or course None = not told."""
    assert len(track.points) == len(points)
    for fix, point in zip(track.points, points):
        assert near(fix.time, point[0], time), (fix, point)
        assert near(fix.lat, point[1], place) and near(fix.lon, point[2], place), (fix, point)
        assert near(fix.alt, None if alt is None else point[3], alt or 0), (fix, point)
        assert near(fix.course, None if course is None else point[4], course or 0), (fix, point)


def said_of_utc(track):
    """Whether a note says that the clock was taken as UTC."""
    return any("UTC" in note for note in track.notes)


def gpsbabel(kind, path):
    """[(time, lat, lon, alt)] of the tracks that gpsbabel finds."""
    command = ["gpsbabel", "-t", "-i", kind, "-f", str(path), "-o", "gpx", "-F", "-"]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    rows = []
    for lat, lon, inner in re.findall(r'<trkpt lat="(.*?)" lon="(.*?)">(.*?)</trkpt>', found, re.S):
        alt, time = (re.findall(f"<{name}>(.*?)</{name}>", inner) for name in ("ele", "time"))
        rows.append((time[0], float(lat), float(lon), float(alt[0]) if alt else None))
    return rows


def held_against_gpsbabel(kind, path):
    """Hold a file's Track against what gpsbabel makes of it."""
    points, judged = mt.read_track(path).points, gpsbabel(kind, path)
    assert judged and [iso(fix.time) for fix in points] == [row[0] for row in judged]
    for fix, (_, lat, lon, alt) in zip(points, judged):
        assert near(fix.lat, lat, 1.1e-9 + 1e-8) and near(fix.lon, lon, 1.1e-9 + 1e-8)
        assert near(fix.alt, alt, 0.0011)


def exiftool(path):
    """[(time text, lat, lon, course)] that exiftool finds."""
    names = ("GPSDateTime", "GPSLatitude", "GPSLongitude", "GPSTrack")
    command = ["exiftool", "-ee", "-n", "-s", "-a", *(f"-{name}" for name in names), str(path)]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    columns = [re.findall(rf"^{name} *: (.*)", found, re.MULTILINE) for name in names]
    return [(time, *map(float, row)) for time, *row in zip(*columns)]


def held_against_exiftool(path):
    """Hold a movie's Track against what exiftool makes of it."""
    points, judged = mt.read_track(path).points, exiftool(path)
    assert len(points) == len(judged) > 0
    for fix, (time, lat, lon, course) in zip(points, judged):
        assert iso(int(fix.time)) == time.replace(":", "-", 2).replace(" ", "T")
        assert (
            near(fix.lat, lat, 1e-9) and near(fix.lon, lon, 1e-9) and near(fix.course, course, 1e-4)
        )


def rides(most=8, start=CLIP_SECONDS, grain=1):
    """A hypothesis strategy of points, `grain` times a second, nowhere at exactly 0,0."""
    st = pytest.importorskip("hypothesis.strategies")
    row = st.tuples(
        st.integers(1, 1000),
        st.integers(-899999999, 899999999).filter(bool).map(lambda value: value / 1e7),
        st.integers(-1799999000, 1799999000).filter(bool).map(lambda value: value / 1e7),
        st.integers(-4000, 60000).map(lambda value: value / 10),
        st.integers(0, 35900).map(lambda value: value / 100),
    )

    def add_up(rows):
        points, ticks = [], 0
        for step, *more in rows:
            ticks += step
            points.append((start + ticks / grain, *more))
        return points

    return st.lists(row, min_size=1, max_size=most).map(add_up)


def round_trip(folder, name, make, judge, grain=1):
    """Any ride that is made into a file comes back from it."""
    from hypothesis import given, settings

    @settings(max_examples=60)
    @given(rides(grain=grain))
    def check(points):
        judge(read(folder, name, make(points)), points)

    check()


MADE = {  # kind, name of a file and its content
    "fit": ("fit", "a.fit", fit(RIDE)),
    "virb": ("fit", "v.fit", fit_virb(RIDE, records=RIDE[:2])),
    "kml": ("kml", "a.kml", kml(placemark(gx_track(RIDE)))),
    "marks": ("kml", "m.kml", kml(*map(point_mark, RIDE))),
    "kmz": ("kml", "a.kmz", kmz(("doc.kml", kml(placemark(gx_track(RIDE)))))),
    "tcx": ("tcx", "a.tcx", tcx("".join(map(trackpoint, RIDE)))),
    "brackets": ("srt", "a.srt", srt_brackets(RIDE, CLIP_SECONDS)),
    "gps": ("srt", "b.srt", srt_gps(RIDE, CLIP_SECONDS)),
    "csv": ("csv", "a.csv", csv_log(RIDE)),
    "columbus": ("csv", "c.csv", columbus(RIDE)),
    "insta360": ("insta360", "a.insv", insta360(RIDE)),
    "novatek": ("novatek", "a.mp4", novatek(list(map(free_gps, RIDE)))),
}


# All of them


@pytest.mark.parametrize("what", MADE)
def test_log_is_told_by_content_and_by_its_kind(tmp_path, what):
    kind, name, content = MADE[what]
    track = read(tmp_path, name, content)
    assert times(track) == [0, 1, 2, 3, 4] and track.starts == [0]
    assert read(tmp_path, "log.bin", content) == track._replace(
        notes=[note.replace(name, "log.bin") for note in track.notes]
    )
    assert mt.read_track(tmp_path / name, kind) == track


@pytest.mark.slow
@pytest.mark.parametrize("what", MADE)
def test_log_that_is_damaged_anywhere_raises_nothing_but_a_bad_track(tmp_path, what):
    _, name, content = MADE[what]
    content = content.encode("utf-8") if isinstance(content, str) else content
    dice, read_at_all = random.Random(what), 0
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(dice.choice((1, 1, 2, 9))):
            broken[dice.randrange(len(broken))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, 34, 60))
        if dice.random() < 0.3:
            del broken[dice.randrange(len(broken)) :]
        try:
            track = read(tmp_path, name, bytes(broken))
        except mt.BadTrack as error:
            assert error.problem.wrong and error.problem.remedy
        else:
            read_at_all += 1
            moments = [fix.time for fix in track.points]
            assert moments == sorted(set(moments)) and track.starts[0] == 0
            assert all(abs(fix.lat) <= 90 and abs(fix.lon) <= 180 for fix in track.points)
    assert read_at_all


@pytest.mark.parametrize("what", ["kml", "tcx"])
def test_xml_entities_are_refused(tmp_path, what):
    _, name, content = MADE[what]
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    head, rest = content.split("?>\n", 1)
    assert refused(tmp_path, name, f"{head}?>\n{bomb}{rest}").code == "track_entities"


@pytest.mark.parametrize("what", ["kml", "marks", "tcx"])
def test_xml_that_is_cut_off_is_read_up_to_there_and_said(tmp_path, what):
    _, name, content = MADE[what]
    place = content.rindex("</coordinates" if what == "marks" else "</") - 120
    place = content.rindex("</gx:coord>") + 20 if what == "kml" else place
    track = read(tmp_path, name, content[:place])
    assert times(track) in ([0, 1, 2, 3, 4], [0, 1, 2, 3])
    assert any("not quite XML" in note for note in track.notes)


@pytest.mark.parametrize("what", ["kml", "tcx"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_xml_encoding_is_understood(tmp_path, what, encoding):
    _, name, content = MADE[what]
    content = content.replace("UTF-8", encoding.replace("-sig", "")).replace("made", "Mäde")
    assert times(read(tmp_path, name, content.encode(encoding))) == [0, 1, 2, 3, 4]


def test_log_beside_a_gpx_is_joined_with_it(tmp_path):
    put(tmp_path, "a.fit", fit(RIDE))
    put(tmp_path, "b.gpx", gpx(trkpt(47.2, 8.3, iso(CLIP_SECONDS + 60))))
    assert times(mt.read_track(tmp_path)) == [0, 1, 2, 3, 4, 60]


# FIT


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("header", [12, 14])
@QUARTERS
def test_fit_gives_points(tmp_path, big, header, lat, lon):
    points = moved(RIDE, lat, lon)
    track = read(tmp_path, "a.fit", fit(points, big, header=header))
    agree(track, points, course=None)
    assert (track.starts, track.dropped, list(track.notes), track.zero) == ([0], {}, [], None)


@pytest.mark.parametrize(
    "low, high, alt",
    [
        (4500, 0xFFFFFFFF, 400.0),
        (0xFFFF, 4501, 400.2),
        (4500, 2500 + 5 * 20000, 20000.0),
        (0xFFFF, 0xFFFFFFFF, None),
        (0, 0xFFFFFFFF, -500.0),
    ],
)
def test_fit_enhanced_altitude_wins_and_invalid_is_unknown(tmp_path, low, high, alt):
    made = Fit().identified().define(1, RECORD, FIT_FIELDS)
    made.data(1, BASE, semicircles(47.1), semicircles(8.2), low, high, 99)
    assert near(read(tmp_path, "a.fit", made.file()).points[0].alt, alt, 1e-6)


@pytest.mark.parametrize("lat, lon", [(None, None), (None, 8.2), (47.1, None)])
def test_fit_record_without_a_fix_is_counted(tmp_path, lat, lon):
    points = [RIDE[0], (RIDE[1][0], lat, lon, None, None), *RIDE[2:]]
    track = read(tmp_path, "a.fit", fit(points))
    assert times(track) == [0, 2, 3, 4] and track.dropped == {NO_FIX: 1}


def test_fit_without_any_fix_is_refused(tmp_path):
    problem = refused(tmp_path, "a.fit", fit([(*RIDE[0][:1], None, None, None, None)] * 3))
    assert problem.code == "track_unusable" and f"3 {NO_FIX}" in problem.value


def test_fit_distance_of_a_record_is_not_its_course(tmp_path):
    made = Fit().identified().define(1, RECORD, [*FIT_FIELDS, (5, U32), (6, U16)])
    for point in RIDE:
        made.data(1, *fit_values(point), 9000, 5000)
    agree(read(tmp_path, "a.fit", made.file()), RIDE, course=None)


def test_fit_record_without_place_fields_is_no_point(tmp_path):
    made = Fit().identified().define(2, RECORD, [(TIME, U32), (3, U8)])
    for second in range(3):
        made.data(2, BASE + second, 99)
    made.define(1, RECORD, FIT_FIELDS).data(1, *fit_values(RIDE[4]))
    assert times(read(tmp_path, "a.fit", made.file())) == [4]


@pytest.mark.parametrize("big", [False, True])
def test_fit_local_type_may_be_redefined_in_mid_file(tmp_path, big):
    made = fit_started(RIDE[:2])
    made.define(1, RECORD, [(1, S32), (3, U8), (0, S32), (TIME, U32), (78, U32)], big=big)
    for time, lat, lon, alt, _ in RIDE[2:]:
        when = round(time) - FIT_EPOCH
        made.data(1, semicircles(lon), 99, semicircles(lat), when, round((alt + 500) * 5))
    agree(read(tmp_path, "a.fit", made.file()), RIDE, course=None)


def test_fit_developer_fields_are_stepped_over(tmp_path):
    made = Fit().identified()
    made.define(2, 207, [(3, U8)]).data(2, 0)  # developer_data_id
    made.define(3, 206, [(0, U8), (1, U8), (2, U8), (3, STRING, 5)]).data(3, 0, 0, 13, b"odd\0\0")
    made.define(1, RECORD, FIT_FIELDS, developer=[(0, 3, 0), (1, 1, 0)])
    for point in RIDE:
        made.data(1, *fit_values(point), b"\x43\x41\x01", b"\xff")
    agree(read(tmp_path, "a.fit", made.file()), RIDE, course=None)


def test_fit_unknown_messages_and_arrays_of_any_size_are_stepped_over(tmp_path):
    made = Fit().identified()
    made.define(
        4, 0xFF01, [(0, U16, 3), (1, STRING, 7), (2, BYTES, 5), (3, F64), (4, U64), (5, U32, 9)]
    )
    made.raw(b"\x45\0\0" + struct.pack("<HB", RECORD, 4) + bytes([9, 3, U32, TIME, 4, U32]))
    made.raw(bytes([0, 4, S32, 1, 4, S32]))  # a field 9 of three bytes in numbers of four
    made.define(1, RECORD, FIT_FIELDS)
    for number, point in enumerate(RIDE):
        made.data(4, (1, 2, 3), b"\x01\x41.FIT\0", (1, 2, 3, 4, 5), 1.5, 1 << 60, tuple(range(9)))
        if number == 2:
            made.raw(b"\5abc" + struct.pack("<I2i", BASE + 2, *map(semicircles, point[1:3])))
        else:
            made.data(1, *fit_values(point))
    track = read(tmp_path, "a.fit", made.file())
    assert times(track) == [0, 1, 2, 3, 4] and near(track.points[2].lat, RIDE[2][1], 1e-7)


def compressed(seconds):
    """A FIT whose records but the first have compressed timestamps."""
    made = Fit().identified().define(1, RECORD, [(TIME, U32), (0, S32), (1, S32)])
    made.data(1, BASE, semicircles(47.1), semicircles(8.2))
    made.define(2, RECORD, [(0, S32), (1, S32)])
    for second in seconds:
        made.compressed(2, BASE + second, semicircles(47.1), semicircles(8.2 + second * 1e-4))
    return made.file()


ROLLING = [1, 2, 30, 31, 32, 60, 91]  # never 32 or more from the one before


def test_fit_compressed_timestamps_roll_over(tmp_path):
    track = read(tmp_path, "a.fit", compressed(ROLLING))
    assert times(track) == [0, *ROLLING] and near(track.points[-1].lon, 8.2091, 1e-7)


def test_fit_whole_timestamp_of_any_message_is_what_compressed_ones_count_from(tmp_path):
    made = Fit().identified().define(1, EVENT, [(TIME, U32), (0, U8), (1, U8)])
    made.define(2, RECORD, [(0, S32), (1, S32)])
    made.data(1, BASE, 0, 0).compressed(2, BASE + 5, semicircles(47.1), semicircles(8.2))
    made.data(1, BASE + 100, 9, 3).compressed(2, BASE + 101, semicircles(47.2), semicircles(8.2))
    assert times(read(tmp_path, "a.fit", made.file())) == [5, 101]


def test_fit_files_one_behind_the_other_are_all_read(tmp_path):
    content = fit(RIDE[:2], header=12) + fit(RIDE[2:4], big=True) + fit(RIDE[4:])
    agree(read(tmp_path, "a.fit", content), RIDE, course=None)


@pytest.mark.parametrize("crc", [False, True])
def test_fit_of_a_recording_that_was_never_finished_is_read_to_its_end(tmp_path, crc):
    track = read(tmp_path, "a.fit", fit(RIDE, size=0, crc=crc))
    agree(track, RIDE, course=None)


def test_fit_that_is_cut_off_is_read_up_to_there_and_said(tmp_path):
    content, last = fit(RIDE), 1 + 4 + 4 + 4 + 2 + 4 + 1
    for missing in range(3, last + 2):
        track = read(tmp_path, "a.fit", content[:-missing])
        assert times(track) == [0, 1, 2, 3] and len(track.notes) == 1, missing
    assert "a.fit" in track.notes[0]


def test_fit_data_without_definition_ends_what_can_be_read_and_is_said(tmp_path):
    made = fit_started(RIDE[:3]).raw(b"\x0b" + bytes(9))
    for point in RIDE[3:]:
        made.data(1, *fit_values(point))
    track = read(tmp_path, "a.fit", made.file())
    assert times(track) == [0, 1, 2] and len(track.notes) == 1


@pytest.mark.parametrize(
    "event, kind, starts",
    [
        (0, 1, [0, 3]),
        (0, 4, [0, 3]),
        (0, 0, [0]),
        (0, 3, [0]),
        (9, 4, [0]),  # a lap
    ],
)
def test_fit_stopped_timer_starts_a_segment(tmp_path, event, kind, starts):
    made = fit_started(RIDE[:3]).define(2, EVENT, [(TIME, U32), (3, U32), (0, U8), (1, U8)])
    made.data(2, BASE + 2, 0, event, kind)
    for point in RIDE[3:]:
        made.data(1, *fit_values(point))
    track = read(tmp_path, "a.fit", made.file())
    assert times(track) == [0, 1, 2, 3, 4] and track.starts == starts


def tenths(count=45, first=CLIP_SECONDS + 0.07):
    """Points ten times a second."""
    return [
        (first + i / 10, 47.1 + i * 1e-5, -8.2 + i * 1e-5, 400.0, 10.0 + i / 100)
        for i in range(count)
    ]


def test_fit_of_a_camera_is_within_a_tenth_of_a_second_of_the_truth(tmp_path):
    points = tenths()
    track = read(tmp_path, "v.fit", fit_virb(points, records=RIDE))
    agree(track, points, time=0.11)
    offsets = [fix.time - point[0] for fix, point in zip(track.points, points)]
    assert max(offsets) - min(offsets) < 0.001, "one offset for the whole file"


def test_fit_of_a_camera_without_utc_takes_the_correlation_of_the_clocks(tmp_path):
    points = tenths()
    content = fit_virb(points, utc=False, correlation=True, records=RIDE, boot=1000.0)
    agree(read(tmp_path, "v.fit", content), points, time=0.002)


@pytest.mark.parametrize("options", [{"utc": False}, {"points": True}])
def test_fit_of_a_camera_without_usable_samples_gives_its_records(tmp_path, options):
    points = [(point[0], None, None, None, None) for point in RIDE] if "points" in options else RIDE
    content = fit_virb(points, utc="points" in options, records=moved(RIDE, -1, 1))
    agree(read(tmp_path, "v.fit", content), moved(RIDE, -1, 1), course=None)


def test_fit_of_a_camera_whose_clock_is_right_tells_the_time_itself(tmp_path):
    made = Fit().identified().define(3, GPS_METADATA, VIRB_FIELDS)
    for tenth in range(5):
        place = semicircles(47.1), semicircles(8.2 + tenth * 1e-5)
        made.data(3, BASE, tenth * 100, *place, 4500, 0, 0xFFFF, 0xFFFFFFFF)
    track = read(tmp_path, "v.fit", made.file())
    assert times(track) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert track.points[0].course is None and near(track.points[0].alt, 400.0, 1e-6)


@pytest.mark.parametrize("content", [b"", b"\x0e\x20\x54\x08\0\0\0\0.FIT", fit([]), fit(RIDE)[:30]])
def test_fit_without_points_is_refused(tmp_path, content):
    refused(tmp_path, "a.fit", content)


@pytest.mark.slow
def test_fit_of_any_ride_comes_back(tmp_path):
    round_trip(tmp_path, "a.fit", fit, lambda track, points: agree(track, points, course=None))


@needs_gpsbabel
def test_fit_agrees_with_gpsbabel(tmp_path):
    for big in (False, True):
        path = put(tmp_path, "a.fit", fit(moved(RIDE, -1, 1), big))
        held_against_gpsbabel("garmin_fit", path)
    # it counts on from whole timestamps only
    held_against_gpsbabel("garmin_fit", put(tmp_path, "c.fit", compressed([3, 9, 31])))


@pytest.mark.parametrize(
    "content",
    [fit(RIDE[:3]) + fit(moved(RIDE[3:], -1, -1), big=True), compressed(ROLLING)],
    ids=["chained", "compressed"],
)
def test_fit_agrees_with_fitdecode(tmp_path, content):
    fitdecode = pytest.importorskip("fitdecode")
    path = put(tmp_path, "a.fit", content)
    judged = []
    with fitdecode.FitReader(str(path), check_crc=fitdecode.CrcCheck.RAISE) as frames:
        for frame in frames:
            if isinstance(frame, fitdecode.FitDataMessage) and frame.name == "record":
                lat, lon = (frame.get_value(f"position_{name}") for name in ("lat", "long"))
                alt = frame.get_value("enhanced_altitude", fallback=None)
                when = frame.get_value("timestamp").timestamp()
                judged.append((when, lat * 180 / 2**31, lon * 180 / 2**31, alt, None))
    assert len(judged) >= 5
    agree(mt.read_track(path), judged, place=1e-12, alt=1e-9, course=None)


# KML and KMZ


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("angles", [False, True])
@QUARTERS
def test_kml_track_gives_points(tmp_path, interleaved, angles, lat, lon):
    points = moved(RIDE, lat, lon)
    content = kml(placemark(gx_track(points, interleaved, angles)))
    track = read(tmp_path, "a.kml", content)
    agree(track, points, alt=1e-6, course=0.01 if angles else None)
    assert (track.starts, track.dropped, list(track.notes)) == ([0], {}, [])


def test_kml_multi_track_keeps_its_segments(tmp_path):
    parts = RIDE[:2], RIDE[2:3], RIDE[3:]
    track = read(tmp_path, "a.kml", kml(placemark(multi_track(*map(gx_track, parts)))))
    agree(track, RIDE)
    assert track.starts == [0, 2, 3]


def test_kml_placemarks_are_one_segment_by_time(tmp_path):
    shuffled = [RIDE[i] for i in (3, 0, 4, 1, 2)]
    track = read(tmp_path, "a.kml", kml(*map(point_mark, shuffled)))
    agree(track, RIDE, course=None)
    assert track.starts == [0]


def test_kml_place_without_altitude_has_none(tmp_path):
    points = [(*point[:3], None, None) for point in RIDE]
    agree(read(tmp_path, "a.kml", kml(placemark(gx_track(points, angles=False)))), points)
    agree(read(tmp_path, "b.kml", kml(*map(point_mark, points))), points)


@pytest.mark.parametrize("view", ["Camera", "LookAt"])
def test_kml_time_of_a_view_is_not_the_time_of_a_place(tmp_path, view):
    when = "<gx:TimeStamp><when>1999-01-01T00:00:00Z</when></gx:TimeStamp>"
    more = f"<{view}>{when}<longitude>1</longitude><latitude>2</latitude></{view}>"
    bare = placemark("<Point><coordinates>8,47</coordinates></Point>", before=more)
    track = read(tmp_path, "a.kml", kml(point_mark(RIDE[0], more=more), bare))
    assert times(track) == [0] and track.dropped == {"without a time": 1}


@pytest.mark.parametrize("own, gx", [("", "x:"), ("k:", "gx:"), ("k:", "k:")])
@pytest.mark.parametrize("body", [placemark(gx_track(RIDE)), "".join(map(point_mark, RIDE))])
def test_kml_prefixes_do_not_matter(tmp_path, own, gx, body):
    content = re.sub(r"<(/?)(?![?!])(\w+)(?=[ >/])", rf"<\1{own}\2", kml(body, names="NAMES"))
    names = {own: "http://www.opengis.net/kml/2.2", gx: "http://www.google.com/kml/ext/2.2"}
    content = content.replace("<gx:", "<" + gx).replace("</gx:", "</" + gx)
    declared = "".join(
        f' xmlns{":" if name else ""}{name[:-1]}="{space}"' for name, space in names.items()
    )
    content = content.replace(f"{own}kmlNAMES>", f"{own}kml{declared}>")
    agree(read(tmp_path, "a.kml", content), RIDE, course=0.01 if "Track" in body else None)


@pytest.mark.parametrize(
    "end, shift", [("Z", 0), ("+00:00", 0), ("+02:00", -7200), ("-09:30", 34200)]
)
def test_kml_zone_of_a_time_counts(tmp_path, end, shift):
    track = read(tmp_path, "a.kml", kml(placemark(gx_track(RIDE[:1], end=end))))
    assert times(track) == [shift]


def test_kml_missing_coordinate_does_not_move_the_others(tmp_path):
    content = kml(placemark(gx_track(RIDE, angles=False)))
    places = re.findall("<gx:coord>.*?</gx:coord>", content)
    track = read(tmp_path, "a.kml", content.replace(places[1], "<gx:coord></gx:coord>"))
    agree(track, [RIDE[0], *RIDE[2:]], course=None)
    assert sum(track.dropped.values()) == 1


def test_kml_places_without_times_are_counted_beside_others(tmp_path):
    bare = placemark("<Point><coordinates>8.2,47.1</coordinates></Point>")
    content = kml(placemark(line_string(RIDE[:3])), *map(point_mark, RIDE), bare)
    track = read(tmp_path, "a.kml", content)
    agree(track, RIDE, course=None)
    assert track.dropped == {"without a time": 4}


def test_kml_line_beside_a_track_adds_nothing_to_it(tmp_path):
    content = kml(placemark(line_string(RIDE[:3])), placemark(gx_track(RIDE)))
    agree(read(tmp_path, "a.kml", content), RIDE)


@pytest.mark.parametrize(
    "body, count",
    [
        (placemark(line_string(RIDE)), 5),
        (placemark("<Point><coordinates>8.2,47.1,400</coordinates></Point>"), 1),
    ],
)
def test_kml_without_any_time_is_refused(tmp_path, body, count):
    problem = refused(tmp_path, "a.kml", kml(body))
    assert problem.code == "track_unusable" and f"{count} without a time" in problem.value


@pytest.mark.parametrize("content", [kml(), kml(placemark("")), "<kml"])
def test_kml_without_places_is_refused(tmp_path, content):
    refused(tmp_path, "a.kml", content)


@pytest.mark.slow
def test_kml_of_any_ride_comes_back(tmp_path):
    round_trip(
        tmp_path,
        "a.kml",
        lambda points: kml(placemark(gx_track(points, interleaved=len(points) % 2))),
        lambda track, points: agree(track, points, alt=1e-6),
        grain=10,
    )


@needs_gpsbabel
def test_kml_agrees_with_gpsbabel(tmp_path):
    for interleaved in (False, True):
        content = kml(placemark(gx_track(moved(RIDE, -1, 1), interleaved)))
        held_against_gpsbabel("kml", put(tmp_path, "a.kml", content))
    halves = multi_track(gx_track(RIDE[:2]), gx_track(RIDE[2:]))
    held_against_gpsbabel("kml", put(tmp_path, "m.kml", kml(placemark(halves))))


GOOD, OTHER = kml(placemark(gx_track(RIDE))), kml(placemark(gx_track(moved(RIDE, -1, -1))))


@pytest.mark.parametrize(
    "files",
    [
        [("doc.kml", GOOD)],
        [("another.kml", OTHER), ("files/a.png", b"\x89PNG"), ("doc.kml", GOOD)],
        [("files/a.png", b"\x89PNG"), ("first.kml", GOOD), ("second.kml", OTHER)],
        [("sub/track.KML", GOOD)],
    ],
)
def test_kmz_gives_its_main_document(tmp_path, files):
    agree(read(tmp_path, "a.kmz", kmz(*files)), RIDE)


@pytest.mark.parametrize(
    "content",
    [
        kmz(("doc.kml", GOOD), locked=True),
        kmz(("doc.kml", GOOD))[:-30],
        kmz(("doc.kml", GOOD)).replace(b"doc.kml", b"doc\0kml"),
        kmz(("doc.kml", GOOD))[:60] + b"\xaa" * 30 + kmz(("doc.kml", GOOD))[90:],
        kmz(("readme.txt", "nothing")),
        kmz(("doc.kml", "no XML at all")),
        kmz(),
    ],
    ids=["password", "cut", "odd name", "damaged", "no KML", "no XML", "empty"],
)
def test_kmz_that_cannot_be_read_is_refused_in_words(tmp_path, content):
    assert "rror" not in refused(tmp_path, "a.kmz", content).wrong


def test_kmz_is_not_unpacked_without_bounds(tmp_path):
    assert times(read(tmp_path, "a.kmz", kmz(("doc.kml", kml(" " * (1 << 20), GOOD[39:]))))) != []
    start, end = GOOD.split("<Placemark", 1)
    bomb = kmz(("doc.kml", start + " " * (70 << 20) + "<Placemark" + end))
    assert len(bomb) < 1 << 20
    refused(tmp_path, "bomb.kmz", bomb)


# TCX


@QUARTERS
def test_tcx_gives_points(tmp_path, lat, lon):
    points = moved(RIDE, lat, lon)
    track = read(tmp_path, "a.tcx", tcx("".join(map(trackpoint, points))))
    agree(track, points, alt=1e-6, course=None)
    assert (track.starts, track.dropped, list(track.notes)) == ([0], {}, [])


def test_tcx_keeps_its_segments_and_fractions_of_seconds(tmp_path):
    points = [(point[0] + 0.25, *point[1:]) for point in RIDE]
    texts = [trackpoint(point, digits=3) for point in points]
    track = read(tmp_path, "a.tcx", tcx("".join(texts[:2]), "", "".join(texts[2:])))
    agree(track, points, course=None)
    assert track.starts == [0, 2]


def test_tcx_point_without_place_is_counted(tmp_path):
    points = [RIDE[0], (*RIDE[1][:1], None, None, 400.0, None), *RIDE[2:]]
    track = read(tmp_path, "a.tcx", tcx("".join(map(trackpoint, points))))
    assert times(track) == [0, 2, 3, 4] and list(track.dropped.values()) == [1]
    assert "without a place" in list(track.dropped)[0]


def test_tcx_without_any_place_is_refused(tmp_path):
    points = [(point[0], None, None, 400.0, None) for point in RIDE]
    problem = refused(tmp_path, "a.tcx", tcx("".join(map(trackpoint, points))))
    assert problem.code == "track_unusable" and "5 without a place" in problem.value


def test_tcx_extensions_with_the_same_names_do_not_disturb(tmp_path):
    more = (
        '<Extensions><x:TPX xmlns:x="http://www.garmin.com/xmlschemas/ActivityExtension/v2">'
        "<x:Time>1999-01-01T00:00:00Z</x:Time><x:Speed>3</x:Speed><x:AltitudeMeters>9</x:AltitudeMeters>"
        "<x:LatitudeDegrees>1</x:LatitudeDegrees></x:TPX></Extensions>"
    )
    content = tcx("".join(trackpoint(point, more) for point in RIDE))
    agree(read(tmp_path, "a.tcx", content), RIDE, course=None)


def test_tcx_with_prefixed_names_is_read(tmp_path):
    content = re.sub(r"<(/?)(?![?!])(\w+)", r"<\1t:\2", tcx("".join(map(trackpoint, RIDE))))
    content = content.replace("xmlns=", "xmlns:t=")
    agree(read(tmp_path, "a.tcx", content), RIDE, course=None)


@pytest.mark.slow
def test_tcx_of_any_ride_comes_back(tmp_path):
    round_trip(
        tmp_path,
        "a.tcx",
        lambda points: tcx("".join(map(trackpoint, points))),
        lambda track, points: agree(track, points, alt=1e-6, course=None),
    )


@needs_gpsbabel
def test_tcx_agrees_with_gpsbabel(tmp_path):
    texts = list(map(trackpoint, moved(RIDE, -1, 1)))
    path = put(tmp_path, "a.tcx", tcx("".join(texts[:2]), "".join(texts[2:])))
    held_against_gpsbabel("gtrnctr", path)


# DJI subtitles

ZERO = CLIP_SECONDS - 1.5  # the first cue is at 1.5 s


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"date": "us"},
        {"blanks": True},
        {"longitude": "longtitude", "old": True},
        {"shift": 7200.0},
    ],
    ids=str,
)
@QUARTERS
def test_srt_of_new_drones_gives_points_on_the_clock_of_the_camera(tmp_path, options, lat, lon):
    points = moved(RIDE, lat, lon)
    track = read(tmp_path, "a.srt", srt_brackets(points, ZERO, **options))
    shift = options.get("shift", 0.0)
    late = 0.000697 if "date" in options else 0.0  # the last three digits of ,000,697
    local = [(point[0] + shift + late, *point[1:]) for point in points]
    agree(track, local, place=1e-6, alt=1e-6, course=None, time=1e-5)
    assert track.clock == "camera clock" and said_of_utc(track) and track.dropped == {}
    assert near(track.zero, ZERO + shift, 0.0011) and track.starts == [0]


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("home", [False, True])
@QUARTERS
def test_srt_of_old_drones_has_longitude_first(tmp_path, blank, home, lat, lon):
    points = moved(RIDE, lat, lon)
    track = read(tmp_path, "a.srt", srt_gps(points, ZERO, blank=blank, home=home))
    assert len(track.points) == 5 and track.clock == "camera clock" and said_of_utc(track)
    for fix, point in zip(track.points, points):
        assert (
            fix.time == point[0] and near(fix.lat, point[1], 1e-4) and near(fix.lon, point[2], 1e-4)
        )
        assert fix.alt != 16, "the third number is how many satellites there were"
    assert near(track.zero, ZERO, 0.001)


def test_srt_of_old_drones_never_takes_home_for_a_place(tmp_path):
    cues = [(i, f"HOME(8.2,47.1) 2024.05.31 12:00:0{i}\nBAROMETER:1.9") for i in range(3)]
    refused(tmp_path, "a.srt", subtitles(cues))
    whole = subtitles(cues) + srt_gps(RIDE[3:], CLIP_SECONDS)
    assert times(read(tmp_path, "b.srt", whole)) == [3, 4]


def test_srt_with_units_has_latitude_first(tmp_path):
    points = [(point[0] + 58, 36.6, -6.1 - i * 1e-3, 0, 0) for i, point in enumerate(RIDE)]
    content = srt_latitude_first(points, CLIP_SECONDS)
    assert "00:00:60," in content
    track = read(tmp_path, "a.srt", content)
    assert times(track) == [58, 59, 60, 61, 62]
    assert [(fix.lat, round(fix.lon, 4)) for fix in track.points] == [
        (36.6, round(point[2], 4)) for point in points
    ]


@pytest.mark.parametrize("name", ["FLY.MP4", "FLY.mp4"])
def test_srt_without_dates_counts_from_the_video_beside_it(tmp_path, name):
    put(tmp_path, name, movie(created=CLIP_SECONDS, duration=60000))
    points = [(point[0] + 1.5, *point[1:]) for point in RIDE]
    track = read(tmp_path, "FLY.srt", srt_undated(points, CLIP_SECONDS))
    assert times(track) == [1.5, 2.5, 3.5, 4.5, 5.5] and near(track.zero, CLIP_SECONDS, 0.001)
    assert near(track.points[4].lat, points[4][1], 1e-4)
    assert near(track.points[4].lon, points[4][2], 1e-4) and track.points[4].alt != 18


@pytest.mark.parametrize("created", [None, 0, "another name"])
def test_srt_without_dates_and_without_the_time_of_a_video_is_refused(tmp_path, created):
    if created is not None:
        name = "OTHER.MP4" if created else "FLY.MP4"
        put(tmp_path, name, movie(created=CLIP_SECONDS if created else 0, duration=60000))
    problem = refused(tmp_path, "FLY.srt", srt_undated(RIDE, CLIP_SECONDS))
    assert "without a time" in str(problem)


@pytest.mark.parametrize("shift", [7200, -12600, 20700, 46800])
@pytest.mark.parametrize("drift", [0, 90])
def test_srt_beside_its_video_is_in_utc(tmp_path, shift, drift):
    put(tmp_path, "FLY.MP4", movie(created=ZERO - drift, duration=60000))
    track = read(tmp_path, "FLY.srt", srt_brackets(RIDE, ZERO, shift))
    agree(track, RIDE, place=1e-6, alt=1e-6, course=None, time=0.001 + drift)
    assert near(track.zero, ZERO, 0.001 + drift) and not said_of_utc(track)


def test_srt_beside_a_video_of_the_same_clock_may_be_local(tmp_path):
    """Some drones write local time into both: that they agree does not say that it is UTC."""
    put(tmp_path, "FLY.MP4", movie(created=ZERO, duration=60000))
    track = read(tmp_path, "FLY.srt", srt_brackets(RIDE, ZERO))
    assert times(track) == [0, 1, 2, 3, 4]
    assert track.clock == "camera clock" and said_of_utc(track)


@pytest.mark.parametrize("created", [0, ZERO - 2400, ZERO - 86400 * 3])
def test_srt_beside_a_video_of_another_time_keeps_its_clock(tmp_path, created):
    put(tmp_path, "FLY.MP4", movie(created=created, duration=60000))
    track = read(tmp_path, "FLY.srt", srt_brackets(RIDE, ZERO))
    assert times(track) == [0, 1, 2, 3, 4]
    assert track.clock == "camera clock" and said_of_utc(track)


def test_srt_before_the_first_fix_is_counted(tmp_path):
    content = srt_brackets([(CLIP_SECONDS - 1, 0.0, 0.0, 0.0, None), *RIDE], ZERO)
    track = read(tmp_path, "a.srt", content)
    assert times(track) == [0, 1, 2, 3, 4] and sum(track.dropped.values()) == 1
    refused(tmp_path, "b.srt", srt_brackets([(CLIP_SECONDS, 0.0, 0.0, 0.0, None)], ZERO))


def test_srt_zero_of_the_video_is_the_median(tmp_path):
    content = srt_brackets(RIDE, ZERO).replace("12:00:00.000", "11:59:50.000")
    track = read(tmp_path, "a.srt", content)
    assert times(track) == [-10, 1, 2, 3, 4] and near(track.zero, ZERO, 0.001)


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_srt_line_ends_and_marks_do_not_matter(tmp_path, form, line):
    content = srt_brackets(RIDE, ZERO).replace("\n", line).encode(form)
    assert times(read(tmp_path, "a.srt", content)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "said",
    [
        "Where are we?",
        "Latitude and longitude, he said: 2024-05-31 12:00:00",
        "GPS (I think), yes.",
    ],
)
def test_srt_of_a_film_is_refused(tmp_path, said):
    refused(tmp_path, "film.srt", subtitles([(i, said) for i in range(5)]))


@pytest.mark.slow
def test_srt_of_any_flight_comes_back(tmp_path):
    round_trip(
        tmp_path,
        "a.srt",
        lambda points: srt_brackets(points, ZERO),
        lambda track, points: agree(track, points, 1e-6, 1e-6, None, 0.001),
        grain=25,
    )


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
@QUARTERS
def test_csv_gives_points(tmp_path, delimiter, quote, lat, lon):
    points = moved(RIDE, lat, lon)
    content = csv_log(points, delimiter=delimiter, quote=quote)
    track = read(tmp_path, "a.csv", content)
    agree(track, points, alt=0.006)
    assert (track.starts, track.dropped, list(track.notes)) == ([0], {}, [])


@pytest.mark.parametrize(
    "headings",
    [
        ["time", "lat", "lon", "alt", "course"],
        ["Timestamp", "Latitude", "Longitude", "Altitude", "Heading"],
        ["UTC", "LAT", "LNG", "ELE", "BEARING"],
        ["datetime", "latitude", "long", "elevation", "course"],
        ["gps_time", "gps_lat", "gps_lon", "gps_alt", "gps_course"],
        ["time (UTC)", "Latitude [deg]", "Longitude [deg]", "Altitude (m)", "Course (deg)"],
        ["location time", "location-latitude", "location-longitude", "height [m]", "heading"],
    ],
    ids=lambda row: row[1],
)
def test_csv_headings_of_many_programs_are_known(tmp_path, headings):
    agree(read(tmp_path, "a.csv", csv_log(RIDE, headings)), RIDE, alt=0.006)


def test_csv_columns_may_stand_in_any_order_among_others(tmp_path):
    rows = [
        [str(i), f"{lon:.7f}", "x", f"{lat:.7f}", stamp(time, end="Z"), "9.9"]
        for i, (time, lat, lon, _, _) in enumerate(RIDE)
    ]
    content = table(["id", "lon", "note", "lat", "time", "speed"], rows)
    agree(read(tmp_path, "a.csv", content), RIDE, alt=None, course=None)


@pytest.mark.parametrize(
    "write, note",
    [
        (lambda seconds: stamp(seconds, end="Z"), False),
        (lambda seconds: stamp(seconds + 7200, end="+02:00"), False),
        (lambda seconds: stamp(seconds, "%Y-%m-%d %H:%M:%S", 3), True),
        (lambda seconds: stamp(seconds, "%Y/%m/%d %H:%M:%S"), True),
        (lambda seconds: stamp(seconds, "%d.%m.%Y %H:%M:%S"), True),
        (lambda seconds: f"{seconds:.3f}", False),
        (lambda seconds: f"{seconds * 1e3:.0f}", False),
        (lambda seconds: f"{seconds * 1e6:.0f}", False),
    ],
    ids=["Z", "zone", "none", "slashes", "dots", "s", "ms", "us"],
)
def test_csv_time_of_many_forms_is_understood(tmp_path, write, note):
    track = read(tmp_path, "a.csv", csv_log(RIDE, time=write))
    agree(track, RIDE, alt=0.006)
    assert said_of_utc(track) is note


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"]
)
@pytest.mark.parametrize("clock", ["%H:%M:%S", "%H:%M"])  # spreadsheets leave seconds out
def test_csv_date_and_time_may_be_two_columns(tmp_path, form, clock):
    points = [(CLIP_SECONDS + i * 60, *point[1:]) for i, point in enumerate(RIDE)]
    rows = [
        [stamp(time, form), stamp(time, clock), f"{lat:.7f}", f"{lon:.7f}"]
        for time, lat, lon, _, _ in points
    ]
    track = read(tmp_path, "a.csv", table(["Date", "Time", "Latitude", "Longitude"], rows))
    agree(track, points, alt=None, course=None)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
def test_csv_order_of_day_and_month_is_decided_by_the_whole_column(tmp_path, form):
    days = [1717070400.0 - 86400 * 20 + 86400 * i for i in range(5)]  # 10 to 14 May 2024
    points = [(day + 43200, *point[1:]) for day, point in zip(days, RIDE)]
    track = read(tmp_path, "a.csv", csv_log(points, time=lambda at: stamp(at, form + " %H:%M:%S")))
    agree(track, points, alt=0.006)


def split(form, clock, zone, ahead):
    """Rows of date, time, latitude, longitude and zone; the clock is `ahead` seconds of UTC."""
    return [
        [stamp(at + ahead, form), clock(at + ahead), f"{lat:.7f}", f"{lon:.7f}", zone]
        for at, lat, lon, _, _ in RIDE
    ]


@pytest.mark.parametrize(
    "zone, ahead",
    [
        ("+02:00", 7200),
        ("+2", 7200),
        ("2", 7200),
        ("-3.5", -12600),
        ("7200", 7200),
        ("-18000", -18000),
        ("+120", 7200),
        ("UTC+2", 7200),
        ("Z", 0),
        ("GMT", 0),
        ("33U", 0),  # of UTM: no zone of the clock
    ],
)
def test_csv_zone_has_a_column_of_its_own(tmp_path, zone, ahead):
    rows = split("%Y-%m-%d", lambda at: stamp(at, "%H:%M:%S"), zone, ahead)
    content = table(["Date", "Time", "Latitude", "Longitude", "Zone"], rows)
    agree(read(tmp_path, "a.csv", content), RIDE, alt=None, course=None)


def test_csv_zone_beside_times_that_need_none_changes_nothing(tmp_path):
    for name, write in (("s", lambda at: f"{at:.0f}"), ("z", lambda at: stamp(at, end="Z"))):
        rows = [[write(at), f"{lat:.7f}", f"{lon:.7f}", "+02:00"] for at, lat, lon, _, _ in RIDE]
        content = table(["time", "lat", "lon", "utc_offset"], rows)
        agree(read(tmp_path, name + ".csv", content), RIDE, alt=None, course=None)
    rows = split("%Y-%m-%d", lambda at: stamp(at, "%H:%M:%S"), "+02:00", 0)
    content = table(["UTC date", "UTC time", "lat", "lon", "zone"], rows)
    agree(read(tmp_path, "u.csv", content), RIDE, alt=None, course=None)


def test_csv_zone_that_nobody_knows_is_no_time(tmp_path):
    rows = split("%Y-%m-%d", lambda at: stamp(at, "%H:%M:%S"), "local", 0)
    refused(tmp_path, "a.csv", table(["Date", "Time", "Latitude", "Longitude", "Zone"], rows))


@pytest.mark.parametrize("hour", [0, 7])
def test_csv_zeros_that_a_spreadsheet_took_from_the_begin_of_a_time_are_there(tmp_path, hour):
    begin = 1714953600.0 + hour * 3600  # 2024-05-06
    points = [(begin + i * 127, *point[1:]) for i, point in enumerate(RIDE)]
    points.append((begin + 36000, *RIDE[0][1:]))  # nothing else tells 127 from 01:27
    rows = [
        [stamp(at, "%Y%m%d"), str(int(stamp(at, "%H%M%S"))), f"{lat:.7f}", f"{lon:.7f}"]
        for at, lat, lon, _, _ in points
    ]
    track = read(tmp_path, "a.csv", table(["Date", "Time", "Latitude", "Longitude"], rows))
    agree(track, points, alt=None, course=None)


@pytest.mark.parametrize("mark", [",", ";"])
def test_csv_remarks_before_the_headings_tell_no_delimiter(tmp_path, mark):
    content = csv_log(RIDE, delimiter=mark)
    for remark in (
        "A trip of May\r\n",
        "[GPS log]\r\n",
        "One, two, three\r\n",
        "one; two\r\n\r\n",
        "# a|b\r\n",
    ):
        agree(read(tmp_path, "a.csv", remark + content), RIDE, alt=0.006)


@pytest.mark.parametrize("line", ["\r", "\n"])
def test_csv_ends_lines_in_any_way(tmp_path, line):
    agree(read(tmp_path, "a.csv", csv_log(RIDE, line=line)), RIDE, alt=0.006)


@pytest.mark.parametrize(
    "text, lat, metres",
    [
        ("1,312 ft", "47.1", 1312 * 0.3048),
        ("1,312.5", "47.1", 1312.5),
        ("1,312", "47,1", 1.312),
        ("312,5", "47.1", 312.5),
    ],
)
def test_csv_altitude_with_a_comma(tmp_path, text, lat, metres):
    rows = [
        [stamp(at, end="Z"), lat, "8,25" if "," in lat else "8.25", text]
        for at in range(1717156800, 1717156803)
    ]
    track = read(tmp_path, "a.csv", table(["time", "lat", "lon", "alt"], rows, quote='"'))
    assert [point.alt for point in track.points] == pytest.approx([metres] * 3)


def test_csv_of_which_day_and_month_cannot_be_told_is_refused(tmp_path):
    points = [(CLIP_SECONDS + 86400 * (5 + i), *point[1:]) for i, point in enumerate(RIDE)]
    content = csv_log(points, time=lambda at: stamp(at, "%d/%m/%Y %H:%M:%S"))
    problem = refused(tmp_path, "a.csv", content)
    assert "ambiguous" in str(problem) or "day" in str(problem)
    assert "05/06/2024" in str(problem)


@pytest.mark.parametrize(
    "heading", ["Altitude (ft)", "altitude_feet", "elevation [feet]", "alt ft"]
)
def test_csv_feet_are_made_metres(tmp_path, heading):
    points = [(*point[:3], 1000.0, point[4]) for point in RIDE]
    track = read(tmp_path, "a.csv", csv_log(points, ["time", "lat", "lon", heading, "course"]))
    assert all(near(fix.alt, 304.8, 1e-6) for fix in track.points)


@pytest.mark.parametrize("padded", [False, True])
@QUARTERS
def test_csv_of_a_columbus_logger_is_read(tmp_path, padded, lat, lon):
    points = moved(RIDE, lat, lon)
    track = read(tmp_path, "a.csv", columbus(points, padded))
    agree(track, points, place=1e-6, alt=0.51, course=0.51)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_csv_decimal_commas_are_understood(tmp_path, delimiter):
    content = csv_log(RIDE, delimiter=delimiter, time=lambda at: stamp(at, end="Z"))
    agree(read(tmp_path, "a.csv", content.replace(".", ",")), RIDE, alt=0.006)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1"])
def test_csv_encoding_is_understood(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    content = mark + csv_log(RIDE).replace("\r\n", ",Größe\r\n")
    agree(read(tmp_path, "a.csv", content.encode(encoding)), RIDE, alt=0.006)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_csv_without_a_column_says_which_headings_there_are(tmp_path, gone):
    headings = ["time", "lat", "lon", "Remark"]
    headings[gone] = "Something"
    problem = refused(tmp_path, "a.csv", csv_log(RIDE, headings), "csv")
    assert problem.code == "track_columns"
    assert all(heading in problem.value for heading in headings)


def test_csv_bad_rows_are_counted_and_the_rest_stays(tmp_path):
    good = csv_log(RIDE).splitlines()
    bad = [
        ",47.1,8.2,400,90",
        "noon,47.1,8.2,400,90",
        "2024-05-31T12:00:09Z,north,8.2,400,90",
        "2024-05-31T12:00:09Z,47.1",
        "2024-05-31T12:00:09Z,95,8.2,400,90",
        "2024-05-31T12:00:09Z,0,0,400,90",
    ]
    lines = [good[0], bad[0], good[1], "", *bad[1:4], *good[2:], *bad[4:]]
    track = read(tmp_path, "a.csv", "\n".join(lines) + "\n")
    agree(track, RIDE, alt=0.006)
    assert sum(track.dropped.values()) == len(bad)


def test_csv_altitude_that_is_none_keeps_the_place(tmp_path):
    content = csv_log(RIDE).replace("400.00,90.00", ",").replace("400.20", "high")
    track = read(tmp_path, "a.csv", content)
    assert times(track) == [0, 1, 2, 3, 4]
    assert [fix.alt is None for fix in track.points] == [True, True, False, False, False]
    assert track.points[0].course is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\r\n", "\r\n" + "x" * (1 << 22) + "\r\n", 2),
        lambda text: text.replace("\r\n", "," + "9" * (1 << 20) + "\r\n", 3),
        lambda text: text.replace("\r\n", "\0\r\n", 3),
        lambda text: text.replace("2024", "\0\0\0", 2),
        lambda text: text + '"' + text * 3,
        lambda text: text.replace("47.1", '"47.1', 1),
    ],
    ids=["long lines", "long cells", "NUL at ends", "NUL in times", "quote at end", "quote"],
)
def test_csv_of_odd_bytes_never_crashes(tmp_path, spoil):
    try:
        track = read(tmp_path, "a.csv", spoil(csv_log(RIDE)))
    except mt.BadTrack as error:
        assert error.problem.remedy
    else:
        assert track.points


@pytest.mark.parametrize(
    "content", ["time,lat,lon\n", "time,lat,lon\n\n\n", "lat,lon,time\nx,y,z\n"]
)
def test_csv_without_points_is_refused(tmp_path, content):
    refused(tmp_path, "a.csv", content)


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "Dear Sir or Madam,\nthe track is late.\n", "x" * 500]
)
def test_text_of_another_kind_is_refused(tmp_path, content):
    refused(tmp_path, "a.csv", content)


@pytest.mark.slow
def test_csv_of_any_ride_comes_back(tmp_path):
    round_trip(
        tmp_path, "a.csv", csv_log, lambda track, points: agree(track, points, alt=0.006), grain=10
    )


@needs_gpsbabel
def test_csv_agrees_with_gpsbabel(tmp_path):
    points = moved(RIDE, -1, 1)
    held_against_gpsbabel("unicsv", put(tmp_path, "a.csv", csv_log(points)))
    held_against_gpsbabel("v900", put(tmp_path, "c.csv", columbus(points, padded=True)))


# Insta360


@pytest.mark.parametrize("west", [b"W", b"O"])
@QUARTERS
def test_insta360_gives_points(tmp_path, west, lat, lon):
    points = [(point[0] + 0.125, *point[1:]) for point in moved(RIDE, lat, lon)]
    rows = [insta360_row(point, west=west) for point in points]
    track = read(tmp_path, "a.insv", insta360(points, rows=rows))
    agree(track, points, place=1e-12, alt=1e-9, course=1e-9)
    assert track.zero is None and track.starts == [0] and track.dropped == {}


def test_insta360_rows_without_a_fix_are_no_points(tmp_path):
    rows = [insta360_row(point, b"V" if i in (0, 3) else b"A") for i, point in enumerate(RIDE)]
    track = read(tmp_path, "a.insv", insta360(RIDE, rows=rows))
    assert times(track) == [1, 2, 4] and sum(track.dropped.values()) == 2
    rows = [insta360_row(point, b"V") for point in RIDE]
    assert refused(tmp_path, "b.insv", insta360(RIDE, rows=rows)).code == "track_unusable"


def test_insta360_camera_is_named(tmp_path):
    said = mt.read_movie(put(tmp_path, "a.insv", insta360(RIDE, model="Insta360 ONE RS")))
    assert (said.make, said.model) == ("Insta360", "Insta360 ONE RS")
    assert (said.duration, said.creation_time) == (5, CLIP_SECONDS)


def test_insta360_records_of_other_kinds_are_stepped_over(tmp_path):
    more = [
        (0x400, bytes(16) * 4),
        (0x200, b"\xff\xd8" + b"A" * 1001),
        (0x900, b""),
        (0xB00, bytes(10)),
    ]
    agree(read(tmp_path, "a.insv", insta360(RIDE, more=more)), RIDE, place=1e-12)


def test_insta360_walk_ends_where_the_trailer_begins(tmp_path):
    inside = insta360_trailer([(0x101, b"")])
    picture = b"".join(map(insta360_row, moved(RIDE, -1, -1))) + struct.pack("<HI", 0x700, 53 * 5)
    content = movie(duration=5000) + picture + inside
    refused(tmp_path, "a.insv", content)


@pytest.mark.parametrize("length", [0, 1, 77, 1 << 20, 0xFFFFFFFF])
def test_insta360_trailer_of_an_impossible_length_is_no_crash(tmp_path, length):
    path = put(tmp_path, "a.insv", insta360(RIDE, length=length))
    mt.read_movie(path)
    try:
        track = mt.read_track(path)
    except mt.BadTrack:
        return
    assert length > path.stat().st_size and times(track) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_insta360_of_any_ride_comes_back(tmp_path):
    round_trip(
        tmp_path,
        "a.insv",
        insta360,
        lambda track, points: agree(track, points, 1e-12, 1e-9, 1e-9),
        grain=10,
    )


@needs_exiftool
def test_insta360_agrees_with_exiftool(tmp_path):
    held_against_exiftool(put(tmp_path, "a.insv", insta360(moved(RIDE, -1, 1))))


# Novatek


@pytest.mark.parametrize("shift", [0, 7200])
@QUARTERS
def test_novatek_gives_points_on_the_clock_of_the_camera(tmp_path, shift, lat, lon):
    points = moved(RIDE, lat, lon)
    content = novatek([free_gps(point, shift=shift) for point in points])
    track = read(tmp_path, "a.mp4", content)
    local = [(point[0] + shift, *point[1:]) for point in points]
    agree(track, local, place=1e-5, alt=None, course=1e-4)
    assert track.clock == "camera clock" and said_of_utc(track)
    assert near(track.zero, CLIP_SECONDS + shift, 0.001) and track.dropped == {}


def test_novatek_blocks_without_a_fix_are_counted_and_keep_their_second(tmp_path):
    blocks = [free_gps(point, b"V" if i < 2 else b"A") for i, point in enumerate(RIDE)]
    track = read(tmp_path, "a.mp4", novatek(blocks))
    assert times(track) == [2, 3, 4] and track.dropped == {NO_FIX: 2}
    assert near(track.zero, CLIP_SECONDS, 0.001)
    only = [free_gps(point, b"V") for point in RIDE]
    assert refused(tmp_path, "b.mp4", novatek(only)).code == "track_unusable"


def test_novatek_blocks_that_are_none_are_left_out_and_said(tmp_path):
    blocks = [
        free_gps(point, mark=b"freeGP? " if i == 1 else b"freeGPS ") for i, point in enumerate(RIDE)
    ]
    track = read(tmp_path, "a.mp4", novatek(blocks))
    assert times(track) == [0, 2, 3, 4] and near(track.zero, CLIP_SECONDS, 0.001)
    assert len(track.notes) > len(read(tmp_path, "b.mp4", novatek(blocks[2:])).notes)


@pytest.mark.parametrize("place, size", [(1 << 20, 0x400), (0xFFFFFFF0, 0x400), (0, 0), (24, 8)])
def test_novatek_entries_that_lead_nowhere_are_left_out_and_said(tmp_path, place, size):
    blocks = list(map(free_gps, RIDE))
    content = novatek(blocks, entries=lambda places: [*places[:4], (place, size)])
    track = read(tmp_path, "a.mp4", content)
    assert times(track) == [0, 1, 2, 3] and any("a.mp4" in note for note in track.notes)


@pytest.mark.parametrize(
    "content",
    [
        novatek([]),
        novatek(list(map(free_gps, RIDE)), entries=lambda places: [(1 << 30, 0x400)] * 5),
        novatek([free_gps(point, mark=b"\xcc\xd8\xcf\xcf\xed\xfa\xf9\x8a") for point in RIDE]),
    ],
    ids=["empty", "past the end", "scrambled"],
)
def test_novatek_without_blocks_that_can_be_read_is_refused(tmp_path, content):
    refused(tmp_path, "a.mp4", content)


def test_novatek_count_that_is_too_high_is_no_crash(tmp_path):
    content = novatek(list(map(free_gps, RIDE)))
    at = content.index(b"gps ") + 8
    track = read(tmp_path, "a.mp4", content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :])
    assert times(track) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("month, hour", [(13, 1), (0, 1), (5, 25)])
def test_novatek_block_with_a_time_that_cannot_be_is_no_point(tmp_path, month, hour):
    blocks = list(map(free_gps, RIDE))
    block = bytearray(blocks[2])
    struct.pack_into("<I", block, 0x10, hour)
    struct.pack_into("<I", block, 0x20, month)
    blocks[2] = bytes(block)
    assert times(read(tmp_path, "a.mp4", novatek(blocks))) == [0, 1, 3, 4]


def test_novatek_minutes_that_a_float_rounds_up_to_sixty_are_a_place(tmp_path):
    points = [(CLIP_SECONDS + i, 47.999999, 8.9999999, None, 90.0) for i in range(2)]
    track = read(tmp_path, "a.mp4", novatek(list(map(free_gps, points))))
    agree(track, points, place=1e-5, alt=None)


@pytest.mark.slow
def test_novatek_of_any_ride_comes_back(tmp_path):
    def judge(track, points):
        agree(track, points, place=2e-5, alt=None, course=1e-4)

    round_trip(tmp_path, "a.mp4", lambda points: novatek(list(map(free_gps, points))), judge)


@needs_exiftool
def test_novatek_agrees_with_exiftool(tmp_path):
    path = put(tmp_path, "a.mp4", novatek(list(map(free_gps, moved(RIDE, -1, 1)))))
    held_against_exiftool(path)


def test_csv_rows_with_decimal_commas_between_commas_are_counted(tmp_path):
    content = "time,lat,lon\n2024-05-31T12:00:00Z,47,1,8,2\n2024-05-31T12:00:01Z,47.1,8.2,\n"
    track = read(tmp_path, "a.csv", content)
    assert times(track) == [1] and "decimal comma" in list(track.dropped)[0]


def test_csv_years_of_two_digits_are_refused(tmp_path):
    problem = refused(tmp_path, "a.csv", "time,lat,lon\n24-05-31 12:00:00,47.1,8.2\n")
    assert problem.code == "track_dates" and problem.value == "24-05-31"


@pytest.mark.parametrize(
    "headings, row",
    [
        ("Time,Timestamp,Latitude,Longitude", "0.0,2024-05-31T12:00:00Z,47.1,8.2"),
        ("timestamp,lat,lon", "1.7171568E9,47.1,8.2"),
        ("date,time,lat,lon", "2024-05-31,1717156800,47.1,8.2"),
    ],
)
def test_csv_whole_times_win_over_elapsed_ones(tmp_path, headings, row):
    assert times(read(tmp_path, "a.csv", f"{headings}\n{row}\n")) == [0]


def test_kmz_whose_first_file_is_empty_gives_the_track_of_the_next(tmp_path):
    content = kmz(("a.kml", kml()), ("b.kml", kml(placemark(gx_track(RIDE)))))
    agree(read(tmp_path, "a.kmz", content), RIDE)


def test_an_archive_without_kml_is_called_what_it_is(tmp_path):
    problem = refused(tmp_path, "a.zip", kmz(("a.txt", "x")))
    assert "ZIP archive without a KML" in problem.wrong and "unpack it" in problem.remedy


# ---- tables of many programs --------------------------------------------------------------------


def columns(headings, write):
    """A table of the ride; write gives the cells of a point."""
    return table(headings, [write(*point) for point in RIDE])


def plain_place(lat, lon):
    return [f"{lat:.7f}", f"{lon:.7f}"]


FORM = "%Y-%m-%d %H:%M:%S"


@pytest.mark.parametrize("turned", [False, True])
def test_csv_time_in_utc_counts_before_one_that_is_local_or_elapsed(tmp_path, turned):
    """As the logs of drones have them."""
    headings = ["datetime(utc)", "datetime(local)", "time(millisecond)"]
    order = [2, 1, 0] if turned else [0, 1, 2]

    def write(at, lat, lon, *_):
        cells = [stamp(at, FORM), stamp(at + 32400, FORM), str(int((at - RIDE[0][0]) * 1000))]
        return [*plain_place(lat, lon), *(cells[place] for place in order)]

    names = ["latitude", "longitude", *(headings[place] for place in order)]
    track = read(tmp_path, "a.csv", columns(names, write))
    agree(track, RIDE, alt=None, course=None)
    assert not said_of_utc(track)


def test_csv_time_may_be_in_a_column_for_each_part(tmp_path):
    names = ["year", "month", "day", "hour", "minute", "second", "lat", "lon"]

    def write(at, lat, lon, *_):
        parts = stamp(at, "%Y,%m,%d,%H,%M,%S").split(",")
        return [*(str(int(part)) for part in parts), *plain_place(lat, lon)]

    agree(read(tmp_path, "a.csv", columns(names, write)), RIDE, alt=None, course=None)


@pytest.mark.parametrize(
    "write",
    [
        lambda at: stamp(at, FORM) + " UTC",
        lambda at: stamp(at + 7200, "%d-%b-%Y %H:%M:%S") + "+02:00",
        lambda at: stamp(at, "%a %b %d %H:%M:%S GMT+00:00 %Y"),
        lambda at: stamp(at + 3600, "%a %b %d %H:%M:%S GMT+01:00 %Y"),
        lambda at: f"{at / 86400 + 25569:.9f}",  # of a spreadsheet
        lambda at: stamp(at, "%Y%m%dT%H%M%SZ"),
    ],
    ids=["UTC", "month", "words", "words and zone", "serial", "compact"],
)
def test_csv_time_of_still_other_forms_is_understood(tmp_path, write):
    cells = columns(
        ["time", "lat", "lon"], lambda at, lat, lon, *_: [write(at), *plain_place(lat, lon)]
    )
    agree(read(tmp_path, "a.csv", cells), RIDE, alt=None, course=None, time=0.002)


@pytest.mark.parametrize(
    "names",
    [
        ["Date", "Heure", "Latitude", "Longitude"],
        ["Datum", "Uhrzeit", "Breite", "L\u00e4nge"],
        ["Fecha", "Hora", "Latitud", "Longitud"],
    ],
)
def test_csv_headings_may_be_in_other_languages(tmp_path, names):
    def write(at, lat, lon, *_):
        return [stamp(at, "%Y-%m-%d"), stamp(at, "%H:%M:%S"), *plain_place(lat, lon)]

    track = read(tmp_path, "a.csv", columns(names, write).encode("utf-8"))
    agree(track, RIDE, alt=None, course=None)


def test_csv_places_may_be_degrees_minutes_and_seconds(tmp_path):
    def written(value, sides):
        minutes, seconds = divmod(abs(value) * 3600, 60)
        degrees, minutes = divmod(minutes, 60)
        return f"{degrees:.0f}\u00b0{minutes:.0f}'{seconds:.4f}\"{sides[value < 0]}"

    def write(at, lat, lon, *_):
        return [stamp(at, end="Z"), written(lat, "NS"), written(-lon, "EW")]

    rows = [[cell.replace('"', '""') for cell in write(*point)] for point in RIDE]
    content = table(["time", "lat", "lon"], rows, quote='"').replace(
        '"time","lat","lon"', "time,lat,lon"
    )
    ride = [(at, lat, -lon, *rest) for at, lat, lon, *rest in RIDE]
    agree(read(tmp_path, "a.csv", content.encode("utf-8")), ride, alt=None, course=None, place=1e-6)


def test_csv_place_that_cannot_be_read_is_shown(tmp_path):
    content = columns(
        ["time", "lat", "lon"], lambda at, *_: [stamp(at, end="Z"), "4851.493", "here"]
    )
    problem = refused(tmp_path, "a.csv", content)
    assert "4851.493, here" in problem.value and "decimal degrees" in problem.remedy


@pytest.mark.parametrize(
    "content, word",
    [
        (b'{"type": "FeatureCollection"}', "JSON"),
        (b"[[1, 2]]", "JSON"),
        (b"\x1f\x8b\x08\0", "archive"),
    ],
)
def test_what_a_file_is_that_is_no_track_is_said(tmp_path, content, word):
    problem = refused(tmp_path, "t.gpx", content)
    assert word in problem.wrong


@pytest.mark.parametrize(
    "write",
    [
        lambda at: stamp(at) + " UTC",
        lambda at: stamp(at) + "GMT",
        lambda at: stamp(at) + ".Z",
        lambda at: stamp(at) + "+00:00Z",
        lambda at: stamp(at, "%Y%m%dT%H%M%SZ"),
    ],
    ids=["UTC", "GMT", "point", "twice", "compact"],
)
def test_gpx_time_of_other_forms_is_understood(tmp_path, write):
    points = "".join(trkpt(lat, lon, write(at)) for at, lat, lon, *_ in RIDE)
    agree(read(tmp_path, "a.gpx", gpx(points)), RIDE, alt=None, course=None)

"""Floor 4: text, EXIF, GPS and file-name time to seconds and back, and the zone rules."""

import datetime
import os
import subprocess
import sys
import time

import making
import pytest
from hypothesis import given, strategies as st

import mapillary_tools as mt
from conftest import ROOT, in_process

pytestmark = in_process
UTC = datetime.timezone.utc
HOUR = 3600.0


def seconds(*parts) -> float:
    return datetime.datetime(*parts, tzinfo=UTC).timestamp()


SHOT = seconds(2024, 5, 6, 7, 8, 9)


@pytest.mark.parametrize(
    "text, value",
    [
        ("2024:05:06 07:08:09", SHOT),
        ("2024-05-06 07:08:09", SHOT),
        ("2024/05/06 07:08:09", SHOT),
        ("2024.05.06 07.08.09", SHOT),
        ("2024:05:06 07:08:09\0\0", SHOT),
        ("  2024:05:06 07:08:09  ", SHOT),
        ("2024:05:06 07:08:09.25", SHOT + 0.25),
        ("2024:05:06 07:08:09,250", SHOT + 0.25),
        ("2024-05-06T07:08:09Z", SHOT),
        ("2024-05-06T09:08:09+02:00", SHOT),
        ("2024-05-06T02:08:09-0500", SHOT),
        ("2024:5:6 7:8:9", SHOT),
        ("2024:05:06  07:08:09", SHOT),
        ("2024:05:06 07:08", SHOT - 9),
        ("2024:05:06 24:10:11", seconds(2024, 5, 6, 0, 10, 11)),
        ("2024:05:06 07:60:09", seconds(2024, 5, 6, 8, 0, 9)),
        ("2024:05:06 07:08:60", seconds(2024, 5, 6, 7, 9, 0)),
        ("2024:12:31 24:00:00", seconds(2024, 12, 31)),
        ("1969:12:31 23:59:59", -1.0),
        ("1970:01:01 00:00:00", 0.0),
    ],
)
def test_text_that_is_a_time(text, value):
    assert mt.parse_time(text) == value


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "    :  :     :  :  ",
        "0000:00:00 00:00:00",
        "2024:13:06 07:08:09",
        "2024:02:30 07:08:09",
        "2024:05:06",
        "07:08:09",
        "2024:05:06 25:00:00",
        "2024:05:06 07:61:00",
        "2024:05:06 07:08:62",
        "yesterday",
        "2024:05:06 07:08:09 PM",
        "20240506070809",
        "\0\0\0\0",
    ],
)
def test_text_that_is_no_time(text):
    assert mt.parse_time(text) is None


@pytest.mark.parametrize(
    "style, text",
    [
        ("iso", "2024-05-06T07:08:09.250Z"),
        ("exif", "2024:05:06 07:08:09"),
        ("map", "2024_05_06_07_08_09_250"),
    ],
)
def test_time_as_text(style, text):
    assert mt.format_time(SHOT + 0.25, style) == text


def test_time_as_text_is_rounded_to_the_millisecond_with_carry():
    assert mt.format_time(seconds(2024, 12, 31, 23, 59, 59) + 0.9996) == "2025-01-01T00:00:00.000Z"


@given(st.integers(min_value=-60000000000, max_value=7258118399000))
def test_time_to_text_and_back(milliseconds):
    assert mt.parse_time(mt.format_time(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000, abs=0.0006
    )


@given(st.text(max_size=40))
def test_no_text_raises(text):
    value = mt.parse_time(text)
    assert value is None or isinstance(value, float) or isinstance(value, int)
    mt.parse_offset(text)
    mt.file_name_time(text)


@pytest.mark.parametrize(
    "text, value",
    [
        ("+02:00", 7200.0),
        ("-05:00", -18000.0),
        ("+0530", 19800.0),
        ("Z", 0.0),
        ("+5:45", 20700.0),
        ("+02:00\0", 7200.0),
        ("+14:00", 50400.0),
        ("+15:00", None),
        ("02:00", None),
        ("", None),
        (None, None),
        ("+02:75", None),
        ("   :  ", None),
    ],
)
def test_zone_offset_text(text, value):
    assert mt.parse_offset(text) == value


@pytest.mark.parametrize(
    "value, text",
    [(7200, "+02:00"), (-18000, "-05:00"), (0, "+00:00"), (-1800, "-00:30"), (20700, "+05:45")],
)
def test_zone_offset_as_text(value, text):
    assert mt.format_offset(value) == text


@pytest.mark.parametrize(
    "name, value",
    [
        ("2024_05_06_07_08_09_250.jpg", SHOT + 0.25),
        ("2024_05_06_07_08_09_250_001.jpg", SHOT + 0.25),
        ("IMG_2024_05_06.jpg", None),
        ("2024_13_06_07_08_09_250.jpg", None),
        ("2024_05_06_07_08_09_2509.jpg", SHOT),
        ("2024_05_06_07_08_09.jpg", SHOT),
        ("IMG_20240506_070809.jpg", SHOT),
        ("20240506_070809.jpg", SHOT),
        ("2024-05-06 07.08.09.jpg", SHOT),
        ("IMG_20240506_070809123_HDR.jpg", SHOT + 0.123),
        ("IMG-20240506-WA0001.jpg", None),
        ("IMG_20240506_250809.jpg", None),
        ("120240506_0708091.jpg", None),
        ("0000_05_06_07_08_09.jpg", None),
    ],
)
def test_time_in_a_file_name(name, value):
    assert mt.file_name_time(name) == (value, None)


def test_a_name_that_a_pixel_gave_is_in_utc():
    assert mt.file_name_time("PXL_20240506_070809123.MP.jpg") == (SHOT + 0.123, 0.0)


# ---- capture time ------------------------------------------------------------------------------------------------------


def capture(name="a.jpg", zone=None, gps=None, **times):
    found = {"times": times}
    if gps is not None:
        found["gps_time"] = gps
    return mt.capture_time(mt.unpack_found(found), name, zone)


ORIGINAL = {"DateTimeOriginal": "2024:05:06 07:08:09"}


@pytest.mark.parametrize(
    "times, source",
    [
        ({**ORIGINAL, "DateTimeDigitized": "2020:01:01 00:00:00"}, "DateTimeOriginal"),
        (
            {"DateTimeDigitized": "2024:05:06 07:08:09", "DateTime": "2020:01:01 00:00:00"},
            "DateTimeDigitized",
        ),
        (
            {"DateTimeOriginal": "0000:00:00 00:00:00", "DateTime": "2024:05:06 07:08:09"},
            "DateTime",
        ),
        (
            {"DateTimeOriginal": "    ", "DateTimeDigitized": "2024:05:06 07:08:09"},
            "DateTimeDigitized",
        ),
    ],
)
def test_fields_are_asked_in_order(times, source):
    assert capture(**times)[:2] == (SHOT, source)


def test_gps_time_comes_after_the_text_fields():
    assert (
        capture(gps=SHOT)[:2] == (SHOT, "GPS time")
        and capture(gps=SHOT - 5 * HOUR - 1e6, **ORIGINAL).source == "DateTimeOriginal"
    )


def test_file_name_comes_last():
    assert capture("2024_05_06_07_08_09_000.jpg")[:2] == (SHOT, "file name")
    assert capture("2020_01_01_00_00_00_000.jpg", gps=SHOT).source == "GPS time"


def test_nothing_that_tells_is_none():
    assert capture() is None


@pytest.mark.parametrize(
    "fields, fraction",
    [
        ({"SubSecTimeOriginal": "25"}, 0.25),
        ({"SubSecTimeOriginal": "250   "}, 0.25),
        ({"SubSecTimeOriginal": "007"}, 0.007),
        ({"SubSecTimeDigitized": "5"}, 0.5),
        ({"SubSecTime": "5"}, 0.5),
        ({"SubSecTimeOriginal": "  ", "SubSecTime": "75"}, 0.75),
        ({"SubSecTimeOriginal": "1", "SubSecTime": "75"}, 0.1),
        ({"SubSecTimeOriginal": "0"}, 0.0),
        ({"SubSecTimeOriginal": "x"}, 0.0),
    ],
)
def test_subseconds_are_a_decimal_fraction(fields, fraction):
    assert capture(**ORIGINAL, **fields).time == pytest.approx(SHOT + fraction)


def test_subseconds_are_added_where_the_date_has_dots():
    assert (
        capture(DateTimeOriginal="2024.05.06 07.08.09", SubSecTimeOriginal="25").time == SHOT + 0.25
    )


def test_fraction_in_the_text_wins_over_subseconds():
    assert (
        capture(DateTimeOriginal="2024:05:06 07:08:09.5", SubSecTimeOriginal="25").time
        == SHOT + 0.5
    )


@pytest.mark.parametrize("field", ["OffsetTimeDigitized", "OffsetTime", "SubSecTime"])
def test_zone_and_fraction_of_another_field_are_not_those_of_the_capture(field):
    edit = {"DateTime": "2024:05:09 20:00:00", field: "+02:00" if "Off" in field else "5"}
    assert capture(**ORIGINAL, **edit)[:3] == (SHOT, "DateTimeOriginal", 0.0)


def test_zone_and_fraction_of_the_same_time_are_those_of_the_capture():
    same = {"DateTime": "2024:05:06 07:08:09", "OffsetTime": "+02:00", "SubSecTime": "5"}
    found = capture(**ORIGINAL, **same)
    assert (found.time, found.offset) == (SHOT - 2 * HOUR + 0.5, 2 * HOUR)


def test_zone_of_the_image_wins():
    field = "OffsetTimeOriginal"
    found = capture(zone="-05:00", gps=SHOT, **ORIGINAL, **{field: "+02:00"})
    assert (found.time, found.offset, found.zone) == (SHOT - 2 * HOUR, 2 * HOUR, field)


def test_zone_in_the_text_of_the_time():
    assert (
        capture(zone="-05:00", DateTimeOriginal="2024-05-06T07:08:09+02:00").time == SHOT - 2 * HOUR
    )


def test_timezone_wins_over_the_gps_time():
    assert capture(zone="-05:00", gps=SHOT - 2 * HOUR, **ORIGINAL)[:1] == (SHOT + 5 * HOUR,)


def test_timezone_does_not_move_a_gps_time():
    assert capture(zone="-05:00", gps=SHOT).time == SHOT


@pytest.mark.parametrize(
    "apart, offset",
    [
        (2 * HOUR, 2 * HOUR),
        (2 * HOUR + 299, 2 * HOUR),
        (2 * HOUR - 299, 2 * HOUR),
        (5.75 * HOUR, 5.75 * HOUR),
        (14 * HOUR, 14 * HOUR),
        (-12 * HOUR, -12 * HOUR),
        (-3.5 * HOUR, -3.5 * HOUR),
        (24 * HOUR + 2 * HOUR, 2 * HOUR),
        (-24 * HOUR - 3 * HOUR, -3 * HOUR),
        (2 * HOUR + 450, 2 * HOUR),
        (-328.0, 0.0),
        (2.0, 0.0),
    ],
)
def test_zone_implied_by_a_gps_time(apart, offset):
    found = capture(gps=SHOT - apart, **ORIGINAL)
    assert (found.offset, found.zone, found.time) == (offset, "GPS time", SHOT - offset)


@pytest.mark.parametrize("apart", [2 * HOUR + 451, 2.75 * HOUR, -460.0, 7 * 24 * HOUR, -51 * HOUR])
def test_gps_time_that_fits_no_zone_implies_none(apart):
    found = capture(gps=SHOT - apart, **ORIGINAL)
    assert (found.time, found.zone) == (SHOT, "UTC assumed")


def test_without_any_hint_the_zone_is_utc():
    assert capture(**ORIGINAL)[2:] == (0.0, "UTC assumed")


zones = pytest.mark.skipif(sys.version_info < (3, 9), reason="this Python knows no IANA zones")


@zones
@pytest.mark.parametrize(
    "zone, text, offset",
    [
        ("Europe/Paris", "2024:03:31 01:59:59", 1),
        ("Europe/Paris", "2024:03:31 03:00:00", 2),
        ("Europe/Paris", "2024:10:27 01:59:59", 2),
        ("Europe/Paris", "2024:10:27 03:00:00", 1),
        ("Europe/Paris", "2024:01:15 12:00:00", 1),
        ("Europe/Paris", "2024:07:15 12:00:00", 2),
        ("America/New_York", "2024:07:15 12:00:00", -4),
        ("Asia/Kathmandu", "2024:07:15 12:00:00", 5.75),
        ("UTC", "2024:07:15 12:00:00", 0),
    ],
)
def test_iana_zone_has_the_rule_of_the_capture_date(zone, text, offset):
    pytest.importorskip("zoneinfo")
    try:
        assert capture(zone=zone, DateTimeOriginal=text).offset == offset * HOUR
    except mt.UsageError:
        pytest.skip("this computer has no zone data")


@pytest.mark.parametrize(
    "zone", ["Nowhere/Land", "../../etc/passwd", "+25:00", "", " ", "/etc/localtime", "Europe"]
)
def test_unknown_zone_is_an_error_of_usage(zone):
    with pytest.raises(mt.UsageError):
        mt.zone_offset(zone, SHOT)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="TZ cannot be set on this system")
@pytest.mark.parametrize(
    "tz, text, offset",
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2024:07:15 12:00:00", 2),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2024:01:15 12:00:00", 1),
        ("EST5EDT,M3.2.0,M11.1.0", "2024:07:15 12:00:00", -4),
        ("UTC0", "2024:07:15 12:00:00", 0),
        ("XYZ-5:45", "2024:07:15 12:00:00", 5.75),
    ],
)
def test_local_time_has_this_computers_rule_for_the_capture_date(tz, text, offset):
    code = (
        "import sys; sys.path.insert(0, %r); import mapillary_tools as mt; "
        "found = mt.unpack_found({'times': {'DateTimeOriginal': %r}}); "
        "print(mt.capture_time(found, 'a.jpg', 'local').offset)" % (str(ROOT), text)
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ, TZ=tz), stdout=subprocess.PIPE
    ).stdout
    assert float(said) == offset * HOUR


# ---- spreading ---------------------------------------------------------------------------------------------------------


def test_subseconds_put_every_shot_inside_its_second():
    times, wrong = mt.spread_subseconds([10, 12, 15, 17], 2.5)
    assert wrong is None and [int(value) for value in times] == [10, 12, 15, 17]
    assert [b - a for a, b in zip(times, times[1:])] == pytest.approx([2.5] * 3)


def test_subseconds_name_the_first_shot_that_contradicts():
    assert mt.spread_subseconds([10, 12, 14, 30], 2.0) == ([10, 12, 14, 30], 3)


def test_subseconds_of_nothing_and_of_one():
    assert mt.spread_subseconds([], 1.0) == ([], None)
    assert mt.spread_subseconds([10.0], 1.0) == ([10.5], None)


@given(st.floats(0, 1000), st.floats(0.05, 5), st.integers(1, 40))
def test_subseconds_of_a_true_series_are_found(start, interval, count):
    truth = [start + number * interval for number in range(count)]
    times, wrong = mt.spread_subseconds([float(int(value)) for value in truth], interval)
    if wrong is None:
        assert all(abs(a - b) <= 1.0 + 1e-6 for a, b in zip(times, truth))
    else:
        assert any(abs(value - round(value)) < 1e-6 for value in truth), (
            "only rounding may contradict"
        )


def test_ties_are_spread_evenly_up_to_the_next():
    assert mt.spread_ties([10, 10, 10.5]) == ([10, 10.25, 10.5], 1)


def test_ties_are_spread_over_a_second_at_most():
    assert mt.spread_ties([10, 10, 99])[0] == [10, 10.5, 99] and mt.spread_ties([10, 10, 10, 10])[
        0
    ] == [10, 10.25, 10.5, 10.75]


@given(st.lists(st.integers(0, 30), max_size=40))
def test_spread_times_are_strictly_rising_and_stay_in_their_second(whole):
    whole.sort()
    times, ties = mt.spread_ties(whole)
    assert all(a < b for a, b in zip(times, times[1:])) and [int(value) for value in times] == whole
    assert ties == len(whole) - len(set(whole))


def test_times_without_ties_stay():
    assert mt.spread_ties([1, 2, 3.5]) == ([1, 2, 3.5], 0)


# ---- clocks that drift ---------------------------------------------------------------------------


EPOCH = datetime.datetime(1970, 1, 1)


def _card(folder, count=13, gain=6.0 / 3600, ahead=7203.0, gps=False, tags=False, border=1000):
    """Photos of an hour by a camera that is two hours and three seconds ahead, and gains; their true times.

    tags: it writes its zone; border: the number of the photo from which on it is set an hour later.
    """
    first, true = 1714979289.0, {}
    for n in range(count):
        real = first + n * 300.0
        zone = 7200.0 + 3600.0 * (n >= border)
        shown = real + ahead - 7200.0 + zone + gain * (real - first)
        local = EPOCH + datetime.timedelta(seconds=shown)
        utc = EPOCH + datetime.timedelta(seconds=real)
        more = {
            "gps_date": utc.strftime("%Y:%m:%d"),
            "gps_time": (utc.hour, utc.minute, utc.second),
        }
        making.photo(
            folder / f"{n:02d}.jpg",
            time=local.strftime("%Y:%m:%d %H:%M:%S"),
            subsec="%03d" % (local.microsecond // 1000),
            lat=57.7 + n * 1e-3,
            lon=11.97,
            offset=mt.format_offset(zone) if tags else None,
            **(more if gps and n % 3 == 0 else {}),
        )
        true[f"{n:02d}.jpg"] = real
    return true


def _times(folder, *more):
    options = mt.Geotagging(**dict(more))
    report = mt.process(
        mt.Input(import_path=str(folder)), mt.User(user_name="demo"), geotagging=options
    )
    return {image.path.name: image.time for image in report.images}, report


def _iso(seconds):
    return mt.format_time(seconds)


def test_one_sync_point_is_an_offset(tmp_path):
    true = _card(tmp_path / "p", gain=0.0)
    point = f"{_iso(true['05.jpg'])}@05.jpg"
    times, report = _times(tmp_path / "p", ("sync_point", (point,)))
    assert all(abs(times[name] - true[name]) < 0.002 for name in true)
    assert any("is ahead by +7203.0 s" in note for note in report.notes)


def test_a_camera_that_gains_six_seconds_an_hour_by_two_sync_points(tmp_path):
    true = _card(tmp_path / "p")
    points = tuple(f"{_iso(true[name])}@{name.upper()}" for name in ("00.jpg", "12.jpg"))
    times, _ = _times(tmp_path / "p", ("sync_point", points))
    assert max(abs(times[name] - true[name]) for name in true) < 0.2


def test_several_sync_points_are_followed_piece_by_piece(tmp_path):
    true = _card(tmp_path / "p", gain=0.0)
    wrong = {"00.jpg": 0.0, "06.jpg": 4.0, "12.jpg": 2.0}
    points = tuple(f"{_iso(true[name] + wrong[name])}@{name}" for name in wrong)
    times, _ = _times(tmp_path / "p", ("sync_point", points))
    assert abs(times["03.jpg"] - true["03.jpg"] - 2.0) < 0.01
    assert abs(times["09.jpg"] - true["09.jpg"] - 3.0) < 0.01


@pytest.mark.parametrize("tags", [False, True], ids=["no zone", "zone"])
@pytest.mark.parametrize("border", [1000, 11], ids=["one zone", "a border"])
def test_photos_with_both_times_are_sync_points_by_themselves(tmp_path, tags, border):
    true = _card(tmp_path / "p", count=25, gps=True, tags=tags, border=border)
    times, _ = _times(tmp_path / "p", ("time_source", "gps"))
    assert max(abs(times[name] - true[name]) for name in true) < 0.2


def test_a_stale_gps_time_moves_no_clock(tmp_path):
    true = _card(tmp_path / "p", gps=True)
    making.photo(
        tmp_path / "p" / "stale.jpg",
        time="2024:05:06 09:30:00",
        gps_date="2024:05:06",
        gps_time=(5, 0, 0),
        lat=57.7,
        lon=11.97,
    )
    times, _ = _times(tmp_path / "p", ("time_source", "gps"), ("keep_jumps", True))
    assert max(abs(times[name] - true[name]) for name in true) < 0.2


def test_each_camera_has_a_clock_of_its_own(tmp_path):
    true = _card(tmp_path / "p", gain=0.0)
    making.photo(
        tmp_path / "p" / "other.jpg", make="Other", time="2024:05:06 07:10:00", lat=57.7, lon=11.97
    )
    point = f"{_iso(true['05.jpg'])}@05.jpg"
    times, _ = _times(tmp_path / "p", ("sync_point", (point,)))
    assert times["other.jpg"] == mt.parse_time("2024:05:06 07:10:00")


@pytest.mark.parametrize("point", ["x", "2024-05-06T07:08:09Z", "@a.jpg", "noon@a.jpg"])
def test_a_sync_point_that_is_none_is_refused(point):
    with pytest.raises(mt.UsageError, match="TIME@IMAGE"):
        mt.Geotagging(sync_point=(point,))


def test_a_sync_point_of_an_image_that_is_not_there_is_refused(tmp_path):
    _card(tmp_path / "p", 2)
    with pytest.raises(mt.UsageError, match="not here"):
        _times(tmp_path / "p", ("sync_point", ("2024-05-06T07:08:09Z@nope.jpg",)))

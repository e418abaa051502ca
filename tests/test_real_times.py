"""Times of real cards: zones that GPS times and tracks imply, stale fixes, borders, resets, counters that ran over."""

from pathlib import Path
from typing import Any, List, Optional

import pytest

import making
import making_tracks as tracks
import mapillary_tools as mt

HOUR = 3600.0
LOCAL = "2021:03:04 14:06:07"
UTC = "2021_03_04_05_06_07_000"


def process(folder: Path, **geotagging: Any) -> Any:
    return mt.process(
        mt.Input(import_path=str(folder)),
        mt.User(user_name="demo"),
        mt.Geotagging(**geotagging),
    )


def times(folder: Path) -> List[str]:
    return [making.description(path)["MAPCaptureTime"] for path in sorted(folder.glob("*.jpg"))]


def one(folder: Path, **fields: Any) -> str:
    """The capture time of a folder's one photo, UTC."""
    making.photo(folder / "a.jpg", **{"lat": 10.0, "lon": 20.0, "time": LOCAL, **fields})
    report = process(folder)
    assert report.failed == [], list(map(str, report.failed))
    return times(folder)[0]


# ---- one photo's zone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "day", [None, "2021:03:259", "2021:03:04", "2021:03:04 05:06:05", "2021:03:03", "garbage"]
)
def test_gps_time_gives_the_zone_also_where_its_date_is_of_no_use(day, tmp_path):
    assert one(tmp_path / "p", gps_time="05:06:05", gps_date=day) == UTC


@pytest.mark.parametrize("day", ["2020:02:03", "2021:03:20", "1980:01:06", "1998:12:31"])
def test_gps_date_of_another_time_gives_no_zone(day, tmp_path):
    assert one(tmp_path / "p", gps_time="05:06:05", gps_date=day) == "2021_03_04_14_06_07_000"


def test_midnight_without_a_date_is_no_time(tmp_path):
    assert (
        one(tmp_path / "p", time="2021:03:04 12:03:00", gps_time="00:00:00")
        == "2021_03_04_12_03_00_000"
    )


@pytest.mark.parametrize(
    "clock, fits",
    [("05:00:39", True), ("04:58:38", True), ("04:58:27", False), ("03:21:07", False)],
)
def test_clocks_may_differ_by_450_seconds_from_an_offset_in_use(clock, fits, tmp_path):
    told = one(tmp_path / "p", gps_time=clock, gps_date="2021:03:04")
    assert told == (UTC if fits else "2021_03_04_14_06_07_000")


@pytest.mark.parametrize("lon, hour", [(177.25, "05"), (-170.7, "05"), (20.0, "05")])
@pytest.mark.parametrize("local, clock", [("2021:03:04 18:06:07", "05:06:05")])
def test_where_two_offsets_fit_the_longitude_decides(lon, hour, local, clock, tmp_path):
    told = one(tmp_path / "p", time=local, gps_time=clock, lat=-38.5, lon=lon)
    assert told == ("2021_03_05_05_06_07_000" if lon < 0 else UTC)


def test_offsets_in_use_are_those_that_people_live_in():
    hours = [offset / HOUR for offset in mt.OFFSETS_IN_USE]
    assert (
        2.75 not in hours
        and 12.75 in hours
        and min(hours) == -12
        and max(hours) == 14
        and len(hours) == 40
    )


@pytest.mark.parametrize(
    "text, right",
    [
        ("2021:03:04 24:04:20", "2021_03_04_00_04_20_000"),
        ("2021-03-04T05:06:07Z", UTC),
        ("2021:03:04 05:06:07.25", "2021_03_04_05_06_07_250"),
    ],
)
def test_odd_texts_of_times(text, right, tmp_path):
    assert one(tmp_path / "p", time=text) == right


@pytest.mark.parametrize(
    "text",
    [
        "2021:  :     :  :  ",
        "0000:00:00 00:00:00",
        "2002:12:08 12:00:00",
        "2000:01:01 00:03:00",
        "1970:01:01 00:00:00",
    ],
)
def test_unknown_time_is_unknown_and_the_next_field_is_tried(text, tmp_path):
    digitized = {"Exif": {0x9004: (making.ASCII, "2021:03:04 05:06:07")}}
    assert one(tmp_path / "p", time=text, more=digitized) == UTC
    kept = "2021:03:04 05:06:07" if "  " in text or "0000" in text else text
    assert making.read_exif(tmp_path / "p" / "a.jpg")["DateTimeOriginal"] == kept


def test_gps_time_beats_the_default_of_a_firmware(tmp_path):
    fields = dict(time="2002:12:08 12:00:00", gps_time="05:06:07", gps_date="2021:03:04")
    assert one(tmp_path / "p", **fields) == UTC


def test_default_is_taken_where_there_is_nothing_else(tmp_path):
    assert one(tmp_path / "p", time="2000:01:01 00:03:00") == "2000_01_01_00_03_00_000"


@pytest.mark.parametrize(
    "first, right", [("exif", "05_06_07"), ("gps", "05_07_00"), ("name", "05_08_09")]
)
def test_time_source_lets_the_person_choose(first, right, tmp_path):
    path = tmp_path / "p" / "IMG_20210304_050809.jpg"
    making.photo(
        path,
        lat=1.0,
        lon=2.0,
        time="2021:03:04 05:06:07",
        gps_time="05:07:00",
        gps_date="2021:03:04",
    )
    process(tmp_path / "p", time_source=first, timezone="+00:00")
    assert times(tmp_path / "p")[0][11:19] == right


def test_time_of_a_pixel_name_is_utc(tmp_path):
    making.photo(tmp_path / "p" / "PXL_20210304_050607000.jpg", lat=1.0, lon=2.0, time=None)
    process(tmp_path / "p")
    assert times(tmp_path / "p") == [UTC]


# ---- the zone of a folder ------------------------------------------------------------------------------------------


def folder_of(
    folder: Path, zones: List[Optional[float]], start: float = 1614838000.0, **fields: Any
) -> Path:
    """A photo a minute, each with a GPS time that implies its zone in hours (None = without one)."""
    for number, zone in enumerate(zones):
        local = start + 60 * number
        own = {}
        if zone is not None:
            moment = mt.format_time(local - zone * HOUR, "exif")
            own = {"gps_date": moment[:10], "gps_time": moment[11:]}
        text = mt.format_time(local, "exif")
        making.photo(
            folder / ("IMG_%04d.jpg" % number),
            lat=10.0 + number * 1e-4,
            lon=20.0,
            time=text,
            **own,
            **fields,
        )
    return folder


def zones_of(folder: Path, start: float = 1614838000.0) -> List[float]:
    """The zone in hours that each photo was given."""
    told = [
        mt.parse_time(making.read_exif(path)["DateTimeOriginal"])
        for path in sorted(folder.glob("*.jpg"))
    ]
    utc = [
        mt.parse_time("%s-%s-%s %s:%s:%s" % tuple(text.split("_")[:6])) for text in times(folder)
    ]
    return [((local or 0) - (when or 0)) / HOUR for local, when in zip(told, utc)]


def test_a_few_stale_fixes_do_not_make_zones_nobody_lives_in(tmp_path):
    told: List[Optional[float]] = [2.0] * 30
    told[5], told[6], told[17], told[29] = 5.0, None, -3.0, 2.75
    report = process(folder_of(tmp_path / "p", told))
    assert zones_of(tmp_path / "p") == [2.0] * 30
    assert any("GPS times of 2 images imply another zone" in note for note in report.notes)


def test_a_border_and_a_change_of_summer_time_are_kept(tmp_path):
    told: List[Optional[float]] = [1.0] * 9 + [None] + [2.0] * 8
    process(folder_of(tmp_path / "p", told))
    assert zones_of(tmp_path / "p") == [1.0] * 10 + [2.0] * 8


def test_photos_without_a_gps_time_have_the_zone_of_their_folder(tmp_path):
    process(folder_of(tmp_path / "p", [None, 9.0, None, None, 9.0, None]))
    assert zones_of(tmp_path / "p") == [9.0] * 6


def test_a_receiver_that_stands_still_gives_no_zone(tmp_path):
    folder = folder_of(tmp_path / "p", [2.0] * 12)
    for number in range(60, 70):  # an hour later, the fix of before
        text = mt.format_time(1614838000.0 + 60 * number, "exif")
        making.photo(
            folder / ("IMG_%04d.jpg" % number),
            lat=10.0,
            lon=20.0,
            time=text,
            gps_date="2021:03:04",
            gps_time="04:17:40",
        )
    process(folder)
    assert set(zones_of(folder)) == {2.0}


def test_each_camera_of_a_folder_has_its_own_zone(tmp_path):
    folder_of(tmp_path / "p", [2.0] * 4, model="one")
    for number in range(4):
        making.photo(
            tmp_path / "p" / ("X%d.jpg" % number),
            model="two",
            lat=1.0,
            lon=2.0,
            time="2021:03:04 10:0%d:00" % number,
        )
    process(tmp_path / "p")
    assert zones_of(tmp_path / "p") == [2.0] * 4 + [0.0] * 4


def test_order_of_names_against_times_is_said(tmp_path):
    for number, minute in enumerate((1, 2, 50, 3, 4)):
        making.photo(
            tmp_path / "p" / ("%d.jpg" % number),
            lat=1.0,
            lon=2.0,
            time="2021:03:04 05:%02d:00" % minute,
            offset="+00:00",
            gps_date="2021:03:04",
            gps_time="05:0%d:00" % number,
        )
    assert any("--time_source gps" in note for note in process(tmp_path / "p").notes)


# ---- against a track -------------------------------------------------------------------------------------------------

NOON = 1614859200.0  # 2021-03-04T12:00:00Z


def track_file(folder: Path, start: float = NOON, seconds: int = 600, step: int = 1) -> str:
    points = "".join(
        tracks.trkpt("%.6f" % (10 + 1e-4 * n), 20, mt.format_time(start + n)[:19] + "Z")
        for n in range(0, seconds, step)
    )
    path = folder / "track.gpx"
    path.write_bytes(
        tracks.gpx(points) if isinstance(tracks.gpx(points), bytes) else tracks.gpx(points).encode()
    )
    return str(path)


def shots(folder: Path, start: float, count: int = 5, apart: float = 20.0, **fields: Any) -> Path:
    for number in range(count):
        text = mt.format_time(start + number * apart, "exif")
        making.photo(folder / ("%d.jpg" % number), time=text, **fields)
    return folder


def on_track(tmp_path: Path, start: float, track: Optional[str] = None, **options: Any) -> Any:
    shots(tmp_path / "p", start)
    path = track or track_file(tmp_path)
    return process(tmp_path / "p", geotag_source="gpx", geotag_source_path=path, **options)


def test_zone_by_the_track_where_one_alone_fits(tmp_path):
    report = on_track(tmp_path, NOON + 60 + 9 * HOUR)
    assert report.done == 5 and any("zone +09:00 by the track" in note for note in report.notes)


def test_an_offset_that_fits_only_in_part_does_not_count(tmp_path):
    report = on_track(tmp_path, NOON + 560 + 9 * HOUR)
    assert report.done == 0 and any("--timezone +09:00" in note for note in report.notes)


def test_utc_is_kept_where_it_fits_and_the_others_are_named(tmp_path):
    report = on_track(tmp_path, NOON + 2 * HOUR, track_file(tmp_path, NOON, 4 * 3600, 10))
    assert report.done == 5 and times(tmp_path / "p")[0][11:13] == "14"
    assert any("fits in the zones" in note and "+01:00" in note for note in report.notes)


def test_several_zones_but_not_utc_is_a_question(tmp_path):
    with pytest.raises(mt.UsageError, match="several zones.*--timezone"):
        on_track(tmp_path, NOON + 6 * HOUR, track_file(tmp_path, NOON, 2 * 3600, 10))


@pytest.mark.parametrize("eras", [1, 2])
def test_logger_1024_weeks_back_moves_the_track_never_the_photos(eras, tmp_path):
    report = on_track(tmp_path, NOON + 60, track_file(tmp_path, NOON - eras * 619315200.0))
    assert report.done == 5 and times(tmp_path / "p")[0] == "2021_03_04_12_01_00_000"
    assert any("%d weeks" % (1024 * eras) in note for note in report.notes)


@pytest.mark.parametrize(
    "start, option",
    [
        ("2016-03-04T12:01:00Z", "--offset_time -157766400"),
        ("2021-02-25T12:01:00Z", "--offset_time -604800"),
        ("2021-03-04T13:17:00Z", "--offset_time 4500"),
    ],
)
def test_clock_that_is_off_by_years_days_or_quarters_is_told_the_option(start, option, tmp_path):
    report = on_track(tmp_path, mt.parse_time(start) or 0.0, timezone="+00:00")
    assert any(option in note for note in report.notes), report.notes


def test_clock_that_nothing_mends_is_told_the_other_way_out(tmp_path):
    report = on_track(tmp_path, mt.parse_time("2016-07-09T03:33:00Z") or 0.0, timezone="+00:00")
    assert any("--use_gps_start_time" in note for note in report.notes)


def test_local_time_labelled_z_is_said_with_the_shift(tmp_path):
    folder = tmp_path / "p"
    for number in range(5):
        text = mt.format_time(NOON + 2 * HOUR + 20 * number, "exif")
        making.photo(
            folder / ("%d.jpg" % number),
            time=text,
            offset="+02:00",
            lat=10 + 1e-4 * 20 * number,
            lon=20.0,
        )
    path = track_file(tmp_path, NOON + 2 * HOUR)
    report = process(folder, geotag_source="gpx", geotag_source_path=path)
    assert any("own positions" in note and "--offset_time -7200" in note for note in report.notes)

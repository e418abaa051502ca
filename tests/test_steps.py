"""Floor 10: what each step makes of images, from one folder on disk to the descriptions in it."""

import datetime
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List

import pytest

import making
import mapillary_tools as mt
from conftest import ROOT, in_process

pytestmark = in_process
START = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc).timestamp()


def process(folder: Any, **groups: Any) -> mt.Report:
    return mt.process(mt.Input(str(folder)), mt.User("demo"), **groups)


def descriptions(folder: Any) -> Dict[str, Dict[str, Any]]:
    return {path.name: making.description(path) for path in sorted(Path(str(folder)).glob("*.jpg"))}


def of(folder: Any, field: str) -> List[Any]:
    return [row.get(field) for row in descriptions(folder).values()]


def times(folder: Any) -> List[float]:
    """Capture times in seconds after the first photo's clock."""
    rows = [
        datetime.datetime.strptime(text, "%Y_%m_%d_%H_%M_%S_%f").replace(
            tzinfo=datetime.timezone.utc
        )
        for text in of(folder, "MAPCaptureTime")
    ]
    return [round(row.timestamp() - START, 3) for row in rows]


def sequences(folder: Any) -> List[int]:
    """For each photo the number of its sequence, counted as they come."""
    seen: Dict[str, int] = {}
    return [seen.setdefault(text, len(seen)) for text in of(folder, "MAPSequenceUUID")]


def said(report: mt.Report) -> str:
    return "\n".join(report.notes)


# ---- the description ---------------------------------------------------------------------------------------------------


def both(heading):
    """As the service asks for it: where one is known, both are told."""
    return {"TrueHeading": heading, "MagneticHeading": heading}


def test_description_of_a_whole_photo(tmp_path):
    making.photo(
        tmp_path / "a.jpg",
        lat=57.70012345678,
        lon=-11.5,
        alt=-12.3456,
        heading=90.1239,
        subsec="25",
        orientation=6,
    )
    process(tmp_path)
    (row,) = descriptions(tmp_path).values()
    assert sorted(row) == [
        "MAPAltitude",
        "MAPCaptureTime",
        "MAPCompassHeading",
        "MAPDeviceMake",
        "MAPDeviceModel",
        "MAPFilename",
        "MAPLatitude",
        "MAPLongitude",
        "MAPMetaTags",
        "MAPOrientation",
        "MAPPhotoUUID",
        "MAPSequenceUUID",
        "MAPSettingsUsername",
    ]
    assert (row["MAPLatitude"], row["MAPLongitude"], row["MAPAltitude"]) == (
        57.7001235,
        -11.5,
        -12.346,
    )
    assert row["MAPCaptureTime"] == "2024_05_06_07_08_09_250" and row["MAPCompassHeading"] == {
        "TrueHeading": 90.12,
        "MagneticHeading": 90.12,
    }
    assert (row["MAPDeviceMake"], row["MAPDeviceModel"], row["MAPOrientation"]) == (
        "Testmaker",
        "T-1",
        6,
    )
    assert row["MAPMetaTags"] == {
        "strings": [{"key": "mapillary_tools_version", "value": mt.__version__}]
    }


def test_description_is_sorted_ascii_without_spaces(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, make="Zeiß Ikon")
    process(tmp_path)
    text = making.read_exif(tmp_path / "a.jpg")["ImageDescription"]
    assert text == json.dumps(
        json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )


def test_unknown_values_are_absent_not_null(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, make=None, model=None)
    process(tmp_path)
    assert "null" not in making.read_exif(tmp_path / "a.jpg")["ImageDescription"]


def test_a_magnetic_direction_stays_magnetic_in_the_photo(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, heading=90.0, heading_ref="M")
    process(tmp_path)
    assert of(tmp_path, "MAPCompassHeading") == [both(90.0)]
    assert making.read_exif(tmp_path / "a.jpg")["GPSImgDirectionRef"] == "M"


def test_descriptions_are_the_same_on_any_machine_and_day(tmp_path):
    making.drive(tmp_path / "a", count=3)
    shutil.copytree(str(tmp_path / "a"), str(tmp_path / "elsewhere" / "b"))
    for path in (tmp_path / "elsewhere" / "b").iterdir():
        os.utime(str(path), (5e8, 5e8))
    process(tmp_path / "a")
    process(tmp_path / "elsewhere" / "b")
    assert descriptions(tmp_path / "a") == descriptions(tmp_path / "elsewhere" / "b")


@pytest.mark.parametrize("degrees, exif", [(0, 1), (90, 8), (180, 3), (270, 6)])
def test_orientation_in_degrees_clockwise(degrees, exif, tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, orientation=2)
    process(tmp_path, meta=mt.MetaData(orientation=degrees))
    assert (
        of(tmp_path, "MAPOrientation") == [exif]
        and making.read_exif(tmp_path / "a.jpg")["Orientation"] == exif
    )


def test_options_win_over_exif_and_exif_is_not_changed_by_them(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    process(
        tmp_path,
        meta=mt.MetaData(
            device_make="Own", device_model="Mine", GPS_accuracy=2.5, add_file_name=True
        ),
    )
    (row,) = descriptions(tmp_path).values()
    assert (
        row["MAPDeviceMake"],
        row["MAPDeviceModel"],
        row["MAPGPSAccuracyMeters"],
        row["MAPFilename"],
    ) == ("Own", "Mine", 2.5, "a.jpg")
    assert making.read_exif(tmp_path / "a.jpg")["Make"] == "Testmaker"


def test_import_date_is_a_date_tag(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    process(tmp_path, meta=mt.MetaData(add_import_date=True))
    (date,) = of(tmp_path, "MAPMetaTags")[0]["dates"]
    assert date["key"] == "import_date" and date["value"] > 1.7e12


def test_organization_and_privacy(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    mt.write_config(
        {
            "organizations": {"club": "4711"},
            "demo": {"MAPSettingsUserKey": "u1", "user_upload_token": "SECRET"},
        }
    )
    mt.process(mt.Input(str(tmp_path)), mt.User("demo", organization_username="club", private=True))
    (row,) = descriptions(tmp_path).values()
    assert (row["MAPOrganizationKey"], row["MAPPrivate"], row["MAPSettingsUserKey"]) == (
        "4711",
        True,
        "u1",
    )
    assert "SECRET" not in (tmp_path / ".mapillary" / "journal.jsonl").read_text("utf-8")


def test_organization_given_with_its_key_is_stored(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    mt.process(
        mt.Input(str(tmp_path)),
        mt.User("demo", organization_username="club", organization_key="4711"),
    )
    assert mt.read_config() == {"organizations": {"club": "4711"}}


def test_dry_run_stores_no_organization(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    mt.process(
        mt.Input(str(tmp_path)),
        mt.User("demo", organization_username="club", organization_key="4711"),
        dry=mt.Dry(True),
    )
    assert mt.read_config() == {}


def test_master_upload_signs_the_description_but_not_the_journal(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    mt.write_config({"MAPAdmin": {"MAPILLARY_SECRET_HASH": "abc123secret"}})
    process(tmp_path, master=mt.Master(True))
    assert of(tmp_path, "MAPVideoSecure") == ["abc123secret"]
    assert "abc123secret" not in (tmp_path / ".mapillary" / "journal.jsonl").read_text("utf-8")


def test_meta_tags_of_image_history_are_carried_over_as_data(tmp_path):
    tags = [
        {"type": "string", "key": "road", "value": "E6"},
        {"type": "long", "key": "lane", "value": 2},
        {"type": "code", "key": "x", "value": "y"},
    ]
    making.photo(
        tmp_path / "a.jpg",
        lat=1.0,
        lon=2.0,
        more={"0th": {0x9213: (making.ASCII, json.dumps(tags))}},
    )
    process(tmp_path)
    row = of(tmp_path, "MAPMetaTags")[0]
    assert {"key": "road", "value": "E6"} in row["strings"] and row["longs"] == [
        {"key": "lane", "value": 2}
    ]
    assert set(row) == {"strings", "longs"}


# ---- what else is written ----------------------------------------------------------------------------------------------


def test_direction_that_was_derived_is_written(tmp_path):
    making.drive(tmp_path, count=2)
    process(tmp_path)
    assert [making.direction(path) for path in sorted(tmp_path.glob("*.jpg"))] == [0.0, 0.0]


def test_time_of_the_file_name_is_written_where_the_photo_had_none(tmp_path):
    making.photo(tmp_path / "2024_05_06_07_08_09_250.jpg", lat=1.0, lon=2.0, time=None)
    process(tmp_path, geotagging=mt.Geotagging(timezone="+02:00"))
    tags = making.read_exif(tmp_path / "2024_05_06_07_08_09_250.jpg")
    assert (tags["DateTimeOriginal"], tags["SubSecTimeOriginal"], tags["OffsetTimeOriginal"]) == (
        "2024:05:06 07:08:09",
        "250",
        "+02:00",
    )
    assert times(tmp_path) == [0.25 - 7200]


def test_gps_time_is_not_written_where_it_says_nothing_new(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, offset="+02:00")
    process(tmp_path)
    assert "GPSTimeStamp" not in making.read_exif(tmp_path / "a.jpg")


def test_gps_time_carries_the_zone_that_was_given(tmp_path):
    making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    process(tmp_path, geotagging=mt.Geotagging(timezone="+02:00"))
    tags = making.read_exif(tmp_path / "a.jpg")
    assert (tags["GPSDateStamp"], tags["GPSTimeStamp"]) == (
        "2024:05:06",
        [(5, 1), (8, 1), (9000, 1000)],
    )


# ---- time --------------------------------------------------------------------------------------------------------------


def test_ties_are_spread_in_natural_order_and_said(tmp_path):
    making.drive(tmp_path, count=4, seconds=0)
    (tmp_path / "0001.jpg").rename(tmp_path / "IMG_9.jpg")
    (tmp_path / "0002.jpg").rename(tmp_path / "IMG_10.jpg")
    report = process(tmp_path)
    assert dict(zip(sorted(descriptions(tmp_path)), times(tmp_path))) == {
        "0003.jpg": 0.0,
        "0004.jpg": 0.25,
        "IMG_9.jpg": 0.5,
        "IMG_10.jpg": 0.75,
    }
    assert "with the capture time of the one before" in said(report)


def test_sub_second_interval_spaces_the_shots_evenly(tmp_path):
    making.drive(
        tmp_path, count=6, time=lambda number: "2024:05:06 07:08:%02d" % (9 + number * 5 // 2 % 50)
    )
    process(tmp_path, geotagging=mt.Geotagging(sub_second_interval=2.5))
    gaps = [round(b - a, 3) for a, b in zip(times(tmp_path), times(tmp_path)[1:])]
    assert gaps == [2.5] * 5 and [int(value) for value in times(tmp_path)] == [0, 2, 5, 7, 10, 12]


def test_sub_second_interval_that_cannot_be_names_the_image(tmp_path):
    making.drive(tmp_path, count=4, seconds=2.0)
    report = process(tmp_path, geotagging=mt.Geotagging(sub_second_interval=5.0))
    assert "0002.jpg contradicts --sub_second_interval" in said(report) and times(tmp_path) == [
        0,
        2,
        4,
        6,
    ]


def test_zone_that_was_assumed_is_said_once_for_the_run(tmp_path):
    making.drive(tmp_path / "a", count=3)
    making.drive(tmp_path / "b", count=3)
    assert said(process(tmp_path)).count("UTC assumed") == 1


def test_way_in_which_times_were_understood_is_said(tmp_path):
    making.drive(tmp_path, count=2, offset="+02:00")
    text = said(process(tmp_path))
    assert "2 images from DateTimeOriginal, zone +02:00 from OffsetTimeOriginal" in text
    assert "2024-05-06T05:08:09.000Z to 2024-05-06T05:08:11.000Z" in text


def test_mixed_zones_in_one_folder(tmp_path):
    making.drive(
        tmp_path,
        count=2,
        offset=lambda number: ["+02:00", None][number],
        time=lambda number: ["2024:05:06 09:08:09", "2024:05:06 07:08:11"][number],
    )
    process(tmp_path)
    assert times(tmp_path) == [0.0, 2.0] and sequences(tmp_path) == [0, 0]


# ---- positions from a track --------------------------------------------------------------------------------------------


def _north(folder: Path, seconds: Any = range(-10, 60), **more: Any) -> str:
    return str(
        making.gpx(
            [(START + second, 57.7 + 0.0001 * second, 11.97, 20 + second) for second in seconds],
            folder / "track.gpx",
        )
    )


def gpx(path: str, **more: Any) -> mt.Geotagging:
    return mt.Geotagging(geotag_source="gpx", geotag_source_path=path, **more)


def test_track_gives_position_altitude_and_direction(tmp_path):
    making.drive(tmp_path / "p", count=3, lat=1.0, lon=2.0, heading=200.0)
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    assert of(tmp_path / "p", "MAPLatitude") == [57.7, 57.7002, 57.7004] and of(
        tmp_path / "p", "MAPAltitude"
    ) == [20.0, 22.0, 24.0]
    assert of(tmp_path / "p", "MAPCompassHeading") == [both(0.0)] * 3
    assert making.place(tmp_path / "p" / "0002.jpg") == pytest.approx(
        (57.7002, 11.97, 22.0), abs=1e-8
    )


def test_course_of_the_track_plus_offset_angle(tmp_path):
    making.drive(tmp_path / "p", count=2, heading=200.0)
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)), angle=mt.Angle(-90.0))
    assert of(tmp_path / "p", "MAPCompassHeading") == [both(270.0)] * 2


def test_photos_without_position_get_one(tmp_path):
    making.photo(tmp_path / "p" / "a.jpg", time="2024:05:06 07:08:09")
    making.photo(tmp_path / "p" / "b.jpg", time="2024:05:06 07:08:11")
    report = process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    assert report.exit_code == 0 and of(tmp_path / "p", "MAPLatitude") == [57.7, 57.7002]


def test_photo_outside_the_track_fails_with_the_seconds(tmp_path):
    making.drive(tmp_path / "p", count=5, seconds=10.0)
    report = process(tmp_path / "p", geotagging=gpx(_north(tmp_path, range(-10, 31))))
    assert report.exit_code == 1 and [
        os.path.basename(problem.file) for problem in report.failed
    ] == ["0005.jpg"]
    assert "10.0 s" in str(report.failed[0])


def test_camera_in_another_zone_is_told_the_offset_that_would_fit(tmp_path):
    making.drive(tmp_path / "p", count=3, start="2024:05:06 09:08:09")
    track = gpx(_north(tmp_path), timezone="+00:00")
    report = process(tmp_path / "p", geotagging=track)
    assert report.done == 0 and "--offset_time 7200" in said(report)


def test_camera_in_another_zone_is_put_on_the_track_where_one_zone_alone_does(tmp_path):
    making.drive(tmp_path / "p", count=3, start="2024:05:06 09:08:09")
    report = process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    assert report.done == 3 and "zone +02:00 by the track" in said(report)


def test_the_offset_that_was_suggested_fits(tmp_path):
    making.drive(tmp_path / "p", count=3, start="2024:05:06 09:08:09")
    assert (
        process(
            tmp_path / "p", geotagging=gpx(_north(tmp_path), offset_time=7200.0, timezone="+00:00")
        ).done
        == 3
    )


def test_first_image_meets_the_start_of_the_track(tmp_path):
    making.drive(tmp_path / "p", count=3, start="2019:01:01 00:00:00")
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path, range(0, 30)), use_gps_start_time=True))
    assert times(tmp_path / "p") == [0.0, 2.0, 4.0]


def test_max_gap_leaves_photos_in_a_hole_without_position(tmp_path):
    making.drive(tmp_path / "p", count=4, seconds=5.0)
    path = _north(tmp_path, [0, 1, 2, 14, 15, 16])
    assert process(tmp_path / "p", geotagging=gpx(path, max_gap=5.0)).done == 2
    assert process(tmp_path / "p", geotagging=gpx(path)).done == 4


def test_track_that_changed_is_read_again(tmp_path):
    making.drive(tmp_path / "p", count=2)
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    making.gpx(
        [(START + second, 10.0, 20.0 + 0.001 * second) for second in range(-10, 60)],
        tmp_path / "track.gpx",
    )
    assert process(tmp_path / "p", geotagging=gpx(str(tmp_path / "track.gpx"))).done == 2
    assert of(tmp_path / "p", "MAPLatitude") == [10.0, 10.0]


def test_track_that_moved_elsewhere_is_no_change(tmp_path):
    making.drive(tmp_path / "p", count=2)
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    shutil.move(str(tmp_path / "track.gpx"), str(tmp_path / "renamed.gpx"))
    assert process(tmp_path / "p", geotagging=gpx(str(tmp_path / "renamed.gpx"))).done == 0


def test_back_from_a_track_to_exif_gives_the_position_found(tmp_path):
    making.drive(tmp_path / "p", count=2, lat=1.0, lon=2.0, alt=5.0, heading=200.0)
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    process(tmp_path / "p")
    assert of(tmp_path / "p", "MAPLatitude") == [1.0, 1.0001] and of(
        tmp_path / "p", "MAPAltitude"
    ) == [5.0, 5.0]
    assert of(tmp_path / "p", "MAPCompassHeading") == [both(200.0)] * 2


def test_back_from_a_track_to_exif_takes_back_a_position_that_was_not_there(tmp_path):
    making.photo(tmp_path / "p" / "a.jpg")
    process(tmp_path / "p", geotagging=gpx(_north(tmp_path)))
    assert making.place(tmp_path / "p" / "a.jpg")
    report = process(tmp_path / "p")
    assert report.exit_code == 1 and report.failed[0].code == "no_position"


# ---- sequences ---------------------------------------------------------------------------------------------------------


def test_long_pause_starts_a_new_sequence(tmp_path):
    making.drive(
        tmp_path,
        count=4,
        time=lambda number: [
            "2024:05:06 07:08:09",
            "2024:05:06 07:09:09",
            "2024:05:06 07:10:10",
            "2024:05:06 07:10:12",
        ][number],
    )
    process(tmp_path)
    assert sequences(tmp_path) == [0, 0, 1, 1]


def test_cutoffs_are_taken_from_the_options(tmp_path):
    making.drive(tmp_path, count=4, step=0.001)
    process(tmp_path, sequences=mt.SequenceOptions(cutoff_distance=100.0))
    assert sequences(tmp_path) == [0, 1, 2, 3]
    process(tmp_path, sequences=mt.SequenceOptions(cutoff_distance=150.0))
    assert sequences(tmp_path) == [0, 0, 0, 0]


def test_duplicates_are_flagged_with_partner_and_not_described(tmp_path):
    making.drive(tmp_path, count=3, step=0.0, heading=5.0)
    report = process(tmp_path, sequences=mt.SequenceOptions(flag_duplicates=True))
    assert (
        report.skipped == {"duplicate": [str(tmp_path / "0002.jpg"), str(tmp_path / "0003.jpg")]}
        and report.exit_code == 0
    )
    rows = [
        json.loads(line)
        for line in (tmp_path / ".mapillary" / "journal.jsonl").read_text("utf-8").splitlines()
    ]
    (row,) = [row for row in rows if row.get("image") == "0003.jpg"][-1:]
    assert row["steps"]["sequence_process"]["data"] == {
        "partner": "0001.jpg",
        "distance": 0.0,
        "turn": 0.0,
        "metres_limit": 0.1,
        "turn_limit": 5.0,
    }
    assert descriptions(tmp_path)["0002.jpg"] == {}


def test_duplicates_are_not_flagged_unasked(tmp_path):
    making.drive(tmp_path, count=3, step=0.0)
    assert process(tmp_path).done == 3


def test_duplicate_that_is_none_any_more_is_described(tmp_path):
    making.drive(tmp_path, count=3, step=0.0, heading=5.0)
    process(tmp_path, sequences=mt.SequenceOptions(flag_duplicates=True))
    process(tmp_path)
    assert all(descriptions(tmp_path).values())


def test_image_that_becomes_a_duplicate_is_listed_as_one_by_the_next_run_too(tmp_path):
    making.drive(tmp_path, count=3, step=0.0, heading=5.0)
    process(tmp_path)
    for _ in range(2):
        report = process(tmp_path, sequences=mt.SequenceOptions(flag_duplicates=True))
        assert len(report.skipped["duplicate"]) == 2


def test_directions_are_derived_on_all_when_asked(tmp_path):
    making.drive(tmp_path, count=3, heading=200.0)
    process(tmp_path, sequences=mt.SequenceOptions(interpolate_directions=True))
    assert of(tmp_path, "MAPCompassHeading") == [both(0.0)] * 3


def test_sequence_ids_change_with_the_sequence_options_only(tmp_path):
    making.drive(tmp_path, count=2)
    process(tmp_path)
    first = of(tmp_path, "MAPSequenceUUID")
    process(tmp_path, meta=mt.MetaData(device_make="Own"))
    assert of(tmp_path, "MAPSequenceUUID") == first
    process(tmp_path, sequences=mt.SequenceOptions(cutoff_time=30.0))
    assert of(tmp_path, "MAPSequenceUUID") != first


def test_more_than_500_images_are_several_sequences(tmp_path):
    images = [
        mt.Image(Path("f/%04d.jpg" % number), geotag=mt.Geotag(number, 1 + number * 1e-5, 2.0))
        for number in range(1001)
    ]
    spec = mt.RunSpec((mt.SEQUENCE,), mt.Options([]))
    out = mt.run_step(mt.SEQUENCE, images, mt.RunContext(), spec, mt.Notes())
    sizes: Dict[Any, int] = {}
    for image in out:
        sizes[image.sequence] = sizes.get(image.sequence, 0) + 1
    assert sorted(sizes.values()) == [1, 500, 500]


# ---- conservation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", mt.STEPS)
def test_step_gives_back_as_many_images_in_the_same_order(step):
    images = [
        mt.Image(
            Path("f/%d.jpg" % (number * 7 % 10)),
            mt.Found(lat=1.0 + number, lon=2.0),
            capture=mt.Capture(number * 3.0 % 7, "", 0.0, ""),
            uploader=mt.Uploader("demo"),
        )
        for number in range(8)
    ]
    images += [
        mt.Image(Path("f/bad.jpg"), mt.Found(), aside=mt.Outcome("failed", "x")),
        mt.Image(Path("f/empty.jpg"), mt.Found()),
    ]
    spec = mt.RunSpec((step,), mt.Options([mt.User("demo")]))
    out = mt.run_step(step, images, mt.RunContext(), spec, mt.Notes())
    assert [image.path for image in out] == [image.path for image in images]
    assert out[8] is images[8], "a failed image is passed over"


def test_failed_image_says_in_which_step_and_keeps_its_reason(tmp_path):
    making.photo(tmp_path / "a.jpg")
    process(tmp_path)
    (row,) = [
        json.loads(line)
        for line in (tmp_path / ".mapillary" / "journal.jsonl").read_text("utf-8").splitlines()[1:]
    ]
    assert row["steps"]["geotag_process"]["status"] == "failed"
    assert row["steps"]["geotag_process"]["error"]["code"] == "no_position"


def test_sample_drive_of_the_readme(tmp_path):
    shutil.copytree(
        str(ROOT / "tests" / "data" / "drive"),
        str(tmp_path / "p"),
        ignore=shutil.ignore_patterns(".mapillary"),
    )
    report = process(tmp_path / "p", keep=mt.Keep(True))
    copies = tmp_path / "p" / ".mapillary" / "process_images"
    assert (report.found, report.done, report.exit_code) == (16, 16, 0)
    assert sequences(copies) == [0] * 11 + [1] * 5


def test_sample_drive_gets_the_same_places_from_its_track(tmp_path):
    shutil.copytree(
        str(ROOT / "tests" / "data" / "drive"),
        str(tmp_path / "p"),
        ignore=shutil.ignore_patterns(".mapillary"),
    )
    process(
        tmp_path / "p",
        keep=mt.Keep(True),
        geotagging=gpx(str(ROOT / "tests" / "data" / "drive.gpx")),
    )
    for path in sorted((tmp_path / "p").glob("*.jpg")):
        here, there = (
            making.place(path),
            making.place(tmp_path / "p" / ".mapillary" / "process_images" / path.name),
        )
        assert mt.distance(mt.Fix(0, *here[:2]), mt.Fix(0, *there[:2])) < 1.0, path

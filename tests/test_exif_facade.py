"""Floor 6: what an image carries as plain values, and writing into it. Nothing of it knows options or journals."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest

import making
import mapillary_tools as mt
from conftest import in_process

pytestmark = in_process
R, A, S, L, B = making.RATIONAL, making.ASCII, making.SHORT, making.LONG, making.BYTE
needs_exiftool = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not on this computer"
)


def photo(tmp_path: Path, **fields: Any) -> Path:
    return making.photo(tmp_path / "a.jpg", **{"lat": 57.7, "lon": 11.97, **fields})


def gps(**tags: Any) -> Dict[str, Any]:
    """photo(more=gps(...)) with tags by number: t2=(RATIONAL, ...)."""
    return {"GPS": {int(name[1:]): value for name, value in tags.items()}}


def moved(path: Path, **changes: Any) -> mt.Image:
    return placed(mt.read_image(path), **changes)


def placed(image: mt.Image, **changes: Any) -> mt.Image:
    """An image with other values than its file has, as the step geotag_process gives them."""
    fix = image.fix or mt.Fix(0.0, 0.0, 0.0)
    before = mt.Geotag(image.time or 0.0, *fix[1:], image.heading, image.magnetic)
    return image._replace(geotag=before._replace(**changes))


# ---- reading -----------------------------------------------------------------------------------------------------------


def test_image_of_a_whole_photo(tmp_path):
    image = mt.read_image(
        photo(
            tmp_path,
            alt=-3.5,
            heading=270.5,
            subsec="25",
            offset="+02:00",
            orientation=6,
            size=(64, 48),
        )
    )
    assert image.fix.lat == pytest.approx(57.7, abs=1e-9) and image.fix.lon == pytest.approx(
        11.97, abs=1e-9
    )
    assert (image.fix.alt, image.heading, image.magnetic) == (-3.5, 270.5, None)
    assert image.time == mt.parse_time("2024-05-06T05:08:09.25Z")
    assert image.camera == mt.Camera("Testmaker", "T-1", 64, 48, 6)


@pytest.mark.parametrize(
    "lat, lon",
    [
        (57.7, 11.97),
        (-57.7, 11.97),
        (57.7, -11.97),
        (-57.7, -11.97),
        (0.0, 11.97),
        (57.7, 0.0),
        (89.9999999, 179.9999999),
        (-90.0, -180.0),
        (-0.0000001, 0.5),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_position_with_its_signs(lat, lon, order, tmp_path):
    fix = mt.read_image(photo(tmp_path, lat=lat, lon=lon, order=order)).fix
    assert fix[1:3] == pytest.approx((lat, lon), abs=1e-9)


@pytest.mark.parametrize(
    "tags, why",
    [
        (gps(t2=(R, [(0, 0), (0, 0), (0, 0)])), "a zero denominator"),
        (gps(t4=(R, [(11, 1), (58, 0), (0, 1)])), "one zero"),
        (gps(t2=None), "no latitude"),
        (gps(t4=None), "no longitude"),
        (gps(t2=(R, [(91, 1), (0, 1), (0, 1)])), "beyond a pole"),
        (gps(t4=(R, [(180, 1), (0, 1), (1, 1)])), "beyond the antimeridian"),
        (gps(t2=(A, "north")), "text"),
        (gps(t2=(R, [(0, 1)] * 3), t4=(R, [(0, 1)] * 3)), "null island"),
        (gps(t2=(R, [(1, 1)] * 4)), "four parts"),
    ],
)
def test_unusable_position_is_none(tags, why, tmp_path):
    assert mt.read_image(photo(tmp_path, more=tags)).fix is None, why


@pytest.mark.parametrize(
    "tags, lat",
    [
        (gps(t1=None), 57.7),
        (gps(t1=None, t2=(10, [(-57, 1), (-42, 1), (0, 1)])), -57.7),
        (gps(t1=(A, "s")), -57.7),
        (gps(t1=(A, "South")), -57.7),
        (gps(t2=(R, [(577, 10)])), 57.7),
        (gps(t2=(R, [(57, 1), (42, 1)])), 57.7),
        (gps(t2=(R, (577, 10))), 57.7),
        (gps(t2=(R, [(57, 1), (4200, 100), (0, 1)])), 57.7),
    ],
)
def test_latitude_of_careless_writers(tags, lat, tmp_path):
    fix = mt.read_image(photo(tmp_path, more=tags)).fix
    assert fix is not None and fix.lat == pytest.approx(lat, abs=1e-9)


@pytest.mark.parametrize(
    "tags, alt",
    [
        (gps(t5=(B, 1), t6=(R, (125, 10))), -12.5),
        (gps(t5=(B, 0), t6=(R, (125, 10))), 12.5),
        (gps(t6=(R, (125, 10))), 12.5),
        (gps(t5=(B, 1), t6=(R, (0, 1))), 0.0),
        (gps(t6=(R, (1, 0))), None),
        (gps(t5=(A, "1"), t6=(R, (5, 1))), -5.0),
        (gps(), None),
    ],
)
def test_altitude_with_its_reference(tags, alt, tmp_path):
    assert mt.read_image(photo(tmp_path, more=tags)).fix.alt == alt


@pytest.mark.parametrize(
    "tags, heading, magnetic",
    [
        (gps(t17=(R, (90, 1))), 90.0, None),
        (gps(t16=(A, "M"), t17=(R, (90, 1))), None, 90.0),
        (gps(t17=(R, (4294966935, 1))), 359.0, None),
        (gps(t17=(R, (4294931196, 100))), 359.0, None),
        (gps(t17=(R, (450, 1))), 90.0, None),
        (gps(t17=(R, (360, 1))), 0.0, None),
        (gps(t17=(R, (0, 1))), 0.0, None),
        (gps(t17=(R, (1, 0)), t15=(R, (45, 1))), 45.0, None),
        (gps(t15=(R, (45, 1)), t14=(A, "M")), None, 45.0),
        (gps(t15=(R, (45, 1)), t17=(R, (90, 1))), 90.0, None),
        (gps(), None, None),
    ],
)
def test_direction_true_magnetic_wrapped_or_none(tags, heading, magnetic, tmp_path):
    image = mt.read_image(photo(tmp_path, more=tags))
    assert (image.heading, image.magnetic) == (
        pytest.approx(heading) if heading is not None else None,
        magnetic,
    )


@pytest.mark.parametrize(
    "date, clock, time",
    [
        ("2024:05:06", "07:08:09.5", "2024-05-06T07:08:09.5Z"),
        ("2024-05-06", "07:08:09", "2024-05-06T07:08:09Z"),
        ("1970:01:01", "07:08:09", None),
        ("1980:01:06", "00:00:00", None),
        (None, "07:08:09", None),
        ("2024:05:06", None, None),
        ("2024:13:06", "07:08:09", None),
        ("", "07:08:09", None),
    ],
)
def test_gps_time(date, clock, time, tmp_path):
    image = mt.read_image(photo(tmp_path, time=None, gps_date=date, gps_time=clock))
    assert image.time == mt.parse_time(time)


def test_gps_time_with_a_zero_denominator_is_none(tmp_path):
    path = photo(
        tmp_path, time=None, gps_date="2024:05:06", more=gps(t7=(R, [(7, 1), (8, 0), (9, 1)]))
    )
    assert mt.read_image(path).time is None


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_out_of_range_is_unknown(value, tmp_path):
    assert mt.read_image(photo(tmp_path, orientation=value)).camera.orientation is None


def test_size_is_that_of_the_picture_not_of_the_exif(tmp_path):
    camera = mt.read_image(
        photo(tmp_path, size=(80, 40), more={"Exif": {0xA002: (L, 4000), 0xA003: (L, 3000)}})
    ).camera
    assert (camera.width, camera.height) == (80, 40)


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"Mapillary\0\0\0", "Mapillary"),
        (b"  ACME  \0", "ACME"),
        ("Könïg".encode(), "Könïg"),
        ("Könïg".encode("latin-1") + b"\0", "Könïg"),
        (b"\0\0", None),
        (b"A\0B\0", "A"),
    ],
)
def test_text_without_its_padding(raw, text, tmp_path):
    path = photo(tmp_path, more={"0th": {0x010F: (A, raw)}})
    assert mt.read_image(path).camera.make == text


def test_found_is_plain_json(tmp_path):
    found = mt.read_found(
        photo(
            tmp_path,
            alt=1.0,
            heading=2.0,
            description="Ähm",
            gps_date="2024:05:06",
            gps_time="07:08:09",
        )
    )
    assert mt.unpack_found(json.loads(json.dumps(mt.pack_found(found)))) == found


def test_photo_without_exif_carries_its_size_only(tmp_path):
    image = mt.read_image(making.photo(tmp_path / "a.jpg", exif=None))
    assert (image.time, image.fix, image.camera) == (None, None, mt.Camera(width=64, height=48))


def _cut(part: int) -> bytes:
    return making.jpeg(exif=making.exif_tiff(lat=1, lon=2), filler=5000)[:part]


@pytest.mark.parametrize(
    "content, wrong",
    [
        (b"", "is empty"),
        (b"plain text\n" * 50, "is not a JPEG"),
        (b"\xff", "is not a JPEG"),
        (b"\xff\xd8", "is truncated"),
        (b"\xff\xd8\xff\xd9", "ends before its picture begins|is truncated"),
        (_cut(60), "is truncated"),
        (_cut(400), "is truncated"),
        (_cut(-2), "no end of image|is truncated"),
        (_cut(-1000), "is truncated"),
        (b"\xff\xd8\0\0" * 20, "has a second begin"),
        (b"\xff\xd8\0\0\0\0" + b"\0\0" * 20, "is truncated"),
        (b"\xff\xd8" + b"\0" * 70000, "no marker at byte 2"),
        (b"\xff\xd8" + b"\xff" * 300, "is truncated"),
        (b"\xff\xd8\xff\xe1\x00\x00" + b"x" * 99, "ends before|damaged"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else re.sub(r"\W", "_", value),
)
def test_damaged_file_is_refused_with_its_name(content, wrong, tmp_path):
    import re

    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(mt.BadExif) as caught:
        mt.read_image(path)
    problem = caught.value.problem
    assert problem.file == str(path) and re.search(wrong, str(problem)) and problem.remedy, problem
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"II*\0\x08\0\0\0",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x01\0" + b"\xff" * 12,
        os.urandom(0) + b"garbage" * 9,
    ],
)
def test_damaged_exif_block_is_an_error_or_nothing_but_no_crash(block, tmp_path):
    path = making.photo(tmp_path / "a.jpg", exif=block)
    try:
        assert mt.read_image(path).fix is None
    except mt.BadExif as error:
        assert error.problem.file == str(path)


def test_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(mt.BadExif, match="gone.jpg"):
        mt.read_image(tmp_path / "gone.jpg")


def test_head_longer_than_one_read_is_read_whole(tmp_path):
    path = photo(tmp_path)
    content = path.read_bytes()
    filling = b"".join(
        b"\xff\xe2" + (60002).to_bytes(2, "big") + bytes([number]) * 60000 for number in range(5)
    )
    path.write_bytes(content[:2] + filling + content[2:])
    assert mt.read_image(path).fix.lat == pytest.approx(57.7)


def test_head_longer_than_one_read_is_written_whole(tmp_path):
    path = photo(tmp_path)
    content = path.read_bytes()
    filling = b"".join(
        b"\xff\xe2" + (60002).to_bytes(2, "big") + bytes([number]) * 60000 for number in range(5)
    )
    path.write_bytes(content[:2] + filling + content[2:])
    before = making.without_exif(path.read_bytes())
    mt.write_image(moved(path, lat=10.0), "{}")
    assert (
        making.place(path)[0] == pytest.approx(10.0)
        and making.without_exif(path.read_bytes()) == before
    )


def test_only_the_head_and_the_tail_of_a_big_file_are_read(tmp_path, monkeypatch):
    path = photo(tmp_path, filler=3000000)
    read = []

    class Counting:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *_: Any) -> None:
            self.stream.close()

        def read(self, size: int = -1) -> bytes:
            data = self.stream.read(size)
            read.append(len(data))
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

    content = path.read_bytes()
    head = content.index(b"\xff\xda")
    monkeypatch.setattr(mt, "open", lambda *a, **k: Counting(open(*a, **k)), raising=False)
    mt.read_found(path)
    assert sum(read) <= head + 3 * 65536


def test_trailing_bytes_after_the_picture_are_no_truncation(tmp_path):
    path = photo(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 30000)
    assert mt.read_image(path).fix is not None


# ---- writing -----------------------------------------------------------------------------------------------------------


def test_what_is_written_reads_back(tmp_path):
    path = photo(tmp_path)
    mt.write_image(
        moved(path, lat=-33.8567844, lon=151.2152967, alt=-12.345, heading=123.456), '{"a":1}'
    )
    assert making.place(path) == pytest.approx((-33.8567844, 151.2152967, -12.345), abs=1e-8)
    tags = making.read_exif(path)
    assert making.direction(path) == 123.456 and tags["GPSImgDirectionRef"] == "T"
    assert tags["GPSAltitudeRef"] == 1 and tags["ImageDescription"] == '{"a":1}'


def test_what_is_written_is_read_by_the_tool_itself(tmp_path):
    path = photo(tmp_path)
    mt.write_image(moved(path, lat=-33.8567844, lon=151.2152967, alt=0.0, heading=359.9996), "{}")
    image = mt.read_image(path)
    assert (
        image.fix[1:4] == pytest.approx((-33.8567844, 151.2152967, 0.0), abs=1e-8)
        and image.heading == 0.0
    )


def test_second_write_gives_the_same_bytes(tmp_path):
    path = photo(tmp_path)
    image = moved(path, lat=10.0, heading=5.0)
    mt.write_image(image, "{}")
    first = path.read_bytes()
    mt.write_image(image, "{}")
    assert path.read_bytes() == first


def test_second_write_of_the_same_does_not_touch_the_file(tmp_path):
    path = photo(tmp_path)
    image = moved(path, lat=10.0)
    mt.write_image(image, "{}")
    before = path.stat()
    mt.write_image(image, "{}")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_image_without_changes_is_not_written(tmp_path):
    path = photo(tmp_path, heading=5.0, alt=3.0)
    before = path.read_bytes()
    mt.write_image(mt.read_image(path), None)
    assert path.read_bytes() == before


def test_position_equal_at_the_precision_written_keeps_the_cameras_rationals(tmp_path):
    path = photo(tmp_path, more=gps(t2=(R, [(57, 1), (4200, 100), (0, 1)])))
    mt.write_image(moved(path, lat=57.7 + 1e-9), "{}")
    assert making.read_exif(path)["GPSLatitude"] == [(57, 1), (4200, 100), (0, 1)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"heading": 45.0, "alt": 4.0},
        {"description": "Our holiday"},
        {"gps_date": "2024:05:06", "gps_time": "07:08:09"},
        {"time": None},
        {"lat": None, "lon": None},
        {"orientation": 6},
        {"heading": 45.0, "heading_ref": "M"},
        {"more": gps(t2=(10, [(57, 1), (42, 1), (0, 1)]))},
        {"more": gps(t17=(R, (90, 0)))},
        {"more": gps(t0=(A, "2300"))},
        {"more": {"0th": {0x0112: (L, 1)}}},
    ],
)
def test_taking_back_gives_every_tag_as_found(fields, tmp_path):
    """The second run writes nothing of its own: each tag that the first one changed stands as the camera wrote it."""
    path = photo(tmp_path, **fields)
    before, found = making.read_tiff(making.exif_block(path.read_bytes())), mt.read_found(path)
    image = mt.image_of(path, found)
    changed = placed(image, time=1e9, heading=10.0, lat=1.5, lon=2.5, alt=-3.5)
    mt.write_edits(str(path), mt.image_edits(changed, "{}", 8))
    assert making.place(path) == pytest.approx((1.5, 2.5, -3.5))
    mt.write_edits(str(path), mt.image_edits(image._replace(capture=None), None))
    after = making.read_tiff(making.exif_block(path.read_bytes()))
    for rows in (before, after):
        for ifd, pointer in (("0th", 0x8769), ("0th", 0x8825), ("Exif", 0xA005)):
            rows[ifd].pop(pointer, None)
    assert after == before


@pytest.mark.parametrize(
    "tags", [gps(t17=(S, 90)), gps(t6=(L, 12)), gps(t6=(10, (-5, 1))), gps(t17=(10, (-90, 1)))]
)
def test_taking_back_a_tag_of_the_wrong_type_gives_its_value(tags, tmp_path):
    path = photo(tmp_path, more=tags)
    image = mt.read_image(path)
    mt.write_edits(str(path), mt.image_edits(placed(image, heading=10.0, alt=-3.5), "{}"))
    mt.write_edits(str(path), mt.image_edits(image, "{}"))
    again = mt.read_image(path)
    assert (again.heading, again.fix) == (image.heading, image.fix)


def test_tags_that_are_not_ours_stay_byte_for_byte(tmp_path):
    note = bytes(range(256)) * 3
    path = photo(
        tmp_path,
        order=">",
        thumbnail=making.jpeg((16, 16)),
        more={
            "Exif": {
                0x927C: (making.UNDEFINED, note),
                0x9286: (making.UNDEFINED, b"ASCII\0\0\0hi"),
                0x829A: (R, (1, 0)),
            },
            "GPS": {0x1B: (making.UNDEFINED, b"ASCII\0\0\0GPS"), 0x0D: (R, (5, 1))},
        },
    )
    before = making.read_exif(path)
    mt.write_image(moved(path, lat=10.0), "{}")
    after = making.read_exif(path)
    changed = {name for name in set(before) | set(after) if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.endswith("Pointer")} == {
        "GPSLatitude",
        "ImageDescription",
    }
    assert making.exif_block(path.read_bytes()).count(note) == 1


def test_thumbnail_is_kept(tmp_path):
    thumbnail = making.jpeg((16, 16))
    path = photo(tmp_path, thumbnail=thumbnail)
    mt.write_image(moved(path, lat=10.0), "{}" + " " * 500)
    assert thumbnail in making.exif_block(path.read_bytes())


def test_photo_without_exif_gets_a_block(tmp_path):
    path = making.photo(tmp_path / "a.jpg", exif=None)
    before = making.without_exif(path.read_bytes())
    image = placed(mt.read_image(path), time=1715000000.25, lat=1.0, lon=2.0)
    mt.write_image(image, "{}")
    tags = making.read_exif(path)
    assert (
        making.place(path) == (1.0, 2.0, None) and making.without_exif(path.read_bytes()) == before
    )
    assert tags["DateTimeOriginal"] == "2024:05:06 12:53:20" and tags["SubSecTimeOriginal"] == "250"
    assert tags["OffsetTimeOriginal"] == "+00:00"


def test_date_time_original_of_the_camera_is_never_replaced(tmp_path):
    path = photo(tmp_path, subsec="5", offset="+02:00")
    mt.write_image(placed(mt.read_image(path), time=1e9), "{}")
    tags = making.read_exif(path)
    assert (tags["DateTimeOriginal"], tags["SubSecTimeOriginal"], tags["OffsetTimeOriginal"]) == (
        "2024:05:06 07:08:09",
        "5",
        "+02:00",
    )


def test_date_time_original_of_1970_is_a_date_too(tmp_path):
    path = photo(tmp_path, time="1970:01:01 00:00:00")
    mt.write_image(mt.read_image(path), "{}")
    assert "SubSecTimeOriginal" not in making.read_exif(path)


@pytest.mark.parametrize(
    "shift, written", [(0.0, False), (0.0004, False), (0.0011, True), (-3600.0, True)]
)
def test_gps_time_is_written_only_when_ours_differs_by_a_millisecond(shift, written, tmp_path):
    path = photo(tmp_path)
    image = mt.read_image(path)
    mt.write_image(placed(image, time=image.time + shift), "{}")
    assert ("GPSTimeStamp" in making.read_exif(path)) == written


def test_gps_time_is_written_to_the_millisecond(tmp_path):
    path = photo(tmp_path)
    mt.write_image(
        placed(mt.read_image(path), time=mt.parse_time("2024-12-31T23:59:59.9996Z")), "{}"
    )
    tags = making.read_exif(path)
    assert (tags["GPSDateStamp"], tags["GPSTimeStamp"]) == (
        "2025:01:01",
        [(0, 1), (0, 1), (0, 1000)],
    )


def test_carry_of_seconds_into_minutes_and_degrees(tmp_path):
    path = photo(tmp_path)
    mt.write_image(moved(path, lat=10 - 1e-12, lon=-(179 + 59 / 60 + 59.9999999 / 3600)), "{}")
    tags = making.read_exif(path)
    assert tags["GPSLatitude"] == [(10, 1), (0, 1), (0, 1000000)] and tags["GPSLongitude"] == [
        (180, 1),
        (0, 1),
        (0, 1000000),
    ]


def test_copy_leaves_the_original_alone(tmp_path):
    path = photo(tmp_path)
    before = path.read_bytes()
    mt.write_image(moved(path, lat=10.0), "{}", tmp_path / "copy.jpg")
    assert path.read_bytes() == before and making.place(tmp_path / "copy.jpg")[0] == 10.0


def test_description_longer_than_a_segment_is_refused_and_the_file_stays(tmp_path):
    path = photo(tmp_path)
    before = path.read_bytes()
    with pytest.raises(mt.BadExif, match="a.jpg"):
        mt.write_image(mt.read_image(path), '"%s"' % ("x" * 70000))
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_rights_of_the_file_are_kept(tmp_path):
    path = photo(tmp_path)
    path.chmod(0o640)
    mt.write_image(moved(path, lat=10.0), "{}")
    assert path.stat().st_mode & 0o777 == 0o640


@needs_exiftool
def test_exiftool_reads_what_is_written(tmp_path):
    path = photo(tmp_path)
    mt.write_image(
        moved(path, lat=-33.8567844, lon=-151.2152967, alt=-12.345, heading=123.456), '{"a":1}'
    )
    (row,) = json.loads(
        subprocess.run(
            [
                "exiftool",
                "-n",
                "-j",
                "-a",
                "-Warning",
                "-GPS*",
                "-ImageDescription",
                "-validate",
                str(path),
            ],
            stdout=subprocess.PIPE,
        ).stdout
    )
    assert (row["GPSLatitude"], row["GPSLongitude"]) == pytest.approx(
        (-33.8567844, -151.2152967), abs=1e-7
    )
    assert (row["GPSAltitude"], row["GPSImgDirection"], row["ImageDescription"]) == (
        -12.345,
        123.456,
        '{"a":1}',
    )
    assert not [text for text in str(row.get("Warning", "")).split(";") if "GPS" in text]


def test_pillow_reads_what_is_written(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    path = photo(tmp_path)
    mt.write_image(moved(path, lat=-33.5, lon=151.25), '{"a":1}')
    with image_module.open(str(path)) as picture:
        picture.load()
        exif = picture.getexif()
        degrees, minutes, seconds = map(float, exif.get_ifd(0x8825)[2])
    assert (
        degrees + minutes / 60 + seconds / 3600 == pytest.approx(33.5) and exif[0x010E] == '{"a":1}'
    )


def test_exifread_reads_what_is_written(tmp_path):
    exifread = pytest.importorskip("exifread")
    path = photo(tmp_path)
    mt.write_image(moved(path, lat=-33.5, lon=151.25), '{"a":1}')
    with open(str(path), "rb") as stream:
        tags = exifread.process_file(stream, details=False)
    assert [float(part) for part in tags["GPS GPSLatitude"].values] == [33, 30, 0]
    assert (
        str(tags["GPS GPSLatitudeRef"]) == "S" and str(tags["Image ImageDescription"]) == '{"a":1}'
    )


@pytest.mark.parametrize("has_reader", [False, True])
def test_what_cannot_be_read_names_no_library_that_is_here_already(
    has_reader, tmp_path, monkeypatch
):
    """Where exifread is, it was proposed again, when what that had read was to be written."""
    path = making.photo(tmp_path / "a.jpg")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"II*\0\x08\0\0\0", b"II*\0\0\0\0\0", 1))
    assert path.read_bytes() != whole
    monkeypatch.setattr(mt, "second_reader", lambda name: mt if has_reader else None)
    with pytest.raises(mt.BadExif, match="its EXIF cannot be read") as refused:
        mt.write_edits(str(path), {"0th": {0x010E: b"ours"}})
    assert ("exifread" in str(refused.value)) is not has_reader

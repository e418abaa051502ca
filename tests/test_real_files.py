"""Kinds of files that real cards hold: what is behind a picture, between its segments, in its XMP; other formats; names."""

import io
import json
import os
import struct
from pathlib import Path
from typing import Any, Dict

import pytest

import making
import mapillary_tools as mt
from making import ASCII, BYTE, RATIONAL

EOI = b"\xff\xd9"
MOVIE = struct.pack(">L4s4sL", 24, b"ftyp", b"mp42", 0) + b"isommp42" + b"\xfe\x12\x00" * 40000


def made(folder: Path, content: bytes, name: str = "IMG_0001.jpg") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def placed(**fields: Any) -> bytes:
    """A sound photo with a place."""
    return making.jpeg(exif=making.exif_tiff(**{"lat": 57.7, "lon": 11.97, **fields}))


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """The photo with segments behind its first two, JFIF and Exif."""
    at = 2
    for _ in range(2):
        at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return content[:at] + b"".join(segments) + content[at:]


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def process(folder: Path, *options: Any) -> Any:
    return mt.process(mt.Input(import_path=str(folder)), mt.User(user_name="demo"), *options)


def done(folder: Path) -> Dict[str, Any]:
    """The description of the one photo, which must have been written."""
    report = process(folder)
    assert report.failed == [] and report.done == 1, list(map(str, report.failed))
    told: Dict[str, Any] = json.loads(mt.read_found(next(folder.glob("*.jpg"))).caption or "")
    return told


def refused(folder: Path) -> str:
    """What is said of the one photo, of which not a byte may change."""
    path = next(path for path in folder.iterdir() if path.is_file())
    before = path.read_bytes()
    report = process(folder)
    assert report.done == 0 and path.read_bytes() == before
    return str(report.failed[0])


# ---- the end of a picture, and what is behind it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "behind",
    [
        MOVIE,
        bytes(200000),
        MOVIE + bytes(70000),
        b"SEFH" + MOVIE + b"SEFT",
        making.jpeg(pixels=7) + bytes(100000),
        bytes(70000) + b"\xff\xd8\xff\xe0 pieces \xff\xda of other files" * 9,
    ],
    ids=["video", "zeros", "video and zeros", "trailer", "second picture", "rest of a cluster"],
)
def test_what_is_behind_the_picture_stays_byte_for_byte(behind, tmp_path):
    photo = placed()
    path = made(tmp_path / "p", photo + behind)
    assert done(tmp_path / "p")["MAPLatitude"] == 57.7
    assert path.read_bytes().endswith(photo[photo.index(b"\xff\xda") :] + behind)


def test_end_of_a_progressive_picture_is_behind_its_last_scan(tmp_path):
    image = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    image.frombytes("RGB", (64, 64), os.urandom(0) or bytes(range(256)) * 48).save(
        out, "JPEG", progressive=True
    )
    exif = segment(0xE1, b"Exif\0\0" + making.exif_tiff(lat=1.0, lon=2.0))
    made(tmp_path / "p", out.getvalue()[:2] + exif + out.getvalue()[2:] + MOVIE)
    assert done(tmp_path / "p")["MAPLatitude"] == 1.0


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        bytes(66000),
        bytes(4096 + 512) + b"\x01 other file " + EOI * 2 + MOVIE,
        making.jpeg() + MOVIE,
    ],
    ids=["cut", "zeros", "zeros, then another file", "another picture"],
)
def test_picture_that_ends_before_its_scan_does_is_truncated(behind, tmp_path):
    photo = making.jpeg(exif=making.exif_tiff(lat=1.0, lon=2.0), size=(128, 128), filler=20000)
    cut = photo[: photo.index(b"\xff\xda") + 700]
    cut = cut[: len(cut) // 512 * 512]
    made(tmp_path / "p", cut + behind)
    assert "is truncated" in refused(tmp_path / "p")


def test_scan_of_odd_markers_ends_in_bounded_time():
    scan = b"\xff\x02" * 3000000
    assert mt.end_of_scan(io.BytesIO(scan), 0) is None


# ---- between segments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stray",
    [
        b"\0\0",
        b"#### scribble ####",
        b"\xff\xd5\0\0\0",
        b"\0\xff\0\x11",
        b"\xff\xff\xff",
        b"\xff\x01",
        b"\x30" * 3000,
    ],
)
def test_bytes_between_segments_are_passed_over_and_kept(stray, tmp_path):
    photo = with_segments(placed(), stray, segment(0xFE, b"a comment"), stray)
    path = made(tmp_path / "p", photo)
    assert done(tmp_path / "p")["MAPLatitude"] == 57.7
    assert path.read_bytes().endswith(photo[photo.index(stray + b"\xff\xfe") :])


def test_bytes_before_exif_and_before_the_scan(tmp_path):
    photo = placed()
    scan = photo.index(b"\xff\xda")
    made(tmp_path / "p", photo[:20] + b"\0\0\0" + photo[20:scan] + b"\0\xff\0" + photo[scan:])
    assert done(tmp_path / "p")["MAPLatitude"] == 57.7


# ---- other formats under the name .jpg -----------------------------------------------------------------------------


def heif(brand: bytes) -> bytes:
    return struct.pack(">L4s4sL", 24, b"ftyp", brand, 0) + b"mif1" + brand + bytes(600)


@pytest.mark.parametrize(
    "content, word",
    [
        (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(40), "WebP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
        (b"GIF89a" + bytes(40), "GIF"),
        (b"BM\x36\x10\0\0\0\0\0\0\x36\0" + bytes(40), "BMP"),
        (b"II*\0\x08\0\0\0" + bytes(40), "TIFF"),
        (heif(b"heic"), "HEIC"),
        (heif(b"avif"), "AVIF"),
        (MOVIE[:4096], "video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4711\n", "LFS"),
        (b"\n<!DOCTYPE html><html><title>404</title>", "web page"),
        (bytes(20000), "zeros"),
        (b"", "is empty"),
        (b"%PDF-1.4" + bytes(9), "PDF"),
        (b"a text that somebody saved as a picture", "a text"),
        (b"\x12\x34\x56\x78" * 20, "begins with 12345678"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_format_is_told_by_its_content_with_what_to_do(content, word, tmp_path):
    made(tmp_path / "p", content)
    said = refused(tmp_path / "p")
    assert word in said and said.endswith(")")


def test_kinds_of_jpeg_names(tmp_path):
    for name in ("a.jpe", "b.36P", "c.insp"):
        made(tmp_path / "p", placed(), name)
    assert process(tmp_path / "p").done == 3


# ---- nothing is passed over in silence ----------------------------------------------------------------------------


def test_everything_that_looks_like_a_picture_or_video_is_counted(tmp_path):
    folder = tmp_path / "p"
    made(folder, placed())
    for name in (
        "a.HEIC",
        "b.png",
        "c.dng",
        "d.MP4",
        ".trashed-1700000000-x.jpg",
        ".pending-9-y.mp4",
        "._a.jpg",
    ):
        made(folder, b"x", name)
    for name in ("notes.txt", "track.gpx", ".hidden", ".mapillary-00.part", "Thumbs.db"):
        made(folder, b"x", name)
    report = process(folder)
    assert {reason: len(paths) for reason, paths in report.skipped.items()} == {
        mt.SKIP_HEIC: 1,
        mt.SKIP_OTHER: 1,
        mt.SKIP_RAW: 1,
        mt.SKIP_VIDEO: 1,
        mt.SKIP_HIDDEN: 2,
        mt.SKIP_SHADOW: 1,
    }
    assert (report.done, report.found, report.exit_code) == (1, 8, 0)


@pytest.mark.parametrize(
    "name, reason",
    [("a.lrv", "SKIP_PREVIEW"), ("a.thm", "SKIP_PREVIEW"), ("a.MKV", "SKIP_VIDEO")],
)
def test_video_that_video_process_does_not_take_is_not_said_to_be_taken(name, reason, tmp_path):
    made(tmp_path / "p", placed())
    made(tmp_path / "p", b"x", name)
    assert list(process(tmp_path / "p").skipped) == [getattr(mt, reason)]


def test_status_sees_what_process_sees(tmp_path):
    made(tmp_path / "p", placed())
    made(tmp_path / "p", placed(), ".trashed-1700000000-x.jpg")
    made(tmp_path / "p" / ".Trash-1000", placed())
    made(tmp_path / "p" / "@eaDir", placed())
    found = process(tmp_path / "p").found
    assert mt.status(mt.Input(import_path=str(tmp_path / "p"))).found == found == 2


CLOSED = [
    ".Trash-1000",
    ".Trashes",
    "$RECYCLE.BIN",
    "@eaDir",
    ".thumbnails",
    "#recycle",
    ".@__thumb",
]


@pytest.mark.parametrize(
    "name", CLOSED + [".stversions", "lost+found", "System Volume Information"]
)
def test_folders_of_trash_and_thumbnails_are_not_searched_and_named_once(name, tmp_path):
    made(tmp_path / "p", placed())
    inside = made(tmp_path / "p" / name, placed()).read_bytes()
    report = process(tmp_path / "p")
    assert report.found == 1 and (tmp_path / "p" / name / "IMG_0001.jpg").read_bytes() == inside
    assert len([note for note in report.notes if "not searched" in note and name in note]) == 1


def test_a_folder_of_heic_alone_says_so(tmp_path):
    made(tmp_path / "p", b"x", "IMG_1.HEIC")
    with pytest.raises(mt.NotFound, match="1 time HEIC.*Most Compatible"):
        process(tmp_path / "p")


def test_upload_counts_what_it_cannot_send(tmp_path):
    made(tmp_path / "p", placed())
    made(tmp_path / "p", b"x", "b.png")
    process(tmp_path / "p")
    upload = mt.UploadOptions(stand_in=str(tmp_path / "s"))
    report = mt.upload(mt.Input(import_path=str(tmp_path / "p")), upload)
    assert (report.done, report.found) == (1, 2) and mt.SKIP_OTHER in report.skipped


# ---- XMP and IPTC ----------------------------------------------------------------------------------------------------

SPACES = {
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
    "Camera": "http://pix4d.com/camera/1.0",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
}


def xmp(attributes: Dict[str, str], inside: str = "", before: str = "") -> bytes:
    names = " ".join('xmlns:%s="%s"' % item for item in SPACES.items())
    values = " ".join('%s="%s"' % item for item in attributes.items())
    packet = (
        '<?xpacket begin="\ufeff"?>%s<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" %s %s>%s'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ) % (before, names, values, inside)
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode())


def only_xmp(packet: bytes, **fields: Any) -> bytes:
    return with_segments(making.jpeg(exif=making.exif_tiff(**fields)), packet)


LAT, LON = 50 + 53.691734 / 60, -(4 + 30.5 / 60)


@pytest.mark.parametrize(
    "values, lat, lon",
    [
        ({"exif:GPSLatitude": "50,53.691734N", "exif:GPSLongitude": "4,30.5W"}, LAT, LON),
        (
            {"exif:GPSLatitude": "50,30,30N", "exif:GPSLongitude": "4,30,30W"},
            50.5 + 30 / 3600,
            -4.5 - 30 / 3600,
        ),
        (
            {
                "exif:GPSLatitude": "50.25",
                "exif:GPSLatitudeRef": "S",
                "exif:GPSLongitude": "4.5",
                "exif:GPSLongitudeRef": "W",
            },
            -50.25,
            -4.5,
        ),
        ({"exif:GPSLatitude": "-50.25", "exif:GPSLongitude": "4.5"}, -50.25, 4.5),
    ],
)
def test_place_in_xmp_is_read_named_and_written_to_exif(values, lat, lon, tmp_path):
    values = dict(values, **{"exif:GPSAltitude": "125/10", "exif:GPSAltitudeRef": "1"})
    path = made(tmp_path / "p", only_xmp(xmp(values)))
    report = process(tmp_path / "p")
    told = making.description(path)
    assert (told["MAPLatitude"], told["MAPLongitude"]) == pytest.approx((lat, lon), abs=1e-7)
    assert told["MAPAltitude"] == -12.5 and making.place(path)[:2] == pytest.approx(
        (lat, lon), abs=1e-6
    )
    assert any("1 image from XMP" in note for note in report.notes)


def test_place_in_exif_wins_over_xmp(tmp_path):
    there = {"exif:GPSLatitude": "1,0N", "exif:GPSLongitude": "1,0E"}
    made(tmp_path / "p", only_xmp(xmp(there), lat=57.7, lon=11.97))
    assert done(tmp_path / "p")["MAPLatitude"] == 57.7


@pytest.mark.parametrize(
    "values, heading",
    [
        ({"GPano:PoseHeadingDegrees": "271.5"}, 271.5),
        ({"drone-dji:GimbalYawDegree": "-90.5", "drone-dji:FlightYawDegree": "+10.0"}, 269.5),
        (
            {
                "drone-dji:GimbalYawDegree": "+0.00",
                "drone-dji:GimbalPitchDegree": "+0.00",
                "drone-dji:GimbalRollDegree": "+0.00",
            },
            None,
        ),
        ({"Camera:Yaw": "12.5", "Camera:Pitch": "85"}, 12.5),
        ({"Camera:Yaw": "12.5", "Camera:Pitch": "0.4"}, None),
        ({"exif:GPSImgDirection": "1234/10"}, 123.4),
    ],
)
def test_heading_in_xmp(values, heading, tmp_path):
    path = made(tmp_path / "p", only_xmp(xmp(values), lat=1.0, lon=2.0))
    assert mt.read_image(path).heading == heading
    if heading is not None:
        assert done(tmp_path / "p")["MAPCompassHeading"]["TrueHeading"] == heading


def test_yaw_of_a_face_is_no_heading(tmp_path):
    face = '<mwg-rs:Regions rdf:parseType="Resource"><rdf:Description Camera:Yaw="77"/></mwg-rs:Regions>'
    made(tmp_path / "p", only_xmp(xmp({}, face), lat=1.0, lon=2.0))
    assert mt.read_image(next((tmp_path / "p").glob("*.jpg"))).heading is None


@pytest.mark.parametrize(
    "values, time",
    [
        ({"photoshop:DateCreated": "2021-03-04T14:06:07.25+09:00"}, "2021_03_04_05_06_07_250"),
        ({"exif:DateTimeOriginal": "2021-03-04T05:06:07Z"}, "2021_03_04_05_06_07_000"),
        (
            {"photoshop:DateCreated": "2021-03-04", "exif:DateTimeOriginal": "2021-03-04T05:06:07"},
            "2021_03_04_05_06_07_000",
        ),
        ({"GPano:SourceImageCreateTime": "2021-03-04T05:06:07Z"}, "2021_03_04_05_06_07_000"),
    ],
)
def test_time_in_xmp(values, time, tmp_path):
    made(tmp_path / "p", only_xmp(xmp(values), time=None, lat=1.0, lon=2.0))
    assert done(tmp_path / "p")["MAPCaptureTime"] == time


def test_time_in_iptc_with_its_zone(tmp_path):
    rows = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
        for number, text in ((55, b"20210304"), (60, b"140607+0900"))
    )
    block = b"Photoshop 3.0\0" + struct.pack(">4sHHL", b"8BIM", 0x0404, 0, len(rows)) + rows + b"\0"
    made(tmp_path / "p", only_xmp(segment(0xED, block), time=None, lat=1.0, lon=2.0))
    assert done(tmp_path / "p")["MAPCaptureTime"] == "2021_03_04_05_06_07_000"


@pytest.mark.parametrize(
    "extra, word",
    [
        (xmp({"xmp:CreateDate": "2021-03-04T14:06:07+09:00"}), "CreateDate says 2021-03-04T14"),
        (xmp({"photoshop:DateCreated": "2021-03-04"}), "DateCreated says 2021-03-04"),
        (segment(0xEC, b"Picture Info TimeDate 2021:03:04 14:06:07"), "says 2021:03:04 14:06:07"),
    ],
)
def test_time_that_does_not_count_is_named_with_the_way_out(extra, word, tmp_path):
    made(tmp_path / "p", only_xmp(extra, time=None, lat=1.0, lon=2.0))
    said = refused(tmp_path / "p")
    assert word in said and "--time_source name" in said


@pytest.mark.parametrize(
    "packet",
    [
        xmp(
            {"exif:GPSLatitude": "1,0N", "exif:GPSLongitude": "1,0E"},
            before='<!DOCTYPE a [<!ENTITY b "c">]>',
        ),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0 GPS <x"),
        xmp({"exif:GPSLatitude": "91,0N", "exif:GPSLongitude": "1,0E"}),
        xmp({"exif:GPSLatitude": "1,0N"}),
        xmp({"exif:GPSLatitude": "0,0N", "exif:GPSLongitude": "0,0E"}),
    ],
    ids=["entities", "no XML", "out of range", "half", "null island"],
)
def test_xmp_that_cannot_be_used_is_none(packet, tmp_path):
    made(tmp_path / "p", only_xmp(packet))
    assert "has no position" in refused(tmp_path / "p")


# ---- EXIF ---------------------------------------------------------------------------------------------------------------

ZERO = (RATIONAL, [(0, 0)] * 3)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({2: ZERO, 4: ZERO, 1: (ASCII, "\0"), 3: (ASCII, "\0")}, "copy it by cable"),
        ({2: (RATIONAL, [(57, 1), (42, 1), (5678, 1)])}, "5678"),
        ({2: (RATIONAL, [(57, 1), (61, 1), (0, 1)])}, "61"),
        ({4: (RATIONAL, [(1, 0), (0, 1), (0, 1)])}, "GPSLongitude [[1, 0]"),
        ({2: (RATIONAL, [(57, 1)] * 4)}, "57"),
    ],
)
def test_position_with_impossible_parts_is_none_and_its_values_are_said(changes, word, tmp_path):
    made(tmp_path / "p", placed(more={"GPS": changes}))
    said = refused(tmp_path / "p")
    assert "has no position" in said and word in said


def test_position_as_text(tmp_path):
    text = {2: (ASCII, "57,42.123N"), 4: (ASCII, "11,58.2W")}
    made(tmp_path / "p", placed(more={"GPS": text}))
    told = done(tmp_path / "p")
    assert told["MAPLatitude"] == pytest.approx(57 + 42.123 / 60, abs=1e-7)
    assert told["MAPLongitude"] == pytest.approx(-11 - 58.2 / 60, abs=1e-7)


@pytest.mark.parametrize("ref, alt", [(0, 12.5), (1, -12.5), (2, 12.5), (3, -12.5)])
def test_altitude_references_of_exif_3(ref, alt, tmp_path):
    made(tmp_path / "p", placed(more={"GPS": {5: (BYTE, ref), 6: (RATIONAL, (125, 10))}}))
    assert done(tmp_path / "p")["MAPAltitude"] == alt


def test_capture_time_in_ifd0_is_read_and_written_back_there(tmp_path):
    more = {"0th": {0x9003: (ASCII, "2021:03:04 05:06:07"), 0x0132: (ASCII, "2022:08:09 10:11:12")}}
    path = made(tmp_path / "p", placed(time=None, more=more))
    assert done(tmp_path / "p")["MAPCaptureTime"] == "2021_03_04_05_06_07_000"
    assert (
        making.read_tiff(making.exif_block(path.read_bytes()))["0th"][0x9003]
        == "2021:03:04 05:06:07"
    )
    table = tmp_path / "t.csv"
    table.write_text("IMG_0001.jpg,2021:03:05 05:06:07.0\n", "utf-8")
    mt.process_csv(
        mt.Input(import_path=str(tmp_path / "p")),
        mt.CsvColumns(csv_path=str(table), filename_column=1, timestamp_column=2),
    )
    tags = making.read_tiff(making.exif_block(path.read_bytes()))
    assert tags["0th"][0x9003] == "2021:03:05 05:06:07" and 0x9003 not in tags["Exif"]


def test_no_python_warning_reaches_a_person(tmp_path, recwarn):
    rest = len(making.exif_tiff(lat=1.0, lon=2.0, thumbnail=making.jpeg()))
    thumbnail = making.jpeg(filler=65527 - rest - 50)
    block = making.exif_tiff(lat=1.0, lon=2.0, thumbnail=thumbnail)
    path = made(tmp_path / "p", making.jpeg(exif=block))
    done(tmp_path / "p")
    assert mt.piexif().load(str(path))["thumbnail"] is None  # there is no room for both
    assert list(recwarn) == []


def test_time_of_the_photo_stays_and_our_writing_is_known_by_its_change(tmp_path):
    path = made(tmp_path / "p", placed())
    os.utime(str(path), ns=(10**18, 10**18 + 123456700))  # Windows counts in 100 ns
    assert process(tmp_path / "p").done == 1
    assert path.stat().st_mtime_ns == 10**18 + 123456700
    again = process(tmp_path / "p")
    assert again.skipped == {mt.SKIP_PROCESSED: [str(path)]}
    content = path.read_bytes().replace(b"Testmaker", b"Otherwise")
    path.write_bytes(content)  # same size, and the same time
    os.utime(str(path), ns=(10**18, 10**18 + 123456700))
    assert process(tmp_path / "p").done == 1
    assert making.description(path)["MAPDeviceMake"] == "Otherwise"


@pytest.mark.skipif(os.name != "posix", reason="hard links as POSIX has them")
@pytest.mark.parametrize("tool", ["process", "process_csv"])
def test_photo_with_several_names_is_written_under_one_and_that_is_said_once(tool, tmp_path):
    path = made(tmp_path / "p", placed())
    os.link(str(path), str(tmp_path / "other.jpg"))
    before = path.read_bytes()
    if tool == "process":
        report = process(tmp_path / "p")
    else:
        (tmp_path / "t.csv").write_text("IMG_0001.jpg,1.5\n", "utf-8")
        columns = mt.CsvColumns(str(tmp_path / "t.csv"), filename_column=1, altitude_column=2)
        report = mt.process_csv(mt.Input(import_path=str(tmp_path / "p")), columns)
    assert (tmp_path / "other.jpg").read_bytes() == before != path.read_bytes()
    assert len([note for note in report.notes if "hard links" in note]) == 1


class Held:
    """os.replace while another program holds the file for some tries."""

    def __init__(self, tries: int) -> None:
        self.tries, self.real = tries, os.replace

    def __call__(self, part: str, target: str) -> None:
        if target.endswith(".jpg") and self.tries:
            self.tries -= 1
            error = PermissionError(13, "held", target)
            error.winerror = 32  # type: ignore
            raise error
        self.real(part, target)


def test_file_that_a_scanner_holds_for_a_moment_is_written(tmp_path, monkeypatch):
    made(tmp_path / "p", placed())
    monkeypatch.setattr(os, "replace", Held(3))
    assert process(tmp_path / "p").done == 1


def test_file_that_is_held_for_good_costs_that_image_alone(tmp_path, monkeypatch):
    made(tmp_path / "p", placed())
    monkeypatch.setattr(mt, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(os, "replace", Held(10**9))
    report = process(tmp_path / "p")
    assert "open in another program" in str(report.failed[0])
    assert not list((tmp_path / "p").glob("*.part"))

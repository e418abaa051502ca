"""What photos tell of themselves: several Exif segments, odd types, directions, odd times.

Each test was red before the program was mended, but for those that say "Guard" of themselves.
"""

import datetime
import io
import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

import making
import pytest
import walker
from conftest import in_process, process, restore
from making import ASCII, BYTE, LONG, RATIONAL, SHORT, SRATIONAL, UNDEFINED
from making_videos import EXIFTOOL

pytestmark = [in_process, pytest.mark.slow]

NOON = 1714979289  # 2024:05:06 07:08:09, in seconds since 1970
PLACE: Dict[str, Any] = {"lat": 57.7, "lon": 11.97}


def tiff_of(path: Path) -> walker.Tiff:
    """The one Exif block of a photo, taken apart."""
    block = making.exif_block(path.read_bytes())  # raises where there are several
    assert block is not None
    return walker.Tiff(block)


# ---- several Exif segments -----------------------------------------------------------------------

NOTE = b"MAKER\0" + bytes(range(54))
PREVIEW = making.jpeg((16, 16))


def of_camera(order: str = "<") -> bytes:
    """What a camera wrote."""
    exif = {0x927C: (UNDEFINED, NOTE), 0x829A: (RATIONAL, (1, 250)), 0x8827: (SHORT, 200)}
    fields: Dict[str, Any] = {"time": "2024:05:06 09:08:09", "offset": "+02:00", "order": order}
    return making.exif_tiff(thumbnail=PREVIEW, more={"Exif": exif}, **fields, **PLACE)


def of_editor(order: str = "<") -> bytes:
    """What an editor wrote beside it."""
    late = "2024:06:01 10:00:00"
    tags = {0x0131: (ASCII, "An editor"), 0x0132: (ASCII, late), 0x013B: (ASCII, "somebody")}
    return making.tiff({"0th": tags}, order)


META = walker.segment(0xE1, b"ExifMeta\0" + bytes(20))
SEVERAL = {
    "editor's first": [walker.exif(of_editor()), walker.XMP, walker.ICC, walker.exif(of_camera())],
    "editor's second": [walker.exif(of_camera()), walker.XMP, walker.exif(of_editor())],
    "empty first": [walker.exif(b""), walker.exif(of_camera()), walker.exif(of_editor())],
    "another APP1 first": [META, walker.exif(of_camera()), walker.exif(of_editor())],
    "MM before II": [walker.exif(of_editor(">")), walker.exif(of_camera())],
    "II before MM": [walker.exif(of_editor()), walker.exif(of_camera(">"))],
}


def of_segments(path: Path, segments: List[bytes]) -> Path:
    """A photo with these segments behind JFIF."""
    content = making.jpeg((64, 48))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[:20] + b"".join(segments) + content[20:])
    return path


def holds_all(path: Path) -> None:
    """A photo has one Exif segment, with all that its camera and the editor wrote."""
    tiff, tags = tiff_of(path), making.read_exif(path)
    assert tiff.faults == [] and tiff.thumbnail == PREVIEW
    note = tiff.maker_note()
    assert note is not None and note[1] == NOTE
    assert (tags["Make"], tags["Model"]) == ("Testmaker", "T-1")
    assert (tags["Exif:0x829a"], tags["Exif:0x8827"]) == ((1, 250), 200)
    assert (tags["DateTimeOriginal"], tags["OffsetTimeOriginal"]) == (
        "2024:05:06 09:08:09",
        "+02:00",
    )
    assert (tags["Software"], tags["0th:0x013b"]) == ("An editor", "somebody")
    assert making.place(path) == pytest.approx((57.7, 11.97, None))


@pytest.mark.parametrize("segments", list(SEVERAL.values()), ids=list(SEVERAL))
def test_of_several_exif_segments_nothing_is_lost(segments: List[bytes], tmp_path: Path) -> None:
    path = of_segments(tmp_path / "a.jpg", segments)
    assert process(tmp_path)["done"] == 1
    holds_all(path)
    row = making.description(path)
    assert (row["MAPCaptureTime"], row["MAPDeviceMake"]) == ("2024_05_06_07_08_09_000", "Testmaker")
    assert (META in path.read_bytes()) == (META in segments)
    assert restore(tmp_path)["done"] == 1
    holds_all(path)
    assert "ImageDescription" not in making.read_exif(path)


@pytest.mark.skipif(not EXIFTOOL, reason="exiftool is not on this computer")
def test_exiftool_reads_as_much_of_the_one_segment_as_of_two(tmp_path: Path) -> None:
    names = ["Make", "Model", "ExposureTime", "ISO", "DateTimeOriginal", "Artist", "Software"]
    path = of_segments(tmp_path / "a.jpg", SEVERAL["editor's first"])

    def seen() -> Dict[str, Any]:
        words = [str(EXIFTOOL), "-j", "-validate", *(f"-{name}" for name in names), str(path)]
        shown = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
        found: Dict[str, Any] = json.loads(shown.decode("utf-8"))[0]
        return found

    before = seen()
    assert process(tmp_path)["done"] == 1
    after = seen()
    assert {name: after.get(name) for name in names} == {name: before[name] for name in names}
    assert before["ISO"] == 200


# ---- values of odd types -------------------------------------------------------------------------

DOUBLE = 12
ODD: Dict[str, Tuple[str, int, Any]] = {
    "latitude as text": ("GPS", 0x02, (ASCII, "57,42.123N")),
    "latitude as DOUBLE": ("GPS", 0x02, (DOUBLE, [57.0, 42.0, 7.5])),
    "ref as BYTE": ("GPS", 0x01, (BYTE, [78, 0])),
    "altitude as text": ("GPS", 0x06, (ASCII, "12.5")),
    "altitude's ref as RATIONAL": ("GPS", 0x05, (RATIONAL, (0, 100))),
    "altitude's ref as text": ("GPS", 0x05, (ASCII, "1")),
    "description as SHORT": ("0th", 0x010E, (SHORT, 5)),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ifd, tag, entry", list(ODD.values()), ids=list(ODD))
def test_a_value_of_an_odd_type_comes_back_as_it_was(
    ifd: str, tag: int, entry: Any, order: str, tmp_path: Path
) -> None:
    folder = tmp_path / "card"
    path = making.photo(folder / "a.jpg", alt=3.0, more={ifd: {tag: entry}}, order=order, **PLACE)
    before = tiff_of(path).fields()
    points = [(NOON + at, 50.0, 12.0 + at * 1e-5, 99.0) for at in range(-60, 60)]
    track = making.gpx(points, tmp_path / "t.gpx")
    assert process(folder, "--geotag_source", "gpx", "--geotag_source_path", track)["done"] == 1
    assert making.place(path) == pytest.approx((50.0, 12.0, 99.0))
    assert process(folder)["done"] == 1
    assert making.description(path)["MAPLatitude"] == pytest.approx(57.7, abs=0.01)
    assert restore(folder)["exit_code"] == 0
    after = tiff_of(path).fields()
    assert after[ifd, tag] == before[ifd, tag]
    assert after == before


piexif = walker.vendored()


def test_piexif_tells_which_values_have_odd_types() -> None:
    gps = {0x02: (ASCII, "57,42.1N"), 0x05: (BYTE, 1), 0x06: (DOUBLE, 12.5)}
    loaded = piexif.load(making.jpeg(exif=making.tiff({"GPS": gps, "0th": {0x010E: (SHORT, 5)}})))
    asked = {"GPS": (0x02, 0x05), "0th": (0x010E, 0x010F)}
    assert piexif.stored_types(loaded, asked) == {"GPS": {0x02: ASCII}, "0th": {0x010E: SHORT}}
    assert piexif.stored_types({"GPS": {0x02: b"57"}}, asked) == {}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "entry, value",
    [((ASCII, "57,42.1N"), b"57,42.1N"), ((DOUBLE, [1.5, 2.5]), (1.5, 2.5)), ((LONG, 7), 7)],
    ids=["ASCII", "DOUBLE", "LONG"],
)
def test_piexif_writes_a_value_as_the_type_that_is_named(
    entry: Any, value: Any, order: str
) -> None:
    image = making.jpeg(exif=making.exif_tiff(order=order, **PLACE))
    wanted = making.tiff({"GPS": {0x02: entry}}, order)
    loaded = piexif.load(image)
    loaded["GPS"][0x02] = piexif.Stored(entry[0], value)
    block = piexif.dump(loaded)[6:]
    key = ("GPS", 0x02)
    assert walker.Tiff(block).fields()[key] == walker.Tiff(wanted).fields()[key]


# ---- numbers that lead to pictures ---------------------------------------------------------------


def leading(order: str, target: int) -> bytes:
    """A block whose MakerNote has a field of type LONG that leads to a place in the file."""
    number = struct.pack(order + "HHLL", 0x2001, LONG, 1, target - 12)
    note = b"MAKER\0\0\0" + struct.pack(order + "H", 1) + number + bytes(4)
    return walker.camera(order, ifds={"Exif": [(walker.MAKER_NOTE, 7, len(note), note)]})


def grown(order: str, wanted: bytes, in_scan: bool) -> Tuple[int, int]:
    """By how much the head of an image grows, and a number that leads into or behind its scan."""

    def image(target: int) -> bytes:
        head = b"\xff\xd8" + walker.exif(leading(order, target)) + walker.DQT + walker.SOF
        scan = walker.DHT + walker.SOS + b"\x12\x34" + (wanted if in_scan else b"")
        return head + scan + walker.SCAN + (b"" if in_scan else wanted)

    before = image(image(12).rindex(wanted))
    loaded = piexif.load(before)
    loaded["0th"][0x010E] = "a description " * 20
    after = jpeg_with(before, piexif.dump(loaded))
    shift = len(after) - len(before)
    notes = [tiff_note(content) for content in (before, after)]
    numbers = [struct.unpack(order + "L", note[18:22])[0] for note in notes]
    assert shift > 100
    return shift, numbers[1] - numbers[0]


def jpeg_with(image: bytes, block: bytes) -> bytes:
    """An image with another Exif block."""
    out = io.BytesIO()
    piexif.insert(block, image, out)
    return out.getvalue()


def tiff_note(image: bytes) -> bytes:
    note = walker.Tiff(walker.Jpeg(image).exifs()[0][6:]).maker_note()
    assert note is not None
    return bytes(note[1])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_number_that_leads_into_the_scan_by_chance_stays(order: str) -> None:
    assert grown(order, b"\x11\xd8\xff\x00", in_scan=True)[1] == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_number_that_leads_to_a_preview_behind_the_picture_moves_with_it(order: str) -> None:
    """Guard."""
    shift, moved = grown(order, walker.THUMB, in_scan=False)
    assert moved == shift


# ---- directions and altitudes --------------------------------------------------------------------


def test_directions_from_magnetic_north_tell_duplicates_apart(tmp_path: Path) -> None:
    turning: Dict[str, Any] = {"heading": lambda number: 90.0 * number, "heading_ref": "M"}
    making.drive(tmp_path, 4, step=0.0, **turning)
    row = process(tmp_path, "--flag_duplicates")
    assert (row["done"], row["skipped"]) == (4, {})


def test_interpolated_directions_replace_those_of_a_compass(tmp_path: Path) -> None:
    photos = making.drive(tmp_path, 3, heading=77.0, heading_ref="M")
    process(tmp_path, "--interpolate_directions")
    for path in photos:
        headings = making.description(path)["MAPCompassHeading"]
        assert (headings["TrueHeading"], headings["MagneticHeading"]) == (0.0, 0.0)


def xmp(**values: str) -> bytes:
    """A segment of XMP with these values of the name space exif."""
    words = " ".join(f'exif:{name}="{value}"' for name, value in values.items())
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
        'rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        f"{words}/></rdf:RDF></x:xmpmeta>"
    )
    return walker.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode("utf-8"))


def test_a_direction_of_xmp_from_magnetic_north_counts_as_that(tmp_path: Path) -> None:
    packet = xmp(GPSImgDirection="1234/10", GPSImgDirectionRef="M")
    path = of_segments(tmp_path / "a.jpg", [walker.exif(making.exif_tiff(**PLACE)), packet])
    process(tmp_path)
    assert making.description(path)["MAPCompassHeading"]["MagneticHeading"] == 123.4


def test_an_altitude_that_is_negative_and_said_to_be_below_is_below(tmp_path: Path) -> None:
    gps = {0x05: (BYTE, 1), 0x06: (SRATIONAL, (-125, 10))}
    path = making.photo(tmp_path / "a.jpg", more={"GPS": gps}, **PLACE)
    process(tmp_path)
    assert making.description(path)["MAPAltitude"] == -12.5


@pytest.mark.parametrize("alt", [-9999, -32768, 32767, 65535, 99999])
def test_altitudes_that_stand_for_unknown_are_left_out(alt: int, tmp_path: Path) -> None:
    gps = {0x06: (SRATIONAL, (alt, 1))}
    there = making.photo(tmp_path / "a.jpg", more={"GPS": gps}, **PLACE)
    packet = xmp(GPSLatitude="57,42.0N", GPSLongitude="11,58.2E", GPSAltitude=str(alt))
    in_xmp = of_segments(tmp_path / "b.jpg", [walker.exif(making.exif_tiff()), packet])
    assert process(tmp_path)["done"] == 2
    for path in (there, in_xmp):
        assert "MAPAltitude" not in making.description(path)


@pytest.mark.parametrize("error", [(RATIONAL, (4294967295, 1)), (SRATIONAL, (-5, 1))])
def test_accuracies_that_cannot_be_are_left_out(error: Any, tmp_path: Path) -> None:
    path = making.photo(tmp_path / "a.jpg", more={"GPS": {0x1F: error}}, **PLACE)
    process(tmp_path)
    assert making.description(path).get("MAPGPSAccuracyMeters") is None


# ---- names within one second ---------------------------------------------------------------------


@pytest.mark.parametrize("behind", ["(1)", " 2", "-1", " copy"])
def test_a_copy_of_a_name_comes_behind_it_within_a_second(behind: str, tmp_path: Path) -> None:
    for number, name in enumerate(("X.jpg", f"X{behind}.jpg")):
        making.photo(tmp_path / name, lat=57.7 + number * 1e-4, lon=11.97, pixels=number)
    process(tmp_path)
    for path in tmp_path.glob("*.jpg"):
        assert making.description(path)["MAPCompassHeading"]["TrueHeading"] == 0.0, path.name


# ---- times that contradict each other, or cannot be ----------------------------------------------


def clock(seconds: float) -> str:
    """Seconds since 1970 as Exif has them."""
    when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y:%m:%d %H:%M:%S")


def card_of(folder: Path, ahead: Any = 0.0, names: str = "", gps: bool = True, **more: Any) -> None:
    """Six photos, 20 s apart, whose clock is so many seconds ahead of GPS and of their names."""
    for number in range(6):
        at = NOON + 20 * number
        by = ahead(number) if callable(ahead) else ahead
        place = {"lat": 57.7 + number * 1e-4, "lon": 11.97}
        receiver = dict(zip(("gps_date", "gps_time"), clock(at).split())) if gps else {}
        name = re.sub("[: ]", "_", clock(at)) if names else f"{number + 1:04d}"
        making.photo(
            folder / f"{names}{name}.jpg", time=clock(at + by), **place, **receiver, **more
        )


def doubts(folder: Path, *more: Any) -> List[str]:
    """What is said that puts times in doubt."""
    words = "if those are right|clock goes back|with times of"
    return [note for note in process(folder, *more)["notes"] if re.search(words, note)]


def times_in(folder: Path) -> List[str]:
    rows = [making.description(path) for path in sorted(folder.glob("*.jpg"))]
    return [row["MAPCaptureTime"] for row in rows]


RIGHT = [re.sub("[: ]", "_", clock(NOON + 20 * number)) + "_000" for number in range(6)]
YEARS = 2920 * 86400.0
APART: Dict[str, Tuple[Dict[str, Any], str]] = {
    "of 2016": ({"ahead": -YEARS}, "2920.0 days behind the GPS times of 6 images"),
    "20 minutes": ({"ahead": 1200.0}, "20.0 minutes ahead of the GPS times of 6 images"),
    "as if UTC": ({"ahead": 7200.0, "offset": "+00:00"}, "2.0 hours ahead of the GPS times"),
    "names": ({"ahead": -9e6, "gps": False, "names": "IMG_"}, "behind the times in the names of 6"),
}


@pytest.mark.parametrize("card, wanted", list(APART.values()), ids=list(APART))
def test_a_clock_apart_from_other_times_is_said_with_what_mends_it(
    card: Dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    card_of(tmp_path, **card)
    (said,) = doubts(tmp_path)
    assert said.startswith("the clock of Testmaker T-1 is ") and wanted in said
    assert times_in(tmp_path) != RIGHT
    way = re.search(r"(--offset_time) (-?\d+) or (--time_source) (gps|name) mends it", said)
    assert way is not None, said
    for option in (way.groups()[:2], way.groups()[2:]):
        assert doubts(tmp_path, *option) == [] and times_in(tmp_path) == RIGHT, option


def test_a_clock_that_was_reset_on_the_way_is_said(tmp_path: Path) -> None:
    card_of(tmp_path, ahead=lambda number: -YEARS if number > 3 else 0.0)
    said = "\n".join(doubts(tmp_path))
    assert "is days away from the GPS times in 2 images, 0005.jpg, 0006.jpg" in said
    assert doubts(tmp_path, "--time_source", "gps") == [] and times_in(tmp_path) == RIGHT


@pytest.mark.parametrize(
    "begin, wanted",
    [
        (datetime.datetime.now().timestamp() + 30 * 86400, "6 images with times of the future"),
        (480000000, "6 images with times of a time without digital cameras"),
        (1420071000, "6 images with times of a day that cameras show whose clock"),
    ],
    ids=["future", "1985", "1 January"],
)
def test_times_that_cannot_be_are_said(begin: float, wanted: str, tmp_path: Path) -> None:
    card_of(tmp_path, ahead=begin - NOON, gps=False)
    (said,) = doubts(tmp_path)
    assert said.startswith(wanted) and "0001.jpg" in said, said


AGREEING: Dict[str, Dict[str, Any]] = {
    "GPS": {},
    "GPS in another zone": {"ahead": 7200.0, "offset": "+02:00"},
    "a zone by GPS": {"ahead": 7200.0},
    "a minute": {"ahead": 60.0, "offset": "+00:00"},
    "names": {"gps": False, "names": "IMG_"},
    "nothing to compare": {"gps": False},
}


@pytest.mark.parametrize("card", list(AGREEING.values()), ids=list(AGREEING))
def test_of_times_that_agree_nothing_is_said(card: Dict[str, Any], tmp_path: Path) -> None:
    """Guard."""
    card_of(tmp_path, **card)
    assert doubts(tmp_path) == []

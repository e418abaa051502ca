"""What a photo's bytes hold beside its picture: data behind the end of it, XMP said twice, second begins, small pictures
cut off, blocks without room, and what is told of texts that cannot count.
"""

import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

import making
import pytest
import walker
from conftest import in_process, process, restore, run, told
from making import ASCII, LONG, UNDEFINED

pytestmark = in_process
PLACE: Dict[str, Any] = {"lat": 57.7, "lon": 11.97}


# ---- data behind the end of the picture ----------------------------------------------------------


PREVIEW = bytes(32) + b"\0" + making.jpeg((32, 24), pixels=5)[1:]  # as Sony puts it there
LEICA = {"make": "Leica Camera AG", "model": "S2"}


def in_note(order: str, target: int) -> bytes:
    """A MakerNote whose preview, of type UNDEFINED, stands elsewhere."""
    quality = struct.pack(order + "HHLL", 0x0102, LONG, 1, 3)
    preview = struct.pack(order + "HHLL", 0x2001, UNDEFINED, len(PREVIEW), target)
    return b"SONY DSC \0\0\0" + struct.pack(order + "H", 2) + quality + preview + bytes(4)


def sony(order: str) -> bytes:
    """A photo with a preview behind it, and a MakerNote that leads there."""

    def image(target: int) -> bytes:
        more = {"Exif": {0x927C: (UNDEFINED, in_note(order, target))}}
        return making.jpeg(exif=making.exif_tiff(make="SONY", order=order, more=more, **PLACE))

    return image(len(image(0)) - start_of_tiff(image(0))) + PREVIEW


def start_of_tiff(content: bytes) -> int:
    return content.index(b"Exif\0\0") + 6


def loaded(path: Path) -> Dict[str, Any]:
    """The Exif of a photo; the reader of making.py wants all values inside of it."""
    exif: Dict[str, Any] = walker.vendored().load(str(path))
    return exif


def led_to(content: bytes, order: str, tag: int) -> bytes:
    """What the first entry of this tag, of type UNDEFINED, leads to."""
    at = content.index(struct.pack(order + "HH", tag, UNDEFINED))
    count, place = struct.unpack_from(order + "LL", content, at + 4)
    return content[start_of_tiff(content) + place :][:count]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_preview_of_type_undefined_moves_with_the_head(order: str, tmp_path: Path) -> None:
    """Only pointers of type LONG moved: Sony's preview began in our description."""
    path = tmp_path / "a.jpg"
    path.write_bytes(sony(order))
    process(tmp_path)
    assert path.stat().st_size > len(sony(order))
    assert led_to(path.read_bytes(), order, 0x2001) == PREVIEW
    restore(tmp_path)
    assert led_to(path.read_bytes(), order, 0x2001) == PREVIEW


def test_a_preview_of_type_undefined_moves_in_what_is_sent(tmp_path: Path, service: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(sony("<"))
    asked = ("--import_path", tmp_path, "--user_name", "demo", "--skip_EXIF_insert")
    assert run("process_and_upload", *asked).code == 0
    (sent,) = service.images().values()
    assert led_to(bytes(sent.content), "<", 0x2001) == PREVIEW


def test_a_number_that_leads_to_no_picture_behind_it_stays(tmp_path: Path) -> None:
    """Guard: bytes of a MakerNote that only read as an entry are not changed."""
    path, behind = tmp_path / "a.jpg", bytes(range(256)) * 40
    path.write_bytes(sony("<")[: -len(PREVIEW)] + behind)
    before = loaded(path)["Exif"][0x927C]
    process(tmp_path)
    assert loaded(path)["Exif"][0x927C] == before


def leica(more: Dict[str, Any]) -> Tuple[bytes, bytes]:
    """A photo whose MakerNote stands behind it, with offsets that count from the file; and that."""
    tags = {"Exif": {0x927C: (UNDEFINED, b"N" * 100)}, **more}
    content = making.jpeg(exif=making.exif_tiff(more=tags, **LEICA, **PLACE))
    lens = b"Summicron 1:2/50 mm test\0"
    entry = struct.pack("<HHLL", 0x0303, ASCII, len(lens), len(content) + 26)
    note = b"LEICA\0\x02\xff" + struct.pack("<H", 1) + entry + bytes(4) + lens
    at = content.index(struct.pack("<HH", 0x927C, UNDEFINED)) + 4
    place = struct.pack("<LL", len(note), len(content) - start_of_tiff(content))
    return content[:at] + place + content[at + 8 :] + note, note


def test_a_maker_note_behind_the_picture_is_not_led_astray(tmp_path: Path) -> None:
    """It has offsets of its own, from the begin of the file: the photo grew, and they led nowhere."""
    path, (content, _) = tmp_path / "a.jpg", leica({})
    path.write_bytes(content)
    row = process(tmp_path)
    assert (row["done"], len(row["failed"])) == (0, 1) and path.read_bytes() == content
    assert "MakerNote stands behind the picture" in row["failed"][0]["value"]


def test_a_maker_note_behind_the_picture_stays_where_there_is_room(tmp_path: Path) -> None:
    """Room in the Exif block is taken, so that the photo keeps its size."""
    path = tmp_path / "a.jpg"
    content, note = leica({"0th": {0xC4A5: (UNDEFINED, b"PrintIM\0")}})
    segment = walker.Jpeg(content).exifs()[0]
    block = segment[6:] + bytes(3000)
    content = content.replace(walker.exif(segment[6:]), walker.exif(block))
    at = content.index(struct.pack("<HH", 0x927C, UNDEFINED)) + 8
    place = struct.unpack_from("<L", content, at)[0] + 3000
    content = content[:at] + struct.pack("<L", place) + content[at + 4 :]
    path.write_bytes(content)
    for _ in range(2):
        assert process(tmp_path)["done"] == 1
        changed = path.read_bytes()
        assert len(changed) == len(content) and led_to(changed, "<", 0x927C) == note
        assert b'"MAPLatitude":57.7' in loaded(path)["0th"][0x010E]
        restore(tmp_path)
        restored = path.read_bytes()
        assert len(restored) == len(content) and led_to(restored, "<", 0x927C) == note
        assert 0x010E not in loaded(path)["0th"]


# ---- XMP -----------------------------------------------------------------------------------------


EXIF_SPACE = 'xmlns:exif="http://ns.adobe.com/exif/1.0/"'
SPACES = EXIF_SPACE + ' xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
NORTH, EAST = 'exif:GPSLatitude="57,42.0N"', 'exif:GPSLongitude="11,58.2E"'


def described(*descriptions: str, inner: str = "") -> bytes:
    """A segment of XMP with a description for each of these attributes."""
    about = f'<rdf:Description rdf:about="" {SPACES} '
    parts = "".join(f"{about}{attributes}>{inner}</rdf:Description>" for attributes in descriptions)
    rdf = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}{parts}</rdf:RDF></x:xmpmeta>'
    return walker.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode("utf-8"))


def with_segment(path: Path, more: bytes, **fields: Any) -> Path:
    """A photo with one segment more."""
    content = making.jpeg(exif=making.exif_tiff(**fields))
    at = content.index(b"\xff\xdb")
    path.write_bytes(content[:at] + more + content[at:])
    return path


def test_a_property_in_two_descriptions_counts_once(tmp_path: Path) -> None:
    """Both texts were put together: 57,42.0N57,42.0N is no latitude."""
    first = with_segment(tmp_path / "a.jpg", described(f"{NORTH} {EAST}", f"{NORTH} {EAST}"))
    others = 'exif:GPSLatitude="10,42.0N" exif:GPSLongitude="10,58.2E"'
    second = with_segment(tmp_path / "b.jpg", described(f"{NORTH} {EAST}", others))
    heading = 'GPano:PoseHeadingDegrees="120.5"'
    third = with_segment(tmp_path / "c.jpg", described(heading, heading), **PLACE)
    assert process(tmp_path)["done"] == 3
    for path in (first, second):
        found = making.description(path)
        assert (found["MAPLatitude"], found["MAPLongitude"]) == (57.7, 11.97)
    assert making.description(third)["MAPCompassHeading"]["TrueHeading"] == 120.5


def test_text_in_pieces_is_one_value_and_an_empty_one_none(tmp_path: Path) -> None:
    """Guard: a parser gives text in pieces, and the first description may say nothing."""
    inner = (
        "<exif:GPSLatitude>57,42<![CDATA[.0]]>&#78;</exif:GPSLatitude>"
        "<exif:GPSLongitude>11,58.2E</exif:GPSLongitude>"
    )
    path = with_segment(tmp_path / "a.jpg", described('exif:GPSLatitude=" "', inner=inner))
    assert process(tmp_path)["done"] == 1
    assert making.description(path)["MAPLatitude"] == 57.7


# ---- a second begin ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["at the begin", "between segments"])
def test_a_second_begin_of_a_jpeg_is_damage(where: str, tmp_path: Path) -> None:
    """Other programs refuse such a file, so it was of no use where it went."""
    path = making.photo(tmp_path / "a.jpg", **PLACE)
    good = path.read_bytes()
    at = 2 if where == "at the begin" else good.index(b"\xff\xdb")
    damaged = good[:at] + b"\xff\xd8" + good[at:]
    path.write_bytes(damaged)
    row = process(tmp_path)
    (problem,) = row["failed"]
    assert "second begin" in problem["wrong"] and problem["value"] == f"at byte {at}"
    assert ("tail -c +3" in problem["remedy"]) == (at == 2)
    assert path.read_bytes() == damaged
    with pytest.raises(ValueError):
        walker.vendored().insert(b"Exif\0\0" + walker.camera("<"), damaged, tmp_path / "b.jpg")


# ---- a small picture that is cut off -------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 100, 0], ids=["a byte", "more", "all"])
def test_a_small_picture_that_is_cut_off_gets_no_bytes_of_ours(cut: int, tmp_path: Path) -> None:
    """It ran over the end of the Exif block, into what the edit put there: a part of our description."""
    picture = making.jpeg((32, 32))
    block = making.exif_tiff(thumbnail=picture, **PLACE)
    left = len(picture) - cut if cut else 0
    path = making.photo(tmp_path / "a.jpg", exif=block[: len(block) - len(picture) + left])
    for step in (process, restore, process):
        step(tmp_path)
        stored = loaded(path)["thumbnail"]
        assert stored[:left] == picture[:left] and not any(stored[left:])


def test_a_small_picture_of_a_wild_size_does_not_fill_the_segment(tmp_path: Path) -> None:
    """Guard: where its stretch cannot be kept clear, the photo is written all the same, and comes back."""
    more = {"1st": {0x0201: (LONG, 500), 0x0202: (LONG, 64000)}}
    path = making.photo(tmp_path / "a.jpg", more=more, **PLACE)
    before = loaded(path)
    assert process(tmp_path)["done"] == 1 and path.stat().st_size < 4000
    restore(tmp_path)
    assert loaded(path)["1st"] == before["1st"]


# ---- an Exif block without room ------------------------------------------------------------------


def full_photo(path: Path) -> Path:
    """A photo whose MakerNote fills its Exif segment."""
    note = b"XYZW" + bytes(random.Random(1).getrandbits(8) | 1 for _ in range(65000))
    return making.photo(path, more={"Exif": {0x927C: (UNDEFINED, note)}}, **PLACE)


@pytest.mark.parametrize("more", [[], ["--skip_EXIF_insert"]], ids=["insert", "skip"])
def test_a_photo_without_room_is_told_so_when_it_is_processed(
    more: List[str], tmp_path: Path, service: Any
) -> None:
    """With --skip_EXIF_insert it was processed, then failed at every upload, which advised that option again."""
    full_photo(tmp_path / "a.jpg")
    row = process(tmp_path, *more)
    (problem,) = row["failed"]
    assert row["done"] == 0 and "is too large for a JPEG" in problem["value"]
    assert "skip_EXIF_insert" not in problem["remedy"] and "MakerNote" in problem["remedy"]
    assert process(tmp_path, *more)["failed"] == row["failed"]
    asked = ("process_and_upload", "--import_path", tmp_path, "--user_name", "demo", *more)
    again = told(*asked)
    assert again["failed"] == [problem] and again["next"] is None and not service.images()


def test_a_maker_note_behind_the_picture_is_told_when_it_is_processed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(leica({})[0])
    (problem,) = process(tmp_path, "--skip_EXIF_insert")["failed"]
    assert "MakerNote stands behind the picture" in problem["value"]


def test_a_full_block_with_room_in_it_goes_up_without_being_written(
    tmp_path: Path, service: Any
) -> None:
    """Guard: a block that its camera filled up with zeros has room."""
    block = making.exif_tiff(**PLACE)
    path = making.photo(tmp_path / "a.jpg", exif=block + bytes(65526 - len(block)))
    before = path.read_bytes()
    asked = ("--import_path", tmp_path, "--user_name", "demo", "--skip_EXIF_insert")
    assert run("process_and_upload", *asked).code == 0
    assert len(service.images()) == 1 and path.read_bytes() == before


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not on this computer")
def test_the_copy_that_is_advised_has_room(tmp_path: Path) -> None:
    """The words of the remedy, done."""
    folder = tmp_path / "photos"
    path = full_photo(folder / "a.jpg")
    remedy = process(folder)["failed"][0]["remedy"]
    words = remedy[remedy.index("exiftool") : remedy.index(", or")].split()
    names = {"FILE": str(path), "COPY.jpg": str(folder / "b.jpg")}
    subprocess.run([names.get(word, word) for word in words], check=True)
    path.unlink()
    assert process(folder)["done"] == 1
    assert making.description(folder / "b.jpg")["MAPLatitude"] == 57.7


# ---- positions and numbers that are refused, or were ---------------------------------------------


@pytest.mark.parametrize(
    "north, east",
    [("57,75.0N", "11,58.2E"), ("91,5.0N", "11,58.2E"), ("57,42.0E", "11,58.2N")]
    + [("NaN", "NaN"), ("0,0.0N", "0,0.0E")],
)
def test_a_position_of_xmp_that_cannot_be_is_told(north: str, east: str, tmp_path: Path) -> None:
    """It had "no position", as if nothing were there."""
    packet = described(f'exif:GPSLatitude="{north}" exif:GPSLongitude="{east}"')
    with_segment(tmp_path / "a.jpg", packet)
    (problem,) = process(tmp_path)["failed"]
    assert problem["value"] == f"XMP GPSLatitude {north}, GPSLongitude {east}"
    assert process(tmp_path)["failed"] == [problem]


def test_letters_of_the_other_axis_are_told(tmp_path: Path) -> None:
    """The degrees alone were, and looked right."""
    gps = {0x01: (ASCII, "E"), 0x03: (ASCII, "N")}
    making.photo(tmp_path / "a.jpg", more={"GPS": gps}, **PLACE)
    (problem,) = process(tmp_path)["failed"]
    assert problem["value"].endswith(', GPSLatitudeRef "E", GPSLongitudeRef "N"')


@pytest.mark.parametrize("text, degrees", [(".5", 0.5), ("1.205E2", 120.5), ("2410/20", 120.5)])
def test_directions_of_xmp_are_numbers_as_programs_write_them(
    text: str, degrees: float, tmp_path: Path
) -> None:
    """A point without a digit before it, or an exponent, lost the direction."""
    packet = described(f'GPano:PoseHeadingDegrees="{text}"')
    path = with_segment(tmp_path / "a.jpg", packet, **PLACE)
    process(tmp_path)
    assert making.description(path)["MAPCompassHeading"]["TrueHeading"] == degrees


# ---- times of IPTC, and offsets ------------------------------------------------------------------


def iptc(*records: Tuple[int, bytes], name: bytes = b"") -> bytes:
    """A segment of Photoshop with a resource before the one that has these records of IPTC."""
    rows = b"".join(
        struct.pack(">3BH", 28, 2, number, len(text)) + text for number, text in records
    )
    named = (bytes([len(name)]) + name).ljust((len(name) + 2) & ~1, b"\0")
    other = struct.pack(">4sHHL", b"8BIM", 0x03ED, 0, 3) + b"abc\0"
    block = other + struct.pack(">4sH", b"8BIM", 0x0404) + named
    block += struct.pack(">L", len(rows)) + rows + b"\0" * (len(rows) & 1)
    return walker.segment(0xED, b"Photoshop 3.0\0" + block)


CREATED = ((55, b"20240506"), (60, b"090809+0200"))


@pytest.mark.parametrize("name", [b"", b"hello", b"even"])
def test_a_caption_is_no_date_of_iptc(name: bytes, tmp_path: Path) -> None:
    """Bytes of a caption that read as a record's begin were taken for the date."""
    caption = (120, b"x\x1c\x02\x37\0\x0819990101y")
    path = with_segment(tmp_path / "a.jpg", iptc(caption, *CREATED, name=name), time=None, **PLACE)
    process(tmp_path)
    assert making.description(path)["MAPCaptureTime"] == "2024_05_06_07_08_09_000"


@pytest.mark.parametrize(
    "records, words",
    [
        ([(55, b"20240506")], "DateCreated 20240506"),
        ([(55, b"2024:05:06"), (60, b"09:08:09")], "DateCreated 2024:05:06, TimeCreated 09:08:09"),
        (
            [(62, b"20240506"), (63, b"090809")],
            "DigitalCreationDate 20240506, DigitalCreationTime 09",
        ),
    ],
)
def test_times_of_iptc_that_do_not_count_are_told(
    records: List[Tuple[int, bytes]], words: str, tmp_path: Path
) -> None:
    with_segment(tmp_path / "a.jpg", iptc(*records), time=None, **PLACE)
    (problem,) = process(tmp_path)["failed"]
    assert problem["code"] == "no_time" and f"IPTC says {words}" in problem["value"]


@pytest.mark.parametrize("offset, told_of", [("   :  ", False), (":", False), ("local", True)])
def test_an_offset_of_blanks_is_unknown_and_no_fault(
    offset: str, told_of: bool, tmp_path: Path
) -> None:
    """EXIF's own way to say that it is not known (2.32, 4.6.5) was told as a fault."""
    making.photo(tmp_path / "a.jpg", offset=offset, **PLACE)
    assert ("an offset of the zone that is none" in process(tmp_path)["said"]) == told_of
